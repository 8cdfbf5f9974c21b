"""Preferences: losses as trl has them; a reference that is the policy gives margins of exactly zero, and the loss falls
below ln 2; a run that is killed ends with the same bits.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from neo_assets.core.errors import JobFailed
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe.align import DpoLoss
from neo_assets.core.records import read_table
from neo_assets.core.store import Artifact, Store, read_manifest
from resources.compute.local import LocalCompute
from tests.align.conversations import Words, talks
from tests.align.preference_pairs import VOCABULARY, WINDOW, pair_shards, pairs
from tests.training.runs import (
    EVERY,
    ROWS,
    STEPS,
    checkpoint,
    killed_after,
    outcome,
    resumed_from,
    small_job,
    small_run,
)
from training.data.order import IGNORED
from training.data.pair_stream import PairStream
from training.data.stream_files import stream_facts
from training.ledger import FILLING
from training.model import build_model, llama_config
from training.objectives.pair_batch import answer_sums, pair_batch
from training.preferences import Answers, preference_losses
from training.reference import REFERENCE
from training.spec import PretrainConfig, Start
from training.templates import ASSISTANT, TEMPLATES, USER, Turn

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    return Words.made(tmp_path_factory.mktemp("words"))


def test_a_window_is_a_pair_and_the_last_answer_alone_is_learnt(tmp_path: Path, words: Words) -> None:
    given = [*pairs(20), ([Turn(USER, "long?")], "长" * 60, "字" * 60)]
    made = pair_shards(tmp_path, words, given)
    assert all(check.passed for check in made.verdict), made.verdict
    (long,) = (r for r in read_table(made.file("verdicts.parquet")).to_pylist() if r["verdict"] == "dropped")
    assert long["rule"] == "too_long" and long["value"] > WINDOW == long["threshold"]
    stream = PairStream(made.path, WINDOW, "uint16")
    assert stream.sequences == 20 and stream.trained_tokens(np.arange(20)) == 20
    ids, labels, positions = stream.examples(np.arange(20))
    index = [row for row in read_table(made.file("index.parquet")).to_pylist() if row["doc_id"] != FILLING]
    for row in range(20):
        prompt, chosen, rejected = given[int(index[2 * row]["doc_id"], 16)]
        assert index[2 * row]["doc_id"] == index[2 * row + 1]["doc_id"]
        answer = np.cumsum(positions[row] == 0) - 1
        for which, text in enumerate((chosen, rejected)):
            whole = words.encoded("neo", [*prompt, Turn(ASSISTANT, text)]).ids
            asked = words.prompt("neo", prompt)
            assert ids[row][answer == which].tolist() == whole
            learnt = [label for label in labels[row][answer == which].tolist() if label != IGNORED]
            assert learnt == whole[len(asked) :]  # an earlier answer of the prompt is not learnt


# ------------------------------------------------------------------ losses


def settings(**told: Any) -> DpoLoss:
    return DpoLoss.model_validate({"beta": 0.3, **told})


def test_losses_by_hand() -> None:
    policy = Answers(torch.tensor([[-4.0, -6.0]]), torch.tensor([[2, 3]]))
    reference = torch.tensor([[-5.0, -5.0]])  # ratios 1 and -1; means .5 and -1/3
    sigmoid = -math.log(1 / (1 + math.exp(-0.3 * 2)))
    assert float(preference_losses(policy, reference, settings())[0]) == pytest.approx(sigmoid)
    smooth = 0.9 * sigmoid - 0.1 * math.log(1 / (1 + math.exp(0.3 * 2)))
    assert float(preference_losses(policy, reference, settings(label_smoothing=0.1))[0]) == pytest.approx(smooth)
    ipo = (5 / 6 - 1 / 0.6) ** 2
    assert float(preference_losses(policy, reference, settings(loss="ipo"))[0]) == pytest.approx(ipo)
    norm = -math.log(1 / (1 + math.exp(-0.3 * 5 / 6)))
    assert float(preference_losses(policy, reference, settings(loss="sigmoid_norm"))[0]) == pytest.approx(norm)
    assert float(preference_losses(policy, reference, settings(sft_weight=0.5))[0]) == pytest.approx(sigmoid + 1.0)
    same = preference_losses(policy, policy.sums, settings())
    assert float(same[0]) == float(torch.tensor(math.log(2), dtype=torch.float32))


def ours(made: Artifact, model: torch.nn.Module, reference: torch.nn.Module, told: DpoLoss) -> float:
    stream = PairStream(made.path, WINDOW, "uint16")
    inputs, labels, answer = pair_batch(stream, np.arange(stream.sequences), "sdpa", CPU)
    with torch.no_grad():
        sums = answer_sums(reference(**inputs, labels=labels, each=True), labels, answer).sums
        policy = answer_sums(model(**inputs, labels=labels, each=True), labels, answer)
    return float(preference_losses(policy, sums, told).mean())


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "sigmoid_norm"])
def test_the_loss_is_trls_own(tmp_path: Path, words: Words, loss: str) -> None:
    """trl's trainer, which renders and masks the exported template itself, against a window a pair."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoTokenizer, LlamaForCausalLM

    given = [pair for pair in pairs(12) if len(pair[0]) == 1][:6]
    made = pair_shards(tmp_path / "store", words, given)
    shape = small_run(sequence_length=WINDOW).model
    policy, reference = (build_model(shape, VOCABULARY, seed=seed, attention="sdpa") for seed in (1, 2))
    told = settings(loss=loss)
    tok = AutoTokenizer.from_pretrained(words.folder, split_special_tokens=False)
    tok.chat_template, tok.eos_token = TEMPLATES["neo"].jinja(), "<|end|>"
    theirs = []
    for model in (policy, reference):
        plain = LlamaForCausalLM(llama_config(shape, VOCABULARY))
        plain.load_state_dict(model.state_dict())
        theirs.append(plain)
    rows = [
        {
            "prompt": [{"role": USER, "content": prompt[0].text}],
            "chosen": [{"role": ASSISTANT, "content": chosen}],
            "rejected": [{"role": ASSISTANT, "content": rejected}],
        }
        for prompt, chosen, rejected in given
    ]
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path / "trl"), report_to="none", use_cpu=True, bf16=False, max_length=None, beta=0.3,
        loss_type=[loss], gradient_checkpointing=False, disable_dropout=True,
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        model=theirs[0], ref_model=theirs[1], args=arguments, train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tok,
    )  # fmt: skip
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    got = float(trainer.compute_loss(trainer.model, dict(batch)).detach())
    assert ours(made, policy, reference, told) == pytest.approx(got, abs=1e-5)


