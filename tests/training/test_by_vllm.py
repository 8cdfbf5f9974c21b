"""Answers by vLLM: what goes to it, what comes back, and what is said where it is not. A stand-in has the calls of vLLM
0.33 that are used, and refuses others; vLLM itself was not run here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from neo_assets.align.own_answers import asking_again
from neo_assets.core.errors import NeoError
from neo_assets.core.recipe.align import Generated
from tests.align.conversations import Words
from tests.chat.models import save_talker
from training.answering import Asker
from training.by_vllm import PYTHON, answers_by_vllm
from training.chat import Talker

STAND_IN = '''
"""Draws with transformers, from a folder, one request after the other."""
import dataclasses, types
__version__ = "0.33.0"

@dataclasses.dataclass
class SamplingParams:
    temperature: float = 1.0
    seed: int | None = None
    max_tokens: int = 16
    stop_token_ids: list | None = None
    detokenize: bool = True

class LLM:
    def __init__(self, model, *, skip_tokenizer_init=False, dtype="auto", max_model_len=None, seed=0):
        import torch
        from transformers import AutoModelForCausalLM
        assert skip_tokenizer_init and dtype == "float32" and max_model_len > 0
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def generate(self, prompts, sampling_params):
        import torch
        out = []
        for prompt, how in zip(prompts, sampling_params, strict=True):
            assert -(2**63) <= how.seed < 2**63 and not how.detokenize
            generator = torch.Generator().manual_seed(how.seed)
            ids, said, ended = list(prompt["prompt_token_ids"]), [], "length"
            while len(said) < how.max_tokens and ended == "length":
                with torch.no_grad():
                    scores = self.model(input_ids=torch.tensor([ids + said])).logits[0, -1] / how.temperature
                said.append(int(torch.multinomial(torch.softmax(scores, 0), 1, generator=generator)))
                ended = "stop" if said[-1] in how.stop_token_ids else "length"
            out.append(types.SimpleNamespace(outputs=[types.SimpleNamespace(token_ids=said, finish_reason=ended)]))
        return out
'''


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Talker:
    words = Words.made(tmp_path_factory.mktemp("words"))
    folder = save_talker(tmp_path_factory.mktemp("model"), words, seed=1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return Talker.of(model, AutoTokenizer.from_pretrained(folder), "neo")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site" / "vllm").mkdir(parents=True)
    (tmp_path / "site" / "vllm" / "__init__.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv(PYTHON, sys.executable)
    return tmp_path / "job"


def test_each_prompt_is_drawn_by_its_own_key_and_comes_back_in_its_place(talker: Talker, stand_in: Path) -> None:
    prompts = [[5, 17, 400], [5, 17, 400], list(range(talker.room)), [9] * (talker.room - 2)]
    keys = ["s/p/0", "s/p/1", "s/q/0", "s/r/0"]
    answers, version = answers_by_vllm(talker, prompts, keys, 12, 1.0, "fp32", stand_in)
    assert version == "0.33.0" and len(answers) == 4
    assert answers[0].tokens != answers[1].tokens and answers[0].tokens and answers[1].tokens
    assert answers[2].tokens == [] and not answers[2].stopped  # no room
    assert 1 <= len(answers[3].tokens) <= 2
    for answer in answers:
        assert answer.stopped is (bool(answer.tokens) and answer.tokens[-1] in talker.stops)
        assert answer.text == talker.decode(answer.tokens)
    sent = json.loads((stand_in / "requests.json").read_text(encoding="utf-8"))
    assert sent["stops"] == list(talker.stops) and [r["ids"] for r in sent["requests"]] == [*prompts[:2], prompts[3]]
    turned, _ = answers_by_vllm(talker, prompts[::-1], keys[::-1], 12, 1.0, "fp32", stand_in)
    assert [a.tokens for a in turned[::-1]] == [a.tokens for a in answers]


def test_a_recipe_that_asks_for_it_has_it_draw_and_says_so(talker: Talker, stand_in: Path) -> None:
    told = {
        "prompts": {"a": 1},
        "samples": 2,
        "temperature": 0.9,
        "max_tokens": 4,
        "seed": 5,
        "rewarded_by": {"run": "r"},
    }
    plain, by_vllm = (asking_again(Generated.model_validate(told | more)) for more in ({}, {"engine": "vllm"}))
    keys = ["5/a/p/0", "5/a/p/1"]
    drawn, engine = Asker(talker, by_vllm, "fp32", stand_in).answers([[5, 17], [5, 17]], keys)
    assert engine == "vllm 0.33.0" and [len(answer.tokens) <= 4 for answer in drawn] == [True, True]
    assert json.loads((stand_in / "requests.json").read_text())["temperature"] == 0.9
    _, engine = Asker(talker, plain, "fp32", stand_in).answers([[5, 17], [5, 17]], keys)
    assert engine.startswith("transformers ")
    with pytest.raises(ValidationError, match="'transformers' or 'vllm'"):
        Generated.model_validate(told | {"engine": "vlm"})


def test_the_model_that_vllm_reads_is_the_one_that_was_loaded(talker: Talker, stand_in: Path) -> None:
    answers_by_vllm(talker, [[3]], ["k"], 1, 1.0, "fp32", stand_in)
    written = AutoModelForCausalLM.from_pretrained(stand_in / "model", dtype=torch.float32)
    theirs = dict(written.named_parameters())
    assert all(torch.equal(value, theirs[name]) for name, value in talker.model.named_parameters())


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (sys.executable, "No module named 'vllm'"),
        ("/nowhere/python", "NEO_VLLM_PYTHON is /nowhere/python, which cannot be run"),
    ],
)
def test_where_there_is_no_vllm_it_says_what_to_do(
    talker: Talker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, said: str
) -> None:
    monkeypatch.setenv(PYTHON, python)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(NeoError, match=said):
        answers_by_vllm(talker, [[3]], ["k"], 1, 1.0, "fp32", tmp_path)


def test_an_answer_that_is_missing_is_said(talker: Talker, stand_in: Path) -> None:
    module = stand_in.parent / "site" / "vllm" / "__init__.py"
    module.write_text(module.read_text().replace("return out", "return out[1:]"), encoding="utf-8")
    with pytest.raises(NeoError, match="was asked 2 prompts and answered 1"):
        answers_by_vllm(talker, [[3], [4]], ["a", "b"], 1, 1.0, "fp32", stand_in)
