"""Which candidates share a long run of text with what is trained on, and so are trained on themselves.

A run is looked for in documents of every language: pages quote, and are translated in part. How long it may be is said
by the language of the candidate (``heldout.max_run``: words, Chinese characters each by itself). What went back is
trained on, so others that share a run with that go back as well, until nothing shares one any more.

One pass over the files gathers the candidates' runs, another looks for them in all documents. Hashes of what candidates
hold lie on disk, sorted, and are put together a share of all hashes at a time; in memory are those that somebody else
holds as well, which are few, and a byte for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.recipe.data import Split
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Workspace
from neo_assets.corpus.candidates import are_candidates, groups
from neo_assets.text.runs import longest_streaks, run_hashes

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.signedinteger]
Back = dict[str, tuple[str, int, str]]
"""Candidates that are trained on after all, by id: language, longest shared run (0: a translation of theirs shares
one), and who has it.
"""
AT_ONCE = 1 << 24
"""Hashes that are put together at once: some hundred megabytes."""
_COLUMNS = ["doc_id", "url", "cluster_id", "text"]


def went_back(split: Split, parts: list[Path], out: Workspace) -> Back:
    """Candidates that share a run with what is trained on, and all that are held out together with them."""
    if not any(_language(path) in split.max_run for path in parts):
        return {}
    scratch = out.path / ".logs" / "runs"
    scratch.mkdir(parents=True, exist_ok=True)
    size = total_bytes(parts)
    run_shards(partial(_gather, split, scratch), parts, out, writes=lambda path: scratch / path.name, input_bytes=size)
    by_language = {lang: [p for p in parts if _language(p) == lang] for lang in sorted({_language(p) for p in parts})}
    wanted = [lang for lang in by_language if lang in split.max_run]
    often = {lang: _put_together(scratch, lang, by_language[lang]) for lang in wanted}
    run_shards(partial(_meet, split, scratch, wanted), parts, out, writes=partial(_met, scratch), input_bytes=size)
    names: dict[str, int] = {}
    found = {lang: _read(scratch, by_language[lang], names) for lang in by_language}
    group = dict(pair for of in found.values() for pair in zip(of.ids, of.group.tolist(), strict=True))
    sought = {lang: _look(scratch, lang, parts, by_language[lang], found[lang], often[lang], group) for lang in wanted}
    del group, often

    gone = np.zeros(len(names), np.bool_)
    while True:  # what went back is trained on, and others may share a run with that
        now = gone.copy()
        for one in sought.values():
            now[one.candidates.group[one.touched()]] = True
        if (now == gone).all():
            break
        for one in sought.values():
            one.spread(now)
        gone = now
    back = {
        doc_id: (lang, 0, "")
        for lang, of in found.items()
        for doc_id, group in zip(of.ids, of.group.tolist(), strict=True)
        if gone[group]
    }
    for lang, one in sought.items():
        back |= one.shared(lang, split.max_run[lang])
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
    """Candidates of one language; ``group`` numbers what is held out together."""

    ids: list[str]
    group: Integers


@dataclass
class _Sought:
    """Those runs of one language's candidates that stand anywhere else, in the order in which they stand: hashes
    (``runs``), ``document`` and ``position`` in it.

    ``met``: of each run the number, in ``who``, of a document that is trained on and has it, -1 where none does.
    ``elsewhere``: runs of theirs that candidates of other languages hold; ``holder`` is the id of each such candidate,
    ``holder_group`` its group.
    """

    candidates: _Candidates
    runs: Hashes
    document: Integers
    position: Integers
    met: Integers
    who: list[str]
    elsewhere: Hashes
    holder: list[str]
    holder_group: Integers

    def touched(self) -> Integers:
        """The documents that share a run with what is trained on."""
        return np.unique(self.document[self.met >= 0])

    def spread(self, gone: npt.NDArray[np.bool_]) -> None:
        """Runs of candidates whose groups went back are met by the others that have them."""
        c = self.candidates
        mine = gone[c.group[self.document]]
        theirs = np.flatnonzero(gone[self.holder_group])
        runs, at = np.unique(np.concatenate([self.runs[mine], self.elsewhere[theirs]]), return_index=True)
        if not len(runs):
            return
        place = np.minimum(np.searchsorted(runs, self.runs), len(runs) - 1)
        hit = (runs[place] == self.runs) & ~mine & (self.met < 0)
        owners = [c.ids[row] for row in self.document[mine].tolist()] + [self.holder[row] for row in theirs.tolist()]
        self.met[hit] = len(self.who) + place[hit]
        self.who += [owners[i] for i in at.tolist()]

    def shared(self, lang: str, limit: int) -> Back:
        """The documents that share a run, the longest of each, and who has the first."""
        hits = np.flatnonzero(self.met >= 0)
        rows, at = np.unique(self.document[hits], return_index=True)
        longest = longest_streaks(self.document[hits], self.position[hits])
        return {
            self.candidates.ids[row]: (lang, int(streak) + limit, self.who[self.met[hit]])
            for row, streak, hit in zip(rows.tolist(), longest.tolist(), hits[at].tolist(), strict=True)
        }


# ------------------------------------------------------------------ files


def _language(path: Path) -> str:
    """The language of a file of the matrix, by its name."""
    return path.name.removeprefix(records.PART).partition("-")[0]


def _gather(split: Split, scratch: Path, path: Path) -> None:
    """The candidates of a file, and hashes of their runs: as they stand, and sorted."""
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
        "lengths": pa.array(np.diff(starts)),
    }
    records.write_array(runs, _as_they_stand(scratch, path))
    records.write_array(np.sort(runs), _sorted(scratch, path))
    records.write_table(pa.table(kept), scratch / path.name)


def _as_they_stand(scratch: Path, path: Path) -> Path:
    return scratch / f"{path.stem}.runs.npy"


def _sorted(scratch: Path, path: Path) -> Path:
    return scratch / f"{path.stem}.sorted.npy"


def _put_together(scratch: Path, lang: str, parts: list[Path]) -> npt.NDArray[np.bool_]:
    """Write every hash that candidates of a language hold, sorted, each once; whether they hold it more than once."""
    files = [np.load(_sorted(scratch, path), mmap_mode="r") for path in parts]
    shares = max(1, -(-sum(map(len, files)) // AT_ONCE))
    borders = [int(n * (1 << 64) // shares) for n in range(1, shares)]
    cuts = [[0, *(int(np.searchsorted(f, np.uint64(b))) for b in borders), len(f)] for f in files]
    aside, often = scratch / f"{lang}.bin.tmp", [np.zeros(0, np.bool_)]
    with aside.open("wb") as stream:
        for n in range(shares):
            pieces = [np.asarray(f[cut[n] : cut[n + 1]]) for f, cut in zip(files, cuts, strict=True)]
            runs, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *pieces]), return_counts=True)
            stream.write(runs.astype("<u8").tobytes())
            often.append(counts > 1)
    records.fsync_rename(aside, _table(scratch, lang))
    return np.concatenate(often)


def _table(scratch: Path, lang: str) -> Path:
    return scratch / f"{lang}.bin"


def _open_table(scratch: Path, lang: str) -> Hashes:
    """Hashes of all runs of a language's candidates, sorted, mapped."""
    file = _table(scratch, lang)
    return np.memmap(file, "<u8", "r") if file.stat().st_size else np.zeros(0, np.uint64)


