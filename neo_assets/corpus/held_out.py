"""``heldout`` and ``train_pool``: the line between what is evaluated on and what is trained on.

Candidates are whole near-duplicate clusters, or pages with their translations, drawn by a keyed hash. A candidate that
shares a long run of words (Chinese: characters) with a document that is trained on goes back to it, and so does one
that shares a run with what went back, until nothing shares one any more: what stays is held out, and its text is not
trained on under another address either. Looked at are documents of one language: what an English document shares with
an English passage of a Chinese page is not found here, but by ``contamination``. The line is drawn once, in
``heldout``; ``train_pool`` is all the rest, looked through again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from neo_assets.core import records
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Split
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.stage import Claim
from neo_assets.core.steps import Decision, run_step, totals
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.core.words import counted
from neo_assets.text.runs import longest_runs, run_hashes

NO_SHARED_RUNS = Claim(
    "no_shared_runs",
    "No run of a held-out document that is longer than the recipe's max_run stands in a document of its language that"
    " is trained on.",
)
SHARED_RUN, WITH_ITS_PAGE = "shared_run", "with_its_page"
"""Rules of candidates that are trained on after all: they share a run themselves; a translation of theirs does."""
IN_TRAIN_POOL, HELD_OUT = "in_train_pool", "held_out"
Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]


class SplitInput(Section):
    languages: list[str]
    split: Split


def is_held_out(name: str, split: Split) -> bool:
    """Whether a near-duplicate cluster, or a page with its translations, is a candidate: its keyed hash falls into the
    recipe's share.
    """
    return xxhash.xxh3_64_intdigest(name.encode(), seed=split.seed) < int(split.share * (1 << 64))


def hold_out(config: SplitInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents that nothing trains on, the tokenizer included; evaluation tasks are made from them.

    A candidate that is trained on after all has a verdict with the longest run that it shares, and with whom.
    """
    (matrix,) = inputs.values()
    parts = matrix.files(records.PART)
    back = _went_back(config.split, parts, out)
    records.write_text(out.path / ".logs" / _BACK, json.dumps(back))
    outcome = run_step(
        "heldout",
        parts,
        partial(_held, config.split, out.path / ".logs" / _BACK),
        out,
        expected=matrix.manifest.rows_kept or 0,
    )
    _count(outcome, config.languages, out)
    for lang in config.split.max_run:
        outcome.numbers[f"went_back_{lang}"] = sum(where == lang for where, *_ in back.values())
    for check in outcome.checks:
        if check.name == "language_not_empty" and not check.passed and back:
            check.detail += (
                f"; {counted(len(back), 'candidate')} went back: longer runs are shared with what is trained on than"
                " heldout.max_run lets pass. Raise it, or heldout.share"
            )
    return outcome


