"""What HTML calls things: tags and how a browser treats them, words that people name parts of pages by, and the styles
that say what is a line, what is hidden and what white space is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# ------------------------------------------------------------------ tags

VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
RAW = ("script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext")
"""Elements whose content is no markup when it is written out."""
UNSEEN = (
    "head", "template", "svg", "canvas", "audio", "video", "object", "select", "textarea", "button", "datalist", "rt",
    "rp", "rtc", "title", "applet", "annotation", "annotation-xml", "menuitem", "dialog", "math-annotation",
)  # fmt: skip
"""Elements whose text no reader of a page sees, or only as a control of it. Of a ruby the base text is seen. A dialog
that is ``open`` is seen.
"""
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
    "tt", "colgroup", "picture", "slot", "data", "output", "meter", "progress", "dfn", "map",
)  # fmt: skip
TAGS = tuple(dict.fromkeys((*VOID, *RAW, *UNSEEN, *BLOCKS, *OTHERS)))
TAG = {name: i + 1 for i, name in enumerate(TAGS)}
"""Number of a tag; 0 is any other."""

IS_VOID, IS_RAW, IS_UNSEEN, IS_BLOCK = 1, 2, 4, 8
KIND = np.zeros(len(TAGS) + 1, np.uint8)
for _names, _bit in ((VOID, IS_VOID), (RAW, IS_RAW | IS_UNSEEN), (UNSEEN, IS_UNSEEN), (BLOCKS, IS_BLOCK)):
    for _name in _names:
        KIND[TAG[_name]] |= _bit
BLOCK_LEVEL = (KIND & IS_BLOCK) > 0

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


HASH_SEED, HASH_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
"""FNV-1a's, of words and of what blocks show."""


def hash_of(word: bytes) -> int:
    value = int(HASH_SEED)
    for byte in word:
        value = ((value ^ byte) * int(HASH_PRIME)) & 0xFFFFFFFFFFFFFFFF
    return value


def hash_table(words: dict[str, int]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes in order, and the value of each. Raises ValueError where two words have one hash."""
    found = sorted((hash_of(word.encode()), value) for word, value in words.items())
    if len({h for h, _ in found}) < len(found):
        raise ValueError("two words have the same hash")
    return np.array([h for h, _ in found], np.uint64), np.array([v for _, v in found], np.int64)


_bits: dict[str, int] = {}
for _i, _group in enumerate(GROUPS):
    for _word in WORDS[_group]:
        _bits[_word] = _bits.get(_word, 0) | 1 << _i
TAG_HASH, TAG_OF = hash_table(dict(TAG))
WORD_HASH, WORD_BITS = hash_table(_bits)

# ------------------------------------------------------------------ styles

UNSAID, NO_DISPLAY, AS_BLOCK, AS_TEXT, AS_TAGGED = range(5)
"""What a style says of ``display``; :data:`AS_TAGGED`: something that begins lines where the tag does."""
FOLDED, PRESERVED, LINES_KEPT = 1, 2, 3
"""What a style says of white space (0: nothing)."""
_DISPLAY = {
    "none": NO_DISPLAY, "inline": AS_TEXT, "contents": AS_TEXT,
    **dict.fromkeys(("block", "flex", "grid", "list-item", "table", "flow-root"), AS_BLOCK),
    **dict.fromkeys(
        ("inline-block", "inline-flex", "inline-grid", "inline-table", "table-cell", "table-row", "table-row-group",
         "table-header-group", "table-footer-group", "table-column", "table-column-group", "table-caption", "ruby",
         "inherit", "initial", "unset", "revert", "-webkit-box", "-webkit-inline-box"), AS_TAGGED),
}  # fmt: skip
_WHITE_SPACE = {
    "normal": FOLDED, "nowrap": FOLDED, "initial": FOLDED, "pre": PRESERVED, "pre-wrap": PRESERVED,
    "break-spaces": PRESERVED, "pre-line": LINES_KEPT,
}  # fmt: skip
WHITE = 8
STYLE_HASH, STYLES = hash_table(
    {f"display:{value}": what for value, what in _DISPLAY.items()}
    | {f"white-space:{value}": what * WHITE for value, what in _WHITE_SPACE.items()}
)
"""Declarations that matter here; any other value is none to a browser either."""