# ------------------------------------------------------------------ jobs


@pytest.fixture(scope="module")
def base(compute: LocalCompute, tmp_path_factory: pytest.TempPathFactory, words: Words) -> JobSpec:
    """A run of a few steps that preferences start from."""
    from tests.align.conversations import shards

    folder = shards(Store(tmp_path_factory.mktemp("base")), words, {"a": talks(60)}, {}, window=WINDOW).path
    job = small_job(compute.root, folder, "base", learns="sft", rows=VOCABULARY, sequence_length=WINDOW, steps=EVERY)
    list(compute.follow(compute.submit(job)))
    return job


@pytest.fixture(scope="module")
def learnt_from(tmp_path_factory: pytest.TempPathFactory, words: Words) -> Path:
    return pair_shards(tmp_path_factory.mktemp("pairs"), words, pairs(90)).path


def start_of(base: JobSpec) -> Start:
    folder = checkpoint(base, EVERY)
    return Start(folder=str(folder), digest=read_manifest(folder).digest, step=EVERY, next_sample=0, take="weights")


@pytest.fixture(scope="module")
def reference(compute: LocalCompute, base: JobSpec, learnt_from: Path) -> Path:
    run = small_run(sequence_length=WINDOW)
    config = PretrainConfig(
        run_name="ref", run_fingerprint="0" * 32, run=run, vocab_rows=VOCABULARY, start=start_of(base)
    )
    spec = JobSpec(
        work_fingerprint="reference".ljust(32, "0"), title="reference_logprobs/x", program="training.reference",
        **claimed("training.reference"), threads_per_rank=1, config=config.model_dump(),
        inputs={"token_shards": str(learnt_from)}, out=str(compute.root / "reference"),
    )  # fmt: skip
    list(compute.follow(compute.submit(spec)))
    return compute.root / "reference"