def pool(config: SplitInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Everything of the matrix that is not held out: what mixtures and the tokenizer may draw from."""
    matrix, held = inputs["matrix"], inputs["heldout"]
    ids = out.path / ".logs" / "held_out.txt"
    ids.parent.mkdir(parents=True, exist_ok=True)
    names = [records.read_table(path, columns=["doc_id"])["doc_id"].to_pylist() for path in held.files(records.PART)]
    records.write_text(ids, "\n".join(name for part in names for name in part))
    outcome = run_step(
        "train_pool", matrix.files(records.PART), partial(_trained, ids), out, expected=matrix.manifest.rows_kept or 0
    )
    _count(outcome, config.languages, out)
    outcome.checks.append(_no_shared_runs(config.split, held, out))
    return outcome


def _count(outcome: Outcome, languages: Iterable[str], out: Workspace) -> None:
    """What the two sides tell: documents by language, and that no language is without."""
    counts = {lang: totals(sorted(out.path.glob(f"{records.PART}{lang}-*.parquet")), []).rows for lang in languages}
    outcome.numbers = {f"documents_{lang}": n for lang, n in counts.items()} | {
        "text_bytes": outcome.numbers["text_bytes"]
    }
    outcome.checks = [c for c in outcome.checks if c.name == "rows_balance"] + [
        Check(name="language_not_empty", passed=all(counts.values()), detail=str(counts))
    ]


# ------------------------------------------------------------------ sides

_BACK = "went_back.json"
Back = dict[str, tuple[str, int, str]]
"""Candidates that are trained on after all, by id: language, longest shared run (0: a translation of theirs shares
one), and who has it.
"""


def _group(split: Split, url: str | None, cluster: str) -> str:
    return split.page(url) or cluster


def _candidates(split: Split, documents: pa.Table) -> npt.NDArray[np.bool_]:
    clusters, urls = documents.column("cluster_id").to_pylist(), documents.column("url").to_pylist()
    return np.array([is_held_out(_group(split, u, c), split) for c, u in zip(clusters, urls, strict=True)], np.bool_)


def _held(split: Split, back_file: Path, documents: pa.Table, _: Path) -> Decision:
    back: Back = json.loads(back_file.read_text(encoding="utf-8"))
    decision = Decision.keep(documents.num_rows)
    decision.dropped = ~_candidates(split, documents)
    decision.rule[decision.dropped] = IN_TRAIN_POOL
    decision.twin = [""] * documents.num_rows
    for row, doc_id in enumerate(documents.column("doc_id").to_pylist()):
        if doc_id in back:
            lang, run, decision.twin[row] = back[doc_id]
            decision.dropped[row] = True
            decision.rule[row] = SHARED_RUN if run else WITH_ITS_PAGE
            decision.value[row], decision.threshold[row] = (run, split.max_run[lang]) if run else (np.nan, np.nan)
    return decision


def _trained(ids: Path, documents: pa.Table, _: Path) -> Decision:
    held = set(ids.read_text(encoding="utf-8").split("\n"))
    decision = Decision.keep(documents.num_rows)
    decision.dropped = np.array([i in held for i in documents.column("doc_id").to_pylist()], np.bool_)
    decision.rule[decision.dropped] = HELD_OUT
    return decision


# ------------------------------------------------------------------ shared runs


@dataclass(frozen=True)
class _Candidates:
    """Candidates of one language. ``runs``: hashes of the runs one token longer than may be shared, of one document
    after another, ``starts`` (n + 1) where each begins; ``group`` numbers what is held out together.
    """

    ids: list[str]
    group: Integers
    runs: Hashes
    starts: Integers

    @property
    def document(self) -> Integers:
        """The document of each run."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.starts))


def _went_back(split: Split, parts: list[Path], out: Workspace) -> Back:
    """Candidates that share a run with what is trained on, and all that are held out together with them."""
    scratch = out.path / ".logs" / "runs"
    scratch.mkdir(parents=True, exist_ok=True)
    mine = [path for path in parts if _language(path) in split.max_run]
    if not mine:
        return {}
    names: dict[str, int] = {}
    back: Back = {}
    found: dict[str, _Candidates] = {}
    met: dict[str, npt.NDArray[np.int64]] = {}
    who: dict[str, list[str]] = {}
    _each(partial(_gather, split, scratch), parts, out)
    for lang in sorted({_language(path) for path in parts}):
        found[lang] = _read(scratch, [p for p in parts if _language(p) == lang], names)
        records.write_array(np.unique(found[lang].runs), scratch / f"{lang}.npy")
    _each(partial(_meet, split, scratch), mine, out)
    for lang in found:
        met[lang], who[lang] = _met(scratch, [p for p in mine if _language(p) == lang], found[lang])
    gone = np.zeros(len(names), np.bool_)
    while True:  # what went back is trained on, and others may share a run with that
        touched = {lang: np.unique(c.document[met[lang] >= 0]) for lang, c in found.items()}
        now = gone.copy()
        for lang, c in found.items():
            now[c.group[touched[lang]]] = True
        if (now == gone).all():
            break
        for lang, c in found.items():
            _spread(c, now, met[lang], who[lang])
        gone = now
    for lang, c in found.items():
        shared = longest_runs(met[lang] >= 0, c.starts)
        hits = np.flatnonzero(met[lang] >= 0)
        rows, at = np.unique(c.document[hits], return_index=True)
        first = dict(zip(rows.tolist(), met[lang][hits[at]].tolist(), strict=True))
        for row in np.flatnonzero(gone[c.group]).tolist():
            run = int(shared[row]) + split.max_run[lang] if shared[row] else 0
            back[c.ids[row]] = (lang, run, who[lang][first[row]] if run else "")
    return back


def _spread(c: _Candidates, gone: npt.NDArray[np.bool_], met: Integers, who: list[str]) -> None:
    """Runs of documents that went back are met by the others that have them; ``who`` gets those documents' ids."""
    document = c.document
    source = gone[c.group[document]]
    runs, at = np.unique(c.runs[source], return_index=True)
    owners = document[np.flatnonzero(source)[at]]
    place = np.searchsorted(runs, c.runs)
    place[place == len(runs)] = 0
    hit = np.zeros(len(c.runs), np.bool_) if not len(runs) else (runs[place] == c.runs) & ~source & (met < 0)
    begin = len(who)
    who += [c.ids[owner] for owner in owners.tolist()]
    met[hit] = begin + place[hit]


def _each(work: partial[None], parts: list[Path], out: Workspace) -> None:
    run_shards(work, parts, workers=out.workers, scratch=out.path / ".logs" / "shards", input_bytes=total_bytes(parts))


def _language(path: Path) -> str:
    """The language of a file of the matrix, by its name."""
    return path.name.removeprefix(records.PART).partition("-")[0]


def _gather(split: Split, scratch: Path, path: Path) -> None:
    """The candidates of a file, and hashes of their runs."""
    documents = records.read_table(path, records.DOCUMENT, ["doc_id", "url", "cluster_id", "text"])
    documents = documents.filter(pa.array(_candidates(split, documents)))
    limit = split.max_run.get(_language(path))
    if limit is None:
        runs, starts = np.zeros(0, np.uint64), np.zeros(documents.num_rows + 1, np.int64)
    else:
        runs, starts = run_hashes(documents.column("text"), limit + 1)
    clusters, urls = (documents.column(name).to_pylist() for name in ("cluster_id", "url"))
    groups = [_group(split, url, cluster) for cluster, url in zip(clusters, urls, strict=True)]
    kept = {
        "doc_id": documents.column("doc_id"),
        "group": groups,
        "runs": pa.LargeListArray.from_arrays(starts, pa.array(runs, pa.uint64())),
    }
    records.write_table(pa.table(kept), scratch / path.name)


def _read(scratch: Path, parts: list[Path], names: dict[str, int]) -> _Candidates:
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
    return _Candidates(ids, np.array(group, np.int64), np.concatenate(runs), starts)


def _meet(split: Split, scratch: Path, path: Path) -> None:
    """Which of the candidates' runs stand in documents of a file that are trained on anyhow, and in which first."""
    documents = records.read_table(path, records.DOCUMENT, ["doc_id", "url", "cluster_id", "text"])
    documents = documents.filter(pa.array(~_candidates(split, documents)))
    looked_for = np.load(scratch / f"{_language(path)}.npy", allow_pickle=False)
    where, first = _standing(documents.column("text"), split.max_run[_language(path)], looked_for)
    ids = documents.column("doc_id").to_pylist()
    kept = {"run": pa.array(where, pa.int64()), "doc_id": pa.array([ids[row] for row in first], pa.string())}
    records.write_table(pa.table(kept), scratch / f"met-{path.name}")


def _standing(texts: pa.ChunkedArray, limit: int, looked_for: Hashes) -> tuple[Integers, Integers]:
    """(places in ``looked_for``, sorted hashes, of runs that stand in texts, the first text of each)."""
    runs, starts = run_hashes(texts, limit + 1)
    if not len(looked_for) or not len(runs):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(looked_for, runs), len(looked_for) - 1)
    hits = np.flatnonzero(looked_for[place] == runs)
    where, at = np.unique(place[hits], return_index=True)
    return where, np.searchsorted(starts, hits[at], "right") - 1


