"""Section "kept and dropped" of the report: funnels, the rules that dropped, and some of what they dropped, to be
judged by eye.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from neo_assets.core.records import DROPPED, EDITED
from neo_assets.core.scalars import is_number
from neo_assets.core.store import Artifact, Row
from neo_assets.pages.page import LANGUAGES
from neo_assets.report.funnel import Dropped, Gathered, kinds_by_source
from neo_assets.report.page import Bar, Block, Examples, FunnelBars, Funnels, Part, RulesExamples, of_kind, refs, table


def kept_and_dropped(gathered: Gathered, examples: bool = True) -> Part:
    """Funnels, the table stage x source x rule, and examples of every rule that dropped something, if wanted."""
    inputs = gathered.artifacts
    blocks: list[Block] = [
        *_funnels(inputs, gathered.labels),
        *_rules(inputs, gathered.verdicts, gathered.divides),
        *(_examples(inputs, gathered.examples) if examples else ()),
    ]
    return Part(
        "fates",
        "What was kept, what was dropped, and why",
        "Every stage writes one verdict for every document it saw; the numbers here are counts of those verdicts."
        + (" Each example is one of the first by identifier, not one that was picked." if examples else ""),
        blocks,
    )


def _funnels(inputs: Mapping[str, Artifact], labels: Mapping[str, str]) -> list[Block]:
    made = [name for name in labels if name in inputs]
    by_source = kinds_by_source(labels)
    languages = set(of_kind(inputs, "clean_docs"))
    trunk = [name for name in made if name.partition("/")[0] in by_source]
    funnels = [FunnelBars("All sources", _trunk(inputs, trunk, labels))] if trunk else []
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
        funnels.append(FunnelBars(LANGUAGES.get(lang, lang), bars))
    if not funnels:
        return []
    caption = (
        "Documents after each stage. Solid: kept; pale: dropped at this stage. The last bar of a language leaves out"
        " what is held out for evaluation."
    )
    return [Funnels(caption, funnels, refs(used))]


def whole_funnel(gathered: Gathered) -> list[Bar]:
    """What became of all documents, sources and languages together: the first stage, those that dropped more than half
    a percent, what is left to train on, and in one bar what happened between two of them, so that each bar begins with
    what the one before it left.
    """
    inputs, labels = gathered.artifacts, gathered.labels
    made, by_source = [name for name in labels if name in inputs], kinds_by_source(labels)
    trunk = [name for name in made if name.partition("/")[0] in by_source]
    languages = set(of_kind(inputs, "clean_docs"))
    steps = [name for name in made if name not in trunk and name.partition("/")[2] in languages]
    bars = [*_trunk(inputs, trunk, labels), *_trunk(inputs, steps, labels)]
    pool = inputs.get("train_pool")
    if bars and pool is not None and pool.manifest.rows_kept is not None:
        bars.append(Bar("to train on", bars[-1].kept, pool.manifest.rows_kept))
    return _joined(bars)


def _joined(bars: Sequence[Bar]) -> list[Bar]:
    """Bars with neighbours that change little put together; those that change nothing are left out."""
    out: list[Bar] = []
    small: list[Bar] = []
    left = bars[0].rows_in if bars else 0
    for i, bar in enumerate(bars):
        bar, left = Bar(bar.label, left, bar.kept), bar.kept
        if i in (0, len(bars) - 1) or bar.dropped < 0 or bar.dropped > 0.005 * bar.rows_in:
            out += [*_as_one(small), bar]
            small = []
        elif bar.dropped:
            small.append(bar)
    return out


def _as_one(bars: Sequence[Bar]) -> list[Bar]:
    if len(bars) < 2:
        return list(bars)
    return [Bar(f"{len(bars)} smaller steps", bars[0].rows_in, bars[-1].kept)]


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
    return table(caption, rows, (inputs[stage] for stage, _ in counts if stage in inputs), folded=True)


def _examples(inputs: Mapping[str, Artifact], examples: Sequence[Dropped]) -> list[Block]:
    rules = [
        Examples(
            e.rule,
            f"{e.step}: {e.total:,} document{'s' if e.total != 1 else ''}"
            + (f", the first {len(e.shown)} shown" if e.total > len(e.shown) else ""),
            e.shown,
            refs(inputs[name] for name in e.of),
        )
        for e in examples
    ]
    return [RulesExamples("Read what each rule dropped.", rules)] if rules else []
