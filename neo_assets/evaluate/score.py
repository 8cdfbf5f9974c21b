"""Scores of one model: ask, keep; one artifact per model, task and attempt.

A score's fingerprint is made of the model, the task's identity, the programs and the attempt's number. What is there is
never asked again; a changed task, model or program asks only for what it changed. Whoever asks uses the functions here:
the partitioned assets (a click, the sensor), `evaluation/‹run›` (the `factory` job, the schedule) and `neo eval`.

All that is asked of one model in one way shares one folder of results, under one lock: two askers make one job, and
what a job had finished before it or its supervisor died is kept before anything is asked. The folder names the jobs
that fill it: who asks after an asker has left, waits for his job before a second one is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from neo_assets.core import records
from neo_assets.core.code import code_reachable_from, libraries_reachable_from
from neo_assets.core.errors import JobFailed
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import ALIVE, JobFolder, JobSpec, JobState, Message
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.evaluation import CHAT, CHAT_TASKS, First
from neo_assets.core.store import Artifact, InputRef, MadeFrom, Outcome, Row, Store, Workspace
from neo_assets.core.words import at
from neo_assets.evaluate.estimate import asking_takes
from neo_assets.evaluate.rows import ScoreRow
from neo_assets.runs.job_stage import run_to_end
from resources.compute.base import Compute
from training.tasks import Absent, Task, limited, read_absent, read_tasks, task_identity

SAMPLES = "samples"
"""Name under which generated continuations are kept beside the tasks."""

HELDOUT = "heldout_tasks"
JOBS = "jobs"
"""File in a folder of results: the jobs that fill it, a line each."""
ANSWERS_SHOWN = 3
"""Of each set and task, among what a run's evaluation keeps to be read."""
NO_ITEMS = "the held-out documents gave no such items"
NO_DOCUMENTS = "made of the recipe's held-out documents, which are not there yet: run the job 'factory'"
PROGRAM = "training.evaluate"
ONLY_FOR_CODE = ("training.programs", "training.sandbox")
"""Modules that no score but that of a written program depends on."""
ALSO_SHOWN = ("nats_per_token", "stops", "right_language", "well_formed", "distinct")
"""Metrics that tables show besides each task's main one: the validation loss, in the unit of the training loss; and
what is asked of every answer, whatever the question.
"""


def tasks_of(recipe: Recipe) -> list[str]:
    """Artifacts that hold tasks."""
    return ["benchmark_items", HELDOUT, *([CHAT_TASKS] if recipe.align and recipe.align.asked else [])]


class ScoreInput(Section):
    """What is asked and how: all that changes a score, besides the model and the tasks' own content."""

    tasks: dict[str, First | None]
    batch_size: int
    device: str
    dtype: str
    seed: int
    samples: dict[str, list[str]]
    sample_tokens: int
    repetition_penalty: float


def score_input(recipe: Recipe, suites: list[str] | None = None, run: str | None = None) -> ScoreInput:
    """What is asked in these suites, or in those that every due checkpoint is asked; of a run that was not fine-tuned
    no answers.
    """
    settings = recipe.evaluation
    silent = run is not None and not recipe.converses(run)
    return ScoreInput(
        tasks={name: first for name, first in recipe.asked(suites).items() if not (silent and name.startswith(CHAT))},
        batch_size=settings.batch_size,
        device=settings.device,
        dtype=settings.dtype,
        seed=settings.seed,
        samples=settings.samples,
        sample_tokens=settings.sample_tokens,
        repetition_penalty=settings.repetition_penalty,
    )


@dataclass(frozen=True)
class Subject:
    """A model that is asked. ``run`` and ``name`` say where its scores stand: a training run and its checkpoint, or a
    folder from elsewhere.
    """

    run: str
    name: str
    step: int
    tokens: int
    folder: Path
    fingerprint: str
    digest: str

    @classmethod
    def of(cls, run: str, checkpoint: Artifact, model: Artifact) -> Subject:
        numbers = checkpoint.manifest.numbers
        step, tokens = int(str(numbers["step"])), int(str(numbers["trained_tokens"]))
        return cls(run, checkpoint.folder.name, step, tokens, model.folder, model.fingerprint, model.manifest.digest)

    @property
    def place(self) -> Row:
        return {"run": self.run, "step": self.step, "tokens": self.tokens, "checkpoint": self.name}


