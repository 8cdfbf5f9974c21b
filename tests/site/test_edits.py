"""What a step changed is told so that the text after it comes out again."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from neo_assets.site.edits import applied, edits

TEXT = st.text(alphabet="ab \n软件😀", max_size=80)


@given(TEXT, TEXT)
def test_a_text_with_its_changes_is_the_text_after(before: str, after: str) -> None:
    changes = edits(before, after)
    assert applied(before, changes) == after
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(changes)), "in order, and none over another"


def test_changes_are_small() -> None:
    before = "first line\nthe same words stand here twice\n第三行，很长。\n"
    assert edits(before, before) == []
    assert edits(before, before.replace("words ", "")) == [(20, 26, "")]
    assert edits("😀😀 one two", "😀😀 two") == [(5, 9, "")], "places count as a page counts, in UTF-16 units"
    assert edits("a\nb\nc\n", "a\nc\n") == [(2, 4, "")]
