"""``hf_model/‹run›``: a checkpoint as a Hugging Face folder, exported by a job of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobFolder, JobSpec, Message
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.run import Model
from neo_assets.core.store import Artifact, Check, Outcome, Store, Workspace
from neo_assets.tokenizer.train import hf_folder
from resources.compute.base import Compute

STATE_FOLDER = "state"
"""DeepSpeed's files inside a checkpoint (training/checkpoint.py)."""

PROGRAM = "training.export"
EXPORT_THREADS = 2
"""Threads of an export; changes no bit of it."""


class ExportInput(Section):
    run: str
    model: Model
    vocab_rows: int
    template: str | None = None
    repetition_penalty: float = 1.0
    scored: bool = False  # a reward model


def export_model(
    config: ExportInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    fingerprint: str,
    store: Store,
    jobs: Compute,
    key: str = "hf_model",
) -> Outcome:
    """A checkpoint as a Hugging Face folder: safetensors, configuration, tokenizer; loads with transformers alone.

    The exported model's logits are compared with those of the checkpoint's own weights before the folder is committed.
    """
    checkpoint, tokenizer = inputs[f"checkpoint/{config.run}"], inputs["tokenizer"]
    spec = JobSpec(
        work_fingerprint=fingerprint,
        title=f"{key}/{config.run} {checkpoint.path.name}",
        program=PROGRAM,
        **claimed(PROGRAM),
        max_attempts=2,
        threads_per_rank=EXPORT_THREADS,
        config={
            "model": config.model.model_dump(),
            "vocab_rows": config.vocab_rows,
            "tag": STATE_FOLDER,
            "threads": EXPORT_THREADS,
            "template": config.template,
            "repetition_penalty": config.repetition_penalty,
            "scored": config.scored,
        },
        inputs={"checkpoint": store.relative(checkpoint.path), "tokenizer": store.relative(hf_folder(tokenizer))},
        out=f"jobs/{fingerprint}/out",
        makes=[f"{key}/{config.run}/{fingerprint}"],
    )
    run_to_end(jobs, spec)
    take(store.root / spec.out, out)
    parity = json.loads((out.path / "parity.json").read_text(encoding="utf-8"))
    return Outcome(
        digest=digest_json([checkpoint.manifest.digest, tokenizer.manifest.digest]),
        numbers={"checkpoint": checkpoint.path.name, "max_logit_difference": parity["max_abs_logit_difference"]},
        checks=[
            Check(
                name="logits_match",
                passed=parity["max_abs_logit_difference"] == 0,
                detail=f"largest difference of a logit: {parity['max_abs_logit_difference']}",
            )
        ],
    )


def run_to_end(jobs: Compute, spec: JobSpec, heard: Callable[[Message], None] = lambda _: None) -> JobFolder:
    """Submit (or attach to) a job and wait for it; ``heard`` is given what it reports. Raises JobFailed."""
    folder = jobs.submit(spec)
    for message in jobs.follow(folder):
        heard(message)
    return folder


def take(source: Path, out: Workspace) -> None:
    """Move a finished job's files into an artifact's folder. Safe to repeat after a kill: what was moved is not there
    any more.
    """
    for path in _files(source):
        target = out.path / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _files(folder: Path) -> Iterator[Path]:
    yield from (p for p in sorted(folder.rglob("*")) if p.is_file())
