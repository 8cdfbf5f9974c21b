"""What a checkpoint claims, checked: by recomputing everything its certificate says, and by
training to it once more.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core import records
from neo_assets.core.errors import BadInput, DamagedArtifact, NeoError
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobFolder, JobSpec, JobState
from neo_assets.core.store import MANIFEST, Row, Store, read_manifest
from neo_assets.core.thinned import gone
from neo_assets.core.words import counted
from neo_assets.runs.found_runs import FoundRun, parts_behind
from resources.compute.base import Compute
from training.data.masked_stream import MaskedStream
from training.data.stream_files import stream_digest, stream_facts
from training.data.stream_index import rows_of
from training.foreign import content_digest
from training.schedule import learning_rate
from training.spec import PretrainConfig, Start, checkpoint_name

if TYPE_CHECKING:
    from training.certificate import Certificate

PROOFS = "proofs"
"""Folder of the store that keeps what was proved, when and on which machine."""


@dataclass(frozen=True)
class Checked:
    """One thing a certificate says, and whether it holds."""

    claim: str
    holds: bool
    detail: str = ""

    def row(self) -> Row:
        return {"claim": self.claim, "holds": self.holds, "detail": self.detail}


def verify_checkpoint(run: FoundRun, step: int, folder: Path) -> list[Checked]:
    """Recompute every claim of a checkpoint that can be recomputed without training."""
    quiet_deepspeed()
    from training.certificate import read_certificate
    from training.checkpoint import damage

    broken = damage(folder)
    files = Checked("every file is what the manifest says", broken is None, broken or "")
    if broken:
        return [files, Checked("everything else it claims", False, "rests on these files and was not looked at")]
    certificate = read_certificate(folder)
    start_tokens, history = _history_claims(run, step, certificate)
    claims = [
        files,
        *_lineage_claims(run, folder, certificate),
        *_state_claims(run, folder, certificate),
        *history,
        *_data_claims(run, step, certificate, start_tokens),
        *_withdrawal_claims(run, step),
    ]
    if certificate.origin:
        start = _digest_of_start(run)
        told = f"{certificate.origin.checkpoint}, {certificate.origin.take}"
        told += "" if start else f"; {run.start()} is not there, or damaged"
        claims.append(Checked("the checkpoint it started from", start == certificate.origin.digest, told))
    return claims


def _lineage_claims(run: FoundRun, folder: Path, certificate: Certificate) -> list[Checked]:
    """What the store shows of a checkpoint, against what the job wrote down."""
    manifest = read_manifest(folder)
    origins = manifest.made_from
    made_by = origins.inputs.get(run.spec.title)
    same = {
        "code": origins.code == certificate.code,
        "libraries": origins.libraries == certificate.versions,
        "run": made_by is not None and made_by.digest == run.config.run_fingerprint,
    }
    differing = [name for name, holds in same.items() if not holds]
    outcome = digest_json(certificate.outcome())
    return [
        Checked("the digest that lineage shows is the certificate's", manifest.digest == outcome, manifest.digest),
        Checked(
            "the code, libraries and run that lineage shows are the certificate's",
            not differing,
            ", ".join(differing) or f"{len(certificate.code)} modules",
        ),
    ]


def _state_claims(run: FoundRun, folder: Path, certificate: Certificate) -> list[Checked]:
    """The states that a run would go on from, and how exactly it would."""
    from training.certificate import file_state_digest

    let_go = gone(folder)
    there = {name: digest for name, digest in certificate.state_digests.items() if name not in let_go}
    wrong = [name for name, digest in there.items() if file_state_digest(folder / name) != digest]
    told = ", ".join(wrong) or f"{len(there)} files, each tensor and number"
    if let_go:
        told = f"let go by the run's keep; `neo prove {run.name}@{certificate.step}` trains to them again"
    exact = bool(certificate.machine.get("deterministic"))
    asked = "deterministic kernels were asked for: bit for bit, at the same world size and on the same kind of machine"
    resumes = asked if exact else f"not bit for bit: runs.{run.name}.deterministic is false"
    return [
        Checked("weights, optimizer and random states", not wrong, told),
        Checked("how it resumes", True, resumes),
    ]


def _history_claims(run: FoundRun, step: int, certificate: Certificate) -> tuple[int, list[Checked]]:
    """Tokens trained before the run's first step, and what the metrics of every step must agree with."""
    from training.certificate import chain, read_certificate, start_of_history
    from training.checkpoint import read_metrics

    there, schedule = run.checkpoints(), run.config.run.schedule
    rows = read_metrics([there[s] for s in sorted(there) if certificate.first_step < s <= step])
    complete = [row["step"] for row in rows] == list(range(certificate.first_step + 1, step + 1))
    begun, start_tokens = start_of_history(), 0
    if certificate.origin and certificate.origin.take == "everything":
        parent = read_certificate(run.start())
        begun, start_tokens = parent.history_digest, parent.trained_tokens
    chained = complete and chain(begun, rows) == certificate.history_digest
    off = [int(row["step"]) for row in rows if row["lr"] != learning_rate(schedule, int(row["step"]) - 1)]
    return start_tokens, [
        Checked("every step has its row of metrics", complete, f"{len(rows)} of {step - certificate.first_step}"),
        Checked("the loss history, chained step by step", chained, certificate.history_digest),
        Checked("each step's learning rate is the schedule's", not off, f"not at {off[:5]}" if off else schedule.kind),
    ]