def dpo(
    compute: LocalCompute, base: JobSpec, learnt_from: Path, reference: Path, name: str, attempts: int = 1, **told: Any
) -> JobSpec:
    job = small_job(
        compute.root, learnt_from, name, attempts, start_of(base), "dpo", VOCABULARY, sequence_length=WINDOW
    )
    preference = settings(**told).model_dump()
    return job.model_copy(
        update={
            "config": {**job.config, "preference": preference},
            "inputs": {**job.inputs, REFERENCE: str(reference)},
        }
    )


def losses(job: JobSpec) -> list[float]:
    rows = [pq.read_table(checkpoint(job, s) / "metrics.parquet").to_pylist() for s in range(EVERY, STEPS + 1, EVERY)]
    return [row["loss"] for part in rows for row in part]


def test_it_begins_with_margins_of_zero_and_falls_below_ln_2(
    compute: LocalCompute, base: JobSpec, learnt_from: Path, reference: Path
) -> None:
    """The reference is the policy it starts from, to the last bit, in bf16 and whatever is in a micro-batch."""
    job = dpo(compute, base, learnt_from, reference, "prefers")
    list(compute.follow(compute.submit(job)))
    found = losses(job)
    assert found[0] == pytest.approx(math.log(2), abs=1e-7) and found[-1] < 0.6 < found[0]
    tokens = json.loads((checkpoint(job, STEPS) / "certificate.json").read_text())["trained_tokens"]
    assert tokens == STEPS * 8  # what the loss is a mean over: pairs
    told = compute.folder(job.work_fingerprint).log_file.read_text()
    assert " pairs/s" in told and "tokens/s" not in told and f"{tokens:,} trained pairs" in told


def test_killed_it_ends_with_the_same_bits(
    compute: LocalCompute, base: JobSpec, learnt_from: Path, reference: Path
) -> None:
    undisturbed = dpo(compute, base, learnt_from, reference, "calm", sft_weight=0.1)
    disturbed = dpo(compute, base, learnt_from, reference, "struck", 2, sft_weight=0.1)
    list(compute.follow(compute.submit(undisturbed)))
    step = 16  # in the second epoch: 90 pairs are 11.25 batches
    folder, messages = killed_after(compute, disturbed, step)
    list(messages)
    first, resumed = resumed_from(folder)
    assert first == 0 and step <= resumed < STEPS
    for at in range(0, STEPS + 1, EVERY):
        assert outcome(disturbed, at) == outcome(undisturbed, at), f"step {at}"


def test_a_reference_of_other_pairs_is_refused(
    compute: LocalCompute, base: JobSpec, learnt_from: Path, reference: Path, tmp_path: Path
) -> None:
    (tmp_path / "reference.npy").write_bytes((reference / "reference.npy").read_bytes())
    told = json.loads((reference / "reference.json").read_text())
    (tmp_path / "reference.json").write_text(json.dumps({**told, "pairs": "another"}))
    with pytest.raises(JobFailed, match="is of other pairs"):
        list(compute.follow(compute.submit(dpo(compute, base, learnt_from, tmp_path, "wrong"))))


def test_the_reference_is_what_the_model_says(base: JobSpec, learnt_from: Path, reference: Path) -> None:
    facts = json.loads((reference / "reference.json").read_text())
    assert facts["pairs"] == stream_facts(learnt_from)["digest"] and facts["checkpoint"] == start_of(base).digest
    sums = np.load(reference / "reference.npy")
    assert sums.shape == (90, 2) and (sums < 0).all() and ROWS