def _asked(score: ScoreInput) -> list[tuple[str, First | None, str]]:
    return [(name, first, first.task if first else name) for name, first in score.tasks.items()]


def asked_tasks(score: ScoreInput, task_artifacts: Sequence[Artifact]) -> dict[str, Task]:
    """What is asked, by the name the score gets; tasks without data are left out."""
    known = read_tasks(a.path for a in task_artifacts)
    return {
        name: limited(known[base][0], name, first.first if first else None)
        for name, first, base in _asked(score)
        if base in known
    }


def absent_tasks(score: ScoreInput, task_artifacts: Sequence[Artifact]) -> dict[str, Absent]:
    """What is asked and has no data, by the name the score would get, each with what to do."""
    folders = [a.path for a in task_artifacts]
    known, without = read_tasks(folders), read_absent(folders)
    why = NO_ITEMS if any(a.key == HELDOUT for a in task_artifacts) else NO_DOCUMENTS
    return {
        name: without.get(base) or Absent(name=base, lang="", message=why)
        for name, _, base in _asked(score)
        if base not in known
    }


def todays_identities(recipe: Recipe, store: Store, suites: list[str] | None = None) -> dict[str, str]:
    """Identity of every task of these suites (those that every due checkpoint is asked, if left out), by the name its
    scores get.
    """
    tasks = asked_tasks(score_input(recipe, suites), [store.head(recipe.name, name) for name in tasks_of(recipe)])
    return {name: task_identity(task) for name, task in tasks.items()}


