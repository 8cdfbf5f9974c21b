"""``pretraining/‹run›``, ``sft/‹run›``: the training job, and what is left of it when it has ended."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
from pydantic import Field, ValidationError

from neo_assets.core import records
from neo_assets.core.errors import BadInput, MissingUpstream, NeoError
from neo_assets.core.frozen import claimed
from neo_assets.core.here import here
from neo_assets.core.jobs import JobFolder, JobSpec, JobState, Message, job_folders
from neo_assets.core.recipe.align import DpoLoss, RewardLoss
from neo_assets.core.recipe.base import NOT_IDENTITY, Section, identity
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.recipe.run import Parent, Run
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.scalars import real, whole
from neo_assets.core.store import MANIFEST, Artifact, Check, MadeFrom, Outcome, Row, Store, Workspace
from neo_assets.core.trainings import PROGRAMS, STREAMS, Learning, trained_run
from neo_assets.core.usage import usage
from neo_assets.core.words import spoken
from neo_assets.pages.charts import Line, curves, thinned, write_picture
from neo_assets.runs.asked import note_asked
from neo_assets.runs.found_runs import run_of
from neo_assets.runs.plan import estimate, ids
from neo_assets.runs.sealed import SEALED, seal, sealed
from resources.compute.base import Compute
from training.data.stream_files import order_key, stream_facts
from training.foreign import content_digest, shape_differences, weight_files
from training.recorder import kept
from training.reference import REFERENCE
from training.spec import PretrainConfig, Start, checkpoint_name

LAST_SHARE = 10
"""The loss over the last and the first tenth of the steps are compared."""


class PretrainInput(Section):
    name: str
    run: Run
    tokenizer: Tokenizer
    learns: Learning = "pretraining"
    imported: str | None = None  # digest of the model folder it starts from
    preference: DpoLoss | None = None  # of a run that learns from preferences
    reward: RewardLoss | None = None  # of a reward model
    whole: list[int] | None = Field(
        default=None, description="steps whose checkpoints stay whole; None: all", json_schema_extra=NOT_IDENTITY
    )
    own_pairs: bool = Field(
        False, description="whether its model writes the pairs that it learns from", json_schema_extra=NOT_IDENTITY
    )

    @property
    def stream(self) -> str:
        """The artifact that it reads."""
        return f"{STREAMS[self.learns]}/{self.name if self.own_pairs else self.run.phase}"

    @property
    def trained(self) -> str:
        """The artifact that it makes."""
        return f"{self.learns}/{self.name}"


def job_spec(config: PretrainInput, made_from: MadeFrom, inputs: Mapping[str, Artifact], store: Store) -> JobSpec:
    """The whole input of the training job."""
    run, fingerprint = config.run, made_from.fingerprint
    settings = PretrainConfig(
        run_name=config.name,
        run_fingerprint=fingerprint,
        run=run,
        vocab_rows=run.model.vocab_rows(ids(config.tokenizer)),
        start=find_start(config, inputs, store),
        preference=config.preference,
        reward=config.reward,
        whole=config.whole,
    )
    given = {"token_shards": store.relative(inputs[config.stream].path)}
    if (reference := inputs.get(f"{REFERENCE}/{config.name}")) is not None:
        given[REFERENCE] = store.relative(reference.path)
    return JobSpec(
        work_fingerprint=fingerprint,
        title=config.trained,
        program=PROGRAMS[config.learns],
        **claimed(PROGRAMS[config.learns]),
        nodes=run.nodes,
        ranks_per_node=run.ranks_per_node,
        threads_per_rank=run.threads_per_rank,
        max_attempts=run.max_attempts,
        config=settings.model_dump(),
        inputs=given,
        out=f"checkpoint/{config.name}",
        makes=[f"{config.trained}/{fingerprint}"],
    )


def refuse_another_model(name: str, run: Run, tokenizer: Tokenizer) -> None:
    """Raises BadInput where the folder that a run starts from is not there, or holds another model
    than the recipe's.
    """
    folder = Path(str(run.from_model))
    weight_files(folder)
    if wrong := shape_differences(folder, run.model, run.model.vocab_rows(ids(tokenizer))):
        raise BadInput(f"runs.{name}.from_model: {folder} is not this recipe's model: {'; '.join(wrong)}")


def find_start(config: PretrainInput, inputs: Mapping[str, Artifact], store: Store) -> Start | None:
    """The checkpoint that the run's parent names, or the model folder it starts from.

    Raises:
        NeoError: the checkpoint is not in the store; says which are.
        BadInput: the folder holds another model than the recipe's; or the run goes on in the middle of a data order
            that is not the one that was begun.
    """
    parent = config.run.parent
    if config.run.from_model is not None:
        folder = Path(config.run.from_model)
        refuse_another_model(config.name, config.run, config.tokenizer)
        return Start(
            folder=str(folder.resolve()),
            digest=content_digest(folder, remembered_digest),
            step=0,
            next_sample=0,
            take="weights",
            foreign=True,
        )
    if parent is None:
        return None
    start = start_from(parent, config.name, inputs, store)
    if parent.take == "everything":
        refuse_another_order(config, start, inputs, store)
    return start


def refuse_another_order(config: PretrainInput, start: Start, inputs: Mapping[str, Artifact], store: Store) -> None:
    """Raises BadInput where a branch would take a data position over into another order than the one it is of: it would
    read some text twice and other text never, and nobody would see it. Documents that were withdrawn change no order.
    """
    folder = Path(start.folder)
    certificate = json.loads(here(store.resolve(start.folder) / "certificate.json").read_text(encoding="utf-8"))
    then, now = certificate["stream"], order_key(stream_facts(inputs[config.stream].path))
    with contextlib.suppress(OSError, MissingUpstream):  # gone: it is in the certificate, if nothing was withdrawn then
        begun = run_of(store, folder.parent.name, folder.name.split("-")[1])
        then = order_key(stream_facts(begun.shards))
        if begun.config.run.sequence_length != config.run.sequence_length:
            now = ""
    differs = [
        *([f"the text of {config.stream}, or its sequences,"] if then != now else []),
        *(["the seed"] if certificate["seed"] != config.run.seed else []),
    ]
    if differs:
        raise BadInput(
            f"runs.{config.name} goes on from {folder.name} in the middle of its data, and {' and '.join(differs)}"
            f" {'is' if len(differs) == 1 else 'are'} not what it was then: in another order, what it has read says"
            " nothing of what is left. Take its branch out of the recipe's file of branches (it begins anew), or give"
            f" it back what {folder.parent.name} read"
        )


def start_from(parent: Parent, run: str, inputs: Mapping[str, Artifact], store: Store) -> Start:
    """The checkpoint that a run's parent names. Raises NeoError where it is not in the store; says which are."""
    made = next((made for name, made in inputs.items() if trained_run(name) == parent.run), None)
    fingerprint = parent.fingerprint or (made.fingerprint if made else "")
    step = parent.step if parent.step is not None else whole(made.manifest.numbers["last_step"]) if made else 0
    key = f"checkpoint/{parent.run}"
    folder = store.root / key / checkpoint_name(step, fingerprint)
    store.learn(key)
    if not (folder / MANIFEST).is_file():
        there = sorted(p.parent.name for p in (store.root / key).glob(f"[0-9]*/{MANIFEST}"))
        raise NeoError(
            f"runs.{run} starts from checkpoint {folder.name} of '{parent.run}', which is not in the store;"
            f" there are: {', '.join(there) or 'none'}"
        )
    checkpoint = store.require(key, folder.name).refuse_thinned()
    certificate = json.loads(checkpoint.file("certificate.json").read_text(encoding="utf-8"))
    return Start(
        folder=store.relative(folder),
        digest=checkpoint.manifest.digest,
        step=step,
        next_sample=certificate["next_sample"],
        take=parent.take,
    )


