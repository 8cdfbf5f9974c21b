"""One cleaning step over shards: what is kept goes on, every document gets a verdict, and nobody holds more than a
shard.

A step is a function from one shard's documents to a :class:`Decision`. :func:`run_step` applies it, in as many
processes as the recipe allows, and writes two files a shard:

    part-00007.parquet             the documents that stay, in doc_id order
    verdicts/part-00007.parquet    one row per document seen, in doc_id order

Both carry their own counts and content digest in their Parquet footer, so the totals of a step are read without reading
its rows. The verdicts are written first: a finished part always has them, and a killed step goes on with the shards
that have no part.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neo_assets.core import records
from neo_assets.core.fingerprint import MultisetDigest
from neo_assets.core.here import in_pieces
from neo_assets.core.records import DOCUMENT, DROPPED, EDITED, KEPT, VERDICT
from neo_assets.core.same_file import take_over
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Check, Outcome, Row, Scalar, Workspace

_FOOTER = b"neofoundry"
VERDICTS = "verdicts"


@dataclass
class Decision:
    """What a step decided about the rows of one shard, column by column.

    ``rule``: "" where a document is kept as it is; with ``dropped`` the rule that dropped it, without it the edit that
    was made. ``value`` and ``threshold`` may hold nan: not measured. ``columns`` replaces whole columns (all rows),
    e.g. an edited ``text``.
    """

    dropped: npt.NDArray[np.bool_]
    rule: npt.NDArray[Any]
    value: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]
    twin: list[str] | None = None
    detail: list[str] | None = None
    columns: dict[str, pa.Array] = field(default_factory=dict)

    @staticmethod
    def keep(n: int) -> Decision:
        """Everything is kept, for now."""
        return Decision(np.zeros(n, np.bool_), np.full(n, "", dtype=object), np.full(n, np.nan), np.full(n, np.nan))


Decide = Callable[[pa.Table, Path], Decision]
"""A step's decision about one shard, given its documents and its path. Must be importable (a function, or a ``partial``
of one).
"""


def verdict_columns(
    stage: str, doc_ids: pa.ChunkedArray, sources: pa.ChunkedArray | str, decision: Decision
) -> pa.Table:
    """Verdicts of one shard's documents, in their order."""
    n = len(doc_ids)
    verdict = np.where(decision.dropped, DROPPED, np.where(decision.rule == "", KEPT, EDITED))
    empty = pa.array(np.full(n, "", dtype=object), pa.string())

    def numbers(column: npt.NDArray[np.float64]) -> pa.Array:
        return pa.array(column, pa.float64(), mask=np.isnan(column))

    columns = {
        "doc_id": doc_ids,
        "stage": pa.array([stage] * n, pa.string()),
        "verdict": pa.array(verdict, pa.string()),
        "rule": pa.array(decision.rule, pa.string()),
        "value": numbers(decision.value),
        "threshold": numbers(decision.threshold),
        "twin": empty if decision.twin is None else pa.array(decision.twin, pa.string()),
        "source": pa.array([sources] * n, pa.string()) if isinstance(sources, str) else sources,
        "detail": empty if decision.detail is None else pa.array(decision.detail, pa.string()),
    }
    return pa.table(columns, schema=VERDICT)


# ------------------------------------------------------------------ footers


def write_with_footer(table: pa.Table, path: Path, footer: dict[str, object]) -> None:
    records.write_table(table.replace_schema_metadata({_FOOTER: json.dumps(footer)}), path)


def footer_of(path: Path) -> dict[str, Any]:
    """A file's footer; nothing of a file without one."""
    return json.loads((pq.read_schema(in_pieces(path)).metadata or {}).get(_FOOTER, b"{}"))  # type: ignore[no-any-return]


def read_footer(path: Path) -> dict[str, Any]:
    return json.loads((pq.read_schema(in_pieces(path)).metadata or {})[_FOOTER])  # type: ignore[no-any-return]


