"""``pairs/‹run›``: of several answers to a prompt the best and the worst by their rewards, in the form of a set of
preferences; each prompt makes a pair, or none with its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from neo_assets.align.sets import FILE, PREFERENCE
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.records import DROPPED, KEPT, Verdict, verdict_table
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from training.answering import ANSWERS
from training.answering import FILE as ANSWERS_FILE
from training.rewarding import FILE as REWARDS_FILE
from training.rewarding import REWARDS

NO_REWARD, ALIKE, TOO_CLOSE, NONE_ENDS = "no_reward", "alike", "too_close", "none_ends"


class PairsInput(Section):
    run: str
    margin: float


def make_pairs(config: PairsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The better answer is the one with the highest reward among those that say something and end; the worse the one
    with the lowest of all. Of answers with one reward the first sample counts. A prompt makes no pair where fewer than
    two answers have a reward, none says something and ends, all are the same text, or the two rewards are no further
    apart than the margin.
    """
    answers = inputs[f"generations/{config.run}"].table(ANSWERS_FILE, ANSWERS).to_pylist()
    rewards = inputs[f"rewards/{config.run}"].table(REWARDS_FILE, REWARDS).to_pylist()
    given = {row["id"]: row["reward"] for row in rewards}
    by_prompt: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in answers:
        by_prompt[row["set"], row["prompt_id"]].append({**row, "reward": given[row["id"]]})
    rows: list[dict[str, object]] = []
    verdicts: list[Verdict] = []
    margins: list[float] = []
    stage = f"pairs/{config.run}"
    for (name, prompt), found in sorted(by_prompt.items()):
        found.sort(key=lambda row: row["sample"])
        rule, chosen, rejected = _pair(found, config.margin)
        place = f"{name}/{prompt[:12]}"
        if rule:
            verdicts.append(Verdict(digest_json([name, prompt]), stage, DROPPED, rule, detail=place, source=config.run))
            continue
        assert chosen is not None and rejected is not None
        turns = [[turn["role"], turn["text"]] for turn in chosen["prompt"]]
        key = digest_json([turns, chosen["answer"], rejected["answer"]])
        margin = chosen["reward"] - rejected["reward"]
        margins.append(margin)
        told = f"{place}, answer {chosen['sample']} before {rejected['sample']} by {margin:.3g}"
        verdicts.append(Verdict(key, stage, KEPT, value=margin, detail=told, source=config.run))
        rows.append(
            {
                "pair_id": key, "lang": chosen["lang"], "licence": chosen["licence"], "prompt": chosen["prompt"],
                "chosen": chosen["answer"], "rejected": rejected["answer"],
            }
        )  # fmt: skip
    unique = {str(row["pair_id"]): row for row in rows}  # two sets may ask the same
    out.write(FILE, pa.Table.from_pylist([unique[key] for key in sorted(unique)], schema=PREFERENCE))
    out.write("verdicts.parquet", verdict_table(verdicts))
    dropped = Counter(v.rule for v in verdicts if v.verdict == DROPPED)
    kept = len(verdicts) - dropped.total()
    languages = Counter(str(row["lang"]) for row in unique.values())
    return Outcome(
        digest=digest_file(out.path / FILE),
        rows_in=len(by_prompt),
        rows_kept=kept,
        rows_dropped=dropped.total(),
        numbers={
            "pairs": len(unique),
            "mean_margin": round(sum(margins) / len(margins), 4) if margins else 0.0,
            **{f"dropped_{rule}": n for rule, n in sorted(dropped.items())},
        },
        tables={
            "dropped": [{"rule": rule, "prompts": n} for rule, n in dropped.most_common()],
            "pairs by language": [{"language": lang, "pairs": n} for lang, n in sorted(languages.items())],
        },
        checks=[
            Check(
                name="rows_balance",
                passed=kept + dropped.total() == len(by_prompt),
                detail=f"{len(by_prompt)} prompts = {kept} pairs + {dropped.total()} without",
            ),
            Check(
                name="not_empty",
                passed=bool(unique),
                detail=f"{len(unique)} pairs" + (f"; {_told(dropped)}" if dropped else ""),
            ),
        ],
    )


def _told(dropped: Counter[str]) -> str:
    return ", ".join(f"{n} prompts {rule}" for rule, n in dropped.most_common())


def _pair(found: Sequence[dict[str, Any]], margin: float) -> tuple[str, dict[str, Any] | None, dict[str, Any] | None]:
    """(why there is none, the better answer, the worse)."""
    known = [row for row in found if row["reward"] is not None]
    if len(known) < 2:
        return NO_REWARD, None, None
    if len({row["answer"] for row in known}) < 2:
        return ALIKE, None, None
    ended = [row for row in known if row["stops"] and row["well_formed"]]
    if not ended:
        return NONE_ENDS, None, None
    better, worse = max(ended, key=lambda row: row["reward"]), min(known, key=lambda row: row["reward"])
    if better["reward"] - worse["reward"] <= margin or better["answer"] == worse["answer"]:
        return TOO_CLOSE, None, None
    return "", better, worse
