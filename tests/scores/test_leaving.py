"""Who asks for scores may leave: the job goes on, and whoever asks next waits for it instead of
asking the model twice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from neo_assets.core.errors import JobFailed
from neo_assets.core.jobs import JobState, job_folders
from neo_assets.core.store import Store
from neo_assets.evaluate.score import ScoreInput, Scorer
from resources.compute.local import LocalCompute
from tests.evaluate.scoring import subject, task, tasks_artifact
from tests.training.folders import save_model


def test_who_asks_again_after_ctrl_c_attaches_to_the_job_that_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    artifact = tasks_artifact(store, task("first"), task("long", 2000), task("other"))
    asked = replace(subject("a"), folder=save_model(tmp_path / "model"))
    score = ScoreInput(
        tasks=dict.fromkeys(("first", "long", "other")),
        batch_size=4,
        device="cpu",
        dtype="fp32",
        seed=0,
        samples={},
        sample_tokens=1,
        repetition_penalty=1.0,
    )

    def leaving(line: str) -> None:
        if "first: acc_norm" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Scorer(store, LocalCompute(store.root), score, 1, [artifact], leaving).scored(asked)
    heard: list[str] = []
    _, made = Scorer(store, LocalCompute(store.root), score, 1, [artifact], heard.append).scored(asked)
    assert sorted(made) == ["first", "long", "other"]
    (job,) = job_folders(store.root)
    assert (
        heard[0] == f"attached to job {job.fingerprint[:12]}, which asks this model already"
        and len(job.attempts()) == 1
    )
    assert not [line for line in heard if line.startswith("scoring")]


def test_a_paused_job_is_named_and_nobody_else_is_asked_for_its_tasks(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    artifact = tasks_artifact(store, task("first"), task("long", 4000), task("other"))
    asked = replace(subject("a"), folder=save_model(tmp_path / "model"))
    compute = LocalCompute(store.root)
    score = ScoreInput(
        tasks=dict.fromkeys(("first", "long")),
        batch_size=4,
        device="cpu",
        dtype="fp32",
        seed=0,
        samples={},
        sample_tokens=1,
        repetition_penalty=1.0,
    )

    def pausing(line: str) -> None:
        if "first: acc_norm" in line:
            (job,) = job_folders(store.root)
            assert compute.pause(job) is JobState.PAUSED

    with pytest.raises(JobFailed, match="was paused"):
        Scorer(store, compute, score, 1, [artifact], pausing).scored(asked)
    for _ in range(2):
        with pytest.raises(JobFailed, match=r"was paused.*`neo resume"):
            Scorer(store, compute, score, 1, [artifact], lambda _: None).scored(asked)
    other = score.model_copy(update={"tasks": {"other": None}})
    assert Scorer(store, compute, other, 1, [artifact], lambda _: None).scored(asked)[1] == ["other"], (
        "what the paused job was not asked, is"
    )
    (paused,) = [job for job in job_folders(store.root) if compute.poll(job) is JobState.PAUSED]
    compute.resume(paused)
    heard: list[str] = []
    assert Scorer(store, compute, score, 1, [artifact], heard.append).scored(asked)[1] == ["long"]
    assert len(list(job_folders(store.root))) == 2 and "attached to job" in heard[0]
