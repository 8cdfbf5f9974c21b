"""Bytes of a page to text, when the page may lie about its encoding.

What decodes strictly as UTF-8 is UTF-8, whatever the headers say; then the HTTP charset and the page's own declaration
are tried, each only believed if it decodes; then the encoding is guessed from the bytes. A wrong single-byte
declaration over another single-byte encoding is believed, because nothing in the bytes contradicts it.
"""

from __future__ import annotations

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_META_BYTES = 4096
_NOT_BYTE_TEXT = ("iso2022", "utf-16")
_PYTHON_NAME = {
    "gbk": "gb18030",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-user-defined": "cp1252",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso-8859-8",
}


def declared_charset(text: str) -> str | None:
    """The charset named in a Content-Type header or in the beginning of a page."""
    found = _CHARSET.search(text)
    return found[1].lower() if found else None


def decode_html(payload: bytes, content_type: str) -> tuple[str, str]:
    """(text, name of the Python codec it was read with). Bytes that no codec accepts become U+FFFD; a cut tail is
    dropped.
    """
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if payload.startswith(mark):
            return payload[len(mark) :].decode(name, "replace"), name
    candidates = [
        _codec(declared_charset(content_type)),
        _codec(declared_charset(payload[:_META_BYTES].decode("latin-1"))),
    ]
    # A page that could be read far enough to find "utf-16" in it is not UTF-16 (WHATWG HTML §13.2.3.2).
    if candidates[1] is not None and candidates[1].startswith("utf-16"):
        candidates[1] = "utf-8"
    # These are made of ASCII or NUL bytes, so decoding as UTF-8 proves nothing against them.
    if not any(c is not None and c.startswith(_NOT_BYTE_TEXT) for c in candidates):
        candidates.insert(0, "utf-8")
    for candidate in candidates:
        if candidate is not None and (text := _strictly(payload, candidate)) is not None:
            return text, candidate
    guessed = _codec(detect_encoding(payload, from_html_meta=False)) or "utf-8"
    sound = _strictly(payload, guessed)
    return payload.decode(guessed, "replace") if sound is None else sound, guessed


def _strictly(payload: bytes, name: str) -> str | None:
    try:
        # Not final: a page cut at its size limit may end inside a character.
        return codecs.getincrementaldecoder(name)("strict").decode(payload)
    except UnicodeDecodeError:
        return None


def _codec(label: str | None) -> str | None:
    """Python's text codec for a label of the web, None for an unknown one (Python's own list has codecs that are no
    charsets).
    """
    name = map_encoding_to_html5(label, fallback_utf8=False) if label else None
    if name is None:
        return None
    try:
        return codecs.lookup(_PYTHON_NAME.get(name.lower(), name)).name
    except LookupError:
        return None
