"""Which document stands where in a stream: rows by their numbers, and numbers by a document's id, read from the files
that can hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.data.order import Integers
from training.data.tokens import MASKED, segments_of

ONE_FILE = "index.parquet"


def index_files(shards: Path) -> list[tuple[Path, int]]:
    """(file, documents) of a stream's index, in the order of the stream."""
    segments = segments_of(shards)
    if segments is None:
        return [(shards / ONE_FILE, pq.read_metadata(shards / ONE_FILE).num_rows)]
    return [(shards / segment.index_file, segment.documents) for segment in segments]


def rows_of(shards: Path, documents: Integers) -> pa.Table:
    """What the index says of the documents with these numbers, in their order."""
    files = index_files(shards)
    ends = np.cumsum([rows for _, rows in files], dtype=np.int64)
    which = np.searchsorted(ends, documents, side="right")
    tables, order = [], []
    for number in np.unique(which) if len(documents) else [0]:
        rows = np.flatnonzero(which == number)
        start = int(ends[number - 1]) if number else 0
        tables.append(pq.read_table(files[number][0]).take(pa.array(documents[rows] - start)))
        order.append(rows)
    return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(order), kind="stable")))


def masked_numbers(shards: Path) -> Integers:
    """Numbers of the documents that were withdrawn from a stream, ascending."""
    return np.load(shards / MASKED, allow_pickle=False) if (shards / MASKED).is_file() else np.zeros(0, np.int64)


def numbers_of(shards: Path, doc_ids: Sequence[str]) -> dict[str, list[int]]:
    """Numbers in the stream of those documents that it has tokens of, ascending: one a round of the mixture; none of
    those that were withdrawn from it. Files whose ids begin after them or end before them are not read.
    """
    masked = masked_numbers(shards)
    wanted = pa.array(doc_ids, pa.string())
    found: dict[str, list[int]] = {}
    start = 0
    for path, rows in index_files(shards):
        if _may_hold(path, doc_ids):
            ids = pq.read_table(path, columns=["doc_id"]).column("doc_id")
            held = np.flatnonzero(pc.is_in(ids, value_set=wanted).to_numpy())
            held = held[~np.isin(start + held, masked)]
            for number, doc_id in zip(held.tolist(), ids.take(pa.array(held)).to_pylist(), strict=True):
                found.setdefault(doc_id, []).append(start + number)
        start += rows
    return found


def _may_hold(path: Path, doc_ids: Sequence[str]) -> bool:
    metadata = pq.read_metadata(path)
    column = metadata.schema.to_arrow_schema().get_field_index("doc_id")
    for group in range(metadata.num_row_groups):
        told = metadata.row_group(group).column(column).statistics
        if told is None or not told.has_min_max or any(told.min <= doc_id <= told.max for doc_id in doc_ids):
            return True
    return False
