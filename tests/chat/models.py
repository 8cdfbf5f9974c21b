"""A small model that talks: freshly initialised, with a real tokenizer of ours, as an exported folder."""

from __future__ import annotations

import json
from pathlib import Path

from neo_assets.chat.origin import Origin
from neo_assets.chat.speaker import Speaker
from neo_assets.tokenizer.huggingface import export
from tests.align.conversations import Words
from training.chat import Talker
from training.export import tell_who_chats
from training.templates import TEMPLATE

CONTEXT = 128


def save_talker(folder: Path, words: Words, seed: int = 1, template: str = "neo") -> Path:
    """Weights are large enough that an answer is not one token over and over."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    from tests.training.folders import SHAPE
    from training.document_start import DOCUMENT_START, NOTHING
    from training.model import build_model

    shape = SHAPE.model_copy(update={"init_std": 0.5, "context": CONTEXT})
    trained = build_model(shape, shape.vocab_rows(words.ids), seed=seed)
    model = LlamaForCausalLM(trained.config)
    model.load_state_dict(trained.state_dict())
    export(words.model, words.settings, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    setattr(model.config, DOCUMENT_START, NOTHING)
    setattr(model.config, TEMPLATE, template)
    model.generation_config.eos_token_id = list(Talker.of(model, tokenizer, template).stops)
    model.to(torch.float32).save_pretrained(folder)
    tell_who_chats(folder, template)
    assert json.loads((folder / "tokenizer_config.json").read_text())["split_special_tokens"] is False
    return folder


def speaker(folder: Path) -> Speaker:
    made = Speaker.open(folder, "chat@60", Origin(["c0ffee" * 4], {"pages": "CC0-1.0"}), threads=1)
    made.talker.model.float()
    return made
