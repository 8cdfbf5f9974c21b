"""Fine-tuning: what is learnt is each answer, once, whatever stands beside it and however a batch is split; and a run
that is killed ends with the same bits.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import LlamaForCausalLM

from neo_assets.core.errors import JobFailed
from neo_assets.core.jobs import JobSpec
from neo_assets.core.store import Store
from resources.compute.local import LocalCompute
from tests.align.conversations import WINDOW, Words, shards, talks
from tests.training.runs import EVERY, STEPS, checkpoint, killed_after, outcome, resumed_from, small_job, small_run
from training.attention import RUNGS, available, model_inputs
from training.data.learnt_stream import LearntStream
from training.data.order import IGNORED
from training.data.stream_files import stream_facts
from training.ledger import FILLING
from training.log_probabilities import token_log_probabilities
from training.model import build_model, llama_config
from training.templates import ASSISTANT, TEMPLATES, USER, Turn

CPU = torch.device("cpu")
HERE = [rung for rung in RUNGS if available(CPU, "fp32")[rung] is None]
VOCABULARY = 1024


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    return Words.made(tmp_path_factory.mktemp("words"))


def packed(folder: Path, words: Words, given: list[list[Turn]], **settings: Any) -> Path:
    return shards(Store(folder), words, {"a": given}, settings).path


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, words: Words) -> Path:
    """Fewer windows than a run of ``STEPS`` steps reads: it goes through several epochs."""
    folder = tmp_path_factory.mktemp("answers")
    return packed(folder, words, talks(150), replay={"phase": "decay", "share": 0.2})


def losses(folder: Path, rung: str, rows: slice) -> dict[str, list[float]]:
    """What a freshly built model loses on each learnt token of each conversation in some windows."""
    stream = LearntStream(folder, WINDOW, str(stream_facts(folder)["dtype"]))
    model = build_model(small_run().model, VOCABULARY, seed=1, attention=rung)
    index = pq.read_table(folder / "index.parquet").to_pylist()
    found: dict[str, list[float]] = {}
    sequences = np.arange(stream.sequences)[rows]
    ids, labels, positions = stream.examples(sequences)
    inputs = model_inputs(rung, torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(positions)), CPU)
    with torch.no_grad():
        hidden = model.model(**inputs).last_hidden_state.reshape(*ids.shape, -1)
        logs = token_log_probabilities(hidden, model.lm_head.weight, torch.from_numpy(labels))
    for row in index:
        at, place = divmod(row["position"], WINDOW)
        if at in sequences.tolist() and row["doc_id"] != FILLING:
            here = list(sequences).index(at)
            span = slice(place, place + row["tokens"])
            learnt = labels[here, span] != IGNORED
            found[row["doc_id"]] = logs[here, span].numpy()[learnt].tolist()
    return found


@pytest.mark.parametrize("rung", HERE)
def test_no_conversation_sees_what_it_is_packed_with(tmp_path: Path, words: Words, rung: str) -> None:
    """One conversation is another: what is lost on all others is the same to the last bit."""
    given = [[Turn(USER, f"{i}?"), Turn(ASSISTANT, f"{'no ' * (i % 5)}{i}.")] for i in range(30)]
    folder = packed(tmp_path / "one", words, given)
    before = losses(folder, rung, slice(None))
    index = pq.read_table(folder / "index.parquet").to_pylist()
    beside = [row for row in index if row["doc_id"] != FILLING and row["position"] < WINDOW]
    assert len(beside) > 1
    changed = np.fromfile(folder / "tokens.bin", np.uint16)
    first = beside[0]
    changed[first["position"] : first["position"] + first["tokens"]] = 77
    changed.tofile(folder / "tokens.bin")
    after = losses(folder, rung, slice(None))
    assert after.pop(first["doc_id"]) != before.pop(first["doc_id"])
    assert after == before and len(after) == 29


def test_a_conversation_alone_loses_what_it_loses_when_packed(tmp_path: Path, words: Words) -> None:
    given = talks(20, turns=1)
    together = losses(packed(tmp_path / "all", words, given), "eager", slice(None))
    for i in (0, 7, 13):
        (alone,) = losses(packed(tmp_path / str(i), words, [given[i]]), "eager", slice(None)).items()
        assert together[alone[0]] == pytest.approx(alone[1], abs=2e-6)


# ------------------------------------------------------------------ jobs


def job(compute: LocalCompute, answers: Path, name: str, attempts: int = 1, **changes: object) -> JobSpec:
    told = {"sequence_length": WINDOW, **changes}
    return small_job(compute.root, answers, name, attempts, learns="sft", rows=VOCABULARY, **told)


def history(job: JobSpec, steps: int) -> list[tuple[float, int]]:
    out = []
    for step in range(EVERY, steps + 1, EVERY):
        rows = pq.read_table(checkpoint(job, step) / "metrics.parquet").to_pylist()
        out += [(row["loss"], row["tokens"]) for row in rows]
    return out


def test_how_a_batch_is_split_changes_no_loss(compute: LocalCompute, answers: Path) -> None:
    """Each learnt token counts once: the mean of micro-batches' means would count tokens of short answers more."""
    told = {"ranks_per_node": 1, "precision": "fp32", "zero_stage": 0, "steps": 8}
    whole, pieces = (
        job(compute, answers, name, **told, micro_batch=micro)  # type: ignore[arg-type]
        for name, micro in (("whole", 8), ("pieces", 1))
    )
    for one in (whole, pieces):
        list(compute.follow(compute.submit(one)))
    first, second = history(whole, 8), history(pieces, 8)
    assert [tokens for _, tokens in first] == [tokens for _, tokens in second]
    assert len({b - a for (_, a), (_, b) in itertools.pairwise(first)}) > 1  # uneven
    assert [loss for loss, _ in first] == pytest.approx([loss for loss, _ in second], abs=1e-6)