def refuse_silent_restart(spec: JobSpec, store: Store, jobs: Compute) -> None:
    """Stop when the same run, but for its code, is half done: starting anew would throw its steps away unasked.

    Raises:
        NeoError: names the unfinished job and what can be done.
    """
    for folder in unfinished(spec.title, store, jobs):
        if folder.fingerprint != spec.work_fingerprint and _but_for_code(folder.spec()) == _but_for_code(spec):
            name = spec.title.partition("/")[2]
            raise NeoError(
                f"{spec.title}: job {folder.fingerprint[:12]} of this same run is unfinished ({jobs.poll(folder)}) and"
                f" was started by other code. `neo continue {name}` goes on from its last checkpoint under this code,"
                " as a recorded branch. Or check out the code it was started with and let it finish, or give its steps"
                f" up with `neo cancel --abandon {folder.fingerprint[:12]}` and materialize again."
            )


def unfinished(title: str, store: Store, jobs: Compute) -> list[JobFolder]:
    """Jobs with this title that have not succeeded and were not given up, newest last."""
    return [
        f
        for f in job_folders(store.root)
        if f.title == title and not (f.path / "abandoned").exists() and jobs.poll(f) is not JobState.SUCCEEDED
    ]


def _but_for_code(spec: JobSpec) -> dict[str, object] | None:
    """What a run is, its code and where it lies aside; None for a specification of an older form."""
    try:
        config = PretrainConfig.model_validate(spec.config)
    except ValidationError:
        return None
    return {
        "run": identity(config.run),
        "rows": config.vocab_rows,
        "start": config.start and config.start.digest,
        "preference": config.preference and identity(config.preference),
        "reward": config.reward and identity(config.reward),
        "inputs": spec.inputs,
    }


