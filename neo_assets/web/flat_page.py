"""A page as arrays: its elements in document order, its runs of text, and which attributes of theirs say something.

lexbor parses a page as browsers do and writes it out again well formed: every element closed, every attribute quoted,
``&``, ``<``, ``>`` and the no-break space the only references in text. Such bytes are read by one compiled loop, ten
times as fast as a tree is walked from Python, and no text is lost on the way: a run of text is a range of these bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import decode
from neo_assets.web.html_names import (
    AS_BLOCK,
    AS_TEXT,
    HASH_PRIME,
    HASH_SEED,
    IS_BLOCK,
    IS_RAW,
    IS_UNSEEN,
    IS_VOID,
    KIND,
    LINES_KEPT,
    NO_DISPLAY,
    PRESERVED,
    STYLE_HASH,
    STYLES,
    TAG,
    TAG_HASH,
    TAG_OF,
    UNSAID,
    WHITE,
    WORD_BITS,
    WORD_HASH,
    hash_of,
)

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

_BR, _HR, _A, _TD, _TH, _PRE, _LISTING, _DIALOG = (
    TAG[n] for n in ("br", "hr", "a", "td", "th", "pre", "listing", "dialog")
)

TEXT, BREAK, CELL, BOUNDARY = 0, 1, 2, 3
"""What a run is: a range of text, a line break, the beginning of a table's cell, the beginning or end of a block."""
IN_LINK, IN_PRE, IN_LINES = 1, 2, 4
"""Marks of a run of text: within a link; its white space is preserved; its line breaks are."""


@dataclass(frozen=True)
class FlatPage:
    """Elements and runs of a page; what no reader sees (scripts, what is hidden) is not among the runs.

    ``title``: what the page is called, without line breaks. Elements: ``tag``, ``parent`` (-1: none), ``words`` (bits
    of :data:`GROUPS`, of class, id and role), ``classes`` (hash of the letters of its class, 0: none), ``first`` and
    ``end`` (the runs of it and of what it holds). Runs: ``kind``, ``start`` and ``stop`` in ``source``, ``owner``
    (element), ``marks`` (:data:`IN_LINK`, :data:`IN_PRE`, :data:`IN_LINES`).
    """

    title: str
    source: Bytes
    tag: Integers
    parent: Integers
    words: Integers
    classes: NDArray[np.uint64]
    first: Integers
    end: Integers
    kind: Integers
    start: Integers
    stop: Integers
    owner: Integers
    marks: Integers


def flat_page(html: str) -> FlatPage:
    """Parse a page. Any text is a page, as it is to a browser."""
    tree = LexborHTMLParser(_as_with_scripts(html.encode("utf-8", "replace")))
    written = tree.html or ""
    source = np.frombuffer(written.encode("utf-8", "replace"), np.uint8)
    elements, runs = _read(source, TAG_HASH, TAG_OF, WORD_HASH, WORD_BITS, STYLE_HASH, STYLES, KIND)
    return FlatPage(_title(tree), source, *elements, *runs)


def _title(tree: LexborHTMLParser) -> str:
    """The first title that is no picture's; where a picture or a frame ended the head early it stands in the body."""
    for node in tree.css("title"):
        above = node.parent
        while above is not None and above.tag != "svg":
            above = above.parent
        if above is None:
            return " ".join(node.text().split())
    return ""


# ------------------------------------------------------------------ before parsing

_NOT_MARKUP = np.array(
    sorted(
        hash_of(n.encode()) for n in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
    ),
    np.uint64,
)
_NOSCRIPT = np.uint64(hash_of(b"noscript"))


def _as_with_scripts(html: bytes) -> bytes:
    """A page without what is shown where no script runs. lexbor parses it as if none did: blocks in it would end the
    paragraph around it, and stand outside of it.
    """
    if b"<noscript" not in html and b"<noscript" not in html.lower():
        return html
    source = np.frombuffer(html, np.uint8).copy()
    _blank_noscript(source, _NOT_MARKUP, _NOSCRIPT)
    return source.tobytes()