def test_killed_in_a_later_epoch_it_ends_with_the_same_bits(compute: LocalCompute, answers: Path) -> None:
    undisturbed, disturbed = job(compute, answers, "calm"), job(compute, answers, "struck", 2)
    list(compute.follow(compute.submit(undisturbed)))
    windows = int(stream_facts(answers)["tokens"]) // WINDOW  # type: ignore[call-overload]
    step = -(-windows // (8 * EVERY)) * EVERY + EVERY
    assert step * 8 / windows > 1 and step * 8 % windows and step < STEPS
    folder, messages = killed_after(compute, disturbed, step)
    list(messages)
    first, resumed = resumed_from(folder)
    assert first == 0 and step <= resumed < STEPS and resumed * 8 % windows
    for at in range(0, STEPS + 1, EVERY):
        assert outcome(disturbed, at) == outcome(undisturbed, at), f"step {at}"


def test_windows_of_another_length_are_refused_in_words(compute: LocalCompute, answers: Path) -> None:
    wrong = job(compute, answers, "wrong", sequence_length=32)
    with pytest.raises(JobFailed, match=f"windows of {WINDOW} tokens; the run reads windows of 32"):
        list(compute.follow(compute.submit(wrong)))


# ------------------------------------------------------------------ the peer


def trl_loss(folder: Path, model: torch.nn.Module, words: Words, rows: list[dict[str, Any]], prepared: bool) -> float:
    """What trl's SFT trainer loses on these rows, as one batch."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(words.folder, split_special_tokens=False)
    tokenizer.chat_template = TEMPLATES["neo"].jinja()
    settings = trl.SFTConfig(
        output_dir=str(folder / "trl"), report_to="none", use_cpu=True, bf16=False, max_length=None,
        eos_token="<|end|>", dataset_kwargs={"skip_prepare_dataset": prepared}, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        model=model, args=settings, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    return float(trainer.compute_loss(trainer.model, dict(batch)).detach())


def our_loss(folder: Path, model: torch.nn.Module) -> float:
    stream = LearntStream(folder, 512, "uint16")
    ids, labels, positions = stream.examples(np.arange(stream.sequences))
    inputs = model_inputs("sdpa", torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(positions)), CPU)
    return float(model(**inputs, labels=torch.from_numpy(labels)).detach()) / int((labels != IGNORED).sum())


def two_models() -> tuple[torch.nn.Module, torch.nn.Module]:
    """Ours, and the same weights as anybody's Llama."""
    shape = small_run(sequence_length=512, model={**small_run().model.model_dump(), "context": 512}).model
    ours = build_model(shape, VOCABULARY, seed=1, attention="sdpa")
    theirs = LlamaForCausalLM(llama_config(shape, VOCABULARY))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_packed_conversations_lose_what_each_loses_in_trl(tmp_path: Path, words: Words, template: str) -> None:
    given = talks(4)
    folder = shards(Store(tmp_path), words, {"a": given}, {}, window=512, template=template).path
    ours, theirs = two_models()
    encoded = [words.encoded(template, talk) for talk in given]
    rows = [
        {"input_ids": e.ids, "labels": [t if k else IGNORED for t, k in zip(e.ids, e.learnt, strict=True)]}
        for e in encoded
    ]
    assert our_loss(folder, ours) == pytest.approx(trl_loss(tmp_path, theirs, words, rows, True), abs=1e-5)


def test_trl_makes_the_same_tokens_and_loss_of_our_template(tmp_path: Path, words: Words) -> None:
    """trl renders the exported template, tokenizes, and masks the prompts itself."""
    given = talks(6, turns=1)
    folder = shards(Store(tmp_path), words, {"a": given}, {}, window=512).path
    ours, theirs = two_models()
    rows = [
        {
            "prompt": [{"role": USER, "content": talk[0].text}],
            "completion": [{"role": ASSISTANT, "content": talk[1].text}],
        }
        for talk in given
    ]
    assert our_loss(folder, ours) == pytest.approx(trl_loss(tmp_path, theirs, words, rows, False), abs=1e-5)
