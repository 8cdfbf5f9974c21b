"""What the EU's public summary of training content asks for beside what the other cards tell: whose sources these are,
how much was trained on, what it began with; and what only a provider can state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from neo_assets.core.recipe.release import NOT_STATED, Access, SourceStated, Stated
from neo_assets.pages.sourced import Sourced, name
from neo_assets.release import layout

if TYPE_CHECKING:
    from neo_assets.release.cards import Release

_BANDS = ((1e9, "less than 1 billion tokens"), (1e13, "1 billion to 10 trillion tokens"))


def eu_values(
    release: Release,
    sources: Sequence[Mapping[str, Any]],
    parts: Sequence[Mapping[str, Any]],
    streams: Sequence[Mapping[str, Any]],
) -> dict[str, object]:
    """Values of the summary's template. ``sources``, ``parts``, ``streams``: rows as the other cards have them."""
    told = release.recipe["release"]
    stated = Stated.model_validate(told.get("stated") or {})
    by_source = {n: SourceStated.model_validate(s) for n, s in (told.get("sources") or {}).items()}
    rows = [_source(row, by_source.get(str(row["source"].value), SourceStated.model_validate({}))) for row in sources]
    lists = release.recipe["clean"]
    words = any((lists.get(lang) or {}).get("bad_words") for lang in release.recipe["languages"])
    trained = sum(part["tokens"].value for part in parts)
    return {
        "stated": {key: Sourced(value, layout.RECIPE) for key, value in stated.model_dump().items()},
        "by_access": {access: [row for row in rows if row["access"] == access] for access in get_args(Access)},
        "crawled": any(row["kind"].value == "crawl" for row in sources),
        "band": name(next((band for most, band in _BANDS if trained < most), "more than 10 trillion tokens")),
        "shares": _shares(streams),
        "began": _began(release),
        "has_lists": bool(words or any((lists.get("blocked_urls") or {}).values())),
        "newest_of": max(sources, key=lambda row: str(row["acquired"].value))["acquired"] if sources else None,
    }


def _source(row: Mapping[str, Any], told: SourceStated) -> dict[str, Any]:
    crawled = row["kind"].value == "crawl"
    typed = {key: Sourced(getattr(told, key), layout.RECIPE) for key in ("title", "publisher", "url", "content")}
    return {**row, **typed, "access": "crawled" if crawled and told.access == NOT_STATED else told.access}


def _shares(streams: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """Streams that are read now, with the share of each language of their tokens."""
    rows: list[dict[str, object]] = []
    for row in streams:
        if "-" not in str(row["phase"].value):  # as an earlier part of the training read it
            total = row["tokens"].value
            shares = [
                (lang, Sourced(f"{100 * n.value / total:.1f} %", n.file)) for lang, n in row["languages"] if total
            ]
            rows.append({**row, "languages": shares})
    return rows


def _began(release: Release) -> Sourced | str:
    """What the oldest part of the training began with."""
    part = release.told["parts"][-1]
    file = f"{layout.CERTIFICATES}/{part['run']}/{part['last']}/certificate.json"
    origin = json.loads((release.folder / file).read_text(encoding="utf-8")).get("origin")
    if not origin:
        return "no other model: the training began with random weights"
    return Sourced(f"{origin['take']} of {origin['checkpoint']}", file)
