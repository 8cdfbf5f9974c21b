"""HTML to text: the main content of a page, with its paragraphs, lists and code on lines of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.recipe.data import Extract
from neo_assets.core.recipe.sources import WarcSource
from neo_assets.core.records import (
    DROPPED,
    VERDICT,
    Verdict,
    files_digest,
    read_table,
    rows,
    verdict_table,
    write_table,
)
from neo_assets.core.shards import run_shards
from neo_assets.core.stage import Claim
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Workspace
from neo_assets.crawl.stored_pages import StoredPart, stored_parts
from neo_assets.extract.extractors import extract
from neo_assets.extract.first_look import Sites, gather, look, shares_of
from neo_assets.extract.html_pages import Unreadable, html_of, html_pages
from neo_assets.extract.main_content import MainText, Second
from neo_assets.web.fetch_log import KEPT_DOCUMENTS, stage_key, storable
from neo_assets.web.warc_files import Response

PAGE_TEXT = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),  # the address that was asked for
        ("title", pa.string()),
        ("text", pa.string()),
        ("fetched_at", pa.string()),
        ("kept_share", pa.float64()),  # of the characters that a reader of the page sees
    ]
)

WHOLE_BLOCKS = Claim(
    "whole_blocks",
    "Every character of a block that was chosen is in the text, counted page by page (a warning; the page is dropped).",
    blocking=False,
)
KEPT_AS_BEFORE = Claim(
    "kept_as_before",
    "Of the pages that an earlier version of this text has too, as much is kept as then (a warning; max_kept_fall).",
    blocking=False,
)
KEPT_SHARES = "share of the visible text that was kept"
"""Table of pages by how much of what a reader sees of them is in their main text."""
UNREADABLE = "unreadable"
NOT_WHOLE = "not_whole"
"""Rule of a page whose text has not the characters of its chosen blocks: a defect of ours, which costs the page."""


class PageTextInput(Section):
    """What this stage takes of a recipe: the section ``extract``, and where pages lie that the crawl left where they
    were.
    """

    extract: Extract
    in_place: WarcSource | None = Field(None, json_schema_extra=NOT_IDENTITY)


def extract_pages(config: PageTextInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The main text and title of every HTML page of a crawl, decoded by what the bytes are and not only by what they
    claim to be.

    Pages without a main text, too long or unreadable are dropped with a verdict.

    Raises:
        BadInput: more than ``max_bad_share`` of the pages cannot be read; names the first of them.
    """
    (crawl,) = inputs.values()
    stage = stage_key("page_text", inputs)
    parts = stored_parts(crawl, config.in_place)
    sites = _look_first(config.extract, crawl.files("log/"), parts, out)
    _run(partial(_extract_part, config.extract, sites, stage, out.path), parts, out)
    texts = [_text_file(out.path, part) for part in parts]
    kept: list[Verdict] = []
    characters, shares = 0, []
    for path in texts:  # one at a time: a crawl is larger than memory
        made = read_table(path, columns=["doc_id", "text", "kept_share"])
        kept += [Verdict(str(i), stage) for i in made["doc_id"].to_pylist()]
        characters += int(pc.sum(pc.utf8_length(made["text"])).as_py() or 0)
        shares += made["kept_share"].to_pylist()
    dropped = [Verdict(**row) for p in parts for row in rows(read_table(_dropped_file(out.path, p), VERDICT))]  # type: ignore[arg-type]
    out.write("verdicts.parquet", verdict_table([*kept, *dropped]))
    seen = (crawl.manifest.rows_kept or 0) - int(str(crawl.manifest.numbers.get(KEPT_DOCUMENTS) or 0))
    unreadable = [v for v in dropped if v.rule == UNREADABLE]
    share = len(unreadable) / max(seen, 1)
    if share > config.extract.max_bad_share:
        raise BadInput(
            f"{stage}: {len(unreadable)} of {seen} pages cannot be read ({share:.1%}, allowed"
            f" {config.extract.max_bad_share:.1%}); the first: {unreadable[0].detail}"
        )
    broken = [v for v in dropped if v.rule == NOT_WHOLE]
    reasons: list[Row] = [
        {"rule": rule, "documents": sum(v.rule == rule for v in dropped)} for rule in sorted({v.rule for v in dropped})
    ]
    numbers: dict[str, Scalar] = {"pages": len(kept), "characters": characters, "unreadable_share": round(share, 4)}
    if shares:
        numbers["kept_share_median"] = round(float(np.median(shares)), 4)
    balanced = seen == len(kept) + len(dropped)
    return Outcome(
        digest=files_digest(texts),
        rows_in=seen,
        rows_kept=len(kept),
        rows_dropped=len(dropped),
        numbers=numbers,
        tables={"dropped": reasons, KEPT_SHARES: _distribution(shares)},
        checks=[
            Check(
                name="rows_balance",
                passed=balanced,
                detail=f"{seen} pages in = {len(kept)} kept + {len(dropped)} dropped",
            ),
            _as_before(out, texts, config.extract.max_kept_fall),
            Check(
                name=WHOLE_BLOCKS.name,
                passed=not broken,
                detail=f"{len(broken)} pages, the first: {broken[0].detail}" if broken else "on every page",
                blocking=False,
            ),
        ],
    )


