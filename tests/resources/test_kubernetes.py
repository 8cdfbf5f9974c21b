"""Kubernetes manifests: right by Kubernetes' own schemas, and where those say nothing, by what we ask of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from neo_assets.core.errors import BadInput, MachineLacks
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute import open_compute
from resources.compute.kubernetes import LABEL, manifests

SETTINGS = Settings(backend="kubernetes", workers=1, image="registry.example/neofoundry:1", volume_claim="store", memory="64Gi", gpus_per_node=8)
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
    return manifests(SPEC.model_copy(update=changes), "/shared/jobs/x", SETTINGS)


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
    assert (spec["completionMode"], spec["parallelism"], spec["completions"], pod["restartPolicy"]) == ("Indexed", 4, 4, "Never")
    assert pod["subdomain"] == service["metadata"]["name"] == name and service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {LABEL: job["spec"]["template"]["metadata"]["labels"][LABEL]}
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8" and container["resources"]["requests"]["cpu"] == "64"
    assert all(rule["action"] in ("Ignore", "FailJob", "Count") for rule in spec["podFailurePolicy"]["rules"])
    assert len(job["metadata"]["labels"][LABEL]) <= 63 and job["metadata"]["annotations"]["neofoundry/fingerprint"] == SPEC.work_fingerprint


@pytest.mark.parametrize(
    ("program", "says_stopped", "code", "rc"), [("exit 0", False, 0, "0\n"), ("exit 3", False, 3, None), ("exit 1", True, 75, None)], ids=["done", "failed", "stopped on request"]
)
def test_the_first_process_of_a_pod_tells_a_stop_from_a_failure(tmp_path: Path, program: str, says_stopped: bool, code: int, rc: str | None) -> None:
    """The entry script itself, with a torchrun of ours in the PATH."""
    (tmp_path / "attempts").mkdir()
    fake = tmp_path / "bin" / "torchrun"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\n{f"echo asked > {tmp_path}/attempts/0001.stopped" if says_stopped else ""}\necho "$@" > {tmp_path}/told\n{program}\n')
    fake.chmod(0o755)
    (job,) = manifests(SPEC.model_copy(update={"nodes": 1}), str(tmp_path), SETTINGS)
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    done = subprocess.run(command, env={"PATH": f"{fake.parent}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": "0"}, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == code, done.stderr
    assert ((tmp_path / "attempts" / "0001.rc").read_text() if (tmp_path / "attempts" / "0001.rc").exists() else None) == rc
    assert (tmp_path / "told").read_text().split()[-3:] == ["-m", "training.pretrain", f"{tmp_path}/spec.json"]


def test_submitting_says_what_to_do_instead(tmp_path: Path) -> None:
    with pytest.raises(MachineLacks, match="neo plan --manifest"):
        open_compute(SETTINGS, tmp_path).submit(SPEC)
    with pytest.raises(BadInput, match=r"compute\.image"):
        manifests(SPEC, "/x", Settings(backend="kubernetes", workers=1))
