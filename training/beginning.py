"""Where a training job begins: its newest sound checkpoint, another run's, somebody else's weights, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.jobs import JobFolder, Reporter
from neo_assets.core.store import read_manifest
from training.certificate import read_certificate, start_of_history
from training.checkpoint import Checkpoints, Progress, damage
from training.engine import build_engine, seed_everything
from training.foreign import content_digest, foreign_weights
from training.machine import Machine, differences
from training.model import build_model, build_scorer, load_body, load_weights, recompute
from training.spec import PretrainConfig, Start
from training.telling import announce
from training.weights import master_weights, universal

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


def begin(
    config: PretrainConfig,
    checkpoints: Checkpoints,
    job: JobFolder,
    machine: Machine,
    reporter: Reporter,
    say: Callable[[str], None],
) -> tuple[DeepSpeedEngine, Progress]:
    """The engine, in the state of the newest sound checkpoint of this run, or of what the run starts from."""
    run, start = config.run, config.start
    found = _newest(checkpoints, reporter, say)
    if start is not None and (found is None or found[0] == config.first_step):
        _refuse_damaged(start, checkpoints.rank)
    seed_everything(run.seed)
    scored = config.reward is not None
    build = build_scorer if scored else build_model
    model = build(run.model, config.vocab_rows, seed=run.seed, attention=machine.attention)
    recompute(model.train(), run.recompute)
    if start is not None and start.take == "weights":
        # Under bf16 DeepSpeed's masters begin as rounded weights: as the parent was published, and as Megatron's
        # --finetune loads it.
        folder = Path(start.folder)
        take = load_body if scored else load_weights
        take(model, foreign_weights(folder) if start.foreign else master_weights(folder))
        say(f"weights of {Path(start.folder).name}")
    if found is not None and found[0] > config.first_step:
        engine = build_engine(model, run)
        certificate = read_certificate(found[1])
        _refuse_another_machine(certificate.machine, machine, found[1].name, config)
        return engine, checkpoints.progress(found[1], checkpoints.load(engine, found[1]))
    if start is not None and start.take == "everything":
        engine, progress = _branch(start, model, config, checkpoints, job, machine, say)
    else:
        # Step 0 holds freshly built weights: building them again from the seed is the same, and has no optimizer state
        # to restore.
        engine, progress = build_engine(model, run), Progress(0, 0, start_of_history(), [])
    if not checkpoints.folder(config.first_step).is_dir():
        # What the run starts from is committed before its first random draw.
        checkpoints.save(engine, progress, config.start_sample)
        checkpoints.settle()
    return engine, progress


def _branch(
    start: Start,
    model: torch.nn.Module,
    config: PretrainConfig,
    checkpoints: Checkpoints,
    job: JobFolder,
    machine: Machine,
    say: Callable[[str], None],
) -> tuple[DeepSpeedEngine, Progress]:
    """Weights, optimizer and position of another run's checkpoint, for this world size. Its loss
    history goes on, too.
    """
    folder = Path(start.folder)
    certificate = read_certificate(folder)
    same = (
        certificate.machine.get("world_size") == machine.world_size
        and certificate.zero_stage == config.run.zero_stage
        and certificate.precision == config.run.precision
    )
    if same:
        engine = build_engine(model, config.run)
        checkpoints.load(engine, folder)
    else:
        say(
            f"{folder.name} was saved by {certificate.machine.get('world_size')} ranks, ZeRO {certificate.zero_stage}:"
            f" converting it for {machine.world_size} ranks, ZeRO {config.run.zero_stage}"
        )
        converted = universal(folder, job.path / "universal", checkpoints.rank)
        engine = build_engine(model, config.run, load_universal=True)
        checkpoints.load(engine, converted, same_world=False)
    engine.micro_steps = 0  # another batch has another number of micro-batches a step
    say(
        f"goes on from {folder.name}"
        + "".join(f"; {line}" for line in differences(certificate.machine, machine.plain()))
    )
    return engine, Progress(certificate.step, certificate.trained_tokens, certificate.history_digest, [])


def _newest(checkpoints: Checkpoints, reporter: Reporter, say: Callable[[str], None]) -> tuple[int, Path] | None:
    """The newest sound checkpoint of this run, the same on every rank; all that are there are announced."""
    chosen: list[tuple[int, Path] | None] = [None]
    if checkpoints.rank == 0:
        chosen = [checkpoints.last_sound(say)]
        for _, folder in checkpoints.committed():
            with contextlib.suppress(DamagedArtifact):  # set aside by whoever needs it
                announce(reporter, read_manifest(folder))
    dist.broadcast_object_list(chosen, src=0)
    return chosen[0]


def _refuse_damaged(start: Start, rank: int) -> None:
    """Raises SystemExit on every rank where what the run starts from is not what it was when the run was asked for."""
    folder = Path(start.folder)
    problem: list[str | None] = [None]
    if rank == 0 and start.foreign:
        problem = [
            None if content_digest(folder) == start.digest else "its files have changed since the run was asked for"
        ]
    elif rank == 0:
        problem = [damage(folder)]
    dist.broadcast_object_list(problem, src=0)
    if problem[0] is not None:
        raise SystemExit(f"{folder}, which this run starts from, is damaged: {problem[0]}")


def _refuse_another_machine(
    before: dict[str, object], machine: Machine, checkpoint: str, config: PretrainConfig
) -> None:
    """Other hardware or another kernel would go on without an error and end with other bits."""
    if changed := differences(before, machine.plain()):
        raise SystemExit(
            f"checkpoint {checkpoint} was made on another kind of machine ({'; '.join(changed)}): going on here would"
            " not give the bits it would give there. Run it where it began, or ask for a branch: neo continue"
            f" {config.run_name}"
        )
