"""From a base model to one that answers, as one Dagster job: made, traced, verified, proved, talked with; and what was
changed is noticed.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from neo_assets.core.recipe import load
from neo_assets.core.store import Artifact, Store
from neo_assets.house.heads import current_heads
from tests.factory.conftest import Factory

RECIPE = """
name: talking
align:
  instructions:
    pages: {{kind: pages, tasks: [language, title], items: 60, held_out_items: 6, max_text_chars: {{en: 120, zh: 60}}, min_answer_chars: {{en: 3, zh: 2}}, max_answer_chars: {{en: 60, zh: 30}}, seed: 1}}
    ours: {{paths: ["{chats}"], licence: CC0-1.0, snapshot: "1", lang: en, max_bad_share: 0.2}}
  preferences:
    liked: {{paths: ["{liked}"], licence: CC0-1.0, snapshot: "1", lang: en, held_out: 0.3}}
  reward:
    taste: {{rounds: {{liked: 1}}, bins: 3}}
  dpo:
    better:
      rounds: {{liked: 1}}
      beta: 0.1
      generated: {{prompts: {{ours: 1, pages: 0.2}}, samples: 4, temperature: 1.0, max_tokens: 8, rewarded_by: {{run: likes}}, seed: 4}}
      guards: {{prompts: [pages], items: 6, max_tokens: 8, max_kl: 9, least_chosen: -9, least_distinct: 0.1, max_longer: 9, documents: 3, max_forgotten: 0.5, seed: 4}}
  asked: {{items: 6, max_tokens: 8, seed: 1}}
  sft:
    answers: {{rounds: {{pages: 1, ours: 2}}, replay: {{phase: decay, share: 0.3}}}}
runs:
  answers: {{like: decay, parent: {{run: decay}}, phase: answers, steps: 6, checkpoint_every: 3, evaluate_at: [1.0]}}
  likes: {{like: answers, parent: {{run: answers}}, phase: taste, steps: 6, checkpoint_every: 6}}
  prefers: {{like: answers, parent: {{run: answers}}, phase: better, steps: 3, checkpoint_every: 3}}
