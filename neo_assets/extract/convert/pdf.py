"""A PDF, page by page: from its text layer, or recognised where it has none, with what tells whether to believe it.

Pages are read in windows, because what runs along on every page shows only beside other pages.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium  # type: ignore[import-untyped]
from rapidfuzz.distance import LCSseq

from neo_assets.extract.convert import ocr
from neo_assets.extract.convert.page_layout import Line, ordered_lines, rows_of
from neo_assets.extract.convert.pages import WINDOW, ConvertedPage, Trust
from neo_assets.extract.convert.paragraphs import CONTENTS, Text, paragraphs, vocabulary
from neo_assets.extract.convert.pdf_text_layer import text_layer
from neo_assets.extract.convert.running_lines import RunningLines
from neo_assets.extract.convert.words import HYPHEN

FEW_LETTERS = 10
"""A page with fewer letters in its text layer is looked at as a picture."""
_TOKEN = re.compile(r"[^\W_]+|[\u3040-\u30ff\u3400-\u9fff]")
_SPLIT = re.compile(r"([\u3040-\u30ff\u3400-\u9fff])")


class NoPdf(Exception):
    """A file that cannot be opened; says why."""


@dataclass
class _Raw:
    """A page as it was read, before what runs along is taken out."""

    number: int
    height: float = 0.0
    rows: list[Line] = field(default_factory=list)
    stream: str = ""
    page: ConvertedPage = field(default_factory=lambda: ConvertedPage(0))


def opened(path: Path) -> pdfium.PdfDocument:
    """Raises NoPdf: empty, torn, or behind a password."""
    if path.stat().st_size == 0:
        raise NoPdf("the file is empty")
    try:
        document = pdfium.PdfDocument(path)
        if len(document) == 0:
            raise NoPdf("the file has no page")
    except pdfium.PdfiumError as error:
        raise NoPdf(str(error)) from error
    return document


def convert(path: Path, trust: Trust, first: int, skip: set[int], at: Callable[[int], None]) -> Iterator[ConvertedPage]:
    """Pages from number ``first`` (0 is the first; the first of a window) on. ``at`` is told of each page before it is
    read; pages of ``skip`` are not.
    """
    document = opened(path)
    for begin in range(first, len(document), WINDOW):
        numbers = range(begin, min(begin + WINDOW, len(document)))
        raw = [_read(document, number, trust, skip, at) for number in numbers]
        running = RunningLines([(r.height, r.rows) for r in raw if r.rows])
        ordered: list[list[Line]] = []
        for r in raw:
            stay, left_out = running.without(r.height, r.rows)
            r.page.left_out = [line.text for line in left_out]
            lines = ordered_lines([run for row in stay for run in row.runs])
            if r.page.engine == "text":
                r.page.agreement = round(_agreement(lines, r, path, trust), 4)
            r.page.left_out += [line.text for line in lines if CONTENTS.search(line.text)]
            ordered.append([line for line in lines if not CONTENTS.search(line.text)])
        words = vocabulary(line.text for lines in ordered for line in lines)
        for r, lines in zip(raw, ordered, strict=True):
            at(r.number)
            yield _judged(r, lines, paragraphs(lines, words), trust)


def _read(document: pdfium.PdfDocument, number: int, trust: Trust, skip: set[int], at: Callable[[int], None]) -> _Raw:
    out = _Raw(number, page=ConvertedPage(number))
    if number in skip:
        out.page.engine, out.page.reason = "none", "reading it ended the reader, or took too long"
        return out
    at(number)  # before it is loaded, which may be the end
    try:
        page = document[number]
        try:
            _fill(out, page, trust)
        finally:
            page.close()
    except pdfium.PdfiumError as error:
        out.page.engine, out.page.reason = "none", f"the page cannot be read: {error}"
    return out


def _fill(out: _Raw, page: pdfium.PdfPage, trust: Trust) -> None:
    layer = text_layer(page)
    out.height, out.stream, out.page.broken = layer.height, layer.stream, round(layer.broken, 4)
    letters = sum(len(run.text) for run in layer.runs)
    if letters >= FEW_LETTERS and layer.broken <= trust.max_broken:
        out.rows = rows_of(layer.runs)
        return
    if letters < FEW_LETTERS and ocr.is_blank(page):
        out.page.engine = "blank"
        return
    what = "no text layer" if letters < FEW_LETTERS else f"{layer.broken:.0%} of its text layer is broken"
    if not trust.ocr or not ocr.available():
        out.page.engine, out.page.reason = "none", f"{what}, and nothing here recognises pages"
        return
    runs, confidence, outside = ocr.recognised(page, trust.ocr_dpi)
    out.page.engine, out.page.broken = "ocr", 0.0
    out.page.confidence, out.page.ink_outside = round(confidence, 4), round(outside, 4)
    out.rows = rows_of(runs)


def _judged(r: _Raw, lines: Sequence[Line], text: Text, trust: Trust) -> ConvertedPage:
    page = r.page
    page.columns = len({line.column for line in lines})
    page.hyphens_joined, page.formulas, page.open = text.joined, text.formulas, text.open
    page.text = "\n".join(text.lines).replace(HYPHEN, "-")
    if page.engine == "text":
        if (page.agreement or 0.0) < trust.min_agreement:
            page.reason = f"two readers agree on the order of {page.agreement:.0%} of it only"
    elif page.engine == "ocr":
        if page.confidence is not None and page.confidence < trust.min_confidence:
            page.reason = f"recognised with confidence {page.confidence:.2f} only"
        elif page.ink_outside is not None and page.ink_outside > trust.max_ink_outside:
            page.reason = f"{page.ink_outside:.0%} of its ink is in no line that was read"
        elif not page.text:
            page.reason = "nothing was recognised"
    return page


def _agreement(lines: Sequence[Line], r: _Raw, path: Path, trust: Trust) -> float:
    """Share of a page's words that another reader has in the same order: the order in which the file draws them, and
    where that is another one, that of pdf-oxide.
    """
    ours = _words_of(lines)
    drawn = _shared(ours, _tokens(r.stream))
    return drawn if drawn >= trust.min_agreement else max(drawn, _shared(ours, _tokens(_other_reader(path, r.number))))


def _words_of(lines: Sequence[Line]) -> list[str]:
    return _tokens("\n".join(line.text for line in lines))


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> float:
    return LCSseq.similarity(ours, theirs) / len(ours) if ours else 1.0


def _other_reader(path: Path, number: int) -> str:
    try:
        return str(_by_pdf_oxide(path).extract_text(number))
    except Exception:  # a reader that fails agrees with nothing
        return ""


@functools.lru_cache(maxsize=1)
def _by_pdf_oxide(path: Path) -> Any:
    import pdf_oxide

    return pdf_oxide.PdfDocument(str(path))


def _tokens(text: str) -> list[str]:
    plain = text.replace(HYPHEN, "").replace("\x02", "").replace("\ufffe", "").replace("-\n", "").replace("-\r\n", "")
    return _TOKEN.findall(_SPLIT.sub(r" \1 ", plain).casefold())
