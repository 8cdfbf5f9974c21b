"""``reward_model/‹run›``: the last checkpoint of a reward model as a Hugging Face folder; ``reward_report/‹run›``: how
well it tells the better of two held-out answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neo_assets.align.reward_report import CHOSEN, REJECTED, RewardReportInput, judged_pairs, report
from neo_assets.align.sets import HELD_OUT_FILE
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.run import Run
from neo_assets.core.store import Artifact, Outcome, Store, Workspace
from neo_assets.core.trainings import trained_run
from neo_assets.declare import AttendedStage, Making
from neo_assets.runs.export import EXPORT_THREADS, ExportInput, export_model, run_to_end, take
from resources.compute.base import Compute
from training.rewarding import FILE, MODEL, RewardingConfig
from training.spec import checkpoint_name

KEY, PROGRAM = "reward_model", "training.rewarding"
BATCH = 16
"""Answers of one length that are asked about at once."""


class RewardModelInput(Section):
    export: ExportInput
    last_step: int


def exported_reward_model(
    config: RewardModelInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    fingerprint: str,
    store: Store,
    jobs: Compute,
) -> Outcome:
    """The last checkpoint of a reward model as a Hugging Face folder, which loads with transformers alone as
    ``LlamaForSequenceClassification``: one number of a whole conversation.
    """
    run = config.export.run
    (trained,) = (made for name, made in inputs.items() if trained_run(name) == run)
    checkpoint = store.require(f"checkpoint/{run}", checkpoint_name(config.last_step, trained.fingerprint))
    given = {f"checkpoint/{run}": checkpoint, "tokenizer": inputs["tokenizer"]}
    return export_model(config.export, given, out, fingerprint=fingerprint, store=store, jobs=jobs, key=KEY)


def reward_report(
    config: RewardReportInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    fingerprint: str,
    store: Store,
    jobs: Compute,
) -> Outcome:
    """Rewards of both answers of every held-out pair: how often the better one gets the higher, how far its confidence
    can be believed, and what "the longer one is better" would have got.
    """
    sets = {f"preferences/{name}": inputs[f"preferences/{name}"] for name in config.sets}
    model = inputs[f"{KEY}/{config.run}"]
    given = {
        MODEL: store.relative(model.path),
        **{n.partition("/")[2]: store.relative(m.path) for n, m in sets.items()},
    }
    score_answers(
        HELD_OUT_FILE,
        "pair_id",
        [CHOSEN, REJECTED],
        given,
        f"reward_report/{config.run}",
        fingerprint,
        store,
        jobs,
        out,
    )
    pairs = judged_pairs(out.path / FILE, {n.partition("/")[2]: made for n, made in sets.items()})
    return report(config, pairs, out)


def score_answers(
    file: str,
    key: str,
    answers: Sequence[str],
    given: Mapping[str, str],
    title: str,
    fingerprint: str,
    store: Store,
    jobs: Compute,
    out: Workspace,
    dtype: str = "fp32",
) -> None:
    """Have a job reward every answer in these folders' tables; its table is taken into ``out``."""
    told = RewardingConfig(
        file=file, id=key, answers=list(answers), batch_size=BATCH, threads=EXPORT_THREADS, dtype=dtype
    )
    spec = JobSpec(
        work_fingerprint=fingerprint,
        title=title,
        program=PROGRAM,
        **claimed(PROGRAM),
        max_attempts=2,
        threads_per_rank=EXPORT_THREADS,
        config=told.model_dump(),
        inputs=dict(given),
        out=f"jobs/{fingerprint}/out",
        makes=[f"{title}/{fingerprint}"],
    )
    run_to_end(jobs, spec)
    take(store.root / spec.out, out)


@dataclass(frozen=True)
class RewardModel(AttendedStage[RewardModelInput]):
    """Asked of the compute backend."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        fingerprint = self.made_from(at.inputs).fingerprint
        return exported_reward_model(
            self.config, at.inputs, out, fingerprint=fingerprint, store=at.store, jobs=at.compute
        )


@dataclass(frozen=True)
class RewardReport(AttendedStage[RewardReportInput]):
    """Asked of the compute backend."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        fingerprint = self.made_from(at.inputs).fingerprint
        return reward_report(self.config, at.inputs, out, fingerprint=fingerprint, store=at.store, jobs=at.compute)


def reward_export(run: str, told: Run, rows: int, template: str) -> RewardModelInput:
    export = ExportInput(run=run, model=told.model, vocab_rows=rows, template=template, scored=True)
    return RewardModelInput(export=export, last_step=told.steps)
