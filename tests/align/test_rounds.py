"""Rounds in which a model writes the answers that are compared: which pairs they make, what guards see and refuse, and
what a recipe may ask for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neo_assets.align.own_answers import prompts_of
from neo_assets.align.own_pairs import PairsInput, make_pairs
from neo_assets.align.refused import refuse_after_collapse, refuse_bad_judge
from neo_assets.align.reward_report import RewardReportInput
from neo_assets.align.reward_report import report as reward_report
from neo_assets.align.rewarded import by_overlap
from neo_assets.align.round_cost import round_cost
from neo_assets.align.round_report import Moved, RoundReportInput, round_report, said
from neo_assets.core import records
from neo_assets.core.errors import NeoError, RecipeError
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.align import Guards, Reward
from neo_assets.core.records import Verdict, verdict_table
from neo_assets.core.store import Artifact, Check, MadeFrom, Outcome, Store, Workspace
from neo_assets.runs.run_commands import conversation_places
from tests.align.conversations import artifact
from training.answering import AFTER, ANSWERS, BEFORE, TEXT_ROWS, Asking, named_set, read_prompts
from training.rewarding import REWARDS

Row = dict[str, Any]


def answer(prompt: str, sample: int, text: str, model: str = BEFORE, stops: bool = True, **told: Any) -> Row:
    return {
        "id": f"{model}/s/{prompt}/{sample}", "model": model, "set": "s", "prompt_id": prompt, "task": "", "lang": "en",
        "licence": "CC0-1.0", "prompt": [{"role": "user", "text": f"{prompt}?"}], "expected": "right", "sample": sample,
        "answer": text, "tokens": len(text), "exact": 0.0, "stops": float(stops), "right_language": 1.0,
        "well_formed": float(bool(text.strip())), "overlap": 0.0, "kl": None, **told,
    }  # fmt: skip


def rewards(rows: list[Row], given: list[float | None]) -> pa.Table:
    told = [
        {"set": "", "id": row["id"], "answer": "answer", "reward": reward, "tokens": 1}
        for row, reward in zip(rows, given, strict=True)
    ]
    return pa.Table.from_pylist(told, schema=REWARDS)


def written(store: Store, name: str, **tables: pa.Table) -> Artifact:
    def work(out: Workspace) -> Outcome:
        for file, table in tables.items():
            out.write(f"{file}.parquet", table)
        return Outcome(digest=name, rows_in=sum(t.num_rows for t in tables.values()), rows_kept=1)

    return artifact(store, name, work)


# ------------------------------------------------------------------ pairs


def test_the_best_that_ends_stands_before_the_worst_and_every_prompt_is_told_of(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cases: dict[str, list[tuple[str, float | None, bool]]] = {
        "clear": [("a", 1.0, True), ("b", 3.0, True), ("c", -2.0, True)],
        "cut": [("long", 9.0, False), ("b", 1.0, True), ("c", 0.0, True)],  # the best was cut off: it is not chosen
        "worst_cut": [("b", 1.0, True), ("long", -1.0, False)],
        "tied": [("b", 1.0, True), ("c", 1.0, True), ("d", 0.0, True)],  # the first of two equals
        "alike": [("same", 1.0, True), ("same", 1.0, True)],
        "close": [("a", 1.0, True), ("b", 0.95, True)],
        "none_ends": [("a", 1.0, False), ("b", 0.0, False)],
        "silent": [("a", 1.0, True), ("", None, True)],
    }
    rows = [answer(p, i, text, stops=ends) for p, said in cases.items() for i, (text, _, ends) in enumerate(said)]
    given = [reward for said in cases.values() for _, reward, _ in said]
    inputs = {
        "generations/r": written(store, "generations/r", answers=pa.Table.from_pylist(rows, schema=ANSWERS)),
        "rewards/r": written(store, "rewards/r", rewards=rewards(rows, given)),
    }
    made_from = MadeFrom(config={}, code={}, libraries={}, inputs={})
    config = PairsInput(run="r", margin=0.1)
    made, _ = store.build("pairs/r", made_from, lambda out: make_pairs(config, inputs, out))
    pairs = {r["prompt"][0]["text"]: (r["chosen"], r["rejected"]) for r in made.table("rows.parquet").to_pylist()}
    assert pairs == {"clear?": ("b", "c"), "cut?": ("b", "c"), "worst_cut?": ("b", "long"), "tied?": ("b", "d")}
    verdicts = made.table("verdicts.parquet").to_pylist()
    assert sorted(v["rule"] for v in verdicts if v["rule"]) == ["alike", "no_reward", "none_ends", "too_close"]
    assert len(verdicts) == len(cases) == made.manifest.rows_in and made.manifest.rows_kept == 4
    assert {v["doc_id"] for v in verdicts if not v["rule"]} == {
        r["pair_id"] for r in made.table("rows.parquet").to_pylist()
    }
    kept = [v["detail"] for v in verdicts if not v["rule"]]
    assert "s/clear, answer 1 before 2 by 5" in kept


def test_a_pair_that_two_sets_hold_has_a_place_in_each(tmp_path: Path) -> None:
    made = recipe(tmp_path, STAGES % (GENERATED % "run: likes"), RUNS + "  two: {like: one, parent: {run: one}}\n")
    store = Store(tmp_path)
    for run in ("one", "two"):
        told = [Verdict("same", f"pairs/{run}", source=run, detail=f"s/p, answer {run}")]
        pairs = written(store, f"pairs/{run}", verdicts=verdict_table(told))
        store.set_head(made.name, f"pairs/{run}", pairs.key, pairs.fingerprint)
    assert conversation_places(store, made, ["same", "other"]) == {
        ("one", "same"): "one: s/p, answer one",
        ("two", "same"): "two: s/p, answer two",
    }


def test_a_prompt_that_two_sets_hold_is_asked_for_each() -> None:
    rows = [{**answer("p", sample, "x"), "set": name} for name in "st" for sample in range(3)]
    assert prompts_of(pa.Table.from_pylist(rows, schema=ANSWERS)) == 2


def test_the_rule_gives_nothing_for_what_does_not_end_or_is_no_answer() -> None:
    row = answer("p", 0, "right", overlap=0.7)
    assert by_overlap(row) == pytest.approx(0.7)
    for name in ("stops", "well_formed", "right_language"):
        assert by_overlap({**row, name: 0.0}) == 0.0
    assert by_overlap({**row, "answer": " \n"}) is None


def test_prompts_are_drawn_by_what_they_are(tmp_path: Path) -> None:
    from neo_assets.align.sets import CONVERSATION, PREFERENCE, conversation_row
    from training.templates import ASSISTANT, USER, Turn

    def folder(name: str, numbers: range) -> Path:
        turns = [[Turn(USER, f"{i}?"), Turn(ASSISTANT, f"{i}.")] for i in numbers]
        rows = [dict(conversation_row(talk, "en", "CC0-1.0").row) for talk in turns]
        (tmp_path / name).mkdir()
        records.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), tmp_path / name / "rows.parquet")
        return tmp_path / name

    def drawn(given: Path, **told: Any) -> set[str]:
        asking = {"file": "rows.parquet", "shares": {"a": 0.3}, "max_tokens": 1, "batch_size": 1, "seed": 1, **told}
        prompts = read_prompts(Asking.model_validate(asking), {named_set("a"): given})
        assert all(p.expected == f"{p.turns[0].text[:-1]}." and len(p.turns) == 1 for p in prompts)
        return {p.turns[0].text for p in prompts}

    pairs = [
        {"pair_id": f"{i}{other}", "lang": "en", "licence": "MIT", "chosen": f"{i}.", "rejected": other,
         "prompt": [{"role": "user", "text": f"{i}?"}]}
        for i in range(5) for other in "xy"
    ]  # fmt: skip
    (tmp_path / "pairs").mkdir()
    records.write_table(pa.Table.from_pylist(pairs, schema=PREFERENCE), tmp_path / "pairs" / "rows.parquet")
    assert len(drawn(tmp_path / "pairs", shares={"a": 1})) == 5  # a prompt of two pairs is asked once
    all_of, half = folder("all", range(400)), folder("half", range(200))
    some = drawn(all_of)
    assert 80 < len(some) < 160
    assert drawn(half) == {text for text in some if int(text[:-1]) < 200}  # other rows move nothing
    assert drawn(all_of, seed=2) != some
    assert len(drawn(all_of, items=7)) == 7 and drawn(all_of, items=7) < some


# ------------------------------------------------------------------ guards

GUARDS = {"prompts": ["s"], "items": 9, "max_tokens": 9, "seed": 1}


def report(tmp_path: Path, change: Callable[[list[Row]], None] = lambda rows: None, **told: Any) -> Artifact:
    """A round of 40 prompts; ``change`` alters what was answered afterwards."""
    store = Store(tmp_path)
    before = [answer(f"p{i}", 0, f"answer {i}", exact=float(i % 2)) for i in range(40)]
    after = [{**row, "id": row["id"].replace(BEFORE, AFTER), "model": AFTER, "kl": 0.01} for row in before]
    change(after)
    rows = [*before, *after]
    forgotten = told.pop("forgotten", 0.0)
    texts = [
        {
            "model": model,
            "doc_id": f"d{i}",
            "lang": "en",
            "tokens": 10,
            "nats": 30.0 * (1 + forgotten * (model == AFTER)),
        }
        for model in (BEFORE, AFTER)
        for i in range(3)
    ]
    reference = np.full((4, 2), -10.0, np.float32)
    policy = reference + np.array(told.pop("ratios", (0.5, -0.5)), np.float32)

    def stream(out: Workspace) -> Outcome:
        """Windows of 8: two answers of two and three learnt tokens, and padding."""
        learnt = np.tile(np.array([0, 1, 1, 0, 1, 1, 1, 0], np.uint8), 4)
        learnt.tofile(out.path / "learnt.bin")
        positions = [8 * i + at for i in range(4) for at in (0, 3, 7)]
        out.write("index.parquet", pa.table({"position": positions}))
        return Outcome(digest="stream")

    def sums(values: np.ndarray[Any, Any]) -> Callable[[Workspace], Outcome]:
        def work(out: Workspace) -> Outcome:
            np.save(out.path / "reference.npy", values)
            return Outcome(digest="sums")

        return work

    given = told.pop("rewards", None)
    inputs = {
        "round_answers/r": written(
            store, "round_answers/r",
            answers=pa.Table.from_pylist(rows, schema=ANSWERS), texts=pa.Table.from_pylist(texts, schema=TEXT_ROWS),
        ),
        "pair_shards/r": artifact(store, "pair_shards/r", stream),
        "reference_logprobs/r": artifact(store, "reference_logprobs/r", sums(reference)),
        "policy_logprobs/r": artifact(store, "policy_logprobs/r", sums(policy)),
    }  # fmt: skip
    if given:
        inputs["round_rewards/r"] = written(store, "round_rewards/r", rewards=rewards(rows, [*given[0], *given[1]]))
    guards = Guards.model_validate({**GUARDS, **told})
    config = RoundReportInput(run="r", stream="pair_shards/r", guards=guards, rewarded=bool(given))
    made_from = MadeFrom(config=config.model_dump(mode="json"), code={}, libraries={}, inputs={})
    return store.build("round_report/r", made_from, lambda out: round_report(config, inputs, out))[0]


def refused(made: Artifact) -> list[str]:
    return [check.name for check in made.refused_by]


def test_a_round_that_changes_nothing_passes_and_is_called_flat(tmp_path: Path) -> None:
    made = report(tmp_path)
    assert refused(made) == [] and made.manifest.numbers["verdict"] == "flat"
    told = json.loads(made.file("report.json").read_text())
    assert told["chosen"] == pytest.approx(0.5 * 4 / 8) and told["rejected"] == pytest.approx(-0.5 * 4 / 12)
    assert told["right"] == 1.0 and told["forgotten"] == 0.0
    assert told["kl"] == pytest.approx(0.01 * 40 / sum(len(f"answer {i}") for i in range(40)))


def all_the_same(rows: list[Row]) -> None:
    for row in rows:
        row.update(answer="To access this command", tokens=22, exact=0.0)


def longer(rows: list[Row]) -> None:
    for row in rows:
        row["answer"] = row["answer"] * 3


def far(rows: list[Row]) -> None:
    for row in rows:
        row["kl"] = 50.0


@pytest.mark.parametrize(
    ("change", "told", "by"),
    [
        (all_the_same, {}, ["judge", "distinct", "length"]),
        (longer, {}, ["length"]),
        (far, {}, ["near_before"]),
        (lambda rows: None, {"ratios": (-20.0, -40.0)}, ["chosen_stay_likely"]),
        (lambda rows: None, {"forgotten": 0.08}, ["little_forgotten"]),
    ],
)
def test_a_round_that_collapses_is_refused_by_name(
    tmp_path: Path, change: Callable[[list[Row]], None], told: Row, by: list[str]
) -> None:
    made = report(tmp_path, change, **told)
    assert refused(made) == by
    store = Store(tmp_path)
    store.set_head("x", "round_report/r", "round_report/r", made.fingerprint)
    again = rounds_of(tmp_path)
    with pytest.raises(NeoError, match=f"no round goes on from r, which round_report/r refuses: {by[0]}"):
        refuse_after_collapse(again, store, "next")
    refuse_after_collapse(again, store, "r")  # what it began from has no guards


def rounds_of(tmp_path: Path) -> Recipe:
    guards = "rounds: {liked: 1}, guards: {prompts: [ours], items: 1, max_tokens: 1, seed: 1}"
    runs = RUNS.replace("one:", "r:") + "  next: {like: r, parent: {run: r}}\n"
    return recipe(tmp_path, STAGES % guards, runs).model_copy(update={"name": "x"})


def test_no_round_goes_on_from_one_that_nobody_looked_at(tmp_path: Path) -> None:
    with pytest.raises(NeoError, match="no round goes on from r before it was looked at: materialize round_report/r"):
        refuse_after_collapse(rounds_of(tmp_path), Store(tmp_path), "next")


def test_nothing_is_rewarded_by_a_model_that_its_report_refuses(tmp_path: Path) -> None:
    """Of a recipe's own reward model; with a least accuracy and nothing held out nobody knows."""
    made, store = rounds_of(tmp_path), Store(tmp_path)
    with pytest.raises(NeoError, match="materialize reward_report/likes first"):
        refuse_bad_judge(made, store, "likes")
    refuse_bad_judge(made, store, None)
    for least in (0.0, 0.6):
        settings = Reward.model_validate({"rounds": {"liked": 1}, "least_accuracy": least})
        config = RewardReportInput(run="likes", settings=settings, sets=["liked"])

        def judged(out: Workspace, config: RewardReportInput = config) -> Outcome:
            out.write("rewards.parquet", pa.Table.from_pylist([], schema=REWARDS))
            return reward_report(config, [], out)

        told = artifact(store, f"reward_report/likes{least}", judged)
        store.set_head("x", "reward_report/likes", told.key, told.fingerprint)
        if least:
            with pytest.raises(NeoError, match=r"nothing is rewarded by likes, which .* refuses: accurate: no pair"):
                refuse_bad_judge(made, store, "likes")
        else:
            refuse_bad_judge(made, store, "likes")


