"""Reward models: the loss is trl's; a reward is read at an answer's last token, however it is batched; a run that is
killed ends with the same bits.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from neo_assets.align.sets import PREFERENCE
from neo_assets.core.errors import JobFailed
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe.align import RewardLoss
from neo_assets.core.store import Store
from resources.compute.local import LocalCompute
from tests.align.conversations import Words, shards, talks
from tests.align.preference_pairs import VOCABULARY, WINDOW, Pair, pair_shards, pairs
from tests.training.runs import EVERY, STEPS, checkpoint, killed_after, outcome, resumed_from, small_job, small_run
from training.data.pair_stream import PairStream
from training.model import ScoredLlama, build_model, build_scorer, load_body
from training.objectives.pair_batch import pair_batch, rewards_at_ends
from training.preferences import reward_losses
from training.rewarding import Judge, RewardingConfig, read_asked
from training.templates import ASSISTANT, TEMPLATE, TEMPLATES, USER, Turn

CPU = torch.device("cpu")
SHAPE = small_run(sequence_length=WINDOW).model


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    return Words.made(tmp_path_factory.mktemp("words"))


def settings(**told: Any) -> RewardLoss:
    return RewardLoss.model_validate(told)


def judging(seed: int = 3) -> ScoredLlama:
    """A reward model that has an opinion."""
    model = build_scorer(SHAPE, VOCABULARY, seed=seed).eval()
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(seed))
    return model


def read(folder: Path, model: ScoredLlama, attention: str = "sdpa", rows: slice = slice(None)) -> torch.Tensor:
    """Rewards of a stream's pairs, as training reads them."""
    stream = PairStream(folder, WINDOW, "uint16")
    model.config._attn_implementation = attention
    inputs, _, answer = pair_batch(stream, np.arange(stream.sequences)[rows], attention, CPU)
    with torch.no_grad():
        return rewards_at_ends(model(**inputs, each=True), answer)


def alone(words: Words, model: ScoredLlama, given: list[Pair]) -> torch.Tensor:
    """Rewards of the same answers, each by itself and nothing after it."""
    out = []
    for prompt, *answers in given:
        for text in answers:
            ids = torch.tensor([words.encoded("neo", [*prompt, Turn(ASSISTANT, text)]).ids])
            with torch.no_grad():
                out.append(float(model.score(model.model(input_ids=ids).last_hidden_state[:, -1])))
    return torch.tensor(out).reshape(-1, 2)


def in_the_order_of(folder: Path, given: list[Pair]) -> list[Pair]:
    index = pq.read_table(folder / "index.parquet").to_pylist()
    return [given[int(row["doc_id"], 16)] for row in index if row["doc_id"]][::2]


def test_a_reward_is_read_where_the_answer_ends_however_it_is_batched(tmp_path: Path, words: Words) -> None:
    given = pairs(14)
    made, model = pair_shards(tmp_path, words, given), judging()
    wanted = alone(words, model, in_the_order_of(made.path, given))
    assert wanted.std() > 0.05
    for attention in ("eager", "sdpa", "varlen"):
        torch.testing.assert_close(read(made.path, model, attention), wanted, atol=2e-5, rtol=0)
    torch.testing.assert_close(read(made.path, model, rows=slice(3, 4)), wanted[3:4], atol=2e-5, rtol=0)