# ------------------------------------------------------------------ reading

_LESS, _MORE, _AND, _BLANK, _BANG, _SLASH, _EQUALS, _QUOTE, _DASH, _SEMICOLON = (ord(c) for c in '<>& !/="-;')
_SMALL_A, _SMALL_G, _SMALL_L, _SMALL_N, _NO_BREAK_SPACE = ord("a"), ord("g"), ord("l"), ord("n"), 0xA0


@kernel
def _letters(source, at):  # type: ignore[no-untyped-def]
    """(hash of the letters that begin here, where they end)."""
    value = HASH_SEED
    while at < source.size and (65 <= source[at] <= 90 or 97 <= source[at] <= 122):
        value = (value ^ np.uint64(source[at] | 32)) * HASH_PRIME
        at += 1
    return value, at


@kernel
def _end_tag(source, at, name):  # type: ignore[no-untyped-def]
    """Where the end tag of this name begins, and where it ends; the end of the page where there is none."""
    while at < source.size:
        while at < source.size and source[at] != 60:
            at += 1
        if at + 1 < source.size and source[at + 1] == 47:
            found, after = _letters(source, at + 2)
            if found == name:
                while after < source.size and source[after] != 62:
                    after += 1
                return at, min(after + 1, source.size)
        at += 1
    return source.size, source.size


@kernel
def _blank_noscript(source, not_markup, noscript):  # type: ignore[no-untyped-def]
    at = 0
    while at + 1 < source.size:
        if source[at] != 60:
            at += 1
            continue
        if source[at + 1] == 33 and at + 3 < source.size and source[at + 2] == 45 and source[at + 3] == 45:
            at += 4
            while at < source.size and not (source[at] == 62 and source[at - 1] == 45 and source[at - 2] == 45):
                at += 1
            continue
        name, after = _letters(source, at + 1)
        if name == noscript:
            _, end = _end_tag(source, after, name)
            source[at:end] = 32
            source[at], source[at + 1], source[at + 2 : at + 4] = 60, 33, 45  # a comment, which parts no words
            source[end - 3 : end - 1], source[end - 1] = 45, 62
            at = end
        elif after > at + 1 and name in not_markup:
            at = _end_tag(source, after, name)[1]
        else:
            at = max(after, at + 1)


@kernel
def character(source, i, limit):  # type: ignore[no-untyped-def]
    """(code point, index of the next one) of a page's text, the four references that lexbor writes resolved."""
    if source[i] == _AND and i + 3 < limit:
        end = i + 1
        while end < limit and end < i + 6 and source[end] != _SEMICOLON:
            end += 1
        if end < limit and source[end] == _SEMICOLON:
            letter = source[i + 1]
            if letter == _SMALL_A:
                return _AND, end + 1
            if letter == _SMALL_L:
                return _LESS, end + 1
            if letter == _SMALL_G:
                return _MORE, end + 1
            if letter == _SMALL_N:
                return _NO_BREAK_SPACE, end + 1
    return decode(source, i)


@kernel
def _look_up(hashes, values, wanted):  # type: ignore[no-untyped-def]
    at = np.searchsorted(hashes, wanted)
    return values[at] if at < hashes.size and hashes[at] == wanted else 0


@kernel
def _to(source, at, wanted):  # type: ignore[no-untyped-def]
    """The place of the next such byte, or the end."""
    while at < source.size and source[at] != wanted:
        at += 1
    return at


