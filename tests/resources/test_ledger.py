"""The ledger tells one corpus: what the build holds now, not what an earlier recipe or a
half-failed run left behind.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core import records
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import InputRef, MadeFrom, Outcome, Store, Workspace
from resources.ledger import Ledger


def made(store: Store, name: str, digest: str, verdict: Verdict, reads: dict[str, str], turn: int = 0) -> None:
    def work(out: Workspace) -> Outcome:
        out.write("verdicts.parquet", records.verdict_table([verdict]))
        return Outcome(digest=digest, parts={"en": f"{digest}-en"})

    inputs = {n: InputRef(fingerprint="f", digest=d) for n, d in reads.items()}
    artifact, _ = store.build(name, MadeFrom(config={"turn": turn}, code={}, libraries={}, inputs=inputs), work)
    store.set_head("r", name, name, artifact.fingerprint)


def stages(ledger: Ledger) -> list[str]:
    return [str(row["stage"]) for row in ledger.rows("select stage from verdicts order by place, stage")]


def test_what_a_changed_input_left_behind_is_not_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {})
    made(store, "exact_dedup/en", "b", Verdict("d", "exact_dedup/en"), {"clean_docs/en": "a"})
    made(store, "matrix", "c", Verdict("d", "matrix"), {"exact_dedup/en": "b-en"})
    assert stages(Ledger(store, "r")) == ["clean_docs/en", "exact_dedup/en", "matrix"]
    made(
        store, "clean_docs/en", "other", Verdict("d", "clean_docs/en", DROPPED, "min_words"), {}, turn=1
    )  # and the run failed there
    assert stages(Ledger(store, "r")) == ["clean_docs/en"]
    assert Ledger(store, "r").fate("d")[-1]["rule"] == "min_words"


def test_an_input_made_again_with_equal_content_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {})
    made(store, "exact_dedup/en", "b", Verdict("d", "exact_dedup/en"), {"clean_docs/en": "a"})
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {}, turn=1)
    assert stages(Ledger(store, "r")) == ["clean_docs/en", "exact_dedup/en"]


def test_steps_that_the_recipe_no_longer_has_are_not_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {})
    made(store, "exact_dedup/en", "b", Verdict("d", "exact_dedup/en"), {"clean_docs/en": "a"})
    made(
        store, "matrix", "c", Verdict("d", "matrix"), {"exact_dedup/en": "b"}
    )  # made from the step that is gone: of another corpus
    assert stages(Ledger(store, "r", lambda name: name != "exact_dedup/en")) == ["clean_docs/en"]


@pytest.mark.parametrize("asked", ["https://a.example/p", "http://a.example/p", "a.example/p", "https://a.example/p#x"])
@pytest.mark.parametrize("crawled", ["https://a.example/p", "http://a.example/p"])
def test_a_page_is_found_by_either_scheme_and_by_none(tmp_path: Path, asked: str, crawled: str) -> None:
    store = Store(tmp_path)

    def work(out: Workspace) -> Outcome:
        out.write("verdicts.parquet", records.verdict_table([Verdict("d", "raw_crawl/s")]))
        columns = {
            "url": crawled,
            "doc_id": "d",
            "outcome": "kept",
            "reason": "",
            "status": 200,
            "address": "",
            "alias": "",
        }
        (out.path / "log").mkdir()
        out.write("log/0.parquet", pa.Table.from_pylist([columns]))
        return Outcome(digest="x")

    made, _ = store.build("raw_crawl/s", MadeFrom(config={}, code={}, libraries={}, inputs={}), work)
    store.set_head("r", "raw_crawl/s", "raw_crawl/s", made.fingerprint)
    assert [row["stage"] for row in Ledger(store, "r").fate(asked)] == ["raw_crawl/s"]


def test_a_part_of_a_book_has_its_pages_in_its_url(tmp_path: Path) -> None:
    """The first part has the document's own id, which the crawl's log knows by the whole file's name."""
    store = Store(tmp_path)

    def fetched(out: Workspace) -> Outcome:
        names = ("url", "doc_id", "outcome", "reason", "status", "address", "alias")
        rows = [("https://a.example/g.pdf", "b0"), ("https://a.example/p", "p"), ("https://a.example/o", "p")]
        table = pa.Table.from_pylist([{**dict.fromkeys(names, ""), "url": u, "doc_id": d} for u, d in rows])
        out.write("log/0.parquet", table)
        return Outcome(digest="a")

    def parts(out: Workspace) -> Outcome:
        rows = [{"url": f"https://a.example/g.pdf#pages={i}-{i}", "doc_id": f"b{i}"} for i in range(2)]
        out.write("text/0.parquet", pa.Table.from_pylist(rows))
        return Outcome(digest="b")

    for name, work in (("raw_crawl/a", fetched), ("pdf_text/a", parts)):
        artifact, _ = store.build(name, MadeFrom(config={}, code={}, libraries={}, inputs={}), work)
        store.set_head("r", name, name, artifact.fingerprint)
    assert Ledger(store, "r").urls_of(["b0", "b1", "p", "unknown"]) == {
        "b0": "https://a.example/g.pdf#pages=0-0",
        "b1": "https://a.example/g.pdf#pages=1-1",
        "p": "https://a.example/o",
    }
    assert Ledger(store, "r").ids_of("https://a.example/g.pdf#pages=1-1") == ["b1"]
