"""``score_matrix``: every score of a recipe's runs in one table, under every identity they were ever asked under, and
told apart.

Scores are comparable under one identity (task, data and harness) and no further. The table says of each row whether its
identity is today's; nothing downstream draws a line or takes a difference across two.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pyarrow as pa
from pydantic import Field

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Artifact, Check, Outcome, Row, Store, Workspace
from neo_assets.evaluate.index import SCORES, read_scores, recipe_checkpoints
from neo_assets.evaluate.rows import ScoreRow, columns
from neo_assets.evaluate.score import SAMPLES
from neo_assets.scores.clean_scores import clean_scores
from neo_assets.scores.pictures import draw_curves, draw_heat_map
from neo_assets.text.searched import FLAGGED

FILE = "scores.parquet"
MATRIX = SCORES.append(pa.field("current", pa.bool_()))


class ScoreMatrixInput(Section):
    """Which scores, under which identities. What there is to gather is found when it is gathered."""

    trained: list[str]
    before: dict[str, int] = Field(
        default_factory=dict, description="tokens that each run's first weights were trained on, by its parents"
    )
    scores: str = ""
    identities: dict[str, str] = Field(default_factory=dict)

    @property
    def runs(self) -> list[str]:
        return [name.partition("/")[2] for name in self.trained]


def gathered(
    config: ScoreMatrixInput, store: Store, recipe: str, identities: Mapping[str, str], before: Mapping[str, int]
) -> ScoreMatrixInput:
    """The input with the scores that are there now."""
    table = _table(config, store, recipe)
    return config.model_copy(
        update={
            "before": dict(before),
            "scores": digest_json(sorted(set(table.column("fingerprint").to_pylist()))),
            "identities": dict(sorted(identities.items())),
        }
    )


def _table(config: ScoreMatrixInput, store: Store, recipe: str) -> pa.Table:
    return read_scores(store, recipe_checkpoints(store, recipe, config.trained))


def make_score_matrix(
    config: ScoreMatrixInput, inputs: Mapping[str, Artifact], out: Workspace, *, store: Store, recipe: str
) -> Outcome:
    """Every score of every checkpoint: value, standard error, smallest difference it can show, items, shots, and the
    identity of what was asked.

    Tokens are counted from the first weights on: a phase begins where its parent ended. Per-item results are beside
    each score in the store. Where items of a task stand in the training text, its score without them is a row of its
    own.
    """
    rows: list[ScoreRow] = [
        row
        | {
            "current": config.identities.get(row["task"]) == row["identity"],
            "tokens": row["tokens"] + config.before.get(row["run"], 0),
        }
        for row in last_made(_table(config, store, recipe).to_pylist())
    ]
    rows.sort(key=lambda row: config.runs.index(row["run"]))  # in the recipe's order, a parent before its continuation
    flagged = json.loads(inputs["contamination"].file(FLAGGED).read_text(encoding="utf-8"))
    rows += clean_scores(
        [row for row in rows if row["main"] and row["subset"] is None and row["current"]], flagged, store
    )
    out.write(FILE, pa.Table.from_pylist(rows, schema=MATRIX))
    main = [r for r in rows if r["main"] and r["subset"] is None and r["attempt"] == 1]
    pictures = {"scores over tokens": "curves.svg", "checkpoints and tasks": "heat_map.svg"} if main else {}
    if main:
        draw_curves(main, out.path / "curves.svg")
        draw_heat_map([r for r in main if r["current"]], out.path / "heat_map.svg")
    scores = [r for r in rows if r["task"] != SAMPLES]
    return Outcome(
        digest=digest_json(
            [{k: v for k, v in r.items() if k not in ("fingerprint", "samples", "made_at")} for r in rows]
        ),
        numbers={
            "scores": len(scores),
            "checkpoints": len({(r["run"], r["checkpoint"]) for r in scores}),
            "tasks": len({r["task"] for r in scores}),
        },
        tables={"newest scores": newest(main), "identities": identities_table(main)},
        pictures=pictures,
        checks=[Check(name="scores_there", passed=bool(main), detail=f"{len(scores)} scores", blocking=False)],
    )


KEY = ("run", "checkpoint", "task", "metric", "subset", "attempt", "identity")


def last_made(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Of scores that differ only in the programs that made them, the newest: ``rows`` are in the order in which they
    were made.
    """
    return list({tuple(columns(row, KEY).values()): row for row in rows}.values())


def newest(main: Sequence[ScoreRow]) -> list[Row]:
    """Main scores of each run's last checkpoint under today's identities."""
    last: dict[str, int] = defaultdict(int)
    for row in main:
        last[row["run"]] = max(last[row["run"]], row["step"])
    shown = ("run", "step", "task", "metric", "value", "stderr", "detectable", "n", "shots", "cut", "chance")
    return [
        columns(r, shown) | {"identity": r["identity"][:12]}
        for r in main
        if r["current"] and r["step"] == last[r["run"]]
    ]


def identities_table(main: Sequence[ScoreRow]) -> list[Row]:
    """Tasks that were asked under more than one identity."""
    seen: dict[str, dict[str, list[ScoreRow]]] = defaultdict(lambda: defaultdict(list))
    for row in main:
        seen[row["task"]][row["identity"]].append(row)
    return [
        {
            "task": task,
            "identity": identity[:12],
            "today's": bool(rows[0]["current"]),
            "scores": len(rows),
            "lm_eval": rows[0]["lm_eval"],
        }
        for task, by_identity in seen.items()
        if len(by_identity) > 1
        for identity, rows in by_identity.items()
    ]
