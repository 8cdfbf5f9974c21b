"""The fate ledger: DuckDB over the verdict files that a recipe's build uses. Nothing is copied, nobody writes, nothing is locked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from neo_assets.core.store import Row, Store

_ORDER = (
    "raw_crawl",
    "page_text",
    "documents",
    "signals",
    "clean_docs",
    "exact_dedup",
    "near_dedup",
    "line_dedup",
    "substring_dedup",
    "pii_masked",
    "decontaminated",
    "hq_recall",
    "matrix",
    "heldout",
    "train_pool",
    "mixture",
)


class Ledger:
    """Views over one recipe's build: ``verdicts`` (one row per document and stage) and ``fetched`` (one row per URL)."""

    def __init__(self, store: Store, recipe: str) -> None:
        self.connection = duckdb.connect()
        verdicts, fetched = [], []
        for name, (key, fingerprint) in store.heads(recipe).items():
            folder = store.folder(key, fingerprint)
            if "@" not in name:
                whole = folder / "verdicts.parquet"
                verdicts += [whole] if whole.is_file() else sorted((folder / "verdicts").glob("*.parquet"))
            if key.startswith("raw_crawl/"):
                fetched += sorted((folder / "log").glob("*.parquet"))
        self._view("verdicts_as_written", verdicts, "doc_id, stage, verdict, rule, value, threshold, twin, source, detail")
        self._view("fetched", fetched, "url, doc_id, outcome, reason, status")
        position = " ".join(f"when '{stage}' then {i}" for i, stage in enumerate(_ORDER))
        self.connection.execute(
            "create view verdicts as select * replace (if(source = '', split_part(stage, '/', 2), source) as source), "
            f"case split_part(stage, '/', 1) {position} else 99 end as place from verdicts_as_written"
        )

    def _view(self, name: str, files: Sequence[Path], columns: str) -> None:
        if files:
            paths = ", ".join("'" + str(p).replace("'", "''") + "'" for p in files)
            self.connection.execute(f"create view {name} as select {columns} from read_parquet([{paths}], union_by_name=true)")
        else:
            empty = ", ".join(f"null::varchar as {c.strip()}" for c in columns.split(","))
            self.connection.execute(f"create view {name} as select {empty} where false")

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Rows of a query as dictionaries."""
        result = self.connection.execute(query, list(parameters))
        names = [d[0] for d in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def fate(self, doc_or_url: str) -> list[Row]:
        """What every stage decided about one document, in stage order; by id or by URL."""
        named = "select distinct doc_id from fetched where url in (?, 'http://' || ?, 'https://' || ?) or (length(?) >= 8 and starts_with(doc_id, ?))"
        ids = [doc_or_url, *(str(r["doc_id"]) for r in self.rows(named, [doc_or_url] * 5))]
        return self.rows("select stage, verdict, rule, value, threshold, twin, detail, doc_id from verdicts where list_contains(?, doc_id) order by place, stage, doc_id", [ids])

    def similar_urls(self, text: str, limit: int) -> list[str]:
        """Crawled URLs that look most like ``text``."""
        bare = text.split("://", 1)[-1]
        found = self.rows("select url from fetched group by url order by levenshtein(regexp_replace(url, '^https?://', ''), ?), url limit ?", [bare, limit])
        return [str(r["url"]) for r in found]

    def url_of(self, doc_id: str) -> str | None:
        found = self.rows("select url from fetched where doc_id = ? order by url limit 1", [doc_id])
        return str(found[0]["url"]) if found else None

    def funnel(self) -> list[Row]:
        """Documents kept, edited and dropped by stage, source and rule, in stage order."""
        return self.rows("select stage, source, verdict, rule, count(*) as documents from verdicts group by all order by min(place), stage, source, verdict desc, documents desc")

    def drawn(self, rule: str, n: int, seed: int) -> list[Row]:
        """Documents that met a rule, drawn evenly by a keyed hash: the same seed draws the same."""
        chosen = "select doc_id, stage, verdict, value, threshold, twin, source, detail from verdicts where rule = ? order by hash(doc_id || ?), doc_id limit ?"
        return self.rows(chosen, [rule, str(seed), n])
