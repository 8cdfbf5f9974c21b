"""``rewards/‹run›``: how good each answer of a model is, by what the recipe says: a reward model or a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from neo_assets.align.refused import refuse_bad_judge
from neo_assets.align.reward_model import KEY as REWARD_MODEL
from neo_assets.align.reward_model import score_answers
from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.place import recipe_path
from neo_assets.core.recipe.align import RewardedBy
from neo_assets.core.recipe.base import Section
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.declare import Making
from neo_assets.runs.job_stage import Aside, JobStage
from training.answering import ANSWERS
from training.answering import FILE as ANSWERS_FILE
from training.foreign import content_digest
from training.rewarding import FILE, MODEL, REWARDS

ANSWER = "answer"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class JudgedBy(Section):
    """``model``: digest of the folder, where it is somebody else's."""

    told: RewardedBy
    model: str | None = None
    dtype: str = "fp32"


class RewardsInput(Section):
    """``answers``: the artifact whose answers are rewarded."""

    answers: str
    judged_by: JudgedBy


def judged_by(told: RewardedBy, dtype: str) -> JudgedBy:
    """With what is known of it when definitions load; a folder that is not there is named when it is asked."""
    folder = recipe_path(told.folder) if told.folder else None
    model = content_digest(folder, remembered_digest) if folder and folder.is_dir() else None
    return JudgedBy(told=told, model=model, dtype=dtype)


def reads_of(told: RewardedBy) -> list[str]:
    """Artifacts that such a judge is."""
    return [f"{REWARD_MODEL}/{told.run}"] if told.run else []


def rewards(
    config: RewardsInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> Outcome:
    """A number an answer: a reward model's, in a job of its own; or by rule, from the set's own answer."""
    reward_answers(config, inputs, out, aside)
    rows = records.read_table(out.path / FILE, REWARDS)
    given = rows.column("reward").drop_null().to_numpy()
    answers = inputs[config.answers].table(ANSWERS_FILE, ANSWERS).num_rows
    levels = np.quantile(given, QUANTILES).round(4).tolist() if len(given) else []
    spread: list[Row] = [{"share of answers below": q, "reward": v} for q, v in zip(QUANTILES, levels, strict=False)]
    return Outcome(
        digest=digest_file(out.path / FILE),
        rows_in=answers,
        rows_kept=len(given),
        rows_dropped=answers - len(given),
        numbers={"answers": rows.num_rows, "without": rows.num_rows - len(given)},
        tables={"rewards": spread},
        checks=[
            Check(
                name="every_answer",
                passed=rows.num_rows == answers and len(given) > 0,
                detail=f"{rows.num_rows} of {answers} answers; {rows.num_rows - len(given)} have no reward: they say"
                " nothing, or are too long",
            )
        ],
    )


def reward_answers(
    config: RewardsInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> None:
    """Write a reward for each row of an artifact's answers into ``out``. Raises BadInput: the folder of somebody else's
    model is not there.
    """
    answers, told = inputs[config.answers], config.judged_by.told
    if told.rule is not None:
        rows = [
            {"set": "", "id": row["id"], "answer": ANSWER, "reward": by_overlap(row), "tokens": row["tokens"]}
            for row in answers.table(ANSWERS_FILE, ANSWERS).to_pylist()
        ]
        out.write(FILE, pa.Table.from_pylist(rows, schema=REWARDS))
        return
    folder = recipe_path(told.folder).resolve() if told.folder else None
    if folder is not None and not folder.is_dir():
        raise BadInput(f"{told.folder}, which answers are rewarded by, is no folder")
    given = {MODEL: folder or inputs[reads_of(told)[0]].path, config.answers: answers.path}
    score_answers(ANSWERS_FILE, "id", [ANSWER], given, out, aside, config.judged_by.dtype)


def by_overlap(row: Mapping[str, object]) -> float | None:
    """What an answer has in common with the set's own; 0 of one that does not end, or is no answer in its language;
    None, as of a model, of one that says nothing.
    """
    if not str(row["answer"]).strip():
        return None
    stands = row["stops"] and row["well_formed"] and row["right_language"]
    return float(str(row["overlap"])) if stands else 0.0


@dataclass(frozen=True)
class Rewards(JobStage[RewardsInput]):
    """Not asked of a reward model that its report refuses."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        refuse_bad_judge(at.recipe, at.store, self.config.judged_by.told.run)
        return super().make(at, out)
