"""Which candidates share a long run of text with what is trained on, and so are trained on themselves.

A run is looked for in documents of every language: pages quote, and are translated in part. How long it may be is said
by the language of the candidate (``heldout.max_run``: words, Chinese characters each by itself). What went back is
trained on, so others that share a run with that go back as well, until nothing shares one any more.

One pass over the files gathers the candidates' runs, another looks for them in all documents; nothing but hashes of
what candidates hold is in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.recipe.data import Split
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Workspace
from neo_assets.corpus.candidates import are_candidates, groups
from neo_assets.text.runs import longest_runs, run_hashes

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Back = dict[str, tuple[str, int, str]]
"""Candidates that are trained on after all, by id: language, longest shared run (0: a translation of theirs shares
one), and who has it.
"""
_COLUMNS = ["doc_id", "url", "cluster_id", "text"]


def went_back(split: Split, parts: list[Path], out: Workspace) -> Back:
    """Candidates that share a run with what is trained on, and all that are held out together with them."""
    if not any(_language(path) in split.max_run for path in parts):
        return {}
    scratch = out.path / ".logs" / "runs"
    scratch.mkdir(parents=True, exist_ok=True)
    names: dict[str, int] = {}
    size = total_bytes(parts)
    run_shards(partial(_gather, split, scratch), parts, out, writes=lambda path: scratch / path.name, input_bytes=size)
    found = {
        lang: _read(lang, scratch, [p for p in parts if _language(p) == lang], names)
        for lang in sorted({_language(path) for path in parts})
    }
    wanted = [lang for lang in found if lang in split.max_run]
    for lang in wanted:
        records.write_array(np.unique(found[lang].runs), scratch / f"{lang}.npy")
    run_shards(partial(_meet, split, scratch, wanted), parts, out, writes=partial(_met, scratch), input_bytes=size)
    sought = [_look(scratch, parts, found[lang], found.values()) for lang in wanted]

    gone = np.zeros(len(names), np.bool_)
    while True:  # what went back is trained on, and others may share a run with that
        now = gone.copy()
        for one in sought:
            now[one.candidates.group[one.touched()]] = True
        if (now == gone).all():
            break
        for one in sought:
            one.spread(now)
        gone = now
    back = {
        doc_id: (lang, 0, "")
        for lang, of in found.items()
        for doc_id, group in zip(of.ids, of.group.tolist(), strict=True)
        if gone[group]
    }
    for one in sought:
        back |= one.shared(split.max_run[one.candidates.lang])
    return back


def common_runs(held: list[Path], trained: Iterable[Path], limit: int) -> tuple[int, int, str]:
    """(runs longer than ``limit`` in the documents of some files, how many of them stand in documents of others, the
    first document that has one). A run that stands in several of the other files is counted in each.
    """
    texts = [records.read_table(path, records.DOCUMENT, ["text"]) for path in held]
    if not texts:
        return 0, 0, ""
    looked_for = np.unique(run_hashes(pa.concat_tables(texts).column("text"), limit + 1)[0])
    found, first = 0, ""
    for path in trained:
        documents = records.read_table(path, records.DOCUMENT, ["doc_id", "text"])
        where, rows = _standing(documents.column("text"), limit, looked_for)
        found += len(where)
        first = first or (documents.column("doc_id")[int(rows.min())].as_py() if len(rows) else "")
    return len(looked_for), found, first


# ------------------------------------------------------------------ what is known about runs


@dataclass(frozen=True)
class _Candidates:
    """Candidates of one language. ``runs``: hashes of the runs one token longer than may be shared, of one document
    after another, ``starts`` (n + 1) where each begins; ``group`` numbers what is held out together.
    """

    lang: str
    ids: list[str]
    group: Integers
    runs: Hashes
    starts: Integers

    @property
    def document(self) -> Integers:
        """The document of each run."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.starts))


@dataclass
class _Sought:
    """The runs of one language's candidates, looked for everywhere.

    ``met``: of each run the number, in ``who``, of a document that is trained on and has it, -1 where none does.
    ``elsewhere``: runs of theirs that candidates of other languages hold; ``holder`` is the id of each such candidate,
    ``holder_group`` its group.
    """

    candidates: _Candidates
    met: Integers
    who: list[str]
    elsewhere: Hashes
    holder: list[str]
    holder_group: Integers

    def touched(self) -> Integers:
        """The documents that share a run with what is trained on."""
        return np.unique(self.candidates.document[self.met >= 0])

    def spread(self, gone: npt.NDArray[np.bool_]) -> None:
        """Runs of candidates whose groups went back are met by the others that have them."""
        c = self.candidates
        document = c.document
        mine = gone[c.group[document]]
        theirs = np.flatnonzero(gone[self.holder_group])
        runs, at = np.unique(np.concatenate([c.runs[mine], self.elsewhere[theirs]]), return_index=True)
        if not len(runs):
            return
        place = np.minimum(np.searchsorted(runs, c.runs), len(runs) - 1)
        hit = (runs[place] == c.runs) & ~mine & (self.met < 0)
        owners = [c.ids[row] for row in document[mine].tolist()] + [self.holder[row] for row in theirs.tolist()]
        self.met[hit] = len(self.who) + place[hit]
        self.who += [owners[i] for i in at.tolist()]

    def shared(self, limit: int) -> Back:
        """The documents that share a run, the longest of each, and who has the first."""
        c = self.candidates
        longest = longest_runs(self.met >= 0, c.starts)
        hits = np.flatnonzero(self.met >= 0)
        rows, at = np.unique(c.document[hits], return_index=True)
        return {
            c.ids[row]: (c.lang, int(longest[row]) + limit, self.who[self.met[hit]])
            for row, hit in zip(rows.tolist(), hits[at].tolist(), strict=True)
        }


