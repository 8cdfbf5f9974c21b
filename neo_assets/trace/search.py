"""Passages of a text that stand verbatim in the training pool, as long as they can be, and where.

A passage begins with a unit and ends with one: a word is never cut, in the text or in the document; Chinese may begin
and end with any character. All passages are found that are part of no longer one. What is found is the same words in
the same order. It is no proof that a document made a model say them.
"""

from __future__ import annotations

import functools
import json
import math
import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core.store import Artifact
from neo_assets.text.characters import character_table
from neo_assets.trace import trace_kernels as kernels
from neo_assets.trace.index import BATCH, file_of

MANY = 256
"""Places of a piece of a text that are looked at, for documents that share much with it."""
THREADS = 16
"""Searches that wait for a disk at once."""


@dataclass(frozen=True)
class Units:
    """The units of a text: int64 (n,) first byte and byte after the last; whether it is a character by itself."""

    text: bytes
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    alone: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.begins)


def units_of(text: str) -> Units:
    data = text.encode("utf-8", "replace")
    begins, ends = np.empty(len(data), np.int64), np.empty(len(data), np.int64)
    alone = np.empty(len(data), np.bool_)
    count = kernels.units(np.frombuffer(data, np.uint8), character_table().flags, begins, ends, alone)
    return Units(data, begins[:count], ends[:count], alone[:count])


@dataclass(frozen=True)
class Passage:
    """Units ``first`` to ``last`` (not included) of a text stand in the pool ``count`` times. ``begin``, ``end``: its
    bytes.
    """

    first: int
    last: int
    begin: int
    end: int
    count: int


@dataclass(frozen=True)
class Place:
    """Where a passage stands: byte ``offset`` of a document of a shard."""

    shard: int
    document: int
    offset: int