@dataclass(frozen=True)
class Scorer:
    """Everything needed to ask models the tasks of a recipe."""

    store: Store
    jobs: Compute
    score: ScoreInput
    threads: int
    task_artifacts: Sequence[Artifact]
    log: Callable[[str], None]

    def tasks(self) -> dict[str, Task]:
        """What is asked, by the name the score gets; tasks without data are left out."""
        return asked_tasks(self.score, self.task_artifacts)

    def absent(self) -> list[Absent]:
        """Tasks that are asked for and have no data, each with what to do."""
        return list({a.name: a for a in absent_tasks(self.score, self.task_artifacts).values()}.values())

    # ------------------------------------------------ what a score is made from

    def _how(self, attempt: int) -> dict[str, object]:
        return {
            "batch_size": self.score.batch_size,
            "device": self.score.device,
            "dtype": self.score.dtype,
            "seed": self.score.seed,
            "attempt": attempt,
        }

    def wanted(self, subject: Subject, attempt: int) -> dict[str, MadeFrom]:
        """What every score of this model is made from, by task name; `samples` among them where the
        recipe has prompts.
        """
        code, libraries = code_reachable_from([PROGRAM]), libraries_reachable_from([PROGRAM])
        asking = {module: digest for module, digest in code.items() if module not in ONLY_FOR_CODE}
        inputs = {f"hf_model/{subject.run}": InputRef(fingerprint=subject.fingerprint, digest=subject.digest)}
        how = self._how(attempt)
        out = {}
        for name, task in self.tasks().items():
            config = {"task": name, "identity": task_identity(task), "checkpoint": subject.name, **how}
            out[name] = MadeFrom(
                config=config, code=code if task.kind == "code" else asking, libraries=libraries, inputs=inputs
            )
        config = {
            "prompts": self.score.samples,
            "tokens": self.score.sample_tokens,
            "repetition_penalty": self.score.repetition_penalty,
            "checkpoint": subject.name,
            **how,
        }
        return out | (
            {SAMPLES: MadeFrom(config=config, code=asking, libraries=libraries, inputs=inputs)}
            if any(self.score.samples.values())
            else {}
        )

    def attempts(self, subject: Subject) -> int:
        """Attempts for which every score of this model is there."""
        key, n = f"eval_scores/{subject.run}", 0
        while (wanted := self.wanted(subject, n + 1)) and all(
            self.store.find(key, made_from.fingerprint) for made_from in wanted.values()
        ):
            n += 1
        return n

    # ------------------------------------------------ asking

    def scored(self, subject: Subject, attempt: int = 1) -> tuple[dict[str, Artifact], list[str]]:
        """Every score of one attempt, by task name, and which of them were made now. Missing ones are asked for in one
        job.

        Raises:
            JobFailed: some tasks could not be scored; those that could are kept.
        """
        key = f"eval_scores/{subject.run}"
        wanted = self.wanted(subject, attempt)
        made_now: list[str] = []
        failure: JobFailed | None = None
        if self._missing(key, wanted):
            together = digest_json([subject.fingerprint, self._how(attempt)])
            with self.store.lock("scoring", together):
                results = self.store.root / "scoring" / together
                made_now += self._keep(subject, wanted, results)
                if (missing := self._missing(key, wanted)) and self._waited_for_jobs(missing, results):
                    made_now += self._keep(subject, wanted, results)
                if missing := self._missing(key, wanted):
                    self.log(
                        f"scoring {at(subject.run, subject.name)}"
                        + (f", attempt {attempt}" if attempt > 1 else "")
                        + f": {', '.join(missing)}"
                    )
                    if takes := asking_takes(self.store, subject.run, missing.keys() - {SAMPLES}):
                        self.log(f"  {takes}")
                    try:
                        self._ask(self._job(subject, missing, results), results)
                    except JobFailed as error:
                        failure = error
                    made_now += self._keep(subject, wanted, results)
        if failure:
            raise failure
        return {name: self.store.require(key, made_from.fingerprint) for name, made_from in wanted.items()}, made_now

    def _ask(self, job: JobSpec, results: Path) -> None:
        name = job.work_fingerprint[:12]
        known = _lines(results / JOBS)
        records.write_text(
            results / JOBS, "\n".join([*(k for k in known if k != job.work_fingerprint), job.work_fingerprint])
        )
        self.log(f"  job {name}: `neo logs -f {name}` follows it, `neo cancel {name}` stops it")
        run_to_end(self.jobs, job, self._heard)

    def _waited_for_jobs(self, missing: Mapping[str, MadeFrom], results: Path) -> bool:
        """Whether jobs of somebody who has left were filling these results; they have ended now. Raises JobFailed if
        one was paused or cancelled meanwhile.
        """
        waited = False
        for fingerprint in _lines(results / JOBS):
            folder = JobFolder(self.store.root / "jobs" / fingerprint)
            state = self.jobs.poll(folder) if folder.path.is_dir() else JobState.NEW
            shared = missing.keys() & folder.spec().config["tasks"].keys() if state is JobState.PAUSED else set()  # type: ignore[attr-defined]
            if not shared and state not in (*ALIVE, JobState.STOPPED):
                continue
            self.log(f"attached to job {folder.fingerprint[:12]}, which asks this model already")
            try:
                for message in self.jobs.follow(folder):
                    self._heard(message)
            except JobFailed:
                if self.jobs.poll(folder) in (JobState.CANCELLED, JobState.PAUSED):
                    raise
            waited = True
        return waited

    def _heard(self, message: Message) -> None:
        if message.event == "progress":
            told = message.data
            self.log(f"  {told['done']}/{told['tasks']} {told['task']}: {told['metric']} {told['value']:.4g}")

    def _missing(self, key: str, wanted: Mapping[str, MadeFrom]) -> dict[str, MadeFrom]:
        return {
            name: made_from for name, made_from in wanted.items() if self.store.find(key, made_from.fingerprint) is None
        }

    def _keep(self, subject: Subject, wanted: Mapping[str, MadeFrom], results: Path) -> list[str]:
        """Make artifacts of the results that are there under today's identities; returns their names."""
        kept = []
        for name, made_from in wanted.items():
            file = results / made_from.fingerprint[:16] / f"{name}.json"
            if file.is_file():
                _, reused = self.store.build(
                    f"eval_scores/{subject.run}",
                    made_from,
                    lambda out, name=name, file=file: _take(name, subject, file.parent, out),  # type: ignore[misc]
                )
                kept += [] if reused else [name]
        return kept

    def _job(self, subject: Subject, missing: Mapping[str, MadeFrom], results: Path) -> JobSpec:
        fingerprint = digest_json(sorted(m.fingerprint for m in missing.values()))
        return JobSpec(
            work_fingerprint=fingerprint,
            title=f"eval_scores/{subject.run} {subject.name}",
            program=PROGRAM,
            **claimed(PROGRAM),
            max_attempts=2,
            threads_per_rank=self.threads,
            config={
                "tasks": {
                    name: {"task": first.task if first else name, "first": first.first if first else None}
                    for name, first, _ in _asked(self.score)
                    if name in missing
                },
                "folders": {name: made_from.fingerprint[:16] for name, made_from in missing.items()},
                "batch_size": self.score.batch_size,
                "threads": self.threads,
                "device": self.score.device,
                "dtype": self.score.dtype,
                "seed": self.score.seed,
                "samples": self.score.samples if SAMPLES in missing else {},
                "sample_tokens": self.score.sample_tokens,
                "repetition_penalty": self.score.repetition_penalty,
            },
            inputs={
                "hf_model": self.store.relative(subject.folder),
                **{a.key: self.store.relative(a.path) for a in self.task_artifacts},
            },
            out=self.store.relative(results),
            makes=[f"eval_scores/{subject.run}/{made_from.fingerprint}" for made_from in missing.values()],
        )


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split() if file.is_file() else []


