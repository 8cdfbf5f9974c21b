"""Which passages are told, in which documents, and how a person reads it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.trace import Trace
from neo_assets.core.tombstones import Target
from neo_assets.pages.page import loads
from neo_assets.trace.commands import conversation_of, turns_of
from neo_assets.trace.hidden import Hidden
from neo_assets.trace.search import TraceIndex, units_of
from neo_assets.trace.told import heading, in_text, segments, steps_in_words, write_page
from neo_assets.trace.traced import EVERYTHING, Document, Read, Turn, trace
from neo_assets.trace.written import NOT_CAUSE, Segment
from tests.trace.pools import indexed

TEXTS = [
    "Every artifact has an identity (computed from what made it). Nobody runs a pipeline.",
    "Nobody runs a pipeline: people ask for an artifact, and the factory makes what is missing and nothing else.",
    "每一个文档都有一个身份，“由制造它的东西计算出来”。没有人运行流水线。",
    *(f"This page is served by host number {n} of the farm" for n in range(30)),
]
ALL = Trace().model_copy(update=EVERYTHING)


@pytest.fixture
def index(tmp_path: Path) -> TraceIndex:
    return indexed(tmp_path, TEXTS)


def test_what_is_told_stands_in_every_document_that_is_named(index: TraceIndex) -> None:
    asked = (
        "Well: people ask for an artifact, and the factory makes it. 都有一个身份，“由制造它的东西计算出来”。 nobody"
    )
    found = trace(index, [Turn(asked)], ALL)
    assert {t.text for t in found.told} >= {
        "people ask for an artifact, and the factory makes",
        "都有一个身份，“由制造它的东西计算出来”。",
    }
    for told in found.told:
        assert asked[told.begin : told.end] == told.text
        for document in told.documents:
            held = TEXTS[int(document.url.rpartition("d")[2])].encode()
            assert document.bytes == len(held) and held[document.begin : document.end].decode() == document.text
            assert document.text in told.text and document.before + document.text + document.after in held.decode()


def test_each_document_shows_its_own_punctuation(tmp_path: Path) -> None:
    texts = [
        "words that are rarer here. More",
        "others: (words that are rarer here, less",
        "，“很少见的字词在此处。” 更多",
        "很少见的字词在此处，更少",
    ]
    index = indexed(tmp_path, texts)
    for asked, own in (
        ("words that are rarer here.", ["words that are rarer here.", "words that are rarer here"]),
        ("很少见的字词在此处。", ["很少见的字词在此处。", "很少见的字词在此处"]),
        ("(words that are rarer here", ["words that are rarer here", "(words that are rarer here"]),
    ):
        (told,) = trace(index, [Turn(asked)], ALL).told
        assert told.count == 2 and sorted(d.text for d in told.documents) == sorted(own)
        for document in told.documents:
            held = texts[int(document.url.rpartition("d")[2])]
            assert held.encode()[document.begin : document.end].decode() == document.text
            assert held == document.before + document.text + document.after


def test_short_common_and_less_rare_passages_are_counted_and_not_told(index: TraceIndex) -> None:
    asked = "This page is served by host number 7 of the farm. Nobody runs a pipeline: people ask. an artifact"
    found = trace(index, [Turn(asked)], Trace(min_units=6, max_occurrences=10, share=0.05))
    assert [t.text for t in found.told] == ["Nobody runs a pipeline: people ask"]  # of rarer words than the first
    assert (found.short, found.common, found.more) == (1, 0, 1)
    assert "1 passage, 32% of 19 words or characters, stands in the training pool (not told: 1 shorter, 1 less" in (
        heading(found)
    )
    common = trace(index, [Turn("This page is served by host number")], Trace())
    assert not common.told and common.common == 1 and "1 in too many places" in heading(common)
    assert trace(index, [Turn("This page is served by host number")], ALL).told[0].count == 30


def test_of_several_documents_the_one_that_shares_more_comes_first(index: TraceIndex) -> None:
    found = trace(index, [Turn("Nobody runs a pipeline. xx Every artifact has an identity (computed")], ALL)
    first = next(t for t in found.told if t.text.startswith("Nobody"))
    assert [d.url.rpartition("d")[2] for d in first.documents] == ["0", "1"]
    assert first.documents[0].shares > first.documents[1].shares


def test_only_what_a_model_wrote_is_looked_for(index: TraceIndex, tmp_path: Path) -> None:
    talk = [{"role": "user", "content": TEXTS[0]}, {"role": "assistant", "content": TEXTS[1]}]
    for form in (talk, {"messages": talk}):
        turns = conversation_of("talk.json", json.dumps(form))
        assert [t.turn for t in trace(index, turns, ALL).told] == [1]
    lines = "\n".join(map(json.dumps, talk))
    assert [t.traced for t in conversation_of("talk.jsonl", lines)] == [False, True]
    found = trace(index, turns, ALL)
    assert segments(found, 0) == [Segment(TEXTS[0])]
    assert "".join(s.text for s in segments(found, 1)) == TEXTS[1]
    (tmp_path / "said.txt").write_text(TEXTS[2], encoding="utf-8")
    assert turns_of(str(tmp_path / "said.txt")) == [Turn(TEXTS[2])]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", "a.json: not JSON"),
        ("a.json", '{"a": 1}', "a conversation is a list of turns"),
        ("a.json", '[{"role": "user"}]', "a.json: turn 1 has no text in `content`"),
        ("a.json", "[3]", "a.json: turn 1 has no text"),
    ],
)
def test_a_conversation_that_is_none_is_named(name: str, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        conversation_of(name, text)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("said/nowhere.txt", "there is no file said/nowhere.txt"),
        ("nowhere.json", "there is no file"),
        ("/nowhere/at.all", "there is no file"),
        ("main@last", "say with --prompt what it goes on from"),
    ],
)
def test_what_nobody_means_as_a_text_is_asked_back(what: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        turns_of(what)
    for text in ("and/or what.", "TCP/IP", "输入/输出设备", "见readme.md"):
        assert turns_of(text)[0].text == text


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"a\.txt: no UTF-8"):
        turns_of(str(tmp_path / "a.txt"))


def test_a_page_of_hostile_text_loads_nothing_and_says_that_it_is_no_proof(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script> <img src=x onerror=alert(2)> and seven more words that stand there"
    found = trace(indexed(tmp_path, [bad, *TEXTS]), [Turn(f"{bad} \ud83d", "<b>")], ALL)
    write_page(tmp_path / "page.html", found, ["<i>note</i>"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert loads(page) == [] and NOT_CAUSE in page and "<script>alert" not in page and "<i>note" not in page
    assert NOT_CAUSE in in_text(found, [])


def test_steps_are_told_in_words() -> None:
    def said(*read: Read) -> list[str]:
        empty = Document("d", "u", "t", "s", "l", "en", 9, 0, 1, "", "", "", 1.0, list(read))
        return steps_in_words(empty)

    assert said() == []
    assert said(Read("main", [3], 80, True)) == ["main: read in step 3 of 80"]
    assert said(Read("main", list(range(1, 12)), 1000, True, exact=False)) == [
        "main: read 11 times, in steps 1, 2, 3, 4, 5, 6, 7, 8 and 3 more of 1,000; steps of the whole document: its"
        " tokens are not its text's"
    ]
    waiting, never = Read("main", [], 80, True), Read("decay", [], 6, False)
    assert said(waiting, never) == ["main: in its text, but no step up to 80 came to it"]
    assert said(never) == ["in the corpus, never trained on by decay"]


def test_what_was_withdrawn_is_not_shown_and_counted_apart(index: TraceIndex) -> None:
    asked = "Nobody runs a pipeline: people ask for an artifact. page is served by host number 7 of the farm"
    for hidden in (
        Hidden((), [Target.of("url:http://site.example/d1")]),
        Hidden((), [Target("text_sha256", hashlib.sha256(TEXTS[1].encode()).hexdigest())]),
        Hidden(ids_with(index, "people ask for an artifact")),
    ):
        found = trace(index, [Turn(asked)], ALL, hidden=hidden)
        assert "people ask" not in " ".join(t.text for t in found.told) and found.withdrawn == 1
        assert "1 more only in documents that were withdrawn" in heading(found)
        (farm,) = (t for t in found.told if t.text.startswith("page is served"))
        assert farm.count == 1
    # Of a passage in several documents the others are shown, and counted.
    common = "This page is served by host number"
    hidden = Hidden((), [Target.of(f"url:http://site.example/d{n}") for n in (4, 5)])
    (told,) = trace(index, [Turn(common)], ALL, hidden=hidden).told
    assert told.count == 28 and not {"http://site.example/d4", "http://site.example/d5"} & {
        d.url for d in told.documents
    }


def ids_with(index: TraceIndex, text: str) -> list[str]:
    asked = units_of(text)
    return [index.shards[p.shard].told(p.document)["doc_id"] for p in index.places(asked, 0, len(asked), 10)]
