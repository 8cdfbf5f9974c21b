"""The evaluate group: `heldout_tasks`, `eval_scores` by run and step, and `evaluation`, the door to them inside `factory`."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Row, Store, Workspace
from neo_assets.declare import Declared, artifact, code_reference, description, guard_instance, key, metadata, scalar, table
from neo_assets.evaluate.heldout_tasks import HeldoutTasksInput, make_heldout_tasks
from neo_assets.evaluate.score import EvaluationInput, ScoreInput, Scorer, called, evaluate_run, score_rows
from neo_assets.pretrain.export import ExportInput, export_model
from neo_assets.pretrain.job import checkpoint_folders
from neo_assets.pretrain.partitions import partitions
from neo_assets.pretrain.plan import ids

GROUP = "evaluate"
POOL = "evaluation"
REPEAT_TAG = "neofoundry/repeat"
LIBRARIES = ("torch", "transformers", "deepspeed", "lm-eval")
TASKS = ("benchmark_items", "heldout_tasks")


def export_input(recipe: Recipe, run: str) -> ExportInput:
    model = recipe.runs[run].model
    return ExportInput(run=run, model=model, vocab_rows=model.vocab_rows(ids(recipe.tokenizer)))


def score_input(recipe: Recipe, run: str) -> ScoreInput:
    settings = recipe.evaluation
    return ScoreInput(
        run=run,
        batch_size=settings.batch_size,
        device=settings.device,
        dtype=settings.dtype,
        seed=settings.seed,
        samples=settings.samples,
        sample_tokens=settings.sample_tokens,
        repetition_penalty=settings.repetition_penalty,
    )


def declared(recipe: Recipe) -> dict[str, Declared]:
    tasks = HeldoutTasksInput(tasks=recipe.evaluation.heldout, languages=recipe.languages)
    out = {"heldout_tasks": Declared("heldout_tasks", make_heldout_tasks, tasks, reads=["heldout"])}
    for name, run in recipe.runs.items():
        config = EvaluationInput(score=score_input(recipe, name), export=export_input(recipe, name), due=recipe.evaluation.due(run), attempts=1)
        out[f"evaluation/{name}"] = Declared(
            f"evaluation/{name}", evaluate_run, config, reads=[f"pretraining/{name}", "tokenizer", *TASKS], libraries=LIBRARIES, programs=["training.export", "training.evaluate"]
        )
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    entries = declared(recipe)
    out = [
        artifact(recipe, GROUP, entries["heldout_tasks"], checks=["rows_balance", *(f"{c}_items_{lang}" for lang in recipe.languages for c in ("has", "enough"))], kinds=["json"])
    ]
    for name in recipe.runs:
        out += [exported_checkpoint(recipe, name), scored_checkpoint(recipe, name), _evaluation(recipe, name, entries[f"evaluation/{name}"])]
    return out


def scorer(context: dg.AssetExecutionContext, recipe: Recipe, run: str, store: Store) -> Scorer:
    """The scorer of a run, over what this recipe's build holds."""
    return Scorer(
        store=store,
        jobs=context.resources.compute.open(),
        recipe=recipe.name,
        export=export_input(recipe, run),
        score=score_input(recipe, run),
        threads=recipe.evaluation.threads,
        tokenizer=store.head(recipe.name, "tokenizer"),
        task_artifacts=[store.head(recipe.name, name) for name in TASKS],
        log=context.log.info,
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
        made, reused = scorer(context, recipe, run, store).exported(checkpoint)
        return dg.MaterializeResult(metadata=metadata(made, reused), data_version=dg.DataVersion(made.manifest.digest))

    return hf_model


def scored_checkpoint(recipe: Recipe, run: str) -> dg.AssetsDefinition:
    """`eval_scores/‹run›`, by checkpoint."""

    @dg.asset(
        key=key(f"eval_scores/{run}"),
        deps=[key(f"hf_model/{run}"), key(f"pretraining/{run}"), *(key(name) for name in TASKS)],
        partitions_def=partitions(run),
        group_name=GROUP,
        description=f"Scores of each checkpoint of run `{run}`: task by task with standard error, number of items and task identity; per-item results are kept beside them.",
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
        mine = scorer(context, recipe, run, store)
        model, _ = mine.exported(checkpoint)
        attempt = mine.attempts(model) + 1 if wants_repeat(context) else 1
        scores, made_now = mine.scored(checkpoint, model, attempt)
        context.log.info(f"{len(made_now)} scores made, {len(scores) - len(made_now)} reused")
        rows = score_rows(run, checkpoint, scores, attempt)
        return dg.MaterializeResult(metadata=score_metadata(rows), data_version=dg.DataVersion(score_digest(scores)))

    return eval_scores


def score_metadata(rows: list[Row]) -> dict[str, dg.MetadataValue]:
    """Scores as the UI shows them: a table, and one number a task, which the UI plots over steps."""
    shown: list[Row] = [{name: row[name] for name in ("task", "metric", "value", "stderr", "n", "chance", "attempt", "identity")} for row in rows]
    numbers = {called(row): scalar(float(str(row["value"]))) for row in rows if row["headline"]}
    return {"scores": table(shown), **numbers, "step": dg.MetadataValue.int(int(str(rows[0]["step"])))}


def score_digest(scores: Mapping[str, Artifact]) -> str:
    return digest_json({name: made.manifest.digest for name, made in scores.items()})


# ------------------------------------------------------------------ all due checkpoints


def _evaluation(recipe: Recipe, run: str, entry: Declared) -> dg.AssetsDefinition:
    def due(store: Store, pretraining: Artifact) -> list[Artifact]:
        steps = recipe.evaluation.due(recipe.runs[run])
        folders = checkpoint_folders(store, run, recipe.runs[run], pretraining.fingerprint)
        return [store.require(f"checkpoint/{run}", folder.name) for folder in folders if int(folder.name.split("-")[0]) in steps]

    def with_attempts(context: dg.AssetExecutionContext, store: Store, inputs: Mapping[str, Artifact]) -> EvaluationInput:
        mine = scorer(context, recipe, run, store)
        done = min(mine.attempts_of(checkpoint) for checkpoint in due(store, inputs[f"pretraining/{run}"]))
        config: EvaluationInput = entry.config  # type: ignore[assignment]
        return config.model_copy(update={"attempts": max(1, done + wants_repeat(context))})

    def call(context: dg.AssetExecutionContext, store: Store, made_from: MadeFrom, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
        config = EvaluationInput.model_validate(made_from.config)
        checkpoints = due(store, inputs[f"pretraining/{run}"])
        return evaluate_run(config, inputs, out, scorer=scorer(context, recipe, run, store), checkpoints=checkpoints)

    def announce(context: dg.AssetExecutionContext, store: Store, made: Artifact) -> None:
        """Put the partitions of `hf_model` and `eval_scores` into the event log, each once for the scores it has."""
        mine = scorer(context, recipe, run, store)
        for checkpoint in due(store, store.head(recipe.name, f"pretraining/{run}")):
            model, _ = mine.exported(checkpoint)
            scores, _ = mine.scored(checkpoint, model, 1)
            _log_once(context, f"hf_model/{run}", checkpoint.path.name, metadata(model, True), model.manifest.digest)
            _log_once(context, f"eval_scores/{run}", checkpoint.path.name, score_metadata(score_rows(run, checkpoint, scores, 1)), score_digest(scores))

    checks = ["every_due_checkpoint_scored", "repeats_agree"]
    return artifact(
        recipe, GROUP, entry, checks=checks, kinds=["json"], deps=[f"checkpoint/{run}"], call=call, after=announce, refine=with_attempts, required_resources=["compute"], pool=POOL
    )


def _log_once(context: dg.AssetExecutionContext, name: str, partition: str, shown: Mapping[str, dg.MetadataValue], digest: str) -> None:
    tags = {"dagster/data_version": digest}
    last = context.instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key(name), asset_partitions=[partition]), limit=1).records
    if last and last[0].asset_materialization and (last[0].asset_materialization.tags or {}).get("dagster/data_version") == digest:
        return
    context.log_event(dg.AssetMaterialization(key(name), partition=partition, metadata=dict(shown), tags=tags))
