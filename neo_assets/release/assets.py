"""The release room: `release`, the bundle that is given away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Outcome, Workspace
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.declare import AttendedStage, Making
from neo_assets.evaluate.assets import exporter
from neo_assets.paper.assets import written_places
from neo_assets.release.bundle import ReleaseInput, make_release
from neo_assets.report.assets import recipe_text
from neo_assets.runs.job import checkpoint_folders

EVERYTHING_FOLLOWED = Claim(
    "everything_followed", "Every artifact that the model was made from is there with its manifest.", blocking=False
)
NOTHING_WITHDRAWN = Claim("nothing_withdrawn", "No step that led to the model read a document that was withdrawn.")


@dataclass(frozen=True)
class ReleaseStage(AttendedStage[ReleaseInput]):
    """Takes the released run's last checkpoint, exported."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        name = self.config.run
        trained = at.inputs[at.recipe.trained(name)].fingerprint
        last = checkpoint_folders(at.store, name, at.recipe.runs[name], trained)[-1]
        checkpoint = at.store.require(f"checkpoint/{name}", last.name)
        model, _ = exporter(at, name).exported(checkpoint)
        return make_release(self.config, at.inputs, out, store=at.store, model=model, checkpoint=checkpoint)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    run = recipe.released
    if recipe.release is None or run is None:
        return
    yield ReleaseStage(
        "release",
        make_release,
        ReleaseInput(
            run=run,
            redistribute=recipe.release.redistribute,
            recipe_text=recipe_text(recipe),
            written=written_places(recipe),
        ),
        reads=[
            *("train_pool", WITHDRAWN, "funnel", "tokenizer", recipe.trained(run), f"evaluation/{run}", "comparison"),
            *(
                "fertility",
                *(f"run_plan/{name}" for name in (run, *recipe.ancestors(run))),
            ),  # the paper has their numbers
        ],
        kinds=["bundle"],
        parts={WITHDRAWN: "release"},
        claims=[EVERYTHING_FOLLOWED, NOTHING_WITHDRAWN],
        after=[f"checkpoint/{run}"],
        resources=["compute"],
    )
