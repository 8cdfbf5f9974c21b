"""The extractors that a recipe can name: HTML to the main text of a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from neo_assets.core.recipe.data import Extract
from neo_assets.extract.main_content import Bounds, MainText, Second, main_text
from neo_assets.extract.page_blocks import blocks_of
from neo_assets.extract.page_lines import characters
from neo_assets.web.flat_page import flat_page


def extract(config: Extract, html: str, second: Second | None = None) -> MainText:
    """The main text of a page; ``second``: what its site says of its blocks, where the extractor can hear it.

    Raises RuntimeError or ValueError where an extractor fails on it.
    """
    return EXTRACTORS[config.extractor](config, html, second)


def by_blocks(config: Extract, html: str, second: Second | None) -> MainText:
    """Our own (``main_content.py``)."""
    return main_text(html, bounds_of(config), second)


def bounds_of(config: Extract) -> Bounds:
    """A recipe's bounds."""
    return Bounds(config.keep_above, config.keep_best_above)


def by_resiliparse(_: Extract, html: str, __: Second | None) -> MainText:
    """resiliparse's main content. It leaves out text nodes of one character, most of a short list, and base text of
    rubies.
    """
    text = extract_plain_text(
        HTMLTree.parse(html),
        main_content=True,
        preserve_formatting=True,
        alt_texts=False,
        links=False,
        form_fields=False,
        noscript=False,
    )
    return _as_it_is(text, html)


def by_trafilatura(_: Extract, html: str, __: Second | None) -> MainText:
    """trafilatura, comments out and tables in. It is slow, and cuts the first paragraphs of some pages."""
    import trafilatura

    return _as_it_is(trafilatura.extract(html, include_comments=False, include_tables=True) or "", html)


def _as_it_is(text: str, html: str) -> MainText:
    page = flat_page(html)
    return MainText(page.title, text, len("".join(text.split())), characters(page, blocks_of(page)))


EXTRACTORS: Mapping[str, Callable[[Extract, str, Second | None], MainText]] = {
    "blocks": by_blocks,
    "resiliparse": by_resiliparse,
    "trafilatura": by_trafilatura,
}
