"""Four ranks, ZeRO 2, bf16, feed-forward layers computed twice: killed and resumed, gone on from by two ranks,
exported.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neo_assets.core.jobs import JobSpec
from resources.compute.local import LocalCompute
from tests.training.folders import running, save_tokenizer, write_spec
from tests.training.runs import ROWS, checkpoint, killed_after, outcome, small_job, write_shards
from tests.training.test_proof import broken_claims, start_of
from training import export
from training.spec import PretrainConfig
from training.weights import master_weights

pytestmark = pytest.mark.slow
LAYOUT = {
    "ranks_per_node": 4,
    "threads_per_rank": 1,
    "zero_stage": 2,
    "precision": "bf16",
    "recompute": "selective",
    "micro_batch": 1,
    "steps": 12,
}
EVERY, STEPS = 4, 12


@pytest.fixture(scope="module")
def whole(compute: LocalCompute) -> JobSpec:
    job = small_job(compute.root, write_shards(compute.root / "shards"), "whole", **LAYOUT)
    list(compute.follow(compute.submit(job)))
    assert all(broken_claims(job, step) == [] for step in range(0, STEPS + 1, EVERY))
    return job


def test_killed_and_resumed_it_ends_with_the_same_bits(compute: LocalCompute, whole: JobSpec) -> None:
    job = small_job(compute.root, Path(whole.inputs["token_shards"]), "killed", 2, **LAYOUT)
    folder, messages = killed_after(compute, job, EVERY)
    list(messages)
    assert len(folder.attempts()) == 2
    assert [outcome(job, step) for step in range(0, STEPS + 1, EVERY)] == [
        outcome(whole, step) for step in range(0, STEPS + 1, EVERY)
    ]


def test_two_ranks_go_on_with_the_same_samples_and_come_close(compute: LocalCompute, whole: JobSpec) -> None:
    changes = LAYOUT | {"ranks_per_node": 2, "parent": {"run": "whole", "step": EVERY, "take": "everything"}}
    branch = small_job(
        compute.root, Path(whole.inputs["token_shards"]), "tworanks", start=start_of(whole, EVERY), **changes
    )
    list(compute.follow(compute.submit(branch)))
    mine, theirs = outcome(branch, STEPS), outcome(whole, STEPS)
    assert (mine["next_sample"], mine["trained_tokens"]) == (theirs["next_sample"], theirs["trained_tokens"])
    assert mine["state_digests"] != theirs["state_digests"]
    weights, others, began = (
        master_weights(checkpoint(job, step)) for job, step in ((branch, STEPS), (whole, STEPS), (whole, EVERY))
    )
    apart = sum(float((weights[n] - others[n]).square().sum()) for n in weights)
    moved = sum(float((began[n] - others[n]).square().sum()) for n in weights)
    assert (apart / moved) ** 0.5 < 0.1  # bf16: three digits of a number (tests/training/test_parity.py)
    assert broken_claims(branch, STEPS) == []


def test_its_export_gives_the_same_logits_to_the_last_bit(whole: JobSpec, tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "tokenizer")
    config = {
        "model": PretrainConfig.model_validate(whole.config).run.model.model_dump(),
        "vocab_rows": ROWS,
        "tag": "state",
        "threads": 1,
    }
    spec = write_spec(
        tmp_path / "job",
        "training.export",
        config,
        {"checkpoint": checkpoint(whole, STEPS), "tokenizer": tmp_path / "tokenizer"},
    )
    export.export(running(spec))
    parity = json.loads((tmp_path / "job" / "out" / "parity.json").read_text())
    assert (parity["max_abs_logit_difference"], parity["tensors_differing"]) == (0, 0)
