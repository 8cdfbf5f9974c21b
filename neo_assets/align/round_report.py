"""``round_report/‹run›``: what became of a model that learnt preferences, against the model it began from: whether
it got better by a judge apart from the reward, and what it paid for it. Each is a guard with a bound in the recipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neo_assets.align.reward_numbers import Accuracy, accuracy
from neo_assets.align.round_names import POLICY, ROUND_ANSWERS, ROUND_REWARDS
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.intervals import mean_interval
from neo_assets.core.recipe.align import Guards
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from training.answering import AFTER, ANSWERS, BEFORE, JUDGED, TEXT_ROWS, TEXTS
from training.answering import FILE as ANSWERS_FILE
from training.data.pair_stream import BETTER, WORSE
from training.reference import FILE as SUMS
from training.reference import REFERENCE
from training.rewarding import FILE as REWARDS_FILE
from training.rewarding import REWARDS

SHOWN = 3
"""Answers of each language that the artifact's page shows, before and after."""
Item = dict[str, Any]


class RoundReportInput(Section):
    run: str
    stream: str
    guards: Guards
    rewarded: bool  # whether answers have rewards


@dataclass(frozen=True)
class Moved:
    """A mean before and after, over the same prompts; their difference with its 95 % interval (a bootstrap's)."""

    before: float
    after: float
    low: float
    high: float

    @property
    def by(self) -> float:
        return self.after - self.before


def moved(before: Sequence[float], after: Sequence[float]) -> Moved:
    """Raises ValueError where nothing was asked."""
    if not before:
        raise ValueError("nothing was asked")
    one, two = np.array(before, np.float64), np.array(after, np.float64)
    return Moved(float(one.mean()), float(two.mean()), *mean_interval(two - one, np.ones_like(one)))


@dataclass(frozen=True)
class Found:
    """What a round did. ``judged``: by judgement; ``kl``: nats a token; ``chosen``, ``rejected``: nats a token by which
    the two answers of the pairs it learnt from became likelier; ``right``: share of the pairs whose margin grew;
    ``forgotten``: bits per byte of held-out text, as a share of before; ``wins``: share of the prompts whose answer got
    the higher reward after, a tie as a half.
    """

    prompts: int
    judged: dict[str, Moved]
    distinct: tuple[float, float]
    characters: tuple[float, float]
    kl: float
    chosen: float
    rejected: float
    right: float
    forgotten: float
    reward: Moved | None
    wins: Accuracy | None


def measure(inputs: Mapping[str, Artifact], config: RoundReportInput) -> tuple[Found, list[Item], list[Item]]:
    """What was found, and the rows before and after, in one order."""
    made = inputs[f"{ROUND_ANSWERS}/{config.run}"]
    rows = made.table(ANSWERS_FILE, ANSWERS).to_pylist()
    sides = {
        name: sorted((r for r in rows if r["model"] == name), key=lambda r: (r["set"], r["prompt_id"]))
        for name in (BEFORE, AFTER)
    }
    before, after = sides[BEFORE], sides[AFTER]
    assert [r["prompt_id"] for r in before] == [r["prompt_id"] for r in after]
    compared = [r for r in after if r["kl"] is not None]
    chosen, rejected, right = _ratios(inputs, config)
    reward, wins = _rewards(inputs, config, before, after) if config.rewarded else (None, None)
    found = Found(
        prompts=len(after),
        judged={name: moved([r[name] for r in before], [r[name] for r in after]) for name in JUDGED},
        distinct=(_distinct(before), _distinct(after)),
        characters=(_characters(before), _characters(after)),
        kl=sum(r["kl"] for r in compared) / max(1, sum(r["tokens"] for r in compared)),
        chosen=chosen,
        rejected=rejected,
        right=right,
        forgotten=_forgotten(made.table(TEXTS, TEXT_ROWS).to_pylist()),
        reward=reward,
        wins=wins,
    )
    return found, before, after