def test_a_fall_within_its_interval_is_none_and_a_gain_outside_is_one(tmp_path: Path) -> None:
    def one_less(rows: list[Row]) -> None:
        rows[1]["exact"] = 0.0

    assert refused(report(tmp_path / "less", one_less, max_fall=0.0)) == []

    def many_more(rows: list[Row]) -> None:
        for row in rows[:20]:
            row["exact"] = 1.0

    made = report(tmp_path / "more", many_more)
    assert made.manifest.numbers["verdict"] == "better" and made.manifest.numbers["judge_low"] > 0


def test_what_says_nothing_loses_by_reward(tmp_path: Path) -> None:
    def silent(rows: list[Row]) -> None:
        rows[0].update(answer="")

    given = ([1.0] * 40, [None, *[2.0] * 19, *[1.0] * 20])
    made = report(tmp_path, silent, rewards=given)
    told = json.loads(made.file("report.json").read_text())
    assert told["wins"]["value"] == pytest.approx((19 + 20 / 2) / 40)
    assert told["reward"]["after"] == pytest.approx((19 * 2 + 20) / 39)
    assert said(Moved(**told["reward"])) == "better"


def test_nothing_held_out_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def nothing(out: Workspace) -> Outcome:
        out.write("answers.parquet", pa.Table.from_pylist([], schema=ANSWERS))
        return Outcome(digest="none", rows_kept=0)

    config = RoundReportInput(run="r", stream="x", guards=Guards.model_validate(GUARDS), rewarded=False)
    inputs = {"round_answers/r": artifact(store, "round_answers/r", nothing)}
    made_from = MadeFrom(config={}, code={}, libraries={}, inputs={})
    made, _ = store.build("round_report/r", made_from, lambda out: round_report(config, inputs, out))
    assert made.refused_by == [Check(name="judge", passed=False, detail="no held-out prompt: see held_out of the sets")]


