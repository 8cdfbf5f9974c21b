"""The site room: `site`, pages for readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe, identity
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Outcome, Workspace
from neo_assets.core.tombstones import in_the_corpus, targets_digest
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.declare import AttendedStage, Making
from neo_assets.report.assets import is_read, recipe_text
from neo_assets.runs.found_runs import started
from neo_assets.site.site import Around, SiteInput, make_site

LINKS = Claim("links_lead_somewhere", "Every link of a page that is no web address has its file in the folder.")
LICENCES = Claim("licences_obeyed", "No text is shown whose licence is not among those that the recipe names.")


@dataclass(frozen=True)
class SiteStage(AttendedStage[SiteInput]):
    """Written from the artifacts, the fate ledger and the runs of the build."""

    def settled(self, at: Making) -> SiteInput:
        told = targets_digest(in_the_corpus(at.store.root))
        return self.config.model_copy(update={"tombstones": told})

    def make(self, at: Making, out: Workspace) -> Outcome:
        runs = [run for run in started(at.store, at.recipe) if not at.recipe.tuned(run.name)]
        tombstones = in_the_corpus(at.store.root)
        around = Around(at.store, at.ledger, tombstones, runs, recipe_text(at.recipe))
        return make_site(self.config, at.inputs, out, around=around)


def stages(recipe: Recipe, before: Sequence[Stage[Any]]) -> Iterator[Stage[Any]]:
    """``before``: all other stages."""
    if recipe.site is None:
        return
    licences = recipe.site.texts
    if licences is None:
        licences = recipe.release.redistribute if recipe.release else []
    steps = [f"documents/{source}" for source in recipe.sources]
    steps += [f"{step}/{lang}" for lang in recipe.steps for step in recipe.steps[lang]]
    masks = [told.placeholders for told in recipe.pii_masked.values()]
    read = [stage.name for stage in before if is_read(stage)]
    yield SiteStage(
        "site",
        make_site,
        SiteInput(
            name=recipe.name,
            description=recipe.description,
            licences=sorted(licences),
            documents=recipe.site.documents,
            steps=steps,
            placeholders={str(kind): sign for kind, sign in masks[0].items()} if masks else {},
            recipe_digest=digest_json(identity(recipe)),
        ),
        reads=["funnel", WITHDRAWN, *read, "paper", *(["release"] if recipe.released else [])],
        kinds=["html", "bundle"],
        claims=[LINKS, LICENCES],
        found=["tombstones"],
        resources=["ledger"],
    )
