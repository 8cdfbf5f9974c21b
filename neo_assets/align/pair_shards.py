"""``pair_shards/‹stage›``: preferences as tokens: in a window a prompt with the better answer, and with the worse.

The files are those of ``conversation_shards``. Learnt is the last answer alone, and the token that ends it; what was
said before it is the prompt, other answers too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from neo_assets.align.sets import FILE, PREFERENCE
from neo_assets.align.windows import Piece, rounds_of, write_windows
from neo_assets.align.wording import Wording
from neo_assets.core import records
from neo_assets.core.recipe.align import PairStage
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.records import DROPPED, KEPT, Verdict, verdict_table
from neo_assets.core.scalars import whole
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.tasks.drawing import keyed
from training.templates import ASSISTANT, Turn

TOO_LONG = "too_long"
"""Rule of pairs whose two answers, each with the prompt, do not fit into a window."""


class PairsInput(Section):
    """What these stages take. ``window``: tokens, the sequence_length of the runs that read it; ``own``: whether the
    run of this name writes pairs itself, of which each is read once.
    """

    stage: str
    own: bool = False
    settings: PairStage
    template: str
    tokenizer: Tokenizer
    window: int


def write_pairs(config: PairsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Pairs of a stage as a token stream, one a window: the prompt with the better answer, then with the worse.

    A pair that does not fit is dropped: of an answer that is cut nobody said whether it is better.

    Raises:
        BadInput: the tokenizer lacks a token of the template.
    """
    wording = Wording.of(config.template, config.tokenizer, inputs["tokenizer"])
    stage = f"pair_shards/{config.stage}"
    verdicts: list[Verdict] = []
    windows: list[list[Piece]] = []
    sets = [(f"preferences/{name}", name, often) for name, often in sorted(config.settings.rounds.items())]
    sets += [(f"pairs/{config.stage}", config.stage, 1.0)] if config.own else []
    for made, name, often in sets:
        for row in records.read_table(inputs[made].file(FILE), PREFERENCE).to_pylist():
            key, lang = str(row["pair_id"]), str(row["lang"])
            rounds = rounds_of(often, config.settings.seed, key)
            if not rounds:
                continue
            prompt = [Turn(turn["role"], turn["text"]) for turn in row["prompt"]]
            sides = [_side(wording, prompt, str(row[side])) for side in ("chosen", "rejected")]
            size = sum(len(ids) for ids, _ in sides)
            if size > config.window:
                verdicts.append(Verdict(key, stage, DROPPED, TOO_LONG, size, config.window, source=name))
                continue
            verdicts.append(Verdict(key, stage, KEPT, source=name))
            windows += [
                [Piece(ids, learnt, key, name, lang, number) for ids, learnt in sides] for number in range(rounds)
            ]
    windows.sort(key=lambda pair: keyed(config.settings.seed, pair[0].doc_id, pair[0].round))
    facts = write_windows(windows, config.window, wording, out, pairs=len(windows))
    out.write("verdicts.parquet", verdict_table(verdicts))
    long = sum(v.rule == TOO_LONG for v in verdicts)
    by_set = Counter(pair[0].source for pair in windows)
    return Outcome(
        digest=str(facts["digest"]),
        rows_in=len(verdicts),
        rows_kept=len(verdicts) - long,
        rows_dropped=long,
        numbers={"pairs": len(windows), "tokens": whole(facts["tokens"]), "windows": len(windows), "too_long": long},
        tables={"by set": [{"set": name, "pairs": n} for name, n in sorted(by_set.items())]},
        checks=[
            Check(
                name="rows_balance",
                passed=len({(p[0].source, p[0].doc_id) for p in windows}) == len(verdicts) - long,
                detail=f"{len(verdicts)} pairs read, {long} too long",
            ),
            Check(name="not_empty", passed=bool(windows), detail=f"{len(windows)} pairs"),
            Check(
                name="answers_end",
                passed=all(piece.learnt[-1] and not piece.learnt[0] for pair in windows for piece in pair),
                detail=f"{2 * len(windows)} answers",
            ),
        ],
    )


def _side(wording: Wording, prompt: list[Turn], answer: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of a prompt with one answer, and which are of that answer."""
    asked, ids = wording.prompt(prompt), wording.encode([*prompt, Turn(ASSISTANT, answer)]).ids
    assert ids[: len(asked)] == asked
    learnt = np.zeros(len(ids), np.uint8)
    learnt[len(asked) :] = 1
    return np.array(ids, np.int64), learnt
