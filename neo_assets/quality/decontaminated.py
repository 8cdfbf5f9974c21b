"""``decontaminated/‹lang›``: no document that overlaps an evaluation item; a gate before anything is trained.

An item is looked for by its n-grams: words in English, characters in Chinese, both folded for case and width and
without punctuation or white space, so that a question that was wrapped, re-punctuated or typed with full-width digits
is still found. An item shorter than n is looked for whole, down to a least length below which a match says nothing;
shorter questions are looked for together with their right answer. N-grams that several items share are the benchmark's
own phrasing and count for none of them.
"""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.recipe.data import Decontamination
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.stage import Claim, Step, StepInput
from neo_assets.core.steps import Decision, run_step
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.quality import ngram_kernels as kernels
from neo_assets.text import text_kernels
from neo_assets.text.characters import LIMIT, WORD, character_table
from neo_assets.text.searched import SEARCHED, read_searched
from neo_assets.text.tokens import HashList, buffers, hash_list, token_hashes

BENCHMARKS = "benchmark_items"
ANCHOR = 24
"""Characters of a question that the plain search looks for before it compares the whole."""


@dataclass(frozen=True)
class Item:
    """An evaluation item as it is looked for: its n-grams' hashes."""

    name: str
    grams: frozenset[int]


@dataclass(frozen=True)
class Index:
    """All items, ready to be looked for. ``owners``: items by n-gram."""

    shortest: int
    lengths: npt.NDArray[np.int64]
    beginnings: HashList
    grams: HashList
    owners: Mapping[int, tuple[int, ...]]
    items: tuple[Item, ...]
    too_short: tuple[str, ...]


def build_index(items: Iterable[tuple[str, str, str]], settings: Decontamination) -> Index:
    """What is looked for, under these settings."""
    named = list(items)
    questions = token_hashes([q for _, q, _ in named])
    answered = token_hashes([f"{q}\n{a}" for _, q, a in named])
    tokens: dict[str, npt.NDArray[np.uint64]] = {}
    too_short: list[str] = []
    for (name, *_), question, whole in zip(named, questions, answered, strict=True):
        chosen = question if len(question) >= settings.min_tokens else whole
        if len(chosen) < settings.min_tokens:
            too_short.append(name)
        else:
            tokens[name] = chosen
    cut = {
        name: [(i, min(settings.ngram, len(t))) for i in range(max(1, len(t) - settings.ngram + 1))]
        for name, t in tokens.items()
    }
    hashed = {name: [int(kernels.gram_hash(tokens[name], i, n)) for i, n in places] for name, places in cut.items()}
    shared = {
        gram
        for gram, n in Counter(g for grams in hashed.values() for g in set(grams)).items()
        if n > settings.max_items_a_gram
    }
    kept = tuple(Item(name, frozenset(grams) - shared) for name, grams in hashed.items() if not set(grams) <= shared)
    owners: dict[int, list[int]] = defaultdict(list)
    for number, item in enumerate(kept):
        for gram in item.grams:
            owners[gram].append(number)
    beginnings = {
        int(kernels.gram_hash(tokens[name], i, settings.min_tokens)) for name, places in cut.items() for i, _ in places
    }
    return Index(
        shortest=settings.min_tokens,
        lengths=np.array(sorted({n for places in cut.values() for _, n in places}), np.int64),
        beginnings=hash_list(np.array(sorted(beginnings), np.uint64), 1),
        grams=hash_list(np.array(sorted(owners), np.uint64), 1),
        owners={gram: tuple(numbers) for gram, numbers in owners.items()},
        items=kept,
        too_short=(*too_short, *(name for name, grams in hashed.items() if set(grams) <= shared)),
    )


def overlaps(texts: pa.ChunkedArray | pa.Array, index: Index) -> list[tuple[float, str]]:
    """For every text, the largest share of an item's n-grams that it holds, and that item's name ("" where there is
    none).
    """
    out = [(0.0, "")] * len(texts)
    for text, shares in held_items(texts, index).items():
        out[text] = max((share, name) for name, share in shares.items())
    return out