# ------------------------------------------------------------------ recipes

SETS = """
    ours: {paths: [/nowhere/a.jsonl], licence: CC0-1.0, snapshot: "1", lang: en}
  preferences:
    liked: {paths: [/nowhere/b.jsonl], licence: CC0-1.0, snapshot: "1", lang: en}
"""
GENERATED = "generated: {prompts: {ours: 1}, samples: 2, temperature: 1, max_tokens: 8, seed: 1, rewarded_by: {%s}}"


def recipe(tmp_path: Path, align: str, runs: str) -> Recipe:
    file = tmp_path / "r.yaml"
    file.write_text(f"extends: ci\nname: r\nalign:\n  instructions:{SETS}  {align}\nruns:\n{runs}")
    return load(str(file))


RUNS = """
  chat: {like: decay, parent: {run: decay}, phase: talk}
  likes: {like: chat, parent: {run: chat}, phase: taste}
  one: {like: chat, parent: {run: chat}, phase: better}
"""
STAGES = "sft: {talk: {rounds: {ours: 1}}}\n  reward: {taste: {rounds: {liked: 1}}}\n  dpo: {better: {beta: 0.1, %s}}"


def test_what_a_round_asks_of_its_model_is_told_before_it_is_made(tmp_path: Path) -> None:
    guards = "guards: {prompts: [ours], items: 5, max_tokens: 8, seed: 1}"
    asked = GENERATED.replace("ours: 1", "ours: 0.5, liked: 1") % "run: likes"
    made, store = recipe(tmp_path, STAGES % f"{asked}, {guards}", RUNS), Store(tmp_path / "store")
    told = round_cost(made, store, "one")
    assert (
        told["answers drawn"] == "2 to each of 50% of the prompts of ours, 100% of the prompts of liked, at most"
        " 16 tokens a prompt"
    )
    assert told["rewarded by"] == "likes" and round_cost(made, store, "chat") == {}
    compared = "2 to each of at most 5 held-out prompts in 2 languages, at most 160 tokens"
    assert str(told["answers compared, before and after"]).startswith(compared)
    for name in ("instructions/ours", "preferences/liked"):
        sets = written(store, name, rows=pa.table({"x": [1]}))  # which keeps one row, of which a half is none
        store.set_head(made.name, name, sets.key, sets.fingerprint)
    told = round_cost(made, store, "one")
    assert told["answers drawn"] == "2 to each of about 1 prompts, at most 16 tokens"


