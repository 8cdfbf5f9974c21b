"""Jobs on Kubernetes: the official client against a server of our own that runs them. Not a cluster."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neo_assets.core.errors import JobFailed, MachineLacks, NeoError
from neo_assets.core.jobs import JobFolder, JobSpec, JobState
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute import kubernetes_cluster, open_compute
from resources.compute.kubernetes import KubernetesCompute as Backend
from resources.compute.kubernetes_manifests import Manifest, manifests, object_name
from resources.compute.local import LocalCompute
from tests.resources.kubernetes_nodes import Kubernetes
from tests.resources.sleeping import sleeper, starts, tell, until
from tests.training.runs import EVERY, STEPS, outcome, small_job, write_shards

SETTINGS = Settings(backend="kubernetes", workers=1, image="neofoundry:1", volume_claim="store", mount="/shared")
TORCHRUN = """#!/bin/sh
echo "$JOB_COMPLETION_INDEX $@" >> "$(dirname "$0")/torchrun.txt"
while [ "$1" != -m ]; do shift; done
exec python "$@"
"""
Changes = dict[str, object]
Patch = pytest.MonkeyPatch


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: Patch) -> Iterator[Kubernetes]:
    """A cluster whose image has this Python, and a torchrun that starts one rank and meets nobody."""
    programs, store = tmp_path / "bin", tmp_path / "store"
    programs.mkdir()
    store.mkdir()
    (programs / "torchrun").write_text(TORCHRUN)
    (programs / "torchrun").chmod(0o755)
    with Kubernetes(store, SETTINGS.mount, f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}") as made:
        monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig(tmp_path / "kubeconfig")))
        yield made


@pytest.fixture
def compute(cluster: Kubernetes) -> Backend:
    made = open_compute(SETTINGS, cluster.store)
    assert isinstance(made, Backend)
    return made


def running(compute: Backend, job: JobSpec, count: int = 1) -> JobFolder:
    folder = compute.submit(job)
    until(lambda: starts(job) >= count)
    return folder


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def uids(cluster: Kubernetes) -> list[str]:
    return [j["metadata"]["uid"] for j in cluster.all("jobs")]


def test_a_submitted_job_runs_its_program_and_is_gathered(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    (made,) = cluster.all("jobs")
    assert made["metadata"]["name"] == object_name(job.work_fingerprint)
    until(lambda: compute.poll(folder) is JobState.RUNNING)
    tell(job, "end")
    assert [m.event for m in compute.follow(folder)] == ["note", "done"]
    until(lambda: bool(cluster.all("jobs")[0]["status"].get("conditions")))
    (ended,) = cluster.all("jobs")
    assert [c["type"] for c in ended["status"]["conditions"]] == ["Complete"]
    assert (compute.poll(compute.submit(job)), starts(job), len(uids(cluster))) == (JobState.SUCCEEDED, 1, 1)


def test_submitted_twice_and_by_two_at_once_it_is_one_job(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    other = Backend(compute.root, SETTINGS)
    assert other.poll(other.submit(job)) is JobState.RUNNING
    # Where locks of the file system hold on one machine alone, two may come as far as creating: the second is told 409.
    before = uids(cluster)
    assert other.start(folder, job, 1) == folder.attempts()[0].handle
    assert cluster.requests.count("create jobs") == 2
    assert (uids(cluster), starts(job), cluster.most) == (before, 1, 1)
    tell(job, "end")
    list(other.follow(folder))


def test_a_submitter_that_died_before_noting_its_job_finds_it(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    (folder.path / "attempts" / "0001.json").unlink()
    assert compute.poll(compute.submit(job)) is JobState.RUNNING
    tell(job, "end")
    until(lambda: compute.look_up(job.work_fingerprint) is None)
    compute.submit(job)  # by now it has ended, and nobody ever noted it
    assert [m.event for m in compute.follow(folder)] == ["note", "done"]
    assert (starts(job), len(uids(cluster)), len(folder.attempts())) == (1, 1, 1)


def test_a_job_applied_by_hand_is_attached_to_and_gathered(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = compute.folder(job.work_fingerprint)
    folder.write_spec(job)
    folder.freeze()
    for manifest in manifests(job, SETTINGS, 1):
        cluster.create(manifest)
    until(lambda: starts(job) == 1)
    assert compute.poll(compute.submit(job)) is JobState.RUNNING
    tell(job, "end")
    list(compute.follow(compute.submit(job)))
    assert (starts(job), cluster.requests.count("create jobs")) == (1, 0)


def test_its_own_failures_are_new_attempts_up_to_the_cap(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute, attempts=2)
    folder = running(compute, job)
    first = uids(cluster)
    messages = compute.follow(folder)
    tell(job, "leave")  # exit code 0, and not done
    assert [(m.attempt, m.data["starts"]) for m in [next(messages), next(messages)]] == [(1, 1), (2, 2)]
    assert "ended without saying that it was done" in folder.log_file.read_text()
    assert len(uids(cluster)) == 1 and uids(cluster) != first
    tell(job, "fail")
    with pytest.raises(JobFailed, match=r"(?s)failed after 2 attempt.*told to fail"):
        list(messages)
    time.sleep(1)
    assert ([folder.exit_code(n) for n in (1, 2)], starts(job), cluster.most) == ([70, 3], 2, 1)


def test_out_of_memory_is_a_lost_attempt_that_is_tried_again_and_named(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute, attempts=2)
    folder = running(compute, job)
    cluster.out_of_memory(cluster.running()[0])
    until(lambda: compute.poll(folder) is JobState.LOST)
    messages = compute.follow(folder)
    assert [next(messages).data["starts"] for _ in range(2)] == [1, 2]
    cluster.out_of_memory(cluster.running()[0])
    with pytest.raises(
        JobFailed,
        match=r"(?s)lost after 2 attempt.*Kubernetes: Job Failed BackoffLimitExceeded.*OOMKilled, exit code 137",
    ):
        list(messages)
    assert folder.log_file.read_text().count("--- Kubernetes:") == 2


def test_a_cancelled_job_is_deleted_and_stays_cancelled_until_resumed(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    compute.cancel(folder)
    assert (cluster.all("jobs"), cluster.all("pods"), compute.poll(folder)) == ([], [], JobState.CANCELLED)
    assert "delete pods" not in cluster.requests, "they went with their Job"
    assert compute.poll(compute.submit(job)) is JobState.CANCELLED
    with pytest.raises(JobFailed, match="neo resume"):
        list(compute.follow(folder))
    compute.resume(folder)
    until(lambda: starts(job) == 2)
    tell(job, "end")
    list(compute.follow(folder))
    assert cluster.most == 1


def test_a_paused_job_saves_and_nobody_starts_it_until_resumed(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    until(lambda: compute.poll(folder) is JobState.RUNNING)
    assert compute.pause(folder) is JobState.PAUSED
    assert [m.event for m in folder.messages()[0]] == ["note", "stopped"]
    (ended,) = cluster.all("jobs")
    assert ended["status"]["conditions"][0]["reason"] == "PodFailurePolicy", "Kubernetes itself has ended it"
    time.sleep(1)
    assert (starts(job), len(cluster.all("pods"))) == (1, 1)
    assert compute.poll(compute.submit(job)) is JobState.PAUSED
    compute.resume(folder)
    until(lambda: starts(job) == 2)
    tell(job, "end")
    list(compute.follow(folder))
    assert (len(folder.attempts()), folder.failures(), "--- Kubernetes:" in folder.log_file.read_text()) == (
        2,
        0,
        False,
    )


def test_a_job_that_waits_for_a_node_is_queued_and_can_be_paused_there(cluster: Kubernetes, compute: Backend) -> None:
    cluster.nodes = 0
    job = sleeper(compute)
    folder = compute.submit(job)
    until(lambda: bool(cluster.all("pods")))
    assert compute.poll(folder) is JobState.QUEUED
    assert compute.pause(folder) is JobState.PAUSED
    assert (cluster.all("jobs"), starts(job)) == ([], 0)


def test_an_evicted_pod_saves_and_starts_again_in_its_job_uncounted(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    before = uids(cluster)
    cluster.evict(cluster.running()[0])
    until(lambda: [m.event for m in folder.messages()[0]] == ["note", "stopped", "note"])
    assert starts(job) == 2
    cluster.evict(cluster.running()[0], grace=0)  # its node is lost: no time to save
    until(lambda: starts(job) == 3)
    assert (uids(cluster), compute.poll(folder) in (JobState.RUNNING, JobState.QUEUED)) == (before, True)
    tell(job, "end")
    list(compute.follow(folder))
    assert (len(folder.attempts()), folder.failures(), cluster.most) == (1, 0, 1)


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_a_job_deleted_by_kubectl_is_cancelled(
    cluster: Kubernetes, compute: Backend, propagation: str, monkeypatch: Patch
) -> None:
    job = sleeper(compute, attempts=3)
    folder = running(compute, job)
    cluster.delete("jobs", object_name(job.work_fingerprint), propagation)
    with pytest.raises(JobFailed, match="was cancelled"):
        list(compute.follow(folder))
    assert starts(job) == 1
    ends = propagation != "Orphan"  # whose Pod hears of it when somebody resumes
    if ends:
        until((folder.path / "stop").exists)  # which a Pod that is ending has written for its program
    end, asked = compute.stop, []

    def stop(fingerprint: str, handle: dict[str, str | int] | None) -> None:
        asked.append((folder.path / "stop").exists())
        end(fingerprint, handle)

    monkeypatch.setattr(compute, "stop", stop)
    compute.resume(folder)  # what the deleted Job left behind has to save and end first
    assert asked == [ends]
    until(lambda: starts(job) == 2)
    assert cluster.most == 1
    compute.cancel(folder)


def test_a_job_we_deleted_is_not_cancelled(cluster: Kubernetes, compute: Backend, monkeypatch: Patch) -> None:
    job = sleeper(compute, attempts=2)
    folder = running(compute, job)
    cluster.out_of_memory(cluster.running()[0])
    until(lambda: compute.poll(folder) is JobState.LOST)
    create = compute.cluster.create_job
    told: list[str | None] = []

    def dies_after_the_deletion(manifest: Manifest) -> str | None:
        told.append(create(manifest) if not told else None)
        if not uids(cluster):
            raise KeyboardInterrupt
        return told[-1]

    monkeypatch.setattr(compute.cluster, "create_job", dies_after_the_deletion)
    with pytest.raises(KeyboardInterrupt):
        compute.submit(job)
    assert uids(cluster) == []
    assert Backend(compute.root, SETTINGS).poll(folder) is JobState.LOST


def test_an_api_server_that_does_not_answer_changes_nothing(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    cluster.down()
    assert compute.poll(folder) is JobState.RUNNING
    assert not compute.cancelled_outside(folder.attempts()[0].handle)
    tell(job, "end")
    assert [m.event for m in compute.follow(folder)] == ["note", "done"], "the folder tells the end"
    cluster.up()
    assert starts(job) == 1


def test_a_submission_asks_again_until_the_api_server_answers(cluster: Kubernetes, compute: Backend) -> None:
    cluster.refuse = (2, 503)
    cluster.down()
    threading.Timer(1.0, cluster.up).start()
    job = sleeper(compute)
    folder = running(compute, job)
    assert (len(uids(cluster)), cluster.refuse[0]) == (1, 0)
    tell(job, "end")
    list(compute.follow(folder))


def test_patience_has_an_end_and_one_line(cluster: Kubernetes, compute: Backend, monkeypatch: Patch) -> None:
    monkeypatch.setattr(kubernetes_cluster, "PATIENCE_SECONDS", 0.1)
    cluster.down()
    with pytest.raises(NeoError, match=r"has not answered for .*refused") as error:
        compute.submit(sleeper(compute))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"memory": "64 apples"},
            'Kubernetes refuses Job neo-.*: 422 .* Invalid value: "64 apples": quantities must match',
        ),
        ({"image": 7}, r"Job neo-.*template\.spec\.containers\.0\.image: Input should be a valid string"),
        ({"namespace": "elsewhere"}, "Kubernetes refuses Job neo-.*: 403 jobs is forbidden"),
    ],
    ids=["by the server", "by the client", "by its rights"],
)
def test_what_is_refused_is_one_line(cluster: Kubernetes, compute: Backend, changes: Changes, says: str) -> None:
    if "namespace" in changes:
        cluster.granted.discard(("batch", "jobs", "create"))
    refused = Backend(compute.root, SETTINGS.model_copy(update=changes))
    job = sleeper(compute)
    with pytest.raises(NeoError, match=says) as error:
        refused.submit(job)
    assert "\n" not in str(error.value)
    assert (cluster.all("jobs"), refused.folder(job.work_fingerprint).attempts()) == ([], [])


def test_without_a_client_or_a_cluster_a_clear_line(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(MachineLacks, match="no cluster is configured here"):
        open_compute(SETTINGS, tmp_path).look_up("x")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(MachineLacks, match="no cluster is configured here"):
        open_compute(SETTINGS, tmp_path).look_up("x")
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(MachineLacks, match=r"pip install '\.\[kubernetes\]'"):
        open_compute(SETTINGS, tmp_path).look_up("x")


def test_a_finished_job_of_another_store_gives_way(cluster: Kubernetes, compute: Backend) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    tell(job, "end")
    list(compute.follow(folder))
    until(lambda: bool(cluster.all("jobs")[0]["status"].get("conditions")))
    shutil.rmtree(folder.path)
    (Path(job.out) / "end").unlink()
    running(compute, job, 2)
    assert len(uids(cluster)) == 1
    cluster.delete("jobs", object_name(job.work_fingerprint))
    until(lambda: compute.poll(folder) is JobState.CANCELLED)  # that the earlier one's end was noted is no excuse


def test_the_pods_of_two_nodes_meet_fail_and_are_evicted_as_one_job(cluster: Kubernetes, compute: Backend) -> None:
    cluster.collects = False
    job = sleeper(compute, attempts=2, nodes=2)
    folder = running(compute, job, 2)
    name = object_name(job.work_fingerprint)
    indexes = [p["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for p in cluster.running()]
    assert sorted(indexes) == ["0", "1"]
    (service,) = cluster.all("services")
    assert (service["metadata"]["name"], service["metadata"]["ownerReferences"][0]["uid"]) == (name, uids(cluster)[0])
    cluster.evict(cluster.running()[1])  # one is told, all save, both come back
    until(lambda: starts(job) == 4)
    assert (len(folder.attempts()), len(uids(cluster))) == (1, 1)
    tell(job, "fail")  # one of them
    messages = compute.follow(folder)
    until(lambda: starts(job) == 6 or next(messages) is None)
    assert ([a.number for a in folder.attempts()], folder.exit_code(1)) == ([1, 2], 3)
    (service,) = cluster.all("services")
    assert service["metadata"]["ownerReferences"][0]["uid"] == uids(cluster)[0], "the earlier one has gone"
    assert (folder.stopped(1), cluster.overdue) == (False, 0), "a failure counts, whatever the other Pod would save"
    tell(job, "end")
    list(messages)
    until(lambda: bool(cluster.all("jobs")[0]["status"].get("conditions")))
    assert (cluster.all("jobs")[0]["status"]["completedIndexes"], cluster.most) == ("0,1", 2)
    asked = (Path(cluster.path.split(":")[0]) / "torchrun.txt").read_text()
    assert "0 --nnodes=2" in asked and "is_host=true" in asked and "1 --nnodes=2" in asked and "is_host=false" in asked


@pytest.mark.slow
def test_a_run_of_two_nodes_evicted_has_the_bits_of_a_local_one(cluster: Kubernetes, compute: Backend) -> None:
    """torchrun's own rendezvous and DeepSpeed between two Pods; every checkpoint as of two ranks on one machine."""
    (Path(cluster.path.split(":")[0]) / "torchrun").unlink()
    cluster.rendezvous = free_port()
    shards = write_shards(compute.root / "shards")
    local = LocalCompute(compute.root)
    whole = small_job(compute.root, shards, "local", global_batch=96)
    list(local.follow(local.submit(whole)))

    job = small_job(compute.root, shards, "pods", global_batch=96, nodes=2, ranks_per_node=1)
    job = job.model_copy(update={"nodes": 2})
    folder = compute.submit(job)
    messages = compute.follow(folder)
    next(m for m in messages if m.event == "checkpoint")
    cluster.evict(cluster.running()[1])
    assert next(m for m in messages if m.event in ("stopped", "done")).event == "stopped"
    list(messages)
    assert (len(folder.attempts()), cluster.most) == (1, 2)
    for step in range(0, STEPS + 1, EVERY):
        assert outcome(job, step) == outcome(whole, step), f"step {step}"