def _read(scratch: Path, parts: list[Path], names: dict[str, int]) -> _Candidates:
    ids: list[str] = []
    group: list[int] = []
    for path in parts:
        table = records.read_table(scratch / path.name, columns=["doc_id", "group"])
        ids += table["doc_id"].to_pylist()
        group += [names.setdefault(name, len(names)) for name in table["group"].to_pylist()]
    return _Candidates(ids, np.array(group, np.int64))


def _meet(split: Split, scratch: Path, wanted: list[str], path: Path) -> None:
    """Which of the candidates' runs of each language stand in the documents of a file: in those that are trained on
    anyhow, and in which first; and in each candidate of another language.
    """
    documents = records.read_table(path, records.DOCUMENT, _COLUMNS)
    mask = are_candidates(split, documents)
    trained, others = documents.filter(pa.array(~mask)), documents.filter(pa.array(mask))
    for lang in wanted:
        looked_for, limit = _open_table(scratch, lang), split.max_run[lang]
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


def _look(
    scratch: Path,
    lang: str,
    parts: list[Path],
    own: list[Path],
    c: _Candidates,
    often: npt.NDArray[np.bool_],
    group: Mapping[str, int],
) -> _Sought:
    """What was found of one language's runs. ``often``: of each in the table, whether candidates hold it twice."""
    table = _open_table(scratch, lang)
    told = often.copy()
    for path in parts:
        for kind in ("met", "held") if _language(path) != lang else ("met",):
            told[records.read_table(scratch / f"{kind}-{lang}-{path.name}", columns=["run"])["run"].to_numpy()] = True
    kept = np.flatnonzero(told)  # of the table: what stands anywhere else
    by_run = np.full(len(kept), -1, np.int32)
    who: list[str] = []
    elsewhere, holder = [np.zeros(0, np.uint64)], []
    for path in parts:
        found = records.read_table(scratch / f"met-{lang}-{path.name}")
        where = np.searchsorted(kept, found["run"].to_numpy())
        new = by_run[where] < 0
        by_run[where[new]] = len(who) + np.flatnonzero(new)
        who += found["doc_id"].to_pylist()
        if _language(path) != lang:
            found = records.read_table(scratch / f"held-{lang}-{path.name}")
            elsewhere.append(table[found["run"].to_numpy()])
            holder += found["doc_id"].to_pylist()
    hashes = np.asarray(table[kept])
    runs, documents, positions, places = (list[npt.NDArray[Any]]() for _ in range(4))
    first = 0
    for path in own:
        standing = np.load(_as_they_stand(scratch, path), mmap_mode="r")
        lengths = records.read_table(scratch / path.name, columns=["lengths"])["lengths"].to_numpy()
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        place = np.minimum(np.searchsorted(hashes, standing), max(len(hashes) - 1, 0))
        mine = np.flatnonzero(hashes[place] == standing) if len(hashes) else np.zeros(0, np.int64)
        document = np.searchsorted(starts, mine, "right") - 1
        runs.append(np.asarray(standing[mine]))
        documents.append((first + document).astype(np.int32))
        positions.append((mine - starts[document]).astype(np.int32))
        places.append(place[mine])
        first += len(lengths)
    none = np.zeros(0, np.int32)
    return _Sought(
        candidates=c,
        runs=np.concatenate([np.zeros(0, np.uint64), *runs]),
        document=np.concatenate([none, *documents]),
        position=np.concatenate([none, *positions]),
        met=by_run[np.concatenate([np.zeros(0, np.int64), *places])],
        who=who,
        elsewhere=np.concatenate(elsewhere),
        holder=holder,
        holder_group=np.array([group[h] for h in holder], np.int64),
    )
