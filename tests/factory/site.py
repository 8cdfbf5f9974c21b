"""A small bilingual web site, written for the tests: articles put together from sentences of ours, and the defects real
sites have.
"""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

from tests.small_pdf import Page, pdf

_ADJECTIVES = [
    "old",
    "young",
    "quiet",
    "heavy",
    "broken",
    "wooden",
    "grey",
    "narrow",
    "distant",
    "early",
    "bitter",
    "golden",
    "patient",
    "careless",
    "famous",
    "hungry",
    "silent",
    "clever",
    "muddy",
    "bright",
    "frozen",
    "hollow",
    "gentle",
    "stubborn",
]
_NOUNS = [
    "gardener",
    "teacher",
    "librarian",
    "neighbour",
    "cook",
    "engineer",
    "baker",
    "student",
    "river",
    "bridge",
    "letter",
    "clock",
    "lamp",
    "train",
    "market",
    "garden",
    "church",
    "mayor",
    "harbour",
    "kitchen",
    "ladder",
    "window",
    "forest",
    "island",
]
_VERBS = [
    "opened",
    "measured",
    "repaired",
    "counted",
    "followed",
    "painted",
    "carried",
    "remembered",
    "borrowed",
    "visited",
    "described",
    "forgot",
    "lifted",
    "watched",
    "crossed",
    "sold",
    "answered",
    "hid",
    "noticed",
    "feared",
]
_LINKS = [
    "before",
    "after",
    "behind",
    "beside",
    "without",
    "near",
    "under",
    "above",
    "through",
    "against",
    "beyond",
    "towards",
    "around",
    "inside",
    "outside",
    "across",
]
_CHINESE = (
    ("园丁", "年轻的老师", "图书馆的老人", "我们的邻居", "船上的厨师", "一位工程师", "面包师", "安静的学生"),
    (
        "沿着河边散步",
        "打开了沉重的木门",
        "写了一封很长的信",
        "测量了旧桥的长度",
        "读完早晨的报纸",
        "修好了坏掉的钟",
        "数着灰色的鸟",
    ),
    (
        "在下雨之前",
        "当孩子们睡着的时候",
        "因为市场已经关门",
        "心里想着远方的大海",
        "手里拿着没有点亮的灯",
        "火车正离开小镇",
    ),
    ("然后只好走回家去", "想看看别人找到了什么", "这已经是本周第三次", "直到教堂的钟声响起", "正如镇长所说的那样"),
)
_FRENCH = (
    "Le jardinier marche le long de la rivière avant la pluie, et la vieille dame ouvre la porte de la maison pour"
    " regarder les enfants qui jouent dans le jardin. "
)


def _english(generator: random.Random, sentences: int) -> list[str]:
    """Sentences that hardly share a run of five words, as real ones do."""
    out = []
    for _ in range(sentences):
        a, b, c, d = (f"the {generator.choice(_ADJECTIVES)} {generator.choice(_NOUNS)}" for _ in range(4))
        first, second = generator.choice(_VERBS), generator.choice(_VERBS)
        out.append(
            f"{a} {first} {b} {generator.choice(_LINKS)} {c}, and {generator.choice(_NOUNS)} number"
            f" {generator.randrange(10_000)} {second} {d}.".capitalize()
        )
    return out


def _chinese(generator: random.Random, sentences: int) -> list[str]:
    return [
        "，".join(generator.choice(part) for part in _CHINESE) + f"，这是第{generator.randrange(10_000)}个故事。"
        for _ in range(sentences)
    ]


def _page(title: str, lang: str, sentences: list[str]) -> str:
    joint = " " if lang != "zh" else ""
    paragraphs = "".join(f"<p>{joint.join(sentences[i : i + 4])}</p>" for i in range(0, len(sentences), 4))
    return (
        f'<!doctype html><html lang="{lang}"><head><meta'
        f' charset="utf-8"><title>{title}</title></head><body><main><h1>{title}</h1>{paragraphs}</main></body></html>'
    )


def write_site(folder: Path, pages: int = 60) -> Path:
    """``site`` (both languages, French, duplicates, a short page, a dead link), ``en``, ``zh`` and ``guides`` (PDF):
    the same bytes every time.
    """
    generator = random.Random(20240530)
    for name in ("site", "en", "zh"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(pages):
        (folder / "en" / f"story{i:03d}.html").write_text(
            _page(f"Story {i}", "en", _english(generator, 16)), encoding="utf-8"
        )
        (folder / "zh" / f"story{i:03d}.html").write_text(
            _page(f"故事{i}", "zh", _chinese(generator, 16)), encoding="utf-8"
        )
    original = _english(generator, 24)
    for i, sentences in enumerate(
        (
            original,
            original,
            [*original[:-1], "The very last sentence is another one, and nobody had thought that it would be."],
        )
    ):
        (folder / "site" / f"copy{i}.html").write_text(_page("The same story", "en", sentences), encoding="utf-8")
    (folder / "site" / "short.html").write_text(
        _page("Short", "en", ["Too short to be kept, it has only these few words in it."]), encoding="utf-8"
    )
    (folder / "site" / "french.html").write_text(_page("Une histoire", "fr", [_FRENCH] * 8), encoding="utf-8")
    (folder / "site" / "mixed.html").write_text(_page("混合", "zh", _chinese(generator, 20)), encoding="utf-8")
    links = "".join(
        f'<li><a href="{name}.html">{name}</a></li>'
        for name in ("copy0", "copy1", "copy2", "short", "french", "mixed", "nowhere")
    )
    (folder / "site" / "index.html").write_text(
        "<!doctype html><html><head><meta"
        f' charset="utf-8"><title>Index</title></head><body><ul>{links}</ul></body></html>',
        encoding="utf-8",
    )
    (folder / "guides").mkdir(exist_ok=True)
    for lang, sentences, width in (("en", _english(generator, 40), 88), ("zh", _chinese(generator, 60), 44)):
        (folder / "guides" / f"{lang}.pdf").write_bytes(pdf(_printed(sentences, " " * (lang == "en"), width)))
    return folder


def _printed(sentences: list[str], joint: str, width: int) -> list[Page]:
    """Pages of a guide: paragraphs of four sentences, a header and a number on each page."""
    lines: list[str] = []
    for i in range(0, len(sentences), 4):
        text = joint.join(sentences[i : i + 4])
        lines += textwrap.wrap(text, width) if joint else [text[j : j + width] for j in range(0, len(text), width)]
    pages = []
    for number, begin in enumerate(range(0, len(lines), 20), 1):
        body = [(60.0, 740 - 15 * i, line) for i, line in enumerate(lines[begin : begin + 20])]
        pages.append(Page([(60.0, 800.0, "A guide to the town"), *body, (290.0, 40.0, str(number))]))
    return pages
