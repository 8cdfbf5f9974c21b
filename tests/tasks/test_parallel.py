"""Lines of two pages are paired only where they are translations, and an item asks for nothing but that."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from neo_assets.core.recipe.data import Split
from neo_assets.tasks.alignment import LengthModel, align, fit_lengths, text_lines
from neo_assets.tasks.next_sentence import Limits, Text
from neo_assets.tasks.parallel import TranslationItem, make_translation_items

SPLIT = Split(share=0.1, seed=1, together=[r"-(en|zh)(?=\.example/)", r"(?<=/)(en-US|zh-CN|zh-TW)/"])
MODEL = LengthModel(0.35, 0.25)
LIMITS = {"en-zh": Limits(15, 400, 5, 200), "zh-en": Limits(5, 200, 15, 400)}

_SUBJECTS = [
    ("The teacher", "老师"),
    ("My old neighbour", "我的老邻居"),
    ("A tired soldier", "一个疲惫的士兵"),
    ("The cook of the inn", "客栈的厨师"),
    ("Nobody here", "这里没有人"),
]
_DEEDS = [
    ("walked slowly to the river", "慢慢地走到河边"),
    ("bought a lamp", "买了一盏灯"),
    ("wrote letters to every cousin", "给每个表亲写了信"),
    ("slept", "睡着了"),
    ("repaired the roof of the barn", "修好了谷仓的屋顶"),
]
_WHEN = [
    ("before the long winter came", "在漫长的冬天到来之前"),
    ("at dawn", "在黎明时分"),
    ("because the market had been closed", "因为市场已经关门了"),
    ("again", "又一次"),
    ("without a word to anyone", "没有对任何人说一句话"),
]


def _line(rng: random.Random) -> tuple[str, str]:
    """A sentence or three in one line, and its translation."""
    parts = [(rng.choice(_SUBJECTS), rng.choice(_DEEDS), rng.choice(_WHEN)) for _ in range(rng.choice((1, 1, 2, 3)))]
    return " ".join(f"{s[0]} {d[0]} {w[0]}." for s, d, w in parts), "".join(
        f"{s[1]}{w[1]}{d[1]}。" for s, d, w in parts
    )


def _pages(number: int, lines: int = 14) -> list[tuple[str, str]]:
    rng = random.Random(number)
    return [_line(rng) for _ in range(lines)]


def _texts(numbers: range) -> list[tuple[Text, Text]]:
    out = []
    for n in numbers:
        en, zh = zip(*_pages(n), strict=True)
        out.append((Text(f"en{n}", f"en{n}", "\n\n".join(en)), Text(f"zh{n}", f"zh{n}", "\n".join(zh))))
    return out


PAIRS = _texts(range(20))


def _items(pairs: list[tuple[Text, Text]], way: str = "en-zh", items: int = 40, seed: int = 3) -> list[TranslationItem]:
    source, target = way.split("-")
    turned = pairs if source == "en" else [(zh, en) for en, zh in pairs]
    return make_translation_items(turned, source, target, LIMITS[way], items=items, choices=4, seed=seed)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://help-en.example/en-US/text/a.html", "http://help.example/text/a.html"),
        ("http://help-zh.example/zh-CN/text/a.html", "http://help.example/text/a.html"),
        ("http://handbook.example/zh-TW/a.html", "http://handbook.example/a.html"),
        ("http://handbook.example/fr-FR/a.html", None),
        ("http://python.example/a-en.html", None),
    ],
)
def test_pages_that_differ_in_the_language_of_their_address_have_one_key(url: str, key: str | None) -> None:
    assert SPLIT.page(url) == key


def test_lines_lose_their_indentation_and_list_marks_alone() -> None:
    assert text_lines("  1. Open it.\n\n\t• Close it.\n 2 apples.\n") == ["Open it.", "Close it.", "2 apples."]


def test_equal_pages_are_aligned_line_by_line() -> None:
    for n in range(10):
        en, zh = zip(*_pages(n), strict=True)
        found = align(en, zh, MODEL)
        assert all(i == j for i, j, _ in found)
        assert len(found) >= 10


def test_deleted_inserted_and_merged_lines_are_never_paired_and_the_rest_mostly_is() -> None:
    right = wrong = possible = 0
    for n in range(30):
        rng = random.Random(f"damage{n}")
        en = [(i, s) for i, (s, _) in enumerate(_pages(n, 30))]
        zh = [(i, t) for i, (_, t) in enumerate(_pages(n, 30))]
        gone = rng.sample(range(30), 4)
        en = [line for line in en if line[0] not in gone[:2]]
        zh = [line for line in zh if line[0] not in gone[2:]]
        at = rng.randrange(len(zh) - 1)
        zh[at : at + 2] = [(-1, zh[at][1] + zh[at + 1][1])]
        zh.insert(rng.randrange(len(zh)), (-2, "这一行在另一页上根本没有。"))
        found = align([s for _, s in en], [t for _, t in zh], MODEL)
        good = sum(en[i][0] == zh[j][0] for i, j, _ in found)
        right, wrong, possible = right + good, wrong + len(found) - good, possible + 24
    assert right / (right + wrong) >= 0.97
    assert right / possible >= 0.5


def test_a_shared_number_decides_between_lines_of_equal_length() -> None:
    old = [
        f"The old {what} was built by hand{when}."
        for what, when in (("bridge", " in 1871"), ("school", " in 1902"), ("mill", ""), ("church", ""))
    ]
    kept = ["老学校是在1902年用手工建造的。", "老磨坊是用手工建造的。", "老教堂是用手工建造的。"]
    assert [(i, j) for i, j, _ in align(old, kept, MODEL)] == [(1, 0), (2, 1), (3, 2)]
    unknown = [re.sub(r"在?\d+年|( in \d+)", "", line) for line in (*old, *kept)]
    assert (1, 0) not in [(i, j) for i, j, _ in align(unknown[:4], unknown[4:], MODEL)]


def test_long_pages_are_aligned_in_a_band() -> None:
    en, zh = zip(*_pages(1, 600), strict=True)
    found = align(en[40:], zh, MODEL)
    assert len(found) > 400
    assert sum(i + 40 == j for i, j, _ in found) / len(found) > 0.97


def test_a_page_without_lines_and_a_page_far_longer_align_to_nothing_or_little() -> None:
    assert align([], ["一行。"], MODEL) == align(["A line."], [], MODEL) == []
    assert len(align(["A line."], ["这一行很长，说的是别的事情，和那一行没有关系。"] * 300, MODEL)) == 0


def test_the_ratio_of_lengths_is_that_of_the_pages() -> None:
    model = fit_lengths((text_lines(en.text), text_lines(zh.text)) for en, zh in PAIRS)
    true = sum(len(zh.text) for _, zh in PAIRS) / sum(len(en.text) for en, _ in PAIRS)
    assert model.ratio == pytest.approx(true, rel=0.1)
    back = fit_lengths((text_lines(zh.text), text_lines(en.text)) for en, zh in PAIRS)
    assert back.ratio == pytest.approx(1 / model.ratio, rel=0.1)
    assert fit_lengths([]).ratio == 1.0


@pytest.mark.parametrize("way", ["en-zh", "zh-en"])
def test_the_answer_is_the_translation_and_the_rest_are_lines_of_other_pages(way: str) -> None:
    source, target = (0, 1) if way == "en-zh" else (1, 0)
    truth = {line[source]: line[target] for n in range(20) for line in _pages(n)}
    texts = {pair[target].doc_id: pair[target].text for pair in PAIRS}
    items = _items(PAIRS, way)
    assert len(items) == 40
    assert sum(truth[i.source] == i.choices[i.answer] for i in items) >= 39
    for item in items:
        assert len(set(item.choices)) == 4
        assert item.choices[item.answer] in texts[item.doc_id]
        wrong = [c for k, c in enumerate(item.choices) if k != item.answer]
        assert all(c not in texts[item.doc_id] and any(c in t for t in texts.values()) for c in wrong)


@pytest.mark.parametrize("way", ["en-zh", "zh-en"])
def test_items_depend_on_the_set_of_pairs_and_the_seed_alone(way: str) -> None:
    first = _items(PAIRS, way, items=9)
    assert first == _items(random.Random(1).sample(PAIRS, len(PAIRS)), way, items=9)
    assert first != _items(PAIRS, way, items=9, seed=4)


def test_positions_pages_and_lines_are_used_evenly() -> None:
    items = _items(PAIRS)
    assert set(Counter(i.answer for i in items).values()) == {10}
    assert len({i.doc_id for i in items}) >= 19  # of 20 pages
    assert max(Counter(i.doc_id for i in items).values()) <= 3  # two each, and a third where others' lines found no set
    everything = _items(PAIRS, items=10_000)
    assert (
        len({i.source for i in everything})
        == len({i.choices[i.answer] for i in everything})
        == len({i.id for i in everything})
        == len(everything)
    )


def test_one_long_page_does_not_fill_the_task() -> None:
    pages = [_pages(n, 150 if n == 0 else 5) for n in range(6)]
    pairs = [
        (
            Text(f"en{n}", f"en{n}", "\n".join(s for s, _ in page)),
            Text(f"zh{n}", f"zh{n}", "\n".join(t for _, t in page)),
        )
        for n, page in enumerate(pages)
    ]
    items = _items(pairs, items=36)
    per_page = Counter(i.doc_id for i in items)
    assert len(per_page) == 6
    assert max(per_page.values()) <= len(items) // 4  # once in a set


def test_lines_that_were_left_untranslated_are_neither_asked_nor_offered() -> None:
    left = "This paragraph was never translated by anyone at all."
    mostly = "The Insert menu holds 所有 of the commands named before."
    half = "The 插入 menu holds 所有的 old 命令 named 之前 here.", "插入菜单里有之前说过的所有旧命令。"
    added = [f"\n{left}\n{mostly}\n{line}" for line in half]
    pairs = [
        (Text(en.doc_id, en.cluster_id, en.text + added[0]), Text(zh.doc_id, zh.cluster_id, zh.text + added[1]))
        for en, zh in PAIRS
    ]
    for way in LIMITS:
        items = _items(pairs, way, items=10_000)
        assert items
        assert all(not {left, mostly, *half} & {i.source, *i.choices} for i in items)


def test_a_name_that_only_the_truth_keeps_would_give_it_away_and_is_not_asked() -> None:
    pairs = [
        (
            Text(en.doc_id, en.cluster_id, f"{en.text}\nMeanwhile Gutenberg{n} went on a long journey."),
            Text(zh.doc_id, zh.cluster_id, f"{zh.text}\n与此同时Gutenberg{n}开始了一次长途旅行。"),
        )
        for n, (en, zh) in enumerate(PAIRS)
    ]
    items = _items(pairs, items=10_000)
    assert items
    assert not any("Gutenberg" in i.source for i in items)


def test_tiny_sets_give_fewer_items_or_none() -> None:
    assert _items([]) == []
    assert _items([(Text("a", "a", ""), Text("b", "b", ""))]) == []
    assert _items(PAIRS[:1]) == []
    assert _items(PAIRS[:3]) == [], "a set is of four pages"
    few = _items(PAIRS[:5], items=1000)
    assert 0 < len(few) < 1000
    assert all(len(i.choices) == 4 for i in few)
