"""What is shown of documents: fates, changes, and nothing that may not be shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from neo_assets.core.records import DOCUMENT, write_table
from neo_assets.core.store import Artifact, FileEntry, MadeFrom, Manifest, Row
from neo_assets.core.tombstones import Target
from neo_assets.site.documents import HELD_OUT, OUT, POOL, Asked, Documents, documents
from neo_assets.site.scripts import scripts
from neo_assets.trace.reads import Reader

FREE, OTHER = "CC0-1.0", "all rights reserved"
MAIL = "Write to somebody@mail.com about it."
STEPS = ["documents/s", "clean_docs/en", "line_dedup/en"]


def document(doc_id: str, text: str, licence: str = FREE) -> dict[str, object]:
    told = {"doc_id": doc_id, "text": text, "lang": "en", "lang_score": 1.0, "licence": licence, "cluster_id": doc_id}
    return dict.fromkeys(DOCUMENT.names, "") | told | {"url": f"http://a.example/{doc_id}", "source": "s"}


def artifact(folder: Path, key: str, rows: list[dict[str, object]]) -> Artifact:
    place = folder / key
    place.mkdir(parents=True)
    path = write_table(pa.Table.from_pylist(rows, schema=DOCUMENT), place / "part-00000.parquet")
    files = {path.name: FileEntry(size=path.stat().st_size, digest="")}
    made = MadeFrom(config={}, code={}, libraries={}, inputs={})
    manifest = Manifest(
        key=key, fingerprint="0", digest="0", made_from=made, files=files, seconds=0, created_at="", rows_kept=len(rows)
    )
    return Artifact(key, place, manifest, [])


class Fates:
    def __init__(self, *rows: Row) -> None:
        self.told = rows

    def funnel(self) -> list[Row]:
        return []

    def url_of(self, doc_id: str) -> str | None:
        return None

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        stages, drawn = parameters
        assert isinstance(stages, list) and isinstance(drawn, list)
        return [dict(row) for row in self.told if row["stage"] in stages and row["doc_id"] in drawn]


def verdict(doc_id: str, stage: str, verdict: str, rule: str, twin: str = "", detail: str = "") -> Row:
    told: Row = {"doc_id": doc_id, "stage": stage, "verdict": verdict, "rule": rule, "twin": twin, "detail": detail}
    return told | {"value": 3.0, "threshold": 5.0}


def shown(tmp_path: Path, *withdrawn: Target, most: int = 99, readers: Sequence[Reader] = ()) -> Documents:
    kept, held, short, theirs = (
        document("a1", f"One line.\nOne line.\n{MAIL}"),
        document("a2", "held out text"),
        document("a3", "short"),
        document("a4", "their text", OTHER),
    )
    copy = document("a5", "their text too")
    made = {
        "documents/s": artifact(tmp_path, "documents/s", [kept, held, short, theirs, copy]),
        "clean_docs/en": artifact(tmp_path, "clean_docs/en", [kept, held, theirs, copy]),
        "line_dedup/en": artifact(
            tmp_path, "line_dedup/en", [{**kept, "text": f"One line.\n{MAIL}"}, held, {**theirs, "text": "their"}]
        ),
        "train_pool": artifact(tmp_path, "train_pool", [kept, theirs]),
        "heldout": artifact(tmp_path, "heldout", [held]),
    }
    ledger = Fates(
        verdict("a3", "clean_docs/en", "dropped", "min_words"),
        verdict("a5", "near_dedup/en", "dropped", "near_duplicate", twin="a4"),
        verdict("a1", "line_dedup/en", "edited", "paragraph", detail=MAIL),
    )
    asked = Asked(
        frozenset({FREE}), most, STEPS, ["clean_docs/en", "near_dedup/en", "line_dedup/en"], {"email": "<EMAIL>"}
    )
    return documents(asked, made, ledger, {"release": withdrawn}, readers)


def test_each_document_has_its_fate_its_changes_and_no_personal_data(tmp_path: Path) -> None:
    told = {one.doc_id: one for one in shown(tmp_path).shown}
    assert {name: one.fate for name, one in told.items()} == {
        "a1": POOL, "a2": HELD_OUT, "a3": OUT, "a4": POOL, "a5": OUT,
    }  # fmt: skip
    one = told["a1"]
    assert one.text == "One line.\nOne line.\nWrite to <EMAIL> about it.", "masked, though no step had masked it there"
    assert one.edits == [("line_dedup/en", [(0, 10, "")])] and one.final == "One line.\nWrite to <EMAIL> about it."
    text = "".join(script for _, script in scripts(list(told.values()), {}))
    assert "somebody@mail.com" not in text, "nor in what a verdict says"


def test_steps_of_what_a_run_is_a_branch_of_are_its_own(tmp_path: Path) -> None:
    """A part is asked up to where the next begins, and not at all where it has no step of its own."""
    branch, before, none = part(20, {"a1": [21, 30]}), part(0, {"a1": [3, 3, 25], "a4": [7]}), part(0, {"a1": [1]})
    reader = Reader("main", [(branch, 40), (before, 20), (none, 0)])
    told = {one.doc_id: one.reads for one in shown(tmp_path, readers=[reader]).shown}
    assert told["a1"] == [("main", 3, 3, 30)] and told["a4"] == [("main", 1, 7, 7)] and told["a2"] == []


def part(first: int, reads: dict[str, list[int]]) -> Any:
    """A run that begins after step ``first`` and read these documents in these steps."""

    def when(ids: Sequence[str], last: int) -> pa.Table:
        rows = [(doc_id, step) for doc_id in ids for step in reads.get(doc_id, []) if step <= last]
        return pa.table({"doc_id": [doc_id for doc_id, _ in rows], "step": [step for _, step in rows]})

    return SimpleNamespace(config=SimpleNamespace(first_step=first), ledger=lambda: SimpleNamespace(when=when))


def test_a_text_is_shown_only_where_its_licence_allows_it(tmp_path: Path) -> None:
    told = shown(tmp_path)
    theirs = next(one for one in told.shown if one.doc_id == "a4")
    assert theirs.text is None and theirs.edits == [] and theirs.url == "http://a.example/a4"
    assert "their text" not in "".join(
        script for _, script in scripts([one for one in told.shown if one.doc_id != "a5"], {})
    )


def test_nothing_is_told_of_what_was_withdrawn_or_of_its_copies(tmp_path: Path) -> None:
    told = shown(tmp_path, Target.of("http://a.example/a4"))
    assert [one.doc_id for one in told.shown] == ["a1", "a2", "a3"] and told.withdrawn == 2
    text = "".join(script for _, script in scripts(told.shown, {}))
    assert "a.example/a4" not in text and "their text" not in text


def test_of_too_many_some_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    told = shown(tmp_path, most=2)
    assert [one.doc_id for one in told.shown] == ["a1", "a2"] and told.not_drawn == 3
