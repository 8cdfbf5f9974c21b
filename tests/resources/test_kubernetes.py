"""Kubernetes manifests: right by Kubernetes' own schemas, and where those say nothing, by what we ask of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute.kubernetes_manifests import ATTEMPT, LABEL, manifests
from tests.resources.kubernetes_nodes import hears_signals

SETTINGS = Settings(
    backend="kubernetes",
    workers=1,
    image="registry.example/neofoundry:1",
    volume_claim="store",
    memory="64Gi",
    gpus_per_node=8,
)
SPEC = JobSpec(
    work_fingerprint="0123456789abcdef" * 2,
    title="pretraining/main",
    program="training.pretrain",
    code={},
    libraries={},
    nodes=4,
    ranks_per_node=8,
    threads_per_rank=8,
    max_attempts=3,
    config={},
    inputs={},
    out="",
)


def objects(**changes: Any) -> list[dict[str, Any]]:
    return manifests(SPEC.model_copy(update=changes), SETTINGS, 1)


@pytest.mark.parametrize("nodes", [1, 4])
@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_manifests_are_valid(nodes: int, version: str) -> None:
    made = objects(nodes=nodes)
    assert [m["kind"] for m in made] == (["Job", "Service"] if nodes > 1 else ["Job"])
    for manifest in made:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_validator_refuses_a_misspelt_field() -> None:
    job = objects()[0]
    job["spec"]["backofLimit"] = job["spec"].pop("backoffLimit")
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimit"):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def test_what_the_schemas_do_not_look_at() -> None:
    job, service = objects()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    name = job["metadata"]["name"]
    assert re.fullmatch(r"[a-z][a-z0-9-]*", name) and len(f"{name}-{SPEC.nodes - 1}") <= 63
    assert (spec["completionMode"], spec["parallelism"], spec["completions"], pod["restartPolicy"]) == (
        "Indexed",
        4,
        4,
        "Never",
    )
    assert pod["subdomain"] == service["metadata"]["name"] == name and service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {LABEL: job["spec"]["template"]["metadata"]["labels"][LABEL]}
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert container["resources"]["requests"]["cpu"] == "64"
    assert all(rule["action"] in ("Ignore", "FailJob", "Count") for rule in spec["podFailurePolicy"]["rules"])
    assert len(job["metadata"]["labels"][LABEL]) <= 63
    assert job["metadata"]["annotations"]["neofoundry/fingerprint"] == SPEC.work_fingerprint


DONE, STOPPED = (
    """echo '{"event":"done"}' >> "$FOLDER/messages.jsonl" """,
    """echo '{"event":"stopped"}' >> "$FOLDER/messages.jsonl" """,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "jobs" / SPEC.work_fingerprint
    (made / "attempts").mkdir(parents=True)
    (made / "code").mkdir()
    return made


def first_process(folder: Path, program: str, index: int = 0) -> int:
    """Exit code of attempt 2's script, with a torchrun of ours in the PATH and the store where the test has it."""
    fake = folder.parent / "bin" / "torchrun"
    fake.parent.mkdir()
    told = 'echo "$PWD:$PYTHONPATH:$NEO_JOB_ATTEMPT:$@" > "$FOLDER/told"'
    fake.write_text(f"#!/bin/sh\nFOLDER={folder}\n{told}\n{program}\n")
    fake.chmod(0o755)
    settings = SETTINGS.model_copy(update={"mount": str(folder.parent.parent)})
    (job,) = manifests(SPEC.model_copy(update={"nodes": 1}), settings, 2)
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    environment = {
        "PATH": f"{fake.parent}:/usr/bin:/bin",
        "JOB_COMPLETION_INDEX": str(index),
        "HOSTNAME": "pod",
        "PYTHONPATH": "image",
    }
    return subprocess.run(
        command, env=environment, cwd="/", timeout=20, check=False, preexec_fn=hears_signals
    ).returncode


@pytest.mark.parametrize(
    ("program", "index", "code", "rc"),
    [
        (DONE, 0, 0, "0\n"),
        (DONE, 1, 0, None),
        ("exit 0", 0, 70, "70\n"),
        ("exit 3", 0, 3, "3\n"),
        ("exit 3", 1, 3, "3\n"),
        ("exit 75", 0, 1, "1\n"),
        (STOPPED, 0, 75, None),
        (STOPPED + "; exit 1", 1, 75, None),
        (STOPPED + '; touch "$FOLDER/paused"', 0, 76, None),
        ("kill -TERM $PPID; sleep 1; exit 1", 0, 1, None),
    ],
    ids=[
        "done",
        "done elsewhere",
        "not done",
        "failed",
        "failed elsewhere",
        "failed with our code",
        "stopped",
        "stopped elsewhere",
        "paused",
        "taken away",
    ],
)
def test_a_pod_tells_a_stop_from_a_failure(folder: Path, program: str, index: int, code: int, rc: str | None) -> None:
    assert first_process(folder, program, index) == code
    file = folder / "attempts" / "0002.rc"
    assert (file.read_text() if file.exists() else None) == rc
    where, path, attempt, arguments = (folder / "told").read_text().split(":", 3)
    assert (where, path, attempt) == (f"{folder}/code", f"{folder}/code", "2")
    assert arguments.split()[-3:] == ["-m", "neo_assets.core.launch", f"{folder}/spec.json"]


@pytest.mark.parametrize("mark", ["paused", "cancelled"])
def test_a_pod_of_a_held_job_ends_before_its_program_starts(folder: Path, mark: str) -> None:
    (folder / mark).touch()
    assert first_process(folder, DONE) == 76
    assert not (folder / "told").exists()


def test_a_new_start_in_the_same_job_forgets_the_stop_before_it(folder: Path) -> None:
    (folder / "stop").touch()
    (folder / "attempts" / "0002.stopped").touch()
    (folder / "messages.jsonl").write_text('{"event":"stopped"}\n')
    assert first_process(folder, DONE) == 0
    assert not (folder / "stop").exists() and not (folder / "attempts" / "0002.stopped").exists()


def test_nothing_runs_without_the_jobs_own_code(folder: Path) -> None:
    (folder / "code").rmdir()
    assert first_process(folder, DONE) == 1
    assert not (folder / "told").exists()


def test_paths_are_those_inside_the_container_and_the_attempt_is_told(folder: Path) -> None:
    settings = SETTINGS.model_copy(update={"mount": "/mnt/neo"})
    (job,) = manifests(SPEC.model_copy(update={"nodes": 1}), settings, 3)
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["volumeMounts"][0]["mountPath"] == "/mnt/neo"
    script = container["command"][2]
    assert f"folder=/mnt/neo/jobs/{SPEC.work_fingerprint} " in script and "0003.rc" in script
    assert job["metadata"]["annotations"][ATTEMPT] == "3"


def test_without_an_image_or_a_claim_a_clear_line() -> None:
    with pytest.raises(BadInput, match=r"compute\.image"):
        manifests(SPEC, Settings(backend="kubernetes", workers=1), 1)


def test_the_rights_a_submitter_asks_for_are_valid_objects() -> None:
    for manifest in yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "rbac.yaml").read_text()):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
