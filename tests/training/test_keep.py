"""A run keeps the checkpoints that its recipe wants whole; of the others it keeps what tells of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe import load
from neo_assets.core.store import Store, read_manifest
from neo_assets.core.thinned import MARK, Thinned, gone, states
from neo_assets.runs.plan import estimate
from neo_assets.runs.proof import proof_spec, prove, verify_checkpoint
from resources.compute.local import LocalCompute
from tests.training.runs import (
    EVERY,
    STEPS,
    checkpoint,
    killed_after,
    outcome,
    resumed_from,
    small_job,
    small_run,
    write_shards,
)
from tests.training.test_proof import found

KEEP = {"every": 5 * EVERY, "last": 2}
WHOLE = [0, 5 * EVERY, STEPS]


def job_that_keeps(compute: LocalCompute, shards: Path, name: str, attempts: int = 1) -> JobSpec:
    job = small_job(compute.root, shards, name, attempts, ranks_per_node=1, keep=KEEP)
    return job.model_copy(update={"config": {**job.config, "whole": WHOLE}})


@pytest.fixture(scope="module")
def shards(compute: LocalCompute) -> Path:
    return write_shards(compute.root / "token_shards")


@pytest.fixture(scope="module")
def kept(compute: LocalCompute, shards: Path) -> JobSpec:
    """Killed on the way, with the newest checkpoint damaged, and gone on with."""
    job = job_that_keeps(compute, shards, "kept", 2)
    folder, messages = killed_after(compute, job, 6 * EVERY)
    there = [step for step in range(0, STEPS, EVERY) if whole(job, step)]
    state = next((checkpoint(job, there[-1]) / "state").glob("*optim*.pt"))
    state.write_bytes(state.read_bytes()[:-9])
    list(messages)
    assert resumed_from(folder)[-1] == there[-2]  # the one before was whole still
    return job


def whole(job: JobSpec, step: int) -> bool:
    return checkpoint(job, step).is_dir() and not gone(checkpoint(job, step))


def test_what_is_kept_is_whole_and_the_run_is_the_same_bit_for_bit(
    compute: LocalCompute, shards: Path, kept: JobSpec
) -> None:
    assert [s for s in range(0, STEPS + 1, EVERY) if whole(kept, s)] == sorted({*WHOLE, STEPS - EVERY})
    other = small_job(compute.root, shards, "all", ranks_per_node=1)
    list(compute.follow(compute.submit(other)))
    for step in range(0, STEPS + 1, EVERY):
        assert outcome(kept, step) == outcome(other, step), f"step {step}"


def test_a_checkpoint_without_its_states_still_tells_and_lends_nothing(kept: JobSpec) -> None:
    store, thin = Store(Path(kept.out).parents[1]), checkpoint(kept, 2 * EVERY)
    left = {p.relative_to(thin).as_posix() for p in thin.rglob("*") if p.is_file()}
    files = set(read_manifest(thin).files)
    assert left == files - set(states(files)) | {"manifest.json", MARK}
    assert {"certificate.json", "metrics.parquet", "verdict.json"} <= left
    assert not any(name.endswith(".pt") for name in left) and any(name.endswith(".pt") for name in files)
    made = store.require("checkpoint/kept", thin.name)
    assert store.verify(made) == [] and made.file("metrics.parquet").is_file()
    with pytest.raises(Thinned, match="its run let its states go"):
        _ = made.path
    claims = verify_checkpoint(found(kept), 2 * EVERY, thin)
    assert all(c.holds for c in claims) and any("let go by the run's keep" in c.detail for c in claims)
    (thin / MARK).write_text(json.dumps([*gone(thin), "metrics.parquet"]))  # nothing but states can be let go
    (thin / "metrics.parquet").rename(thin / "aside")
    with pytest.raises(DamagedArtifact, match=r"file metrics\.parquet is gone"):
        store.find("checkpoint/kept", thin.name)
    (thin / "metrics.parquet").write_bytes(b"")
    assert "metrics.parquet" in str(store.verify(made))


def test_what_was_let_go_is_trained_to_again_and_is_the_same(compute: LocalCompute, kept: JobSpec) -> None:
    step = 7 * EVERY
    assert not whole(kept, step)
    spec, _ = proof_spec(found(kept), step, Store(compute.root))
    assert spec.config["start"]["step"] == 5 * EVERY  # type: ignore[index]  # the whole one before
    claims = prove(found(kept), step, checkpoint(kept, step), Store(compute.root), compute)
    assert all(c.holds for c in claims), [c for c in claims if not c.holds]
    assert f"{2 * EVERY} steps" in next(c.detail for c in claims if c.claim == "every step's loss")


def test_the_recipe_keeps_what_it_asks_for_and_is_the_same_run() -> None:
    recipe = load("ci")
    run = recipe.runs["main"]
    keeping = run.model_copy(update={"keep": small_run(keep=KEEP).keep})
    changed = recipe.model_copy(update={"runs": {**recipe.runs, "main": keeping}})
    steps = changed.whole_steps("main")
    assert recipe.whole_steps("main") is None and steps is not None
    assert {run.first_step, run.steps, *recipe.evaluation.due(run)} <= set(steps) <= set(run.checkpoint_steps())
    from neo_assets.core.recipe.base import identity

    assert identity(keeping) == identity(run)
    assert small_run(keep={"every": 6}).kept_steps() == [0, 8, 12, 20, 24, 32, 36, 40]  # at or after 6, 12, 18 …
    assert small_run(keep={"every": 1000}).kept_steps() == [0, 40]
    plans = [estimate(r, recipe.tokenizer) for r in (small_run(), small_run(keep={"every": 20, "last": 1}))]
    assert json.dumps(plans[1]["checkpoints that stay whole"]) == "3"
    assert plans[1]["bytes of checkpoints"] * 11 == plans[0]["bytes of checkpoints"] * 3  # type: ignore[operator]