def _run(work: Callable[[StoredPart], None], parts: Sequence[StoredPart], out: Workspace) -> None:
    size = sum(part.size for part in parts)
    run_shards(work, parts, workers=out.workers, scratch=out.path / ".logs", input_bytes=size)


def _look_first(config: Extract, logs: Sequence[Path], parts: Sequence[StoredPart], out: Workspace) -> Sites:
    """What the sites of a crawl do, where the extractor can hear it."""
    scratch = out.path / ".logs"
    shares = shares_of(logs, config.site) if config.extractor == "blocks" and config.site.weight else {}
    if shares:
        _run(partial(look, config, shares, scratch), parts, out)
        gather(scratch, parts)
    return Sites(scratch, shares, config.site)


def _as_before(out: Workspace, texts: Sequence[Path], most: float) -> Check:
    """Whether as much of the same pages is kept as the newest version before kept: another snapshot, or other code."""
    earlier = out.earlier()
    then = _shares(earlier.files("text/")) if earlier is not None else {}
    now = _shares(texts) if then else {}
    both = sorted(set(then) & set(now))
    if not both:
        return Check(name=KEPT_AS_BEFORE.name, passed=True, detail="no earlier version has these pages", blocking=False)
    fall = float(np.mean([then[url] - now[url] for url in both]))
    worst = max(both, key=lambda url: (then[url] - now[url], url))
    detail = (
        f"of {len(both):,} pages that were there before the mean share that is kept went from"
        f" {np.mean([then[u] for u in both]):.3f} to {np.mean([now[u] for u in both]):.3f} (may fall by {most:g});"
        f" the most: {worst}, {then[worst]:.2f} to {now[worst]:.2f}"
    )
    return Check(name=KEPT_AS_BEFORE.name, passed=fall <= most, detail=detail, blocking=False)


def _shares(files: Sequence[Path]) -> dict[str, float]:
    """Share that is kept of each page, by its URL; nothing of files that do not say."""
    out: dict[str, float] = {}
    for path in files:
        if {"url", "kept_share"} <= set(pq.read_schema(path).names):
            table = read_table(path, columns=["url", "kept_share"])
            held = zip(table["url"].to_pylist(), table["kept_share"].to_pylist(), strict=True)
            out |= {url: share for url, share in held if share is not None}
    return out


def _distribution(shares: Sequence[float]) -> list[Row]:
    """How many pages kept how much of what a reader sees of them."""
    counts = np.histogram(shares, 10, (0.0, 1.0))[0]
    return [{"from": i / 10, "to": (i + 1) / 10, "pages": int(n)} for i, n in enumerate(counts)]


def _text_file(folder: Path, part: StoredPart) -> Path:
    return folder / "text" / f"{part.name}.parquet"


def _dropped_file(folder: Path, part: StoredPart) -> Path:
    return folder / "dropped" / f"{part.name}.parquet"


def _extract_part(config: Extract, sites: Sites, stage: str, folder: Path, part: StoredPart) -> None:
    """One part to one text file. Its verdicts are written first, so that a finished text file always has them."""
    if _text_file(folder, part).is_file():
        return
    kept: list[dict[str, object]] = []
    dropped: list[Verdict] = []
    for found in _pages(config, sites, stage, part, folder / ".logs"):
        if isinstance(found, Verdict):
            dropped.append(found)
        else:
            kept.append(found)
    write_table(verdict_table(dropped), _dropped_file(folder, part))
    kept.sort(key=lambda row: str(row["doc_id"]))
    write_table(pa.Table.from_pylist(kept, schema=PAGE_TEXT), _text_file(folder, part))


def _pages(
    config: Extract, sites: Sites, stage: str, part: StoredPart, scratch: Path
) -> Iterator[dict[str, object] | Verdict]:
    for doc_id, url, page in html_pages(part, scratch):
        if len(page.payload) > config.max_html_bytes:
            yield Verdict(
                doc_id, stage, DROPPED, "html_too_long", len(page.payload), config.max_html_bytes, detail=page.url
            )
            continue
        try:
            found = page_text(page, config, sites.of(url, doc_id))
        except Unreadable as error:
            yield Verdict(doc_id, stage, DROPPED, UNREADABLE, detail=f"{page.url}: {error}")
            continue
        if (written := found.written) != found.kept:
            yield Verdict(doc_id, stage, DROPPED, NOT_WHOLE, written, found.kept, detail=page.url)
            continue
        text = storable("\n".join(line.rstrip() for line in found.text.split("\n")).strip())
        if len(text) < config.min_chars:
            yield Verdict(doc_id, stage, DROPPED, "no_main_text", len(text), config.min_chars, detail=page.url)
            continue
        yield {
            "doc_id": doc_id,
            "url": page.url,
            "title": storable(found.title),
            "text": text,
            "fetched_at": page.fetched_at,
            "kept_share": round(found.kept / max(found.seen, 1), 4),
        }


def page_text(page: Response, config: Extract, second: Second | None = None) -> MainText:
    """Title and main text of an HTML page; ``second``: what its site says of its blocks.

    Raises :class:`Unreadable`.
    """
    try:
        return extract(config, html_of(page), second)
    except (RuntimeError, ValueError) as error:
        raise Unreadable(f"the HTML parser failed: {error}") from error