@kernel
def _word_bits(source, begin, stop, hashes, bits):  # type: ignore[no-untyped-def]
    """(groups of the words of an attribute's value, hash of its letters); a word ends at whatever is no letter, and
    before a capital.
    """
    found, whole = 0, np.uint64(0)
    value, inside, small = HASH_SEED, False, False
    for i in range(begin, stop + 1):
        c = source[i] if i < stop else np.uint8(_BLANK)
        capital = 65 <= c <= 90
        letter = capital or 97 <= c <= 122
        if inside and (not letter or (capital and small)):
            found |= _look_up(hashes, bits, value)
            value, inside = HASH_SEED, False
        if letter:
            value = (value ^ np.uint64(c | 32)) * HASH_PRIME
            whole = (whole ^ np.uint64(c)) * HASH_PRIME
            inside, small = True, not capital
    return found, whole


@kernel
def _is(source, begin, stop, text):  # type: ignore[no-untyped-def]
    if stop - begin != len(text):
        return False
    for i in range(len(text)):  # noqa: SIM110
        if source[begin + i] != text[i]:
            return False
    return True


@kernel
def _style(source, begin, stop, hashes, styles):  # type: ignore[no-untyped-def]
    """(what a style says of ``display``, of white space): of each the last declaration that a browser understands."""
    display = white = 0
    while begin < stop:
        value, said = HASH_SEED, True
        end = begin
        while end < stop and source[end] != _SEMICOLON:
            c = source[end]
            end += 1
            said = said and c != _BANG  # ``!important`` ends the value
            if said and c != _BLANK and c != 9 and c != 10:
                value = (value ^ np.uint64(c | 32 if 65 <= c <= 90 else c)) * HASH_PRIME
        found = _look_up(hashes, styles, value)
        if found >= WHITE:
            white = found // WHITE
        elif found:
            display = found
        begin = end + 1
    return display, white


@kernel
def _tag_number(source, at, hashes, numbers):  # type: ignore[no-untyped-def]
    """(number of the tag whose name begins here, where the name ends)."""
    value = HASH_SEED
    while at < source.size and source[at] != _BLANK and source[at] != _MORE:
        c = source[at]
        value = (value ^ np.uint64(c | 32 if 65 <= c <= 90 else c)) * HASH_PRIME
        at += 1
    return _look_up(hashes, numbers, value), at


@kernel
def _attributes(source, at, word_hash, word_bits, style_hash, styles):  # type: ignore[no-untyped-def]
    """(groups that class, id and role name, hash of the class's letters, what is said of display and of white space,
    whether it is open, where the tag ends) of attributes from here on.
    """
    said, classes, hidden, opened = 0, np.uint64(0), False, False
    display = white = 0
    while at < source.size and source[at] != _MORE:
        while at < source.size and source[at] == _BLANK:
            at += 1
        name = at
        while at < source.size and source[at] != _BLANK and source[at] != _MORE:
            if source[at] == _EQUALS and at > name and at + 1 < source.size and source[at + 1] == _QUOTE:
                break  # a name may hold, or begin with, an equals sign
            at += 1
        named = begin = finish = at
        if at + 1 < source.size and source[at] == _EQUALS and source[at + 1] == _QUOTE:
            begin = at + 2
            finish = _to(source, begin, _QUOTE)
            at = finish + 1
        is_class = _is(source, name, named, b"class")
        if is_class or _is(source, name, named, b"id") or _is(source, name, named, b"role"):
            found, letters = _word_bits(source, begin, finish, word_hash, word_bits)
            said |= found
            classes = letters if is_class else classes
        elif _is(source, name, named, b"hidden"):
            hidden = hidden or not _is(source, begin, finish, b"until-found")
        elif _is(source, name, named, b"open"):
            opened = True
        elif _is(source, name, named, b"style"):
            display, white = _style(source, begin, finish, style_hash, styles)
    if hidden and display == UNSAID:  # a style is stronger than the attribute
        display = NO_DISPLAY
    return said, classes, display, white, opened, at + 1


@kernel
def _past_markup(source, at):  # type: ignore[no-untyped-def]
    """The end of a comment or a document type."""
    if at + 3 < source.size and source[at + 2] == _DASH and source[at + 3] == _DASH:
        at = _to(source, at + 4, _MORE)
        while at < source.size and not (source[at - 1] == _DASH and source[at - 2] == _DASH):
            at = _to(source, at + 1, _MORE)
    return _to(source, at, _MORE) + 1