def _data_claims(run: FoundRun, step: int, certificate: Certificate, start_tokens: int) -> list[Checked]:
    """What a certificate says of the data: which stream, how far in it, how many tokens were trained on."""
    stream, order = (ledger := run.ledger()).stream, ledger.order
    facts = stream_facts(run.shards)
    files = stream_digest(run.shards)
    claims = [
        Checked(
            "the token stream is the one it was trained on",
            facts["digest"] == files == certificate.stream,
            certificate.stream,
        )
    ]
    places = (step - certificate.first_step) * run.config.run.global_batch
    at = int(order.samples_at(places))
    claims.append(Checked("the next sample follows from the step", at == certificate.next_sample, f"sample {at:,}"))
    tokens = start_tokens
    for first in range(certificate.first_step + 1, step + 1, 1000):
        tokens += stream.trained_tokens(order.sequences_of(ledger.samples(first, min(step, first + 999))))
    claims.append(
        Checked("trained tokens, counted again from the stream", tokens == certificate.trained_tokens, f"{tokens:,}")
    )
    return claims


def _withdrawal_claims(run: FoundRun, step: int) -> list[Checked]:
    """Whether a step that led here read what was withdrawn from the run's stream since. Nothing, where nothing was."""
    if not isinstance(stream := run.ledger().stream, MaskedStream):
        return []
    ids = sorted(set(rows_of(run.shards, stream.masked).column("doc_id").to_pylist()))
    read = []
    for part, first, last in parts_behind(run.store, run, step):
        if first < last and len(steps := part.ledger().when(ids, last).column("step")):
            read.append(f"{part.name} {part.config.run_fingerprint[:12]} in step {min(steps.to_pylist()):,}")
    told = f"read by {', '.join(read)}" if read else f"{counted(len(ids), 'document')}, read by no step"
    return [Checked("nothing was learnt of what is withdrawn from its stream", not read, told)]


def _digest_of_start(run: FoundRun) -> str | None:
    """Digest of what a run started from, as it lies there now; None where it is gone or cannot be read."""
    folder = run.start()
    if run.config.start and run.config.start.foreign:
        return content_digest(folder) if folder.is_dir() else None
    try:
        return read_manifest(folder).digest
    except (FileNotFoundError, DamagedArtifact):
        return None


# ------------------------------------------------------------------ proving


def proof_spec(run: FoundRun, step: int, store: Store) -> tuple[JobSpec, Path]:
    """The job that trains from the checkpoint before ``step`` to ``step``, with today's code; and the folder its
    checkpoint will be in.

    Raises:
        BadInput: ``step`` is where the run starts: there is nothing before it.
    """
    from training.certificate import read_certificate

    config = run.config
    there = [s for s in run.whole_checkpoints() if s < step]
    if not there:
        raise BadInput(
            f"{run.name}@{step} is where the run starts: nothing comes before it that it could be trained from. `neo"
            f" verify {run.name}@{step}` checks it."
        )
    before = max(there)
    folder = run.checkpoints()[before]
    start = config.start
    if before > config.first_step or (start is not None and start.take == "everything"):
        start = Start(
            folder=store.relative(folder),
            digest=read_manifest(folder).digest,
            step=before,
            next_sample=read_certificate(folder).next_sample,
            take="everything",
        )
    today = claimed(run.spec.program)
    fingerprint = digest_json(["proof", config.run_fingerprint, step, today["code"], today["libraries"]])
    out = f"jobs/{fingerprint}/out"
    told = config.model_copy(update={"start": start, "stop_at": step, "whole": None}).model_dump()
    name = checkpoint_name(step, config.run_fingerprint)
    changes = {
        "work_fingerprint": fingerprint,
        "title": f"proof of {run.name}@{step}",
        "config": told,
        "out": out,
        "max_attempts": 1,
    }
    changes |= {"makes": [f"{PROOFS}/{run.name}/{name}.json"], **today}
    return run.spec.model_copy(update=changes), store.resolve(out) / name


