"""A release shows that no step read what was withdrawn, or names the step that did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neo_assets.core.manifest import Manifest
from neo_assets.core.recipe.base import identity
from neo_assets.core.store import MadeFrom
from neo_assets.release import layout
from neo_assets.release.claims import CLAIMED, PROVEN, REFUTED, Bundle
from neo_assets.release.unread import unread
from tests.training.runs import ROWS, small_run, write_shards
from tests.training.test_masked_stream import mask
from training.ledger import RunLedger
from training.spec import PretrainConfig

OLD, NEW = "a" * 32, "b" * 32
STEPS, BRANCH = 40, 20


@pytest.fixture
def ledger(tmp_path: Path) -> RunLedger:
    """Of a run over a stream that nothing is withdrawn from; 30 sequences, of which a step reads eight."""
    shards = write_shards(tmp_path / "old", tokens=60_000, documents=600)
    told = PretrainConfig(run_name="r", run_fingerprint=OLD, run=small_run(), vocab_rows=ROWS)
    return RunLedger.of(told, shards)


def bundle(tmp_path: Path, ledger: RunLedger, withdrawn: list[str], settings: bool = True) -> Bundle:
    """A release of a run that went on from another's step 20, over the stream without the documents."""
    folder = tmp_path / "release"
    ids = pq.read_table(ledger.shards / "index.parquet").column("doc_id").to_pylist()
    for name in ("old", "new"):
        shutil.copytree(tmp_path / "old", folder / layout.LEDGER / name)
    mask(folder / layout.LEDGER / "new", [number for number, doc_id in enumerate(ids) if doc_id in withdrawn])
    listed = {"doc_id": sorted(set(ids)), "withdrawn": [doc_id in withdrawn for doc_id in sorted(set(ids))]}
    pq.write_table(pa.table(listed), folder / layout.DOCUMENTS)
    parts = []
    batch = ledger.config.run.global_batch
    for run, name, first, last in ((NEW, "new", BRANCH, STEPS), (OLD, "old", 0, BRANCH)):
        parts.append({"run": "main", "run_fingerprint": run, "first": first, "last": last, "stream": name})
        certificate = folder / layout.CERTIFICATES / "main" / str(last) / "certificate.json"
        certificate.parent.mkdir(parents=True)
        certificate.write_text(json.dumps({"seed": ledger.config.run.seed, "start_sample": first * batch}))
    told = {"parts": parts, "streams": {"new": [], "old": []}}
    made_from = MadeFrom(config={"run": identity(ledger.config.run)}, code={}, libraries={}, inputs={})
    made = Manifest(
        key="pretraining/main", fingerprint=OLD, digest="d", made_from=made_from, files={}, created_at="", seconds=0.0
    )
    return Bundle(folder, {}, {}, told, {("pretraining/main", OLD): made} if settings else {})


def first_read(ledger: RunLedger) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in ledger.saw(1, STEPS).to_pylist():
        found.setdefault(row["doc_id"], row["step"])
    return found


def test_where_nothing_is_withdrawn_nothing_is_claimed(tmp_path: Path, ledger: RunLedger) -> None:
    assert list(unread(bundle(tmp_path, ledger, ["none"]))) == []


def test_what_was_first_read_after_the_branch_is_proven_unread(tmp_path: Path, ledger: RunLedger) -> None:
    late = [doc_id for doc_id, step in first_read(ledger).items() if step > BRANCH][:5]
    (claim,) = unread(bundle(tmp_path, ledger, late))
    assert len(late) == 5 and claim.verdict == PROVEN, claim
    assert claim.detail.startswith("5 documents at")


@pytest.mark.parametrize("step", [1, 7, BRANCH])
def test_the_step_that_read_one_is_named(tmp_path: Path, ledger: RunLedger, step: int) -> None:
    early = next(doc_id for doc_id, first in first_read(ledger).items() if first == step)
    (claim,) = unread(bundle(tmp_path, ledger, [early]))
    assert (claim.verdict, claim.detail) == (REFUTED, f"main read one in step {step}")


def test_without_the_settings_of_a_part_it_is_only_claimed(tmp_path: Path, ledger: RunLedger) -> None:
    early = next(iter(first_read(ledger)))
    (claim,) = unread(bundle(tmp_path, ledger, [early], settings=False))
    assert claim.verdict == CLAIMED and OLD[:12] in claim.detail


def test_a_withdrawal_that_the_list_no_longer_tells_is_seen_in_the_stream(tmp_path: Path, ledger: RunLedger) -> None:
    late = [doc_id for doc_id, step in first_read(ledger).items() if step > BRANCH][:3]
    given = bundle(tmp_path, ledger, late)
    listed = pq.read_table(given.folder / layout.DOCUMENTS)
    for told in (late[1:], []):  # one of three is told no more, then none is
        flags = pa.array([doc_id in told for doc_id in listed["doc_id"].to_pylist()])
        pq.write_table(listed.set_column(1, "withdrawn", flags), given.folder / layout.DOCUMENTS)
        (claim,) = unread(given)
        assert claim.verdict == REFUTED and f"does not say of {3 - len(told)} document" in claim.detail