@kernel
def _past_raw(source, at, number, hashes, numbers):  # type: ignore[no-untyped-def]
    """The end tag of an element whose content is no markup."""
    while at < source.size:
        at = _to(source, at, _LESS)
        if (
            at + 1 < source.size
            and source[at + 1] == _SLASH
            and _tag_number(source, at + 2, hashes, numbers)[0] == number
        ):
            return at
        at += 1
    return at


@kernel
def _read(source, tag_hash, tag_of, word_hash, word_bits, style_hash, styles, kind_of):  # type: ignore[no-untyped-def]
    size = source.size
    most = 1
    for i in range(size):
        most += source[i] == _LESS
    tag, parent = np.zeros(most, np.int64), np.full(most, -1, np.int64)
    words, first, end = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    classes = np.zeros(most, np.uint64)
    hides, begins_lines = np.zeros(most, np.int64), np.zeros(most, np.uint8)
    keeps = np.zeros(most + 1, np.int64)  # white space of an element, the marks of its runs; the last: of none
    room = 3 * most + 2
    kind, start, stop = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64)
    owner, marks = np.zeros(room, np.int64), np.zeros(room, np.int64)
    stack = np.zeros(most + 1, np.int64)
    depth = elements = runs = unseen = links = at = 0
    while at < size:
        here = stack[depth - 1] if depth else -1
        run, of, begin = -1, here, at  # what begins here, and what it belongs to
        if source[at] != _LESS:
            at = _to(source, at, _LESS)
            run = TEXT
        elif at + 1 < size and source[at + 1] == _BANG:
            at = _past_markup(source, at)
        elif at + 1 < size and source[at + 1] == _SLASH:
            at = _to(source, at, _MORE) + 1
            if depth:
                depth -= 1
                unseen -= hides[here]
                links -= tag[here] == _A
                run = BOUNDARY if begins_lines[here] else -1
                end[here] = runs + (run >= 0 and not unseen)
            begin = at
        else:
            number, at = _tag_number(source, at + 1, tag_hash, tag_of)
            said, called, display, white, opened, at = _attributes(source, at, word_hash, word_bits, style_hash, styles)
            what = kind_of[number]
            if what & IS_VOID:
                run = BREAK if number == _BR else BOUNDARY if number == _HR else -1
            else:
                of = elements
                tag[of], parent[of], words[of], first[of] = number, here, said, runs
                classes[of] = called
                hides[of] = display == NO_DISPLAY or (what & IS_UNSEEN > 0 and not (number == _DIALOG and opened))
                unseen += hides[of]
                links += number == _A
                keeps[of] = IN_PRE if number in (_PRE, _LISTING) else keeps[here]
                if white:
                    keeps[of] = IN_PRE if white == PRESERVED else IN_LINES if white == LINES_KEPT else 0
                begins_lines[of] = display == AS_BLOCK or (display != AS_TEXT and what & IS_BLOCK > 0)
                run = BOUNDARY if begins_lines[of] else CELL if number in (_TD, _TH) else -1
                stack[depth] = of
                elements, depth = elements + 1, depth + 1
                if what & IS_RAW:
                    at = _past_raw(source, at, number, tag_hash, tag_of)
            begin = at
        if run >= 0 and not unseen:
            kind[runs], start[runs], stop[runs], owner[runs] = run, begin, at, of
            marks[runs] = (IN_LINK if links else 0) | keeps[of]
            runs += 1
    while depth:
        depth -= 1
        end[stack[depth]] = runs
    return (
        (tag[:elements], parent[:elements], words[:elements], classes[:elements], first[:elements], end[:elements]),
        (kind[:runs], start[:runs], stop[:runs], owner[:runs], marks[:runs]),
    )
