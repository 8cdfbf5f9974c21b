"""Where a recipe says something, and why."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.recipe import load

RECIPE = """
extends: laptop
name: mine
description: "with a # that is no comment"
near_dedup:                       # ours: all of it
  en: {bands: 5, rows: 4}         # wide
clean:
  en:
    min_words: 40                 # G8
    max_words: 9000               # ours: short texts
    min_chars: 100
"""


def test_a_value_has_its_line_and_the_reason_that_is_given_there(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    recipe = load(str(tmp_path / "mine.yaml"))
    said = recipe.written("clean.en.max_words")
    assert (said.at, said.comment, said.why) == ("mine.yaml:10", "ours: short texts", "ours: short texts")
    source = recipe.written("clean.en.min_words")
    assert (source.at, source.comment, source.why) == ("mine.yaml:9", "G8", ""), "a rule's number is no reason"
    assert recipe.written("clean.en.min_chars").why == "", "and neither is that of a line above"
    assert recipe.written("near_dedup.en.bands").why == "ours: all of it", "of the section it stands in"
    assert recipe.written("description").comment == ""
    assert recipe.written("tokenizer.vocab_size").at.startswith("_own.yaml:"), "where it is taken over from"
    assert "ours: 3,000 Chinese" in recipe.written("tokenizer.vocab_size").why
    assert recipe.written("clean.en.min_sentences").why == "", "what this file says of a section is of its own lines"
    assert recipe.written("compute.nowhere").at == ""


def test_a_comment_changes_no_identity(tmp_path: Path) -> None:
    for name, text in (("a", RECIPE), ("b", RECIPE.replace("# G8", "# ours: otherwise"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.yaml").write_text(text, encoding="utf-8")
    one, other = (load(str(tmp_path / name / "mine.yaml")) for name in "ab")
    assert one.model_dump() == other.model_dump() and one.written("clean.en.min_words") != other.written(
        "clean.en.min_words"
    )
