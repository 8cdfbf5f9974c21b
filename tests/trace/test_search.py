"""What is found is what stands there: equal to brute force, in both languages, at any character border."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from neo_assets.core.errors import BadInput
from neo_assets.text.characters import IDEOGRAPH, LIMIT, WORD, character_table
from neo_assets.trace.search import TraceIndex, units_of
from tests.corpora import text
from tests.trace.pools import indexed


def kind(character: str) -> int:
    flags = int(character_table().flags[ord(character)]) if ord(character) < LIMIT else 0
    return 2 if flags & IDEOGRAPH else 1 if flags & WORD else 0


def is_border(text: str, at: int) -> bool:
    """Whether no word goes over this place."""
    return at in (0, len(text)) or not (kind(text[at - 1]) == 1 and kind(text[at]) == 1)


def brute(asked: str, texts: list[str]) -> list[tuple[str, int]]:
    """The longest passages by trying all, and how often each stands there."""
    held = "\0".join(texts)

    def count(passage: str, most: float = math.inf) -> int:
        at, found = held.find(passage), 0
        while at >= 0 and found < most:
            found += is_border(held, at) and is_border(held, at + len(passage))
            at = held.find(passage, at + 1)
        return found

    begins = [i for i, c in enumerate(asked) if kind(c) and (kind(c) == 2 or is_border(asked, i))]
    ends = [i for i in range(1, len(asked) + 1) if kind(asked[i - 1]) and is_border(asked, i)]
    found, furthest = [], 0
    for begin in begins:
        best = 0
        for end in (e for e in ends if e > begin):
            if not count(asked[begin:end], most=1):
                break
            best = end
        if best > furthest:
            found.append((asked[begin:best], count(asked[begin:best])))
            furthest = best
    return found


def found_in(index: TraceIndex, asked: str) -> list[tuple[str, int]]:
    held = units_of(asked)
    return [(held.text[p.begin : p.end].decode(), p.count) for p in index.passages(held)]


TEXTS = [
    "The doctor reads the documents, and (see below) the doc.",
    "adding the doc; the docs can't be read. naïve café",
    "我们的系统会读取每一个文档，并且写下它。使用apt安装",
    "文档系统“引号”里的话，以及100个文档 123",
    "한국어 문장은 여기 있다. ひらがなとカタカナ Ａｂｃ",
    "e\u0301tude of a\u0308 mark 👍 and 👍🏽 more",
    "end of it",
]


@pytest.mark.parametrize(
    "asked",
    [
        "the doc", "the do", "xx the documents, and yy", "see below) the doc!", "系统会读取每", "用apt安", "apt",
        "这是“引号”里的话，也是", "个文档 12", "Ａｂｃ", "e\u0301tude of a\u0308", "👍 and 👍🏽 more", "", "，。",
        "of it", "end of its", "문장은 여기", "ひらがなと",
    ],
)  # fmt: skip
def test_no_word_is_cut_on_either_side(tmp_path: Path, asked: str) -> None:
    assert found_in(indexed(tmp_path, TEXTS), asked) == brute(asked, TEXTS)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_thousand_planted_fragments_are_all_found_and_none_in_part(tmp_path: Path, lang: str) -> None:
    """Cut at any character: what is left of it without the words that the cut went through is found whole."""
    generator = random.Random(5)
    texts = [text(generator, lang) for _ in range(60)]
    texts += [f"（{t[:40]}）《{t[50:90]}》" for t in texts[:10]]
    index = indexed(tmp_path, texts)
    for _ in range(500):
        source = generator.choice(texts)
        begin = generator.randrange(len(source) - 30)
        fragment = source[begin : begin + generator.randrange(20, 200)]
        before = sentence_of_nobody(generator)
        asked = f"{before}{fragment}{sentence_of_nobody(generator)}"
        found = found_in(index, asked)
        assert found == brute(asked, texts)
        whole = whole_part(source, begin, begin + len(fragment), asked, len(before))
        assert any(whole in passage for passage, _ in found), (whole, found)
        for passage, _ in found:
            assert any(passage in t for t in texts)


def whole_part(source: str, begin: int, end: int, asked: str, at: int) -> str:
    """The fragment without what belongs to words that were cut, in the source or in the text it was planted into."""
    length = end - begin
    first = next(
        i
        for i in range(length)
        if kind(source[begin + i]) and is_border(source, begin + i) and is_border(asked, at + i)
    )
    last = next(
        i
        for i in range(length, 0, -1)
        if kind(source[begin + i - 1]) and is_border(source, begin + i) and is_border(asked, at + i)
    )
    return source[begin + first : begin + last]


def sentence_of_nobody(generator: random.Random) -> str:
    return "".join(generator.choice("abcdefgh 甲乙丙丁,") for _ in range(12)) + "x"


def test_several_shards_find_what_one_does(tmp_path: Path) -> None:
    generator = random.Random(2)
    texts = [text(generator, lang) for _ in range(1100) for lang in ("en", "zh")]
    texts += [f"{one} {other}" for one, other in zip(texts[:40], texts[-40:], strict=True)]  # across the shards
    many, one = (indexed(tmp_path / str(mb), texts, shard_mb=mb, files=9) for mb in (1, 64))
    assert len(many.shards) > 2 and len(one.shards) == 1
    for _ in range(60):
        a, b = generator.choice(texts), generator.choice(texts)
        asked = f"{a[20 : generator.randrange(30, 300)]} {b[: generator.randrange(10, 200)]}"
        assert found_in(many, asked) == found_in(one, asked)
        held = units_of(asked)
        for passage in one.passages(held)[:3]:
            places = [
                sorted(
                    index.shards[p.shard].told(p.document)["doc_id"]
                    for p in index.places(held, passage.first, passage.last, 1000)
                )
                for index in (one, many)
            ]
            assert places[0] == places[1] and len(places[0]) == passage.count


def test_a_file_of_the_pool_that_is_too_large_to_be_sorted_is_named(tmp_path: Path) -> None:
    generator = random.Random(2)
    with pytest.raises(BadInput, match=r"part-00000.parquet of train_pool has 2 MiB of text, more than trace.shard_mb"):
        indexed(tmp_path, [text(generator, "en", 300) for _ in range(100)], shard_mb=1, files=1)


def test_an_empty_pool_holds_nothing(tmp_path: Path) -> None:
    assert found_in(indexed(tmp_path, [""]), "anything at all") == []


def test_the_same_pool_gives_the_same_digest_with_any_number_of_workers(tmp_path: Path) -> None:
    generator = random.Random(2)
    texts = [text(generator, lang) for _ in range(400) for lang in ("en", "zh")]
    digests = {
        indexed(tmp_path / str(workers), texts, files=5, workers=workers).artifact.manifest.digest for workers in (1, 2)
    }
    assert len(digests) == 1
    other = indexed(tmp_path / "other", [*texts[1:], texts[0] + "!"], files=5)
    assert other.artifact.manifest.digest not in digests


def test_documents_that_share_much_with_a_text_are_those_that_brute_force_finds(tmp_path: Path) -> None:
    generator = random.Random(5)
    words = [f"w{n}" for n in range(400)]
    texts = [" ".join(generator.choices(words, k=120)) for _ in range(12)]
    texts += ["".join(generator.choices("天地玄黄宇宙洪荒日月盈昃辰宿列张", k=90)) for _ in range(6)]
    for _ in range(25):  # passages of some in others, at any place
        a, b = generator.sample(range(18), 2)
        gap = " " if a < 12 else ""
        units = texts[a].split(" ") if a < 12 else list(texts[a])
        first, size = generator.randrange(len(units) - 45), generator.randrange(10, 45)
        half = len(texts[b]) // 2
        at = texts[b].index(" ", half) if b < 12 else half
        texts[b] = f"{texts[b][:at]} {gap.join(units[first : first + size])} {texts[b][at:].lstrip()}"
    index = indexed(tmp_path, texts)
    shards = {(s, d): index.shards[s].told(d)["url"] for s in range(len(index.shards)) for d in range(18)}
    number = {url.rpartition("/d")[2]: at for at, url in shards.items()}
    checked = 0
    for i, one in enumerate(texts):
        found = dict(index.sharing(units_of(one), 20))
        for j, other in enumerate(texts):
            if i == j:
                continue
            longest = in_common(one, other)
            assert found.get(number[str(j)], 0) == (longest if longest >= 20 else 0), (i, j)
            checked += longest >= 20
    assert checked > 10


def in_common(a: str, b: str) -> int:
    """Words or characters of the longest passage that stands in both as it is."""
    asked, held = units_of(a), units_of(b)
    ends = set(held.ends.tolist())
    best = 0
    for first in range(len(asked)):
        while first + best < len(asked):
            piece = asked.text[asked.begins[first] : asked.ends[first + best]]
            places = [at for at in held.begins.tolist() if held.text.startswith(piece, at) and at + len(piece) in ends]
            if not places:
                break
            best += 1
    return best
