"""Bytes of a page to text, when the page may lie about its encoding.

What decodes strictly as UTF-8 is UTF-8, whatever the headers say. Then what header and page declare is tried, encodings
of several bytes first, since bytes can contradict them: a header's latin-1 gives way to a page's GBK that decodes. Such
a declaration is believed when it nearly fits, too, with U+FFFD where it does not: a few bad bytes are no reason to read
a Chinese page as another's. Labels mean what they mean to browsers (WHATWG Encoding): ``gb2312`` is GB18030,
``shift_jis`` is windows-31j, ``euc-kr`` is UHC, ``big5`` is code page 950 or, where that fails, Big5-HKSCS. What
nothing declares is guessed from the bytes. A wrong single-byte declaration over another single-byte encoding is
believed.
"""

from __future__ import annotations

import codecs
import contextlib
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_META_BYTES = 4096
_NOT_BYTE_TEXT = ("iso2022", "utf-16")
_PYTHON_NAME = {
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-user-defined": "cp1252",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso-8859-8",
}
_WIDEST = {"big5": ("cp950", "big5hkscs")}
"""Codecs of an encoding that Python has in parts, in the order in which they are tried."""
_OF_SEVERAL_BYTES = ("utf-8", "gb18030", "big5", "cp932", "cp949", "euc_jp")
NEARLY = 0.02
"""Share of a page's characters beyond ASCII that a declared encoding may leave unread and still be believed."""


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
    declared = [c for c in candidates if c is not None]
    # These are made of ASCII or NUL bytes, so that decoding as UTF-8 proves nothing against them.
    escaped = [c for c in declared if c.startswith(_NOT_BYTE_TEXT)]
    wide = [c for c in declared if c in _OF_SEVERAL_BYTES]
    narrow = [c for c in declared if c not in (*escaped, *wide)]
    read = _strictly(payload, [*(escaped or ["utf-8"]), *wide]) or _nearly(payload, wide) or _strictly(payload, narrow)
    if read is not None:
        return read
    guessed = _codec(detect_encoding(payload, from_html_meta=False)) or "utf-8"
    codec = _codecs(guessed)[0]
    return _strictly(payload, [guessed]) or (payload.decode(codec, "replace"), codec)


def _codecs(encoding: str) -> tuple[str, ...]:
    return _WIDEST.get(encoding, (encoding,))


def _nearly(payload: bytes, encodings: list[str]) -> tuple[str, str] | None:
    """The page in the first of these encodings that leaves hardly anything unread."""
    for encoding in encodings:
        read = [(payload.decode(codec, "replace"), codec) for codec in _codecs(encoding)]
        text, codec = min(read, key=lambda found: found[0].count("\ufffd"))
        beyond = len(text) - len(text.encode("ascii", "ignore"))
        if text.count("\ufffd") <= NEARLY * beyond:
            return text, codec
    return None


def _strictly(payload: bytes, encodings: list[str]) -> tuple[str, str] | None:
    """The page in the first of these encodings that reads all of it."""
    for codec in (codec for encoding in encodings for codec in _codecs(encoding)):
        with contextlib.suppress(UnicodeDecodeError):
            # Not final: a page cut at its size limit may end inside a character.
            return codecs.getincrementaldecoder(codec)("strict").decode(payload), codec
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
