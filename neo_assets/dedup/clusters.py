"""Who stays of a cluster of duplicates, and what each loser's verdict says: the same for exact and near duplicates.

The survivor is chosen by a rule that names no file and no order: the document most surely in its language, of those the
longest, of those the one with the smallest id. "Most surely" is the language score to two digits: pages that are half
translated lose to whole ones, and the model's noise decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.steps import Decision

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """What the choice looks at, for all documents: ids as they sort (uint64 pairs), language score in hundredths,
    characters.
    """

    sizes: list[int]  # documents a shard
    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    quality: Numbers
    length: Numbers

    @staticmethod
    def of(documents: pa.Table) -> npt.NDArray[np.uint64]:
        """What is looked at of some documents, as an array (n, 4) that a worker writes: nobody reads their texts again.

        Columns: both halves of the id, the score, the length.
        """
        length = pc.utf8_length(documents.column("text")).to_numpy().astype(np.uint64)
        return np.column_stack(
            [*records.halves(documents.column("doc_id")), quality_of(documents).astype(np.uint64), length]
        )

    @staticmethod
    def read(files: Sequence[Path]) -> Candidates:
        """From arrays of :meth:`of`, one a shard."""
        parts = [np.load(path) for path in files]
        whole = np.concatenate([np.zeros((0, 4), np.uint64), *parts])
        return Candidates(
            [len(part) for part in parts],
            whole[:, 0].copy(),
            whole[:, 1].copy(),
            whole[:, 2].astype(np.int64),
            whole[:, 3].astype(np.int64),
        )

    def by_id(self) -> Numbers:
        """The place of every document in the order of their ids."""
        out = np.empty(len(self.high), np.int64)
        out[np.lexsort((self.low, self.high))] = np.arange(len(self.high))
        return out

    def preferred(self, cluster: Numbers) -> Numbers:
        """Documents cluster by cluster, of each the one to stay first."""
        return np.lexsort((self.low, self.high, -self.length, -self.quality, cluster))

    def keepers(self, cluster: Numbers) -> Numbers:
        """For every document, the number of the one that stays of its cluster."""
        order = self.preferred(cluster)
        ordered = cluster[order]
        first = np.ones(len(order), np.bool_)
        first[1:] = ordered[1:] != ordered[:-1]
        best = order[first]
        out = np.empty(len(order), np.int64)
        out[order] = best[np.cumsum(first) - 1]
        return out

    def id_of(self, number: int) -> str:
        return f"{int(self.high[number]):016x}{int(self.low[number]):016x}"


def quality_of(documents: pa.Table) -> Numbers:
    """Language scores in hundredths."""
    scores: npt.NDArray[np.float64] = documents.column("lang_score").to_numpy()
    return np.round(scores * 100).astype(np.int64)


def write_choices(
    folder: Path,
    shards: Sequence[Path],
    candidates: Candidates,
    keepers: Numbers,
    similarity: npt.NDArray[np.float64],
    cluster: Numbers | None = None,
) -> None:
    """One small file a shard: for each of its documents its keeper's id ("" for itself), how similar the two are, and
    the id of its cluster: of the document that was first to stay of ``cluster``, by default of its keeper.
    """
    leaders = keepers if cluster is None else candidates.keepers(cluster)
    begin = 0
    for path, size in zip(shards, candidates.sizes, strict=True):
        part = range(begin, begin + size)
        twins = [candidates.id_of(int(keepers[i])) if keepers[i] != i else "" for i in part]
        records.write_table(
            pa.table(
                {
                    "twin": pa.array(twins, pa.string()),
                    "similarity": similarity[begin : begin + size],
                    "cluster": pa.array([candidates.id_of(int(leaders[i])) for i in part], pa.string()),
                }
            ),
            folder / path.name,
        )
        begin += size


def drop_losers(rule: str, threshold: float, choices: Path, documents: pa.Table, shard: Path) -> Decision:
    """A step's decision from the choices that :func:`write_choices` wrote."""
    chosen = records.read_table(choices / shard.name)
    decision = Decision.keep(documents.num_rows)
    decision.twin = chosen.column("twin").to_pylist()
    decision.dropped = np.array([twin != "" for twin in decision.twin], np.bool_)
    decision.rule[decision.dropped] = rule
    decision.value[decision.dropped] = chosen.column("similarity").to_numpy()[decision.dropped]
    decision.threshold[decision.dropped] = threshold
    return decision
