"""Signals and rules over whole sources: every document has its verdict, and nothing depends on workers, shards or their
order.
"""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.build import stages
from neo_assets.clean.clean_docs import clean_english
from neo_assets.clean.signals import SignalsInput, measure_signals, names
from neo_assets.core import layout, records
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import load
from neo_assets.core.shards import LocalEngine
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from tests.corpora import PROSE, document, keepable, texts_of, verdicts_of

CONFIG = stages(load("laptop"))["signals/handbook"].config
SECTION = load("laptop").clean.en


def source(folder: Path, documents: list[dict[str, object]], shards: int) -> Artifact:
    """``documents/site`` with its rows dealt out to shards in the order given."""

    def work(out: Workspace) -> Outcome:
        for i in range(shards):
            rows = sorted(documents[i::shards], key=lambda d: str(d["doc_id"]))
            out.write(f"part-{i:05d}.parquet", pa.Table.from_pylist(rows, schema=records.DOCUMENT))
        return Outcome(digest="d", parts={"en": "e"}, rows_in=len(documents), rows_kept=len(documents), rows_dropped=0)

    return Store(folder).build(
        "documents/site", MadeFrom(config={"s": shards}, code={}, libraries={}, inputs={}), work
    )[0]


def run(
    folder: Path, documents: list[dict[str, object]], shards: int = 1, workers: int = 1
) -> tuple[Outcome, Outcome, Workspace]:
    """Signals, then the English rules."""
    made = source(folder / "store", documents, shards)
    engine = LocalEngine(workers, 0 if workers > 1 else 1 << 40)
    assert isinstance(CONFIG, SignalsInput) and SECTION is not None

    def signals(out: Workspace) -> Outcome:
        out.engine = engine
        return measure_signals(CONFIG.model_copy(update={"source": "site"}), {"documents/site": made}, out)

    measured = Store(folder / "store").build(
        "signals/site", MadeFrom(config={"s": shards, "w": workers}, code={}, libraries={}, inputs={}), signals
    )[0]
    out = Workspace(folder / f"out-{shards}-{workers}", engine=engine)
    out.path.mkdir(parents=True)
    outcome = clean_english(SECTION, {"documents/site": made, "signals/site": measured}, out)
    return Outcome(digest=measured.manifest.digest, parts=measured.manifest.parts), outcome, out


def corpus() -> list[dict[str, object]]:
    generator = random.Random(3)
    out = [document(keepable(generator), name=f"p{i}") for i in range(20)]
    out += [
        document("Too short.", name="short"),
        document("", name="empty"),
        document("• a\n" * 80, name="list"),
        document(PROSE * 40, name="repeating"),
    ]
    out += [
        document("这是中文。" * 30, "zh", name="zh"),
        document("Ceci est en français.", "fr", name="fr"),
        document(PROSE * 3, name="unsure", score=0.2),
    ]
    return out


def test_every_document_is_judged_or_named_as_another_language(tmp_path: Path) -> None:
    _, outcome, out = run(tmp_path, corpus())
    told = {str(v["doc_id"]): v for v in verdicts_of(out).values()}
    ids = {
        name: str(d["doc_id"])
        for name, d in zip([str(d["url"]).rsplit("/", 1)[1] for d in corpus()], corpus(), strict=True)
    }
    rules = {name: told[ids[name]]["rule"] for name in ("short", "empty", "list", "repeating")}
    assert rules == {
        "short": "min_stop_words",
        "empty": "min_mean_word_length",
        "list": "min_mean_word_length",
        "repeating": "min_unique_words",
    }
    assert told[ids["unsure"]]["rule"] == "min_lang_score" and told[ids["unsure"]]["value"] == 0.2
    assert ids["zh"] not in told and ids["fr"] not in told
    assert outcome.rows_in == len(corpus()) - 2
    assert sum(v["verdict"] == "kept" for v in told.values()) == 20
    assert all(c.passed for c in outcome.checks)


@pytest.mark.parametrize("ranges", [1, 8])
def test_nothing_depends_on_workers_shards_or_their_order(
    tmp_path: Path, ranges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "TARGET_BYTES", 1 << 40 if ranges == 1 else 2000)
    first_signals, first, first_out = run(tmp_path, corpus())
    shuffled = corpus()
    random.Random(1).shuffle(shuffled)
    second_signals, second, second_out = run(tmp_path / "again", shuffled, shards=5)
    assert first_signals.parts == second_signals.parts
    assert first.digest == second.digest
    assert verdicts_of(first_out) == verdicts_of(second_out)
    assert sorted(p.name for p in first_out.path.glob("part-*")) == sorted(
        p.name for p in second_out.path.glob("part-*")
    )
    for path in first_out.path.glob("part-*"):
        assert records.read_table(path).equals(records.read_table(second_out.path / path.name))


def test_two_workers_do_what_one_does(tmp_path: Path) -> None:
    one_signals, one, _ = run(tmp_path, corpus(), shards=4)
    two_signals, two, _ = run(tmp_path / "again", corpus(), shards=4, workers=2)
    assert (one_signals.parts, one.digest) == (two_signals.parts, two.digest)


def test_ranges_hold_the_ids_they_are_named_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "TARGET_BYTES", 2000)
    _, outcome, out = run(tmp_path, corpus(), shards=3)
    files = sorted(out.path.glob("part-*.parquet"))
    assert len(files) == layout.ranges(int(str(outcome.numbers["text_bytes"]))) > 4
    held = [records.read_table(p).column("doc_id").to_pylist() for p in files]
    assert [i for part in held for i in part] == sorted(texts_of(out))
    for i, ids in enumerate(held):
        assert all(int(doc_id[:4], 16) // (65536 // len(files)) == i for doc_id in ids)


def test_signals_of_other_documents_are_refused(tmp_path: Path) -> None:
    first = source(tmp_path / "a", corpus(), 1)
    other = source(tmp_path / "b", corpus()[:10], 1)
    assert isinstance(CONFIG, SignalsInput) and SECTION is not None
    measured = Store(tmp_path / "b").build(
        "signals/site",
        MadeFrom(config={}, code={}, libraries={}, inputs={}),
        lambda out: measure_signals(CONFIG, {"documents/site": other}, out),
    )[0]
    out = Workspace(tmp_path / "out")
    out.path.mkdir()
    with pytest.raises(BadInput, match="its documents are not those of"):
        clean_english(SECTION, {"documents/site": first, "signals/site": measured}, out)


def test_signal_tables_have_the_columns_they_promise(tmp_path: Path) -> None:
    run(tmp_path, corpus())
    (file,) = (tmp_path / "store" / "signals" / "site").rglob("zh/part-00000.parquet")
    table = records.read_table(file)
    assert table.column_names == ["doc_id", *names("zh")]
    assert table.column("mean_word_length").null_count == 0  # the recipe bounds it, so words are cut