# ------------------------------------------------------------------ files


def _language(path: Path) -> str:
    """The language of a file of the matrix, by its name."""
    return path.name.removeprefix(records.PART).partition("-")[0]


def _gather(split: Split, scratch: Path, path: Path) -> None:
    """The candidates of a file, and hashes of their runs."""
    documents = records.read_table(path, records.DOCUMENT, _COLUMNS)
    documents = documents.filter(pa.array(are_candidates(split, documents)))
    limit = split.max_run.get(_language(path))
    if limit is None:
        runs, starts = np.zeros(0, np.uint64), np.zeros(documents.num_rows + 1, np.int64)
    else:
        runs, starts = run_hashes(documents.column("text"), limit + 1)
    kept = {
        "doc_id": documents.column("doc_id"),
        "group": groups(split, documents),
        "runs": pa.LargeListArray.from_arrays(starts, pa.array(runs, pa.uint64())),
    }
    records.write_table(pa.table(kept), scratch / path.name)


def _read(lang: str, scratch: Path, parts: list[Path], names: dict[str, int]) -> _Candidates:
    ids: list[str] = []
    group: list[int] = []
    runs, lengths = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for path in parts:
        table = records.read_table(scratch / path.name).combine_chunks()
        ids += table["doc_id"].to_pylist()
        group += [names.setdefault(name, len(names)) for name in table["group"].to_pylist()]
        for chunk in table["runs"].chunks:
            runs.append(chunk.flatten().to_numpy())
            lengths.append(np.diff(chunk.offsets.to_numpy()))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return _Candidates(lang, ids, np.array(group, np.int64), np.concatenate(runs), starts)


def _meet(split: Split, scratch: Path, wanted: list[str], path: Path) -> None:
    """Which of the candidates' runs of each language stand in the documents of a file: in those that are trained on
    anyhow, and in which first; and in each candidate of another language.
    """
    documents = records.read_table(path, records.DOCUMENT, _COLUMNS)
    mask = are_candidates(split, documents)
    trained, others = documents.filter(pa.array(~mask)), documents.filter(pa.array(mask))
    for lang in wanted:
        looked_for, limit = np.load(scratch / f"{lang}.npy", allow_pickle=False), split.max_run[lang]
        where, first = _standing(trained.column("text"), limit, looked_for)
        _write_found(
            where, [trained.column("doc_id")[row].as_py() for row in first.tolist()], scratch, "met", lang, path
        )
        if lang != _language(path):
            where, rows = _places(others.column("text"), limit, looked_for)
            _write_found(
                where, [others.column("doc_id")[row].as_py() for row in rows.tolist()], scratch, "held", lang, path
            )
    records.write_text(_met(scratch, path), "")


def _met(scratch: Path, path: Path) -> Path:
    """Says that a file has been looked through."""
    return scratch / f"{path.stem}.met"


def _write_found(where: Integers, ids: list[str], scratch: Path, kind: str, lang: str, path: Path) -> None:
    kept = {"run": pa.array(where, pa.int64()), "doc_id": pa.array(ids, pa.string())}
    records.write_table(pa.table(kept), scratch / f"{kind}-{lang}-{path.name}")


def _places(texts: pa.ChunkedArray, limit: int, looked_for: Hashes) -> tuple[Integers, Integers]:
    """(places in ``looked_for``, sorted hashes, of all runs that stand in texts, the text of each)."""
    runs, starts = run_hashes(texts, limit + 1)
    if not len(looked_for) or not len(runs):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(looked_for, runs), len(looked_for) - 1)
    hits = np.flatnonzero(looked_for[place] == runs)
    return place[hits], np.searchsorted(starts, hits, "right") - 1


def _standing(texts: pa.ChunkedArray, limit: int, looked_for: Hashes) -> tuple[Integers, Integers]:
    """(places in ``looked_for`` of the runs that stand in texts, each once, the first text of each)."""
    places, rows = _places(texts, limit, looked_for)
    where, at = np.unique(places, return_index=True)
    return where, rows[at]


def _look(scratch: Path, parts: list[Path], c: _Candidates, everyone: Iterable[_Candidates]) -> _Sought:
    """What was found of one language's runs."""
    runs, places = np.unique(c.runs, return_inverse=True)
    by_run = np.full(len(runs), -1, np.int64)
    who: list[str] = []
    elsewhere, holder = [np.zeros(0, np.uint64)], []
    for path in parts:
        table = records.read_table(scratch / f"met-{c.lang}-{path.name}")
        where = table["run"].to_numpy()
        new = by_run[where] < 0
        by_run[where[new]] = len(who) + np.flatnonzero(new)
        who += table["doc_id"].to_pylist()
        if _language(path) != c.lang:
            table = records.read_table(scratch / f"held-{c.lang}-{path.name}")
            elsewhere.append(runs[table["run"].to_numpy()])
            holder += table["doc_id"].to_pylist()
    group = {doc_id: number for of in everyone for doc_id, number in zip(of.ids, of.group.tolist(), strict=True)}
    met = by_run[places] if len(runs) else np.zeros(0, np.int64)
    return _Sought(c, met, who, np.concatenate(elsewhere), holder, np.array([group[h] for h in holder], np.int64))
