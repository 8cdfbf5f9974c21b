"""Pages put together: a paragraph that goes on over the end of a page is one paragraph."""

from __future__ import annotations

from collections.abc import Sequence

from neo_assets.extract.convert.pages import ConvertedPage
from neo_assets.extract.convert.paragraphs import joined, vocabulary
from neo_assets.extract.convert.words import BULLET, is_ideograph


def joined_pages(pages: Sequence[ConvertedPage]) -> list[tuple[str, int]]:
    """(paragraph, the page that it begins on) of pages in order."""
    out: list[tuple[str, int]] = []
    before: ConvertedPage | None = None
    words = vocabulary(page.text for page in pages)
    for page in pages:
        lines = [line for line in page.text.split("\n") if line.strip()]
        if lines and out and before is not None and before.open and page.page == before.page + 1:
            text, begun = out[-1]
            if goes_on_after(text, lines[0]):
                out[-1] = (joined(text, lines[0], words)[0], begun)
                lines = lines[1:]
        out += [(line, page.page) for line in lines]
        before = page
    return out


def goes_on_after(text: str, following: str) -> bool:
    """Whether a paragraph that is open at the end of a page goes on with the first line of the next."""
    if not text or not following or BULLET.match(following):
        return False
    return following[0].islower() or (is_ideograph(following[0]) and is_ideograph(text[-1]))
