"""Tasks from held-out documents are a function of the documents, and no item gives its answer away."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.data import Split
from neo_assets.core.recipe.evaluation import HeldoutItems, HeldoutTasks
from neo_assets.core.records import DOCUMENT, read_table, write_table
from neo_assets.core.store import Artifact, FileEntry, MadeFrom, Manifest, Outcome, Workspace
from neo_assets.tasks.heldout_tasks import HeldoutTasksInput, make_heldout_tasks
from neo_assets.tasks.next_sentence import Limits, Text, make_items
from neo_assets.text.sentences import sentence_spans

SETTINGS = HeldoutTasks(
    max_documents=6,
    max_document_chars=400,
    items=HeldoutItems(next_sentence=24, cloze=0, translation=0),
    choices=4,
    min_context_chars={"en": 40, "zh": 12},
    max_context_chars={"en": 160, "zh": 60},
    min_choice_chars={"en": 15, "zh": 5},
    max_choice_chars={"en": 90, "zh": 40},
    seed=7,
)
BOTH = ["en", "zh"]
_EN = [
    "river",
    "stone",
    "garden",
    "winter",
    "teacher",
    "market",
    "letter",
    "window",
    "silver",
    "morning",
    "paper",
    "mountain",
    "bridge",
    "harbour",
    "lantern",
    "orchard",
]
_ZH = [
    "河流",
    "石头",
    "花园",
    "冬天",
    "老师",
    "市场",
    "书信",
    "窗户",
    "白银",
    "早晨",
    "纸张",
    "高山",
    "大桥",
    "港口",
    "灯笼",
    "果园",
]


def _document(lang: str, number: int) -> dict[str, object]:
    rng = random.Random(f"{lang}{number}")
    if lang == "en":
        lines = [
            " ".join(
                f"The {rng.choice(_EN)} and the {rng.choice(_EN)} met {rng.choice(_EN)} {rng.randrange(10_000)}."
                for _ in range(5)
            )
            for _ in range(4)
        ]
    else:
        lines = [
            "".join(
                f"{rng.choice(_ZH)}旁边有{rng.choice(_ZH)}和{rng.choice(_ZH)}{rng.randrange(10_000)}。"
                for _ in range(5)
            )
            for _ in range(4)
        ]
    doc_id = digest_bytes(f"{lang}{number}".encode())
    return dict.fromkeys(DOCUMENT.names, "") | {
        "doc_id": doc_id,
        "text": "\n".join(lines),
        "lang": lang,
        "lang_score": 1.0,
        "licence": "CC0-1.0",
        "cluster_id": doc_id,
    }


DOCUMENTS = [_document(lang, n) for lang in BOTH for n in range(10)]


def _heldout(folder: Path, documents: list[dict[str, object]]) -> Artifact:
    path = write_table(pa.Table.from_pylist(documents, schema=DOCUMENT), folder / "part-00000.parquet")
    files = {"part-00000.parquet": FileEntry(size=path.stat().st_size, digest="")}
    manifest = Manifest(
        key="heldout",
        fingerprint="0",
        digest="0",
        made_from=MadeFrom(config={}, code={}, libraries={}, inputs={}),
        files=files,
        seconds=0,
        created_at="",
    )
    return Artifact("heldout", folder, manifest, [])


def _make(
    folder: Path, documents: list[dict[str, object]], settings: HeldoutTasks = SETTINGS, languages: list[str] = BOTH
) -> Outcome:
    out = Workspace(folder / "out")
    return make_heldout_tasks(
        HeldoutTasksInput(
            tasks=settings, languages=languages, split=Split(share=0.1, seed=1, together=[r"/(en|zh)(?=/)"])
        ),
        {"heldout": _heldout(folder, documents)},
        out,
    )


def _lines(folder: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "out" / name).read_text(encoding="utf-8").splitlines()]


def test_tasks_do_not_depend_on_the_order_of_the_documents(tmp_path: Path) -> None:
    first = _make(tmp_path / "a", DOCUMENTS)
    shuffled = random.Random(1).sample(DOCUMENTS, len(DOCUMENTS))
    second = _make(tmp_path / "b", shuffled)
    assert first.digest == second.digest
    for name in (
        "tasks.json",
        "next_sentence_en.jsonl",
        "next_sentence_zh.jsonl",
        "bits_per_byte_en.jsonl",
        "bits_per_byte_zh.jsonl",
    ):
        assert (tmp_path / "a" / "out" / name).read_bytes() == (tmp_path / "b" / "out" / name).read_bytes()


def test_another_seed_makes_other_items(tmp_path: Path) -> None:
    first = _make(tmp_path / "a", DOCUMENTS)
    assert first.digest != _make(tmp_path / "b", DOCUMENTS, SETTINGS.model_copy(update={"seed": 8})).digest


@pytest.mark.parametrize("lang", BOTH)
def test_an_item_is_the_documents_own_text_and_its_distractors_are_not(tmp_path: Path, lang: str) -> None:
    _make(tmp_path, DOCUMENTS)
    texts = {d["doc_id"]: str(d["text"]) for d in DOCUMENTS}
    items = _lines(tmp_path, f"next_sentence_{lang}.jsonl")
    assert len(items) == SETTINGS.items.next_sentence
    gap = " " if lang == "en" else ""
    others = Counter(s for d in DOCUMENTS if d["lang"] == lang for s in _sentences(str(d["text"]), lang))
    for item in items:
        source = texts[item["doc_id"]]
        choices = list(item["choices"])
        truth = choices.pop(item["answer"])
        assert f"{item['context']}{gap}{truth}" in source
        assert SETTINGS.min_context_chars[lang] <= len(item["context"]) <= SETTINGS.max_context_chars[lang]
        assert len(set(choices)) == SETTINGS.choices - 1
        for wrong in choices:
            assert wrong != truth and wrong not in source
            assert others[wrong] > 0
            assert SETTINGS.min_choice_chars[lang] <= len(wrong) <= SETTINGS.max_choice_chars[lang]


def _sentences(text: str, lang: str) -> list[str]:
    return [text[b:e] for spans in sentence_spans(text, lang) for b, e in spans]


@pytest.mark.parametrize("lang", BOTH)
def test_neither_position_nor_length_gives_the_answer_away(tmp_path: Path, lang: str) -> None:
    _make(tmp_path, DOCUMENTS)
    items = _lines(tmp_path, f"next_sentence_{lang}.jsonl")
    assert set(Counter(i["answer"] for i in items).values()) == {SETTINGS.items.next_sentence // SETTINGS.choices}
    for item in items:
        lengths = [len(c) for c in item["choices"]]
        # The nearest in length of 24 sentences, of which a set has four.
        assert max(lengths) - min(lengths) <= 8


def test_documents_take_turns(tmp_path: Path) -> None:
    _make(tmp_path, DOCUMENTS)
    per_document = Counter(i["doc_id"] for i in _lines(tmp_path, "next_sentence_en.jsonl"))
    assert len(per_document) == 10
    assert max(per_document.values()) <= 3  # ceil(24 / 10), the spare not needed


def test_documents_of_one_near_duplicate_cluster_lend_each_other_no_distractors(tmp_path: Path) -> None:
    twins = [d | {"cluster_id": "same"} if d["lang"] == "en" and i < 5 else d for i, d in enumerate(DOCUMENTS)]
    _make(tmp_path, twins)
    same = {d["doc_id"]: set(_sentences(str(d["text"]), "en")) for d in twins if d["cluster_id"] == "same"}
    everything = set().union(*same.values())
    asked = 0
    for item in _lines(tmp_path, "next_sentence_en.jsonl"):
        if item["doc_id"] in same:
            asked += 1
            assert not everything & {c for i, c in enumerate(item["choices"]) if i != item["answer"]}
    assert asked > 0


def test_long_documents_are_cut_and_as_many_as_asked_are_used(tmp_path: Path) -> None:
    _make(tmp_path, DOCUMENTS)
    texts = {d["doc_id"]: str(d["text"]) for d in DOCUMENTS}
    lines = _lines(tmp_path, "bits_per_byte_en.jsonl")
    assert len(lines) == SETTINGS.max_documents
    assert all(line["text"] == texts[line["id"]][:400] for line in lines)
    assert any(len(texts[line["id"]]) > 400 for line in lines)


def test_too_few_items_is_said_and_none_at_all_refuses(tmp_path: Path) -> None:
    few = {
        c.name: c
        for c in _make(
            tmp_path / "a",
            DOCUMENTS,
            SETTINGS.model_copy(update={"items": HeldoutItems(next_sentence=500, cloze=0, translation=0)}),
        ).checks
    }
    assert not few["enough_items_en"].passed and not few["enough_items_en"].blocking
    assert "of the 500" in few["enough_items_en"].detail
    assert few["has_items_en"].passed
    none = {c.name: c for c in _make(tmp_path / "b", [d for d in DOCUMENTS if d["lang"] == "en"]).checks}
    assert not none["has_items_zh"].passed and none["has_items_zh"].blocking
    assert none["has_items_en"].passed


def test_every_document_has_a_verdict_and_the_rows_balance(tmp_path: Path) -> None:
    outcome = _make(tmp_path, [*DOCUMENTS, _document("en", 99) | {"lang": "fr"}])
    verdicts = read_table(tmp_path / "out" / "verdicts.parquet").to_pylist()
    assert len(verdicts) == outcome.rows_in == 21
    assert (outcome.rows_kept or 0) + (outcome.rows_dropped or 0) == 21
    assert [v["rule"] for v in verdicts if v["detail"] == "fr"] == ["language"]
    balance = next(c for c in outcome.checks if c.name == "rows_balance")
    assert balance.passed


def test_a_language_without_lengths_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="min_context_chars has no 'fr'"):
        _make(tmp_path, DOCUMENTS, languages=["en", "fr"])


@pytest.mark.parametrize(
    ("lang", "text", "sentences"),
    [
        ("en", "One is here. Two! Is three? And a tail", ["One is here.", "Two!", "Is three?"]),
        (
            "en",
            "Dr. Smith met J. Doe, e.g. at 3.14 p.m. today. He left.",
            ["Dr. Smith met J. Doe, e.g. at 3.14 p.m. today.", "He left."],
        ),
        ("en", 'He said "stop." Then left.\nA heading\nNext line.', ['He said "stop."', "Then left.", "Next line."]),
        (
            "zh",
            "你好吗？我很好。他说：“走吧！”然后走了。尾巴",
            ["你好吗？", "我很好。", "他说：“走吧！”", "然后走了。"],
        ),
        ("zh", "第1.5版。\n新的一行。", ["第1.5版。", "新的一行。"]),
    ],
)
def test_sentences_are_split_where_a_reader_would(lang: str, text: str, sentences: list[str]) -> None:
    assert _sentences(text, lang) == sentences


def test_a_sentence_that_stands_inside_a_longer_one_of_the_document_is_no_distractor() -> None:
    quoted = "The red fox ran home at nine."
    asked = Text("a", "a", f"He wrote this down: {quoted} The old owl sat down at ten.")
    lenders = [
        Text("b", "b", f"We heard it all. {quoted}"),
        Text("c", "c", "He had nothing to say. A wholly different and longer sentence."),
    ]
    items = make_items([asked, *lenders], "en", Limits(10, 100, 5, 60), items=10, choices=2, seed=1)
    assert items
    assert not any(quoted in i.choices and "The old owl sat down at ten." in i.choices for i in items)


def test_which_documents_are_asked_first_does_not_depend_on_their_order() -> None:
    docs = [Text(str(d["doc_id"]), str(d["cluster_id"]), str(d["text"])) for d in DOCUMENTS if d["lang"] == "en"]
    few = [make_items(order, "en", Limits(40, 160, 15, 90), items=4, choices=4, seed=7) for order in (docs, docs[::-1])]
    assert few[0] == few[1]
