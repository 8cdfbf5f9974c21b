"""Muon under DeepSpeed, of a model with tied embeddings: updates of the blocks' matrices are orthogonal, whatever ZeRO
does with their pieces; killed and resumed it ends with the same bits; another number of ranks goes on from it; its
export is the model.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from neo_assets.core.jobs import JobSpec
from resources.compute.local import LocalCompute
from tests.training.folders import running, save_tokenizer, write_spec
from tests.training.runs import ROWS, checkpoint, killed_after, outcome, small_job, small_run, write_shards
from tests.training.test_proof import broken_claims, start_of
from training import export
from training.engine import _optimizer
from training.model import build_model
from training.weights import master_weights

RATE, MATRICES, TABLES = 1e-3, 10.0, 5.0
MUON = {
    "kind": "muon", "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0, "grad_clip": 1.0,
    "momentum": 0.95, "matrix_rate": MATRICES, "embedding_rate": TABLES,
}  # fmt: skip
EVERY, STEPS = 1, 6
SHAPE = small_run().model.model_copy(update={"tied_embeddings": True, "zero_outputs": True})
LAYOUT = {
    "model": SHAPE.model_dump(),
    "precision": "bf16",
    "zero_stage": 1,
    "steps": STEPS,
    "checkpoint_every": EVERY,
    "optimizer": MUON,
    "schedule": {"kind": "constant", "peak_lr": RATE, "min_lr": 0.0},
}


@pytest.fixture(scope="module")
def whole(compute: LocalCompute) -> JobSpec:
    job = small_job(compute.root, write_shards(compute.root / "shards"), "whole", **LAYOUT)
    list(compute.follow(compute.submit(job)))
    assert all(broken_claims(job, step) == [] for step in range(STEPS + 1))
    return job


def updates(job: JobSpec, step: int) -> dict[str, torch.Tensor]:
    """What the step from ``step`` did to each matrix, in units of the schedule's rate."""
    before, after = (master_weights(checkpoint(job, k)) for k in (step, step + 1))
    return {name: (after[name] - before[name]) / RATE for name in before if before[name].ndim == 2}


def orthogonal(update: torch.Tensor) -> bool:
    """Whether an update's largest singular values are about equal, at the size that Muon's scale gives. Five iterations
    leave all that were not tiny between .68 and 1.2; those of a gradient fall by orders of magnitude.
    """
    values = torch.linalg.svdvals(update) / MATRICES / math.sqrt(max(1.0, update.shape[0] / update.shape[1]))
    return bool(1.0 < values.max() < 1.3 and values.quantile(0.8) > 0.5)


@pytest.mark.parametrize("step", [1, 4])
def test_every_matrix_of_a_block_moves_by_an_orthogonal_matrix_and_no_other(whole: JobSpec, step: int) -> None:
    found = {name: orthogonal(update) for name, update in updates(whole, step).items()}
    assert found == {name: ".layers." in name for name in found} and sum(found.values()) >= 14


def test_killed_and_resumed_it_ends_with_the_same_bits(compute: LocalCompute, whole: JobSpec) -> None:
    job = small_job(compute.root, Path(whole.inputs["token_shards"]), "killed", 2, **LAYOUT)
    folder, messages = killed_after(compute, job, 2)
    list(messages)
    assert len(folder.attempts()) == 2
    for step in range(STEPS + 1):
        assert outcome(job, step) == outcome(whole, step), f"step {step}"


def test_another_number_of_ranks_goes_on_with_its_momentum(compute: LocalCompute, whole: JobSpec) -> None:
    """From step 5, by one rank instead of two: where it comes to is closer to the whole run by far than what momentum
    that began anew would lead to.
    """
    begun = STEPS - 1
    goes_on = {"ranks_per_node": 1, "parent": {"run": "whole", "step": begun, "take": "everything"}}
    anew = {"parent": {"run": "whole", "step": begun, "take": "weights"}, "steps": 1}
    jobs = [
        small_job(compute.root, Path(whole.inputs["token_shards"]), name, start=start, **LAYOUT | changes)
        for name, changes, start in (
            ("goeson", goes_on, start_of(whole, begun)),
            ("anew", anew, start_of(whole, begun).model_copy(update={"take": "weights"})),
        )
    ]
    for job in jobs:
        list(compute.follow(compute.submit(job)))
    theirs = master_weights(checkpoint(whole, STEPS))
    there, fresh = master_weights(checkpoint(jobs[0], STEPS)), master_weights(checkpoint(jobs[1], 1))
    matrices = [name for name in theirs if ".layers." in name and theirs[name].ndim == 2]

    def apart(weights: dict[str, torch.Tensor]) -> float:
        return sum(float((weights[n] - theirs[n]).square().sum()) for n in matrices) ** 0.5

    assert apart(there) < 0.2 * apart(fresh)


def test_its_export_is_the_model(whole: JobSpec, tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "tokenizer")
    config = {"model": SHAPE.model_dump(), "vocab_rows": ROWS, "tag": "state", "threads": 1}
    inputs = {"checkpoint": checkpoint(whole, STEPS), "tokenizer": tmp_path / "tokenizer"}
    export.export(running(write_spec(tmp_path / "job", "training.export", config, inputs)))
    parity = json.loads((tmp_path / "job" / "out" / "parity.json").read_text())
    assert (parity["max_abs_logit_difference"], parity["tensors_differing"]) == (0, 0)
    assert json.loads((tmp_path / "job" / "out" / "config.json").read_text())["tie_word_embeddings"] is True


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_whose_outputs_start_at_zero_adds_nothing_and_guesses_evenly(tied: bool) -> None:
    shape = SHAPE.model_copy(update={"tied_embeddings": tied})
    model = build_model(shape, ROWS, seed=1)
    ids = torch.arange(12).reshape(1, 12)
    assert sum(p.numel() for p in model.parameters()) == shape.parameters(ROWS)
    with torch.no_grad():
        embedded, out = model.model.embed_tokens(ids), model.model(ids).last_hidden_state
        logits = model(ids).logits
    assert torch.equal(model.model.norm(embedded), out)
    assert tied or not logits.any()


def test_a_run_in_fp32_without_zero_has_orthogonal_updates_too() -> None:
    run = small_run(optimizer=MUON, precision="fp32", zero_stage=0)
    model = build_model(run.model, 512, seed=1)
    optimizer = _optimizer(model, run.optimizer)
    for group in optimizer.param_groups:
        group["lr"] = RATE * group["rate"]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    ids = torch.randint(0, 500, (2, 16), generator=torch.Generator().manual_seed(0))
    model(ids, labels=ids).backward()
    optimizer.step()
    found = {n: orthogonal((p.detach() - before[n]) / RATE) for n, p in model.named_parameters() if p.ndim == 2}
    assert found == {name: ".layers." in name for name in found}


@pytest.mark.parametrize(("precision", "stage"), [("bf16", 2), ("bf16", 3), ("fp32", 1), ("fp32", 2)])
def test_stages_that_were_not_tested_are_refused(precision: str, stage: int) -> None:
    with pytest.raises(ValueError, match="not tested to make its updates orthogonal; zero_stage"):
        small_run(optimizer=MUON, precision=precision, zero_stage=stage)
