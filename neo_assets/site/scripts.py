"""The scripts that a page loads: documents in pieces, their list, and the index. Text in them is data: the page writes
it as text, never as markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from neo_assets.core.records import DROPPED
from neo_assets.core.words import number
from neo_assets.site.documents import HELD_OUT, POOL, Shown, changed
from neo_assets.site.search_index import shards

PIECE_BYTES = 300_000
"""Of documents in one script: a page that shows one loads so much."""
MARK = 12
"""Hexadecimal digits of its id that a document is called by on the site."""
_FATES = {POOL: 0, HELD_OUT: 1}


def scripts(shown: Sequence[Shown], labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, text) of every script of ``shown``; ``labels``: what is true of the documents that a step leaves."""
    stages = list(dict.fromkeys(str(row["stage"]) for one in shown for row in one.decided))
    place = {stage: n for n, stage in enumerate(stages)}
    marks = _marks(shown)
    where: list[tuple[int, int]] = []
    piece: list[str] = []
    size = pieces = 0
    for one in shown:
        text = _compact(_told(one, place, marks))
        if piece and size + len(text) > PIECE_BYTES:
            yield f"documents/{pieces:04}.js", f"neo.documents({pieces},[{','.join(piece)}])\n"
            pieces, piece, size = pieces + 1, [], 0
        where.append((pieces, len(piece)))
        piece.append(text)
        size += len(text)
    if piece:
        yield f"documents/{pieces:04}.js", f"neo.documents({pieces},[{','.join(piece)}])\n"
    listed = {
        "stages": [[stage, labels.get(stage, stage)] for stage in stages],
        "languages": sorted({one.lang for one in shown}),
        "rows": [
            [marks[one.doc_id], one.title or one.url, one.lang, _fate(one, place), *at]
            for one, at in zip(shown, where, strict=True)
        ],
    }
    yield "documents/list.js", f"neo.list({_compact(listed)})\n"
    texts = (f"{one.title}\n{one.text or ''}" for one in shown)
    for n, script in enumerate(shards(texts)):
        yield f"index/{n:02x}.js", script


def _marks(shown: Sequence[Shown]) -> dict[str, str]:
    """Beginnings of ids, long enough that each is another."""
    length = MARK
    while len({one.doc_id[:length] for one in shown}) < len(shown):
        length += 1
    return {one.doc_id: one.doc_id[:length] for one in shown}


def _fate(one: Shown, place: Mapping[str, int]) -> int:
    """0: to train on, 1: held out, and 2 on: dropped by that step; of one that no step dropped, 2 less."""
    if one.fate in _FATES:
        return _FATES[one.fate]
    dropped = next((row for row in one.decided if row["verdict"] == DROPPED), None)
    return 2 + place[str(dropped["stage"])] if dropped else 2 + len(place)


def _told(one: Shown, place: Mapping[str, int], marks: Mapping[str, str]) -> dict[str, object]:
    return {
        "id": one.doc_id,
        "url": one.url,
        "title": one.title,
        "source": one.source,
        "licence": one.licence,
        "text": one.text,
        "decided": [
            [
                place[str(row["stage"])],
                row["verdict"],
                row["rule"] or "",
                _figure(row["value"]),
                _figure(row["threshold"]),
                marks.get(str(row["twin"] or ""), ""),
                row["detail"] or "",
            ]
            for row in changed(one)
        ],
        "edits": [[place.get(step, step), changes] for step, changes in one.edits],
        "reads": one.reads,
    }


def _figure(value: object) -> str:
    return number(value) if isinstance(value, int | float) else ""


def _compact(value: object) -> str:
    return (
        json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
