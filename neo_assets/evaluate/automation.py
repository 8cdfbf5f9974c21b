"""What evaluates without being asked: a sensor for new checkpoints, and a schedule for everything."""

from collections.abc import Iterator, Mapping

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from neo_assets.core.errors import NeoError
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Store
from neo_assets.declare import key
from neo_assets.evaluate.assets import REPEAT_TAG, TASKS
from training.tasks import task_identities

ONE_AT_A_TIME = {"neofoundry/work": "evaluation"}
"""Tag of runs that the instance's queue starts one after another (``dagster.yaml``): each uses every core."""


def evaluation_sensors(recipe: Recipe) -> list[dg.SensorDefinition]:
    """One sensor per run: every new checkpoint is exported and scored, each once under today's tasks. Off until switched on."""
    return [_checkpoint_sensor(recipe, run) for run in recipe.runs]


def _checkpoint_sensor(recipe: Recipe, run: str) -> dg.SensorDefinition:
    target = [key(f"hf_model/{run}"), key(f"eval_scores/{run}")]

    @dg.sensor(
        name=f"evaluate_checkpoints_{run}",
        target=dg.AssetSelection.assets(*target),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Exports and scores every new checkpoint of run `{run}`, once under today's task identities.",
        required_resource_keys={"store"},
    )
    def evaluate_checkpoints(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        store: Store = context.resources.store.open()
        try:
            identities = task_identities(store.head(recipe.name, name).path for name in TASKS)
        except NeoError as error:
            yield dg.SkipReason(str(error))
            return
        today = "-".join(sorted(identity[:6] for identity in identities.values()))
        there = sorted(context.instance.get_materialized_partitions(key(f"checkpoint/{run}")))
        shown = context.instance.get_materialized_partitions(key(f"eval_scores/{run}"))
        due = [p for p in there if p not in shown or not scored_under(store, recipe.name, run, p, identities)]
        if not due:
            yield dg.SkipReason(f"all {len(there)} checkpoints have scores under today's tasks")
        for partition in due:
            # The run key makes this request once for ever: a checkpoint under these tasks.
            yield dg.RunRequest(run_key=f"{partition}/{today}", partition_key=partition, asset_selection=target, tags=ONE_AT_A_TIME)

    return evaluate_checkpoints


def scored_under(store: Store, recipe: str, run: str, checkpoint: str, identities: Mapping[str, str]) -> bool:
    """Whether a checkpoint has a score of every task under these identities."""
    for task, identity in identities.items():
        pointer = store.head_pointer(recipe, f"eval_scores/{run}@{checkpoint}/{task}@1")
        made = store.find(*pointer) if pointer else None
        if made is None or made.manifest.made_from.config.get("identity") != identity:
            return False
    return True


def evaluation_schedule(recipe: Recipe, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Re-evaluation: scores what has no score under today's task identities; with `repeat` in the recipe, everything once more."""
    settings = recipe.evaluation.reevaluate
    return dg.ScheduleDefinition(
        name="reevaluate_schedule",
        job=job,
        cron_schedule=settings.cron,
        execution_timezone="UTC",
        tags={REPEAT_TAG: str(settings.repeat).lower(), **ONE_AT_A_TIME},
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Scores due checkpoints under today's tasks; `evaluation.reevaluate.repeat` asks for a numbered attempt and reports differences.",
    )
