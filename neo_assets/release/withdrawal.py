"""What a withdrawal reaches: documents of an address, a site, a licence, a text, and all that was made of them.

Documents are looked for among all that were crawled. One that was dropped as a copy is in the training pool under the
name of the copy that stayed, which says the same: it is told, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import Recipe
from neo_assets.core.scalars import real
from neo_assets.core.store import MANIFEST, Artifact, Store
from neo_assets.evaluate.index import read_scores
from neo_assets.release.layout import DOCUMENTS
from neo_assets.runs.found_runs import FoundRun, started
from neo_assets.trace.reads import Reader, reader_of

KINDS = ("url", "domain", "prefix", "licence", "source", "doc_id")
_COLUMNS = ("doc_id", "url", "source", "licence")


@dataclass(frozen=True)
class Asked:
    """Whose documents: ``kind`` is one of :data:`KINDS`."""

    kind: str
    value: str

    @classmethod
    def of(cls, text: str) -> Asked:
        """``domain:example.org``; without a kind an address, or a document's id. Raises BadInput."""
        kind, colon, value = text.partition(":")
        if colon and kind in KINDS:
            if not value:
                raise BadInput(f"'{text}' names no {kind}")
            return cls(kind, value)
        if len(text) >= 8 and not set(text) - set("0123456789abcdef"):
            return cls("doc_id", text)
        if not text.strip():
            raise BadInput(
                "there is nothing to look for: an address, an id, or one of " + ", ".join(f"{k}:…" for k in KINDS)
            )
        return cls("url", text)

    def of_table(self, table: pa.Table) -> pa.Array:
        """Which rows are meant."""
        urls = pc.replace_substring_regex(table["url"], "^https?://", "")
        bare = self.value.removeprefix("https://").removeprefix("http://")
        if self.kind == "url":  # a book's address names its parts as well
            return pc.or_(pc.equal(urls, bare), pc.starts_with(urls, f"{bare}#"))
        if self.kind == "prefix":
            return pc.starts_with(urls, bare)
        if self.kind == "domain":
            hosts = pc.replace_substring_regex(urls, "[/:?#].*$", "")
            return pc.or_(pc.equal(hosts, bare), pc.ends_with(hosts, f".{bare}"))
        if self.kind == "doc_id":
            return pc.starts_with(table["doc_id"], self.value)
        return pc.equal(table[self.kind], self.value)


@dataclass(frozen=True)
class OfRun:
    """What a run has of the documents. ``first``: its first step that read one, None where none did. ``through``: the
    run that it started from, where that had read them. ``again_from``: its newest checkpoint from before, None for its
    beginning.
    """

    run: str
    steps: int
    last: int
    first: int | None
    through: str
    again_from: int | None
    again_steps: int
    hours: float | None
    checkpoints: list[int]
    scored: list[int]


@dataclass(frozen=True)
class Reached:
    """Documents that were crawled and match, those of the pool that say the same, and what was made of the latter."""

    crawled: int
    pool: list[str]
    copies: list[str]
    files: list[str]
    bytes: int
    tokens: dict[str, int]
    runs: list[OfRun] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)


def reached(store: Store, recipe: Recipe, asked: Asked) -> Reached:
    """Everything that the documents reached. Raises MissingUpstream where the corpus is not made."""
    pool = store.head(recipe.name, "train_pool")
    matching = _crawled(store, recipe, asked)
    own, files, size = _of_pool(pool, matching)
    copies, more, also = _of_pool(pool, sorted(_stayed(store, recipe, set(matching) - set(own)) - set(own)))
    ids = [*own, *copies]
    runs, tokens = list(_runs(store, recipe, ids)), {}
    for name in recipe.mixture:
        if pointer := store.head_pointer(recipe.name, f"token_shards/{name}"):
            tokens[name] = _tokens(store.require(*pointer), ids)
    return Reached(
        crawled=len(matching),
        pool=own,
        copies=copies,
        files=sorted({*files, *more}),
        bytes=size + also,
        tokens=tokens,
        runs=runs,
        releases=_releases(store, ids),
    )


def _crawled(store: Store, recipe: Recipe, asked: Asked) -> list[str]:
    """Ids of all documents of the sources that are meant, kept or not."""
    found: list[str] = []
    for source in recipe.sources:
        pointer = store.head_pointer(recipe.name, f"documents/{source}")
        made = store.find(*pointer) if pointer else None
        for path in made.files(records.PART) if made else ():
            table = records.read_table(path, records.DOCUMENT, list(_COLUMNS))
            found += table.filter(asked.of_table(table)).column("doc_id").to_pylist()
    return sorted(set(found))


def _of_pool(pool: Artifact, ids: Sequence[str]) -> tuple[list[str], list[str], int]:
    """(those of these documents that are in the pool, files that hold them, bytes of their texts)."""
    found: list[str] = []
    files: list[str] = []
    size = 0
    wanted = pa.array(ids, pa.string())
    for path in pool.files(records.PART) if ids else ():
        there = records.read_table(path, columns=["doc_id"])["doc_id"]
        held = pc.is_in(there, value_set=wanted)
        if pc.any(held).as_py():
            found += there.filter(held).to_pylist()
            files.append(path.name)
            size += int(records.text_lengths(path)[held.to_numpy(zero_copy_only=False)].sum())
    return sorted(found), files, size


def _stayed(store: Store, recipe: Recipe, ids: set[str]) -> set[str]:
    """Documents that stayed in the place of these, by whatever steps these were dropped as copies."""
    if not ids:
        return set()
    from resources.ledger import Ledger

    ledger, found, waiting = Ledger(store, recipe.name), set[str](), set(ids)
    while waiting:
        rows = ledger.rows(
            "select distinct twin from verdicts where twin <> '' and verdict = 'dropped' and list_contains(?, doc_id)",
            [sorted(waiting)],
        )
        waiting = {str(row["twin"]) for row in rows} - found
        found |= waiting
    return found


def _tokens(stream: Artifact, ids: Sequence[str]) -> int:
    """Tokens of a stream that are these documents', every round counted."""
    wanted, total = pa.array(ids, pa.string()), 0
    for path in stream.files("index"):
        table = records.read_table(path, columns=["doc_id", "tokens"])
        total += int(pc.sum(table.filter(pc.is_in(table["doc_id"], value_set=wanted))["tokens"]).as_py() or 0)
    return total


# ------------------------------------------------------------------ runs and releases


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
        again = max((s for s in run.whole_checkpoints() if begun is not None and s < begun), default=None)
        left = 0 if begun is None else last - (again or 0)
        there = {s: folder.name for s, folder in run.checkpoints().items() if begun is not None and s >= begun}
        scores = read_scores(store, {name: set(there.values())}).to_pylist() if there else []
        scored = {row["step"] for row in scores}
        yield OfRun(
            run=name,
            steps=len(steps),
            last=last,
            first=steps[0] if steps else None,
            through=through,
            again_from=again,
            again_steps=left,
            hours=_hours(store, recipe, run, left),
            checkpoints=sorted(there),
            scored=sorted(set(there) & scored),
        )


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
    """Fingerprints of releases that list one of these documents."""
    store.learn("release")
    wanted, found = pa.array(ids, pa.string()), []
    for manifest in sorted((store.root / "release").glob(f"[0-9a-f]*/{MANIFEST}")):
        made = store.find("release", manifest.parent.name)
        if made is not None:
            listed = records.read_table(made.file(DOCUMENTS), columns=["doc_id"])["doc_id"]
            if pc.any(pc.is_in(listed, value_set=wanted)).as_py():
                found.append(made.fingerprint)
    return found
