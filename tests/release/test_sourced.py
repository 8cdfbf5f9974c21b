"""A number without a source does not compile."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from neo_assets.pages.sourced import NotTraced, Sourced, compiled
from neo_assets.release.cards import typed

COUNT = Sourced(1234567, "manifests/a/b.json")


def card(folder: Path, text: str, **values: object) -> str:
    (folder / "card.md.j2").write_text(text, encoding="utf-8")
    return compiled(folder / "card.md.j2", values, "cards/card.md")


def test_a_number_links_to_the_file_that_has_it(tmp_path: Path) -> None:
    assert card(tmp_path, "{{ n }} documents", n=COUNT) == "[1,234,567](../manifests/a/b.json) documents"
    assert card(tmp_path, "n: {{ n.bare }}", n=COUNT) == "n: 1,234,567"
    assert card(tmp_path, "{{ t }}", t=typed("v2 of it")) == "[v2 of it](../recipe/recipe.yaml)"
    assert card(tmp_path, "{{ name('CC-BY-4.0') }} {{ plain }}", plain="no digit") == "CC-BY-4.0 no digit"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("It has 7 layers.", "cards/card.md says '7' of its own, with no source: 'It has 7 layers.'"),
        ("{{ n }} of 10", "says '1' of its own, with no source: '… of 10'"),
        ("{{ plain }}", "prints '12', which has no source"),
        ("{{ n.value }}", "prints '1234567', which has no source"),
        ("{{ n.value + 1 }}", "prints '1234568', which has no source"),
        ("{{ 'about 3' }}", "'about 3', which has no source|says '3' of its own"),
        ("｛３｝", "says '３' of its own"),
    ],
)
def test_a_number_without_a_source_does_not_compile(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(NotTraced, match=says):
        card(tmp_path, text, n=COUNT, plain=12)


def test_a_value_that_is_not_there_does_not_compile(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        card(tmp_path, "{{ missing }}")
