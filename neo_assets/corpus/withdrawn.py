"""``withdrawn``: documents of the corpus that tombstones name, and those that say the same in their place.

Documents are looked for among everything that was crawled. One that was dropped as a copy, or leads elsewhere, is in
the corpus under the name of the one that stayed, which is withdrawn with it. Their texts stay where they are, so that
all others keep their places; a token stream has nothing of them (``tokenizer/stream.py``), nor has what is made to test
or to tune models.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Artifact, Outcome, Scalar, Workspace
from neo_assets.core.tombstones import OF_ADDRESSES, Scope, Target, targets_digest
from neo_assets.core.withdrawn import FOUND, KEY, SIDES
from neo_assets.core.written import SCRATCH

LOG = "log/"
READS_A_TENTH = 10
"""Share of a file that is read here: all but its texts."""


class WithdrawnInput(Section):
    """``tombstones``: digest of what is in force; the addresses themselves are part of no manifest."""

    tombstones: str
    chain: str = Field(
        "", description="tombstones that there are, and the last's digest", json_schema_extra=NOT_IDENTITY
    )
    targets: dict[str, list[tuple[str, str]]] = Field(default_factory=dict, json_schema_extra=NOT_IDENTITY)

    @classmethod
    def of(cls, targets: Mapping[Scope, Sequence[Target]], chain: str = "") -> WithdrawnInput:
        told: dict[str, list[tuple[str, str]]] = {s: [(t.kind, t.value) for t in named] for s, named in targets.items()}
        return cls(tombstones=targets_digest(targets), targets=told, chain=chain)


def find_withdrawn(config: WithdrawnInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Which documents of the corpus tombstones name (`neo takedown`), and copies that stayed in the place of those:
    no token stream has a token of them, no task or conversation is made of them. None, where there are no tombstones.
    """
    found: dict[str, list[Held]] = {}
    for scope, pairs in config.targets.items():
        same = next((other for other in found if config.targets[other] == pairs), None)
        found[scope] = found[same] if same is not None else _found(pairs, scope, inputs, out)
        for (side, part), held in groupby(found[scope], key=lambda held: (held.side, held.part)):
            rows = [(one.doc_id, one.of) for one in held]
            table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=FOUND)
            records.write_table(table, out.path / scope / side / part)
    named = {tuple(pair) for pairs in config.targets.values() for pair in pairs}
    ids = {s: {side: [h.doc_id for h in held if h.side == side] for side in SIDES} for s, held in found.items()}
    corpus = ids.get("corpus", {})
    counts: dict[str, Scalar] = {"tombstones": len(named), **{side: len(corpus.get(side, ())) for side in SIDES}}
    counts["chain"] = config.chain or None
    for scope, of_side in ids.items():
        if of_side != corpus:
            counts[f"for_{scope}"] = sum(map(len, of_side.values()))
    out.write_text(f"{KEY}.json", json.dumps(counts))
    read = {side: corpus.get(side, []) for side in SIDES} | {s: of_side["train_pool"] for s, of_side in ids.items()}
    parts = {name: digest_json(held) for name, held in read.items() if held}  # of nothing: no input of whoever reads it
    return Outcome(digest=digest_json(ids), parts=parts, numbers=counts)


def _found(pairs: Sequence[tuple[str, str]], scope: str, inputs: Mapping[str, Artifact], out: Workspace) -> list[Held]:
    targets = [Target(*pair) for pair in pairs]  # type: ignore[arg-type]
    scratch = out.path / SCRATCH / KEY / scope
    return in_corpus(targets, inputs, _by_the_engine(out, scratch), scratch)[1] if targets else []


# ------------------------------------------------------------------ looking for them

Look = Callable[[Path], pa.Table]
Everywhere = Callable[[Look, Sequence[Path], str], list[tuple[str, ...]]]
"""Rows that are found in each of some files; the work has a name."""


@dataclass(frozen=True)
class Held:
    """A document of the corpus that is named, or stands for one that is (``of``): where it is."""

    side: str
    part: str
    doc_id: str
    of: str


def in_corpus(
    targets: Sequence[Target], inputs: Mapping[str, Artifact], everywhere: Everywhere, scratch: Path
) -> tuple[set[str], list[Held]]:
    """(ids of what the targets name, of all that was crawled; what of the corpus is that, or stands for it).
    ``inputs``: `raw_crawl`, `documents`, steps that drop copies, and both sides of the corpus.
    """
    named = _named(targets, inputs, everywhere)
    stands_for = {doc_id: doc_id for doc_id in named}
    verdicts = [path for name, made in inputs.items() if name not in SIDES for path in made.verdicts()]
    new, turn = sorted(named), 0
    while new:
        ids = records.write_table(pa.table({"doc_id": new}), scratch / f"ids-{turn}.parquet")
        pairs = everywhere(partial(_twins, ids), verdicts, f"twins-{turn}")
        told = {twin: doc_id for doc_id, twin in pairs if twin not in stands_for}
        stands_for |= {twin: stands_for[doc_id] for twin, doc_id in told.items()}
        new, turn = sorted(told), turn + 1
    known = pa.table([list(stands_for), list(stands_for.values())], schema=FOUND)
    ids = records.write_table(known, scratch / "stands_for.parquet")
    hashes = [target.value for target in targets if target.kind == "text_sha256"]
    found = []
    for side in SIDES if stands_for or hashes else ():
        rows = everywhere(partial(_held, ids, hashes), inputs[side].files(records.PART), side)
        found += [Held(side, part, doc_id, of) for doc_id, of, part in rows]
    return named, sorted(found, key=lambda held: (held.side, held.part, held.doc_id))