def _distinct(rows: Sequence[Item]) -> float:
    return len({r["answer"].strip() for r in rows}) / len(rows)


def _characters(rows: Sequence[Item]) -> float:
    return sum(len(r["answer"].strip()) for r in rows) / len(rows)


def _forgotten(rows: Sequence[Item]) -> float:
    """Of the same text, so that nats say what bits per byte would."""
    nats = {name: sum(r["nats"] for r in rows if r["model"] == name) for name in (BEFORE, AFTER)}
    return nats[AFTER] / nats[BEFORE] - 1 if nats[BEFORE] else float("nan")


def _ratios(inputs: Mapping[str, Artifact], config: RoundReportInput) -> tuple[float, float, float]:
    """(of the better answers, of the worse, share of pairs whose margin grew)."""
    reference, policy = (
        np.load(inputs[f"{kind}/{config.run}"].file(SUMS), allow_pickle=False).astype(np.float64)
        for kind in (REFERENCE, POLICY)
    )
    ratios = policy - reference
    tokens = _answer_tokens(inputs[config.stream])
    better, worse = (float(ratios[:, side].sum() / tokens[side]) for side in (BETTER, WORSE))
    margin = ratios[:, BETTER] - ratios[:, WORSE]
    return better, worse, float((margin > 0).mean() + (margin == 0).mean() / 2)


def _answer_tokens(shards: Artifact) -> tuple[int, int]:
    """Learnt tokens of all better answers, and of all worse."""
    learnt = np.fromfile(shards.file("learnt.bin"), np.uint8)
    index = records.read_table(shards.file("index.parquet"))
    counts = np.add.reduceat(learnt.astype(np.int64), index.column("position").to_numpy())
    answers = counts[counts > 0]  # padding has none; in every window the better answer comes first
    return int(answers[0::2].sum()), int(answers[1::2].sum())


def _rewards(
    inputs: Mapping[str, Artifact], config: RoundReportInput, before: Sequence[Item], after: Sequence[Item]
) -> tuple[Moved | None, Accuracy | None]:
    made = inputs[f"{ROUND_REWARDS}/{config.run}"].table(REWARDS_FILE, REWARDS).to_pylist()
    given = {row["id"]: row["reward"] for row in made}
    both: list[tuple[float, float]] = []
    margins: list[float] = []
    for row, other in zip(before, after, strict=True):
        one, two = given[row["id"]], given[other["id"]]
        if one is not None and two is not None:
            both.append((one, two))
            margins.append(two - one)
        else:  # what says nothing loses
            margins.append(float(bool(other["answer"].strip())) - float(bool(row["answer"].strip())))
    if not both:
        return None, None
    wins = accuracy(np.array(margins, np.float64), [row["prompt_id"] for row in after])
    return moved([one for one, _ in both], [two for _, two in both]), wins