def pretrain(
    config: PretrainInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    recipe: str,
    made_from: MadeFrom,
    store: Store,
    jobs: Compute,
    report: Callable[[Message], None],
    forecast: Artifact | None = None,
) -> Outcome:
    """The training job of one run: torchrun and DeepSpeed, in a process of its own that outlives the Dagster run.

    Asked for again while the job runs, this attaches to it; a job that was killed goes on from its last checkpoint.
    Checkpoints appear as partitions of `checkpoint` while training runs. What stays here is the job's specification,
    its log and the loss curve; and what was foretold of the run, which its job takes with it before its first attempt.
    """
    spec = job_spec(config, made_from, inputs, store)
    refuse_silent_restart(spec, store, jobs)
    note_asked(store, recipe, config.name, spec.work_fingerprint)
    if forecast is not None and seal(jobs.folder(spec.work_fingerprint), forecast):
        out.log(f"forecast {forecast.fingerprint[:12]} is sealed in this run's job, before its first step")
    folder = jobs.submit(spec)
    out.log(
        f"job {folder.fingerprint[:12]}: `neo logs -f {folder.fingerprint[:12]}` follows it, `neo cancel"
        f" {folder.fingerprint[:12]}` stops it; it goes on without this Dagster run"
    )
    for message in jobs.follow(folder):
        report(message)
    return collect(config, made_from.fingerprint, folder, store, out)


def checkpoint_folders(store: Store, run_name: str, run: Run, run_fingerprint: str) -> list[Path]:
    """Folders of all checkpoints this run must have, in step order. Raises NeoError for one that is not there."""
    folders = [
        store.root / "checkpoint" / run_name / checkpoint_name(step, run_fingerprint) for step in run.checkpoint_steps()
    ]
    store.learn(f"checkpoint/{run_name}")
    for folder in folders:
        if not (folder / "manifest.json").is_file():
            raise NeoError(f"the training of {run_name} has ended, but checkpoint {folder.name} is not in the store")
    return folders


