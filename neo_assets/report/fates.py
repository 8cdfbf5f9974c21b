"""Section "kept and dropped" of the report: funnels, the rules that dropped, and some of what they dropped, to be
judged by eye.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from neo_assets.core.records import DROPPED, EDITED, PART
from neo_assets.core.store import Artifact, Row
from neo_assets.report.figures import Bar, funnel
from neo_assets.report.page import (
    LANGUAGES,
    Block,
    Example,
    Examples,
    Figure,
    Part,
    clean,
    is_number,
    number,
    refs,
    table,
)
from resources.texts import rows_of

SHOWN_CHARS = 160

_EXAMPLES = """
select stage, place, doc_id, rule, value, threshold, twin, detail, source, step, total from (
  select *, count(*) over (partition by step, rule) as total, row_number() over (partition by step, rule order by doc_id, stage) as nth
  from (select *, if(split_part(stage, '/', 1) in ('raw_crawl', 'page_text', 'documents', 'signals'), split_part(stage, '/', 1), stage) as step from verdicts where verdict = 'dropped')
) where nth <= ? order by place, step, total desc, rule, doc_id
"""  # noqa: E501


class Fates(Protocol):
    """The part of the fate ledger that the report reads."""

    def funnel(self) -> list[Row]: ...
    def url_of(self, doc_id: str) -> str | None: ...
    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]: ...


@dataclass(frozen=True)
class _Seen:
    url: str
    text: str
    lang: str


def kept_and_dropped(
    inputs: Mapping[str, Artifact],
    ledger: Fates,
    examples_per_rule: int,
    labels: Mapping[str, str],
    divides: Collection[str],
) -> Part:
    """Funnels, the table stage x source x rule, and examples of every rule that dropped something.

    ``labels`` names the artifacts of a funnel, in their order; those that ``divides`` names drop nothing, they part.
    """
    blocks: list[Block] = [
        *_funnels(inputs, labels),
        *_rules(inputs, ledger.funnel(), divides),
        *_examples(inputs, ledger, examples_per_rule, divides),
    ]
    return Part(
        "fates",
        "What was kept, what was dropped, and why",
        "Every stage writes one verdict for every document it saw; the numbers here are counts of those verdicts. Each"
        " example is one of the first by identifier, not one that was picked.",
        blocks,
    )


def _of(inputs: Mapping[str, Artifact], stage: str) -> dict[str, Artifact]:
    return {name.partition("/")[2]: artifact for name, artifact in inputs.items() if name.partition("/")[0] == stage}


def _funnels(inputs: Mapping[str, Artifact], labels: Mapping[str, str]) -> list[Block]:
    made = [name for name in labels if name in inputs]
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in labels))
    by_source = kinds[: kinds.index("clean_docs")] if "clean_docs" in kinds else kinds
    languages = set(_of(inputs, "clean_docs"))
    trunk = [name for name in made if name.partition("/")[0] in by_source]
    drawings = [funnel("All sources", _trunk(inputs, trunk, labels))] if trunk else []
    used = [inputs[name] for name in trunk]
    for lang in sorted(languages):
        steps = [name for name in made if name not in trunk and name.partition("/")[2] == lang]
        bars = [
            Bar(labels[name], inputs[name].manifest.rows_in or 0, inputs[name].manifest.rows_kept or 0)
            for name in steps
        ]
        used += [inputs[name] for name in steps]
        pool = inputs.get("train_pool")
        if pool is not None and is_number(count := pool.manifest.numbers.get(f"documents_{lang}")):
            bars.append(Bar("to train on", bars[-1].kept, int(count or 0)))
            used.append(pool)
        drawings.append(funnel(LANGUAGES.get(lang, lang), bars))
    if not drawings:
        return []
    caption = (
        "Documents after each stage. Solid: kept; pale: dropped at this stage. The last bar of a language leaves out"
        " what is held out for evaluation."
    )
    return [Figure(caption, drawings, refs(used))]


def _trunk(inputs: Mapping[str, Artifact], names: Sequence[str], labels: Mapping[str, str]) -> list[Bar]:
    """Bars of the stages by source, all sources together; a source that skips a stage (documents need no extraction)
    passes it unchanged.
    """
    bars = []
    flow: dict[str, int] = {}
    for stage in dict.fromkeys(name.partition("/")[0] for name in names):
        made = {name.partition("/")[2]: inputs[name] for name in names if name.partition("/")[0] == stage}
        before = sum(flow.values())
        flow |= {source: artifact.manifest.rows_kept or 0 for source, artifact in made.items()}
        skipped = sum(n for source, n in flow.items() if source not in made)
        seen = skipped + sum(artifact.manifest.rows_in or 0 for artifact in made.values())
        label = next(labels[name] for name in names if name.partition("/")[0] == stage)
        bars.append(Bar(label, max(before, seen), sum(flow.values())))
    return bars


def _rules(inputs: Mapping[str, Artifact], verdicts: Iterable[Row], divides: Collection[str]) -> list[Block]:
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    edited: Counter[tuple[str, str]] = Counter()
    for row in verdicts:
        edited[str(row["stage"]), str(row["source"])] += int(row["documents"] or 0) * (row["verdict"] == EDITED)
        rule = str(row["rule"]) if row["verdict"] == DROPPED else ""
        held = counts[str(row["stage"]), str(row["source"])]
        held[rule] = held.get(rule, 0) + int(row["documents"] or 0)
    rows: list[Row] = []
    for (stage, source), by_rule in counts.items():
        if stage not in inputs:
            continue
        total, kept = sum(by_rule.values()), by_rule.get("", 0)
        why = ", ".join(f"{rule} {n:,}" for rule, n in sorted(by_rule.items(), key=lambda item: -item[1]) if rule)
        rows.append(
            {
                "stage": stage,
                "source": source,
                "in": total,
                "kept": kept,
                "of them edited": edited[stage, source],
                "dropped": total - kept,
                "dropped by rule": why,
            }
        )
    caption = "Every stage, source and rule."
    if divides:
        caption += f" Of {', '.join(divides)}, dropped means: on the other side of the split, or not needed."
    return table(caption, rows, (inputs[stage] for stage, _ in counts if stage in inputs))


def _examples(inputs: Mapping[str, Artifact], ledger: Fates, limit: int, divides: Collection[str]) -> list[Block]:
    found = [row for row in ledger.rows(_EXAMPLES, [limit]) if row["stage"] not in divides and row["stage"] in inputs]
    seen, where = _texts(inputs, {str(row[name]) for row in found for name in ("doc_id", "twin") if row[name]})
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found:
        groups[str(row["step"]), str(row["rule"])].append(row)
    blocks: list[Block] = []
    for (step, rule), rows in groups.items():
        total = int(rows[0]["total"] or 0)
        caption = f"{step}: {total:,} document{'s' if total != 1 else ''}" + (
            f", the first {len(rows)} shown" if total > len(rows) else ""
        )
        sources = [
            where[doc_id] for row in rows for doc_id in (str(row["doc_id"]), str(row["twin"])) if doc_id in where
        ]
        blocks.append(
            Examples(
                rule,
                caption,
                [_example(row, seen, ledger) for row in rows],
                refs([*(inputs[str(r["stage"])] for r in rows), *sources]),
            )
        )
    return blocks


def _example(row: Row, seen: Mapping[str, _Seen], ledger: Fates) -> Example:
    doc_id, twin = str(row["doc_id"]), str(row["twin"] or "")
    known = seen.get(doc_id) or _Seen(ledger.url_of(doc_id) or "", "", "")
    other = (seen.get(twin) or _Seen(ledger.url_of(twin) or twin, "", "")) if twin else _Seen("", "", "")
    value, threshold = row["value"], row["threshold"]
    measured = " · ".join(
        f"{name} {number(float(str(v)))}" for name, v in (("value", value), ("threshold", threshold)) if is_number(v)
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


def _texts(inputs: Mapping[str, Artifact], wanted: set[str]) -> tuple[dict[str, _Seen], dict[str, Artifact]]:
    """Address and text of documents by id, from the first stage that has their text, and which artifact that was."""
    seen: dict[str, _Seen] = {}
    where: dict[str, Artifact] = {}
    for artifact in _of(inputs, "documents").values():
        for row in rows_of(artifact.files(PART), wanted):
            doc_id = str(row["doc_id"])
            seen[doc_id] = _Seen(str(row["url"] or ""), str(row["text"] or ""), str(row["lang"] or ""))
            where[doc_id] = artifact
    return seen, where
