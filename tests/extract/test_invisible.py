"""What nobody sees is taken out where it means nothing, and kept where it does."""

import pyarrow as pa
import pytest

from neo_assets.core.recipe.data import NearDedup
from neo_assets.dedup.minhash import signatures
from neo_assets.extract.repair import repaired
from neo_assets.text.invisible import without_invisible

FAMILY = "👨\u200d👩\u200d👧"
HEART = "❤\ufe0f\u200d🔥"
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    "text",
    [
        FAMILY,
        HEART,
        f"a {SCOTLAND} b {SCOTLAND}",
        "1\ufe0f\u20e3",
        "می\u200cخواهم",
        "क्\u200dष",
        "葛\U000e0100",
        "ไทย\u200bภาษา",
        "שלום \u200eabc\u200f",
        "\u202bעברית\u202c",
        "∩\ufe00",
    ],
)
def test_what_a_script_or_an_emoji_needs_stays(text: str) -> None:
    assert without_invisible(text) == text == repaired(text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("co\u00adop\u00aderation", "cooperation"),
        ("中\u200b文\u2060字", "中文字"),
        ("a\u200db\u200cc", "abc"),
        ("x\u202ey\u202c \u2066z\u2069\u200e", "xy z"),
        ("read\U000e0068\U000e0069\U000e007f this", "read this"),
        (f"{SCOTLAND}\U000e0068\U000e0069", SCOTLAND),
        ("🏴\U000e0068\U000e0069 no end", "🏴 no end"),
        ("letter\ufe0f and\U000e0101", "letter and"),
        ("😀\u200d", "😀"),
        ("line \u200e one\nשלום \u200e", "line  one\nשלום \u200e"),
    ],
)
def test_what_means_nothing_is_taken_out(text: str, seen: str) -> None:
    assert without_invisible(text) == seen


def test_copies_that_differ_by_what_is_not_seen_are_one_text() -> None:
    text = "The factory says what a model was made from, and 每一个数字都可以检查。 " * 4
    hidden = "".join(c + "\u200b\u00ad\u200e\U000e0041" * (i % 7 == 3) for i, c in enumerate(text))
    assert repaired(hidden) == repaired(text)
    # What is left where a script needs it does not count in shingles either.
    settings = NearDedup.model_validate({"bands": 4, "rows": 4, "shingle": 5, "unit": "character", "seed": 1})
    one, other = signatures(pa.array([text, hidden]), settings)
    assert (one == other).all()