def held_items(texts: pa.ChunkedArray | pa.Array, index: Index) -> dict[int, dict[str, float]]:
    """By text that holds any: the share of each item's n-grams that it holds, by the item's name."""
    held, table = buffers(texts), character_table()
    n = len(held.offsets) - 1
    tokens, starts = np.empty(len(held.data) // 2 + n + 2, np.uint64), np.empty(n + 1, np.int64)
    text_kernels.tokenise(held.data, held.offsets, table.flags, table.fold, tokens, starts)
    room = 1 << 16
    while True:
        where, hits = np.empty(room, np.int64), np.empty(room, np.uint64)
        found = kernels.find_grams(
            tokens,
            starts,
            index.shortest,
            index.lengths,
            index.beginnings.table,
            index.beginnings.bits,
            index.grams.table,
            index.grams.bits,
            where,
            hits,
        )
        if found <= room:
            break
        room = found
    by_text: dict[int, set[int]] = defaultdict(set)
    for text, gram in zip(where[:found].tolist(), hits[:found].tolist(), strict=True):
        by_text[text].add(gram)
    out = {}
    for text, grams in by_text.items():
        counts = Counter(owner for gram in grams for owner in index.owners[gram])
        out[text] = {index.items[owner].name: count / len(index.items[owner].grams) for owner, count in counts.items()}
    return out


def drop_contaminated(config: StepInput[Decontamination], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents that hold no evaluation item: each dropped one names the item and the share of its n-grams that was
    found.

    What is left is searched once more by another method, whole items as plain text, and a single find refuses the
    artifact: nothing is tokenized or trained from it.
    """
    before = next(artifact for name, artifact in inputs.items() if name != BENCHMARKS)
    items = read_searched(inputs[BENCHMARKS])
    index = build_index(items, config.settings)
    outcome = run_step(
        f"decontaminated/{config.lang}",
        before.files(records.PART),
        partial(_drop, index, config.settings),
        out,
        expected=before.manifest.rows_kept or 0,
    )
    searched, found = verbatim(sorted(out.path.glob(f"{records.PART}*.parquet")), items, index, out)
    outcome.numbers |= {"items_looked_for": len(index.items), "items_too_short_to_look_for": len(index.too_short)}
    outcome.checks.append(
        Check(
            name="no_item_left",
            passed=not found,
            detail=f"all {searched:,} documents searched for whole items: {len(found)} found"
            + (f", {', '.join(found[:3])}" if found else ""),
        )
    )
    return outcome


def verbatim(
    parts: Sequence[Path], items: Iterable[tuple[str, str, str]], index: Index, out: Workspace
) -> tuple[int, list[str]]:
    """Search all that is left for whole questions as plain text: (documents searched, "item in document" of each find).

    Independent of the n-grams and their hashes: an automaton finds where a question may begin, and the whole of it is
    compared there. Costs about a second for 10 MB a core.
    """
    looked_for = {item.name for item in index.items}
    wanted = tuple(
        (name, plain(q)) for name, q, _ in items if name in looked_for and len(token_hashes([q])[0]) >= index.shortest
    )
    folder = out.path / ".logs" / "verbatim"
    folder.mkdir(parents=True, exist_ok=True)
    run_shards(
        partial(_search_part, wanted, folder),
        parts,
        out,
        writes=lambda part: folder / f"{part.stem}.json",
        input_bytes=total_bytes(parts),
    )
    told = [json.loads((folder / f"{part.stem}.json").read_text(encoding="utf-8")) for part in parts]
    return sum(t["documents"] for t in told), [find for t in told for find in t["found"]]


def _search_part(wanted: tuple[tuple[str, str], ...], folder: Path, part: Path) -> None:
    table = records.read_table(part, records.DOCUMENT, ["doc_id", "text"])
    begin = _beginnings(wanted)
    found = []
    for doc_id, text in zip(table.column("doc_id").to_pylist(), table.column("text").to_pylist(), strict=True):
        words = plain(text)
        hits = begin.find_matches_as_indexes(words, overlapping=True) if wanted else []
        found += [
            f"{wanted[i][0]} in {doc_id}"
            for i in sorted({i for i, at, _ in hits if words.startswith(wanted[i][1], at)})
        ]
    records.write_text(
        folder / f"{part.stem}.json", json.dumps({"documents": table.num_rows, "found": found}, ensure_ascii=False)
    )


@functools.lru_cache(maxsize=1)
def _beginnings(wanted: tuple[tuple[str, str], ...]) -> Any:
    """An automaton of the questions' first characters. Of whole questions it would take minutes to build and gigabytes
    to hold.
    """
    from ahocorasick_rs import AhoCorasick, Implementation

    return AhoCorasick([question[:ANCHOR] for _, question in wanted], implementation=Implementation.ContiguousNFA)


def plain(text: str) -> str:
    """A text as its folded letters and digits alone."""
    return text.translate(_plain_table())


@functools.cache
def _plain_table() -> dict[int, int | None]:
    table = character_table()
    return {
        code: int(table.fold[code]) if table.flags[code] & WORD else None
        for code in range(LIMIT)
        if not table.flags[code] & WORD or table.fold[code] != code
    }


def _drop(index: Index, settings: Decontamination, documents: pa.Table, shard: Path) -> Decision:
    decision = Decision.keep(documents.num_rows)
    found = overlaps(documents.column("text"), index)
    share = np.array([s for s, _ in found])
    decision.dropped = share > settings.max_overlap
    decision.rule[decision.dropped] = "benchmark_overlap"
    decision.value[decision.dropped] = np.round(share[decision.dropped], 4)
    decision.threshold[decision.dropped] = settings.max_overlap
    decision.detail = [name if gone else "" for (_, name), gone in zip(found, decision.dropped, strict=True)]
    return decision


NO_ITEM_LEFT = Claim(
    "no_item_left",
    "No evaluation item stands verbatim in any document that is left, by a search of all of them; nothing is made from"
    " an artifact that fails this.",
)
STEP = Step(
    "no evaluation item",
    drop_contaminated,
    reads=[BENCHMARKS],
    parts={BENCHMARKS: SEARCHED},
    claims=[NO_ITEM_LEFT],
)
