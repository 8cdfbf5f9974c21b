"""Gates: what a run's last evaluated checkpoint must not be.

Each gate says what it looked at and every reason it found. What it could not look at (a reference without scores, a
task without data) is told too, and lets no blocking gate pass: a gate that was not asked has not answered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from neo_assets.core.recipe.evaluation import (
    CHAT,
    AnswersGate,
    ContaminationGate,
    ForgettingGate,
    Gates,
    GuessingGate,
    ImprovementGate,
    ParityGate,
    RegressionGate,
    SanityGate,
)
from neo_assets.core.store import Check
from neo_assets.core.words import at, counted
from neo_assets.evaluate.best import better
from neo_assets.evaluate.rows import ScoreRow
from neo_assets.scores.paired import Difference, holm, paired

STANDARD_ERRORS = 2.0
"""Beyond which a difference between two scores is taken for one."""

NAMES = (
    "no_regression",
    "better_than_parent",
    "languages_in_step",
    "no_contamination",
    "guessing_is_chance",
    "sane",
    "little_forgotten",
    "answers_well",
)
Items = Mapping[str, tuple[float, int]]
NOTHING = "nothing to check: "
"""How a gate begins that passes because there is nothing of what it is about."""


@dataclass(frozen=True)
class Reference:
    """A model that a run's last checkpoint is held against, by what it is called; ``rows`` are its main scores by task,
    without those that are missing.
    """

    kind: str
    name: str
    rows: Mapping[str, ScoreRow]


@dataclass(frozen=True)
class Judged:
    """A run's last evaluated checkpoint: its main scores by task, its first checkpoint's, its continuations, and what
    it is held against.

    ``untrained`` are the scores of the weights that all its training began from; None where they came from elsewhere,
    trained.
    """

    run: str
    checkpoint: str
    rows: Mapping[str, ScoreRow]
    first: Mapping[str, ScoreRow]
    repetition: float | None
    references: Sequence[Reference]
    untrained: Mapping[str, ScoreRow] | None = None
    base: Reference | None = None
    """Of a fine-tuned run: the checkpoint before any fine-tuning. Such a run is not held against what it began from
    where that is another kind of model.
    """
    answers: Mapping[str, Mapping[str, ScoreRow]] = field(default_factory=dict)
    """Of a fine-tuned run: every judgement of its answers, by task and metric."""

    @property
    def name(self) -> str:
        return at(self.run, self.checkpoint)


@dataclass(frozen=True)
class Finding:
    """One comparison of the regression gate."""

    run: str
    task: str
    against: str
    difference: Difference
    higher_is_better: bool
    p: float  # corrected
    regressed: bool


def judge(
    gates: Gates, runs: Sequence[Judged], items: Callable[[ScoreRow], Items], clean: Sequence[ScoreRow]
) -> tuple[list[Check], list[Finding]]:
    """Every gate's verdict, and the comparisons behind the first. ``items`` reads the per-item results of a score;
    ``clean`` are scores without contaminated items.
    """
    regression, findings = _regression(gates.regression, runs, items)
    tuned = any(run.base for run in runs)
    return [
        regression,
        _improvement(gates.improvement, runs),
        _parity(gates.parity, runs),
        _contamination(gates.contamination, runs, clean),
        _guessing(gates.guessing, runs),
        _sanity(gates.sanity, runs),
        *([_forgetting(gates.forgetting, runs), _answers(gates.answers, runs)] if tuned else []),
    ], findings


def only_warn(gates: Gates) -> list[str]:
    """Names of the gates that stop nothing."""
    blocking = (
        gates.regression.blocking,
        gates.improvement.blocking,
        gates.parity.blocking,
        gates.contamination.blocking,
        gates.guessing.blocking,
        gates.sanity.blocking,
        gates.forgetting.blocking,
        gates.answers.blocking,
    )
    return [name for name, stops in zip(NAMES, blocking, strict=True) if not stops]


def _check(name: str, reasons: Sequence[str], unasked: Sequence[str], passed: str, blocking: bool) -> Check:
    said = "; ".join([*reasons, *(f"not asked: {u}" for u in dict.fromkeys(unasked))])
    return Check(name=name, passed=not reasons and not unasked, detail=said or passed, blocking=blocking)


def verdict_in_words(check: Check) -> str:
    """pass, nothing (there was nothing to check), warning, or REFUSED."""
    if check.passed:
        return "nothing" if check.detail.startswith(NOTHING) else "pass"
    return "REFUSED" if check.blocking else "warning"


def _named(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _regression(
    gate: RegressionGate, runs: Sequence[Judged], items: Callable[[ScoreRow], Items]
) -> tuple[Check, list[Finding]]:
    findings: list[Finding] = []
    reasons: list[str] = []
    unasked: list[str] = []
    for run in runs:
        pairs = []
        seen = set()
        for reference in run.references:
            if reference.kind not in gate.against:
                continue
            for task, row in sorted(run.rows.items()):
                if run.base is not None and task not in run.answers:
                    continue  # what fine-tuning costs of the rest is another gate's
                other = reference.rows.get(task)
                if other is None:
                    unasked.append(f"{reference.kind} {reference.name} has no score of {task} as it is asked today")
                elif (where := (task, other["run"], other["checkpoint"])) not in seen and where[1:] != (
                    row["run"],
                    row["checkpoint"],
                ):
                    seen.add(where)  # the best checkpoint is often the parent
                    pairs.append((task, reference, bool(row["higher_is_better"]), paired(items(other), items(row))))
        for (task, reference, higher, difference), p in zip(pairs, holm([d.p for *_, d in pairs]), strict=True):
            regressed = p < gate.alpha and difference.worse(higher) > gate.tolerance
            findings.append(
                Finding(run.run, task, f"{reference.kind} {reference.name}", difference, higher, p, regressed)
            )
            if regressed:
                reasons.append(
                    f"{run.name}: {task} {difference.b:.4f}, {reference.kind} {reference.name}"
                    f" {difference.a:.4f} (p {p:.2g}, {difference.n} items)"
                )
    tuned = any(run.base for run in runs)
    told_of_tuned = "; fine-tuned runs in their answers alone, against another fine-tuned run" if tuned else ""
    return (
        _check(
            "no_regression",
            reasons,
            unasked,
            f"{counted(len(findings), 'comparison')} of {_named(run.name for run in runs)} with"
            f" {_named(f.against for f in findings)}: none is worse by more than {gate.tolerance:g} (significance"
            f" {gate.alpha:g}, corrected{told_of_tuned})"
            if findings
            else f"{NOTHING}no model that the recipe holds its runs against ({', '.join(gate.against)}) has scores",
            gate.blocking,
        ),
        findings,
    )


def _error(*rows: ScoreRow) -> float:
    return math.sqrt(sum(r["stderr"] ** 2 for r in rows if r["stderr"] is not None))


def _improvement(gate: ImprovementGate, runs: Sequence[Judged]) -> Check:
    reasons, unasked, gains = [], [], []
    for run in (run for run in runs if run.base is None):
        for reference in run.references:
            for task in gate.tasks if reference.kind == "parent" else []:
                row, other = run.rows.get(task), reference.rows.get(task)
                if row is None or other is None:
                    unasked.append(f"{run.name} or {reference.name} has no score of {task}")
                    continue
                if other["run"] == run.run:  # its own checkpoint before
                    continue
                gain = (better(row) - better(other)) / abs(other["value"] or math.inf)
                gains.append(gain)
                if gain < gate.least:
                    reasons.append(
                        f"{run.name}: {task} {row['value']:.4f} is {gain:+.1%} on its parent {reference.name}"
                        f" ({other['value']:.4f}), at least {gate.least:+.1%} is asked for"
                    )
    passed = (
        f"each run of pre-training that goes on from another is better than it in {', '.join(gate.tasks)}, by"
        f" {min(gains):.1%} or more ({gate.least:.1%} is asked for)"
        if gains
        else f"{NOTHING}no run goes on from another"
    )
    return _check("better_than_parent", reasons, unasked, passed, gate.blocking)


def _forgetting(gate: ForgettingGate, runs: Sequence[Judged]) -> Check:
    reasons, unasked, losses = [], [], []
    for run in runs:
        for task in gate.tasks if run.base else []:
            assert run.base is not None
            row, other = run.rows.get(task), run.base.rows.get(task)
            if row is None or other is None:
                unasked.append(f"{run.name} or {run.base.name} has no score of {task}")
                continue
            loss = (better(other) - better(row)) / abs(other["value"] or math.inf)
            losses.append(loss)
            if loss > gate.most:
                reasons.append(
                    f"{run.name}: {task} {row['value']:.4f} is {loss:.1%} worse than {run.base.name}"
                    f" ({other['value']:.4f}), {gate.most:.1%} is let pass"
                )
    passed = (
        f"no fine-tuned run is worse in {', '.join(gate.tasks)} than before by more than {max(losses):.1%}"
        f" ({gate.most:.1%} is let pass)"
        if losses
        else f"{NOTHING}the recipe names no tasks for it"
    )
    return _check("little_forgotten", reasons, unasked, passed, gate.blocking)


def _answers(gate: AnswersGate, runs: Sequence[Judged]) -> Check:
    reasons, unasked, looked = [], [], []
    for run in (run for run in runs if run.base):
        if not run.answers:
            unasked.append(f"{run.name} was asked nothing in conversations")
        for task, told in sorted(run.answers.items()):
            for metric, least in gate.least.items():
                looked.append(told[metric]["value"])
                if told[metric]["value"] < least:
                    reasons.append(
                        f"{run.name}: {task} {metric} {told[metric]['value']:.1%}, at least {least:.1%} is asked for"
                    )
    passed = (
        f"answers of {_named(run.name for run in runs if run.base)}: "
        + ", ".join(f"{metric} {least:.0%} or more" for metric, least in gate.least.items())
        if looked
        else f"{NOTHING}the recipe asks for nothing of answers"
    )
    return _check("answers_well", reasons, unasked, passed, gate.blocking)


def _parity(gate: ParityGate, runs: Sequence[Judged]) -> Check:
    reasons, unasked, looked = [], [], 0
    for run in runs:
        for english, chinese in gate.pairs:
            if not {english, chinese} <= run.rows.keys() or not {english, chinese} <= run.first.keys():
                unasked.append(f"{run.run}: {english} and {chinese} have no scores at its first and last checkpoint")
                continue
            looked += 1
            before, now = (abs(better(side[english]) - better(side[chinese])) for side in (run.first, run.rows))
            allowed = gate.max_widening + STANDARD_ERRORS * _error(
                run.rows[english], run.rows[chinese], run.first[english], run.first[chinese]
            )
            if now - before > allowed:
                reasons.append(
                    f"{run.name}: the gap between {english} and {chinese} went from {before:.4f} to"
                    f" {now:.4f}, {allowed:.4f} is let pass"
                )
    return _check(
        "languages_in_step",
        reasons,
        unasked,
        f"the gap between {' and between '.join(' and '.join(pair) for pair in gate.pairs)} is wider at no run's end"
        f" than at its beginning by more than {gate.max_widening:g} and {STANDARD_ERRORS:g} standard errors"
        if looked
        else f"{NOTHING}the recipe names no tasks that are each other's in two languages",
        gate.blocking,
    )


def _contamination(gate: ContaminationGate, runs: Sequence[Judged], clean: Sequence[ScoreRow]) -> Check:
    without = {(r["run"], r["checkpoint"], r["task"]): r for r in clean}
    reasons = []
    for run in runs:
        for task, row in sorted(run.rows.items()):
            part = without.get((run.run, run.checkpoint, task))
            if part is None:
                continue
            share = (row["n"] - part["n"]) / row["n"]  # one of a hundred is a hundredth; 1 - 0.99 is more
            if share > gate.max_items:
                reasons.append(
                    f"{task}: {share:.1%} of its items stand in the training text, {gate.max_items:.1%} is let pass"
                )
            inflation = better(row) - better(part) if part["value"] is not None else math.inf
            if inflation > gate.max_inflation + STANDARD_ERRORS * _error(row, part):
                reasons.append(
                    f"{run.name}: {task} is {row['value']:.4f} on all items and {part['value']} on clean ones"
                )
    return _check(
        "no_contamination",
        list(dict.fromkeys(reasons)),
        [],
        f"{counted(len(clean), 'score')} counted once more without the items that stand in the training text"
        f" ({gate.max_items:.1%} of a task's at most): none is better for them by more than {gate.max_inflation:g} and"
        f" {STANDARD_ERRORS:g} standard errors"
        if clean
        else "no item that was asked stands in the training text",
        gate.blocking,
    )


def _can_be_guessed(row: ScoreRow) -> bool:
    """Whether the score is a share of right answers of which guessing gets some: not bits per byte, nor text that is
    written.
    """
    asked_untrained = not row["task"].startswith(CHAT)  # a model that was never told how to answer is not asked
    return asked_untrained and bool(row["higher_is_better"]) and row["chance"] is not None and 0 < row["chance"] < 1


def _guessing(gate: GuessingGate, runs: Sequence[Judged]) -> Check:
    """Exact binomial test of untrained scores against chance.

    One random model answers all items, so that what it happens to prefer favours or harms all of them alike. Where
    nothing tells right choices from wrong ones its answers are guesses all the same, whatever it prefers, and
    independent from item to item (in a set of ``sets.py``, nearer to chance than that): the test is exact. What it
    finds may be a preference of this one model; its items still differ in what is preferred. A second random model
    would ask about the same items and add little; more items add.
    """
    from scipy.stats import binomtest  # takes a second to import, and definitions load without it

    untrained = {
        (r["run"], r["checkpoint"], task): r
        for run in runs
        for task, r in sorted((run.untrained or {}).items())
        if _can_be_guessed(r)
    }
    missing = sorted(
        {
            task
            for run in runs
            if run.untrained is not None
            for task, row in run.rows.items()
            if _can_be_guessed(row) and task not in run.untrained
        }
    )
    unasked = (
        [f"{', '.join(missing)} have no score without training (`neo eval RUN@0`, or 0.0 in evaluate_at)"]
        if missing
        else []
    )
    reasons = []
    for (name, checkpoint, task), row in untrained.items():
        value, chance, n = row["value"], row["chance"], row["n"]
        p = float(binomtest(round(value * n), n, chance).pvalue)
        if p < gate.alpha:
            reasons.append(
                f"{at(name, checkpoint)}: without training {task} is {value:.4f} where guessing is {chance:.4g} (p"
                f" {p:.2g}, {n} items): its items give something away, and scores of it are to be compared with each"
                " other, not with guessing"
            )
    return _check(
        "guessing_is_chance",
        reasons,
        unasked,
        f"the untrained model is where guessing is in {_named(task for *_, task in untrained)} (significance"
        f" {gate.alpha:g}): their items give nothing away"
        if untrained
        else f"{NOTHING}no task that can be guessed was asked without training",
        gate.blocking,
    )


def _and_untrained(held: int, looked: int) -> str:
    """Of how many scores it is also known that they are better than without training."""
    if held == looked:
        return " and than without training"
    return f" and, {held} of {looked}, than without training" if held else " (nothing was asked without training)"


def _sanity(gate: SanityGate, runs: Sequence[Judged]) -> Check:
    reasons, unasked, looked, held = [], [], 0, 0
    for run in runs:
        for task in gate.tasks:
            row = run.rows.get(task)
            if row is None or row["chance"] is None:
                unasked.append(f"{run.run}: {task} has no score")
                continue
            looked += 1
            ahead = (better(row) - better(row | {"value": row["chance"]})) / (_error(row) or math.inf)
            start = (run.untrained or {}).get(task)
            held += start is not None
            if ahead <= STANDARD_ERRORS:
                reasons.append(
                    f"{run.name}: {task} {row['value']:.4f} is not better than guessing"
                    f" ({row['chance']:.4g}): {ahead:.1f} standard errors"
                )
            elif (
                start is not None
                and start["checkpoint"] != row["checkpoint"]
                and better(row) - better(start) <= STANDARD_ERRORS * _error(row, start)
            ):
                reasons.append(
                    f"{run.name}: {task} {row['value']:.4f} is not better than without training ({start['value']:.4f})"
                )
        for task, row in sorted(run.rows.items()):
            cut, requests = (row["cut"] or 0), (row["requests"] or 0)
            if requests and cut / requests > gate.max_cut:
                reasons.append(
                    f"{run.name}: {cut:,} of {requests:,} requests of {task} are longer than the model"
                    f" reads and were cut, {gate.max_cut:.1%} is let pass"
                )
        if run.repetition is not None and run.repetition > gate.max_repetition:
            reasons.append(
                f"{run.name}: {run.repetition:.0%} of what it writes repeats itself,"
                f" {gate.max_repetition:.0%} is let pass"
            )
    return _check(
        "sane",
        reasons,
        unasked,
        f"{', '.join(gate.tasks)}: better than guessing{_and_untrained(held, looked)}, by {STANDARD_ERRORS:g} standard"
        f" errors, at {_named(run.name for run in runs)} (other tasks are not asked for); no task cut short, no text"
        " that repeats itself"
        if looked
        else f"{NOTHING}the recipe names no tasks for it",
        gate.blocking,
    )