def _named(targets: Sequence[Target], inputs: Mapping[str, Artifact], everywhere: Everywhere) -> set[str]:
    documents = [p for name, made in inputs.items() if name.startswith("documents/") for p in made.files(records.PART)]
    logs = [p for name, made in inputs.items() if name.startswith("raw_crawl/") for p in made.files(LOG)]
    found = {row[0] for row in everywhere(partial(_documents, targets), documents, "documents")}
    asked = [target for target in targets if target.kind in OF_ADDRESSES]
    if asked:
        found |= {row[0] for row in everywhere(partial(_fetched, asked), logs, "fetched")}
    return found


def _by_the_engine(out: Workspace, scratch: Path) -> Everywhere:
    """Each file is looked through once, by the engine of the workspace."""

    def everywhere(look: Look, paths: Sequence[Path], name: str) -> list[tuple[str, ...]]:
        work = [(path, scratch / name / f"{number}.parquet") for number, path in enumerate(paths)]
        size = total_bytes(paths) // READS_A_TENTH
        run_shards(partial(_looked, look), work, out, writes=lambda shard: shard[1], input_bytes=size)
        return [row for _, file in work for row in _rows(records.read_table(file))]

    return everywhere


def one_by_one(look: Look, paths: Sequence[Path], name: str) -> list[tuple[str, ...]]:
    """Here and now."""
    return [row for path in paths for row in _rows(look(path))]


def _rows(table: pa.Table) -> Iterator[tuple[str, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _looked(look: Look, shard: tuple[Path, Path]) -> None:
    records.write_table(look(shard[0]), shard[1])


def _any_of(targets: Iterable[Target], table: pa.Table) -> pa.ChunkedArray:
    return functools.reduce(pc.or_, [target.of_table(table) for target in targets])


def _documents(targets: Sequence[Target], path: Path) -> pa.Table:
    hashed = any(target.kind == "text_sha256" for target in targets)
    columns = ["doc_id", "url", "source", "licence", *(["text"] if hashed else [])]
    table = records.read_table(path, records.DOCUMENT, columns)
    if hashed:
        table = table.append_column("text_sha256", _hashed(table))
    return table.filter(_any_of(targets, table)).select(["doc_id"])


def _hashed(table: pa.Table) -> pa.Array:
    return pa.array([hashlib.sha256(text.encode()).hexdigest() for text in table["text"].to_pylist()], pa.string())


def _fetched(targets: Sequence[Target], path: Path) -> pa.Table:
    """By what was asked for; an address may have been asked for under another name."""
    table = records.read_table(path, columns=["doc_id", "url", "address"])
    asked = [table.select(["doc_id", name]).rename_columns(["doc_id", "url"]) for name in ("url", "address")]
    return table.filter(pc.or_(*(_any_of(targets, part) for part in asked))).select(["doc_id"])


@functools.lru_cache(4)
def _ids(file: Path) -> pa.Table:
    return records.read_table(file)


def _twins(ids: Path, path: Path) -> pa.Table:
    """(document, the one that stayed in its place), of those that were dropped for one."""
    table = records.read_table(path, columns=["doc_id", "verdict", "twin"])
    gone = pc.and_(pc.equal(table["verdict"], records.DROPPED), pc.not_equal(pc.fill_null(table["twin"], ""), ""))
    mine = pc.is_in(table["doc_id"], value_set=_ids(ids)["doc_id"].combine_chunks())
    return table.filter(pc.and_(gone, mine)).select(["doc_id", "twin"])


def _held(ids: Path, hashes: Sequence[str], path: Path) -> pa.Table:
    """Documents of a side that are named or stand for one that is, with the latter, and the file's name."""
    known = _ids(ids)
    table = records.read_table(path, columns=["doc_id", *(["text"] if hashes else [])])
    place = pc.index_in(table["doc_id"], value_set=known["doc_id"].combine_chunks())
    told = known["of"].take(place.combine_chunks() if isinstance(place, pa.ChunkedArray) else place)
    if hashes:
        same = pc.is_in(_hashed(table), value_set=pa.array(hashes, pa.string()))
        told = pc.if_else(same, pc.coalesce(told, table["doc_id"]), told)
    found = pa.table({"doc_id": table["doc_id"], "of": told}).filter(pc.is_valid(told))
    return found.append_column("part", pa.array([path.name] * found.num_rows, pa.string()))
