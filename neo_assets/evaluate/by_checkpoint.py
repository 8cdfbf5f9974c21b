"""Assets with one partition a checkpoint: `hf_model`, the checkpoint as a Hugging Face folder, and `eval_scores`.

They are made by a click, a sensor or a schedule, one at a time; inside `factory` the unpartitioned `evaluation` calls
the same functions for every checkpoint that is due (``assets.py``).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Artifact, Store
from neo_assets.declare import Making, code_reference, description, guard_instance, key, metadata, scalar, table
from neo_assets.evaluate.models import Exporter, export_input
from neo_assets.evaluate.rows import ScoreRow, columns
from neo_assets.evaluate.score import TASKS, Scorer, Subject, called, headline, score_input, score_rows
from neo_assets.runs.export import export_model
from neo_assets.runs.partitions import partitions

POOL = "evaluation"
REPEAT_TAG = "neofoundry/repeat"
SHOWN = (
    "task", "metric", "value", "stderr", "detectable", "n", "shots", "cut", "chance", "attempt", "identity",
)  # fmt: skip


def exporter(at: Making, run: str) -> Exporter:
    """What exports a run's checkpoints with this recipe's tokenizer."""
    tokenizer = at.store.head(at.recipe.name, "tokenizer")
    return Exporter(at.store, at.compute, at.recipe.name, export_input(at.recipe, run), tokenizer, at.log)


def scorer(at: Making) -> Scorer:
    """What asks the recipe's tasks, over what this recipe's build holds."""
    tasks = [at.store.head(at.recipe.name, name) for name in TASKS]
    return Scorer(at.store, at.compute, score_input(at.recipe), at.recipe.evaluation.threads, tasks, at.log)


def wants_repeat(context: dg.AssetExecutionContext) -> bool:
    return context.run.tags.get(REPEAT_TAG, "false").lower() == "true"


def by_checkpoint(recipe: Recipe, exported_in: str, scored_in: str) -> Iterator[dg.AssetsDefinition]:
    """The two assets of every run, each in its group."""
    for run in recipe.runs:
        yield exported_checkpoint(recipe, run, exported_in)
        yield scored_checkpoint(recipe, run, scored_in)


def exported_checkpoint(recipe: Recipe, run: str, group: str) -> dg.AssetsDefinition:
    """`hf_model/‹run›`, by checkpoint."""

    @dg.asset(
        key=key(f"hf_model/{run}"),
        deps=[key(f"checkpoint/{run}"), key(f"pretraining/{run}"), key("tokenizer")],
        partitions_def=partitions(run),
        group_name=group,
        description=description(export_model),
        kinds={"huggingface"},
        owners=[recipe.owner],
        metadata=code_reference(export_model),
        required_resource_keys={"store", "compute"},
        pool=POOL,
    )
    def hf_model(context: dg.AssetExecutionContext) -> Any:
        guard_instance(context, recipe)
        store: Store = context.resources.store.open()
        checkpoint = store.require(f"checkpoint/{run}", context.partition_key)
        made, reused = exporter(Making(context, recipe, store, {}), run).exported(checkpoint)
        return dg.MaterializeResult(metadata=metadata(made, reused), data_version=dg.DataVersion(made.manifest.digest))

    return hf_model


def scored_checkpoint(recipe: Recipe, run: str, group: str) -> dg.AssetsDefinition:
    """`eval_scores/‹run›`, by checkpoint."""

    @dg.asset(
        key=key(f"eval_scores/{run}"),
        deps=[key(f"hf_model/{run}"), key(f"pretraining/{run}"), *(key(name) for name in TASKS)],
        partitions_def=partitions(run),
        group_name=group,
        description=(
            f"Scores of each checkpoint of run `{run}`: task by task with standard error, number of items and task"
            " identity; per-item results are kept beside them."
        ),
        kinds={"json"},
        owners=[recipe.owner],
        metadata=code_reference(Scorer.scored),
        required_resource_keys={"store", "compute"},
        pool=POOL,
    )
    def eval_scores(context: dg.AssetExecutionContext) -> Any:
        guard_instance(context, recipe)
        store: Store = context.resources.store.open()
        checkpoint = store.require(f"checkpoint/{run}", context.partition_key)
        at = Making(context, recipe, store, {})
        mine = scorer(at)
        model, _ = exporter(at, run).exported(checkpoint)
        subject = Subject.of(run, checkpoint, model)
        attempt = mine.attempts(subject) + 1 if wants_repeat(context) else 1
        scores, made_now = mine.scored(subject, attempt)
        context.log.info(f"{len(made_now)} scores made, {len(scores) - len(made_now)} reused")
        for absent in mine.absent():
            context.log.warning(f"{absent.name}: {absent.message}")
        return dg.MaterializeResult(
            metadata=score_metadata(score_rows(scores, attempt)), data_version=dg.DataVersion(score_digest(scores))
        )

    return eval_scores


def score_metadata(rows: list[ScoreRow]) -> dict[str, dg.MetadataValue]:
    """Scores as the UI shows them: a table, and one number a task, which the UI plots over steps."""
    shown = [columns(row, SHOWN) for row in rows if headline(row)]
    numbers = {called(row): scalar(row["value"]) for row in rows if row["headline"]}
    return {"scores": table(shown), **numbers, "step": dg.MetadataValue.int(rows[0]["step"])}


def score_digest(scores: Mapping[str, Artifact]) -> str:
    return digest_json({name: made.manifest.digest for name, made in scores.items()})