def prove(run: FoundRun, step: int, folder: Path, store: Store, jobs: Compute) -> list[Checked]:
    """Train from the checkpoint before to this one, compare bit by bit with what its certificate says, and keep a
    record of it in the store.

    The last claim is a note: whether code, libraries and machine are those it was trained with.

    Raises:
        DamagedArtifact: the checkpoint's files are not what was saved: there is nothing to prove.
        JobFailed: the training job did not get there, or was cancelled.
    """
    quiet_deepspeed()
    from training.certificate import read_certificate
    from training.checkpoint import damage, read_metrics

    if problem := damage(folder):
        raise DamagedArtifact(
            f"checkpoint {folder.name} is damaged: {problem}. Training again would prove what it was, not what it is."
        )
    spec, retrained = proof_spec(run, step, store)
    job = JobFolder(store.root / "jobs" / spec.work_fingerprint)
    if job.exists() and jobs.poll(job) is JobState.SUCCEEDED:
        shutil.rmtree(job.path)  # a proof is trained anew each time it is asked for
    attached = jobs.submit(spec)
    for _ in jobs.follow(attached):
        pass
    was, now = read_certificate(folder), read_certificate(retrained)
    claims = [
        Checked(
            name.replace("_", " "),
            value == now.outcome()[name],
            _difference(name, value, now.outcome()[name], folder, retrained),
        )
        for name, value in was.outcome().items()
    ]
    first = PretrainConfig.model_validate(spec.config).first_step
    again = [p.parent for p in sorted(retrained.parent.glob(f"[0-9]*/{MANIFEST}"))]
    then = [*(place for s, place in sorted(run.checkpoints().items()) if first < s < step), folder]
    losses = [[row["loss"] for row in read_metrics(folders)] for folders in (then, again)]
    claims.append(Checked("every step's loss", losses[0] == losses[1], f"{len(losses[0])} steps, from {first} on"))
    notes = code_differences(was.code, now.code)
    notes += [
        f"{name} was {version}, is {now.versions.get(name)}"
        for name, version in was.versions.items()
        if now.versions.get(name) != version
    ]
    notes += [
        f"{name.replace('_', ' ')} was {value}, is {now.machine.get(name)}"
        for name, value in was.machine.items()
        if now.machine.get(name) != value
    ]
    if not was.machine.get("deterministic"):
        notes.append(f"the run was not asked to be reproducible (runs.{run.name}.deterministic: false)")
    held = all(c.holds for c in claims)
    record = {
        "checkpoint": folder.name,
        "held": held,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": now.machine,
        "differs": notes,
        "claims": [c.row() for c in claims],
    }
    target = store.root / PROOFS / run.name / f"{folder.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    records.write_text(target, json.dumps(record, ensure_ascii=False, indent=1))
    if held:
        store.remove(job.path)
    return [
        *claims,
        Checked("same code, libraries and kind of machine", not notes, "; ".join(notes) or "as when it was trained"),
    ]


def code_differences(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Modules whose code differs, in words. ``stage`` is the asset's name, no module."""
    return [
        f"{module} has changed" for module in sorted({*was, *now} - {"stage"}) if was.get(module) != now.get(module)
    ]


def quiet_deepspeed() -> None:
    """Keep DeepSpeed, which unpickling a checkpoint imports, from remarking on standard output that there is no GPU."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")


def last_proof(store: Store, run: str, checkpoint: str) -> str | None:
    """When a checkpoint was proved last, in words."""
    file = store.root / PROOFS / run / f"{checkpoint}.json"
    if not file.is_file():
        return None
    record = json.loads(file.read_text(encoding="utf-8"))
    return f"{'proved' if record['held'] else 'NOT reproduced'} {record['at']} on {record['machine']['device']}"


def _difference(name: str, was: object, now: object, folder: Path, retrained: Path) -> str:
    if was == now:
        return f"{len(was)} files" if isinstance(was, dict) else str(was)
    if name != "state_digests":
        return f"was {was}, is {now}"
    from training.weights import master_weights

    assert isinstance(was, dict) and isinstance(now, dict)
    files = [file for file in was if was[file] != now.get(file)]
    try:
        before, after = master_weights(folder), master_weights(retrained)
        largest = max(float((before[w] - after[w]).abs().max()) for w in before)
    except (NeoError, RuntimeError, KeyError) as error:
        return f"{', '.join(files)} differ ({error})"
    return f"{', '.join(files)} differ; the largest difference of a weight is {largest:.3g}"
