"""What a withdrawal reaches: documents of an address, a site, a licence, a text, and all that was made of them.

Documents are looked for as a build looks for them (``corpus/withdrawn.py``): among all that were crawled; with those
that stayed in the place of copies among them. Documents that share long passages with them are told besides, and are
nobody's to withdraw but a person's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.recipe import Recipe
from neo_assets.core.scalars import real
from neo_assets.core.store import MANIFEST, Artifact, Store
from neo_assets.core.tombstones import SCOPES, Target, in_force, read_tombstones
from neo_assets.core.withdrawn import reads_of
from neo_assets.corpus.withdrawn import Held, in_corpus, one_by_one
from neo_assets.evaluate.index import read_scores
from neo_assets.release.layout import DOCUMENTS
from neo_assets.runs.found_runs import FoundRun, started
from neo_assets.runs.stream_parts import stream_parts
from neo_assets.takedown.earlier import Earlier, earlier_runs, exports_of
from neo_assets.trace.index import KEY as INDEX
from neo_assets.trace.reads import Reader, reader_of
from neo_assets.trace.search import TraceIndex, units_of

COMPARED = 100
"""Texts whose passages are looked for in other documents; of more, the first."""


@dataclass(frozen=True)
class OfRun:
    """What a run has of the documents. ``first``: its first step that read one, None where none did. ``through``: the
    run that it started from, where that had read them. ``again_from``: the newest checkpoint from before, of the run
    or of one that it is a branch of (``again_of``, its fingerprint); None for its beginning.
    """

    run: str
    fingerprint: str
    steps: int
    last: int
    first: int | None
    through: str
    again_from: int | None
    again_of: str
    again_steps: int
    hours: float | None
    checkpoints: list[int]
    scored: list[int]


@dataclass(frozen=True)
class Alike:
    """Another document of the pool, with the longest passage that stands in one of the withdrawn, too."""

    doc_id: str
    url: str
    units: int
    of: str


@dataclass(frozen=True)
class Reached:
    """Documents that were crawled and match, those of the corpus that say the same, and what was made of these."""

    crawled: int
    pool: list[str]
    copies: list[str]
    heldout: list[str]
    files: list[str]
    bytes: int
    tokens: dict[str, int]
    tombstones: list[int]
    """In force, that name just these."""
    alike: list[Alike] = field(default_factory=list)
    runs: list[OfRun] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    earlier: list[Earlier] = field(default_factory=list)
    """Runs as they were before, whose checkpoints are still in the store."""
    exports: dict[str, list[str]] = field(default_factory=dict)
    """By run: folders of exported checkpoints that have them."""


def reached(store: Store, recipe: Recipe, target: Target) -> Reached:
    """Everything that the documents reached. Raises MissingUpstream where the corpus is not made."""
    stones = read_tombstones(store.root)
    named, held = documents_of(store, recipe, [target])
    inside = [one for one in held if one.side == "train_pool"]
    ids = [one.doc_id for one in inside]
    texts = _texts(store.head(recipe.name, "train_pool"), inside)
    tokens = {}
    for name in recipe.mixture:
        if pointer := store.head_pointer(recipe.name, f"token_shards/{name}"):
            tokens[name] = _tokens(store.require(*pointer), ids)
    runs = runs_reached(store, recipe, ids)
    earlier = earlier_runs(store, ids, {run.fingerprint[:8] for run in runs})
    return Reached(
        crawled=len(named),
        pool=sorted(doc_id for doc_id in ids if doc_id in named),
        copies=sorted(doc_id for doc_id in ids if doc_id not in named),
        heldout=sorted(one.doc_id for one in held if one.side == "heldout"),
        files=sorted({one.part for one in inside}),
        bytes=sum(len(text.encode()) for text in texts.values()),
        tokens=tokens,
        tombstones=sorted({t.number for s in SCOPES for t in in_force(stones, s) if t.target == target}),
        alike=_alike(store, recipe, texts),
        runs=runs,
        releases=_releases(store, ids),
        earlier=earlier,
        exports=exports_of(store, _checkpoints_with(runs, earlier)),
    )


def _checkpoints_with(runs: Sequence[OfRun], earlier: Sequence[Earlier]) -> dict[str, set[str]]:
    """Names of the checkpoints that have them, by run."""
    found: dict[str, set[str]] = {}
    told = [(run.run, run.fingerprint[:8], run.checkpoints) for run in runs]
    told += [(one.run, one.fingerprint, one.checkpoints) for one in earlier if not one.unknown]
    for name, fingerprint, steps in told:
        found.setdefault(name, set()).update(f"{step:07d}-{fingerprint}" for step in steps)
    return found


def documents_of(store: Store, recipe: Recipe, targets: Sequence[Target]) -> tuple[set[str], list[Held]]:
    """(ids of all that was crawled and is named; what of the corpus is that, or stands for it)."""
    inputs = {name: store.head(recipe.name, name) for name in reads_of(recipe)}
    with tempfile.TemporaryDirectory() as scratch:
        return in_corpus(targets, inputs, one_by_one, Path(scratch))


def _texts(pool: Artifact, held: Sequence[Held]) -> dict[str, str]:
    """Their texts, by their ids."""
    found: dict[str, str] = {}
    for part in sorted({one.part for one in held}):
        wanted = pa.array([one.doc_id for one in held if one.part == part], pa.string())
        table = records.read_table(pool.file(part), columns=["doc_id", "text"])
        table = table.filter(pc.is_in(table["doc_id"], value_set=wanted))
        found |= dict(zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    return found


def _tokens(stream: Artifact, ids: Sequence[str]) -> int:
    """Tokens of a stream that are these documents', every round counted; none of those that are withdrawn from it."""
    wanted, total = pa.array(ids, pa.string()), 0
    for path, there in stream_parts(stream):
        table = records.read_table(path, columns=["doc_id", "tokens"])
        mine = pc.is_in(table["doc_id"], value_set=wanted).to_numpy(zero_copy_only=False) & there
        total += int(table["tokens"].to_numpy()[mine].sum())
    return total


