"""A chosen block gives all its text, as a browser shows it; what no reader sees, and what leads elsewhere, is left."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from neo_assets.core.errors import NeoError
from neo_assets.core.recipe.data import Extract
from neo_assets.extract import main_content
from neo_assets.extract.block_features import FEATURES, features_of
from neo_assets.extract.extractors import EXTRACTORS, extract
from neo_assets.extract.main_content import Bounds, likely, log_odds, main_text
from neo_assets.extract.page_blocks import blocks_of
from neo_assets.extract.page_lines import characters, text_of
from neo_assets.web.flat_page import flat_page
from tests.corpora import keepable

BOUNDS = Bounds(0.5, 0.3)
ENGLISH = "The crawler waits politely between two pages, and writes down what it has seen, every time it stops. "
CHINESE = "抓取程序在两个网页之间礼貌地等待，并把看到的一切记录下来，每次停下都是如此。"


def whole(html: str) -> str:
    """All that a reader of the page sees."""
    page = flat_page(html)
    blocks = blocks_of(page)
    everything = np.ones(len(blocks.first), np.bool_)
    text = text_of(page, blocks, everything)
    assert len("".join(text.split())) == characters(page, blocks)
    return text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>甲<b>乙</b>丙丁<b>戊</b>。</p>", "甲乙丙丁戊。"),
        ("<p>在 <a href=x>维基</a>上</p>", "在 维基上"),
        ("<ruby>漢<rp>(</rp><rt>hàn</rt><rp>)</rp>字<rt>zì</rt></ruby>", "漢字"),
        ("<p>one — two <i>–</i> three</p>", "one — two – three"),
        ("<p>a<!-- b -->c &amp;&lt;&gt;&quot; &nbsp;d&#x4e2d;</p>", 'ac &<>" \xa0d中'),
        ("<p> one\n <b> two </b> three<br> four </p>", "one two three\nfour"),
        ("<ul><li>条目 <b>甲</b><li><code>ls</code><li>x</ul>", "条目 甲\nls\nx"),
        ("<dl><dt>term<dd>what it is</dl>", "term\nwhat it is"),
        ("<table><tr><th>a<th>b<tr><td> 1 <td><b>2</b></table>", "a\tb\n1\t2"),
        ("<pre>for x in y:\n    print(x)\n\n# end</pre>", "for x in y:\n    print(x)\n\n# end"),
        ("<pre>\n\n  Sub Main\n    x\n</pre>", "  Sub Main\n    x"),
        ("<p>a</p><p>b</p>c<div>d", "a\n\nb\n\nc\n\nd"),
        ("<h1>H</h1>text<h2>I</h2>", "H\n\ntext\n\nI"),
        ("<p>x<sub>2</sub>y<sup>3</sup>z</p>", "x2y3z"),
        ("a<script>if (a<b) {'</p>'}</script>b<style>p{}</style>c<template><p>no</p></template>d", "abcd"),
        ("<p>a<noscript><b>no</b></noscript></p><textarea>no</textarea><select><option>no</select>b", "a\n\nb"),
        ("<p hidden>no</p><div style='color:red; Display : none'><p>no</p></div>yes", "yes"),
        ("yes<p style='display:block'>too", "yes\n\ntoo"),
        ("<p style='display:none!important'>no</p><p style='color:red;DISPLAY:none;'>no</p>yes", "yes"),
        ("<p style='--display:none'>a</p><p style='xdisplay:none'>b</p><p style='display:nonesuch'>c", "a\n\nb\n\nc"),
        ("<p style='display:none;display:block'>yes</p><p style='display:block;display:none'>no", "yes"),
        ("<div hidden><div>no</div></div><p>yes", "yes"),
        ("<p =x a'b=1 \"c>yes</p>", "yes"),
        ("<svg><text>no</text></svg><math><mi>x</mi><annotation>no</annotation></math>", "x"),
        ("", ""),
        ("plain text & no tags < at all", "plain text & no tags < at all"),
        ("<p>\x07bell\x0bv</p>", "\x07bell\x0bv"),
        ("<table><tr><td><p>k</p></td><td>v</td></tr><tr><td><p>k2</p><td><div>v2</div></table>", "k\tv\nk2\tv2"),
        ("<table><tr><td>k</td><td><p>v</p></td><td> <p>w<br>x</p></table>", "k\tv\tw\nx"),
        ("<table><tr><td>A<td> <td>x<tr><td><p>B</p><td><p> </p><td><p>y</p></table>", "A\t\tx\nB\t\ty"),
        ("<table><tr><td><p>a</p><p>b</p></td><td><p>c</p></td></table>", "a\n\nb\n\nc"),
        ("<table><tr><td><p>a</p><td><table><tr><td>1<td>2</table><td>z</table>", "a\n\n1\t2\nz"),
        ("<table><tr><td><pre>1\n2</pre><td><pre>a\nb</pre></table>", "1\n2\n\na\nb"),
        ("<pre><div>a</div><div>  b</div></pre><pre>c</pre>", "a\n  b\n\nc"),
        ("<listing>a\n  b</listing>", "a\n  b"),
        ("<p style='white-space: pre-wrap'>a\n  b<i style='white-space:normal'> c\nd</i></p>", "a\n  b c d"),
        ("<p style='white-space:pre-line'> a \n  b\n</p>", "a\nb"),
        ("<pre style='white-space:normal'>a\n  b</pre>", "a b"),
        ("<p><span style='display:block'>a</span><span style='DISPLAY: flex !important'>b</span>c</p>", "a\n\nb\n\nc"),
        ("a<div style='display:inline'>b</div>c<span style='display:inline-block'>d</span>", "abcd"),
        ("<p hidden style='display:block'>yes</p><p hidden style='color:red'>no", "yes"),
        ("<p>a<noscript><div>no</div></noscript>b</p><NOSCRIPT>no<p>no</NoScript >c", "ab\n\nc"),
        ("a<script>'<noscript>'</script>b<!-- <noscript> -->c<noscript>no</noscript>d", "abcd"),
        ("a<noscript>not closed", "a"),
        ("<dialog open>yes</dialog><dialog>no</dialog><map><p>too</p></map>", "yes\n\ntoo"),
    ],
)  # fmt: skip
def test_a_block_gives_all_its_text_as_a_browser_shows_it(html: str, text: str) -> None:
    assert whole(html) == text


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<head><title> A\n title</title></head><p>x", "A title"),
        ("<head><noscript><img src=x></noscript><title>T</title></head><p>x", "T"),  # the picture ends the head
        ("<svg><title>a picture's</title></svg><p>x", ""),
        ("<body><svg><g><title>a picture's</title></g></svg><title>T</title>", "T"),
        ("<p>x", ""),
    ],
)
def test_a_page_has_its_title_wherever_the_parser_put_it(html: str, title: str) -> None:
    assert flat_page(html).title == title


def test_nothing_of_any_page_is_lost_or_made_up() -> None:
    """Pages of random tags, attributes and characters: what is written is what is seen, by two counts."""
    generator = random.Random(0)
    tags = ["p", "div", "b", "a href='x\"y>'", "td", "table", "tr", "li", "ul", "pre", "br", "ruby", "rt", "h2", "x-y"]
    texts = [
        "中文 ",
        "a b",
        "&amp;&nbsp;&#0;",
        "\u3000\u2003\u200b",
        "<",
        ">",
        '"',
        "\t\n",
        "é—…",
        "😀",
        "&copy",
        "=",
        "0",
        "\x1f\x0c",
    ]
    for _ in range(300):
        parts = []
        for _ in range(generator.randrange(60)):
            tag = generator.choice(tags)
            parts.append(
                generator.choice([f"<{tag}>", f"</{tag.split()[0]}>", generator.choice(texts), generator.choice(texts)])
            )
        whole("".join(parts))


def page(body: str) -> str:
    names = ("Home", "News", "Sport", "About us", "Contact")
    links = "".join(f"<li><a href='/{i}'>{name}</a></li>" for i, name in enumerate(names))
    other = "Another story that has nothing to do with it, number"
    more = "".join(f"<li><a href='/n{i}'>{other} {i}</a></li>" for i in range(8))
    return (
        f"<html><head><title>A  title\n</title></head><body><header><nav class='menu'><ul>{links}</ul></nav></header>"
        f"<main><article class='content'><h1>What the crawler does</h1>{body}</article></main>"
        f"<aside class='related'><h3>More stories</h3><ul>{more}</ul></aside><footer><p>© 2024 Example. All rights"
        " reserved. <a href='/p'>Privacy</a> <a href='/i'>Imprint</a></p></footer></body></html>"
    )


@pytest.mark.parametrize("sentence", [ENGLISH, CHINESE])
def test_an_article_stays_whole_and_its_frame_goes(sentence: str) -> None:
    items = ["<b>甲</b>", "<code>wget</code>", "twelve words stand in this item of a list that is kept whole"]
    body = f"<p>{sentence * 3}</p><p>{sentence * 2}</p><ul>" + "".join(f"<li>{item}</li>" for item in items)
    body += f"</ul><p>{sentence * 2}</p><table><tr><th>name<th>value<tr><td>甲<td>1</table><p>{sentence * 3}</p>"
    found = main_text(page(body), BOUNDS)
    assert found.title == "A title" and found.written == found.kept
    assert "甲\nwget\ntwelve words" in found.text and "name\tvalue\n甲\t1" in found.text
    assert found.text.count(sentence.strip()) == 10
    assert not re.search("Contact|Another story|rights reserved", found.text)
    assert 0.3 < found.kept / found.seen < 1


def test_the_list_of_a_page_without_an_article_container_is_kept() -> None:
    """``<main><p>…</p><ul>…`` two levels below body, where resiliparse leaves out the whole list."""
    item = "<li>twelve words stand in this item of a list that is kept whole</li>"
    html = f"<body><main><p>{ENGLISH * 3}</p><ul>{item * 4}</ul><p>{ENGLISH * 2}</p></main></body>"
    assert main_text(html, BOUNDS).text.count("twelve words") == 4


def test_every_block_is_judged_and_judging_is_steady() -> None:
    generator = random.Random(1)
    html = page("".join(f"<p>{keepable(generator)}</p>" for _ in range(5)))
    flat = flat_page(html)
    blocks = blocks_of(flat)
    features = features_of(flat, blocks)
    assert features.shape == (len(blocks.first), len(FEATURES)) and np.isfinite(features).all()
    one, other = log_odds(flat, blocks), log_odds(flat_page(html), blocks_of(flat_page(html)))
    assert (one == other).all() and (likely(one) >= 0).all() and (likely(one) <= 1).all()
    assert log_odds(flat_page("<p> </p>"), blocks_of(flat_page("<p> </p>"))).size == 0


@pytest.mark.parametrize(
    ("probabilities", "kept"),
    [
        ([0.9, 0.5, 0.51, 0.1], [True, False, True, False]),
        ([0.46, 0.34, 0.08, 0.23], [True, True, False, False]),  # an article that is doubted is not an empty page
        ([0.3, 0.29, 0.2], [False, False, False]),
        ([], []),
    ],
)
def test_what_is_doubted_least_is_kept_where_all_is_doubted(probabilities: list[float], kept: list[bool]) -> None:
    assert BOUNDS.kept(np.array(probabilities)).tolist() == kept


def test_navigation_is_no_content_wherever_it_stands() -> None:
    menu = "".join(f'<li><a href="/{i}">Another page {i}</a></li>' for i in range(40))
    text = main_text(page(f"<main><nav><ul>{menu}</ul></nav><p>{ENGLISH}</p><p>{ENGLISH}</p></main>"), BOUNDS).text
    assert "Another page" not in text and text.count(ENGLISH.strip()) == 2


def test_forests_of_other_features_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_content, "FEATURES", (*FEATURES[1:], FEATURES[0]))
    main_content.forests.cache_clear()
    with pytest.raises(NeoError, match="fitted on other features"):
        main_text(page(f"<p>{ENGLISH}</p>"), BOUNDS)
    main_content.forests.cache_clear()


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_every_extractor_that_a_recipe_can_name_gives_the_article(name: str) -> None:
    if name == "trafilatura":
        pytest.importorskip("trafilatura", reason="the extra [trafilatura] is not installed")
    config = Extract(extractor=name, keep_above=0.5, min_chars=1, max_html_bytes=10**6, max_bad_share=0.1)
    found = extract(config, page(f"<p>{ENGLISH * 4}</p>" * 4))
    assert found.title == "A title" and ENGLISH.strip() in found.text and found.seen >= found.kept > 0
    assert "Another story" not in found.text
