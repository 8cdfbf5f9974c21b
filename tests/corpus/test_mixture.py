"""Mixtures: what is asked is what is got, to the document; what cannot be served stops the build with its numbers."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.data import Mixture
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.corpus.mixture import MixtureInput, mix, rounds_of
from tests.corpora import document, left_by_a_step, text, verdicts_of


def pool(folder: Path) -> Artifact:
    generator = random.Random(1)
    rows = [document(text(generator, "en"), "en", f"web{i}", source="web") for i in range(200)]
    rows += [document(text(generator, "en"), "en", f"books{i}", source="books") for i in range(40)]
    rows += [document(text(generator, "zh"), "zh", f"zh{i}", source="web") for i in range(100)]
    return left_by_a_step(folder, rows, shards=3, key="train_pool")


def run(folder: Path, mixture: Mixture, **more: Artifact) -> tuple[Outcome, dict[str, int], Workspace]:
    out = Workspace(folder / "out")
    out.path.mkdir(parents=True)
    outcome = mix(MixtureInput(phase="p", mixture=mixture), {"train_pool": pool(folder / "store"), **more}, out)
    table = read_rounds(out.path)
    return outcome, dict(zip(table.column("doc_id").to_pylist(), table.column("rounds").to_pylist(), strict=True)), out


def read_rounds(folder: Path) -> pa.Table:
    return pa.concat_tables(records.read_table(path) for path in sorted((folder / "rounds").glob("*.parquet")))


def asked(**fields: object) -> Mixture:
    return Mixture.model_validate({"seed": 1, **fields})


def rows(outcome: Outcome) -> dict[tuple[str, str], dict[str, float]]:
    return {
        (str(r["language"]), str(r["source"])): {
            k: float(str(v)) for k, v in r.items() if k not in ("language", "source")
        }
        for r in outcome.tables["asked against got"]
    }


def test_a_script_may_be_left_out(tmp_path: Path) -> None:
    generator = random.Random(1)
    rows = [
        document(text(generator, "zh"), "zh", f"zh{i}") | {"script": "Hant" if i % 3 else "Hans"} for i in range(30)
    ]
    rows += [document(text(generator, "en"), "en", f"en{i}") for i in range(30)]
    held = left_by_a_step(tmp_path / "store", rows, shards=2, key="train_pool")
    out = Workspace(tmp_path / "out")
    out.path.mkdir()
    mixture = asked(rounds={"en": 1.0, "zh": 1.0}, script_rounds={"Hant": 0.0})
    mix(MixtureInput(phase="p", mixture=mixture), {"train_pool": held}, out)
    chosen = set(read_rounds(out.path).column("doc_id").to_pylist())
    assert chosen == {row["doc_id"] for row in rows if row["script"] != "Hant"}


def test_rounds_are_served_to_the_document(tmp_path: Path) -> None:
    outcome, chosen, out = run(tmp_path, asked(rounds={"en": 1.5, "zh": 0.25}, source_rounds={"books": 2.0}))
    got = rows(outcome)
    assert got["en", "books"]["rounds got"] == 3.0
    assert got["en", "web"]["rounds got"] == pytest.approx(1.5, abs=0.1)
    assert got["zh", "web"]["rounds got"] == pytest.approx(0.25, abs=0.12)
    told = verdicts_of(out)
    assert len(told) == 340 and {i for i, v in told.items() if v["verdict"] == "kept"} == set(chosen)
    assert all(v["rule"] == "no_round" for v in told.values() if v["verdict"] == "dropped")
    assert all(c.passed for c in outcome.checks)


def test_a_target_in_tokens_is_shared_out_by_weight(tmp_path: Path) -> None:
    mixture = asked(
        target_tokens=200_000,
        weights={"en": 0.6, "zh": 0.4},
        source_weights={"en": {"web": 0.25, "books": 0.75}},
        bytes_per_token={"en": 4.0, "zh": 3.0},
        max_rounds=50,
    )
    outcome, _, _ = run(tmp_path, mixture)
    got = rows(outcome)
    wanted = {("en", "web"): 120_000.0, ("en", "books"): 360_000.0, ("zh", "web"): 240_000.0}
    for place, size in wanted.items():
        assert got[place]["rounds asked"] * got[place]["bytes there"] == pytest.approx(size, rel=1e-4)
        assert got[place]["bytes"] == pytest.approx(size, rel=0.1)


def test_a_source_that_cannot_serve_stops_the_build_with_its_numbers(tmp_path: Path) -> None:
    mixture = asked(target_tokens=2_000_000, weights={"en": 0.01, "zh": 0.99}, bytes_per_token={"en": 4.0, "zh": 3.0})
    with pytest.raises(
        BadInput, match=r"web has [\d,]+ bytes in 'zh' and 5,940,000 are asked of it: [\d.]+ rounds, with max_rounds 4"
    ):
        run(tmp_path, mixture)
    outcome, chosen, _ = run(tmp_path / "again", mixture.model_copy(update={"max_rounds": 1000.0}))
    assert max(chosen.values()) > 4 and outcome.numbers["tokens_asked"] == 2_000_000


def test_recalled_documents_are_read_more_often(tmp_path: Path) -> None:
    some = [str(d["doc_id"]) for d in (document("x", "en", f"web{i}") for i in range(5))]

    def work(out: Workspace) -> Outcome:
        out.write("recalled/part-00000.parquet", pa.table({"doc_id": sorted(some)}))
        return Outcome(digest="r")

    recall = Store(tmp_path / "store").build(
        "hq_recall/en", MadeFrom(config={}, code={}, libraries={}, inputs={}), work
    )[0]
    outcome, chosen, _ = run(
        tmp_path, asked(rounds={"en": 1.0}, recalled_rounds={"en": 3.0}), **{"hq_recall/en": recall}
    )
    assert {chosen[i] for i in some} == {3} and outcome.numbers["recalled"] == 5
    assert {n for i, n in chosen.items() if i not in some} == {1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either rounds, or target_tokens"),
        ({"rounds": {"en": 1}, "target_tokens": 5}, "either rounds, or target_tokens"),
        (
            {"target_tokens": 5, "weights": {"en": 0.5}, "bytes_per_token": {"en": 4}},
            "weights adds up to 0.5, not to 1",
        ),
        ({"target_tokens": 5, "weights": {"en": 1}}, "bytes_per_token names no en"),
        (
            {"target_tokens": 5, "weights": {"en": 1}, "bytes_per_token": {"en": 4}, "recalled_rounds": {"en": 2}},
            "recalled_rounds belongs to rounds",
        ),
        (
            {
                "target_tokens": 5,
                "weights": {"en": 1},
                "bytes_per_token": {"en": 4},
                "source_weights": {"en": {"a": 0.2}},
            },
            r"source_weights\.en adds up to 0.2",
        ),
    ],
)
def test_a_mixture_that_cannot_be_meant_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        asked(**fields)


def test_which_documents_a_fraction_takes_is_keyed_and_even() -> None:
    ids = [f"{i:032x}" for i in range(4000)]
    first, second = ([rounds_of(i, 2.3, seed) for i in ids] for seed in (1, 2))
    assert set(first) == {2, 3} and sum(first) / len(ids) == pytest.approx(2.3, abs=0.03)
    assert first == [rounds_of(i, 2.3, 1) for i in ids] != second
