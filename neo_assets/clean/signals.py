"""``signals/‹source›``: every rule's value for every document, so that a threshold can be moved without reading text
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from neo_assets.clean.lists import BlockedUrls, ListInput, UrlListInput
from neo_assets.clean.measure import Column, Lists, lists, measure, signals_of
from neo_assets.clean.redpajama import NAMES as REDPAJAMA
from neo_assets.clean.redpajama import RedPajamaInput
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.steps import VERDICTS, Decision, totals, verdict_columns, write_part, write_verdicts
from neo_assets.core.store import Artifact, Check, Outcome, Workspace

_BATCH = 4096
"""Documents measured at once: their signals, not their texts, are what a batch adds to memory."""


class LanguageSignals(Section):
    """What the signals of one language depend on, besides the text."""

    stop_words: ListInput
    bad_words: ListInput
    segment_words: bool  # Chinese: whether mean_word_length is measured, which costs more than all other signals
    faithful_to_release: bool = False
    delete_urls: bool = False  # as released, signals are of the text without its addresses


class SignalsInput(Section):
    source: str
    languages: dict[str, LanguageSignals]
    blocked_urls: UrlListInput
    redpajama: RedPajamaInput = Field(default_factory=RedPajamaInput)


def names(lang: str) -> tuple[str, ...]:
    """Signals of a language, as ``signals`` stores them."""
    own = ["mean_word_length"] if lang == "zh" else REDPAJAMA if lang == "en" else []
    return ("lang_score", "blocked_url", *own, *signals_of(lang))


def schema(lang: str) -> pa.Schema:
    """Columns of a language's signal table: ``doc_id`` and one float64 per signal; null where it was not measured."""
    return pa.schema([("doc_id", pa.string()), *((name, pa.float64()) for name in names(lang))])


def measure_signals(config: SignalsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """What every cleaning rule measures, one column per rule, for every document of one source.

    Each value is computed once, from the text; which documents stay is decided later, from these numbers and the
    recipe's thresholds. Documents in a language that the recipe does not list end here, with a verdict.
    """
    (source,) = inputs.values()
    documents = source.files("part-")
    for settings in config.languages.values():
        settings.stop_words.read(), settings.bad_words.read()  # a list that is not here is told before any work
    last = list(config.languages)[-1]
    run_shards(
        partial(_measure_shard, config, out.path),
        documents,
        out,
        writes=lambda path: out.path / last / path.name,
        input_bytes=total_bytes(documents),
    )
    found = totals([], [out.path / VERDICTS / path.name for path in documents])
    by_language = {lang: totals([out.path / lang / path.name for path in documents], []) for lang in config.languages}
    parts = {lang: t.digest for lang, t in by_language.items() if t.rows}
    kept, dropped = found.count(records.KEPT), found.count(records.DROPPED)
    measured = sum(t.rows for t in by_language.values())
    expected = source.manifest.rows_kept or 0
    return Outcome(
        digest=digest_json(parts),
        parts=parts,
        rows_in=expected,
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={f"documents_{lang}": t.rows for lang, t in by_language.items()},
        checks=[
            Check(
                name="rows_balance",
                passed=measured == kept and kept + dropped == expected,
                detail=f"{expected} in = {measured} measured + {dropped} in languages that are not listed",
            )
        ],
    )


def _measure_shard(config: SignalsInput, folder: Path, path: Path) -> None:
    table = records.read_table(path, records.DOCUMENT, ["doc_id", "text", "url", "lang", "lang_score"])
    languages = np.asarray(table.column("lang").to_pylist(), dtype=object)
    decision = Decision.keep(table.num_rows)
    decision.dropped = ~np.isin(languages, list(config.languages)) if len(languages) else decision.dropped
    decision.rule[decision.dropped] = "language_not_listed"
    decision.detail = [str(lang) if gone else "" for lang, gone in zip(languages, decision.dropped, strict=True)]
    write_verdicts(
        verdict_columns(f"signals/{config.source}", table.column("doc_id"), config.source, decision),
        folder / VERDICTS / path.name,
    )
    blocked = config.blocked_urls.read()
    for lang, settings in config.languages.items():
        known = lists(settings.stop_words.read(), settings.bad_words.read())
        chosen = table.filter(pc.equal(table.column("lang"), lang))
        batches = [
            _measure(pa.Table.from_batches([b]), lang, settings, known, blocked, config.redpajama)
            for b in chosen.to_batches(max_chunksize=_BATCH)
        ]
        write_part(pa.concat_tables(batches) if batches else schema(lang).empty_table(), folder / lang / path.name)


def _measure(
    table: pa.Table, lang: str, settings: LanguageSignals, known: Lists, blocked: BlockedUrls, others: RedPajamaInput
) -> pa.Table:
    n = table.num_rows
    urls = table.column("url").to_pylist() if blocked.hosts or blocked.prefixes or others.paths else []
    columns: dict[str, Column] = {"lang_score": table.column("lang_score").to_numpy()}
    columns["blocked_url"] = (
        np.array([float(str(url) in blocked) for url in urls]) if blocked.hosts or blocked.prefixes else np.zeros(n)
    )
    columns |= measure(table.column("text"), lang, known)
    if lang == "en":
        columns |= others.read().of(urls) if others.paths else dict.fromkeys(REDPAJAMA, np.full(n, np.nan))
    if lang == "zh":
        if settings.segment_words:
            from neo_assets.clean.chinese_words import mean_word_lengths

            columns["mean_word_length"] = mean_word_lengths(table.column("text").to_pylist())
        else:
            columns["mean_word_length"] = np.full(n, np.nan)
    if settings.faithful_to_release:
        from neo_assets.clean import released

        texts = table.column("text").to_pylist()
        columns |= released.columns(
            texts, lang, settings.stop_words.read(), settings.delete_urls, settings.segment_words
        )
    arrays = [
        table.column("doc_id"),
        *(pa.array(columns[name], pa.float64(), mask=np.isnan(columns[name])) for name in names(lang)),
    ]
    return pa.table(dict(zip(("doc_id", *names(lang)), arrays, strict=True)), schema=schema(lang))
