"""Why an artifact is stale is told in a line, whatever its settings are."""

from __future__ import annotations

from neo_assets.core.store import MadeFrom
from neo_assets.core.why import differences


def told(old: object, new: object) -> list[str]:
    return differences(*(MadeFrom(config={"x": v}, code={}, libraries={}, inputs={}) for v in (old, new)))


def test_of_a_long_text_the_line_that_differs_is_told_and_of_another_value_its_beginning() -> None:
    text = "".join(f"line {n}: {n}\n" for n in range(500))
    assert told(text, text.replace("line 300: 300", "  line 300: 7")) == [
        "recipe: x: line 301: 'line 300: 300' -> 'line 300: 7'"
    ]
    assert told(text, text + "more\n")[0].endswith("line 501: '' -> 'more'")
    assert len(told(list(range(5000)), [1])[0]) < 300
    assert told("a\nb", "a\nb\n") and told(1, 2) == ["recipe: x: 1 -> 2"]