def _take(name: str, subject: Subject, source: Path, out: Workspace) -> Outcome:
    """One task's files as an artifact of their own. Its rows, which say what they are scores of,
    are in the manifest.
    """
    for file in sorted(source.glob(f"{name}.*")):
        if not file.name.endswith((".error.txt", ".tmp")):
            out.write_text(file.name, file.read_text(encoding="utf-8"))
    content = json.loads((out.path / f"{name}.json").read_text(encoding="utf-8"))
    if name == SAMPLES:
        return Outcome(digest=digest_json(content), tables={SAMPLES: [subject.place]})
    rows: list[Row] = content
    stable = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    numbers = {str(r["metric"]): r["value"] for r in rows if r["subset"] is None}
    return Outcome(
        digest=digest_json(stable), numbers=numbers, tables={"scores": [subject.place | row for row in rows]}
    )


def score_rows(scores: Mapping[str, Artifact], attempt: int) -> list[ScoreRow]:
    """Scores of one model as rows that say what they are scores of."""
    out: list[ScoreRow] = []
    for name, made in scores.items():
        if name != SAMPLES:
            rows = cast("list[ScoreRow]", made.manifest.tables["scores"])
            out += [
                {**row, "attempt": attempt, "fingerprint": made.fingerprint, "headline": headline(row)} for row in rows
            ]
    return out


def headline(row: ScoreRow) -> bool:
    """Whether a row is one that tables show."""
    return bool(row["main"]) or (row["metric"] in ALSO_SHOWN and row["subset"] is None)


def called(row: ScoreRow) -> str:
    """Name of a score where there is one number a score: the task, and the metric where it is not the task's own."""
    return row["task"] if row["main"] else f"{row['task']} {row['metric']}"


def answer_rows(subject: Subject, scores: Mapping[str, Artifact]) -> list[Row]:
    """What the model answered to the first few held-out prompts of every set, and each of its tasks."""
    out: list[Row] = []
    for name, made in sorted(scores.items()):
        if not name.startswith(CHAT):
            continue
        shown: dict[tuple[object, object], int] = {}
        for line in made.file(f"{name}.items.jsonl").read_text(encoding="utf-8").split("\n"):
            item = json.loads(line) if line else {}
            group = (item.get("set"), item.get("task"))
            shown[group] = shown.get(group, 0) + 1
            if item and shown[group] <= ANSWERS_SHOWN:
                told = {key: item[key] for key in ("id", "set", "task", "asked", "target", "written", "exact", "stops")}
                out.append({"step": subject.step, "checkpoint": subject.name, "name": name, **told})
    return out


def sample_rows(subject: Subject, scores: Mapping[str, Artifact]) -> list[Row]:
    """What the model wrote after each prompt."""
    if SAMPLES not in scores:
        return []
    return [
        {"step": subject.step, "checkpoint": subject.name, **row}
        for row in json.loads(scores[SAMPLES].file(f"{SAMPLES}.json").read_text(encoding="utf-8"))["samples"]
    ]