def test_rounds_of_a_stage_have_pairs_of_their_own(tmp_path: Path) -> None:
    asked = GENERATED.replace("ours: 1", "ours: 1, liked: 0.5") % "run: likes"
    made = recipe(tmp_path, STAGES % asked, RUNS + "  two: {like: one, parent: {run: one}}\n")
    assert [made.stream_of(run) for run in ("likes", "one", "two")] == [
        "pair_shards/taste", "pair_shards/one", "pair_shards/two"
    ]  # fmt: skip
    from neo_assets.build import stages

    reads = {name: stage.reads for name, stage in stages(made).items()}
    assert {"instructions/ours", "preferences/liked"} <= set(reads["generations/one"])
    assert "sft/chat" in reads["generations/one"] and "dpo/one" in reads["generations/two"]
    assert "reward_model/likes" in reads["rewards/two"] and "pair_shards/better" not in reads


@pytest.mark.parametrize(
    ("stage", "runs", "message"),
    [
        (GENERATED % "run: chat", RUNS, r"rewarded_by.run is 'chat', which is no run of a reward model \(likes\)"),
        (GENERATED % "run: lieks", RUNS, "rewarded_by.run is 'lieks', which is no run of a reward model"),
        (GENERATED % "run: likes, rule: overlap", RUNS, "one of run, folder and rule says how good an answer is"),
        ("rounds: {}", RUNS, "rounds names no set of preferences, and no pairs are generated"),
        (
            GENERATED.replace("ours", "yours") % "rule: overlap",
            RUNS,
            r"prompts names 'yours', which is no set of align \(ours, liked\)",
        ),
        (
            GENERATED % "rule: overlap"
            + ", guards: {prompts: [ours], items: 1, max_tokens: 1, seed: 1, judge: overlap}",
            RUNS,
            "for which answers are rewarded: it sees no cheating",
        ),
        (
            GENERATED % "run: likes",
            RUNS.replace("likes: {like: chat, parent: {run: chat}", "likes: {like: chat, parent: {run: one}"),
            "runs.one is rewarded by 'likes', which is trained from it",
        ),
        (GENERATED % "run: likes", RUNS.replace("one:", "taste:"), "no stage of align may have its name"),
    ],
)
def test_rounds_that_cannot_be_are_refused_in_words(tmp_path: Path, stage: str, runs: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(tmp_path, STAGES % stage, runs)


def test_a_changed_bound_trains_nothing_again(tmp_path: Path) -> None:
    from neo_assets.build import stages

    def versions(guards: str, margin: str) -> dict[str, str]:
        stage = GENERATED[:-1] % "run: likes" + f", margin: {margin}}}, guards: {{prompts: [ours], {guards}}}"
        made = recipe(tmp_path, STAGES % stage, RUNS)
        return {name: stage.version for name, stage in stages(made).items()}

    rest = "items: 3, max_tokens: 4, seed: 1"
    first, second = versions(f"max_kl: 1, {rest}", "0"), versions(f"max_kl: 2, {rest}", "0.5")
    changed = {name for name in first if first[name] != second[name]}
    assert changed - {"factory_report", "paper", "release", "site"} == {
        "round_report/one",
        "pairs/one",
    }  # the report shows the recipe
