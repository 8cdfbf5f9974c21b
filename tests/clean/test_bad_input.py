"""Broken documents go in, whole: each is named in the ledger with its reason, and nothing else is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neo_assets.build import stages
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.sources import DocumentsSource
from neo_assets.core.store import Store
from resources.ledger import Ledger
from tests.corpora import keepable

GOOD, OTHER = keepable(random.Random(1)), keepable(random.Random(2))


def build(tmp_path: Path, paths: list[str]) -> tuple[Store, Recipe]:
    """Everything from the source to the English rules, for a source of files."""
    base = load("laptop")
    documents = base.documents.model_copy(update={"max_text_bytes": 1_000_000})
    source = DocumentsSource.model_validate(
        {"kind": "documents", "paths": paths, "max_bad_share": 1, "licence": "CC0-1.0", "snapshot": "1"}
    )
    recipe = base.model_copy(
        update={"sources": {"mine": source}, "languages": ["en"], "documents": documents, "mixture": {}, "runs": {}}
    )
    store, entries = Store(tmp_path / "store"), stages(recipe)
    for name in ("sources/mine", "raw_crawl/mine", "documents/mine", "signals/mine", "clean_docs/en"):
        entry = entries[name]
        inputs = {n: store.head(recipe.name, n) for n in entry.reads}
        made, _ = store.build(
            name,
            entry.made_from(inputs),
            lambda out, entry=entry, inputs=inputs: entry.run(entry.config, inputs, out),
        )  # type: ignore[misc]
        store.set_head(recipe.name, name, name, made.fingerprint)
        assert all(c.passed for c in made.verdict if c.blocking), (name, made.verdict)
    return store, recipe


def test_every_broken_document_is_named_and_nothing_else_is_lost(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": GOOD, "url": "http://a.example/good"}).encode(),
        json.dumps({"text": "nul \x00 inside", "url": "http://a.example/nul"}).encode(),
        b'{"text": "lone \\ud800 surrogate", "url": "http://a.example/surrogate"}',
        json.dumps({"text": "", "url": "http://a.example/empty"}).encode(),
        json.dumps({"text": "long " * 300_000, "url": "http://a.example/long"}).encode(),
        json.dumps({"text": 42, "url": "http://a.example/number"}).encode(),
        json.dumps({"url": "http://a.example/without"}).encode(),
        b'{"text": "torn',
        b"\xff\xfe not UTF-8",
        json.dumps(
            {
                "text": "这一页说自己是英文的，其实不是，它的语言由文字本身来决定，而不是由标签。",
                "url": "http://a.example/lies",
                "lang": "en",
            }
        ).encode(),
        json.dumps({"text": OTHER, "url": "http://a.example/good2"}).encode(),
    ]
    (tmp_path / "mine.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    store, recipe = build(tmp_path, [str(tmp_path / "mine.jsonl")])
    ledger = Ledger(store, recipe.name)
    told = {
        (str(r["rule"]), str(r["detail"]))
        for r in ledger.rows("select rule, detail from verdicts where verdict = 'dropped'")
    }
    reasons = sorted(detail for rule, detail in told if rule == "bad_row")
    for number, reason in (
        (6, "int, not text"),
        (7, "'text' is missing"),
        (8, "not JSON"),
        (9, "not UTF-8"),
    ):
        assert any(f"mine.jsonl record {number}" in r and reason in r for r in reasons), (number, reason, reasons)
    long = ledger.fate("http://a.example/long")[-1]
    assert (long["stage"], long["rule"], long["value"], long["threshold"]) == (
        "documents/mine",
        "text_too_long",
        1_500_000.0,
        1_000_000.0,
    )
    assert (ledger.fate("http://a.example/lies")[-1]["rule"], ledger.fate("http://a.example/lies")[-1]["detail"]) == (
        "language_not_listed",
        "zh",
    )
    assert ("empty_text", "mine.jsonl#4: mine.jsonl record 4: field 'text' is empty") in told
    for page, repair in (("nul", "1 NUL taken out"), ("surrogate", "lone surrogates replaced")):
        first = ledger.fate(f"http://a.example/{page}")[0]
        assert (first["verdict"], first["rule"], first["detail"]) == ("edited", "repaired", repair)
    kept = store.head(recipe.name, "clean_docs/en").documents(["url"]).column("url").to_pylist()
    assert sorted(kept) == ["http://a.example/good", "http://a.example/good2"]


def test_a_parquet_file_without_the_column_costs_only_itself(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"content": ["no such column here"], "url": ["http://b.example/1"]}), tmp_path / "a.parquet"
    )
    pq.write_table(
        pa.table({"text": [7, 8], "url": ["http://b.example/2", "http://b.example/3"]}), tmp_path / "b.parquet"
    )
    pq.write_table(
        pa.table({"text": [GOOD, None], "url": ["http://b.example/good", "http://b.example/null"]}),
        tmp_path / "c.parquet",
    )
    (tmp_path / "d.parquet").write_bytes((tmp_path / "c.parquet").read_bytes()[:200])
    store, recipe = build(tmp_path, [str(tmp_path / "*.parquet")])
    details = [
        str(r["detail"]) for r in Ledger(store, recipe.name).rows("select detail from verdicts where rule = 'bad_row'")
    ]
    for file, reason in (
        ("a.parquet record 1", "no column 'text'; its columns are 'content', 'url'"),
        ("b.parquet record 1", "int, not text"),
        ("b.parquet record 2", "int, not text"),
        ("c.parquet record 2", "'text' is missing"),
        ("d.parquet record 1", "cannot be read"),
    ):
        assert any(file in d and reason in d for d in details), (file, reason, details)
    assert store.head(recipe.name, "clean_docs/en").documents(["url"]).column("url").to_pylist() == [
        "http://b.example/good"
    ]
