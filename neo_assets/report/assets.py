"""The report room: `factory_report`."""

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
from neo_assets.report.report import ReportInput, write_report

SELF_CONTAINED = Claim("self_contained", "The report needs nothing outside its own file.")
EXAMPLES = 3
"""Dropped documents a rule that the report shows."""


@dataclass(frozen=True)
class FactoryReport(AttendedStage[ReportInput]):
    """Written from the artifacts, the ledger and the recipe."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        text = recipe_text(at.recipe)
        return write_report(self.config, at.inputs, out, ledger=at.ledger, store=at.store, recipe_text=text)


def recipe_text(recipe: Recipe) -> str:
    return yaml.safe_dump(identity(recipe), allow_unicode=True, sort_keys=False, width=120)


def stages(recipe: Recipe, before: Sequence[Stage[Any]]) -> Iterator[Stage[Any]]:
    """``before``: all other stages, in the order of the story."""
    yield FactoryReport(
        "factory_report",
        write_report,
        ReportInput(
            name=recipe.name,
            description=recipe.description,
            examples_per_rule=EXAMPLES,
            recipe_digest=digest_json(identity(recipe)),
            labels={stage.name: stage.label for stage in before if stage.label},
            divides=[stage.name for stage in before if stage.divides],
        ),
        reads=[stage.name for stage in before],
        kinds=["html"],
        claims=[SELF_CONTAINED],
        resources=["ledger"],
    )
