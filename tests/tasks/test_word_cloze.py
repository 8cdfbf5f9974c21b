"""A gap is answered by what the document says, and by nothing about the words themselves."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from neo_assets.tasks.next_sentence import ChoiceItem, Limits, Text
from neo_assets.tasks.word_cloze import make_cloze_items
from neo_assets.text.sentences import delimiter, sentence_spans

LIMITS = {"en": Limits(10, 160, 4, 90), "zh": Limits(4, 60, 2, 40)}
NOUNS = {
    "en": [
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
    ],
    "zh": [
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
    ],
}
WAYS = {
    "en": [
        "Before noon {a} {x} {b} was seen by everyone.",
        "Nobody sold a thing near {a} {x} {b} again.",
        "Of course {a} {x} {b} needs {c} {y} {d} for two.",
        "We said so: {a} {x} {b} comes first.",
    ],
    "zh": [
        "我们昨天看见了{a}{x}{b}的影子。",
        "没有人再把东西卖给{a}{x}{b}。",
        "每一个{a}{x}{b}都需要{c}{y}{d}吗？",
        "因为有了{a}{x}{b}，所以才好。",
    ],
}


def _name(rng: random.Random) -> str:
    return "".join(rng.choice("bdgklmnprst") + rng.choice("aeiou") for _ in range(4)).capitalize()


def _documents(lang: str, count: int = 40) -> list[Text]:
    docs = []
    for number in range(count):
        rng = random.Random(f"{lang}{number}")
        nouns = rng.sample(NOUNS[lang], 3)
        lines = []
        for _ in range(3):
            rng.shuffle(nouns)
            lines.append(
                delimiter(lang).join(
                    rng.choice(WAYS[lang]).format(
                        x=nouns[i], y=nouns[i - 1], a=_name(rng), b=_name(rng), c=_name(rng), d=_name(rng)
                    )
                    for i in range(3)
                )
            )
        docs.append(Text(f"{lang}{number}", f"cluster{number}", "\n".join(lines)))
    return docs


def _items(lang: str, docs: list[Text], items: int = 24, choices: int = 4, seed: int = 7) -> list[ChoiceItem]:
    return make_cloze_items(docs, lang, LIMITS[lang], items=items, choices=choices, seed=seed)


def _parts(item: ChoiceItem) -> tuple[list[str], str]:
    """(the words of the choices, the rest of the sentence). In these texts a gap is followed by a name, or in English
    by a space or mark.
    """
    rest = 0
    while len({c[len(c) - rest - 1 :] for c in item.choices}) == 1:
        rest += 1
    truth = item.choices[item.answer]
    while truth[len(truth) - rest].isascii() and truth[len(truth) - rest].islower():
        rest -= 1
    return [c[: len(c) - rest] for c in item.choices], truth[len(truth) - rest :]


def _sentences(docs: list[Text], doc_id: str, lang: str) -> list[str]:
    text = next(d.text for d in docs if d.doc_id == doc_id)
    return [text[b:e] for spans in sentence_spans(text, lang) for b, e in spans]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_context_delimiter_and_truth_are_the_documents_text_letter_for_letter(lang: str) -> None:
    docs = _documents(lang)
    texts = {d.doc_id: d.text for d in docs}
    items = _items(lang, docs)
    assert len(items) == 24
    for item in items:
        whole = item.context + delimiter(lang) + item.choices[item.answer]
        assert whole in texts[item.doc_id]
        ends = _sentences(docs, item.doc_id, lang)
        assert any(
            whole.endswith(sentence) for sentence in ends
        )  # the gap is inside a sentence, and the choice goes on to its end
        assert not any(whole == item.context + delimiter(lang) + sentence for sentence in ends)
        assert LIMITS[lang].min_context <= len(item.context) <= LIMITS[lang].max_context
        assert LIMITS[lang].min_choice <= len(item.choices[item.answer]) <= LIMITS[lang].max_choice


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_choices_differ_in_one_word_of_the_corpus_that_the_document_does_not_hold(lang: str) -> None:
    docs = _documents(lang)
    texts = {d.doc_id: d.text for d in docs}
    everything = "\n".join(texts.values())
    for item in _items(lang, docs):
        words, rest = _parts(item)
        assert len(set(words)) == 4
        assert all(w + rest == c for w, c in zip(words, item.choices, strict=True))
        for k, word in enumerate(words):
            assert word in everything
            assert (word in texts[item.doc_id]) == (k == item.answer)
            assert word not in item.context
            assert len(word) >= (2 if lang == "zh" else 4)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_items_depend_on_the_set_of_documents_and_the_seed_alone(lang: str) -> None:
    docs = _documents(lang)
    first = _items(lang, docs, items=9)
    assert first == _items(lang, random.Random(1).sample(docs, len(docs)), items=9)
    assert first != _items(lang, docs, items=9, seed=8)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_positions_documents_sentences_and_answers_are_used_evenly(lang: str) -> None:
    docs = _documents(lang)
    items = _items(lang, docs)
    assert set(Counter(i.answer for i in items).values()) == {6}
    assert max(Counter(i.doc_id for i in items).values()) == 1  # 24 items of 40 documents
    everything = _items(lang, docs, items=10_000)
    words = [_parts(i)[0][i.answer] for i in everything]
    assert max(Counter(words).values()) == 3


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_sentence_is_used_once_whatever_it_holds_and_wherever_it_stands(lang: str) -> None:
    x, y = {"en": ("engine", "camera"), "zh": ("飞机", "电脑")}[lang]
    same = WAYS[lang][2].format(a="Bakoro", x=x, b="Tomusi", c="Kopela", y=y, d="Mitaro")
    docs = [*_documents(lang), *(Text(f"same{i}", f"same{i}", same) for i in range(3))]
    assert sum(i.doc_id.startswith("same") for i in _items(lang, docs, items=10_000)) == 1


def test_a_word_that_was_seen_after_and_before_the_same_neighbours_is_no_wrong_choice() -> None:
    shown = ["It was cold.", "By now our quiet pond freezes over.", "They went home."]
    others = [
        "To us that quiet lake seemed near.",
        "A large lake freezes too.",
        "He bought one quiet silk there.",
        "They gave away more gold there.",
        "She found very good rice there.",
    ]
    docs = [
        Text(f"{i}{j}", f"{i}{j}", " ".join(s)) for i, s in enumerate([shown, *([o] for o in others)]) for j in range(2)
    ]
    docs += [Text(f"more{i}", f"more{i}", "Nothing.") for i in range(10)]
    items = [
        i
        for i in make_cloze_items(docs, "en", Limits(10, 200, 3, 60), items=100, choices=4, seed=1)
        if i.choices[i.answer].startswith("pond")
    ]
    assert items
    for item in items:
        assert all(not c.startswith("lake") for c in item.choices)
        assert any(c.startswith("silk") for c in item.choices)  # seen after "quiet" alone, so preferred


def test_wrong_words_have_the_truths_capital_and_ending() -> None:
    rng = random.Random(2)
    words = [
        "walking",
        "reading",
        "sitting",
        "cooking",
        "Paris",
        "Egypt",
        "Rome",
        "Spain",
        "bread",
        "chair",
        "horse",
        "cloud",
    ]
    docs = [
        Text(f"{w}{j}", f"{w}{j}", f"It is said that {_name(rng)} {w} {_name(rng)} was there.")
        for w in words
        for j in range(3)
    ]
    items = make_cloze_items(docs, "en", Limits(5, 200, 3, 60), items=100, choices=3, seed=1)
    assert {i.choices[i.answer].split()[0] for i in items} >= {"walking", "Egypt", "bread"}
    for item in items:
        first = [c.split()[0] for c in item.choices]
        assert len({w[0].isupper() for w in first}) == 1
        assert len({w.endswith("ing") for w in first}) == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_tiny_corpora_give_fewer_items_or_none(lang: str) -> None:
    assert _items(lang, []) == []
    assert _items(lang, [Text("a", "a", "")]) == []
    assert _items(lang, _documents(lang, 1)) == []
    few = _items(lang, _documents(lang, 5), items=1000)
    assert len(few) < 1000
    assert all(len(i.choices) == 4 for i in few)


def test_identifiers_numbers_and_words_with_marks_inside_are_never_asked_for() -> None:
    line = "Please open the file/folder or content.xml with well-known tool_name and abc123 again today."
    docs = [Text(f"{i}", f"{i}", line) for i in range(2)] + [
        Text(d.doc_id, d.cluster_id, d.text) for d in _documents("en")
    ]
    asked = [_parts(i)[0][i.answer] for i in _items("en", docs, items=10_000)]
    assert asked
    assert not {
        "file",
        "folder",
        "content",
        "well",
        "known",
        "tool",
        "name",
        "file/folder",
        "content.xml",
        "well-known",
        "tool_name",
        "abc123",
    } & set(asked)
