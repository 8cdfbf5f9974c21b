"""The paper room: `paper`, what MAP-Neo says beside what this recipe does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe import Recipe, identity
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Outcome, Workspace
from neo_assets.declare import AttendedStage, Making
from neo_assets.paper.compared import artifacts, places
from neo_assets.paper.paper import FILES, PaperInput, make_paper, scored_run
from neo_assets.paper.statements import read_statements
from neo_assets.report.assets import recipe_text

REASONS_GIVEN = Claim(
    "reasons_given",
    "Whatever the recipe says otherwise than the paper, its file says why ('ours: …' in the comment; a warning).",
    blocking=False,
)
SELF_CONTAINED = Claim("self_contained", "The page needs nothing outside its own file.")


@dataclass(frozen=True)
class PaperStage(AttendedStage[PaperInput]):
    """Compiled from the recipe, as it is written, and from what its build used last."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        return make_paper(self.config, at.inputs, out, recipe=identity(at.recipe), recipe_text=recipe_text(at.recipe))


def stages(recipe: Recipe, before: Sequence[Stage[Any]]) -> Iterator[Stage[Any]]:
    """``before``: all stages that measured something."""
    named = artifacts(read_statements(), identity(recipe))
    scored = scored_run(recipe)
    yield PaperStage(
        "paper",
        make_paper,
        PaperInput(
            name=recipe.name,
            description=recipe.description,
            producer=recipe.release.producer if recipe.release else recipe.owner,
            scored_run=scored,
            recipe_digest=digest_json(identity(recipe)),
            written=written_places(recipe),
            files_digest=digest_json([digest_file(file) for file in FILES]),
        ),
        reads=[stage.name for stage in before if stage.name in {*named, f"evaluation/{scored}"}],
        kinds=["html"],
        claims=[REASONS_GIVEN, SELF_CONTAINED],
    )


def written_places(recipe: Recipe) -> dict[str, tuple[str, str, str]]:
    """Where the recipe's files say what statements are held against: place to (file and line, reason)."""
    told = {place: recipe.written(place) for place in places(read_statements(), identity(recipe))}
    return {place: (written.at, written.why, written.of) for place, written in told.items()}
