"""The HTML pages of a crawl, and the text of their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from resiliparse.parse.encoding import detect_mime

from neo_assets.core.records import document_id
from neo_assets.crawl.stored_pages import StoredPart
from neo_assets.web.encoding import decode_html
from neo_assets.web.links import canonical
from neo_assets.web.media import document_suffix
from neo_assets.web.warc_files import Response


class Unreadable(Exception):
    """A page that is no page; says why."""


def html_pages(part: StoredPart, scratch: Path) -> Iterator[tuple[str, str, Response]]:
    """(id of the document, canonical URL, page) of the pages of a part; documents are of ``pdf_text``."""
    for page in part.pages(scratch):
        if not document_suffix(page.content_type):
            url = canonical(page.url)
            yield document_id(url, page.payload), url, page


def html_of(page: Response) -> str:
    """A page decoded by what its bytes are, and not only by what they claim to be. Raises :class:`Unreadable`."""
    if (
        b"\x00" in page.payload
        and detect_mime(page.payload) == "application/octet-stream"
        and not page.payload.startswith((b"\xff\xfe", b"\xfe\xff"))
    ):
        raise Unreadable("binary data sent as HTML")
    return decode_html(page.payload, page.content_type)[0]