def collect(config: PretrainInput, fingerprint: str, folder: JobFolder, store: Store, out: Workspace) -> Outcome:
    """Gather the run's metrics from its checkpoints, draw the loss, and judge it."""
    folders = checkpoint_folders(store, config.name, config.run, fingerprint)
    metrics = pa.concat_tables([records.read_table(f / "metrics.parquet") for f in folders])
    out.write("metrics.parquet", metrics)
    out.write_text("spec.json", folder.spec().model_dump_json(indent=1))
    out.write_text("log.txt", folder.log_file.read_text(encoding="utf-8", errors="replace"))
    out.write_text("config.json", json.dumps(identity(config), indent=1))
    losses = [float(v) for v in metrics.column("loss").to_pylist()]
    _draw_loss(metrics, out.path / "loss.svg")
    tenth = max(1, len(losses) // LAST_SHARE)
    first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
    rates = sorted(float(v) for v in metrics.column("tokens_per_s").to_pylist())
    finite = all(math.isfinite(v) for v in losses)
    last_checkpoint = store.require(f"checkpoint/{config.name}", folders[-1].name)
    if (told := sealed(folder)) is not None:
        out.write_text(SEALED, told.model_dump_json(indent=1))
    troubles = [t.model_dump() for t in kept(folder.path)]
    out.write_text("trouble.json", json.dumps(troubles, ensure_ascii=False, indent=1))
    return Outcome(
        digest=last_checkpoint.manifest.digest,
        numbers={
            "last_step": config.run.steps,
            "steps": len(losses),
            "first_tenth_loss": round(first, 4),
            "last_tenth_loss": round(last, 4),
            "trained_tokens": int(metrics.column("tokens").to_pylist()[-1]),
            "median_tokens_per_s": round(rates[len(rates) // 2], 1),
            "checkpoints": len(folders),
            "attempts": len(folder.attempts()),
            "troubled_steps": len(troubles),
            "job": folder.fingerprint,
        },
        tables={
            "plan and outcome": plan_and_outcome(config, folder, folders, metrics),
            "troubled steps": [
                {n: t[n] for n in ("step", "kind", "value", "median")} | {"documents": len(t["documents"])}
                for t in troubles
            ],
        },
        pictures={"loss": "loss.svg"},
        checks=[
            Check(
                name="every_step_recorded",
                passed=metrics.column("step").to_pylist()
                == list(range(config.run.first_step + 1, config.run.steps + 1)),
                detail=f"{len(losses)} of {config.run.steps - config.run.first_step} steps",
            ),
            Check(
                name="loss_finite",
                passed=finite,
                detail=f"{sum(not math.isfinite(v) for v in losses)} steps with a loss that is no number",
            ),
            # A run that starts from weights may begin at its lowest loss: there, this is a remark.
            Check(
                name="loss_falls",
                passed=last < first,
                detail=f"mean loss {first:.4f} over the first tenth of steps, {last:.4f} over the last",
                blocking=from_scratch(config.run),
            ),
        ],
    )


def from_scratch(run: Run) -> bool:
    return run.parent is None and run.from_model is None


def plan_and_outcome(config: PretrainInput, folder: JobFolder, folders: list[Path], metrics: pa.Table) -> list[Row]:
    """What was planned before the run, and what came of it."""
    planned, used = estimate(config.run, config.tokenizer, scored=config.reward is not None), usage(folder)
    size = sum(f.stat().st_size for checkpoint in folders for f in checkpoint.rglob("*") if f.is_file())
    tokens = int(metrics.column("tokens").to_pylist()[-1]) - int(
        json.loads(here(folders[0] / "certificate.json").read_text(encoding="utf-8"))["trained_tokens"]
    )
    rate = next(value for name, value in planned.items() if name.startswith("tokens/s a rank"))
    counts, steps = "pairs" if STREAMS[config.learns] == "pair_shards" else "tokens", config.run.steps
    learnt = planned["tokens"] if counts == "tokens" else (steps - config.run.first_step) * config.run.global_batch
    energy = f"{used.joules / 3.6e6:.4g} kWh ({used.measured_by})" if used.joules is not None else used.measured_by
    rows: list[tuple[str, object, object]] = [
        (counts, learnt, tokens),
        ("hours", planned["hours"], round(used.seconds / 3600, 4)),
        ("rank-hours", round(real(planned["hours"]) * config.run.ranks, 4), round(used.rank_hours, 4)),
        (
            f"{counts}/s a rank",
            rate if counts == "tokens" else "not planned",
            round(tokens / max(used.seconds, 1e-9) / config.run.ranks, 1),
        ),
        ("bytes of checkpoints", planned["bytes of checkpoints"], size),
        ("energy", "not planned", energy),
    ]
    return [{"": name, "planned": spoken(plan), "outcome": spoken(outcome)} for name, plan, outcome in rows]


def _draw_loss(metrics: pa.Table, target: Path) -> None:
    points, block = thinned(metrics.column("step").to_pylist(), metrics.column("loss").to_pylist())
    title = "loss, nats a token" + (f" (means over {block} steps)" if block > 1 else "")
    write_picture(curves(title, [Line(points)], "step"), target)