def test_an_exported_folder_gives_the_rewards_that_training_saw(tmp_path: Path, words: Words) -> None:
    """By our job, and by transformers on padded batches, on either side."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    given = pairs(14)
    made, model = pair_shards(tmp_path / "store", words, given), judging()
    wanted = alone(words, model, given)
    tok = AutoTokenizer.from_pretrained(words.folder)
    setattr(model.config, TEMPLATE, "neo")
    model.config.pad_token_id = tok.pad_token_id
    model.save_pretrained(tmp_path / "model")
    tok.save_pretrained(tmp_path / "model")
    asked = {"a": made.path.parent.parent.parent / "a"}
    rows = [
        {
            "pair_id": f"{i:032x}", "lang": "en", "licence": "CC0-1.0", "chosen": chosen, "rejected": rejected,
            "prompt": [{"role": turn.role, "text": turn.text} for turn in prompt],
        }
        for i, (prompt, chosen, rejected) in enumerate(given)
    ]  # fmt: skip
    asked["a"].mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=PREFERENCE), asked["a"] / "rows.parquet")
    told = RewardingConfig(file="rows.parquet", id="pair_id", answers=["chosen", "rejected"], batch_size=4, threads=1)
    judge = Judge(tmp_path / "model", "fp32")
    found = [(a.key, a.answer, judge.rewards([a.ids])[0]) for a in read_asked(judge, told, asked)]
    torch.testing.assert_close(torch.tensor([r for *_, r in found]).reshape(-1, 2), wanted, atol=2e-5, rtol=0)

    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    texts = [words.encoded("neo", [*p, Turn(ASSISTANT, a)]).ids for p, *answers in given for a in answers]
    longest = max(map(len, texts))
    for left in (False, True):
        padding = [[tok.pad_token_id] * (longest - len(ids)) for ids in texts]
        padded = [p + ids if left else ids + p for p, ids in zip(padding, texts, strict=True)]
        mask = [
            [0] * len(p) + [1] * len(i) if left else [1] * len(i) + [0] * len(p)
            for p, i in zip(padding, texts, strict=True)
        ]
        with torch.no_grad():
            got = theirs(input_ids=torch.tensor(padded), attention_mask=torch.tensor(mask)).logits.reshape(-1, 2)
        torch.testing.assert_close(got, wanted, atol=2e-5, rtol=0)


def test_somebody_elses_folder_is_asked_by_its_own_template(tmp_path: Path, words: Words) -> None:
    from transformers import AutoTokenizer, LlamaForSequenceClassification

    model = judging()
    tok = AutoTokenizer.from_pretrained(words.folder, split_special_tokens=False)
    tok.chat_template = TEMPLATES["neo"].jinja()

    def saved(name: str, template: bool = True, labels: int = 1) -> Path:
        plain = LlamaForSequenceClassification(type(model.config)(**{**model.config.to_dict(), "num_labels": labels}))
        plain.load_state_dict(model.state_dict(), strict=labels == 1) if labels == 1 else None
        plain.save_pretrained(tmp_path / name)
        tok.chat_template = TEMPLATES["neo"].jinja() if template else None
        tok.save_pretrained(tmp_path / name)
        return tmp_path / name

    judge = Judge(saved("theirs"), "fp32")
    assert judge.own is None
    turns = [Turn(USER, "a?"), Turn(ASSISTANT, "b c.")]
    ids = judge.encode(turns)
    assert ids == words.encoded("neo", turns).ids
    with torch.no_grad():
        wanted = float(LlamaForSequenceClassification.from_pretrained(tmp_path / "theirs")(torch.tensor([ids])).logits)
    assert judge.rewards([ids, ids]) == pytest.approx([wanted, wanted], abs=1e-6)
    with pytest.raises(SystemExit, match="does not say how conversations are told to it"):
        Judge(saved("mute", template=False), "fp32")
    with pytest.raises(SystemExit, match="gives 2 numbers an answer, not one"):
        Judge(saved("two", labels=2), "fp32")


@pytest.mark.parametrize("center", [0.0, 0.01])
def test_the_loss_is_trls_own(tmp_path: Path, words: Words, center: float) -> None:
    """trl's trainer, which renders the exported template itself, against a window a pair."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoTokenizer, LlamaForSequenceClassification

    given = [pair for pair in pairs(12) if len(pair[0]) == 1][:6]
    made, model = pair_shards(tmp_path / "store", words, given), judging()
    tok = AutoTokenizer.from_pretrained(words.folder, split_special_tokens=False)
    tok.chat_template, tok.eos_token = TEMPLATES["neo"].jinja(), "<|end|>"
    plain = LlamaForSequenceClassification(model.config)
    plain.load_state_dict(model.state_dict())
    plain.config.pad_token_id = tok.pad_token_id
    rows = [
        {
            "prompt": [{"role": USER, "content": prompt[0].text}],
            "chosen": [{"role": ASSISTANT, "content": chosen}],
            "rejected": [{"role": ASSISTANT, "content": rejected}],
        }
        for prompt, chosen, rejected in given
    ]
    arguments = trl.RewardConfig(
        output_dir=str(tmp_path / "trl"), report_to="none", use_cpu=True, bf16=False, max_length=None,
        center_rewards_coefficient=center or None, gradient_checkpointing=False, disable_dropout=True,
    )  # fmt: skip
    trainer = trl.RewardTrainer(
        model=plain, args=arguments, train_dataset=datasets.Dataset.from_list(rows), processing_class=tok
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    got = float(trainer.compute_loss(trainer.model, dict(batch)).detach())
    ours = float(reward_losses(read(made.path, model), settings(center=center)).mean())
    assert ours == pytest.approx(got, abs=1e-5)


def test_it_takes_the_body_of_a_language_model_and_says_nothing_of_anything_yet() -> None:
    language, scorer = build_model(SHAPE, VOCABULARY, seed=5), judging()
    load_body(scorer, dict(language.state_dict()))
    assert not scorer.score.weight.any()
    for name, weight in language.state_dict().items():
        if name != "lm_head.weight":
            assert torch.equal(scorer.state_dict()[name], weight), name
    with pytest.raises(RuntimeError, match="Missing key"):
        load_body(scorer, {"lm_head.weight": language.lm_head.weight})


# ------------------------------------------------------------------ jobs


@pytest.fixture(scope="module")
def learnt_from(tmp_path_factory: pytest.TempPathFactory, words: Words) -> Path:
    return pair_shards(tmp_path_factory.mktemp("pairs"), words, pairs(90, mixed=False)).path


def job(compute: LocalCompute, learnt_from: Path, name: str, attempts: int = 1) -> JobSpec:
    made = small_job(
        compute.root, learnt_from, name, attempts, learns="reward", rows=VOCABULARY, sequence_length=WINDOW
    )
    return made.model_copy(update={"config": {**made.config, "reward": settings(center=0.01).model_dump()}})


def test_it_begins_at_ln_2_learns_and_killed_it_ends_with_the_same_bits(
    compute: LocalCompute, learnt_from: Path
) -> None:
    undisturbed, disturbed = job(compute, learnt_from, "calm"), job(compute, learnt_from, "struck", 2)
    list(compute.follow(compute.submit(undisturbed)))
    steps = range(EVERY, STEPS + 1, EVERY)
    losses = [
        row["loss"]
        for step in steps
        for row in pq.read_table(checkpoint(undisturbed, step) / "metrics.parquet").to_pylist()
    ]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-7) and losses[-1] < 0.5
    step = 16  # in the second epoch: 90 pairs are 11.25 batches
    folder, messages = killed_after(compute, disturbed, step)
    list(messages)
    first, resumed = resumed_from(folder)
    assert first == 0 and step <= resumed < STEPS
    for at in range(0, STEPS + 1, EVERY):
        assert outcome(disturbed, at) == outcome(undisturbed, at), f"step {at}"


def test_conversations_are_refused_in_words(compute: LocalCompute, words: Words, tmp_path: Path) -> None:
    folder = shards(Store(tmp_path), words, {"a": talks(30)}, {}, window=WINDOW).path
    with pytest.raises(JobFailed, match="holds conversations, not pairs"):
        list(compute.follow(compute.submit(job(compute, folder, "wrong"))))