def _met(scratch: Path, parts: list[Path], c: _Candidates) -> tuple[Integers, list[str]]:
    """Of each run of the candidates the number of a document that is trained on and has it, -1 where none does, and
    the ids of these documents.
    """
    runs, places = np.unique(c.runs, return_inverse=True)
    by_run = np.full(len(runs), -1, np.int64)
    who: list[str] = []
    for path in parts:
        table = records.read_table(scratch / f"met-{path.name}")
        where = table["run"].to_numpy()
        new = by_run[where] < 0
        by_run[where[new]] = len(who) + np.flatnonzero(new)
        who += table["doc_id"].to_pylist()
    return by_run[places] if len(runs) else np.zeros(0, np.int64), who


def _no_shared_runs(split: Split, held: Artifact, out: Workspace) -> Check:
    """Look through what is trained on for every run of what is held out."""
    found, looked, first = 0, 0, ""
    for lang, limit in sorted(split.max_run.items()):
        texts = [records.read_table(p, records.DOCUMENT, ["text"]) for p in held.files(f"{records.PART}{lang}-")]
        if not texts:
            continue
        looked_for = np.unique(run_hashes(pa.concat_tables(texts).column("text"), limit + 1)[0])
        looked += len(looked_for)
        for path in sorted(out.path.glob(f"{records.PART}{lang}-*.parquet")):
            documents = records.read_table(path, records.DOCUMENT, ["doc_id", "text"])
            where, rows = _standing(documents.column("text"), limit, looked_for)
            found += len(where)
            first = first or (documents.column("doc_id")[int(rows[0])].as_py() if len(rows) else "")
    longest = ", ".join(f"{lang} {limit}" for lang, limit in sorted(split.max_run.items()))
    return Check(
        name=NO_SHARED_RUNS.name,
        passed=not found,
        detail=f"{found} of {looked:,} runs of held-out documents stand in what is trained on, the first in {first}"
        if found
        else f"none of {looked:,} runs that are longer than may be shared ({longest or 'no language has a bound'})",
    )
