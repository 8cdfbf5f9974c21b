"""What a step did to a text is shown with what went and what came, and nothing else is lost in the showing."""

import re

from hypothesis import given
from hypothesis import strategies as st

from neo_assets.corpus.text_changes import marked


def test_lines_words_and_characters_that_went_are_marked() -> None:
    before = "menu\nThe first line.\nwrite to a@b.example today\n第一句话在这里\nlast"
    after = "The first line.\nwrite to <EMAIL> today\n第一句在这里\nlast"
    assert marked(before, after) == (
        "[-menu-]\nThe first line.\nwrite to [-a@b.example-]{+<EMAIL>+} today\n第一句[-话-]在这里\nlast"
    )
    assert marked(before, before) == ""


def test_what_did_not_change_is_told_by_its_length() -> None:
    lines = [f"line {i}" for i in range(50)]
    shown = marked("\n".join(["gone", *lines]), "\n".join(lines))
    assert shown.startswith("[-gone-]\nline 0\n") and "49 lines" in shown and len(shown.split("\n")) == 3


@given(
    st.lists(st.text(alphabet="ab 文\n", max_size=12), max_size=6),
    st.lists(st.text(alphabet="ab 文\n", max_size=12), max_size=6),
)
def test_both_texts_can_be_read_out_of_what_is_shown(old: list[str], new: list[str]) -> None:
    before, after = "\n".join(old), "\n".join(new)
    shown = marked(before, after)
    if shown and "unchanged …" not in shown:
        taken = re.sub(r"\{\+.*?\+\}", "", shown, flags=re.DOTALL)
        put = re.sub(r"\[-.*?-\]", "", shown, flags=re.DOTALL)
        squeezed = lambda text: re.sub(r"\s", "", text)  # noqa: E731
        assert squeezed(taken.replace("[-", "").replace("-]", "")) == squeezed(before)
        assert squeezed(put.replace("{+", "").replace("+}", "")) == squeezed(after)
