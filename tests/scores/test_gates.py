"""Each gate refuses what it is there for, lets pass what it should, and says when it was not asked."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from neo_assets.core.recipe.evaluation import (
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
from neo_assets.core.store import Check, Row
from neo_assets.evaluate.best import best, by_checkpoint
from neo_assets.scores.gates import Judged, Reference, judge, verdict_in_words

GATES = Gates(
    regression=RegressionGate(against=["parent", "best", "baseline"], alpha=0.01, tolerance=0.0, blocking=True),
    parity=ParityGate(pairs=[("next_en", "next_zh")], max_widening=0.05, blocking=True),
    contamination=ContaminationGate(max_items=0.1, max_inflation=0.0, blocking=True),
    guessing=GuessingGate(alpha=0.01, blocking=True),
    sanity=SanityGate(tasks=["next_en"], max_cut=0.01, max_repetition=0.5, blocking=True),
)
N = 400


def row(
    task: str,
    checkpoint: str,
    value: float,
    *,
    higher: bool = True,
    stderr: float = 0.02,
    step: int = 0,
    **more: object,
) -> Row:
    common: Row = {
        "run": "main",
        "task": task,
        "checkpoint": checkpoint,
        "step": step,
        "value": value,
        "stderr": stderr,
        "n": N,
        "chance": 0.25,
        "main": True,
        "requests": N,
        "cut": 0,
    }
    return common | {"subset": None, "attempt": 1, "higher_is_better": higher} | more  # type: ignore[return-value]


def items(r: Row) -> dict[str, tuple[float, int]]:
    """As many right answers as the score says; which ones is a model's own."""
    order = random.Random(str(r["checkpoint"])).sample(range(N), N)
    return {str(i): (float(place < round(float(str(r["value"])) * N)), 1) for place, i in enumerate(order)}


def scores(checkpoint: str, en: float, zh: float, step: int = 0) -> dict[str, Row]:
    return {"next_en": row("next_en", checkpoint, en, step=step), "next_zh": row("next_zh", checkpoint, zh, step=step)}


UNTRAINED = scores("start", 0.26, 0.24)


def judged(
    now: dict[str, Row],
    *,
    then: dict[str, Row] | None = None,
    repetition: float = 0.1,
    untrained: dict[str, Row] | None = UNTRAINED,
) -> Judged:
    before = then or scores("before", 0.5, 0.5)
    return Judged("main", "now", now, before, repetition, [Reference("parent", "main before", before)], untrained)


def checks(run: Judged, clean: list[Row] | None = None, gates: Gates = GATES) -> dict[str, Check]:
    found, _ = judge(gates, [run], items, clean or [])
    return {c.name: c for c in found}


def test_a_model_that_is_no_worse_passes_every_gate() -> None:
    assert [c.passed for c in checks(judged(scores("now", 0.52, 0.5))).values()] == [True] * 6


def test_what_passes_says_what_was_looked_at_and_with_nothing_to_look_at_it_says_so() -> None:
    told = {name: (verdict_in_words(c), c.detail) for name, c in checks(judged(scores("now", 0.52, 0.5))).items()}
    assert told["sane"][1].startswith("next_en: better than guessing and than without training, by 2 standard")
    assert told["no_regression"][1].startswith("2 comparisons of main now with parent main before: none is worse")
    assert told["better_than_parent"] == ("nothing", "nothing to check: no run goes on from another")
    assert told["no_contamination"] == ("pass", "no item that was asked stands in the training text")
    assert "wider at no run's end" in told["languages_in_step"][1]
    assert {name for name, (verdict, _) in told.items() if verdict == "pass"} == told.keys() - {"better_than_parent"}
    bare = GATES.model_copy(
        update={
            "parity": GATES.parity.model_copy(update={"pairs": []}),
            "sanity": GATES.sanity.model_copy(update={"tasks": []}),
        }
    )
    alone = Judged("main", "now", scores("now", 0.5, 0.5), scores("now", 0.5, 0.5), None, [], None)
    said = {name: verdict_in_words(check) for name, check in checks(alone, gates=bare).items()}
    assert said.pop("no_contamination") == "pass" and set(said.values()) == {"nothing"}