def _alike(store: Store, recipe: Recipe, texts: Mapping[str, str]) -> list[Alike]:
    """Other documents that hold a passage of the texts as long as the recipe's `trace.alike_units`; those first that
    hold the longest.
    """
    pointer = store.head_pointer(recipe.name, INDEX)
    made = store.find(*pointer) if pointer else None
    if recipe.trace is None or made is None:
        return []
    index, best = TraceIndex(made), dict[str, Alike]()
    for doc_id, text in list(texts.items())[:COMPARED]:
        for other, units in index.sharing(units_of(text), recipe.trace.alike_units):
            told = index.shards[other[0]].told(other[1])
            known = best.get(told["doc_id"])
            if told["doc_id"] not in texts and (known is None or known.units < units):
                best[told["doc_id"]] = Alike(told["doc_id"], told["url"], units, doc_id)
    return sorted(best.values(), key=lambda other: (-other.units, other.doc_id))


# ------------------------------------------------------------------ runs and releases


def runs_reached(store: Store, recipe: Recipe, ids: Sequence[str]) -> list[OfRun]:
    """What every run that was started has of these documents, each after those that it started from."""
    return list(_runs(store, recipe, ids))


def _runs(store: Store, recipe: Recipe, ids: Sequence[str]) -> Iterator[OfRun]:
    since: dict[str, int] = {}  # step from which on a run has them
    for run in sorted(started(store, recipe), key=lambda run: len(recipe.ancestors(run.name))):
        name = run.name
        reader = reader_of(store, run)
        steps = _steps(reader, ids) if reader is not None and ids else []
        last = run.config.last_step
        through = _through(run, since)
        if through or steps:
            since[name] = 0 if through else steps[0]
        begun = since.get(name)
        parts = reader.parts if reader is not None else [(run, last)]
        again, again_of = _newest(parts, begun)
        left = 0 if begun is None else last - (again or 0)
        there = {s: folder.name for s, folder in run.checkpoints().items() if begun is not None and s >= begun}
        scores = read_scores(store, {name: set(there.values())}).to_pylist() if there else []
        scored = {row["step"] for row in scores}
        yield OfRun(
            run=name,
            fingerprint=run.config.run_fingerprint,
            steps=len(steps),
            last=last,
            first=steps[0] if steps else None,
            through=through,
            again_from=again,
            again_of=again_of,
            again_steps=left,
            hours=_hours(store, recipe, run, left),
            checkpoints=sorted(there),
            scored=sorted(set(there) & scored),
        )


def _newest(parts: Sequence[tuple[FoundRun, int]], before: int | None) -> tuple[int | None, str]:
    """The newest whole checkpoint from before a step, of a run or of those that it is a branch of, and whose it is."""
    for part, last in parts:
        if there := [s for s in part.whole_checkpoints() if before is not None and s < before and s <= last]:
            return max(there), part.config.run_fingerprint
    return None, ""


def _steps(reader: Reader, ids: Sequence[str]) -> list[int]:
    """Steps of a run, and of those that it is a branch of, that read any of these documents."""
    steps: set[int] = set()
    for part, last in reader.parts:
        ledger = part.ledger()
        if last > ledger.first_step:
            steps |= set(ledger.when(ids, last).column("step").to_pylist())
    return sorted(steps)


def _through(run: FoundRun, since: Mapping[str, int]) -> str:
    """The run that it started from, if that had them by then."""
    start = run.config.start
    if start is None or start.foreign or start.take == "everything":
        return ""
    parent = Path(start.folder).parent.name
    return parent if since.get(parent, start.step + 1) <= start.step else ""


def _hours(store: Store, recipe: Recipe, run: FoundRun, steps: int) -> float | None:
    """Of the whole machine that the run had, at the speed that it had."""
    pointer = store.head_pointer(recipe.name, recipe.trained(run.name))
    made = store.find(*pointer) if pointer else None
    speed = made.manifest.numbers.get("median_tokens_per_s") if made else None
    speed = real(speed) if speed else None
    return round(steps * run.config.run.tokens_per_step / speed / 3600, 2) if speed else None


def _releases(store: Store, ids: Sequence[str]) -> list[str]:
    """Fingerprints of releases that list one of these documents, and not as withdrawn."""
    store.learn("release")
    wanted, found = pa.array(ids, pa.string()), []
    for manifest in sorted((store.root / "release").glob(f"[0-9a-f]*/{MANIFEST}")):
        made = store.find("release", manifest.parent.name)
        if made is not None:
            listed = records.read_table(made.file(DOCUMENTS))  # of an older form it does not say what is withdrawn
            gone = listed["withdrawn"] if "withdrawn" in listed.column_names else pa.scalar(False)
            if pc.any(pc.and_not(pc.is_in(listed["doc_id"], value_set=wanted), gone)).as_py():
                found.append(made.fingerprint)
    return found
