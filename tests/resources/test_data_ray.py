"""Work over shards on a real Ray of three nodes: the contract that Slurm's has (``test_data_slurm.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from neo_assets.core.errors import MachineLacks
from neo_assets.core.ray_tasks import bytes_of
from resources.compute.ray import RayCompute
from tests.resources.data_engines import SHARDS, Asking, bad_shards_are_named, cancelled_it_stays_so, settings
from tests.resources.shard_work import begun
from tests.resources.sleeping import until as within
from tests.servers import Ray

until = partial(within, seconds=180)


@pytest.fixture
def asking(tmp_path: Path, three_raylets: Ray) -> Iterator[Callable[..., Asking]]:
    data = {"engine": "ray", "address": three_raylets.address, "memory": "500M"}
    yield lambda **more: Asking(tmp_path / "store", settings(**data | more))


def test_every_shard_once_on_all_nodes(asking: Callable[..., Asking]) -> None:
    it = asking()
    it.how("slow")
    it.run()
    assert (it.made, it.starts) == (SHARDS, SHARDS)
    assert len({node for n in range(SHARDS) for node in begun(it.folder, n)}) == 3
    it.run()
    assert it.starts == SHARDS and len(it.job.attempts()) == 1


@pytest.mark.slow  # what test_data_slurm.py asks of the same engine
def test_a_bad_shard_keeps_no_other_from_being_done_and_is_named(asking: Callable[..., Asking]) -> None:
    it = asking(attempts=2)
    bad_shards_are_named(it)


def test_a_node_that_dies_costs_the_shards_it_was_at(three_raylets: Ray, asking: Callable[..., Asking]) -> None:
    it = asking()
    wait = it.how("wait")
    thread = it.start()
    until(lambda: it.starts == 6)
    lost = three_raylets.kill_node(2)
    on_it = [n for n in range(SHARDS) if lost in begun(it.folder, n)]
    wait.unlink()
    try:
        thread.join(240)
        assert it.error is None and it.made == SHARDS
        assert it.starts == SHARDS + len(on_it) and 1 <= len(on_it) <= 2
    finally:
        three_raylets.start_node(2)


def test_a_dead_submitter_is_followed_by_the_next(asking: Callable[..., Asking]) -> None:
    it = asking()
    wait = it.how("wait")
    first = it.elsewhere()
    until(lambda: it.starts == 6)
    first.kill()
    first.wait()
    (it.job.path / "attempts" / "0001.json").unlink()  # it died before it could note what it had started
    thread = it.start()
    until(lambda: any("job" in line for line in it.lines))
    wait.unlink()
    thread.join(240)
    assert it.error is None and (it.made, it.starts) == (SHARDS, SHARDS)


@pytest.mark.slow  # what test_data_slurm.py asks of the same engine
def test_cancelled_it_stays_so_until_it_is_resumed(asking: Callable[..., Asking]) -> None:
    it = asking()
    cancelled_it_stays_so(it, it.out.engine.compute)  # type: ignore[attr-defined]


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    it = Asking(tmp_path / "store", settings(engine="ray", address="http://127.0.0.1:9"))
    with pytest.raises(MachineLacks, match=r"no Ray cluster answers at http://127\.0\.0\.1:9"):
        it.run()


def test_amounts_of_memory() -> None:
    assert [bytes_of(m) for m in ("500", "500M", "4G", "4GB", "4Gi", "1.5G")] == [
        500 << 20, 500 << 20, 4 << 30, 4 << 30, 4 << 30, 3 << 29,
    ]  # fmt: skip
    assert RayCompute.name == "ray"
