"""``heldout`` and ``train_pool``: the line between what is evaluated on and what is trained on.

Candidates are whole near-duplicate clusters, or pages with their translations, drawn by a keyed hash. Those that share
a long run of text with what is trained on go back to it (``shared_runs``): what stays is held out, and its text is not
trained on under another address either. The line is drawn once, in ``heldout``; ``train_pool`` is all the rest, looked
through again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Split
from neo_assets.core.stage import Claim
from neo_assets.core.steps import Decision, run_step, totals
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.core.words import counted
from neo_assets.corpus.candidates import are_candidates
from neo_assets.corpus.shared_runs import Back, common_runs, went_back

NO_SHARED_RUNS = Claim(
    "no_shared_runs",
    "No run of a held-out document that is longer than the recipe's max_run for its language stands in a document, of"
    " whatever language, that is trained on.",
)
SHARED_RUN, WITH_ITS_PAGE = "shared_run", "with_its_page"
"""Rules of candidates that are trained on after all: they share a run themselves; a translation of theirs does."""
IN_TRAIN_POOL, HELD_OUT = "in_train_pool", "held_out"
_BACK = "went_back.json"


class SplitInput(Section):
    languages: list[str]
    split: Split


def hold_out(config: SplitInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents that nothing trains on, the tokenizer included; evaluation tasks are made from them.

    A candidate that is trained on after all has a verdict with the longest run that it shares, and with whom.
    """
    (matrix,) = inputs.values()
    parts = matrix.files(records.PART)
    back = went_back(config.split, parts, out)
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


def _held(split: Split, back_file: Path, documents: pa.Table, _: Path) -> Decision:
    back: Back = json.loads(back_file.read_text(encoding="utf-8"))
    decision = Decision.keep(documents.num_rows)
    decision.dropped = ~are_candidates(split, documents)
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


def _no_shared_runs(split: Split, held: Artifact, out: Workspace) -> Check:
    """Look through all that is trained on for every run of what is held out."""
    found, looked, first = 0, 0, ""
    trained = sorted(out.path.glob(f"{records.PART}*.parquet"))
    for lang, limit in sorted(split.max_run.items()):
        runs, shared, who = common_runs(held.files(f"{records.PART}{lang}-"), trained, limit)
        looked, found, first = looked + runs, found + shared, first or who
    longest = ", ".join(f"{lang} {limit}" for lang, limit in sorted(split.max_run.items()))
    return Check(
        name=NO_SHARED_RUNS.name,
        passed=not found,
        detail=f"{found} of {looked:,} runs of held-out documents stand in what is trained on, the first in {first}"
        if found
        else f"none of {looked:,} runs that are longer than may be shared ({longest or 'no language has a bound'})",
    )
