"""Documents of other kinds: EPUB by the house's own extractor, DOCX, ODT, LaTeX and Markdown by pandoc, plain text as
it is.

Archives are read member by member with a bound on what they unpack to; nothing of them is written or run.
"""

from __future__ import annotations

import posixpath
import subprocess
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from neo_assets.extract.convert.pages import ConvertedPage
from neo_assets.web.encoding import decode_html

MOST_UNPACKED = 500_000_000
PANDOC_SECONDS = 45
"""Less than run.py waits for a first word: pandoc is ended by who started it."""
_PANDOC = {".docx": "docx", ".odt": "odt", ".tex": "latex", ".md": "commonmark_x", ".markdown": "commonmark_x"}


class NotRead(Exception):
    """A document that cannot be read; says why."""


def convert(path: Path, suffix: str) -> Iterator[ConvertedPage]:
    """The parts of a document: chapters of an EPUB, one part of anything else. Raises NotRead."""
    if path.stat().st_size == 0:
        raise NotRead("the file is empty")
    if suffix == ".epub":
        yield from _epub(path)
    elif suffix == ".txt":
        yield ConvertedPage(0, _plain(path), engine="plain")
    elif suffix in _PANDOC:
        yield ConvertedPage(0, _pandoc(path, _PANDOC[suffix]), engine="pandoc")
    else:
        raise NotRead(f"nothing reads {suffix} files")


def _plain(path: Path) -> str:
    """A plain book, line by line as it is; its encoding is found as a page's would be."""
    raw = path.read_bytes()
    if b"\x00" in raw[:4096] and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotRead("the file is binary")
    text = decode_html(raw, "text/plain")[0].replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _pandoc(path: Path, kind: str) -> str:
    """Raises NotRead: pandoc is not installed, fails, or takes too long."""
    try:
        import pypandoc  # type: ignore[import-untyped]

        program = pypandoc.get_pandoc_path()
    except (ImportError, OSError):
        raise NotRead("pandoc is not installed: pip install -e '.[documents]'") from None
    # sandbox: a document may not make pandoc read or fetch other files.
    command = [program, "--sandbox", "--from", kind, "--to", "plain", "--wrap", "none", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PANDOC_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NotRead(f"pandoc took more than {PANDOC_SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason"]
        raise NotRead(f"pandoc: {lines[0][:200]}")
    return done.stdout.decode("utf-8", "replace").strip()


def _epub(path: Path) -> Iterator[ConvertedPage]:
    """Chapters in the order of the book's spine, each by the extractor that reads web pages."""
    try:
        with zipfile.ZipFile(path) as book:
            if sum(member.file_size for member in book.infolist()) > MOST_UNPACKED:
                raise NotRead(f"it unpacks to more than {MOST_UNPACKED:,} bytes")
            if (
                "META-INF/encryption.xml" in book.namelist()
                and b"adobe" in book.read("META-INF/encryption.xml").lower()
            ):
                raise NotRead("it is encrypted")
            for number, name in enumerate(_spine(book)):
                try:
                    body = book.read(name)
                except (KeyError, zipfile.BadZipFile, zipfile.zlib.error, RuntimeError) as error:  # type: ignore[attr-defined]
                    yield ConvertedPage(number, engine="none", reason=f"{name} cannot be read: {error}")
                    continue
                html, _ = decode_html(body, "application/xhtml+xml")
                yield ConvertedPage(number, _whole_text(html), engine="epub")
    except (zipfile.BadZipFile, OSError, KeyError, etree.XMLSyntaxError) as error:
        raise NotRead(f"{type(error).__name__}: {error}") from error


def _spine(book: zipfile.ZipFile) -> list[str]:
    """Names of the chapters' files, in reading order."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    container = etree.fromstring(book.read("META-INF/container.xml"), parser)
    root = (
        next((node.get("full-path") for node in container.iter("{*}rootfile")), None) if container is not None else None
    )
    if not root:
        raise NotRead("META-INF/container.xml names no book")
    package = etree.fromstring(book.read(root), parser)
    items = {node.get("id"): node.get("href") for node in package.iter("{*}item")}
    order = [items.get(node.get("idref")) for node in package.iter("{*}itemref") if node.get("linear") != "no"]
    base = posixpath.dirname(root)
    return [posixpath.normpath(posixpath.join(base, urllib.parse.unquote(href))) for href in order if href]


def _whole_text(html: str) -> str:
    """All the text of a chapter, blocks on lines of their own: a book has no navigation around its text."""
    import numpy as np

    from neo_assets.extract.page_blocks import blocks_of
    from neo_assets.extract.page_lines import text_of
    from neo_assets.web.flat_page import flat_page

    page = flat_page(html)
    blocks = blocks_of(page)
    return text_of(page, blocks, np.ones(len(blocks.first), np.bool_)).strip()
