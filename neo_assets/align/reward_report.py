"""What ``reward_report/‹run›`` says, from the rewards of pairs whose better answer is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from neo_assets.align.reward_numbers import Accuracy, accuracy, calibration, calibration_error, log_loss
from neo_assets.align.sets import HELD_OUT_FILE, PREFERENCE
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.align import Reward
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.pages.charts import Line, Point, curves, write_picture
from training.rewarding import FILE, REWARDS

CHOSEN, REJECTED = "chosen", "rejected"


class RewardReportInput(Section):
    run: str
    settings: Reward
    sets: list[str]


@dataclass(frozen=True)
class Judged:
    """A held-out pair: rewards, and tokens of prompt and answer, the better answer's first."""

    name: str
    lang: str
    prompt: str
    rewards: tuple[float, float]
    tokens: tuple[int, int]

    @property
    def margin(self) -> float:
        return self.rewards[0] - self.rewards[1]


def judged_pairs(file: Path, sets: Mapping[str, Artifact]) -> list[Judged]:
    """Pairs of which both answers fit into the model."""
    held = {
        (name, row["pair_id"]): row
        for name, made in sets.items()
        for row in records.read_table(made.file(HELD_OUT_FILE), PREFERENCE).to_pylist()
    }
    both: dict[tuple[str, str], dict[str, tuple[float | None, int]]] = {}
    for row in records.read_table(file, REWARDS).to_pylist():
        both.setdefault((row["set"], row["id"]), {})[row["answer"]] = (row["reward"], row["tokens"])
    out = []
    for (name, key), sides in sorted(both.items()):
        (better, long), (worse, short) = sides[CHOSEN], sides[REJECTED]
        if better is not None and worse is not None:
            row = held[name, key]
            asked = digest_json([[t["role"], t["text"]] for t in row["prompt"]])
            out.append(Judged(name, row["lang"], asked, (better, worse), (long, short)))
    return out


def _of(pairs: Sequence[Judged], margins: Sequence[float]) -> Accuracy:
    return accuracy(np.array(margins, np.float64), [pair.prompt for pair in pairs])


def report(config: RewardReportInput, pairs: Sequence[Judged], out: Workspace) -> Outcome:
    if not pairs:
        asked = config.settings.least_accuracy > 0
        nothing = Check(name="accurate", passed=not asked, detail="no pair is held out: see held_out of the sets")
        return Outcome(digest=digest_file(out.path / FILE), numbers={"pairs": 0}, checks=[nothing])
    margins = np.array([pair.margin for pair in pairs], np.float64)
    lengths = [pair.tokens[0] - pair.tokens[1] for pair in pairs]
    found, longer = _of(pairs, margins.tolist()), _of(pairs, lengths)
    bins = calibration(margins, config.settings.bins)
    error, nats = calibration_error(bins), log_loss(margins)
    points = Line([Point(b.sure, b.right) for b in bins], "held-out pairs")
    true = Line([Point(0.5, 0.5), Point(1.0, 1.0)], "as sure as it is right", dotted=True)
    write_picture(curves("how often it is right", [points, true], "how sure it is"), out.path / "calibration.svg")
    numbers = {
        "pairs": found.n,
        "accuracy": round(found.value, 4),
        "accuracy_low": round(found.low, 4),
        "accuracy_high": round(found.high, 4),
        "longer_is_better": round(longer.value, 4),
        "log_loss": round(nats, 4),
        "calibration_error": round(error, 4),
    }
    told = {**numbers, "bins": [asdict(b) for b in bins]}
    out.write_text("report.json", json.dumps(told, indent=1))
    groups = sorted({(pair.name, pair.lang) for pair in pairs})
    by_set = [_row(name, lang, [p for p in pairs if (p.name, p.lang) == (name, lang)]) for name, lang in groups]
    words = f"{found.value:.1%} of {found.n} held-out pairs (95 %: {found.low:.1%} to {found.high:.1%})"
    least = config.settings.least_accuracy
    return Outcome(
        digest=digest_json([digest_file(out.path / FILE), told]),
        numbers=dict(numbers),
        tables={
            "by set": by_set,
            "calibration": [
                {"pairs": b.n, "as sure as": round(b.sure, 4), "as often right": round(b.right, 4)} for b in bins
            ],
        },
        pictures={"calibration": "calibration.svg"},
        checks=[
            Check(name="accurate", passed=found.value >= least, detail=f"{words}; the recipe asks for {least:.0%}"),
            Check(
                name="more_than_length",
                passed=found.low > longer.value,
                detail=f"{words}; the longer answer is the better one of {longer.value:.1%}",
                blocking=False,
            ),
        ],
    )


def _row(name: str, lang: str, pairs: Sequence[Judged]) -> Row:
    found = _of(pairs, [pair.margin for pair in pairs])
    return {
        "set": name,
        "language": lang,
        "pairs": found.n,
        "accuracy": round(found.value, 4),
        "from": round(found.low, 4),
        "to": round(found.high, 4),
        "the longer is better": round(_of(pairs, [p.tokens[0] - p.tokens[1] for p in pairs]).value, 4),
    }