class IndexShard:
    """One shard, memory-mapped. Pages are read one by one: what stands around a suffix is another passage's."""

    def __init__(self, artifact: Artifact, number: int) -> None:
        self._artifact, self.number = artifact, number
        self.text = self._mapped("text", np.uint8)
        self.entries = self._mapped("entries", np.uint32)
        self.heads = np.fromfile(self._file("heads"), np.uint8).reshape(-1, kernels.HEAD)
        self.heads.flags.writeable = False
        self.offsets = np.fromfile(self._file("offsets"), np.int64)

    def _file(self, kind: str) -> Path:
        return self._artifact.file(file_of(Path(), kind, self.number).name)

    def _mapped(self, kind: str, dtype: type) -> npt.NDArray[Any]:
        path = self._file(kind)
        if not path.stat().st_size:
            return np.frombuffer(b"", dtype)
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
        mapped.madvise(mmap.MADV_RANDOM)  # by default many pages are read for each that is asked for
        return np.frombuffer(mapped, dtype)

    @cached_property
    def _told(self) -> Any:
        return pa.ipc.open_file(pa.memory_map(str(self._file("documents"))))

    def longest(self, asked: Units, first: int, last: int, out: npt.NDArray[np.int64]) -> None:
        query = np.frombuffer(asked.text, np.uint8)
        kernels.longest(
            self.text, self.entries, self.heads, character_table().flags, query,
            asked.begins, asked.ends, asked.alone, first, last, out,
        )  # fmt: skip

    def occurrences(self, text: bytes, ends_alone: bool, most: int) -> tuple[int, npt.NDArray[np.uint32]]:
        """(how often a passage stands here whole, the first of these places)."""
        out = np.empty(max(most, 1), np.uint32)
        query = np.frombuffer(text, np.uint8)
        flags = character_table().flags
        count = int(
            kernels.occurrences(
                self.text, self.entries, self.heads, flags, query, 0, len(text), ends_alone, out
            )
        )  # fmt: skip
        return count, out[: min(count, most)]

    def place(self, position: int) -> Place:
        document = int(np.searchsorted(self.offsets, position, side="right")) - 1
        return Place(self.number, document, int(position - self.offsets[document]))

    def told(self, document: int) -> dict[str, str]:
        """Id, address, title, source, licence, language of a document."""
        row: dict[str, str] = self._told.get_batch(document // BATCH).slice(document % BATCH, 1).to_pylist()[0]
        return row

    def bytes_of(self, document: int) -> int:
        return int(self.offsets[document + 1] - self.offsets[document]) - 1

    def text_of(self, document: int) -> bytes:
        return bytes(self.text[int(self.offsets[document]) : int(self.offsets[document + 1]) - 1])

    def around(self, place: Place, size: int, before: int, after: int) -> tuple[bytes, bytes]:
        """So many bytes of its document before a passage of ``size`` bytes, and after it."""
        begin, end = int(self.offsets[place.document]), int(self.offsets[place.document + 1]) - 1
        at = begin + place.offset
        return bytes(self.text[max(begin, at - before) : at]), bytes(self.text[at + size : min(end, at + size + after)])


class TraceIndex:
    """The index of one training pool, open for searches from any thread."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        shards = json.loads(artifact.file("shards.json").read_text(encoding="utf-8"))
        self.shards = [IndexShard(artifact, number) for number in range(len(shards))]
        self.units = sum(shard["entries"] for shard in shards)

    def passages(self, asked: Units) -> list[Passage]:
        """Every passage of a text that stands in the pool and is part of no longer one, in the text's order."""
        reach = np.arange(len(asked)) + self._longest(asked)
        found, furthest = [], 0
        for first, last in enumerate(reach.tolist()):
            if last > max(furthest, first):
                begin, end = int(asked.begins[first]), int(asked.ends[last - 1])
                found.append(Passage(first, last, begin, end, 0))
                furthest = last
        counts = _at_once(lambda p: self.count(asked, p.first, p.last), found)
        return [Passage(p.first, p.last, p.begin, p.end, count) for p, count in zip(found, counts, strict=True)]

    def _longest(self, asked: Units) -> npt.NDArray[np.int64]:
        """Units from each on that stand in the pool at one place."""
        size = max(1, -(-len(asked) // THREADS))
        work = [(shard, first) for shard in self.shards for first in range(0, len(asked), size)]
        out = np.zeros((len(self.shards), len(asked)), np.int64)
        _at_once(lambda w: w[0].longest(asked, w[1], min(w[1] + size, len(asked)), out[w[0].number]), work)
        return np.asarray(out.max(axis=0, initial=0))

    def count(self, asked: Units, first: int, last: int) -> int:
        """How often these units stand in the pool, whole."""
        text, alone = asked.text[asked.begins[first] : asked.ends[last - 1]], bool(asked.alone[last - 1])
        return sum(shard.occurrences(text, alone, 1)[0] for shard in self.shards)

    def places(self, asked: Units, first: int, last: int, most: int) -> list[Place]:
        """Where these units stand, the first ``most`` of the places."""
        text, alone = asked.text[asked.begins[first] : asked.ends[last - 1]], bool(asked.alone[last - 1])
        out: list[Place] = []
        for shard in self.shards:
            if len(out) == most:
                break
            _, found = shard.occurrences(text, alone, most - len(out))
            out += [shard.place(int(position)) for position in found]
        return out

    def sharing(self, asked: Units, least: int) -> list[tuple[tuple[int, int], int]]:
        """Documents, by shard and number, that hold a passage of at least so many units of a text, and how many the
        longest is that was seen of each. The text's own document is one of them.

        Every passage of ``least`` units holds a whole piece of half as many, of those that begin ``least`` / 2 units
        after each other. What stands in more than :data:`MANY` places is boilerplate, of which a sample is looked at.
        """
        size = max(1, least // 2)
        begins = range(0, max(len(asked) - size + 1, 0), max(1, least - size + 1))
        found: dict[tuple[int, int], int] = {}
        for first in begins:
            for place in self.places(asked, first, first + size, MANY):
                units = self._around(asked, first, first + size, place)
                at = (place.shard, place.document)
                if units >= least and units > found.get(at, 0):
                    found[at] = units
        return sorted(found.items())

    def _around(self, asked: Units, first: int, last: int, place: Place) -> int:
        """Units of a text that stand around a passage of it as they do at one of its places, the passage included."""
        held, begin, end = (
            self.shards[place.shard].text_of(place.document),
            int(asked.begins[first]),
            int(asked.ends[last - 1]),
        )
        left = alike(asked.text[:begin][::-1], held[: place.offset][::-1])
        right = alike(asked.text[end:], held[place.offset + end - begin :])
        return int(((asked.begins >= begin - left) & (asked.ends <= end + right)).sum())

    def rarity(self, asked: Units, numbers: Sequence[int]) -> dict[int, float]:
        """By unit: log of one in how many of the pool's it is, in nats."""
        texts = {n: asked.text[asked.begins[n] : asked.ends[n]] for n in numbers}
        counted = dict(zip(texts.values(), texts, strict=True))
        counts = _at_once(lambda n: self.count(asked, n, n + 1), list(counted.values()))
        by_text = dict(zip(counted, counts, strict=True))
        return {n: math.log(self.units / max(by_text[text], 1)) for n, text in texts.items()}


def alike(a: bytes, b: bytes) -> int:
    """Bytes in common from the beginning on."""
    size = min(len(a), len(b))
    differ = np.flatnonzero(np.frombuffer(a, np.uint8, size) != np.frombuffer(b, np.uint8, size))
    return int(differ[0]) if len(differ) else size


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS)


def _at_once(work: Any, items: Sequence[Any]) -> list[Any]:
    return list(_threads().map(work, items)) if len(items) > 1 else [work(item) for item in items]
