"""Sections "scores" and "samples" of the report: every checkpoint against chance, said plainly, and what it writes."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neo_assets.core.scalars import is_number
from neo_assets.core.store import Artifact, Row
from neo_assets.core.words import at, number
from neo_assets.pages.charts import Line, Point, curves, drawing
from neo_assets.pages.page import LANGUAGES
from neo_assets.report.page import LONG, Block, Continuation, Figure, Part, Samples, Text, refs, table
from neo_assets.report.run_lines import SMALL, RunLine
from neo_assets.trace.written import NOT_CAUSE, SAMPLES, Segment, read_traced

MANY = 12
"""Checkpoints from which on the table of all of them is folded."""
COMPARED = "last checkpoints compared"
"""The comparison's table of every run's last checkpoint against others."""
DIFFERS = 2.0
"""Standard errors between a score and chance from which the page calls them different; the page
says so where it does.
"""

_IN_WORDS = {
    "better": "better than chance by more than two standard errors",
    "worse": "worse than chance by more than two standard errors",
    "same": "not distinguishable from chance",
    "unknown": "without a standard error or a chance level to compare with",
}


@dataclass(frozen=True)
class Score:
    """One row of ``scores.json``."""

    task: str
    metric: str
    step: int
    tokens: int
    value: float
    stderr: float | None
    n: int | None
    chance: float | None
    higher_is_better: bool
    attempt: int
    main: bool = True  # the task's own metric, not one shown beside it


def read_scores(artifact: Artifact) -> dict[tuple[str, str], list[Score]]:
    """Headline scores by (task, metric) in step order; of several attempts at one checkpoint, the last."""
    last: dict[tuple[str, str, int], Score] = {}
    for row in (
        json.loads(artifact.file("scores.json").read_text(encoding="utf-8"))
        if "scores.json" in artifact.manifest.files
        else []
    ):
        if not is_number(row["value"]) or not row.get("headline", True):
            continue
        stderr, chance = (float(row[name]) if is_number(row.get(name)) else None for name in ("stderr", "chance"))
        score = Score(
            row["task"],
            row["metric"],
            int(row["step"]),
            int(row["tokens"]),
            float(row["value"]),
            stderr,
            row.get("n"),
            chance,
            bool(row["higher_is_better"]),
            int(row.get("attempt") or 0),
            bool(row.get("main", True)),
        )
        place = (score.task, score.metric, score.step)
        if place not in last or last[place].attempt <= score.attempt:
            last[place] = score
    grouped: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for (task, metric, _), score in sorted(last.items()):
        grouped[task, metric].append(score)
    return dict(grouped)


@dataclass(frozen=True)
class Verdict:
    """How a score stands to chance: ``better``, ``worse``, ``same`` (within two standard errors) or ``unknown``; and in
    words.
    """

    verdict: str
    words: str


def against_chance(score: Score) -> Verdict:
    """Compare a score with chance: they differ when they are more than two standard errors apart."""
    said = (
        f"{number(score.value)}"
        + (f" ± {number(score.stderr)}" if score.stderr is not None else "")
        + (f" on {score.n:,} items" if score.n is not None else "")
    )
    if score.chance is None:
        return Verdict("unknown", f"{said}; no chance level is known")
    if score.stderr is None or score.stderr <= 0:
        why = "no standard error is known" if score.stderr is None else "the standard error is 0"
        return Verdict(
            "unknown", f"{said}, chance is {number(score.chance)}; {why}, so it cannot be told whether they differ"
        )
    distance = abs(score.value - score.chance) / score.stderr
    if distance <= DIFFERS:
        return Verdict(
            "same",
            f"{said}, chance is {number(score.chance)}: not distinguishable from guessing ({distance:.1f} standard"
            " errors)",
        )
    verdict = "better" if (score.value > score.chance) == score.higher_is_better else "worse"
    return Verdict(
        verdict, f"{said}, chance is {number(score.chance)}: {verdict} than guessing by {distance:.1f} standard errors"
    )


def _evaluations(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> dict[str, Artifact]:
    return {line.name: inputs[f"evaluation/{line.name}"] for line in lines if f"evaluation/{line.name}" in inputs}


def since_the_first(rows: Sequence[Score]) -> str:
    """How a score moved from the first checkpoint evaluated to the last, in words."""
    first, last = rows[0], rows[-1]
    task = last.task if last.main else f"{last.task}, {last.metric},"
    moved = "fell" if last.value < first.value else "rose" if last.value > first.value else "stayed the same"
    return (
        f"{task} {moved} from {number(first.value)} at step {first.step:,} to {number(last.value)} at step"
        f" {last.step:,}"
    )


def verdicts(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> list[str]:
    """Sentences for the head of the page about each task's main metric at the last checkpoint of a run.

    Questions with choices are told against chance. Where lower is better (bits per byte), uniform guessing is a bar
    that any model clears, so the first checkpoint is what the last is told against.
    """
    out = []
    for run, artifact in _evaluations(inputs, lines).items():
        main = [rows for rows in read_scores(artifact).values() if rows[-1].main]
        measured = [since_the_first(rows) for rows in main if not rows[-1].higher_is_better and len(rows) > 1]
        if measured:
            out.append(f"Run '{run}', lower is better: {'; '.join(measured)}.")
        finals = [rows[-1] for rows in main if rows[-1].higher_is_better]
        told = {
            verdict: [s.task for s in finals if against_chance(s).verdict == verdict]
            for verdict in ("better", "worse", "same", "unknown")
        }
        said = [
            f"{', '.join(told[v])} {'is' if len(told[v]) == 1 else 'are'} {words}"
            for v, words in _IN_WORDS.items()
            if told[v]
        ]
        if said:
            out.append(f"At the last checkpoint of run '{run}': {'; '.join(said)}.")
    return out


def scores(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> Part:
    """What a phase changed, a curve a task over all runs, every checkpoint's scores, and what is asked."""
    grouped = {run: read_scores(artifact) for run, artifact in _evaluations(inputs, lines).items()}
    blocks: list[Block] = [Text(sentence) for sentence in verdicts(inputs, lines)]
    blocks += [Text(f"Run '{run}' has no scores.") for run, found in grouped.items() if not found]
    blocks += _against_parents(inputs, lines)
    blocks += _small_multiples(inputs, lines, grouped)
    blocks += _by_checkpoint(inputs, grouped)
    blocks += _asked(inputs)
    return Part(
        "scores",
        "Scores per checkpoint",
        "Step 0 of a run that begins with nothing is the untrained model. A difference from chance is called one only"
        " above two standard errors. Metrics beside a task's main one are in scores.json.",
        blocks,
    )


