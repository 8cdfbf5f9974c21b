"""Nothing about the choices alone tells which is right, whatever the documents are like."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from neo_assets.tasks.next_sentence import ChoiceItem, Limits, Text, make_items
from neo_assets.tasks.parallel import TranslationItem, make_translation_items
from neo_assets.tasks.sets import answer_sets

LIMITS = {"en": Limits(20, 200, 10, 120), "zh": Limits(6, 80, 5, 60)}
CHOOSERS: dict[str, Callable[[str], float]] = {
    "longest": len,
    "shortest": lambda c: -len(c),
    "most bytes": lambda c: len(c.encode()),
    "most letters of ASCII": lambda c: sum(x.isascii() for x in c),
    "most different characters": lambda c: len(set(c)),
    "first in the dictionary": lambda c: -ord(c[0]),
    "whatever": lambda c: random.Random(c).random(),
}


def _documents(lang: str, count: int = 60) -> list[Text]:
    """As in a manual: a line begins with a short order in few words, often used, and goes on in many."""
    docs = []
    for number in range(count):
        rng = random.Random(f"{lang}{number}")
        words = [
            "".join(
                rng.choice("bdgklmnprst" if lang == "en" else "山水木火土金石田竹米糸羊耳虫")
                + rng.choice("aeiou" if lang == "en" else "一二三四五六七")
                for _ in range(3)
            )
            for _ in range(40)
        ]
        lines = []
        for _ in range(5):
            if lang == "en":
                long = " ".join(" ".join(["So", *rng.sample(words, rng.randint(2, 8))]) + "." for _ in range(2))
                lines.append(
                    f"Choose the {rng.choice(['menu', 'file', 'page'])} named {rng.choice(['one', 'two'])} here. {long}"
                )
            else:
                long = "".join("".join(["则", *rng.sample(words, rng.randint(1, 4))]) + "。" for _ in range(2))
                lines.append(
                    f"选择{rng.choice(['菜单', '文件', '页面'])}中的{rng.choice(['一个', '两个'])}项目。{long}"
                )
        docs.append(Text(f"{lang}{number}", f"{lang}{number}", "\n".join(lines)))
    return docs


def _next_sentences(lang: str, items: int = 120) -> list[ChoiceItem]:
    return make_items(_documents(lang), lang, LIMITS[lang], items=items, choices=4, seed=5)


def _translations(items: int = 120) -> list[TranslationItem]:
    """Truths without Latin letters among lines that keep many."""
    pairs = []
    for number in range(40):
        rng = random.Random(number)
        deeds = [
            (
                "".join(rng.choice("bdgklm") + rng.choice("aeiou") for _ in range(4)),
                "".join(rng.choice("山水木火土金石田竹米") for _ in range(5)),
            )
            for _ in range(9)
        ]
        en = [
            f"The {d} was put on the {d[::-1]} of the house{' by Gimp' if i % 2 else ''}."
            for i, (d, _) in enumerate(deeds)
        ]
        zh = [f"{d}被放在了房子的{d[::-1]}上面{'用Gimp' if i % 2 else ''}。" for i, (_, d) in enumerate(deeds)]
        pairs.append(
            (Text(f"en{number}", f"en{number}", "\n".join(en)), Text(f"zh{number}", f"zh{number}", "\n".join(zh)))
        )
    return make_translation_items(pairs, "en", "zh", Limits(10, 200, 5, 100), items=items, choices=4, seed=5)


def _share(
    items: list[ChoiceItem] | list[TranslationItem], liking: Callable[[str], float], first: int | None = None
) -> float:
    """Right answers of a chooser that takes the first of those it likes best, as lm-eval does."""
    asked = items[:first]
    return sum(max(range(len(i.choices)), key=lambda k: liking(i.choices[k])) == i.answer for i in asked) / len(asked)


@pytest.mark.parametrize("chooser", CHOOSERS)
@pytest.mark.parametrize("task", ["next_sentence_en", "next_sentence_zh", "translation"])
def test_whoever_reads_the_choices_alone_scores_what_guessing_does(task: str, chooser: str) -> None:
    items = _translations() if task == "translation" else _next_sentences(task[-2:])
    assert len(items) == 120
    assert _share(items, CHOOSERS[chooser]) == 0.25
    assert _share(items, CHOOSERS[chooser], 40) == 0.25, "the first items are whole sets as well"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_choice_is_right_once_and_wrong_in_the_other_items_of_its_set(lang: str) -> None:
    items = _next_sentences(lang)
    assert set(Counter(c for i in items for c in i.choices).values()) == {4}
    assert len({i.choices[i.answer] for i in items}) == len(items)
    for begin in range(0, len(items), 4):
        assert len({tuple(i.choices) for i in items[begin : begin + 4]}) == 1
        assert [i.answer for i in items[begin : begin + 4]] == [0, 1, 2, 3]
        assert len({i.doc_id for i in items[begin : begin + 4]}) == 4


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_choices_of_an_item_are_of_like_length(lang: str) -> None:
    spread = sorted(max(map(len, i.choices)) - min(map(len, i.choices)) for i in _next_sentences(lang))
    assert spread[len(spread) // 2] <= 2


def test_more_are_drawn_until_there_are_enough_sets_and_the_longest_are_not_the_ones_left_out() -> None:
    asked: list[int] = []

    def draw(count: int) -> list[int]:
        asked.append(count)
        return list(range(100))[:count]

    found = list(
        answer_sets(draw, str, lambda n: n, lambda a, b: a % 7 != 0 and b % 7 != 0, items=40, choices=4, seed=1)
    )
    assert len(found) == 40 and asked[0] == 40 and asked[-1] > 40
    assert not any(n % 7 == 0 for _, n, _, _ in found)
    assert [name for name, *_ in found] == sorted(name for name, *_ in found)


def test_too_few_candidates_give_the_sets_there_are() -> None:
    for there, items in ((0, 0), (3, 0), (4, 4), (11, 8)):
        assert (
            len(
                list(
                    answer_sets(
                        lambda count, n=there: list(range(n))[:count],
                        str,
                        lambda n: n,
                        lambda a, b: True,
                        items=1000,
                        choices=4,
                        seed=1,
                    )
                )
            )
            == items
        )  # type: ignore[misc]
    assert (
        list(
            answer_sets(
                lambda count: list(range(9))[:count], str, lambda n: n, lambda a, b: False, items=8, choices=2, seed=1
            )
        )
        == []
    )
