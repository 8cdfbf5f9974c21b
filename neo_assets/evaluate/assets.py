"""The evaluate group: `heldout_tasks`, `eval_scores` by run and step, `evaluation`, the door to them inside `factory`,
and what is read of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Row, Store, Workspace
from neo_assets.declare import (
    Declared,
    artifact,
    code_reference,
    description,
    guard_instance,
    key,
    metadata,
    scalar,
    table,
)
from neo_assets.evaluate.comparison import ComparisonInput, compare_runs, files_digest
from neo_assets.evaluate.contamination import ContaminationInput, find_contamination
from neo_assets.evaluate.evaluation import EvaluationInput, evaluate_run
from neo_assets.evaluate.gates import NAMES as GATES
from neo_assets.evaluate.gates import best, by_checkpoint, only_warn
from neo_assets.evaluate.heldout_tasks import HeldoutTasksInput, make_heldout_tasks
from neo_assets.evaluate.index import read_scores, tokens_before
from neo_assets.evaluate.models import Exporter, export_input, from_elsewhere
from neo_assets.evaluate.score import (
    TASKS,
    Scorer,
    Subject,
    called,
    headline,
    score_input,
    score_rows,
    todays_identities,
)
from neo_assets.evaluate.score_matrix import ScoreMatrixInput, gathered, make_score_matrix
from neo_assets.pretrain.export import export_model
from neo_assets.pretrain.job import checkpoint_folders
from neo_assets.pretrain.partitions import partitions

GROUP = "evaluate"
POOL = "evaluation"
REPEAT_TAG = "neofoundry/repeat"
REEVALUATION_TAG = "neofoundry/reevaluation"
"""On Dagster runs of the schedule: recent and best checkpoints are scored as well."""


def declared(recipe: Recipe) -> dict[str, Declared]:
    settings = recipe.evaluation
    tasks = HeldoutTasksInput(tasks=settings.heldout, languages=recipe.languages, split=recipe.heldout)
    searched = ContaminationInput(
        settings={lang: recipe.decontaminated[lang] for lang in recipe.languages if lang in recipe.decontaminated}
    )
    out = {
        "heldout_tasks": Declared("heldout_tasks", make_heldout_tasks, tasks, reads=["heldout"]),
        "contamination": Declared("contamination", find_contamination, searched, reads=["train_pool", *TASKS]),
    }
    for name, run in recipe.runs.items():
        config = EvaluationInput(
            run=name, score=score_input(recipe), export=export_input(recipe, name), due=settings.due(run), attempts=1
        )
        out[f"evaluation/{name}"] = Declared(
            f"evaluation/{name}",
            evaluate_run,
            config,
            reads=[f"pretraining/{name}", "tokenizer", *TASKS],
            programs=["training.export", "training.evaluate"],
            found=["attempts"],
        )
    evaluations = [f"evaluation/{name}" for name in recipe.runs]
    matrix = ScoreMatrixInput(runs=list(recipe.runs))
    compared = ComparisonInput(
        recipe=recipe.name,
        description=recipe.description,
        parents={
            run: (p.run, p.step) for run in recipe.runs if (p := recipe.runs[run].parent) and recipe.parent_of(run)
        },
        from_elsewhere=[
            run for run, r in recipe.runs.items() if r.from_model or (r.parent and not recipe.parent_of(run))
        ],
        asked=list(recipe.asked()),
        suites={suite: list(recipe.asked([suite])) for suite in settings.suites},
        gates=settings.gates,
        published=settings.published,
        files_digest=files_digest(settings.published),
    )
    out["score_matrix"] = Declared(
        "score_matrix",
        make_score_matrix,
        matrix,
        reads=[*evaluations, "contamination", *TASKS],
        found=["before", "scores", "identities"],
    )
    out["comparison"] = Declared(
        "comparison", compare_runs, compared, reads=["score_matrix", *TASKS], found=["baseline"]
    )
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    entries, enough = declared(recipe), [f"enough_items_{lang}" for lang in recipe.languages]
    out = [
        artifact(
            recipe,
            GROUP,
            entries["heldout_tasks"],
            checks=["rows_balance", *(f"has_items_{lang}" for lang in recipe.languages), *enough],
            warns=enough,
            kinds=["json"],
        ),
        artifact(recipe, GROUP, entries["contamination"], checks=["searched"], warns=["searched"], kinds=["json"]),
    ]
    for name in recipe.runs:
        out += [
            exported_checkpoint(recipe, name),
            scored_checkpoint(recipe, name),
            _evaluation(recipe, name, entries[f"evaluation/{name}"]),
        ]
    return [*out, _score_matrix(recipe, entries["score_matrix"]), _comparison(recipe, entries["comparison"])]


def exporter(context: dg.AssetExecutionContext, recipe: Recipe, run: str, store: Store) -> Exporter:
    return Exporter(
        store,
        context.resources.compute.open(),
        recipe.name,
        export_input(recipe, run),
        store.head(recipe.name, "tokenizer"),
        context.log.info,
    )


def scorer(context: dg.AssetExecutionContext, recipe: Recipe, store: Store) -> Scorer:
    """What asks the recipe's tasks, over what this recipe's build holds."""
    tasks = [store.head(recipe.name, name) for name in TASKS]
    return Scorer(
        store, context.resources.compute.open(), score_input(recipe), recipe.evaluation.threads, tasks, context.log.info
    )


def wants_repeat(context: dg.AssetExecutionContext) -> bool:
    return context.run.tags.get(REPEAT_TAG, "false").lower() == "true"


# ------------------------------------------------------------------ one checkpoint


def exported_checkpoint(recipe: Recipe, run: str) -> dg.AssetsDefinition:
    """`hf_model/‹run›`, by checkpoint. It is declared here and shown in the pretrain group."""

    @dg.asset(
        key=key(f"hf_model/{run}"),
        deps=[key(f"checkpoint/{run}"), key(f"pretraining/{run}"), key("tokenizer")],
        partitions_def=partitions(run),
        group_name="pretrain",
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
        made, reused = exporter(context, recipe, run, store).exported(checkpoint)
        return dg.MaterializeResult(metadata=metadata(made, reused), data_version=dg.DataVersion(made.manifest.digest))

    return hf_model


def scored_checkpoint(recipe: Recipe, run: str) -> dg.AssetsDefinition:
    """`eval_scores/‹run›`, by checkpoint."""

    @dg.asset(
        key=key(f"eval_scores/{run}"),
        deps=[key(f"hf_model/{run}"), key(f"pretraining/{run}"), *(key(name) for name in TASKS)],
        partitions_def=partitions(run),
        group_name=GROUP,
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
        mine = scorer(context, recipe, store)
        model, _ = exporter(context, recipe, run, store).exported(checkpoint)
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


def score_metadata(rows: list[Row]) -> dict[str, dg.MetadataValue]:
    """Scores as the UI shows them: a table, and one number a task, which the UI plots over steps."""
    shown: list[Row] = [
        {
            name: row[name]
            for name in (
                "task",
                "metric",
                "value",
                "stderr",
                "detectable",
                "n",
                "shots",
                "cut",
                "chance",
                "attempt",
                "identity",
            )
        }
        for row in rows
        if headline(row)
    ]
    numbers = {called(row): scalar(float(str(row["value"]))) for row in rows if row["headline"]}
    return {"scores": table(shown), **numbers, "step": dg.MetadataValue.int(int(str(rows[0]["step"])))}


def score_digest(scores: Mapping[str, Artifact]) -> str:
    return digest_json({name: made.manifest.digest for name, made in scores.items()})


# ------------------------------------------------------------------ all due checkpoints


def _evaluation(recipe: Recipe, run: str, entry: Declared) -> dg.AssetsDefinition:
    def due(store: Store, pretraining: Artifact) -> list[Artifact]:
        steps = recipe.evaluation.due(recipe.runs[run])
        folders = checkpoint_folders(store, run, recipe.runs[run], pretraining.fingerprint)
        return [
            store.require(f"checkpoint/{run}", folder.name)
            for folder in folders
            if int(folder.name.split("-")[0]) in steps
        ]

    def also(store: Store, pretraining: Artifact) -> list[Artifact]:
        """Recent and best checkpoints and the last one, as far as they are not due."""
        settings, known = recipe.evaluation.reevaluate, {c.path.name for c in due(store, pretraining)}
        names = [folder.name for folder in checkpoint_folders(store, run, recipe.runs[run], pretraining.fingerprint)]
        scores = by_checkpoint(read_scores(store, {run: set(names)}).to_pylist()).get(run, {})
        top = best(scores)
        wanted = {
            *names[len(names) - max(1, settings.recent) :],
            *(str(top[task]["checkpoint"]) for task in settings.best if task in top),
        }
        return [store.require(f"checkpoint/{run}", name) for name in sorted(wanted - known)]

    def with_attempts(
        context: dg.AssetExecutionContext, store: Store, inputs: Mapping[str, Artifact]
    ) -> EvaluationInput:
        mine, folders = scorer(context, recipe, store), exporter(context, recipe, run, store)
        models = [(checkpoint, folders.find(checkpoint)) for checkpoint in due(store, inputs[f"pretraining/{run}"])]
        done = min(mine.attempts(Subject.of(run, checkpoint, model)) if model else 0 for checkpoint, model in models)
        config: EvaluationInput = entry.config  # type: ignore[assignment]
        return config.model_copy(update={"attempts": max(1, done + wants_repeat(context))})

    def call(
        context: dg.AssetExecutionContext,
        store: Store,
        made_from: MadeFrom,
        inputs: Mapping[str, Artifact],
        out: Workspace,
    ) -> Outcome:
        config = EvaluationInput.model_validate(made_from.config)
        checkpoints = due(store, inputs[f"pretraining/{run}"])
        folders = exporter(context, recipe, run, store)
        return evaluate_run(
            config,
            inputs,
            out,
            scorer=scorer(context, recipe, store),
            export=lambda c: folders.exported(c)[0],
            checkpoints=checkpoints,
        )

    def announce(context: dg.AssetExecutionContext, store: Store, made: Artifact) -> None:
        """Put the partitions of `hf_model` and `eval_scores` into the event log, each once for the scores it has; on
        the schedule, score what else it asks for.
        """
        mine, folders = scorer(context, recipe, store), exporter(context, recipe, run, store)
        pretraining = store.head(recipe.name, f"pretraining/{run}")
        more = also(store, pretraining) if context.run.tags.get(REEVALUATION_TAG) == "true" else []
        for checkpoint in (*due(store, pretraining), *more):
            model, _ = folders.exported(checkpoint)
            subject = Subject.of(run, checkpoint, model)
            if checkpoint in more and wants_repeat(context) and mine.attempts(subject):
                mine.scored(subject, mine.attempts(subject) + 1)
            scores, _ = mine.scored(subject)
            _log_once(context, f"hf_model/{run}", checkpoint.path.name, metadata(model, True), model.manifest.digest)
            _log_once(
                context,
                f"eval_scores/{run}",
                checkpoint.path.name,
                score_metadata(score_rows(scores, 1)),
                score_digest(scores),
            )

    return artifact(
        recipe,
        GROUP,
        entry,
        checks=["every_due_checkpoint_scored", "repeats_agree"],
        warns=["repeats_agree"],
        kinds=["json"],
        deps=[f"checkpoint/{run}"],
        call=call,
        after=announce,
        refine=with_attempts,
        required_resources=["compute"],
        pool=POOL,
    )


def _log_once(
    context: dg.AssetExecutionContext, name: str, partition: str, shown: Mapping[str, dg.MetadataValue], digest: str
) -> None:
    tags = {"dagster/data_version": digest}
    last = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key(name), asset_partitions=[partition]), limit=1
    ).records
    if (
        last
        and last[0].asset_materialization
        and (last[0].asset_materialization.tags or {}).get("dagster/data_version") == digest
    ):
        return
    context.log_event(dg.AssetMaterialization(key(name), partition=partition, metadata=dict(shown), tags=tags))


# ------------------------------------------------------------------ all scores together


def _score_matrix(recipe: Recipe, entry: Declared) -> dg.AssetsDefinition:
    config: ScoreMatrixInput = entry.config  # type: ignore[assignment]

    def with_scores(
        context: dg.AssetExecutionContext, store: Store, inputs: Mapping[str, Artifact]
    ) -> ScoreMatrixInput:
        before = {run: tokens_before(recipe, run, store) for run in recipe.runs}
        return gathered(
            config, store, recipe.name, todays_identities(recipe, store, list(recipe.evaluation.suites)), before
        )

    def call(
        context: dg.AssetExecutionContext,
        store: Store,
        made_from: MadeFrom,
        inputs: Mapping[str, Artifact],
        out: Workspace,
    ) -> Outcome:
        return make_score_matrix(
            ScoreMatrixInput.model_validate(made_from.config), inputs, out, store=store, recipe=recipe.name
        )

    return artifact(
        recipe,
        GROUP,
        entry,
        checks=["scores_there"],
        warns=["scores_there"],
        kinds=["parquet"],
        call=call,
        refine=with_scores,
    )


def _comparison(recipe: Recipe, entry: Declared) -> dg.AssetsDefinition:
    config: ComparisonInput = entry.config  # type: ignore[assignment]
    folder = Path(recipe.evaluation.baseline.path) if recipe.evaluation.baseline else None

    def with_baseline(
        context: dg.AssetExecutionContext, store: Store, inputs: Mapping[str, Artifact]
    ) -> ComparisonInput:
        """The baseline's scores are asked for like a checkpoint's."""
        if folder is None:
            return config
        baseline = from_elsewhere(folder)
        scores, _ = scorer(context, recipe, store).scored(baseline)
        return config.model_copy(update={"baseline": digest_json([baseline.digest, score_digest(scores)])})

    def call(
        context: dg.AssetExecutionContext,
        store: Store,
        made_from: MadeFrom,
        inputs: Mapping[str, Artifact],
        out: Workspace,
    ) -> Outcome:
        return compare_runs(config, inputs, out, store=store, baseline=from_elsewhere(folder) if folder else None)

    return artifact(
        recipe,
        GROUP,
        entry,
        checks=list(GATES),
        warns=only_warn(recipe.evaluation.gates),
        kinds=["html"],
        call=call,
        refine=with_baseline,
        required_resources=["compute"] if folder else [],
    )
