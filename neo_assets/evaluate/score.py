"""Scores of checkpoints: export, ask, keep; one artifact per checkpoint, task and attempt.

A score's fingerprint is made of the exported model, the task's identity, the programs and the attempt's number. What is there is never
asked again; a changed task, model or program asks only for what it changed. Both doors use the functions here: the partitioned
assets (a click, the sensor) and `evaluation/‹run›` (the `factory` job, the schedule).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.errors import JobFailed
from neo_assets.core.fingerprint import code_reachable_from, digest_json, library_versions
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe import identity
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Artifact, Check, MadeFrom, Outcome, Row, Store, Workspace, input_refs
from neo_assets.pretrain.export import ExportInput, export_model, run_to_end
from neo_assets.pretrain.job import Jobs
from training.tasks import Task, read_tasks, task_identity

SAMPLES = "samples"
"""Name under which generated continuations are kept beside the tasks."""

EXPORT_LIBRARIES = ("torch", "transformers", "deepspeed")
SCORE_LIBRARIES = ("torch", "transformers", "lm-eval")
ALSO_SHOWN = ("nats_per_token",)
"""Metrics that tables show besides each task's main one: the validation loss, in the unit of the training loss."""


class ScoreInput(Section):
    """What changes a score, besides the model and the tasks."""

    run: str
    batch_size: int
    device: str
    dtype: str
    seed: int
    samples: dict[str, list[str]]
    sample_tokens: int
    repetition_penalty: float


