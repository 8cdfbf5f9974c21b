"""URLs and lines that are none are taken out of Chinese texts where the recipe says so, and the ledger says what
changed.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neo_assets.clean.chinese_edits import real_lines, without_urls
from neo_assets.clean.clean_docs import _edited, chinese_edits
from neo_assets.core.recipe import load
from neo_assets.core.records import DOCUMENT
from neo_assets.core.steps import Decision
from tests.corpora import document

ZH = load("laptop").clean.zh


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("请访问https://www.debian.org/doc/?x=1，然后继续。", "请访问，然后继续。"),
        ("见 www.example.org 的说明", "见  的说明"),
        ("主机 a.b.example.org 在线", "主机  在线"),
        ("地址 192.168.0.1。", "地址 。"),
        ("网站 debian.org 很好", "网站  很好"),
        ("网站debian.org很好", "网站debian.org很好"),
        ("编辑 sources.list 文件", "编辑  文件"),
        ("版本3.14，共5.5个。", "版本3.14，共5.5个。"),
        ("句子结束.下一句", "句子结束.下一句"),
    ],
)
def test_urls_are_taken_out_by_the_three_patterns(text: str, left: str) -> None:
    assert without_urls(text) == left


@given(st.text(max_size=100))
def test_a_text_without_a_dot_is_left_alone(text: str) -> None:
    if "." not in text and "://" not in text:
        assert without_urls(text) == text


def test_lines_that_are_no_sentences_go_and_blank_lines_stay() -> None:
    text = (
        "首页 | 登录 | 注册\n这一行是一个完整的句子。\n\n请启用JavaScript以继续浏览。\n好。\n这里有坏词，"
        "不应该保留！\n它也是一个完整的句子…"
    )
    assert real_lines(text, ["坏词"]) == "这一行是一个完整的句子。\n\n它也是一个完整的句子…"


def test_edits_are_switches_of_the_recipe_and_named_in_the_ledger() -> None:
    assert ZH is not None and chinese_edits(ZH) == ()
    edits = chinese_edits(ZH.model_copy(update={"delete_urls": True, "line_rules": True, "faithful_to_release": True}))
    assert [e.rule for e in edits] == ["half_width_punctuation", "urls_deleted", "lines_dropped"]
    documents = pa.Table.from_pylist(
        [
            document("请访问 https://debian.org/ 阅读完整的说明。", "zh", "a"),
            document("没有什么可以改变的", "zh", "b"),
            document("已经被丢弃 debian.org", "zh", "c"),
        ],
        schema=DOCUMENT,
    )
    decision = Decision.keep(3)
    decision.dropped = np.array([False, False, True])
    decision.rule[2] = "min_chars"
    out = _edited(documents, decision, edits[1:2])
    assert decision.rule.tolist() == ["urls_deleted", "", "min_chars"] and decision.value[0] > 0.5
    assert out.column("text").to_pylist()[1:] == documents.column("text").to_pylist()[1:]
