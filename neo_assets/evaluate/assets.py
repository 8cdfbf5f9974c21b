"""The evaluate room: `contamination`; `hf_model` and `eval_scores`, by checkpoint; `evaluation`, the door to them
inside `factory`.

Assets by checkpoint are made by a click, a sensor or a schedule, one at a time; the unpartitioned `evaluation` calls
the same functions for every checkpoint that is due.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Artifact, Outcome, Store, Workspace
from neo_assets.core.thinned import gone
from neo_assets.declare import (
    AttendedStage,
    Making,
    code_reference,
    description,
    guard_instance,
    key,
    metadata,
    scalar,
    table,
)
from neo_assets.evaluate.best import best, by_checkpoint
from neo_assets.evaluate.contamination import ContaminationInput, find_contamination
from neo_assets.evaluate.due_checkpoints import EvaluationInput, evaluate_run
from neo_assets.evaluate.index import read_scores
from neo_assets.evaluate.models import Exporter, export_input
from neo_assets.evaluate.rows import ScoreRow, columns
from neo_assets.evaluate.score import Scorer, Subject, called, headline, score_input, score_rows, tasks_of
from neo_assets.runs.export import export_model
from neo_assets.runs.job import checkpoint_folders
from neo_assets.runs.partitions import partitions

POOL = "evaluation"
REPEAT_TAG = "neofoundry/repeat"
SHOWN = (
    "task", "metric", "value", "stderr", "detectable", "n", "shots", "cut", "chance", "attempt", "identity",
)  # fmt: skip
REEVALUATION_TAG = "neofoundry/reevaluation"
"""On Dagster runs of the schedule: recent and best checkpoints are scored as well."""
SEARCHED = Claim(
    "searched",
    "The training text was searched for evaluation items (a warning where no language says how).",
    blocking=False,
)
EVERY_DUE_SCORED = Claim("every_due_checkpoint_scored", "Every checkpoint the recipe wants evaluated has its scores.")
REPEATS_AGREE = Claim("repeats_agree", "A repeated evaluation gave the same scores (a warning).", blocking=False)


def exporter(at: Making, run: str) -> Exporter:
    """What exports a run's checkpoints with this recipe's tokenizer."""
    tokenizer = at.store.head(at.recipe.name, "tokenizer")
    return Exporter(at.store, at.compute, at.recipe.name, export_input(at.recipe, run), tokenizer, at.log)


def scorer(at: Making, run: str | None = None) -> Scorer:
    """What asks the recipe's tasks, over what this recipe's build holds."""
    tasks = [at.store.head(at.recipe.name, name) for name in tasks_of(at.recipe)]
    return Scorer(at.store, at.compute, score_input(at.recipe, run=run), at.recipe.evaluation.threads, tasks, at.log)


def wants_repeat(context: dg.AssetExecutionContext) -> bool:
    return context.run.tags.get(REPEAT_TAG, "false").lower() == "true"


@dataclass(frozen=True)
class Evaluation(AttendedStage[EvaluationInput]):
    """`evaluation/‹run›`: each due checkpoint exported and asked, by jobs of their own."""

    def settled(self, at: Making) -> EvaluationInput:
        mine, folders = scorer(at), exporter(at, self.config.run)
        models = [(checkpoint, folders.find(checkpoint)) for checkpoint in self.due(at)]
        done = min(
            mine.attempts(Subject.of(self.config.run, checkpoint, model)) if model else 0
            for checkpoint, model in models
        )
        return self.config.model_copy(update={"attempts": max(1, done + wants_repeat(at.context))})

    def make(self, at: Making, out: Workspace) -> Outcome:
        folders = exporter(at, self.config.run)
        return evaluate_run(
            self.config,
            at.inputs,
            out,
            scorer=scorer(at, self.config.run),
            export=lambda checkpoint: folders.exported(checkpoint)[0],
            checkpoints=self.due(at),
        )

    def made(self, at: Making, artifact: Artifact) -> None:
        """Put the partitions of `hf_model` and `eval_scores` into the event log, each once for the scores it has; on
        the schedule, score what else it asks for.
        """
        run = self.config.run
        mine, folders = scorer(at, run), exporter(at, run)
        more = self.also(at) if at.context.run.tags.get(REEVALUATION_TAG) == "true" else []
        for checkpoint in (*self.due(at), *more):
            model, _ = folders.exported(checkpoint)
            subject = Subject.of(run, checkpoint, model)
            if checkpoint in more and wants_repeat(at.context) and mine.attempts(subject):
                mine.scored(subject, mine.attempts(subject) + 1)
            scores, _ = mine.scored(subject)
            partition = checkpoint.folder.name
            _log_once(at.context, f"hf_model/{run}", partition, metadata(model, True), model.manifest.digest)
            shown = score_metadata(score_rows(scores, 1))
            _log_once(at.context, f"eval_scores/{run}", partition, shown, score_digest(scores))

    def due(self, at: Making) -> list[Artifact]:
        """The checkpoints that the recipe wants evaluated."""
        steps = at.recipe.evaluation.due(at.recipe.runs[self.config.run])
        return [
            at.store.require(f"checkpoint/{self.config.run}", name)
            for name in self._checkpoints(at)
            if int(name.split("-")[0]) in steps
        ]

    def also(self, at: Making) -> list[Artifact]:
        """Recent and best checkpoints and the last one, as far as they are not due."""
        run, settings, names = self.config.run, at.recipe.evaluation.reevaluate, self._checkpoints(at)
        known = {checkpoint.folder.name for checkpoint in self.due(at)}
        top = best(by_checkpoint(read_scores(at.store, {run: set(names)}).to_pylist()).get(run, {}))
        wanted = {
            *names[len(names) - max(1, settings.recent) :],
            *(str(top[task]["checkpoint"]) for task in settings.best if task in top),
        }
        more = [at.store.require(f"checkpoint/{run}", name) for name in sorted(wanted - known)]
        return [checkpoint for checkpoint in more if not gone(checkpoint.folder)]

    def _checkpoints(self, at: Making) -> list[str]:
        run = self.config.run
        trained = at.inputs[at.recipe.trained(run)].fingerprint
        return [folder.name for folder in checkpoint_folders(at.store, run, at.recipe.runs[run], trained)]


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    searched = {lang: recipe.decontaminated[lang] for lang in recipe.languages if lang in recipe.decontaminated}
    yield Stage(
        "contamination",
        find_contamination,
        ContaminationInput(settings=searched),
        reads=["train_pool", *tasks_of(recipe)],
        kinds=["json"],
        claims=[SEARCHED],
    )
    for name, run in recipe.writing.items():
        due = recipe.evaluation.due(run)
        yield Evaluation(
            f"evaluation/{name}",
            evaluate_run,
            EvaluationInput(
                run=name, score=score_input(recipe, run=name), export=export_input(recipe, name), due=due, attempts=1
            ),
            reads=[recipe.trained(name), "tokenizer", *tasks_of(recipe)],
            kinds=["json"],
            claims=[EVERY_DUE_SCORED, REPEATS_AGREE],
            programs=["training.export", "training.evaluate"],
            found=["attempts"],
            after=[f"checkpoint/{name}"],
            resources=["compute"],
            pool=POOL,
        )


def _log_once(
    context: dg.AssetExecutionContext, name: str, partition: str, shown: Mapping[str, dg.MetadataValue], digest: str
) -> None:
    tags = {"dagster/data_version": digest}
    wanted = dg.AssetRecordsFilter(asset_key=key(name), asset_partitions=[partition])
    last = context.instance.fetch_materializations(wanted, limit=1).records
    known = last[0].asset_materialization if last else None
    if known is None or (known.tags or {}).get("dagster/data_version") != digest:
        context.log_event(dg.AssetMaterialization(key(name), partition=partition, metadata=dict(shown), tags=tags))


# ------------------------------------------------------------------ one checkpoint


def partitioned(recipe: Recipe, exported_in: Mapping[str, str], scored_in: str) -> Iterator[dg.AssetsDefinition]:
    """The two assets of every run, each in its group: models by run, scores together."""
    for run in recipe.writing:
        yield exported_checkpoint(recipe, run, exported_in[run])
        yield scored_checkpoint(recipe, run, scored_in)


def exported_checkpoint(recipe: Recipe, run: str, group: str) -> dg.AssetsDefinition:
    """`hf_model/‹run›`, by checkpoint."""

    @dg.asset(
        key=key(f"hf_model/{run}"),
        deps=[key(f"checkpoint/{run}"), key(recipe.trained(run)), key("tokenizer")],
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
        deps=[key(f"hf_model/{run}"), key(recipe.trained(run)), *(key(name) for name in tasks_of(recipe))],
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
        mine = scorer(at, run)
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
