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

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

# ------------------------------------------------------------------ tags

VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
RAW = ("script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext")
"""Elements whose content is no markup when it is written out."""
UNSEEN = (
    "head", "template", "svg", "canvas", "audio", "video", "object", "select", "textarea", "button", "datalist", "rt",
    "rp", "rtc", "title", "applet", "map", "annotation", "annotation-xml", "menuitem", "dialog", "math-annotation",
)  # fmt: skip
"""Elements whose text no reader of a page sees, or only as a control of it. Of a ruby the base text is seen."""
BLOCKS = (
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dir", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup",
    "html", "legend", "li", "main", "menu", "nav", "ol", "p", "pre", "search", "section", "summary", "table", "tbody",
    "tfoot", "thead", "tr", "ul", "hr", "listing", "optgroup", "option",
)  # fmt: skip
"""Elements that begin on a line of their own."""
OTHERS = (
    "a", "td", "th", "span", "b", "i", "em", "strong", "code", "font", "label", "small", "time", "cite", "q", "sub",
    "sup", "ruby", "rb", "abbr", "math", "kbd", "samp", "var", "u", "s", "del", "ins", "mark", "bdi", "bdo", "big",
    "tt", "colgroup", "picture", "slot", "data", "output", "meter", "progress", "dfn",
)  # fmt: skip
TAGS = tuple(dict.fromkeys((*VOID, *RAW, *UNSEEN, *BLOCKS, *OTHERS)))
TAG = {name: i + 1 for i, name in enumerate(TAGS)}
"""Number of a tag; 0 is any other."""

_IS_VOID, _IS_RAW, _IS_UNSEEN, _IS_BLOCK = 1, 2, 4, 8
_KIND = np.zeros(len(TAGS) + 1, np.uint8)
for _names, _bit in ((VOID, _IS_VOID), (RAW, _IS_RAW | _IS_UNSEEN), (UNSEEN, _IS_UNSEEN), (BLOCKS, _IS_BLOCK)):
    for _name in _names:
        _KIND[TAG[_name]] |= _bit
BLOCK_LEVEL = (_KIND & _IS_BLOCK) > 0

# ------------------------------------------------------------------ words of class, id and role

WORDS = {
    "content": (
        "article", "articles", "content", "contents", "body", "text", "post", "entry", "story", "main", "blog", "news",
        "detail", "details", "page", "hentry", "document", "doc", "docs", "markdown", "prose", "richtext", "artical",
        "articlebody", "maincontent", "articlecontent", "contentbody", "postbody", "bodytext", "paragraph", "abstract",
        "wiki", "readme", "rich", "topic", "column", "txt", "zhengwen", "neirong", "wenzhang", "editor", "mw",
    ),
    "navigation": (
        "nav", "navi", "navbar", "navigation", "menu", "menus", "breadcrumb", "breadcrumbs", "crumb", "crumbs", "pager",
        "pagination", "paging", "pagelink", "toc", "sitemap", "tabs", "tab", "skip", "toolbar", "dropdown", "topbar",
        "subnav", "prevnext", "prev", "previous", "next", "index", "daohang", "weizhi", "mbx", "location",
    ),
    "frame": (
        "footer", "foot", "header", "head", "banner", "masthead", "topnav", "bottom", "copyright", "legal",
        "disclaimer", "bottomnav", "colophon", "branding", "logo", "top", "side", "sidebar", "aside", "rail", "widget",
        "widgets", "right", "left", "sidenav",
    ),
    "social": (
        "share", "sharing", "social", "shares", "addthis", "sharethis", "facebook", "twitter", "weibo", "weixin",
        "wechat", "qq", "follow", "like", "likes", "bdsharebuttonbox", "bdshare", "qrcode", "fenxiang", "whatsapp",
        "pinterest", "linkedin", "print", "email", "rss",
    ),
    "others": (
        "related", "recommend", "recommended", "recommendation", "recommendations", "relate", "similar", "more",
        "popular", "hot", "rank", "ranking", "latest", "recent", "trending", "teaser", "teasers", "promo", "promotion",
        "promoted", "outbrain", "taboola", "readmore", "also", "list", "feed", "card", "cards", "carousel", "slider",
        "gallery", "tuijian", "xiangguan", "links", "linklist",
    ),
    "comment": (
        "comment", "comments", "reply", "replies", "respond", "response", "disqus", "discussion", "pinglun",
        "guestbook", "feedback", "review", "reviews", "cmt", "commentlist", "thread",
    ),
    "advert": (
        "ad", "ads", "adv", "advert", "advertisement", "advertising", "adsense", "sponsor", "sponsored", "guanggao",
        "gg", "dfp", "adbox", "adslot", "advertorial", "affiliate", "commercial",
    ),
    "form": (
        "form", "search", "login", "signin", "signup", "register", "subscribe", "subscription", "newsletter", "modal",
        "popup", "overlay", "cookie", "cookies", "consent", "gdpr", "paywall", "captcha", "dialog", "lightbox", "alert",
        "notice", "message", "donate", "vote", "poll", "download", "app",
    ),
    "meta": (
        "meta", "byline", "author", "authors", "date", "time", "timestamp", "published", "pubdate", "source", "tag",
        "tags", "category", "categories", "keyword", "keywords", "info", "bio", "credit", "credits", "views", "count",
        "tools", "tool", "bar", "label", "editor", "zeren", "laiyuan", "statement", "shengming", "dateline", "profile",
    ),
    "picture": ("caption", "figure", "figcaption", "image", "images", "img", "photo", "photos", "pic", "pics", "media",
                "video", "audio", "thumb", "thumbnail", "player", "zoom"),
    "title": ("title", "headline", "heading", "subtitle", "biaoti", "caption", "hd"),
    "summary": ("summary", "lead", "intro", "standfirst", "excerpt", "description", "desc", "dek", "zhaiyao", "daoyu"),
}  # fmt: skip
"""Words that people name parts of pages by, in groups; a word may stand in two."""
GROUPS = tuple(WORDS)