@dataclass(frozen=True)
class Scorer:
    """Everything needed to score checkpoints of one run."""

    store: Store
    jobs: Jobs
    recipe: str
    export: ExportInput
    score: ScoreInput
    threads: int
    tokenizer: Artifact
    task_artifacts: Sequence[Artifact]
    log: Callable[[str], None]

    # ------------------------------------------------ the exported model

    def _export_inputs(self, checkpoint: Artifact) -> dict[str, Artifact]:
        return {f"checkpoint/{self.export.run}": checkpoint, "tokenizer": self.tokenizer}

    def _export_from(self, checkpoint: Artifact) -> MadeFrom:
        inputs = input_refs(self._export_inputs(checkpoint), {})
        return MadeFrom(config=identity(self.export), code=code_reachable_from(["training.export"]), libraries=library_versions(EXPORT_LIBRARIES), inputs=inputs)

    def exported(self, checkpoint: Artifact) -> tuple[Artifact, bool]:
        """The checkpoint's Hugging Face folder; made by a job if it is not there. Returns (artifact, reused)."""
        made_from, inputs = self._export_from(checkpoint), self._export_inputs(checkpoint)

        def work(out: Workspace) -> Outcome:
            self.log(f"exporting {checkpoint.path.name}")
            return export_model(self.export, inputs, out, fingerprint=made_from.fingerprint, store=self.store, jobs=self.jobs)

        key = f"hf_model/{self.export.run}"
        made, reused = self.store.build(key, made_from, work, self.log)
        self.store.set_head(self.recipe, f"{key}@{checkpoint.path.name}", key, made.fingerprint)
        return self.store.require(key, made.fingerprint), reused

    # ------------------------------------------------ scores

    def tasks(self) -> dict[str, tuple[Task, Path]]:
        return read_tasks(a.path for a in self.task_artifacts)

    def wanted(self, model: Artifact, attempt: int) -> dict[str, MadeFrom]:
        """What every score of this model is made from, by task name; `samples` among them."""
        code, libraries = code_reachable_from(["training.evaluate"]), library_versions(SCORE_LIBRARIES)
        inputs = input_refs({f"hf_model/{self.score.run}": model}, {})
        how = {"batch_size": self.score.batch_size, "device": self.score.device, "dtype": self.score.dtype, "seed": self.score.seed}
        configs: dict[str, dict[str, object]] = {name: {"task": name, "identity": task_identity(task), **how, "attempt": attempt} for name, (task, _) in self.tasks().items()}
        configs[SAMPLES] = {"prompts": self.score.samples, "tokens": self.score.sample_tokens, "repetition_penalty": self.score.repetition_penalty, **how, "attempt": attempt}
        return {name: MadeFrom(config=config, code=code, libraries=libraries, inputs=inputs) for name, config in configs.items()}

    def attempts_of(self, checkpoint: Artifact) -> int:
        """Complete attempts of a checkpoint that may not be exported yet."""
        model = self.store.find(f"hf_model/{self.export.run}", self._export_from(checkpoint).fingerprint)
        return self.attempts(model) if model else 0

    def attempts(self, model: Artifact) -> int:
        """Attempts for which every score of this model is there."""
        key, n = f"eval_scores/{self.score.run}", 0
        while all(self.store.find(key, made_from.fingerprint) for made_from in self.wanted(model, n + 1).values()):
            n += 1
        return n

    def scored(self, checkpoint: Artifact, model: Artifact, attempt: int) -> tuple[dict[str, Artifact], list[str]]:
        """Every score of one attempt, by task name, and which of them were made now. Missing ones are asked for in one job.

        Raises:
            JobFailed: some tasks could not be scored; those that could are kept.
        """
        key = f"eval_scores/{self.score.run}"
        wanted = self.wanted(model, attempt)
        missing = {name: made_from for name, made_from in wanted.items() if self.store.find(key, made_from.fingerprint) is None}
        failure: JobFailed | None = None
        if missing:
            self.log(f"scoring {checkpoint.path.name}" + (f", attempt {attempt}" if attempt > 1 else "") + f": {', '.join(missing)}")
            spec = self._job(checkpoint, model, missing)
            try:
                run_to_end(self.jobs, spec)
            except JobFailed as error:
                failure = error
            for name, made_from in missing.items():
                if (Path(spec.out) / f"{name}.json").is_file():
                    self.store.build(key, made_from, lambda out, name=name: _keep(name, Path(spec.out), out))  # type: ignore[misc]
        if failure:
            raise failure
        found = {name: self.store.require(key, made_from.fingerprint) for name, made_from in wanted.items()}
        for name, made in found.items():
            self.store.set_head(self.recipe, f"{key}@{checkpoint.path.name}/{name}@{attempt}", key, made.fingerprint)
        return found, list(missing)

    def _job(self, checkpoint: Artifact, model: Artifact, missing: Mapping[str, MadeFrom]) -> JobSpec:
        fingerprint = digest_json(sorted(m.fingerprint for m in missing.values()))
        return JobSpec(
            work_fingerprint=fingerprint,
            title=f"eval_scores/{self.score.run} {checkpoint.path.name}",
            program="training.evaluate",
            max_attempts=2,
            threads_per_rank=self.threads,
            config={
                "tasks": [name for name in missing if name != SAMPLES],
                "batch_size": self.score.batch_size,
                "threads": self.threads,
                "device": self.score.device,
                "dtype": self.score.dtype,
                "seed": self.score.seed,
                "samples": self.score.samples if SAMPLES in missing else {},
                "sample_tokens": self.score.sample_tokens,
                "repetition_penalty": self.score.repetition_penalty,
            },
            inputs={"hf_model": str(model.path), **{a.key: str(a.path) for a in self.task_artifacts}},
            out=str(self.store.root / "jobs" / fingerprint / "out"),
        )


def _keep(name: str, source: Path, out: Workspace) -> Outcome:
    """One task's files as an artifact of their own."""
    for file in sorted(source.glob(f"{name}.*")):
        out.write_text(file.name, file.read_text(encoding="utf-8"))
    content = json.loads((out.path / f"{name}.json").read_text(encoding="utf-8"))
    if name == SAMPLES:
        return Outcome(digest=digest_json(content))
    rows: list[Row] = content
    stable = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return Outcome(digest=digest_json(stable), numbers={str(r["metric"]): r["value"] for r in rows}, tables={"scores": rows})


