"""Document <-> step: what a step saw, and which steps saw a document. Computed from the data order; nothing was logged.

A document that was withdrawn from the stream is read by no step: of it there are no tokens.

Works on whole arrays: at 100 million tokens both directions take a few milliseconds a thousand steps
(benchmarks/ledger.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.data.masked_stream import MaskedStream
from training.data.order import DataOrder, Integers, TokenStream
from training.data.stream_files import open_order
from training.data.stream_index import numbers_of, rows_of
from training.spec import PretrainConfig

BEGINS = "begins"
"""Column of an index whose documents stand in pieces: which of a document's tokens a piece begins with."""
FILLING = ""
"""``doc_id`` of what fills a window up."""


@dataclass(frozen=True)
class RunLedger:
    """The data of one run, or of the part of a run that lies after its branch."""

    config: PretrainConfig
    shards: Path
    stream: TokenStream
    order: DataOrder

    @classmethod
    def of(cls, config: PretrainConfig, shards: Path) -> RunLedger:
        return cls(config, shards, *open_order(shards, config))

    @property
    def first_step(self) -> int:
        return self.config.first_step

    def withdrawn(self, documents: Integers) -> npt.NDArray[np.bool_]:
        """Which of the documents with these numbers were withdrawn from the stream."""
        if isinstance(self.stream, MaskedStream):
            return self.stream.is_masked(documents)
        return np.zeros(len(documents), np.bool_)

    def samples(self, first: int, last: int) -> Integers:
        """Samples that the updates to steps ``first`` to ``last`` (both included) read, in order."""
        batch = self.config.run.global_batch
        return self.order.samples_at(np.arange((first - 1 - self.first_step) * batch, (last - self.first_step) * batch))

    def saw(self, first: int, last: int) -> pa.Table:
        """Every document that the updates to steps ``first`` to ``last`` read: step, place in the batch, sequence, and
        which of the document's tokens.
        """
        samples = self.samples(first, last)
        sequences = self.order.sequences_of(samples)
        begin, end = sequences * self.stream.length, (sequences + 1) * self.stream.length
        offsets = self.stream.offsets
        documents_from = np.searchsorted(offsets, begin, side="right") - 1
        counts = np.searchsorted(offsets, end, side="left") - documents_from
        rows = np.repeat(np.arange(samples.size), counts)
        documents = np.repeat(documents_from - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        from_token = np.maximum(begin[rows], offsets[documents]) - offsets[documents]
        to_token = np.minimum(end[rows], offsets[documents + 1]) - offsets[documents]
        batch = self.config.run.global_batch
        columns = {
            "step": first + rows // batch,
            "place": rows % batch,
            "sample": samples[rows],
            "sequence": sequences[rows],
            "from_token": from_token,
            "to_token": to_token,
        }
        there = np.flatnonzero(~self.withdrawn(documents))
        return _described(self.shards, documents[there], {name: values[there] for name, values in columns.items()})

    def when(self, doc_ids: Sequence[str], steps: int | None = None) -> pa.Table:
        """Every step up to ``steps`` (the run's last) whose update read a token of these documents, and which
        tokens.
        """
        return self.reads(numbers_of(self.shards, doc_ids), self.config.last_step if steps is None else steps)

    def reads(self, numbers: Mapping[str, Sequence[int]], last: int) -> pa.Table:
        """The same up to step ``last``, of documents whose numbers in the stream are known (``numbers_of``)."""
        documents = np.array(sorted(itertools.chain(*numbers.values())), np.int64)
        end = int(self.samples(last, last)[-1]) + 1
        spans = [self.stream.sequences_with(d) for d in documents]
        owner = np.repeat(documents, [len(s) for s in spans])
        held = np.concatenate([np.arange(s.start, s.stop) for s in spans]) if spans else np.zeros(0, np.int64)
        which, samples = self.order.samples_of(held, end)
        places = self.order.places_of(samples)
        turn = np.argsort(places, kind="stable")
        turn = turn[places[turn] >= 0]
        document, sequence, places, samples = owner[which[turn]], held[which[turn]], places[turn], samples[turn]
        begins, ends, window = (
            self.stream.offsets[document],
            self.stream.offsets[document + 1],
            sequence * self.stream.length,
        )
        batch = self.config.run.global_batch
        columns = {
            "step": self.first_step + places // batch + 1,
            "place": places % batch,
            "sample": samples,
            "sequence": sequence,
            "from_token": np.maximum(window, begins) - begins,
            "to_token": np.minimum(window + self.stream.length, ends) - begins,
        }
        return _described(self.shards, document, columns)


def _described(shards: Path, documents: Integers, columns: dict[str, Integers]) -> pa.Table:
    """Rows with what the index says of their documents. What fills a window up is no document; of a document that
    stands in pieces, a piece's tokens are counted from where it begins.
    """
    index = rows_of(shards, documents)
    if BEGINS in index.column_names:
        begins = index.column(BEGINS).to_numpy()
        columns = columns | {name: columns[name] + begins for name in ("from_token", "to_token")}
    table = pa.table({name: pa.array(values, pa.int64()) for name, values in columns.items()})
    for name in ("doc_id", "source", "lang", "round"):
        table = table.append_column(name, index.column(name))
    return table.filter(pc.not_equal(table.column("doc_id"), FILLING))
