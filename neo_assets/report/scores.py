"""Sections "scores" and "samples" of the report: every checkpoint against chance, said plainly, and what it writes."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neo_assets.core.scalars import is_number
from neo_assets.core.store import Artifact, Row
from neo_assets.core.words import number
from neo_assets.pages.charts import Line, Point, curves, drawing
from neo_assets.pages.page import LANGUAGES
from neo_assets.report.page import Block, Figure, Part, Samples, Text, refs, table

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


def _evaluations(inputs: Mapping[str, Artifact]) -> dict[str, Artifact]:
    return {name.partition("/")[2]: artifact for name, artifact in inputs.items() if name.startswith("evaluation/")}


def since_the_first(rows: Sequence[Score]) -> str:
    """How a score moved from the first checkpoint evaluated to the last, in words."""
    first, last = rows[0], rows[-1]
    task = last.task if last.main else f"{last.task}, {last.metric},"
    if first is last:
        return f"{task} is {number(last.value)} at step {last.step:,}, the only checkpoint asked"
    moved = "fell" if last.value < first.value else "rose" if last.value > first.value else "stayed the same"
    return (
        f"{task} {moved} from {number(first.value)} at step {first.step:,} to {number(last.value)} at step"
        f" {last.step:,}"
    )


def verdicts(inputs: Mapping[str, Artifact]) -> list[str]:
    """Sentences for the head of the page about each task's main metric at the last checkpoint of a run.

    Questions with choices are told against chance. Where lower is better (bits per byte), uniform guessing is a bar
    that any model clears, so the first checkpoint is what the last is told against.
    """
    out = []
    for run, artifact in _evaluations(inputs).items():
        main = [rows for rows in read_scores(artifact).values() if rows[-1].main]
        measured = [since_the_first(rows) for rows in main if not rows[-1].higher_is_better]
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


def scores(inputs: Mapping[str, Artifact]) -> Part:
    """What is asked, then per run and task: the verdict on the last checkpoint, a curve over tokens, a table."""
    blocks: list[Block] = []
    for name, caption, title in (
        ("heldout_tasks", "Tasks made from held-out documents.", "tasks"),
        ("benchmark_items", "Benchmarks that the recipe names.", "benchmarks"),
    ):
        if name in inputs:
            blocks += table(caption, inputs[name].manifest.tables.get(title, []), [inputs[name]])
    if "comparison" in inputs:
        gates: list[Row] = [
            {"gate": c.name, "verdict": "pass" if c.passed else "REFUSED" if c.blocking else "warning", "why": c.detail}
            for c in inputs["comparison"].verdict
        ]
        blocks += table(
            "Gates on each run's last evaluated checkpoint. All scores, curves and generations with filters:"
            " scores.html of `comparison`.",
            gates,
            [inputs["comparison"]],
        )
    for run, artifact in _evaluations(inputs).items():
        grouped = read_scores(artifact)
        if not grouped:
            blocks.append(Text(f"Run '{run}' has no scores."))
        for (task, metric), rows in grouped.items():
            blocks.append(
                Text(
                    f"{task}, {metric}" if len(_evaluations(inputs)) == 1 else f"{run}: {task}, {metric}", heading=True
                )
            )
            told = against_chance(rows[-1]).words if rows[0].higher_is_better else since_the_first(rows)
            blocks.append(Text(f"Last checkpoint (step {rows[-1].step:,}): {told}."))
            points = [Point(r.tokens, r.value, r.stderr) for r in rows]
            better = "higher is better" if rows[0].higher_is_better else "lower is better"
            title = f"{task}, {metric} ({better})"
            chart = curves(title, [Line(points)], "tokens this run was trained on", chance=rows[-1].chance, marks=True)
            blocks.append(Figure("The band: one standard error either way.", [drawing(chart)], refs([artifact])))
            listed: list[Row] = [
                {"step": r.step, "tokens": r.tokens, metric: r.value, "±": r.stderr, "n": r.n, "chance": r.chance}
                for r in rows
            ]
            blocks += table(
                f"{task} at every checkpoint evaluated; ± is one standard error, n the number of items.",
                listed,
                [artifact],
            )
    return Part(
        "scores",
        "Scores per checkpoint",
        "Step 0 is the untrained model. A difference from chance is called one only above two standard errors. Metrics"
        " beside a task's main one are in scores.json.",
        blocks,
    )


def with_white_space_shown(text: str) -> str:
    """A text whose runs of line breaks and of spaces are told in one mark: weak models write pages of them."""

    def mark(run: re.Match[str]) -> str:
        sign = "↵" if run[0][0] == "\n" else "␣"
        return sign + (f"×{len(run[0])}" if len(run[0]) > 1 else "") + ("\n" if sign == "↵" else "")

    return re.sub(r"\n+| {2,}", mark, text)


def generated_samples(inputs: Mapping[str, Artifact]) -> Part:
    """Continuations of every prompt, checkpoint by checkpoint."""
    blocks: list[Block] = []
    for run, artifact in _evaluations(inputs).items():
        prompts: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        for row in (
            json.loads(artifact.file("samples.json").read_text(encoding="utf-8"))
            if "samples.json" in artifact.manifest.files
            else []
        ):
            prompts[str(row["lang"]), str(row["prompt"])].append(
                (int(row["step"]), with_white_space_shown(str(row["continuation"])))
            )
        for (lang, prompt), written in prompts.items():
            blocks.append(
                Samples(
                    f"{LANGUAGES.get(lang, lang)}, run '{run}', as generated.",
                    lang,
                    prompt,
                    sorted(written, key=lambda item: item[0]),
                    refs([artifact]),
                )
            )
    return Part(
        "samples",
        "Generated samples",
        "What each checkpoint writes after the same prompts. Nothing is picked or corrected; ↵ is a line break, ␣ a"
        " space in a row of several, ×n how often.",
        blocks,
    )