@pytest.mark.parametrize(("bits", "passes"), [(1.55, True), (1.58, False), (1.7, False)])
def test_a_second_phase_must_be_worth_it(bits: float, passes: bool) -> None:
    gate = ImprovementGate(tasks=["bpb"], least=0.02, blocking=True)
    parent = {"bpb": row("bpb", "0000420-aaaaaaaa", 1.6, higher=False)}
    mine = {"bpb": row("bpb", "0000120-bbbbbbbb", bits, higher=False) | {"run": "decay"}}
    run = Judged("decay", "0000120-bbbbbbbb", mine, mine, None, [Reference("parent", "main@420", parent)], UNTRAINED)
    found = checks(run, gates=GATES.model_copy(update={"improvement": gate}))["better_than_parent"]
    assert found.passed is passes and found.blocking
    if not passes:
        assert f"decay@120: bpb {bits:.4f} is {(1.6 - bits) / 1.6:+.1%} on its parent main@420 (1.6000)" in found.detail
    own = checks(judged(scores("now", 0.5, 0.5)), gates=GATES.model_copy(update={"improvement": gate}))
    assert "has no score of bpb" in own["better_than_parent"].detail and not own["better_than_parent"].passed
    first = {"bpb": row("bpb", "0000000-aaaaaaaa", 3.0, higher=False)}
    alone = Judged("main", "0000420-aaaaaaaa", parent, first, None, [Reference("parent", "main@0", first)], UNTRAINED)
    assert checks(alone, gates=GATES.model_copy(update={"improvement": gate}))["better_than_parent"].passed


def test_a_worse_model_is_refused_with_task_reference_and_chance() -> None:
    refused = checks(judged(scores("now", 0.3, 0.5)))["no_regression"]
    assert not refused.passed and refused.blocking
    assert "next_en 0.3000, parent main before 0.5000" in refused.detail and "next_zh" not in refused.detail


def test_a_loss_within_tolerance_or_by_chance_passes() -> None:
    assert checks(judged(scores("now", 0.48, 0.5)))["no_regression"].passed
    lenient = GATES.model_copy(update={"regression": GATES.regression.model_copy(update={"tolerance": 0.25})})
    assert checks(judged(scores("now", 0.3, 0.5)), gates=lenient)["no_regression"].passed


def test_lower_is_better_is_turned_round() -> None:
    then = {"bpb": row("bpb", "before", 0.4, higher=False)}
    worse = Judged(
        "main", "now", {"bpb": row("bpb", "now", 0.7, higher=False)}, then, None, [Reference("parent", "p", then)]
    )
    better = Judged(
        "main", "now", {"bpb": row("bpb", "now", 0.1, higher=False)}, then, None, [Reference("parent", "p", then)]
    )
    assert not checks(worse)["no_regression"].passed
    assert checks(better)["no_regression"].passed


def test_a_reference_without_a_score_is_told_and_does_not_pass() -> None:
    run = Judged(
        "main", "now", scores("now", 0.5, 0.5), scores("now", 0.5, 0.5), None, [Reference("baseline", "theirs", {})]
    )
    refused = checks(run)["no_regression"]
    assert not refused.passed and "not asked: baseline theirs has no score of next_en" in refused.detail


def test_the_gap_between_the_languages_may_not_widen() -> None:
    refused = checks(judged(scores("now", 0.8, 0.5)))["languages_in_step"]
    assert not refused.passed and "went from 0.0000 to 0.3000" in refused.detail
    assert checks(judged(scores("now", 0.5, 0.5)))["languages_in_step"].passed
    wide = scores("before", 0.9, 0.5)
    assert checks(judged(scores("now", 0.8, 0.5), then=wide))["languages_in_step"].passed, "it has become narrower"


def test_a_pair_without_scores_is_told() -> None:
    only = {"next_en": row("next_en", "now", 0.5)}
    assert "have no scores" in checks(judged(only))["languages_in_step"].detail


@pytest.mark.parametrize(
    ("clean_value", "n", "passes"), [(0.49, 390, True), (0.49, 300, False), (0.2, 390, False), (None, 0, False)]
)
def test_a_score_that_rests_on_items_of_the_training_text_is_refused(
    clean_value: float | None, n: int, passes: bool
) -> None:
    clean = row("next_en", "now", 0.0) | {"value": clean_value, "n": n, "subset": "clean", "main": False}
    assert checks(judged(scores("now", 0.5, 0.5)), [clean])["no_contamination"].passed is passes


def test_guessing_and_repeating_are_refused() -> None:
    assert (
        "not better than guessing"
        in checks(judged(scores("now", 0.27, 0.27), then=scores("before", 0.27, 0.27)))["sane"].detail
    )
    refused = checks(judged(scores("now", 0.5, 0.5), repetition=0.9))["sane"]
    assert not refused.passed and "90% of what it writes repeats itself" in refused.detail