def content_footer(table: pa.Table) -> dict[str, object]:
    """Rows, bytes of text, and the part of a content digest that these rows contribute."""
    digest = digest_of(table)
    size = pc.sum(pc.binary_length(table.column("text"))).as_py() or 0 if "text" in table.column_names else 0
    return {"rows": table.num_rows, "text_bytes": size, "sum": str(digest.total)}


def digest_of(table: pa.Table) -> MultisetDigest:
    """The part of a content digest that these rows contribute."""
    digest = MultisetDigest()
    digest.add_many(*records.row_bytes(table))
    return digest


def write_part(table: pa.Table, path: Path, footer: Mapping[str, object] | None = None) -> None:
    """Write documents with their share of the content digest in the footer, and the length of each text as a column.
    ``footer``: what the stage adds to it.
    """
    told = content_footer(table)
    if "text" in table.column_names:
        told["amounts"] = [[*place, *amount] for place, amount in sorted(amounts_of(table).items())]
        lengths = pc.cast(pc.binary_length(table.column("text")), pa.int64())
        table = table.append_column(records.TEXT_BYTES, lengths)
    write_with_footer(table, path, told | dict(footer or {}))


Place = tuple[str, str]
"""(language, source)"""


class Amount(NamedTuple):
    """How much text there is."""

    documents: int
    characters: int
    bytes: int


def amounts_of(table: pa.Table) -> dict[Place, Amount]:
    """How much text these documents hold, by language and source."""
    sizes = pa.table(
        {
            "lang": table["lang"],
            "source": table["source"],
            "characters": pc.utf8_length(table["text"]),
            "bytes": pc.binary_length(table["text"]),
        }
    )
    added = sizes.group_by(["lang", "source"]).aggregate([([], "count_all"), ("characters", "sum"), ("bytes", "sum")])
    return {
        (row["lang"], row["source"]): Amount(row["count_all"], row["characters_sum"] or 0, row["bytes_sum"] or 0)
        for row in added.to_pylist()
    }


def amounts(parts: Iterable[Path]) -> dict[Place, Amount]:
    """How much text these files hold, by language and source, from their footers; of a file whose footer does not say,
    measured.
    """
    out: dict[Place, Amount] = {}
    for path in parts:
        told = footer_of(path).get("amounts")
        found = (
            {(lang, source): Amount(*amount) for lang, source, *amount in told}
            if told is not None
            else amounts_of(records.read_table(path, DOCUMENT, ["lang", "source", "text"]))
        )
        for place, amount in found.items():
            out[place] = Amount(*map(sum, zip(out.get(place, (0, 0, 0)), amount, strict=True)))
    return out


def write_verdicts(table: pa.Table, path: Path) -> None:
    """Write verdicts with their counts by verdict, rule and source in the footer."""
    counts = table.group_by(["source", "verdict", "rule"]).aggregate([([], "count_all")])
    rows = [[row["source"], row["verdict"], row["rule"], row["count_all"]] for row in counts.to_pylist()]
    write_with_footer(table, path, {"counts": sorted(rows, key=str)})


def first_with(verdicts: Iterable[Path], rule: str) -> str:
    """Detail of the first verdict of a rule; "" where there is none."""
    for path in verdicts:
        if any(found == rule for _, _, found, _ in read_footer(path)["counts"]):
            table = records.read_table(path, columns=["rule", "detail"])
            return str(table.filter(pc.equal(table["rule"], rule))["detail"][0].as_py())
    return ""


@dataclass
class Totals:
    """What the footers of a step's files add up to."""

    digest: str
    rows: int
    text_bytes: int
    by_rule: Counter[tuple[str, str, str]]  # (source, verdict, rule) -> documents

    def count(self, verdict: str) -> int:
        return sum(n for (_, v, _), n in self.by_rule.items() if v == verdict)

    def of_rule(self, rule: str) -> int:
        return sum(n for (_, _, r), n in self.by_rule.items() if r == rule)

    @property
    def seen(self) -> int:
        return sum(self.by_rule.values())


