"""Which documents of the corpus tombstones name: by what they say, under whatever name they stayed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core.records import DROPPED, Verdict, verdict_table
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.core.tombstones import Scope, Target, in_the_corpus, record
from neo_assets.core.withdrawn import KEY, all_withdrawn, without_withdrawn
from neo_assets.corpus.withdrawn import WithdrawnInput, find_withdrawn
from neo_assets.web.fetch_log import LogRow, log_table
from tests.corpora import document, left_by_a_step

NAMES = ("a", "b", "c", "d", "e")
ID = {name: str(document(name, name=name)["doc_id"]) for name in (*NAMES, "copy", "near", "moved")}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    """Five documents, two of them held out. `copy` was dropped for `a`, `near` for `copy`; `moved` leads to `c`."""
    store = tmp_path / "store"

    def made(key: str, file: str, table: pa.Table) -> Artifact:
        def work(out: Workspace) -> Outcome:
            out.write(file, table)
            return Outcome(digest=key)

        return Store(store).build(key, MadeFrom(config={"key": key}, code={}, libraries={}, inputs={}), work)[0]

    def dropped(key: str, pairs: Sequence[tuple[str, str]]) -> Artifact:
        rows = [Verdict(ID[one], key, DROPPED, "duplicate", twin=ID[twin]) for one, twin in pairs]
        return made(key, "verdicts.parquet", verdict_table([*rows, Verdict(ID["b"], key)]))

    everything = [document(name, name=name) for name in (*NAMES, "copy", "near")]
    log = [LogRow("http://site.example/moved", "http://site.example/c", ID["moved"], "redirect")]
    log += [
        LogRow(f"http://site.example/{name}", "", ID[name], "fetched", address=f"http://old.example/{name}")
        for name in "ab"
    ]
    crawl = Store(store).build(
        "raw_crawl/s",
        MadeFrom(config={}, code={}, libraries={}, inputs={}),
        lambda out: _crawled(out, log),
    )[0]
    return {
        "raw_crawl/s": crawl,
        "documents/s": left_by_a_step(store, everything, shards=2, key="documents/s"),
        "exact_dedup/en": dropped("exact_dedup/en", [("copy", "a")]),
        "near_dedup/en": dropped("near_dedup/en", [("near", "copy")]),
        "train_pool": left_by_a_step(store, [document(n, name=n) for n in "abc"], shards=2, key="train_pool"),
        "heldout": left_by_a_step(store, [document(n, name=n) for n in "de"], key="heldout"),
    }


def _crawled(out: Workspace, log: list[LogRow]) -> Outcome:
    out.write("log/part-00000.parquet", log_table(log))
    row = Verdict(ID["moved"], "raw_crawl/s", DROPPED, "redirect", twin=ID["c"])
    out.write("verdicts/part-00000.parquet", verdict_table([row]))
    return Outcome(digest="c")


def found(
    inputs: Mapping[str, Artifact], tmp_path: Path, targets: Mapping[Scope, Sequence[str]]
) -> dict[str, Artifact]:
    told = {scope: [Target.of(text) for text in texts] for scope, texts in targets.items()}
    config = WithdrawnInput.of(told)
    made_from = MadeFrom(config={"tombstones": config.tombstones}, code={}, libraries={}, inputs={})
    store = Store(tmp_path / "store")
    return {KEY: store.build(KEY, made_from, lambda out: find_withdrawn(config, inputs, out))[0]}


def names(made: Mapping[str, Artifact], scope: Scope = "corpus") -> str:
    ids = all_withdrawn(made, "train_pool", scope) | all_withdrawn(made, "heldout", scope)
    return "".join(sorted(name for name in NAMES if ID[name] in ids))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://site.example/b", "b"),
        ("http://old.example/b", "b"),  # by the name that it was asked for
        (ID["d"][:10], "d"),
        ("http://site.example/copy", "a"),  # a copy, under the name of the one that stayed
        ("http://site.example/near", "a"),  # a copy of a copy
        ("http://site.example/moved", "c"),  # an address that leads elsewhere
        (f"text_sha256:{hashlib.sha256(b'e').hexdigest()}", "e"),
        ("domain:site.example", "abcde"),
        ("domain:nowhere.example", ""),
    ],
)
def test_what_is_named_is_found_under_whatever_name_it_stayed(
    inputs: dict[str, Artifact], tmp_path: Path, text: str, expected: str
) -> None:
    made = found(inputs, tmp_path, {"corpus": [text], "trace": [text], "release": [text]})
    assert names(made) == names(made, "trace") == expected
    numbers = made[KEY].manifest.numbers
    assert (numbers["train_pool"], numbers["heldout"]) == (
        sum(c in "abc" for c in expected), sum(c in "de" for c in expected),
    )  # fmt: skip
    assert set(made[KEY].manifest.parts) == {
        *(["train_pool", "corpus", "trace", "release"] if set(expected) & set("abc") else []),
        *(["heldout"] if set(expected) & set("de") else []),
    }
    assert "site.example" not in (made[KEY].folder / "manifest.json").read_text()  # no address is published
    for side in ("train_pool", "heldout"):
        for path in inputs[side].files("part-"):
            left = without_withdrawn(inputs[side].documents(["doc_id"]), made, side, path.name)["doc_id"].to_pylist()
            assert (
                not {ID[n] for n in expected}
                & set(left)
                & set(pa.parquet.read_table(path, columns=["doc_id"])["doc_id"].to_pylist())
            )


def test_each_scope_has_what_is_withdrawn_for_it(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    root = tmp_path / "store"
    record(root, Target.of("http://site.example/a"), "opt-out")
    record(root, Target.of("http://site.example/b"), "licence", scope=["release"])
    record(root, Target.of("http://site.example/c"), "privacy", scope=["trace", "crawl"])
    config = WithdrawnInput.of(in_the_corpus(root))
    made_from = MadeFrom(config={"tombstones": config.tombstones}, code={}, libraries={}, inputs={})
    made = {KEY: Store(root).build(KEY, made_from, lambda out: find_withdrawn(config, inputs, out))[0]}
    assert (names(made), names(made, "trace"), names(made, "release")) == ("a", "ac", "ab")
    assert made[KEY].manifest.numbers["tombstones"] == 3 and made[KEY].manifest.numbers["for_trace"] == 2


def test_without_tombstones_nothing_is_looked_through(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neo_assets.corpus.withdrawn.in_corpus", lambda *_: pytest.fail("looked"))
    made = found(inputs, tmp_path, {"corpus": [], "trace": [], "release": []})
    assert names(made) == "" and made[KEY].manifest.parts == {}