def test_a_task_whose_requests_were_cut_is_refused() -> None:
    now = scores("now", 0.5, 0.5)
    assert checks(judged({**now, "next_zh": now["next_zh"] | {"cut": 4}}))["sane"].passed
    refused = checks(judged({**now, "next_zh": now["next_zh"] | {"cut": 5}}))["sane"]
    assert (
        not refused.passed
        and "5 of 400 requests of next_zh are longer than the model reads and were cut, 1.0% is let pass"
        in refused.detail
    )


def test_the_best_score_of_each_task_may_be_of_different_checkpoints() -> None:
    rows = [*scores("a", 0.5, 0.9, step=1).values(), *scores("b", 0.7, 0.6, step=2).values()]
    found = best(by_checkpoint(rows)["main"])
    assert (found["next_en"]["checkpoint"], found["next_zh"]["checkpoint"]) == ("b", "a")


@pytest.mark.parametrize(
    ("value", "n", "fair"),
    [
        (0.25, 600, True),
        (0.2017, 600, False),
        (0.3175, 600, False),
        (0.17, 100, True),
        (0.22, 600, True),
        (0.12, 100, False),
    ],
)
def test_a_task_of_which_an_untrained_model_knows_more_or_less_than_guessing_is_told(
    value: float, n: int, fair: bool
) -> None:
    start = scores("start", 0.25, 0.25) | {"next_zh": row("next_zh", "start", value, n=n)}
    found = checks(judged(scores("now", 0.5, 0.5), untrained=start))["guessing_is_chance"]
    assert found.passed is fair and found.blocking
    assert fair or f"main start: without training next_zh is {value:.4f} where guessing is 0.25" in found.detail


def test_bits_per_byte_and_written_answers_are_not_guessed() -> None:
    start = scores("start", 0.25, 0.25) | {
        "bpb": row("bpb", "start", 3.6, higher=False, chance=8.0),
        "sums": row("sums", "start", 0.0, chance=0.0),
        "odd": row("odd", "start", 0.9, chance=None),
    }
    assert checks(judged(scores("now", 0.5, 0.5), untrained=start))["guessing_is_chance"].passed


def test_a_task_without_an_untrained_score_is_told_unless_the_weights_came_trained() -> None:
    refused = checks(judged(scores("now", 0.5, 0.5), untrained={"next_en": row("next_en", "start", 0.25)}))[
        "guessing_is_chance"
    ]
    assert not refused.passed and refused.detail.startswith("not asked: next_zh have no score without training")
    assert checks(judged(scores("now", 0.5, 0.5), untrained=None))["guessing_is_chance"].passed


def test_an_untrained_score_of_two_runs_is_judged_once() -> None:
    unfair = scores("start", 0.1, 0.25)
    found, _ = judge(
        GATES,
        [judged(scores("now", 0.5, 0.5), untrained=unfair), judged(scores("now", 0.5, 0.5), untrained=unfair)],
        items,
        [],
    )
    assert next(c for c in found if c.name == "guessing_is_chance").detail.count("next_en is 0.1000") == 1


def test_a_model_no_better_than_before_training_is_not_sane_though_far_from_chance() -> None:
    gates = GATES.model_copy(
        update={"sanity": SanityGate(tasks=["bpb"], max_cut=0.01, max_repetition=0.5, blocking=True)}
    )
    now, start = (
        {"bpb": row("bpb", "now", 3.59, higher=False, chance=8.0)},
        {"bpb": row("bpb", "start", 3.6, higher=False, chance=8.0)},
    )
    refused = checks(judged(now, then=start, untrained=start), gates=gates)["sane"]
    assert not refused.passed and "bpb 3.5900 is not better than without training (3.6000)" in refused.detail
    assert checks(
        judged({"bpb": row("bpb", "now", 2.4, higher=False, chance=8.0)}, then=start, untrained=start), gates=gates
    )["sane"].passed


def test_gates_name_no_task_of_a_language_that_the_recipe_does_not_list() -> None:
    from neo_assets.core.recipe import load
    from neo_assets.scores.assets import _gates

    both = load("laptop")
    assert _gates(both) == both.evaluation.gates
    english = both.model_copy(update={"languages": ["en"]})
    assert _gates(english).parity.pairs == [] and _gates(english).sanity.tasks == ["bits_per_byte_en_30"]


