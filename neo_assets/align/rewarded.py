"""``rewards/‹run›``: how good each answer of a model is, by what the recipe says: a reward model or a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
from neo_assets.core.store import Artifact, Check, Outcome, Store, Workspace
from neo_assets.declare import AttendedStage, Making
from resources.compute.base import Compute
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

    title: str
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
    *,
    fingerprint: str,
    store: Store,
    jobs: Compute,
) -> Outcome:
    """A number an answer: a reward model's, in a job of its own; or by rule, from the set's own answer."""
    reward_answers(config, inputs, out, fingerprint, store, jobs)
    rows = records.read_table(out.path / FILE, REWARDS)
    given = rows.column("reward").drop_null().to_numpy()
    answers = inputs[config.answers].table(ANSWERS_FILE, ANSWERS).num_rows
    spread = {f"{q:.0%}": round(float(value), 4) for q, value in zip(QUANTILES, _quantiles(given), strict=True)}
    return Outcome(
        digest=digest_file(out.path / FILE),
        rows_in=answers,
        rows_kept=len(given),
        rows_dropped=answers - len(given),
        numbers={"answers": rows.num_rows, "without": rows.num_rows - len(given)},
        tables={"rewards": [{"share of answers below": share, "reward": value} for share, value in spread.items()]},
        checks=[
            Check(
                name="every_answer",
                passed=rows.num_rows == answers and len(given) > 0,
                detail=f"{rows.num_rows} of {answers} answers; {rows.num_rows - len(given)} have no reward: they say"
                " nothing, or are too long",
            )
        ],
    )


def _quantiles(values: object) -> list[float]:
    import numpy as np

    given = np.asarray(values, np.float64)
    return np.quantile(given, QUANTILES).tolist() if len(given) else [float("nan")] * len(QUANTILES)


def reward_answers(
    config: RewardsInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    fingerprint: str,
    store: Store,
    jobs: Compute,
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
    model = str(folder) if folder else store.relative(inputs[reads_of(told)[0]].path)
    given, dtype = {MODEL: model, config.answers: store.relative(answers.path)}, config.judged_by.dtype
    score_answers(ANSWERS_FILE, "id", [ANSWER], given, config.title, fingerprint, store, jobs, out, dtype)


def by_overlap(row: Mapping[str, object]) -> float | None:
    """What an answer has in common with the set's own; 0 of one that does not end, or is no answer in its language;
    None, as of a model, of one that says nothing.
    """
    if not str(row["answer"]).strip():
        return None
    stands = row["stops"] and row["well_formed"] and row["right_language"]
    return float(str(row["overlap"])) if stands else 0.0


@dataclass(frozen=True)
class Rewards(AttendedStage[RewardsInput]):
    """Asked of the compute backend, where a model says it."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        refuse_bad_judge(at.recipe, at.store, self.config.judged_by.told.run)
        fingerprint = self.made_from(at.inputs).fingerprint
        return rewards(self.config, at.inputs, out, fingerprint=fingerprint, store=at.store, jobs=at.compute)
