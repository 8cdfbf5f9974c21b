"""What differs between two runs, each kind of difference put there on purpose, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neo_assets.core import records
from neo_assets.core.errors import BadInput, MissingUpstream
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.records import DROPPED, Verdict, verdict_table
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace, input_refs
from neo_assets.difference.differing import Difference, difference
from neo_assets.difference.sides import side_of
from neo_assets.difference.told import heading, parts, write_page
from neo_assets.pages.page import loads
from tests.corpora import document
from training.data.tokens import MASKED


@dataclass
class Build:
    """A small factory: which texts there are, what a rule drops, what is withdrawn; and what else may differ."""

    texts: list[str] = field(default_factory=lambda: [f"text {n}" for n in range(8)])
    drops: Mapping[str, str] = field(default_factory=dict)
    withdrawn: list[str] = field(default_factory=list)
    drawn: list[str] | None = None
    min_words: int = 1
    rate: float = 0.1
    code: Mapping[str, str] = field(default_factory=lambda: {"neo_assets.clean.rules": "1"})
    libraries: Mapping[str, str] = field(default_factory=lambda: {"numpy": "2.0"})

    def make(self, store: Store, recipe: str) -> Artifact:
        rows = sorted(
            (document(text, name=text.replace(" ", "-")) for text in self.texts), key=lambda r: str(r["doc_id"])
        )
        kept = [row for row in rows if row["text"] not in self.drops]
        read = [row for row in kept if self.drawn is None or row["text"] in self.drawn]

        def part(rows: list[dict[str, object]], out: Workspace) -> Outcome:
            out.write("part-00000.parquet", pa.Table.from_pylist(rows, schema=records.DOCUMENT))
            return Outcome(digest=digest_json([row["text"] for row in rows]), rows_in=len(rows), rows_kept=len(rows))

        def cleaned(out: Workspace) -> Outcome:
            out.write("verdicts.parquet", verdict_table(self._verdict(row) for row in rows))
            return part(kept, out)

        def stream(out: Workspace) -> Outcome:
            ids = [str(row["doc_id"]) for row in read]
            out.write("index.parquet", pa.table({"doc_id": ids, "tokens": [1] * len(ids)}))
            gone = [number for number, row in enumerate(read) if row["text"] in self.withdrawn]
            if gone:
                with (out.path / MASKED).open("wb") as file:
                    np.save(file, np.array(gone, np.int64))
            out.write_text("stream.json", "{}")
            return Outcome(digest=digest_json([ids, gone]), rows_kept=len(ids), numbers={"tokens": len(ids)})

        documents = self._build(store, recipe, "documents/s", {"texts": self.texts}, {}, lambda out: part(rows, out))
        words, drawn = {"min_words": self.min_words}, {"drawn": self.drawn, "n": len(self.withdrawn)}
        clean = self._build(store, recipe, "clean_docs/en", words, {"documents/s": documents}, cleaned)
        pool = self._build(store, recipe, "train_pool", {}, {"clean_docs/en": clean}, lambda out: part(kept, out))
        shards = self._build(store, recipe, "token_shards/p", drawn, {"train_pool": pool}, stream)
        run = {"name": "main", "run": {"schedule": {"peak_lr": self.rate}}}
        trained = {"token_shards/p": shards}
        return self._build(store, recipe, "pretraining/main", run, trained, lambda out: Outcome(digest=f"r{self.rate}"))

    def _verdict(self, row: Mapping[str, object]) -> Verdict:
        rule = self.drops.get(str(row["text"]))
        if rule is None:
            return Verdict(str(row["doc_id"]), "clean_docs/en")
        return Verdict(str(row["doc_id"]), "clean_docs/en", DROPPED, rule)

    def _build(self, store, recipe, key, config, inputs, work) -> Artifact:  # type: ignore[no-untyped-def]
        made_from = MadeFrom(
            config=config, code=dict(self.code), libraries=dict(self.libraries), inputs=input_refs(inputs, {})
        )
        made, _ = store.build(key, made_from, work)
        store.set_head(recipe, key, key, made.fingerprint)
        return made


def compared(store: Store, a: Build, b: Build) -> Difference:
    a.make(store, "one")
    b.make(store, "two")
    return difference(store, side_of(store, "one", "main"), side_of(store, "one", "two:main"), alpha=0.05)


def settings(found: Difference) -> dict[str, tuple[object, object, object]]:
    return {str(row["setting"]): (row["A"], row["B"], row["of"]) for row in found.recipe}


def test_the_same_is_told_to_be_the_same(tmp_path: Path) -> None:
    found = compared(Store(tmp_path), Build(), Build())
    assert found.nothing and "Nothing is different" in heading(found)
    assert (found.documents.both, found.documents.only_a, found.documents.only_b) == (8, 0, 0)
    assert [name for name, _, _ in parts(found)] == ["Documents"]


def test_a_threshold_is_told_with_the_documents_that_it_let_go(tmp_path: Path) -> None:
    strict = Build(min_words=5, drops={"text 1": "min_words", "text 2": "min_words", "text 3": "max_digits"})
    found = compared(Store(tmp_path), Build(), strict)
    assert settings(found) == {"min_words": ("1", "5", "clean_docs/en")}
    assert (found.documents.both, found.documents.only_a, found.documents.only_b) == (5, 3, 0)
    assert found.documents.why_not_b == [
        {"documents": 2, "step": "clean_docs/en", "rule": "min_words"},
        {"documents": 1, "step": "clean_docs/en", "rule": "max_digits"},
    ]
    assert sorted(found.documents.examples_a) == [f"http://site.example/text-{n}" for n in (1, 2, 3)]
    assert found.began == ["clean_docs/en"]
    assert [row["artifact"] for row in found.data] == ["clean_docs/en", "train_pool", "token_shards/p"]


def test_documents_that_came_were_withdrawn_or_not_drawn_are_told_apart(tmp_path: Path) -> None:
    other = Build(
        texts=[f"text {n}" for n in range(1, 8)] + ["new"],
        withdrawn=["text 4"],
        drawn=[f"text {n}" for n in range(1, 8) if n != 6] + ["new"],
    )
    found = compared(Store(tmp_path), Build(), other)
    assert {(row["rule"], row["step"]): row["documents"] for row in found.documents.why_not_b} == {
        ("withdrawn", "token_shards/p"): 1,
        ("in its pool, and not drawn", ""): 1,
        ("never seen there", ""): 1,
    }
    assert found.documents.why_not_a == [{"documents": 1, "step": "", "rule": "never seen there"}]
    assert found.documents.examples_b == ["http://site.example/new"]


def test_rate_code_and_libraries_are_told_once_with_what_they_made(tmp_path: Path) -> None:
    other = Build(rate=0.2, code={"neo_assets.clean.rules": "2", "neo_assets.new": "1"}, libraries={"numpy": "2.1"})
    found = compared(Store(tmp_path), Build(), other)
    assert settings(found) == {"run.schedule.peak_lr": ("0.1", "0.2", "pretraining/main")}
    assert [(row["module"], row["how"]) for row in found.code] == [
        ("neo_assets.clean.rules", "differs"),
        ("neo_assets.new", "only of B"),
    ]
    assert found.libraries[0]["A"] == "2.0" and str(found.libraries[0]["of"]).endswith("and 2 more")
    assert found.began == ["pretraining/main"] and not found.nothing


def test_a_run_as_it_was_a_build_and_what_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before = Build().make(store, "one")
    Build(rate=0.3).make(store, "one")
    was, now = side_of(store, "one", f"main@{before.fingerprint[:8]}"), side_of(store, "one", "main")
    assert settings(difference(store, was, now, 0.05))["run.schedule.peak_lr"][:2] == ("0.1", "0.3")
    Build(texts=["text 0"]).make(store, "two")
    builds = difference(store, side_of(store, "one", "one"), side_of(store, "one", "two"), 0.05)
    assert builds.documents.only_a == 7 and builds.scores == []
    for text, error, says in (
        ("none", MissingUpstream, "no run 'none' that has ended; it has main. Builds of this store: one, two"),
        ("three:main", BadInput, "no build of a recipe 'three'"),
        ("main@xyz", BadInput, "is no fingerprint"),
        ("main@00000000", MissingUpstream, "no ended run 'main' 00000000"),
    ):
        with pytest.raises(error, match=says):
            side_of(store, "one", text)


def test_the_page_says_what_the_terminal_says_and_loads_nothing(tmp_path: Path) -> None:
    found = compared(Store(tmp_path / "store"), Build(), Build(rate=0.2, withdrawn=["text 1"]))
    write_page(tmp_path / "page.html", found)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not loads(page)
    for name, _, rows in parts(found):
        assert name.replace("'", "&#39;") in page and len(rows) < 10
    assert "withdrawn" in page and json.loads(json.dumps(found.plain()))["b"] == "two:main"