def totals(parts: Sequence[Path], verdicts: Sequence[Path]) -> Totals:
    """Totals of files written by :func:`write_part` and :func:`write_verdicts`."""
    digest, rows, text_bytes = MultisetDigest(), 0, 0
    for path in parts:
        footer = read_footer(path)
        digest.add_sum(footer["rows"], int(footer["sum"]))
        rows += footer["rows"]
        text_bytes += footer["text_bytes"]
    by_rule: Counter[tuple[str, str, str]] = Counter()
    for path in verdicts:
        for source, verdict, rule, n in read_footer(path)["counts"]:
            by_rule[source, verdict, rule] += n
    return Totals(digest.hexdigest(), rows, text_bytes, by_rule)


# ------------------------------------------------------------------ running


def run_step(stage: str, shards: Sequence[Path], decide: Decide, out: Workspace, *, expected: int) -> Outcome:
    """Apply ``decide`` to every shard and report: rows, digest, counts by rule, and the two checks every cleaning step
    has.

    ``expected`` is how many documents the step before says it left.
    """
    run_shards(
        partial(_apply, stage, decide, out.path),
        shards,
        out,
        writes=lambda shard: out.path / shard.name,
        input_bytes=total_bytes(shards),
    )
    return report(out, expected=expected)


def _apply(stage: str, decide: Decide, folder: Path, shard: Path) -> None:
    """A shard that the step leaves as it is, is not written again."""
    documents = records.read_table(shard, DOCUMENT)
    decision = decide(documents, shard)
    write_verdicts(
        verdict_columns(stage, documents.column("doc_id"), documents.column("source"), decision),
        folder / VERDICTS / shard.name,
    )
    changed = {name: c for name, c in decision.columns.items() if documents.column(name).combine_chunks() != c}
    if not changed and not decision.dropped.any() and "amounts" in footer_of(shard):
        take_over(shard, folder / shard.name)
        return
    for name, column in changed.items():
        documents = documents.set_column(documents.schema.get_field_index(name), name, column)
    write_part(documents.filter(pa.array(~decision.dropped)), folder / shard.name)


def _why_so_few(found: Totals) -> str:
    if found.rows or not found.seen:
        return ""
    rules: Counter[str] = Counter()
    for (_, verdict, rule), n in found.by_rule.items():
        rules[rule] += n * (verdict == DROPPED)
    return " of " + f"{found.seen:,}; dropped by " + ", ".join(f"{rule} {n:,}" for rule, n in rules.most_common(3))


def report(out: Workspace, *, expected: int, numbers: dict[str, Scalar] | None = None) -> Outcome:
    """Outcome of a step whose parts and verdicts are all written."""
    parts, verdicts = sorted(out.path.glob(f"{records.PART}*.parquet")), sorted((out.path / VERDICTS).glob("*.parquet"))
    found = totals(parts, verdicts)
    dropped, edited = found.count(DROPPED), found.count(EDITED)
    by_source: Counter[str] = Counter()
    for (source, _, _), n in found.by_rule.items():
        by_source[source] += n
    table: list[Row] = [
        {
            "source": source,
            "verdict": verdict,
            "rule": rule,
            "documents": n,
            "share_of_source": round(n / by_source[source], 6),
        }
        for (source, verdict, rule), n in sorted(
            found.by_rule.items(), key=lambda item: (item[0][0], -item[1], item[0])
        )
    ]
    return Outcome(
        digest=found.digest,
        rows_in=expected,
        rows_kept=found.rows,
        rows_dropped=dropped,
        numbers={
            "kept_share": round(found.rows / max(1, found.seen), 4),
            "edited": edited,
            "text_bytes": found.text_bytes,
            **(numbers or {}),
        },
        tables={"funnel by source and rule": table},
        checks=[
            Check(
                name="rows_balance",
                passed=found.rows + dropped == found.seen == expected,
                detail=f"{expected} in = {found.rows} kept + {dropped} dropped; {found.seen} verdicts",
            ),
            Check(
                name="language_not_empty",
                passed=found.rows > 0,
                detail=f"{found.rows} documents left{_why_so_few(found)}"
                + ("" if found.rows else "; where there are none in this language, take it out of `languages`"),
            ),
        ],
    )
