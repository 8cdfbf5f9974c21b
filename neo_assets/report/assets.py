"""The report room: `funnel`, what became of every document, and `factory_report`, the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe, identity
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Outcome, Workspace
from neo_assets.declare import AttendedStage, Making
from neo_assets.report.funnel import FunnelInput, make_funnel
from neo_assets.report.report import ReportInput, write_report

SELF_CONTAINED = Claim("self_contained", "The report needs nothing outside its own file.")
EXAMPLES = 3
"""Dropped documents a rule that the report shows."""


MODEL_ROOMS = ("tokenizer", "scaling", "pretrain", "align", "evaluate", "trace", "scores")
"""Rooms that the report reads itself; what comes before them, the funnel gathers."""


@dataclass(frozen=True)
class Funnel(AttendedStage[FunnelInput]):
    """Counted by the ledger."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        return make_funnel(self.config, at.inputs, out, ledger=at.ledger)


@dataclass(frozen=True)
class FactoryReport(AttendedStage[ReportInput]):
    """Written from the artifacts and the recipe."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        text = recipe_text(at.recipe)
        return write_report(self.config, at.inputs, out, store=at.store, recipe_text=text)


def recipe_text(recipe: Recipe) -> str:
    return yaml.safe_dump(identity(recipe), allow_unicode=True, sort_keys=False, width=120)


def is_read(stage: Stage[Any]) -> bool:
    """The report tells what came of a scaling series, not each of its runs."""
    return stage.room in MODEL_ROOMS and not (stage.room == "scaling" and "/" in stage.name)


def stages(recipe: Recipe, before: Sequence[Stage[Any]]) -> Iterator[Stage[Any]]:
    """``before``: all other stages, in the order of the story."""
    yield Funnel(
        "funnel",
        make_funnel,
        FunnelInput(
            labels={stage.name: stage.label for stage in before if stage.label},
            divides=[stage.name for stage in before if stage.divides],
            examples_per_rule=EXAMPLES,
        ),
        reads=[stage.name for stage in before if stage.room not in MODEL_ROOMS],
        kinds=["json"],
        resources=["ledger"],
        shown_in="corpus",  # where the documents end: seen in the report's group, its edges would cross all others
    )
    yield FactoryReport(
        "factory_report",
        write_report,
        ReportInput(name=recipe.name, description=recipe.description, recipe_digest=digest_json(identity(recipe))),
        reads=["funnel", *(stage.name for stage in before if is_read(stage))],
        kinds=["html"],
        claims=[SELF_CONTAINED],
    )