Grouped = Mapping[str, Mapping[tuple[str, str], Sequence[Score]]]
"""Scores by run, and of it by (task, metric), in step order."""


def _against_parents(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> list[Block]:
    """What each phase that goes on from another's weights changed, item by item, as the comparison found."""
    if (comparison := inputs.get("comparison")) is None:
        return []
    parents = {line.name: f"parent {line.parent}@" for line in lines if line.parent}
    rows: list[Row] = [
        {"run": row["run"], "task": row["task"], "before": str(row["against"]).removeprefix("parent ")}
        | {name: row[name] for name in ("then", "now", "difference", "low", "high", "p", "items", "verdict")}
        for row in comparison.manifest.tables.get(COMPARED, [])
        if str(row["run"]) in parents and str(row["against"]).startswith(parents[str(row["run"])])
    ]
    caption = (
        "What a phase changed, against the last checkpoint of the run that it goes on from: item by item, with the"
        " interval that holds the difference at 95 %, and the chance p of as much without any difference."
    )
    return table(caption, rows, [comparison], folded=len(rows) > 2 * LONG)


def _small_multiples(inputs: Mapping[str, Artifact], lines: Sequence[RunLine], grouped: Grouped) -> list[Block]:
    """A small chart a task, all runs on one axis of tokens."""
    before = {line.name: line.before for line in lines}
    parents = {line.name: line.parent for line in lines}
    drawn: dict[tuple[str, str], list[Line]] = {}
    asked: dict[tuple[str, str], Score] = {}
    untrained: dict[tuple[str, str], float] = {}
    for run, found in grouped.items():
        for key, rows in found.items():
            if not rows[-1].main:
                continue
            points = [Point(before.get(run, 0) + r.tokens, r.value, r.stderr) for r in rows]
            if parents.get(run) and (of_parent := drawn.get(key)):
                began = next((line.points[-1] for line in reversed(of_parent) if line.name == parents[run]), None)
                points = [began, *points] if began else points  # a phase's curve begins where it began
            drawn.setdefault(key, []).append(Line(points, run))
            asked.setdefault(key, rows[-1])
            if rows[0].tokens == 0 and not before.get(run):
                untrained.setdefault(key, rows[0].value)
    drawings = []
    for key, curve in drawn.items():
        score = asked[key]
        # Bits per byte of a uniform guess would flatten every curve; what the untrained model has is what is bettered.
        level = (score.chance, "chance") if score.higher_is_better else (untrained.get(key), "untrained")
        sense = "higher" if score.higher_is_better else "lower"
        chart = curves(
            key[0], curve, "tokens trained on", chance=level[0], chance_name=level[1],
            marks=True, size=SMALL, subtitle=f"{key[1]}, {sense} is better",
        )  # fmt: skip
        drawings.append(drawing(chart))
    if not drawings:
        return []
    caption = (
        "Every checkpoint that was evaluated, over the tokens trained on, those of the runs before it included. The"
        " bands: one standard error either way. Dashed: guessing, or, where lower is better, the untrained model."
    )
    return [Figure(caption, drawings, refs(inputs[f"evaluation/{run}"] for run in grouped))]


def _by_checkpoint(inputs: Mapping[str, Artifact], grouped: Grouped) -> list[Block]:
    """A row a task and a column a checkpoint; how the last one stands to chance; then every number."""
    names = [f"{run}@{step}" for run, found in grouped.items() for step in _steps(found)]
    keys = list(dict.fromkeys(key for found in grouped.values() for key in found))
    wide: list[Row] = []
    every: list[Row] = []
    for key in keys:
        task, metric = key
        row: Row = {"task": task, "metric": metric, **dict.fromkeys(names)}
        last = None
        for run, found in grouped.items():
            for r in found.get(key, ()):
                row[f"{run}@{r.step}"] = r.value
                last = r
                told: Row = {"checkpoint": f"{run}@{r.step}", "task": task, "metric": metric, "tokens": r.tokens}
                told |= {"value": r.value, "±": r.stderr, "n": r.n, "chance": r.chance}
                every.append(told)
        assert last
        row["the last, in words"] = against_chance(last).words if last.higher_is_better and last.main else ""
        wide.append(row)
    used = [inputs[f"evaluation/{run}"] for run in grouped]
    return [
        *table("Scores by checkpoint.", wide, used, folded=len(names) > MANY),
        *table("Every score with its standard error (±) and the number of items (n).", every, used, folded=True),
    ]


def _steps(found: Mapping[tuple[str, str], Sequence[Score]]) -> list[int]:
    return sorted({row.step for rows in found.values() for row in rows})


def _asked(inputs: Mapping[str, Artifact]) -> list[Block]:
    """Tasks that there are, and, in a line, those that the recipe names and whose data is not here."""
    blocks: list[Block] = []
    for name, caption, title in (
        ("heldout_tasks", "Tasks made from held-out documents.", "tasks"),
        ("benchmark_items", "Benchmarks whose data is here.", "benchmarks"),
    ):
        if name not in inputs:
            continue
        rows = inputs[name].manifest.tables.get(title, [])
        here = [row for row in rows if row.get("items") is not None]
        shown = [{column: value for column, value in row.items() if column != "note"} for row in here]
        blocks += table(caption, shown, [inputs[name]], folded=True)
        if lacking := [str(row.get("benchmark", row.get("task"))) for row in rows if row.get("items") is None]:
            blocks.append(
                Text(f"Named in the recipe, but without data here, so not asked: {', '.join(lacking)}.", soft=True)
            )
    return blocks


def with_white_space_shown(text: str) -> str:
    """A text whose runs of line breaks and of spaces are told in one mark: weak models write pages of them."""

    def mark(run: re.Match[str]) -> str:
        sign = "↵" if run[0][0] == "\n" else "␣"
        return sign + (f"×{len(run[0])}" if len(run[0]) > 1 else "") + ("\n" if sign == "↵" else "")

    return re.sub(r"\n+| {2,}", mark, text)


def _shares(inputs: Mapping[str, Artifact]) -> list[Block]:
    """How much of what was written stands in the training pool, by checkpoint."""
    if (traced := inputs.get(SAMPLES)) is None:
        return []
    (rows,) = traced.manifest.tables.values()
    caption = "What stands verbatim in the training pool of what each checkpoint wrote, as far as it is told above."
    return table(caption, rows, [traced], folded=True)


def generated_samples(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> Part:
    """Continuations of every prompt, checkpoint by checkpoint, all runs below each other."""
    prompts: dict[tuple[str, str], list[Continuation]] = defaultdict(list)
    used = []
    traced, numbers = read_traced(inputs.get(SAMPLES)), itertools.count(1)
    for line in lines:
        artifact = inputs.get(f"evaluation/{line.name}")
        if artifact is None or "samples.json" not in artifact.manifest.files:
            continue
        used.append(artifact)
        rows = json.loads(artifact.file("samples.json").read_text(encoding="utf-8"))
        for row in sorted(rows, key=lambda r: int(r["step"])):
            found = traced.get((line.name, str(row["checkpoint"]), str(row["prompt"])))
            pieces = (
                [(str(text), int(n)) for text, n in found["segments"]] if found else [(str(row["continuation"]), 0)]
            )
            said = Continuation(
                at(line.name, str(row["checkpoint"])),
                f"traced-{next(numbers)}-",
                [Segment(with_white_space_shown(text), passage) for text, passage in pieces],
                found["passages"] if found else (),
            )
            prompts[str(row["lang"]), str(row["prompt"])].append(said)
    blocks: list[Block] = [
        Samples(f"{LANGUAGES.get(lang, lang)}, as generated.", lang, prompt, written, refs(used))
        for (lang, prompt), written in prompts.items()
    ]
    return Part(
        "samples",
        "Generated samples",
        "What each checkpoint writes after the same prompts. Nothing is picked or corrected; ↵ is a line break, ␣ a"
        " space in a row of several, ×n how often."
        + (f" What is underlined stands in the training pool; a click tells where. {NOT_CAUSE}" if traced else ""),
        [*blocks, *_shares(inputs)],
    )
