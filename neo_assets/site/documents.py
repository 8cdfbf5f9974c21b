"""Documents as the site shows them: where each came from, what every step decided and changed, and which training steps
read it.

No text is shown whose licence does not allow it; nothing of a document that was withdrawn, or that was dropped as the
copy of one; personal data is masked in every text, whichever step a document came to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neo_assets.core.here import here
from neo_assets.core.records import DROPPED, EDITED, PART
from neo_assets.core.store import Artifact, Row
from neo_assets.core.tombstones import Scope, Target
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.core.withdrawn import SIDES, all_withdrawn
from neo_assets.quality.pii_masked import masked
from neo_assets.report.funnel import Fates
from neo_assets.site.edits import Edit, edits
from neo_assets.trace.reads import Reader

POOL, HELD_OUT, OUT = "kept", "held out", "dropped"
_TOLD = ("doc_id", "url", "title", "lang", "source", "licence")
_VERDICTS = """
select doc_id, stage, verdict, rule, value, threshold, twin, detail from verdicts
where list_contains(?, stage) and doc_id in (select unnest(?)) order by place, stage
"""
SHOWN_DETAIL = 300


@dataclass
class Shown:
    """A document. ``text``: as it was extracted, None where it may not be shown; ``edits``: by step, what it changed;
    ``reads``: by run, how many places of its steps read it, the first and the last step.
    """

    doc_id: str
    url: str
    title: str
    lang: str
    source: str
    licence: str
    fate: str = OUT
    text: str | None = None
    final: str | None = None
    decided: list[Row] = field(default_factory=list)
    edits: list[tuple[str, list[Edit]]] = field(default_factory=list)
    reads: list[tuple[str, int, int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """What of a build's documents is shown. ``steps``: artifacts that have texts, in order, the extracted ones first;
    ``stages``: artifacts that decide what is kept; ``placeholders``: what personal data is masked with.
    """

    licences: frozenset[str]
    most: int
    steps: Sequence[str]
    stages: Sequence[str]
    placeholders: Mapping[str, str]


@dataclass(frozen=True)
class Documents:
    """Those that are shown, and how many more there are: not drawn, and withdrawn."""

    shown: Sequence[Shown]
    not_drawn: int
    withdrawn: int


def documents(
    asked: Asked,
    made: Mapping[str, Artifact],
    ledger: Fates,
    tombstones: Mapping[Scope, Sequence[Target]],
    readers: Iterable[Reader],
) -> Documents:
    """The documents of a build, kept ones first, each with its texts and fates."""
    ids, gone = _ids_shown(made, tombstones)
    drawn = sorted(ids)[: asked.most]
    found = _of(made, drawn, asked.placeholders)
    for row in ledger.rows(_VERDICTS, [list(asked.stages), drawn]):
        row["detail"] = masked(str(row["detail"] or ""), asked.placeholders)[0][:SHOWN_DETAIL]
        found[str(row["doc_id"])].decided.append(row)
    copies = {doc_id for doc_id, one in found.items() if any(row["twin"] in gone for row in one.decided)}
    found = {doc_id: one for doc_id, one in found.items() if doc_id not in copies}
    for side, fate in ((SIDES[0], POOL), (SIDES[1], HELD_OUT)):
        for doc_id in _ids(made.get(side)) & found.keys():
            found[doc_id].fate = fate
    _texts(asked, made, found)
    _reads(readers, found)
    order = {POOL: 0, HELD_OUT: 1, OUT: 2}
    shown = sorted(found.values(), key=lambda one: (order[one.fate], one.source, one.url, one.doc_id))
    return Documents(shown, len(ids) - len(drawn), len(gone) + len(copies))


def _ids_shown(
    made: Mapping[str, Artifact], tombstones: Mapping[Scope, Sequence[Target]]
) -> tuple[list[str], set[str]]:
    """Ids of every document that was extracted and not withdrawn, and of those that were."""
    targets = list(dict.fromkeys(target for told in tombstones.values() for target in told))
    gone: set[str] = set()
    if WITHDRAWN in made:
        gone = {d for side in SIDES for scope in tombstones for d in all_withdrawn(made, side, scope)}
    ids: list[str] = []
    for path in _extracted(made):
        table = pq.read_table(here(path), columns=list(_TOLD))
        named = np.zeros(table.num_rows, np.bool_)
        for target in targets:
            named |= target.of_table(table).combine_chunks().to_numpy(zero_copy_only=False)
        gone |= set(table["doc_id"].filter(pa.array(named)).to_pylist())
        ids += table["doc_id"].to_pylist()
    return [doc_id for doc_id in ids if doc_id not in gone], gone


def _extracted(made: Mapping[str, Artifact]) -> Iterator[Path]:
    for name, artifact in made.items():
        if name.startswith("documents/"):
            yield from artifact.files(PART)


def _of(made: Mapping[str, Artifact], drawn: Sequence[str], placeholders: Mapping[str, str]) -> dict[str, Shown]:
    """What is told of these documents from the beginning on."""
    wanted, found = pa.array(drawn, pa.string()), {}
    for path in _extracted(made):
        table = pq.read_table(here(path), columns=list(_TOLD))
        for row in table.filter(pc.is_in(table["doc_id"], value_set=wanted)).to_pylist():
            doc_id, url, title, lang, source, licence = (str(row[key] or "") for key in _TOLD)
            found[doc_id] = Shown(doc_id, url, masked(title, placeholders)[0], lang, source, licence)
    return found


def _ids(artifact: Artifact | None) -> set[str]:
    if artifact is None:
        return set()
    return {
        doc_id
        for path in artifact.files(PART)
        for doc_id in pq.read_table(here(path), columns=["doc_id"])["doc_id"].to_pylist()
    }


def _texts(asked: Asked, made: Mapping[str, Artifact], found: Mapping[str, Shown]) -> None:
    """The text of each at the first step, and what every later one changed; a step at a time, a file at a time."""
    readable = pa.array([one.doc_id for one in found.values() if one.licence in asked.licences], pa.string())
    for step in asked.steps:
        artifact = made.get(step)
        for path in artifact.files(PART) if artifact else ():
            table = pq.read_table(here(path), columns=["doc_id", "text"])
            table = table.filter(pc.is_in(table["doc_id"], value_set=readable))
            for doc_id, text in zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True):
                one = found[doc_id]
                if text == one.final:
                    continue
                clean = masked(text, asked.placeholders)[0] if asked.placeholders else text
                if one.text is None or one.final is None:
                    one.text = clean
                elif clean != one.final:
                    one.edits.append((step, edits(one.final, clean)))
                one.final = clean


def _reads(readers: Iterable[Reader], found: Mapping[str, Shown]) -> None:
    """How often, and from which to which step, each run read each document; what it is a branch of read before it is
    its own as well.
    """
    ids = [doc_id for doc_id, one in found.items() if one.fate == POOL]
    for reader in readers:
        by_document: dict[str, set[int]] = defaultdict(set)
        for part, last in reader.parts:
            if last > part.config.first_step:
                table = part.ledger().when(ids, last)
                for doc_id, step in zip(table["doc_id"].to_pylist(), table["step"].to_pylist(), strict=True):
                    by_document[doc_id].add(step)
        for doc_id, steps in by_document.items():
            found[doc_id].reads.append((reader.name, len(steps), min(steps), max(steps)))


def changed(one: Shown) -> list[Row]:
    """Decisions that are worth a line: what edited the document, and what dropped it."""
    return [row for row in one.decided if row["verdict"] in (EDITED, DROPPED)]