def test_as_many_items_as_are_let_pass_are_let_pass() -> None:
    """1 - 0.99 is more than 0.01 to a computer."""
    lenient = GATES.model_copy(update={"contamination": GATES.contamination.model_copy(update={"max_items": 0.01})})
    now = {"next_en": row("next_en", "now", 0.5) | {"n": 100}}
    for n, passes in ((99, True), (98, False)):
        clean = row("next_en", "now", 0.0) | {"value": 0.5, "n": n, "subset": "clean", "main": False}
        assert checks(judged(now), [clean], lenient)["no_contamination"].passed is passes


# ------------------------------------------------------------------ fine-tuned runs


def tuned(bits: float, stops: float = 1.0, exact: float = 0.3) -> Judged:
    """A fine-tuned run whose bits per byte were 1.5 before."""
    base = Reference("base", "decay@9", {"bits": row("bits", "base", 1.5, higher=False)})
    told = {"stops": row("chat_en", "end", stops), "exact": row("chat_en", "end", exact)}
    rows = {"bits": row("bits", "end", bits, higher=False, chance=8.0), "chat_en": told["exact"]}
    return Judged("chat", "0000009-abcdef01", rows, rows, 0.0, [], rows, base, {"chat_en": told})  # type: ignore[arg-type]


CHAT = GATES.model_copy(
    update={
        "forgetting": ForgettingGate(tasks=["bits"], most=0.07, blocking=True),
        "answers": AnswersGate(least={"stops": 0.99, "exact": 0.25}, blocking=False),
        "sanity": SanityGate(tasks=["bits"], max_cut=0.01, max_repetition=0.5, blocking=True),
        "improvement": ImprovementGate(tasks=["bits"], least=0.02, blocking=True),
        "parity": ParityGate(pairs=[], max_widening=0.0, blocking=True),
    }
)


@pytest.mark.parametrize(
    ("run", "forgotten", "answers"),
    [
        (tuned(1.59), "", ""),
        (tuned(1.62), "bits 1.6200 is 8.0% worse than decay@9 (1.5000), 7.0% is let pass", ""),
        (tuned(1.5, stops=0.98), "", "chat_en stops 98.0%, at least 99.0% is asked for"),
        (tuned(1.5, exact=0.1), "", "chat_en exact 10.0%, at least 25.0% is asked for"),
    ],
)
def test_what_fine_tuning_cost_and_what_answers_are(run: Judged, forgotten: str, answers: str) -> None:
    checks, _ = judge(CHAT, [run], lambda r: items(r), [])  # type: ignore[arg-type]
    told = {check.name: check for check in checks}
    assert told["little_forgotten"].passed is not bool(forgotten) and forgotten in told["little_forgotten"].detail
    assert told["answers_well"].passed is not bool(answers) and answers in told["answers_well"].detail
    assert (told["little_forgotten"].blocking, told["answers_well"].blocking) == (True, False)
    assert told["better_than_parent"].detail.startswith("nothing to check")  # it is no second phase of pre-training


def test_a_fine_tuned_run_that_was_not_asked_is_not_passed() -> None:
    run = tuned(1.5)
    unasked = replace(run, answers={}, rows={"chat_en": run.rows["chat_en"]})
    checks, _ = judge(CHAT, [unasked], lambda r: items(r), [])  # type: ignore[arg-type]
    told = {check.name: check for check in checks}
    assert not told["little_forgotten"].passed and "has no score of bits" in told["little_forgotten"].detail
    assert not told["answers_well"].passed and "was asked nothing in conversations" in told["answers_well"].detail


def test_without_fine_tuned_runs_nothing_is_said_of_them() -> None:
    checks, _ = judge(CHAT, [replace(tuned(1.5), base=None)], lambda r: items(r), [])  # type: ignore[arg-type]
    assert not {"little_forgotten", "answers_well"} & {check.name for check in checks}


def test_a_fine_tuned_run_is_held_against_its_parent_in_its_answers_alone() -> None:
    run = tuned(1.59, exact=0.3)
    parent = Reference("parent", "foundational@9", {"chat_en": row("chat_en", "before", 0.5)})
    checks, findings = judge(CHAT, [replace(run, references=[parent])], lambda r: items(r), [])  # type: ignore[arg-type]
    told = {check.name: check for check in checks}
    assert [f.task for f in findings] == ["chat_en"] and not told["no_regression"].passed
    assert "not asked" not in told["no_regression"].detail and "bits" not in told["no_regression"].detail
