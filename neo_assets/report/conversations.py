"""Section "conversations" of the report: what fine-tuning read, and how its models answer held-out prompts."""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.align.round_names import ROUND_REPORT
from neo_assets.core.store import Artifact, Row
from neo_assets.evaluate.answers import answered
from neo_assets.report.page import Block, Continuation, Part, Samples, Written, of_kind, refs, table
from neo_assets.report.rounds import rounds_table

RIGHT = "right"
ROUNDS = (
    "Rounds of preferences, each against the model that it began from: a judge apart from the reward; the share of"
    " prompts whose answer got the higher reward; divergence along its own answers; by how much better and worse"
    " answers became likelier."
)
"""Caption of the table of rounds."""
QUESTION = 160
"""Characters of a question that the opening shows."""


def conversations_part(inputs: Mapping[str, Artifact]) -> list[Part]:
    """Nothing for a recipe without conversations."""
    sets, stages = of_kind(inputs, "instructions"), of_kind(inputs, "conversation_shards")
    if not {**sets, **of_kind(inputs, "preferences")}:
        return []
    blocks: list[Block] = [
        *table(
            "The sets: rows that came in, are learnt, and were dropped; held out are prompts that models are asked.",
            [_set(name, made) for name, made in sets.items()],
            sets.values(),
            folded=False,
        )
    ]
    for name, made in stages.items():
        caption = f"What the stage '{name}' reads, in windows of which no conversation crosses the border."
        blocks += table(caption, made.manifest.tables.get("by set", []), [made], folded=False)
    shards = of_kind(inputs, "pair_shards")
    told: list[Row] = [
        {"stage": name, **row} for name, made in shards.items() for row in made.manifest.tables.get("by set", [])
    ]
    caption = "Pairs that stages, or runs whose models wrote them, learn from: the better answer, then the worse."
    blocks += table(caption, told, shards.values(), folded=False)
    for name, made in of_kind(inputs, "reward_report").items():
        caption = f"How well the reward model '{name}' tells the better of two answers that nothing was trained on."
        blocks += table(caption, made.manifest.tables.get("by set", []), [made], folded=False)
        caption = "As many pairs a row: how sure it is of the answer that it puts first, and how often that is right."
        blocks += table(caption, made.manifest.tables.get("calibration", []), [made])
    own = of_kind(inputs, "pairs")
    told = [_asked(name, made) for name, made in own.items()]
    blocks += table("Prompts that models were asked before a round, and those that make no pair.", told, own.values())
    reports = of_kind(inputs, ROUND_REPORT)
    blocks += table(ROUNDS, rounds_table(inputs), reports.values(), folded=False)
    for name, made in reports.items():
        caption = f"What '{name}' answers to held-out prompts, before and after."
        blocks += table(caption, made.manifest.tables.get("answers", []), [made])
    used = of_kind(inputs, "evaluation").values()
    for one in answers_shown(inputs):
        said = [Continuation.of(checkpoint, text) for checkpoint, text in one.continuations]
        blocks.append(Samples("", one.lang, one.prompt, said, refs(used)))
    return [
        Part(
            "conversations",
            "Conversations",
            "What was learnt are the answers alone; held-out prompts are asked in the same form.",
            blocks,
        )
    ]


def _asked(name: str, made: Artifact) -> Row:
    """What became of the prompts that a model was asked before its round."""
    row: Row = {"run": name, "prompts": made.manifest.rows_in, "pairs": made.manifest.rows_kept}
    return row | {str(drop["rule"]): drop["prompts"] for drop in made.manifest.tables.get("dropped", [])}


def _set(name: str, made: Artifact) -> Row:
    m = made.manifest
    dropped = {key.removeprefix("dropped_"): n for key, n in m.numbers.items() if key.startswith("dropped_")}
    held = dropped.pop("held_out", 0)
    return {
        "set": name,
        "rows": m.rows_in,
        "learnt": m.rows_kept,
        "held out": held,
        "dropped": ", ".join(f"{n} {rule}" for rule, n in dropped.items()) or "none",
        "licence": m.numbers.get("licence") or "of the pages",
    }


def answers_shown(inputs: Mapping[str, Artifact], groups: int | None = None) -> list[Written]:
    """The first prompt of each kind, of at most ``groups`` kinds a language: what is right, then what each fine-tuned
    model says.
    """
    found = answered(of_kind(inputs, "evaluation"))
    if not found:
        return []
    by_id = {name: {item["id"]: item for item in items} for name, items in found.items()}
    out: dict[tuple[str, str, str], Written] = {}
    for item in found[next(reversed(found))]:
        key = (str(item["name"]), str(item["set"]), str(item["task"]))
        lang = key[0].rpartition("_")[2]
        if key in out or (groups is not None and sum(k[0] == key[0] for k in out) >= groups):
            continue
        said = [(name, str(items[item["id"]]["written"])) for name, items in by_id.items() if item["id"] in items]
        asked = " ".join(str(item["asked"]).split())
        short = asked if groups is None or len(asked) <= QUESTION else asked[:QUESTION] + " …"
        out[key] = Written(lang, short, [(RIGHT, str(item["target"])), *said])
    return list(out.values())
