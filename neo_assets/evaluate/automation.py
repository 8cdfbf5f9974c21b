"""What evaluates without being asked: a sensor for new checkpoints, and a schedule for everything."""

from collections.abc import Iterator, Mapping

import dagster as dg
import pyarrow.compute as pc
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from neo_assets.asking import requests
from neo_assets.core.errors import NeoError
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Store
from neo_assets.core.thinned import gone
from neo_assets.declare import key
from neo_assets.evaluate.assets import REEVALUATION_TAG, REPEAT_TAG
from neo_assets.evaluate.index import read_scores
from neo_assets.evaluate.score import todays_identities

ONE_AT_A_TIME = {"neofoundry/work": "evaluation"}
"""Tag of runs that the instance's queue starts one after another (``dagster.yaml``): each uses every core."""


def evaluation_sensors(recipe: Recipe) -> list[dg.SensorDefinition]:
    """One sensor per run: every new checkpoint is exported and scored, each once under today's tasks. Off until
    switched on.
    """
    return [_checkpoint_sensor(recipe, run) for run in recipe.writing]


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
            identities = todays_identities(recipe, store)
        except NeoError as error:
            yield dg.SkipReason(str(error))
            return
        today = digest_json(identities)[:12]
        there = sorted(context.instance.get_materialized_partitions(key(f"checkpoint/{run}")))
        shown = context.instance.get_materialized_partitions(key(f"eval_scores/{run}"))
        scored = scored_under(store, run, identities)
        folder = store.root / "checkpoint" / run
        due = [p for p in there if (p not in shown or p not in scored) and not gone(folder / p)]
        if not due:
            yield dg.SkipReason(f"all {len(there)} checkpoints have scores under today's tasks")
            return
        # A checkpoint under these tasks: asked for once, and again only where that run failed.
        fields = {"asset_selection": target, "tags": ONE_AT_A_TIME}
        yield from requests(
            context.instance,
            f"evaluate_checkpoints_{run}",
            {f"{p}/{today}": {"partition_key": p, **fields} for p in due},
        )

    return evaluate_checkpoints


def scored_under(store: Store, run: str, identities: Mapping[str, str]) -> set[str]:
    """Checkpoints of a run that have a score of every task under these identities."""
    table = read_scores(store)
    table = table.filter(pc.equal(table.column("run"), run)).select(["checkpoint", "task", "identity"])
    found: dict[str, set[str]] = {}
    for checkpoint, task, identity in zip(*(table.column(n).to_pylist() for n in table.column_names), strict=True):
        if task in identities and identities[task] == identity:
            found.setdefault(checkpoint, set()).add(task)
    return {checkpoint for checkpoint, tasks in found.items() if len(tasks) == len(identities)}


def evaluation_schedule(recipe: Recipe, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Re-evaluation: scores what has no score under today's task identities; with `repeat` in the recipe, everything
    once more.
    """
    settings = recipe.evaluation.reevaluate
    return dg.ScheduleDefinition(
        name="reevaluate_schedule",
        job=job,
        cron_schedule=settings.cron,
        execution_timezone="UTC",
        tags={REPEAT_TAG: str(settings.repeat).lower(), REEVALUATION_TAG: "true", **ONE_AT_A_TIME},
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=(
            "Scores due, recent and best checkpoints and release candidates under today's tasks;"
            " `evaluation.reevaluate.repeat` asks for a numbered attempt and reports differences."
        ),
    )
