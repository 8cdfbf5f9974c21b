"""Planted evaluation items are found however they are written, and nothing else is thrown away."""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core.recipe import load
from neo_assets.core.stage import StepInput
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.quality import decontaminated
from neo_assets.quality.decontaminated import build_index, drop_contaminated, overlaps
from neo_assets.text.searched import read_searched, write_searched
from tests.corpora import document, left_by_a_step, text, texts_of, verdicts_of

RECIPE = load("laptop")
ENGLISH = [
    (
        (
            "Which of the old bridges over the northern river was rebuilt in 1847 after the great flood had carried it"
            " away?"
        ),
        "the stone bridge",
    ),
    ("A train leaves the station at 9:15 and reaches the harbour after 42 minutes; when does it arrive?", "9:57"),
    ("Name the capital of the island kingdom that lost two wars against its larger neighbour.", "Port Anselm"),
]
CHINESE = [
    ("下列哪一座古桥在一八四七年的大洪水之后重新修建，并且一直使用到今天？", "石桥"),
    ("一列火车九点十五分离开车站，四十二分钟之后到达港口，请问它什么时候到达？", "九点五十七分"),
]


def benchmark(folder: Path) -> Artifact:
    def work(out: Workspace) -> Outcome:
        write_searched(
            {
                name: [(f"{name}-{i}", q, a) for i, (q, a) in enumerate(items)]
                for name, items in (("en", ENGLISH), ("zh", CHINESE))
            },
            ["en", "zh"],
            out,
        )
        return Outcome(digest="b")

    return Store(folder).build("benchmark_items", MadeFrom(config={"b": 1}, code={}, libraries={}, inputs={}), work)[0]


def full_width(s: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isdigit() else c for c in s)


VARIANTS = {
    "verbatim": lambda s: s,
    "upper case": str.upper,
    "without punctuation": lambda s: "".join(c if c.isalnum() else " " for c in s),
    "other punctuation": lambda s: s.replace(",", " -").replace("，", " ").replace("?", "!").replace("？", "。"),
    "full-width digits": full_width,
    "line-wrapped": lambda s: (
        "\n   ".join(textwrap.wrap(s, 24)) if " " in s else "\n".join(s[i : i + 9] for i in range(0, len(s), 9))
    ),
}


def run(folder: Path, lang: str, documents: list[dict[str, object]]) -> tuple[Outcome, Workspace]:
    out = Workspace(folder / "out")
    out.path.mkdir()
    inputs = {"before": left_by_a_step(folder / "store", documents), "benchmark_items": benchmark(folder / "store")}
    return drop_contaminated(StepInput(lang=lang, settings=RECIPE.decontaminated[lang]), inputs, out), out


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_planted_items_are_found_and_named(tmp_path: Path, lang: str, variant: str) -> None:
    generator = random.Random(1)
    clean = [document(text(generator, lang), lang, f"clean{i}") for i in range(10)]
    items = ENGLISH if lang == "en" else CHINESE
    planted = [
        document(f"{text(generator, lang)}\n{VARIANTS[variant](q)}\n{text(generator, lang)}", lang, f"planted{i}")
        for i, (q, _) in enumerate(items)
    ]
    outcome, out = run(tmp_path, lang, clean + planted)
    assert set(texts_of(out)) == {d["doc_id"] for d in clean}
    for i, d in enumerate(planted):
        verdict = verdicts_of(out)[str(d["doc_id"])]
        assert (verdict["rule"], verdict["detail"]) == ("benchmark_overlap", f"{lang}/{lang}-{i}")
        assert float(str(verdict["value"])) > 0.2
    assert all(c.passed for c in outcome.checks)


def test_half_an_item_is_found_and_a_phrase_of_it_is_not() -> None:
    settings = RECIPE.decontaminated["en"]
    index = build_index([(f"en/{i}", q, a) for i, (q, a) in enumerate(ENGLISH)], settings)
    words = ENGLISH[0][0].split()
    shares = [
        s for s, _ in overlaps(pa.array([" ".join(words[:18]), " ".join(words[:12]), "nothing of the kind"]), index)
    ]
    assert shares[0] > settings.max_overlap and shares[1:] == [0.0, 0.0]


def test_short_questions_are_looked_for_with_their_answers_or_not_at_all() -> None:
    settings = RECIPE.decontaminated["en"]
    index = build_index(
        [("a", "What is the largest planet of our", "system of the sun"), ("b", "Two plus two?", "4")], settings
    )
    assert index.too_short == ("b",)
    found = overlaps(
        pa.array(
            [
                "what is the largest planet of our system of the sun",
                "two plus two? 4",
                "what is the largest planet of our galaxy",
            ]
        ),
        index,
    )
    assert [name for _, name in found] == ["a", "", ""]


def test_a_benchmarks_own_phrasing_counts_for_no_item() -> None:
    settings = RECIPE.decontaminated["en"]
    phrase = "Read the following passage with care and then choose the one best answer to this question"
    index = build_index(
        [
            (str(i), f"{phrase}: item number {i} asks about the {w} and its many uses in the house?", "x")
            for i, w in enumerate(["lamp", "bell", "rope", "door", "nail", "hook"])
        ],
        settings,
    )
    assert overlaps(pa.array([phrase]), index) == [(0.0, "")]
    assert (
        overlaps(pa.array([f"{phrase}: item number 3 asks about the door and its many uses in the house?"]), index)[0][
            1
        ]
        == "3"
    )


def test_the_gate_looks_at_every_document_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked at the first 20,000 by id and spoke of all."""
    monkeypatch.setattr(decontaminated, "overlaps", lambda texts, index: [(0.0, "")] * len(texts))
    documents = [document(f"Nothing to see here, number {i}.", name=f"clean{i}") for i in range(20_500)]
    last = max(documents, key=lambda d: str(d["doc_id"]))
    last["text"] = f"Planted. {ENGLISH[1][0].upper()} Yes."
    outcome, _ = run(tmp_path, "en", documents)
    gate = next(c for c in outcome.checks if c.name == "no_item_left")
    assert not gate.passed and f"en/en-1 in {last['doc_id']}" in gate.detail and "all 20,500 documents" in gate.detail


def test_the_gate_refuses_what_the_search_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decontaminated, "overlaps", lambda texts, index: [(0.0, "")] * len(texts))
    outcome, _ = run(tmp_path, "en", [document(f"Planted. {ENGLISH[0][0].upper()} Yes.", name="planted")])
    gate = next(c for c in outcome.checks if c.name == "no_item_left")
    assert not gate.passed and gate.blocking and "en/en-0 in" in gate.detail


def test_items_are_read_with_their_right_answer(tmp_path: Path) -> None:
    assert read_searched(benchmark(tmp_path))[0] == ("en/en-0", ENGLISH[0][0], "the stone bridge")
