"""What a job over files tells while it runs stands beside its asset in Dagster."""

from pathlib import Path

import dagster as dg

from neo_assets.core.shard_job import Progress
from neo_assets.declare import key, observed


def test_an_assets_progress_is_an_observation_of_it() -> None:
    told = Progress(200, done=set(range(50)), failed={60: Path("why")}, seconds=7200.0)

    @dg.asset(key=key("near_dedup/en"))
    def made(context: dg.AssetExecutionContext) -> None:
        observed("near_dedup/en", context)("f" * 32, told, 100.0)

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([made], instance=instance).success
        (record,) = instance.fetch_observations(key("near_dedup/en"), limit=5).records
    facts = {name: value.value for name, value in record.asset_observation.metadata.items()}
    assert facts["files done"] == 50 and facts["files failed"] == 1 and facts["files left"] == 150
    assert facts["hours left"] == 1.5 and facts["core hours so far"] == 2.0 and facts["job"] == "f" * 32
