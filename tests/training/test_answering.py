"""How far two models differ: along answers, and on text."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from neo_assets.core import records
from tests.align.conversations import Words
from tests.chat.models import save_talker
from training.answering import Texts, divergence, likelihood, read_texts


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[LlamaForCausalLM]:
    words = Words.made(tmp_path_factory.mktemp("words"))
    folders = [save_talker(tmp_path_factory.mktemp(f"m{seed}"), words, seed=seed) for seed in (1, 2)]
    return [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval() for folder in folders]


def test_divergence_is_of_every_next_token_of_an_answer(models: list[LlamaForCausalLM]) -> None:
    before, after = models
    prompt, answer = [5, 17, 400, 8], [33, 9, 71]
    wanted = 0.0
    for end in range(len(answer)):
        ids = torch.tensor([[*prompt, *answer[:end]]])
        with torch.no_grad():
            p, q = (torch.softmax(m(input_ids=ids).logits[0, -1].double(), 0) for m in (after, before))
        wanted += float((p * (p / q).log()).sum())
    assert divergence(before, after, prompt, answer) == pytest.approx(wanted, rel=1e-6)
    assert wanted > 1 and divergence(after, after, prompt, answer) == 0.0


def test_likelihood_is_of_all_tokens_but_the_first(models: list[LlamaForCausalLM]) -> None:
    ids = [3, 99, 250, 7, 7]
    with torch.no_grad():
        told = models[0](input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss
    assert likelihood(models[0], ids) == pytest.approx(float(told) * 4, rel=1e-5)
    assert math.isfinite(likelihood(models[0], [3, 4]))


def test_texts_are_the_first_of_each_language_by_their_ids(tmp_path: Path) -> None:
    rows = [(f"{i:032x}", "en" if i % 3 else "zh", "x" * 50) for i in range(9, -1, -1)]
    (tmp_path / "other").mkdir()
    for number, part in enumerate((rows[:4], rows[4:])):
        table = pa.table({name: [row[at] for row in part] for at, name in enumerate(("doc_id", "lang", "text"))})
        records.write_table(table, tmp_path / f"{records.PART}{number:05d}.parquet")
    records.write_table(pa.table({"doc_id": ["0"]}), tmp_path / "other" / "verdicts.parquet")
    found = read_texts(tmp_path, Texts(documents=2, characters=7))
    assert [(int(key, 16), lang, text) for key, lang, text in found] == [
        (0, "zh", "x" * 7), (1, "en", "x" * 7), (2, "en", "x" * 7), (3, "zh", "x" * 7)
    ]  # fmt: skip