def score_rows(run: str, checkpoint: Artifact, scores: Mapping[str, Artifact], attempt: int) -> list[Row]:
    """Scores of one checkpoint as rows that say what they are scores of."""
    numbers = checkpoint.manifest.numbers
    out: list[Row] = []
    for name, made in scores.items():
        if name == SAMPLES:
            continue
        for row in json.loads(made.file(f"{name}.json").read_text(encoding="utf-8")):
            place: Row = {"run": run, "step": numbers["step"], "tokens": numbers["trained_tokens"], "checkpoint": checkpoint.path.name}
            out.append({**place, **row, "attempt": attempt, "fingerprint": made.fingerprint, "headline": row["main"] or row["metric"] in ALSO_SHOWN})
    return out


def called(row: Row) -> str:
    """Name of a score where there is one number a score: the task, and the metric where it is not the task's own."""
    return str(row["task"]) if row["main"] else f"{row['task']} {row['metric']}"


def sample_rows(checkpoint: Artifact, scores: Mapping[str, Artifact]) -> list[Row]:
    step = checkpoint.manifest.numbers["step"]
    return [{"step": step, "checkpoint": checkpoint.path.name, **row} for row in json.loads(scores[SAMPLES].file(f"{SAMPLES}.json").read_text(encoding="utf-8"))["samples"]]


class EvaluationInput(Section):
    """Which checkpoints `evaluation/‹run›` scores, and how often."""

    score: ScoreInput
    export: ExportInput
    due: list[int]
    attempts: int


def evaluate_run(config: EvaluationInput, inputs: Mapping[str, Artifact], out: Workspace, *, scorer: Scorer, checkpoints: Sequence[Artifact]) -> Outcome:
    """Scores of every checkpoint that the recipe wants evaluated: exported, then scored by lm-eval in a job of its own, offline.

    Bits per byte and multiple choice on held-out documents, and the recipe's benchmarks; each score has its standard error, its number of
    items and its task's identity. What has a score is not scored again. The tag `neofoundry/repeat: true` on the Dagster run
    asks for one more attempt, and any difference from the first is reported.
    """
    rows: list[Row] = []
    samples: list[Row] = []
    for checkpoint in checkpoints:
        model, _ = scorer.exported(checkpoint)
        for attempt in range(1, config.attempts + 1):
            scores, _ = scorer.scored(checkpoint, model, attempt)
            rows += score_rows(config.score.run, checkpoint, scores, attempt)
            if attempt == 1:
                samples += sample_rows(checkpoint, scores)
    return _gather(config, rows, samples, out)


def _gather(config: EvaluationInput, rows: list[Row], samples: list[Row], out: Workspace) -> Outcome:
    """All scores of a run in one place, with the differences between attempts."""
    out.write_text("scores.json", json.dumps(rows, ensure_ascii=False, indent=1))
    out.write_text("samples.json", json.dumps(samples, ensure_ascii=False, indent=1))
    first = {(r["checkpoint"], r["task"], r["metric"]): r["value"] for r in rows if r["attempt"] == 1}
    differing: list[Row] = [
        {"checkpoint": r["checkpoint"], "task": r["task"], "metric": r["metric"], "attempt": r["attempt"], "first": first[where], "now": r["value"]}
        for r in rows
        if first.get(where := (r["checkpoint"], r["task"], r["metric"])) != r["value"] and where in first
    ]
    shown: list[Row] = [{k: r[k] for k in ("step", "task", "metric", "value", "stderr", "n", "chance", "attempt")} for r in rows if r["headline"]]
    last = max((int(str(r["step"])) for r in rows), default=0)
    return Outcome(
        digest=digest_json([{k: v for k, v in r.items() if k != "seconds"} for r in rows] + list(samples)),
        numbers={called(r): r["value"] for r in rows if r["headline"] and r["step"] == last and r["attempt"] == 1},
        tables={"scores": shown, "differences between attempts": differing},
        checks=[
            Check(name="every_due_checkpoint_scored", passed={int(str(r["step"])) for r in rows} == set(config.due), detail=f"due {config.due}"),
            Check(name="repeats_agree", passed=not differing, detail=f"{len(differing)} scores differ from the first attempt's", blocking=False),
        ],
    )
