"""What a checkpoint claims holds, and what does not hold is noticed; it can be trained to once more; and it can be gone
on from.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from neo_assets.core.errors import BadInput, DamagedArtifact
from neo_assets.core.jobs import JobSpec
from neo_assets.core.store import Manifest, Store
from neo_assets.runs.found_runs import FoundRun, lineage
from neo_assets.runs.proof import last_proof, prove, verify_checkpoint
from resources.compute.local import LocalCompute
from tests.training.runs import EVERY, STEPS, checkpoint, outcome, small_job, write_shards
from training.spec import PretrainConfig, Start
from training.weights import master_weights


@pytest.fixture(scope="module")
def whole(compute: LocalCompute) -> JobSpec:
    job = small_job(compute.root, write_shards(compute.root / "shards"), "whole")
    list(compute.follow(compute.submit(job)))
    return job


def found(job: JobSpec) -> FoundRun:
    return FoundRun(job, PretrainConfig.model_validate(job.config), Store(Path(job.out).parents[1]))


def start_of(job: JobSpec, step: int) -> Start:
    folder = checkpoint(job, step)
    certificate = json.loads((folder / "certificate.json").read_text())
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    return Start(
        folder=str(folder), digest=manifest.digest, step=step, next_sample=certificate["next_sample"], take="everything"
    )


def broken_claims(job: JobSpec, step: int) -> list[str]:
    return [c.claim for c in verify_checkpoint(found(job), step, checkpoint(job, step)) if not c.holds]


def test_every_claim_of_every_checkpoint_holds(whole: JobSpec) -> None:
    for step in range(0, STEPS + 1, EVERY):
        assert broken_claims(whole, step) == []


@pytest.mark.parametrize(
    ("file", "change", "noticed"),
    [
        (
            "certificate.json",
            lambda c: c | {"trained_tokens": c["trained_tokens"] + 1},
            "trained tokens, counted again from the stream",
        ),
        ("certificate.json", lambda c: c | {"history_digest": "0" * 32}, "the loss history, chained step by step"),
        (
            "certificate.json",
            lambda c: c | {"next_sample": c["next_sample"] + 1},
            "the next sample follows from the step",
        ),
        ("certificate.json", lambda c: c | {"stream": "0" * 32}, "the token stream is the one it was trained on"),
        (
            "certificate.json",
            lambda c: c | {"code": c["code"] | {"training.pretrain": "0" * 32}},
            "the code, libraries and run that lineage shows are the certificate's",
        ),
        (
            "certificate.json",
            lambda c: c | {"state_digests": dict.fromkeys(c["state_digests"], "0" * 32)},
            "weights, optimizer and random states",
        ),
    ],
)
def test_a_false_claim_is_noticed_even_where_the_manifest_was_changed_with_it(
    whole: JobSpec, file: str, change, noticed: str
) -> None:  # type: ignore[no-untyped-def]
    from neo_assets.core.store import file_entries

    folder = checkpoint(whole, 8)
    kept = {name: (folder / name).read_text() for name in (file, "manifest.json")}
    try:
        (folder / file).write_text(json.dumps(change(json.loads(kept[file]))))
        assert broken_claims(whole, 8) == ["every file is what the manifest says", "everything else it claims"]
        manifest = Manifest.model_validate_json(kept["manifest.json"])
        (folder / "manifest.json").unlink()
        manifest.files = file_entries(folder)
        (folder / "manifest.json").write_text(manifest.sealed())
        assert noticed in broken_claims(whole, 8)
    finally:
        for name, text in kept.items():
            (folder / name).write_text(text)
    assert broken_claims(whole, 8) == []


def test_a_checkpoint_is_proved_by_training_to_it_once_more(compute: LocalCompute, whole: JobSpec) -> None:
    store = Store(compute.root)
    claims = prove(found(whole), 8, checkpoint(whole, 8), store, compute)
    assert all(c.holds for c in claims[:-1]), claims
    assert str(last_proof(store, "whole", checkpoint(whole, 8).name)).startswith("proved ")
    assert all(
        c.holds for c in prove(found(whole), EVERY, checkpoint(whole, EVERY), store, compute)[:-1]
    )  # from the run's own beginning
    with pytest.raises(BadInput, match="where the run starts"):
        prove(found(whole), 0, checkpoint(whole, 0), store, compute)


def test_a_checkpoint_that_training_does_not_lead_to_is_not_proved(compute: LocalCompute, whole: JobSpec) -> None:
    """Its own files agree with each other; only training again tells that a weight is not what the data makes of it."""
    other = small_job(compute.root, Path(whole.inputs["token_shards"]), "other", seed=43)
    list(compute.follow(compute.submit(other)))
    claimed = checkpoint(other, 8)
    claims = {c.claim: c for c in prove(found(whole), 8, claimed, Store(compute.root), compute)}
    assert (
        not claims["state digests"].holds and "the largest difference of a weight is" in claims["state digests"].detail
    )
    assert not claims["every step's loss"].holds


def test_a_damaged_checkpoint_is_not_proved(compute: LocalCompute, whole: JobSpec) -> None:
    state = next((checkpoint(whole, 12) / "state").glob("*optim*.pt"))
    kept = state.read_bytes()
    state.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        with pytest.raises(DamagedArtifact, match="not what it is"):
            prove(found(whole), 12, checkpoint(whole, 12), Store(compute.root), compute)
    finally:
        state.write_bytes(kept)


def test_a_branch_with_everything_is_the_run_itself(compute: LocalCompute, whole: JobSpec) -> None:
    branch = small_job(
        compute.root,
        Path(whole.inputs["token_shards"]),
        "branch",
        start=start_of(whole, 20),
        parent={"run": "whole", "step": 20, "take": "everything"},
    )
    list(compute.follow(compute.submit(branch)))
    for step in range(20, STEPS + 1, EVERY):
        assert outcome(branch, step) == outcome(whole, step)
        assert broken_claims(branch, step) == []
    assert [r.name for r in lineage(Store(compute.root), found(branch))] == ["branch", "whole"]


def test_another_world_size_and_stage_keep_the_sample_order_and_come_close(
    compute: LocalCompute, whole: JobSpec
) -> None:
    """Two ranks' ZeRO-1 checkpoint goes on with one rank, ZeRO 2, twice the micro-batches: other bits, the same
    samples, nearly the same numbers.
    """
    changes = {"ranks_per_node": 1, "zero_stage": 2, "parent": {"run": "whole", "step": 20, "take": "everything"}}
    branch = small_job(
        compute.root, Path(whole.inputs["token_shards"]), "onerank", start=start_of(whole, 20), **changes
    )
    list(compute.follow(compute.submit(branch)))
    mine, theirs = outcome(branch, STEPS), outcome(whole, STEPS)
    assert (mine["next_sample"], mine["trained_tokens"]) == (theirs["next_sample"], theirs["trained_tokens"])
    assert mine["state_digests"] != theirs["state_digests"]
    weights, others = master_weights(checkpoint(branch, STEPS)), master_weights(checkpoint(whole, STEPS))
    moved = master_weights(checkpoint(whole, 20))
    difference = max(float((weights[n] - others[n]).abs().max()) for n in weights)
    distance = max(float((moved[n] - others[n]).abs().max()) for n in weights)
    assert difference < 0.05 * distance
    assert broken_claims(branch, STEPS) == []


def test_a_run_does_not_go_on_on_another_kind_of_machine(compute: LocalCompute, whole: JobSpec) -> None:
    moved = small_job(compute.root, Path(whole.inputs["token_shards"]), "moved")
    target = Path(moved.out)
    name = checkpoint(moved, 8).name
    shutil.copytree(checkpoint(whole, 8), target / name)
    certificate = json.loads((target / name / "certificate.json").read_text())
    certificate["machine"]["device"] = "another GPU"
    (target / name / "certificate.json").write_text(json.dumps(certificate))
    manifest = Manifest.model_validate_json((target / name / "manifest.json").read_text())
    from neo_assets.core.store import file_entries

    (target / name / "manifest.json").unlink()
    manifest.files = file_entries(target / name)
    (target / name / "manifest.json").write_text(manifest.sealed())
    folder = compute.submit(moved)
    with pytest.raises(Exception, match=r"another kind of machine \(device was 'another GPU'.*neo continue moved"):
        list(compute.follow(folder))


def test_a_damaged_parent_is_noticed_before_a_step_is_spent(compute: LocalCompute, whole: JobSpec) -> None:
    copy = compute.root / "checkpoint" / "copied" / checkpoint(whole, 20).name
    shutil.copytree(checkpoint(whole, 20), copy)
    state = next((copy / "state").glob("*model_states.pt"))
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(bytes(data))
    start = start_of(whole, 20).model_copy(update={"folder": str(copy), "take": "weights"})
    job = small_job(compute.root, Path(whole.inputs["token_shards"]), "orphan", start=start)
    with pytest.raises(Exception, match="which this run starts from, is damaged"):
        list(compute.follow(compute.submit(job)))


def test_weights_alone_start_anew_at_step_0(compute: LocalCompute, whole: JobSpec) -> None:
    start = start_of(whole, STEPS).model_copy(update={"take": "weights"})
    job = small_job(
        compute.root, Path(whole.inputs["token_shards"]), "phase2", start=start, steps=4, checkpoint_every=4
    )
    list(compute.follow(compute.submit(job)))
    assert broken_claims(job, 4) == []
    before, first = master_weights(checkpoint(whole, STEPS)), master_weights(checkpoint(job, 0))
    assert all(torch.equal(before[n].bfloat16().float(), first[n]) for n in before)
    assert outcome(job, 4)["next_sample"] == 4 * 8