def _hash(word: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in word:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _table(words: dict[str, int]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes in order, and the value of each. Raises ValueError where two words have one hash."""
    found = sorted((_hash(word.encode()), value) for word, value in words.items())
    if len({h for h, _ in found}) < len(found):
        raise ValueError("two words have the same hash")
    return np.array([h for h, _ in found], np.uint64), np.array([v for _, v in found], np.int64)


_bits: dict[str, int] = {}
for _i, _group in enumerate(GROUPS):
    for _word in WORDS[_group]:
        _bits[_word] = _bits.get(_word, 0) | 1 << _i
_TAG_HASH, _TAG_OF = _table(dict(TAG))
_WORD_HASH, _WORD_BITS = _table(_bits)
_BR, _HR, _A, _TD, _TH, _PRE, _LI = (TAG[n] for n in ("br", "hr", "a", "td", "th", "pre", "li"))

TEXT, BREAK, CELL, BOUNDARY = 0, 1, 2, 3
"""What a run is: a range of text, a line break, the beginning of a table's cell, the beginning or end of a block."""
IN_LINK, IN_PRE = 1, 2


@dataclass(frozen=True)
class FlatPage:
    """Elements and runs of a page; what no reader sees (scripts, what is hidden) is not among the runs.

    ``title``: what the page is called, without line breaks. Elements: ``tag``, ``parent`` (-1: none), ``words`` (bits
    of :data:`GROUPS`, of class, id and role), ``first`` and ``end`` (the runs of it and of what it holds). Runs:
    ``kind``, ``start`` and ``stop`` in ``source``, ``owner`` (element), ``marks`` (:data:`IN_LINK`, :data:`IN_PRE`).
    """

    title: str
    source: Bytes
    tag: Integers
    parent: Integers
    words: Integers
    first: Integers
    end: Integers
    kind: Integers
    start: Integers
    stop: Integers
    owner: Integers
    marks: Integers


def flat_page(html: str) -> FlatPage:
    """Parse a page. Any text is a page, as it is to a browser."""
    tree = LexborHTMLParser(html)
    written = tree.html or ""
    title = tree.head.css_first("title") if tree.head else None
    source = np.frombuffer(written.encode("utf-8", "replace"), np.uint8)
    elements, runs = _read(source, _TAG_HASH, _TAG_OF, _WORD_HASH, _WORD_BITS, _KIND)
    return FlatPage(" ".join(title.text().split()) if title else "", source, *elements, *runs)


# ------------------------------------------------------------------ reading


@kernel
def _look_up(hashes, values, wanted):  # type: ignore[no-untyped-def]
    low, high = 0, hashes.size
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return values[low] if low < hashes.size and hashes[low] == wanted else 0


@kernel
def _word_bits(source, begin, stop, hashes, bits):  # type: ignore[no-untyped-def]
    """Groups of the words of an attribute's value; words end at whatever is no letter, and before a capital."""
    found = 0
    value = np.uint64(0xCBF29CE484222325)
    inside, small = False, False
    for i in range(begin, stop + 1):
        c = source[i] if i < stop else np.uint8(32)
        capital = 65 <= c <= 90
        letter = capital or 97 <= c <= 122
        if inside and (not letter or (capital and small)):
            found |= _look_up(hashes, bits, value)
            value = np.uint64(0xCBF29CE484222325)
            inside = False
        if letter:
            value = (value ^ np.uint64(c | 32)) * np.uint64(0x100000001B3)
            inside, small = True, not capital
    return found


@kernel
def _is(source, begin, stop, text):  # type: ignore[no-untyped-def]
    if stop - begin != len(text):
        return False
    for i in range(len(text)):  # noqa: SIM110
        if source[begin + i] != text[i]:
            return False
    return True


@kernel
def _hides(source, begin, stop):  # type: ignore[no-untyped-def]
    """Whether a style says ``display: none``."""
    wanted = b"display:none"
    matched = 0
    for i in range(begin, stop):
        c = source[i]
        if c == 32 or c == 9 or c == 10:
            continue
        if 65 <= c <= 90:
            c |= 32
        if c == wanted[matched]:
            matched += 1
            if matched == 12:
                return True
        else:
            matched = 1 if c == wanted[0] else 0
    return False


@kernel
def _read(source, tag_hash, tag_of, word_hash, word_bits, kind_of):  # type: ignore[no-untyped-def]
    size = source.size
    most = 1
    for i in range(size):
        most += source[i] == 60
    tag, parent = np.zeros(most, np.int64), np.full(most, -1, np.int64)
    words, first, end = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    room = 3 * most + 2
    kind, start, stop = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64)
    owner, marks = np.zeros(room, np.int64), np.zeros(room, np.int64)
    stack = np.zeros(most + 1, np.int64)
    depth = elements = runs = unseen = links = pres = 0
    at = 0
    while at < size:
        here = stack[depth - 1] if depth else -1
        if source[at] != 60:  # text
            begin = at
            while at < size and source[at] != 60:
                at += 1
            if not unseen:
                kind[runs], start[runs], stop[runs], owner[runs] = 0, begin, at, here
                marks[runs] = (1 if links else 0) | (2 if pres else 0)
                runs += 1
            continue
        if at + 3 < size and source[at + 1] == 33:  # <!
            if source[at + 2] == 45 and source[at + 3] == 45:
                at += 4
                while at + 2 < size and not (source[at] == 45 and source[at + 1] == 45 and source[at + 2] == 62):
                    at += 1
                at += 3
            else:
                while at < size and source[at] != 62:
                    at += 1
                at += 1
            continue
        if at + 1 < size and source[at + 1] == 47:  # </
            while at < size and source[at] != 62:
                at += 1
            at += 1
            if depth:
                depth -= 1
                e = stack[depth]
                what = kind_of[tag[e]]
                if what & 4 or words[e] < 0:
                    unseen -= 1
                if words[e] < 0:
                    words[e] = ~words[e]
                links -= tag[e] == _A
                pres -= tag[e] == _PRE
                if what & 8 and not unseen:
                    kind[runs], owner[runs], start[runs], stop[runs] = 3, e, at, at
                    runs += 1
                end[e] = runs
            continue
        # a start tag
        at += 1
        value = np.uint64(0xCBF29CE484222325)
        while at < size and source[at] != 32 and source[at] != 62:
            c = source[at]
            if 65 <= c <= 90:
                c |= 32
            value = (value ^ np.uint64(c)) * np.uint64(0x100000001B3)
            at += 1
        number = _look_up(tag_hash, tag_of, value)
        what = kind_of[number]
        said, hidden = 0, False
        while at < size and source[at] != 62:
            while at < size and source[at] == 32:
                at += 1
            name = at
            while at < size and source[at] != 32 and source[at] != 62:
                if source[at] == 61 and at > name and at + 1 < size and source[at + 1] == 34:
                    break  # a name may hold, or begin with, an equals sign
                at += 1
            named = at
            begin = finish = at
            if at + 1 < size and source[at] == 61 and source[at + 1] == 34:
                begin = at + 2
                at = begin
                while at < size and source[at] != 34:
                    at += 1
                finish = at
                at += 1
            length = named - name
            if (
                (length == 5 and _is(source, name, named, b"class"))
                or (length == 2 and _is(source, name, named, b"id"))
                or (length == 4 and _is(source, name, named, b"role"))
            ):
                said |= _word_bits(source, begin, finish, word_hash, word_bits)
            elif length == 6 and _is(source, name, named, b"hidden"):
                hidden = not _is(source, begin, finish, b"until-found")
            elif length == 5 and _is(source, name, named, b"style"):
                hidden = hidden or _hides(source, begin, finish)
        at += 1
        if what & 1:  # void
            if not unseen and number in (_BR, _HR):
                kind[runs], owner[runs], start[runs], stop[runs] = 1 if number == _BR else 3, here, at, at
                marks[runs] = 1 if links else 0
                runs += 1
            continue
        e = elements
        elements += 1
        tag[e], parent[e], words[e] = number, here, said
        if what & 4 or hidden:
            unseen += 1
            if hidden and not what & 4:
                words[e] = ~said  # until it is closed
        links += number == _A
        pres += number == _PRE
        first[e] = runs
        if not unseen and (what & 8 or number in (_TD, _TH)):
            kind[runs], owner[runs], start[runs], stop[runs] = 3 if what & 8 else 2, e, at, at
            runs += 1
        stack[depth] = e
        depth += 1
        if what & 2:  # raw: its end tag is the next of its name
            while at < size:
                if source[at] == 60 and at + 1 < size and source[at + 1] == 47:
                    i = at + 2
                    value = np.uint64(0xCBF29CE484222325)
                    while i < size and source[i] != 62 and source[i] != 32:
                        value = (value ^ np.uint64(source[i] | 32)) * np.uint64(0x100000001B3)
                        i += 1
                    if _look_up(tag_hash, tag_of, value) == number:
                        break
                at += 1
    while depth:
        depth -= 1
        e = stack[depth]
        end[e] = runs
        if words[e] < 0:
            words[e] = ~words[e]
    return (
        (tag[:elements], parent[:elements], words[:elements], first[:elements], end[:elements]),
        (kind[:runs], start[:runs], stop[:runs], owner[:runs], marks[:runs]),
    )
