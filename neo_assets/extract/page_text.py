"""HTML to text: the main content of a page, with its paragraphs, lists and code on lines of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.here import here
from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.recipe.data import Extract
from neo_assets.core.recipe.sources import WarcSource
from neo_assets.core.records import DROPPED, Verdict, read_table, verdict_table
from neo_assets.core.shards import run_shards
from neo_assets.core.stage import Claim
from neo_assets.core.steps import (
    VERDICTS,
    content_footer,
    first_with,
    read_footer,
    totals,
    write_verdicts,
    write_with_footer,
)
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Workspace
from neo_assets.crawl.stored_pages import StoredPart, stored_parts
from neo_assets.extract.extractors import extract
from neo_assets.extract.first_look import Sites, gather, look, looked_file, shares_of
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
    _run(partial(_extract_part, config.extract, sites, stage, out.path), parts, out, _text_file, out.path)
    texts = [_text_file(out.path, part) for part in parts]
    verdicts = [_verdict_file(out.path, part) for part in parts]
    found = totals(texts, verdicts)  # from footers: a crawl is larger than memory
    characters = sum(read_footer(path)["characters"] for path in texts)
    shares = _kept_shares(texts)
    kept, dropped = found.rows, found.count(DROPPED)
    seen = (crawl.manifest.rows_kept or 0) - int(str(crawl.manifest.numbers.get(KEPT_DOCUMENTS) or 0))
    unreadable, broken = found.of_rule(UNREADABLE), found.of_rule(NOT_WHOLE)
    share = unreadable / max(seen, 1)
    if share > config.extract.max_bad_share:
        raise BadInput(
            f"{stage}: {unreadable} of {seen} pages cannot be read ({share:.1%}, allowed"
            f" {config.extract.max_bad_share:.1%}); the first: {first_with(verdicts, UNREADABLE)}"
        )
    rules = sorted({rule for _, verdict, rule in found.by_rule if verdict == DROPPED})
    reasons: list[Row] = [{"rule": rule, "documents": found.of_rule(rule)} for rule in rules]
    numbers: dict[str, Scalar] = {"pages": kept, "characters": characters, "unreadable_share": round(share, 4)}
    if len(shares):
        numbers["kept_share_median"] = round(float(np.median(shares)), 4)
    return Outcome(
        digest=found.digest,
        rows_in=seen,
        rows_kept=kept,
        rows_dropped=dropped,
        numbers=numbers,
        tables={"dropped": reasons, KEPT_SHARES: _distribution(shares)},
        checks=[
            Check(
                name="rows_balance",
                passed=seen == kept + dropped == found.seen,
                detail=f"{seen} pages in = {kept} kept + {dropped} dropped",
            ),
            _as_before(out, texts, config.extract.max_kept_fall),
            Check(
                name=WHOLE_BLOCKS.name,
                passed=not broken,
                detail=f"{broken} pages, the first: {first_with(verdicts, NOT_WHOLE)}" if broken else "on every page",
                blocking=False,
            ),
        ],
    )


def _run(
    work: Callable[[StoredPart], None],
    parts: Sequence[StoredPart],
    out: Workspace,
    writes: Callable[[Path, StoredPart], Path],
    folder: Path,
) -> None:
    run_shards(work, parts, out, writes=partial(writes, folder), input_bytes=sum(part.size for part in parts))


def _look_first(config: Extract, logs: Sequence[Path], parts: Sequence[StoredPart], out: Workspace) -> Sites:
    """What the sites of a crawl do, where the extractor can hear it."""
    scratch = out.path / ".logs"
    shares = shares_of(logs, config.site) if config.extractor == "blocks" and config.site.weight else {}
    if shares:
        _run(partial(look, config, shares, scratch), parts, out, looked_file, scratch)
        gather(scratch, parts)
    return Sites(scratch, shares, config.site)


def _as_before(out: Workspace, texts: Sequence[Path], most: float) -> Check:
    """Whether as much of the same pages is kept as the newest version before kept: another snapshot, or other code.
    Pages are told by 64-bit hashes of their addresses; memory: some 50 bytes a page.
    """
    earlier = out.earlier()
    then_files = earlier.files("text/") if earlier is not None else []
    then_urls, then = _hashed_shares(then_files)
    now_urls, now = _hashed_shares(texts if len(then) else [])
    both, in_then, in_now = np.intersect1d(then_urls, now_urls, return_indices=True)
    if not len(both):
        return Check(name=KEPT_AS_BEFORE.name, passed=True, detail="no earlier version has these pages", blocking=False)
    falls = then[in_then] - now[in_now]
    fall, worst = float(np.mean(falls)), int(np.argmax(falls))
    detail = (
        f"of {len(both):,} pages that were there before the mean share that is kept went from"
        f" {np.mean(then[in_then]):.3f} to {np.mean(now[in_now]):.3f} (may fall by {most:g});"
        f" the most: {_url_of(texts, int(in_now[worst]))}, {then[in_then][worst]:.2f} to {now[in_now][worst]:.2f}"
    )
    return Check(name=KEPT_AS_BEFORE.name, passed=fall <= most, detail=detail, blocking=False)


def _hashed_shares(files: Sequence[Path]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]:
    """(hash of each page's URL, share of it that is kept), file by file; nothing of files that do not say."""
    urls, shares = [np.zeros(0, np.uint64)], [np.zeros(0)]
    for path in files:
        if {"url", "kept_share"} <= set(pq.read_schema(here(path)).names):
            table = read_table(path, columns=["url", "kept_share"])
            table = table.filter(pc.is_valid(table["kept_share"]))
            hashed = [xxhash.xxh3_64_intdigest(url.encode()) for url in table["url"].to_pylist()]
            urls.append(np.array(hashed, np.uint64))
            shares.append(table["kept_share"].to_numpy())
    return np.concatenate(urls), np.concatenate(shares)


def _url_of(files: Sequence[Path], number: int) -> str:
    """Address of the page of this number, counted over the files."""
    for path in files:
        rows = pq.read_metadata(here(path)).num_rows
        if number < rows:
            return str(read_table(path, columns=["url"])["url"][number].as_py())
        number -= rows
    raise IndexError(number)


def _kept_shares(files: Sequence[Path]) -> npt.NDArray[np.float64]:
    """Share that is kept of each page, in the order of the files."""
    columns = [read_table(path, columns=["kept_share"])["kept_share"].to_numpy() for path in files]
    return np.concatenate([np.zeros(0), *columns])


def _distribution(shares: npt.NDArray[np.float64]) -> list[Row]:
    """How many pages kept how much of what a reader sees of them."""
    counts = np.histogram(shares, 10, (0.0, 1.0))[0]
    return [{"from": i / 10, "to": (i + 1) / 10, "pages": int(n)} for i, n in enumerate(counts)]


def _text_file(folder: Path, part: StoredPart) -> Path:
    return folder / "text" / f"{part.name}.parquet"


def _verdict_file(folder: Path, part: StoredPart) -> Path:
    return folder / VERDICTS / f"{part.name}.parquet"


def _extract_part(config: Extract, sites: Sites, stage: str, folder: Path, part: StoredPart) -> None:
    """One part to one text file. Its verdicts are written first, so that a finished text file always has them."""
    kept: list[dict[str, object]] = []
    dropped: list[Verdict] = []
    for found in _pages(config, sites, stage, part, folder / ".logs"):
        if isinstance(found, Verdict):
            dropped.append(found)
        else:
            kept.append(found)
    told = [Verdict(str(row["doc_id"]), stage) for row in kept]
    write_verdicts(verdict_table([*told, *dropped]), _verdict_file(folder, part))
    table = pa.Table.from_pylist(sorted(kept, key=lambda row: str(row["doc_id"])), schema=PAGE_TEXT)
    characters = pc.sum(pc.utf8_length(table["text"])).as_py() or 0
    write_with_footer(table, _text_file(folder, part), content_footer(table) | {"characters": characters})


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