def round_report(config: RoundReportInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """A round of preferences, before and after: the judge apart from the reward, the divergence from the model before,
    what became of the better answers' likelihood, distinct answers, length, what was forgotten; each held to its bound.
    Where one does not hold the factory stops here, and no round follows.
    """
    if not inputs[f"{ROUND_ANSWERS}/{config.run}"].manifest.rows_kept:
        nothing = Check(name="judge", passed=False, detail="no held-out prompt: see held_out of the sets")
        return Outcome(digest=digest_json(None), numbers={"prompts": 0}, checks=[nothing])
    found, before, after = measure(inputs, config)
    told = asdict(found)
    out.write_text("report.json", json.dumps(told, indent=1))
    checks = guarded(found, config.guards)
    judge = found.judged[config.guards.judge]
    return Outcome(
        digest=digest_json(told),
        numbers={
            "prompts": found.prompts,
            "judge": config.guards.judge,
            "judge_before": round(judge.before, 4),
            "judge_after": round(judge.after, 4),
            "judge_low": round(judge.low, 4),
            "judge_high": round(judge.high, 4),
            "kl": round(found.kl, 5),
            "chosen": round(found.chosen, 5),
            "rejected": round(found.rejected, 5),
            "distinct_before": round(found.distinct[0], 4),
            "distinct": round(found.distinct[1], 4),
            "characters_before": round(found.characters[0], 2),
            "characters": round(found.characters[1], 2),
            "forgotten": round(found.forgotten, 5),
            **({"wins": round(found.wins.value, 4)} if found.wins else {}),
            "verdict": said(judge),
        },
        tables={"before and after": _table(found), "answers": _shown(before, after)},
        checks=checks,
    )


def said(judge: Moved) -> str:
    """A gain or a fall is one only outside its interval."""
    return "better" if judge.low > 0 else "worse" if judge.high < 0 else "flat"


def guarded(found: Found, guards: Guards) -> list[Check]:
    judge, longer = found.judged[guards.judge], found.characters[1] / max(found.characters[0], 1e-9)
    distinct = found.distinct[1] / max(found.distinct[0], 1e-9)
    falls = judge.by < -guards.max_fall and judge.high < 0
    told = f"{judge.before:.3f} to {judge.after:.3f} ({judge.by:+.3f}, 95 %: {judge.low:+.3f} to {judge.high:+.3f})"
    return [
        Check(
            name="judge", passed=not falls, detail=f"{guards.judge} of {found.prompts} prompts: {told}: {said(judge)}"
        ),
        Check(
            name="near_before",
            passed=found.kl <= guards.max_kl,
            detail=f"{found.kl:.4f} nats a token from the model before; {guards.max_kl:g} at most",
        ),
        Check(
            name="chosen_stay_likely",
            passed=found.chosen >= guards.least_chosen,
            detail=f"better answers {found.chosen:+.4f} nats a token, worse ones {found.rejected:+.4f};"
            f" {guards.least_chosen:g} at least",
        ),
        Check(
            name="distinct",
            passed=distinct >= guards.least_distinct,
            detail=f"{found.distinct[0]:.1%} of the answers were distinct, now {found.distinct[1]:.1%};"
            f" {guards.least_distinct:.0%} of before at least",
        ),
        Check(
            name="length",
            passed=1 / guards.max_longer <= longer <= guards.max_longer,
            detail=f"{found.characters[0]:.1f} characters an answer, now {found.characters[1]:.1f};"
            f" {guards.max_longer:g} times as many or as few at most",
        ),
        Check(
            name="little_forgotten",
            passed=found.forgotten <= guards.max_forgotten,
            detail=f"bits per byte of held-out text {found.forgotten:+.2%}; {guards.max_forgotten:+.0%} at most",
        ),
    ]


def _table(found: Found) -> list[Row]:
    rows: list[Row] = [
        {"": name, "before": round(m.before, 4), "after": round(m.after, 4), "95 %": f"{m.low:+.4f} to {m.high:+.4f}"}
        for name, m in [*found.judged.items(), *([("reward", found.reward)] if found.reward else [])]
    ]
    for name, (one, two) in (("distinct", found.distinct), ("characters", found.characters)):
        rows.append({"": name, "before": round(one, 4), "after": round(two, 4), "95 %": ""})
    if found.wins:
        interval = f"{found.wins.low:.4f} to {found.wins.high:.4f}"
        rows.append({"": "wins by reward", "before": "", "after": round(found.wins.value, 4), "95 %": interval})
    return rows


def _shown(before: Sequence[Item], after: Sequence[Item]) -> list[Row]:
    """The first prompts of each language, with both answers."""
    rows: list[Row] = []
    taken: dict[str, int] = {}
    for one, two in zip(before, after, strict=True):
        taken[one["lang"]] = taken.get(one["lang"], 0) + 1
        if taken[one["lang"]] <= SHOWN:
            asked = one["prompt"][-1]["text"]
            rows.append({"asked": asked, "right": one["expected"], "before": one["answer"], "after": two["answer"]})
    return rows
