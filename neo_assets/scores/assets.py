"""The scores room: `score_matrix`, all scores in one table, and `comparison`, the gates and the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.place import recipe_path
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.evaluation import Gates
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Outcome, Workspace
from neo_assets.declare import AttendedStage, Making
from neo_assets.evaluate.assets import score_digest, scorer
from neo_assets.evaluate.index import tokens_before
from neo_assets.evaluate.models import from_elsewhere
from neo_assets.evaluate.score import tasks_of, todays_identities
from neo_assets.scores.comparison import ComparisonInput, compare_runs, files_digest
from neo_assets.scores.gates import only_warn
from neo_assets.scores.score_matrix import ScoreMatrixInput, gathered, make_score_matrix
from neo_assets.trace.written import SAMPLES as TRACED

SCORES_THERE = Claim("scores_there", "There are scores to be gathered (a warning).", blocking=False)
GATES = (
    Claim(
        "no_regression",
        "No run's last checkpoint is worse than its parent, the best checkpoint or the baseline, item by item (blocking"
        " where the recipe says so).",
    ),
    Claim(
        "better_than_parent",
        "A run that goes on from another ends better by the recipe's share (blocking where the recipe says so).",
    ),
    Claim(
        "languages_in_step",
        "The gap between English and Chinese has not widened beyond the recipe's bound (blocking where the recipe says"
        " so).",
    ),
    Claim(
        "no_contamination",
        "No score rests on items that stand in the training text (blocking where the recipe says so).",
    ),
    Claim(
        "guessing_is_chance",
        "Without training a model scores what guessing does, so that no task's items give something away (blocking"
        " where the recipe says so).",
    ),
    Claim(
        "sane",
        "Scores are better than guessing and than without training, questions fit the model, and what is written does"
        " not repeat itself (blocking where the recipe says so).",
    ),
)

OF_ANSWERS = (
    Claim(
        "little_forgotten",
        "Fine-tuning cost no more of what the model could do before than the recipe lets pass (blocking where it says"
        " so).",
    ),
    Claim(
        "answers_well",
        "Answers end, are in the right language and well formed, as often as the recipe asks for (blocking where the"
        " recipe says so).",
    ),
)
"""Gates of recipes that fine-tune."""


@dataclass(frozen=True)
class ScoreMatrix(AttendedStage[ScoreMatrixInput]):
    """Gathers the scores that are there when it is made."""

    def settled(self, at: Making) -> ScoreMatrixInput:
        recipe, store = at.recipe, at.store
        before = {run: tokens_before(recipe, run, store) for run in recipe.writing}
        identities = todays_identities(recipe, store, list(recipe.evaluation.suites))
        return gathered(self.config, store, recipe.name, identities, before)

    def make(self, at: Making, out: Workspace) -> Outcome:
        return make_score_matrix(self.config, at.inputs, out, store=at.store, recipe=at.recipe.name)


@dataclass(frozen=True)
class Comparison(AttendedStage[ComparisonInput]):
    """Asks the baseline like a checkpoint, and compares."""

    baseline: Path | None = None

    def settled(self, at: Making) -> ComparisonInput:
        if self.baseline is None:
            return self.config
        baseline = from_elsewhere(self.baseline)
        scores, _ = scorer(at).scored(baseline)
        return self.config.model_copy(update={"baseline": digest_json([baseline.digest, score_digest(scores)])})

    def make(self, at: Making, out: Workspace) -> Outcome:
        baseline = from_elsewhere(self.baseline) if self.baseline else None
        return compare_runs(self.config, at.inputs, out, store=at.store, baseline=baseline)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    yield ScoreMatrix(
        "score_matrix",
        make_score_matrix,
        ScoreMatrixInput(trained=[recipe.trained(run) for run in recipe.writing]),
        reads=[*(f"evaluation/{name}" for name in recipe.writing), "contamination", *tasks_of(recipe)],
        claims=[SCORES_THERE],
        found=["before", "scores", "identities"],
    )
    baseline, warning = recipe.evaluation.baseline, only_warn(recipe.evaluation.gates)
    gates = [*GATES, *(OF_ANSWERS if any(recipe.tuned(run) for run in recipe.runs) else ())]
    yield Comparison(
        "comparison",
        compare_runs,
        _comparison_input(recipe),
        reads=["score_matrix", *tasks_of(recipe), *([TRACED] if recipe.trace else [])],
        kinds=["html"],
        claims=[gate.only_warns(gate.name in warning) for gate in gates],
        found=["baseline"],
        resources=["compute"] if baseline else [],
        baseline=recipe_path(baseline.path) if baseline else None,
    )


def _gates(recipe: Recipe) -> Gates:
    """The recipe's gates, without the tasks of languages that it does not list: nobody asks those."""
    gates, other = recipe.evaluation.gates, recipe.of_other_languages()
    pairs = [pair for pair in gates.parity.pairs if not other.intersection(pair)]
    update: dict[str, Section] = {"parity": gates.parity.model_copy(update={"pairs": pairs})}
    for name, gate in (("sanity", gates.sanity), ("improvement", gates.improvement), ("forgetting", gates.forgetting)):
        update[name] = gate.model_copy(update={"tasks": [task for task in gate.tasks if task not in other]})
    return gates.model_copy(update=update)


def _comparison_input(recipe: Recipe) -> ComparisonInput:
    runs, settings = recipe.writing, recipe.evaluation
    return ComparisonInput(
        recipe=recipe.name,
        description=recipe.description,
        parents={name: (p.run, p.step) for name, run in runs.items() if (p := run.parent) and recipe.parent_of(name)},
        from_elsewhere=[
            name for name, run in runs.items() if run.from_model or (run.parent and not recipe.parent_of(name))
        ],
        tuned=[run for run in runs if recipe.tuned(run)],
        asked=list(recipe.asked()),
        suites={suite: list(recipe.asked([suite])) for suite in settings.suites},
        gates=_gates(recipe),
        published=settings.published,
        files_digest=files_digest(settings.published),
    )
