"""A store with tasks, models that are names, and jobs that answer at once: what the tests of scoring need besides the
program itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from neo_assets.core.errors import JobFailed
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.jobs import JobFolder, JobSpec, JobState, Message
from neo_assets.core.recipe.evaluation import First
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.evaluate.score import SAMPLES, ScoreInput, Scorer, Subject
from training.tasks import TASKS_FILE, Task, limited, read_tasks, task_identity, write_tasks


def task(name: str, items: int = 8, content: str = "") -> tuple[Task, str]:
    text = "".join(
        json.dumps({"id": f"{name}{i}", "context": f"{content}{i}", "choices": ["a", "b"], "answer": i % 2}) + "\n"
        for i in range(items)
    )
    given = {
        "lang": "en",
        "licence": "ours",
        "chance": 0.5,
        "metric": "acc_norm",
        "prompt": "{context}",
        "description": name,
    }
    return (
        Task(
            name=name,
            kind="multiple_choice",
            file=f"{name}.jsonl",
            data_digest=digest_bytes(text.encode()),
            items=items,
            **given,
        ),
        text,
    )  # type: ignore[arg-type]


def tasks_artifact(store: Store, *made: tuple[Task, str], key: str = "benchmark_items") -> Artifact:
    def work(out: Workspace) -> Outcome:
        for one, text in made:
            out.write_text(one.file, text)
        out.write_text(TASKS_FILE, write_tasks(t for t, _ in made))
        return Outcome(digest=digest_bytes("".join(t.data_digest for t, _ in made).encode()))

    return store.build(
        key,
        MadeFrom(config={"tasks": [t.model_dump(mode="json") for t, _ in made]}, code={}, libraries={}, inputs={}),
        work,
    )[0]


def subject(name: str, step: int = 1, run: str = "main") -> Subject:
    digest = digest_bytes(name.encode())
    return Subject(
        run=run, name=name, step=step, tokens=1000 * step, folder=Path("/nowhere"), fingerprint=digest, digest=digest
    )


class Answering:
    """A compute backend whose jobs do what the evaluation program does, at once: one result file a task. ``right``:
    share of right answers by model and task.
    """

    def __init__(
        self,
        store: Store,
        right: dict[str, float] | None = None,
        stop_after: int | None = None,
        broken: set[str] | None = None,
    ) -> None:
        self.store, self.right, self.stop_after, self.broken = store, right or {}, stop_after, broken or set()
        self.asked: list[str] = []
        self.jobs: list[str] = []

    def submit(self, spec: JobSpec) -> JobFolder:
        self.jobs.append(spec.work_fingerprint)
        spec = spec.at(self.store.root)
        known = read_tasks(Path(folder) for name, folder in spec.inputs.items() if name != "hf_model")
        model = spec.title.split()[-1]
        for name, how in spec.config["tasks"].items():  # type: ignore[attr-defined]
            folder = Path(spec.out) / spec.config["folders"][name]  # type: ignore[index]
            if (folder / f"{name}.json").is_file():
                continue
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt  # killed here
            if name in self.broken:
                continue
            self.asked.append(name)
            write_result(folder, limited(known[how["task"]][0], name, how["first"]), self.right.get(model, 0.5))
        if spec.config["samples"]:
            folder = Path(spec.out) / spec.config["folders"][SAMPLES]  # type: ignore[index]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{SAMPLES}.json").write_text(
                json.dumps(
                    {"samples": [{"lang": "en", "prompt": "p", "continuation": "c", "tokens": 9, "repetition": 0.0}]}
                )
            )
        return JobFolder(self.store.root / "jobs" / spec.work_fingerprint)

    def poll(self, folder: JobFolder) -> JobState:
        return JobState.SUCCEEDED

    def follow(self, folder: JobFolder) -> Iterator[Message]:
        if self.broken:
            raise JobFailed("a task failed")
        for number, name in enumerate(self.asked, 1):
            yield Message(
                event="progress",
                at=0.0,
                attempt=1,
                data={"task": name, "done": number, "tasks": len(self.asked), "metric": "acc_norm", "value": 0.5},
            )


def write_result(folder: Path, one: Task, right: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    n = one.items or 0
    good = round(right * n)
    row = {
        "task": one.name,
        "identity": task_identity(one),
        "lang": one.lang,
        "n": n,
        "shots": 0,
        "requests": n,
        "cut": 0,
        "chance": one.chance,
        "higher_is_better": True,
        "main": True,
        "subset": None,
    }
    row |= {"lm_eval": "0", "seconds": 0.1, "metric": one.metric, "value": good / n, "stderr": 0.1, "detectable": 0.4}
    (folder / f"{one.name}.items.jsonl").write_text(
        "".join(json.dumps({"id": f"{one.name}{i}", "value": float(i < good), "size": 1}) + "\n" for i in range(n))
    )
    (folder / f"{one.name}.json").write_text(json.dumps([row]))


def scorer(store: Store, jobs: Answering, artifacts: list[Artifact], names: list[str | First]) -> Scorer:
    asked = {n if isinstance(n, str) else n.name: None if isinstance(n, str) else n for n in names}
    score = ScoreInput(
        tasks=asked,
        batch_size=1,
        device="cpu",
        dtype="fp32",
        seed=0,
        samples={"en": ["p"]},
        sample_tokens=4,
        repetition_penalty=1.0,
    )
    return Scorer(store, jobs, score, 1, artifacts, lambda _: None)  # type: ignore[arg-type]
