"""docs/cluster.md, typed as it stands there, on a Slurm of three nodes: from WARC files to a model with scores. The
model is small, the rest is the page's. Minutes, so slow.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from neo_assets.core.fingerprint import ROOT
from neo_assets.core.jobs import job_folders
from neo_assets.web.warc_files import Response, SegmentWriter
from tests.docs.test_own_text import clone as clone
from tests.docs.test_own_text import page
from tests.servers import Slurm

FILES, PAGES = 6, 80
SMALL = """\
# Stands for speedrun: what it has, small enough for a CPU.
extends: _own
name: small
description: a small model
sources: {pages: {kind: warc, paths: [none], licence: none, snapshot: none}}
languages: [en]
mixture: {fundamental: {rounds: {zh: null}}, decay: {rounds: {zh: null}}}
heldout: {share: 0.1}
tokenizer: {vocab_size: 1200, sample_bytes: 1000000}
runs:
  main:
    nodes: 2
    ranks_per_node: 1
    model: {layers: 2, hidden: 64, heads: 2, ffn: 128, context: 128, tied_embeddings: false, zero_outputs: false}
    sequence_length: 128
    global_batch: 8
    micro_batch: 4
    steps: 30
    checkpoint_every: 15
  decay: {global_batch: 8, micro_batch: 4, steps: 8, checkpoint_every: 8}
evaluation: {threads: 1, heldout: {max_documents: 20, max_document_chars: 300}, sample_tokens: 5}
"""


def blocks(kind: str = "") -> list[str]:
    """The page's blocks of a kind, in their order."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if name == kind]


def write_warcs(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(FILES):
        generator, writer = random.Random(number), SegmentWriter(folder / f"{number}.warc.gz", "test")
        for i in range(PAGES):
            html, when = page(generator, "en").encode(), "2026-01-01T00:00:00+00:00"
            address = f"http://site{number}.example/{i}.html"
            writer.add(Response(address, 200, [("Content-Type", "text/html")], html, when))
        writer.finish()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_from_a_login_node_to_a_model(clone: Path, tmp_path: Path, three_nodes: Slurm) -> None:
    write_warcs(tmp_path / "shared" / "warc")
    (recipe,) = blocks("yaml")
    (clone / "recipes" / "small.yaml").write_text(SMALL)
    (clone / "recipes" / "mine.yaml").write_text(
        recipe.replace("extends: speedrun", "extends: small").replace("at_least_mb: 1 ", "at_least_mb: 0 ")
    )
    install, *walk = blocks()
    assert "make install" in install  # what the fixture stands for
    script = "".join(walk).replace("/shared/neo", str(tmp_path / "shared"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_", "SLURM"))}
    environment = kept | three_nodes.env | {"HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "ignore"}
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=clone, env=environment, text=True, capture_output=True, timeout=2300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-4000:]
    assert "#SBATCH --partition=train" in done.stdout and "core hours in all" in done.stdout
    assert "main@30" in done.stdout and re.search(r"bits_per_byte_en_\d+ +\d", done.stdout)
    jobs = list(job_folders(tmp_path / "shared" / "store"))
    over_files = [job for job in jobs if job.spec().tasks]
    assert len(over_files) > 5 and all(a.backend == "slurm" for job in jobs for a in job.attempts())
    nodes = {
        line.split()[-1]
        for job in over_files
        for log in job.path.glob("attempts/*/log-*.txt")
        for line in log.read_text(errors="replace").splitlines()
        if line.startswith("--- attempt")
    }
    assert nodes == {"n1", "n2", "n3"}
