"""``funnel``: what became of every document, gathered in one place: counts by stage, source and rule, and some of what
each rule dropped, to be judged by eye.

The report reads this instead of forty artifacts: what their manifests say of them is copied, so that nothing is
measured a second time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pydantic import Field

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.manifest import Manifest
from neo_assets.core.recipe.base import Section
from neo_assets.core.records import PART
from neo_assets.core.scalars import is_number, real
from neo_assets.core.store import Artifact, Check, Outcome, Row, Store, Workspace
from neo_assets.core.words import number
from neo_assets.pages.page import clean
from neo_assets.report.page import Example
from resources.texts import rows_of

FILE = "funnel.json"
SHOWN_CHARS = 160
"""Characters of a document that an example shows."""

_EXAMPLES = """
select stage, place, doc_id, rule, value, threshold, twin, detail, source, step, total from (
  select *, count(*) over (partition by step, rule) as total,
    row_number() over (partition by step, rule order by doc_id, stage) as nth
  from (
    select *, if(list_contains(?, split_part(stage, '/', 1)), split_part(stage, '/', 1), stage) as step
    from verdicts where verdict = 'dropped'
  )
) where nth <= ? order by place, step, total desc, rule, doc_id
"""


class Fates(Protocol):
    """The part of the fate ledger that is read here."""

    def funnel(self) -> list[Row]: ...
    def url_of(self, doc_id: str) -> str | None: ...
    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]: ...


class FunnelInput(Section):
    labels: dict[str, str] = Field(
        description="what is true of the documents that each artifact leaves, in their order"
    )
    divides: list[str] = Field(description='artifacts whose "dropped" means: on the other side of a split')
    examples_per_rule: int = Field(ge=0)


@dataclass(frozen=True)
class Gathered:
    """What a funnel holds. ``verdicts``: documents by stage, source, verdict and rule."""

    artifacts: Mapping[str, Artifact]
    labels: Mapping[str, str]
    divides: Sequence[str]
    verdicts: Sequence[Row]
    examples: Sequence[Dropped]


@dataclass(frozen=True)
class Dropped:
    """Documents that a rule dropped at a step: how many, the first by identifier, and the artifacts that say so."""

    step: str
    rule: str
    total: int
    shown: Sequence[Example]
    of: Sequence[str]


def kinds_by_source(labels: Mapping[str, str]) -> list[str]:
    """Kinds of the labelled stages that are made by source: those before the rules, which bring sources together."""
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in labels))
    return kinds[: kinds.index("clean_docs")] if "clean_docs" in kinds else kinds


def make_funnel(config: FunnelInput, inputs: Mapping[str, Artifact], out: Workspace, *, ledger: Fates) -> Outcome:
    """What became of every document: how many each stage kept, edited and dropped, by source and rule, with examples
    of what each rule dropped.

    Counts are those of the verdicts that every stage writes. Each example is one of the first by identifier, not one
    that was picked.
    """
    verdicts = [row for row in ledger.funnel() if row["stage"] in inputs]
    examples = dropped_examples(config, inputs, ledger)
    held = {
        "labels": config.labels,
        "divides": config.divides,
        "verdicts": verdicts,
        "examples": [asdict(example) for example in examples],
    }
    told = {
        name: {"manifest": a.manifest.model_dump(mode="json"), "verdict": [c.model_dump() for c in a.verdict]}
        for name, a in inputs.items()
    }
    out.write_text(FILE, json.dumps({**held, "artifacts": told}, ensure_ascii=False, indent=1))
    shown: list[Row] = [
        {"stage": name, "leaves": label, "in": inputs[name].manifest.rows_in, "kept": inputs[name].manifest.rows_kept}
        for name, label in config.labels.items()
        if name in inputs
    ]
    return Outcome(
        digest=digest_json([{name: a.fingerprint for name, a in inputs.items()}, held]),
        numbers={"verdicts": sum(int(row["documents"] or 0) for row in verdicts), "rules": len(examples)},
        tables={"documents after each stage": shown},
    )


def read_funnel(funnel: Artifact, store: Store) -> Gathered:
    """What was gathered, with the artifacts as the funnel knew them."""
    held: dict[str, Any] = json.loads(funnel.file(FILE).read_text(encoding="utf-8"))
    artifacts = {}
    for name, told in held["artifacts"].items():
        manifest = Manifest.model_validate(told["manifest"])
        verdict = [Check.model_validate(check) for check in told["verdict"]]
        folder = store.folder(manifest.key, manifest.fingerprint)
        artifacts[name] = Artifact(manifest.key, folder, manifest, verdict)
    examples = [Dropped(**{**e, "shown": [Example(**shown) for shown in e["shown"]]}) for e in held["examples"]]
    return Gathered(artifacts, held["labels"], held["divides"], held["verdicts"], examples)


# ------------------------------------------------------------------ examples


def dropped_examples(config: FunnelInput, inputs: Mapping[str, Artifact], ledger: Fates) -> list[Dropped]:
    """The first documents by identifier that each rule dropped, with their texts; of stages by source, all sources
    together.
    """
    wanted = inputs.keys() - set(config.divides)
    rows_found = ledger.rows(_EXAMPLES, [kinds_by_source(config.labels), config.examples_per_rule])
    found = [row for row in rows_found if row["stage"] in wanted]
    seen, where = _texts(inputs, {str(row[name]) for row in found for name in ("doc_id", "twin") if row[name]})
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found:
        groups[str(row["step"]), str(row["rule"])].append(row)
    out = []
    for (step, rule), rows in groups.items():
        texts_of = [where[str(row[name])] for row in rows for name in ("doc_id", "twin") if str(row[name]) in where]
        of = dict.fromkeys([*(str(row["stage"]) for row in rows), *texts_of])
        shown = [_example(row, seen, ledger) for row in rows]
        out.append(Dropped(step, rule, int(rows[0]["total"] or 0), shown, list(of)))
    return out


@dataclass(frozen=True)
class _Seen:
    url: str
    text: str
    lang: str


def _example(row: Row, seen: Mapping[str, _Seen], ledger: Fates) -> Example:
    doc_id, twin = str(row["doc_id"]), str(row["twin"] or "")
    known = seen.get(doc_id) or _Seen(ledger.url_of(doc_id) or "", "", "")
    other = (seen.get(twin) or _Seen(ledger.url_of(twin) or twin, "", "")) if twin else _Seen("", "", "")
    value, threshold = row["value"], row["threshold"]
    measured = " · ".join(
        f"{name} {number(real(v))}" for name, v in (("value", value), ("threshold", threshold)) if is_number(v)
    )
    return Example(
        doc_id,
        known.url,
        measured,
        _first_chars(known.text),
        known.lang,
        clean(str(row["detail"] or "").removeprefix(f"{known.url}: "))[:SHOWN_CHARS],
        other.url,
        _first_chars(other.text),
    )


def _first_chars(text: str) -> str:
    flat = " ".join(text[: 4 * SHOWN_CHARS].split())
    return flat if len(flat) <= SHOWN_CHARS else flat[:SHOWN_CHARS] + "…"


def _texts(inputs: Mapping[str, Artifact], wanted: set[str]) -> tuple[dict[str, _Seen], dict[str, str]]:
    """Address and text of documents by id, from the first stage that has their text, and the artifact's name."""
    seen: dict[str, _Seen] = {}
    where: dict[str, str] = {}
    for name, artifact in inputs.items():
        if not name.startswith("documents/"):
            continue
        for row in rows_of(artifact.files(PART), wanted):
            doc_id = str(row["doc_id"])
            seen[doc_id] = _Seen(str(row["url"] or ""), str(row["text"] or ""), str(row["lang"] or ""))
            where[doc_id] = name
    return seen, where