evaluation:
  evaluated: [smoke, chat]
  suites: {{chat: [chat_en, chat_zh]}}
  gates:
    forgetting: {{tasks: [bits_per_byte_en_30], most: 0.5, blocking: false}}
    answers: {{least: {{stops: 0.99}}, blocking: false}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    turns = [[{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}."}] for i in range(20)]
    file.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in turns) + "{torn\n")
    return file


@pytest.fixture(scope="module")
def talking(
    first_run: subprocess.CompletedProcess[str],
    factory: Factory,
    chats: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    liked = tmp_path_factory.mktemp("liked") / "pairs.jsonl"
    rows = [{"prompt": f"{i}?", "chosen": f"{i}.", "rejected": f"no {i}"} for i in range(40)]
    liked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = RECIPE.format(chats=chats, liked=liked)
    told = factory.another_recipe(tmp_path_factory.mktemp("recipes"), "talking", recipe)
    done = factory.run("dagster", "job", "execute", "-m", "definitions", "-j", "align", **told)
    assert done.returncode == 0, done.stderr[-6000:]
    return told


@pytest.fixture
def store(factory: Factory) -> Store:
    return Store(factory.folder / "store")


def head(store: Store, name: str) -> Artifact:
    return store.head("talking", name)


def test_the_job_makes_everything_from_conversations_to_gates(store: Store, talking: dict[str, str]) -> None:
    tuned = head(store, "sft/answers")
    assert tuned.manifest.numbers["last_step"] == 6 and not tuned.refused_by
    assert tuned.manifest.made_from.inputs.keys() == {"conversation_shards/answers", "pretraining/decay"}
    scores = json.loads(head(store, "evaluation/answers").file("scores.json").read_text())
    told = {(row["task"], row["metric"]) for row in scores if not row["subset"]}
    assert {("chat_en", "exact"), ("chat_zh", "stops"), ("chat_en", "right_language")} <= told
    base = json.loads(head(store, "evaluation/decay").file("scores.json").read_text())
    assert not [row for row in base if row["task"].startswith("chat")]  # it was never told how to answer
    gates = {check.name: check for check in head(store, "comparison").verdict}
    assert "stops" in gates["answers_well"].detail and gates["little_forgotten"].passed
    bad = [row for row in head(store, "instructions/ours").table("verdicts.parquet").to_pylist() if row["rule"]]
    assert [row["detail"].split(":")[0] for row in bad] == ["chats.jsonl#21"]


def test_the_exported_folder_says_how_it_is_talked_with(factory: Factory, talking: dict[str, str]) -> None:
    done = factory.neo("chat", "answers@last", "3?", "--tokens", "8", "--json", **talking)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["model"] == "answers@6" and told["licences"]["ours"] == "CC0-1.0" and len(told["corpus"]) == 1
    refused = factory.neo("chat", "decay@last", "3?", **talking)
    assert refused.returncode == 2 and "was not fine-tuned on conversations" in refused.stderr


def test_a_step_names_its_conversations_and_a_conversation_its_steps(factory: Factory, talking: dict[str, str]) -> None:
    rows = json.loads(factory.neo("saw", "answers@1..6", "--json", **talking).stdout)
    ours = [row for row in rows if row["source"] == "ours"]
    assert ours and all(row["url"].startswith("ours: chats.jsonl#") for row in ours)
    assert any(row["source"] not in ("ours", "pages") for row in rows)  # replayed text is named, too
    assert all(row["doc_id"] for row in rows)
    steps = json.loads(factory.neo("when", str(ours[0]["doc_id"]), "--json", **talking).stdout)
    assert ours[0]["step"] in [row["step"] for row in steps] and {row["run"] for row in steps} == {"answers"}


def test_every_claim_of_a_fine_tuned_checkpoint_is_verified_and_proved(
    factory: Factory, store: Store, talking: dict[str, str]
) -> None:
    done = factory.neo("verify", "answers@last", "--json", **talking)
    claims = json.loads(done.stdout)
    assert done.returncode == 0 and all(claim["holds"] for claim in claims) and len(claims) > 8
    proved = factory.neo("prove", "answers@last", **talking)
    assert proved.returncode == 0 and "proved: bit for bit" in proved.stdout


def test_preferences_are_measured_against_the_run_before_and_traced(
    factory: Factory, store: Store, talking: dict[str, str]
) -> None:
    made, reference = head(store, "dpo/prefers"), head(store, "reference_logprobs/prefers")
    assert made.manifest.made_from.inputs.keys() == {
        "pair_shards/prefers", "sft/answers", "reference_logprobs/prefers"
    }  # fmt: skip
    start = json.loads(reference.file("reference.json").read_text())
    liked = head(store, "preferences/liked").manifest
    assert liked.rows_kept and 20 < liked.rows_kept < 40 and liked.numbers["dropped_held_out"] == 40 - liked.rows_kept
    own = head(store, "pairs/prefers").manifest
    assert own.rows_kept > 0 and own.rows_in == own.rows_kept + own.rows_dropped
    assert start["step"] == 6 and reference.manifest.numbers["pairs"] == liked.rows_kept + own.rows_kept
    first = made.table("metrics.parquet").to_pylist()[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-7)  # it is what it is measured against
    rows = json.loads(factory.neo("saw", "prefers@1..3", "--json", **talking).stdout)
    places = {str(row["url"]).partition(" ")[0] for row in rows}
    assert places == {"liked:", "prefers:"}, places
    assert all(row["url"].startswith(("liked: pairs.jsonl#", "prefers: ")) for row in rows)
    pages = [row["url"] for row in rows if row["url"].startswith("prefers: ")]
    assert all(
        re.fullmatch(r"prefers: (ours|pages)/[0-9a-f]{12}, answer \d before \d by [\d.e-]+", url) for url in pages
    )
    claims = json.loads(factory.neo("verify", "prefers@last", "--json", **talking).stdout)
    assert claims and all(claim["holds"] for claim in claims), claims
    proved = factory.neo("prove", "prefers@last", **talking)
    assert proved.returncode == 0 and "proved: bit for bit" in proved.stdout
    assert factory.neo("chat", "prefers@last", "3?", "--tokens", "4", **talking).returncode == 0


def test_a_reward_model_is_judged_by_pairs_that_nothing_was_trained_on(
    factory: Factory, store: Store, talking: dict[str, str]
) -> None:
    trained, made, told = (head(store, f"{kind}/likes") for kind in ("reward", "reward_model", "reward_report"))
    assert trained.table("metrics.parquet").to_pylist()[0]["loss"] == pytest.approx(math.log(2), abs=1e-7)
    parameters = head(store, "run_plan/likes")
    assert parameters.manifest.numbers["parameters"] < head(store, "run_plan/answers").manifest.numbers["parameters"]
    assert all(check.passed for check in (*parameters.verdict, *made.verdict))
    assert json.loads((made.path / "config.json").read_text())["architectures"] == ["LlamaForSequenceClassification"]
    rewards = told.table("rewards.parquet").to_pylist()
    held = head(store, "preferences/liked").table("held_out.parquet").to_pylist()
    assert {row["id"] for row in rewards} == {row["pair_id"] for row in held} and len(rewards) == 2 * len(held)
    numbers = told.manifest.numbers
    assert numbers["pairs"] == len(held) and numbers["accuracy_low"] <= numbers["accuracy"] <= numbers["accuracy_high"]
    rows = json.loads(factory.neo("saw", "likes@1..6", "--json", **talking).stdout)
    assert {row["doc_id"] for row in rows} & {row["pair_id"] for row in held} == set()
    claims = json.loads(factory.neo("verify", "likes@last", "--json", **talking).stdout)
    assert claims and all(claim["holds"] for claim in claims), claims
    for command in (("eval",), ("chat",), ("generate",)):
        refused = factory.neo(*command, "likes@last", *(["3?"] if command != ("eval",) else []), **talking)
        assert refused.returncode == 2 and "trains a reward model, which writes nothing" in refused.stderr, refused


def test_what_a_step_read_is_shown_with_what_was_learnt(
    factory: Factory, store: Store, talking: dict[str, str]
) -> None:
    lines = factory.neo("saw", "prefers@1..3", "--text", "--json", **talking).stdout.splitlines()
    seen = [json.loads(line)["pieces"] for line in lines]
    pairs = [
        (row["chosen"], row["rejected"])
        for name in ("preferences/liked", "pairs/prefers")
        for row in head(store, name).table("rows.parquet").to_pylist()
    ]
    read = [tuple(text.removesuffix("<|end|>") for text, learnt in pieces if learnt) for pieces in seen]
    assert len(read) > 3 and set(read) <= set(pairs), read
    assert all(pieces[0][0].startswith("<|user|>") and not pieces[0][1] for pieces in seen)
    shown = factory.neo("saw", "prefers@1", "--text", **talking).stdout
    assert "<|assistant|>⟦better: " in shown and "<|assistant|>⟦worse: " in shown and "<PAD><PAD><PAD>" not in shown
    shown = factory.neo("saw", "answers@1", "--text", **talking).stdout
    assert "<|assistant|>⟦" in shown and "<|end|>⟧" in shown
    whole = factory.neo("saw", "decay@1", "--text", **talking).stdout
    assert "⟦" not in whole and whole.count("\nstep 1, place") == load(talking["NEO_RECIPE"]).runs["decay"].global_batch


def test_a_round_can_be_read_and_one_that_collapses_ends_the_factory(
    factory: Factory, store: Store, talking: dict[str, str]
) -> None:
    answers = head(store, "generations/prefers").table("answers.parquet").to_pylist()
    rewards = head(store, "rewards/prefers").table("rewards.parquet").to_pylist()
    assert {row["id"] for row in answers} == {row["id"] for row in rewards}
    assert all(
        (row["reward"] is None) == (not answer["answer"].strip())
        for row, answer in zip(
            sorted(rewards, key=lambda r: r["id"]), sorted(answers, key=lambda r: r["id"]), strict=True
        )
    )
    told = head(store, "round_report/prefers")
    assert not told.refused_by and told.manifest.numbers["kl"] > 0 and told.manifest.numbers["rejected"] < 0
    policy, reference = (
        head(store, f"{n}/prefers").file("reference.npy") for n in ("policy_logprobs", "reference_logprobs")
    )
    assert policy.read_bytes() != reference.read_bytes()
    recipe = Path(talking["NEO_RECIPE"])
    before = recipe.read_text()
    try:
        recipe.write_text(
            before.replace("max_kl: 9", "max_kl: 1.0e-9").replace(
                "evaluation:\n", "  again: {like: prefers, parent: {run: prefers}}\nevaluation:\n", 1
            )
        )
        both = "round_report_prefers,generations_again"
        made = factory.run("dagster", "asset", "materialize", "-m", "definitions", "--select", both, **talking)
        assert made.returncode != 0 and "near_before refuses" in made.stderr
        again = factory.run(
            "dagster", "asset", "materialize", "-m", "definitions", "--select", "generations_again", **talking
        )
        assert (
            again.returncode != 0
            and "no round goes on from prefers, which round_report/prefers refuses" in again.stderr
        )
    finally:
        recipe.write_text(before)
        refused = store.folder(*(store.head_pointer("talking", told.key) or ("", "")))
        store.set_head("talking", told.key, told.key, told.fingerprint)
        for folder in (refused, store.root / "generations" / "again"):  # they are in nobody's build now
            shutil.rmtree(folder)


def test_two_models_are_judged_side_by_side(factory: Factory, tmp_path: Path, talking: dict[str, str]) -> None:
    page = tmp_path / "duel.html"
    told = {}
    for judge in ("overlap", "likes"):
        done = factory.neo(
            "duel", "answers@last", "prefers@last", "--judge", judge, "--out", str(page), "--json", **talking
        )
        assert done.returncode == 0, done.stderr
        told[judge] = {row["language"]: row for row in json.loads(done.stdout)}
        assert page.read_text().count('class="text"') >= told[judge]["all"]["prompts"] == 12
    for row in told["likes"].values():
        assert row["better"] + row["worse"] + row["tie"] == row["prompts"] and row["from"] <= row["B wins"] <= row["to"]
    refused = factory.neo("duel", "answers@last", "prefers@last", "--judge", "liked", **talking)
    assert refused.returncode == 2 and "a run of the recipe that trains a reward model (likes)" in refused.stderr


def test_what_stages_read_belongs_to_the_build(store: Store, talking: dict[str, str]) -> None:
    """`neo gc` keeps what these are, and `neo verify` looks at it."""
    held = current_heads(load(talking["NEO_RECIPE"]), store)
    assert {
        "pair_shards/taste",
        "pair_shards/prefers",
        "round_report/prefers",
        "conversation_shards/answers",
        "reward_model/likes",
    } <= set(held)


@pytest.fixture
def flipped(store: Store, talking: dict[str, str]) -> Iterator[Path]:
    """Of each answer the first token is not learnt any more."""
    file = head(store, "conversation_shards/answers").file("learnt.bin")
    before = file.read_bytes()
    file.write_bytes(before.replace(b"\0\1", b"\0\0"))
    yield file
    file.write_bytes(before)


def test_a_changed_mask_is_noticed(factory: Factory, talking: dict[str, str], flipped: Path) -> None:
    claims = json.loads(factory.neo("verify", "answers@last", "--json", **talking).stdout)
    wrong = [claim["claim"] for claim in claims if not claim["holds"]]
    assert "the token stream is the one it was trained on" in wrong
    assert "trained tokens, counted again from the stream" in wrong
    deep = factory.neo("verify", "conversation_shards/answers", "--deep", **talking)
    assert deep.returncode == 1 and "learnt.bin" in deep.stderr


def test_asked_again_nothing_is_made_and_a_changed_file_makes_its_own_again(
    factory: Factory, talking: dict[str, str], chats: Path
) -> None:
    why = factory.neo("why", "sft/answers", **talking)
    assert why.returncode == 0 and "is up to date" in why.stdout, why.stdout
    before = chats.read_bytes()
    try:
        chats.write_bytes(before.replace(b'"0."', b'"zero."'))
        changed = factory.neo("why", "sft/answers", **talking)
        assert "instructions/ours" in changed.stdout and "chats.jsonl" in changed.stdout, changed.stdout
        untouched = factory.neo("why", "pretraining/decay", **talking)
        assert "is up to date" in untouched.stdout
    finally:
        chats.write_bytes(before)
