"""Runs one behind the other: a phase that goes on from another's weights begins where that one ended, on one axis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from neo_assets.core.scalars import is_number, real
from neo_assets.core.store import Artifact
from neo_assets.core.trainings import PROGRAMS, STREAMS, Learning
from neo_assets.pages.charts import Line, Spec, curves, thinned
from neo_assets.report.page import of_kind

SMALL = (250, 130)
"""Width and height of a chart among several, in pixels of its own."""
MEASURED = (
    ("loss, nats a token", "loss"),
    ("learning rate", "lr"),
    ("gradient norm", "grad_norm"),
    ("tokens a second", "tokens_per_s"),
)


@dataclass(frozen=True)
class RunLine:
    """A run, the run whose weights it began with ('' for none), and tokens trained on before it began."""

    name: str
    parent: str
    before: float
    trained: Artifact | None
    learns: Learning = "pretraining"

    @property
    def tuned(self) -> bool:
        """On conversations or preferences: its loss is of answers."""
        return self.learns != "pretraining"

    @property
    def of_pairs(self) -> bool:
        """What it counts are pairs of answers, not tokens."""
        return STREAMS[self.learns] == "pair_shards"


def run_lines(inputs: Mapping[str, Artifact]) -> list[RunLine]:
    """The runs of a build, each after its parent, otherwise as they come."""
    plans = of_kind(inputs, "run_plan")
    learnt = {name: kind for kind in PROGRAMS for name in of_kind(inputs, kind)}
    trained = {name: inputs[f"{kind}/{name}"] for name, kind in learnt.items()}
    scored = of_kind(inputs, "evaluation")
    names = list(dict.fromkeys([*plans, *trained, *scored]))
    parents = {name: _parent(plans.get(name)) for name in names}

    def chain(name: str) -> Iterator[str]:
        """The runs before it, nearest first; recipes let none go round in a circle."""
        while (name := parents.get(name, ("", ""))[0]) in names:
            yield name

    def before(name: str) -> float:
        """Tokens that it did not train on itself; one that goes on with everything counts on from its parent's."""
        parent, take = parents.get(name, ("", ""))
        if parent not in names:
            return 0.0
        return before(parent) + (tokens(parent) if take == "weights" else 0.0)

    def tokens(name: str) -> float:
        if name in learnt and STREAMS[learnt[name]] == "pair_shards":
            return 0.0
        value = trained[name].manifest.numbers.get("trained_tokens") if name in trained else None
        return real(value) if is_number(value) else 0.0

    lines = [
        RunLine(name, parents[name][0], before(name), trained.get(name), learnt.get(name, "pretraining"))
        for name in names
    ]
    return sorted(lines, key=lambda line: len(list(chain(line.name))))


def _parent(plan: Artifact | None) -> tuple[str, str]:
    """The run that a plan starts from, of the same recipe, and what it takes over; none for one that goes on from
    itself as it once was.
    """
    config = plan.manifest.made_from.config if plan else {}
    run = config.get("run")
    parent = run.get("parent") if isinstance(run, dict) else None
    if not isinstance(parent, dict) or parent.get("run") == config.get("name"):
        return "", ""
    return str(parent.get("run") or ""), str(parent.get("take") or "weights")


def measured(lines: list[RunLine], size: tuple[int, int] = SMALL) -> tuple[list[Spec], int]:
    """Charts of what the jobs measured at every step, over the tokens trained on, all runs on one axis; and over how
    many steps a point is a mean.
    """
    drawn: dict[str, list[Line]] = defaultdict(list)
    widest = 1
    for line in lines:
        if line.trained is None or "metrics.parquet" not in line.trained.manifest.files:
            continue
        columns: dict[str, list[float]] = defaultdict(list)
        for row in line.trained.table("metrics.parquet").to_pylist():
            for name, value in row.items():
                if is_number(value):
                    columns[name].append(float(value))
        x = [line.before + tokens for tokens in columns["tokens"]]
        for _, column in MEASURED:
            if x and len(columns[column]) == len(x):
                points, block = thinned(x, columns[column])
                widest = max(widest, block)
                drawn[column].append(Line(points, line.name))
    return [
        curves(title, drawn[column], "tokens trained on", size=size) for title, column in MEASURED if drawn[column]
    ], widest
