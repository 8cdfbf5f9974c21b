"""``reward_model/‹run›``: the last checkpoint of a reward model as a Hugging Face folder; and the job that asks such a
model, for ``reward_report/‹run›`` and for what models write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from neo_assets.align.reward_report import CHOSEN, REJECTED, RewardReportInput, judged_pairs, report
from neo_assets.align.sets import HELD_OUT_FILE
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.run import Run
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.core.trainings import trained_run
from neo_assets.runs.export import ExportInput, export_model
from neo_assets.runs.job_stage import THREADS, Aside
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
    aside: Aside,
) -> Outcome:
    """The last checkpoint of a reward model as a Hugging Face folder, which loads with transformers alone as
    ``LlamaForSequenceClassification``: one number of a whole conversation.
    """
    run = config.export.run
    (trained,) = (made for name, made in inputs.items() if trained_run(name) == run)
    checkpoint = aside.store.require(f"checkpoint/{run}", checkpoint_name(config.last_step, trained.fingerprint))
    given = {f"checkpoint/{run}": checkpoint, "tokenizer": inputs["tokenizer"]}
    return export_model(config.export, given, out, aside)


def reward_report(
    config: RewardReportInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> Outcome:
    """Rewards of both answers of every held-out pair: how often the better one gets the higher, how far its confidence
    can be believed, and what "the longer one is better" would have got.
    """
    sets = {name: inputs[f"preferences/{name}"] for name in config.sets}
    given = {MODEL: inputs[f"{KEY}/{config.run}"].path, **{name: made.path for name, made in sets.items()}}
    score_answers(HELD_OUT_FILE, "pair_id", [CHOSEN, REJECTED], given, out, aside)
    return report(config, judged_pairs(out.path / FILE, sets), out)


def score_answers(
    file: str,
    key: str,
    answers: Sequence[str],
    given: Mapping[str, Path],
    out: Workspace,
    aside: Aside,
    dtype: str = "fp32",
) -> None:
    """Have a job reward every answer in these folders' tables; its table is taken into ``out``."""
    told = RewardingConfig(file=file, id=key, answers=list(answers), batch_size=BATCH, threads=THREADS, dtype=dtype)
    aside.run(PROGRAM, told.model_dump(), given, out)


def reward_export(run: str, told: Run, rows: int, template: str) -> RewardModelInput:
    export = ExportInput(run=run, model=told.model, vocab_rows=rows, template=template, scored=True)
    return RewardModelInput(export=export, last_step=told.steps)
