"""Read an exported folder as a stranger would, and tell what came out: ``check_export.py ‹folder› ‹expected folder›``.

Run by an interpreter that has transformers, torch and safetensors and nothing of ours; it must work in transformers
4.57 and 5 alike. It judges nothing that needs another version to be known: it compares with what is expected and prints
a JSON object of differences, all empty or zero when the folder is read as it was meant. What transformers warned of is
among them.

    ‹expected›/expected.json         texts, their ids in training, prompts, what is generated from them
    ‹expected›/expected.safetensors  ``ids`` and, by type, the ``logits.‹type›`` they give
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")  # read when the library is imported

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, pipeline

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Warned(logging.Handler):
    """Keeps what transformers logs at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def tokenizer_facts(tokenizer: Any) -> dict[str, object]:
    """What a program asks a tokenizer for besides ids."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "padding_side", "model_max_length")
    return {
        **{name: getattr(tokenizer, name) for name in names},
        "model_input_names": list(tokenizer.model_input_names),
        "length": len(tokenizer),
    }


def config_facts(config: Any) -> dict[str, object]:
    """The numbers that no error tells of when they are read wrongly."""
    theta = getattr(config, "rope_theta", None) or (getattr(config, "rope_parameters", None) or {}).get("rope_theta")
    names = (
        "vocab_size",
        "max_position_embeddings",
        "head_dim",
        "num_key_value_heads",
        "rms_norm_eps",
        "bos_token_id",
        "eos_token_id",
        "tie_word_embeddings",
    )
    return {
        **{name: getattr(config, name) for name in names},
        "rope_theta": theta,
        "dtype": str(config.dtype).removeprefix("torch."),
    }


def ids_differing(tokenizer: Any, texts: list[str], ids: list[list[int]]) -> list[str]:
    """Texts that any of the ways to encode gives other ids than training does."""
    batch = tokenizer(texts).input_ids
    ways = [
        [
            one,
            tokenizer(text).input_ids,
            tokenizer.encode(text),
            tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)),
        ]
        for one, text in zip(batch, texts, strict=True)
    ]
    return [text for text, made, wanted in zip(texts, ways, ids, strict=True) if any(one != wanted for one in made)]


def lossy(tokenizer: Any, texts: list[str], ids: list[list[int]], decoded: list[str]) -> list[str]:
    """Texts that decoding does not give back as expected."""
    return [text for text, made, wanted in zip(texts, ids, decoded, strict=True) if tokenizer.decode(made) != wanted]


def special_ids_wrong(tokenizer: Any, special: dict[str, int]) -> list[str]:
    """Special tokens whose id does not decode to them, is not found by name, or is not left out of
    a text when asked.
    """
    return [
        name
        for name, i in special.items()
        if tokenizer.decode([i]) != name
        or tokenizer.convert_tokens_to_ids(name) != i
        or tokenizer.decode([i], skip_special_tokens=True) != ""
    ]


def largest_differences(folder: Path, expected: dict[str, torch.Tensor]) -> dict[str, float]:
    """Largest difference of a logit, by type."""
    found = {}
    for name, dtype in TYPES.items():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        with torch.no_grad():
            logits = model(input_ids=expected["ids"], use_cache=False).logits
        found[name] = (logits.float() - expected[f"logits.{name}"].float()).abs().max().item()
    return found


def generated_wrong(model: Any, tokenizer: Any, prompts: list[str], new_ids: list[list[int]]) -> list[str]:
    """Prompts from which the likeliest continuation is another one: each alone as documentation shows it, then all in
    one padded batch.
    """
    tokens = len(new_ids[0])
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    wrong = []
    for prompt, wanted in zip(prompts, new_ids, strict=True):
        inputs = tokenizer(prompt, return_tensors="pt")
        if model.generate(**inputs, **options)[0, inputs["input_ids"].shape[1] :].tolist() != wanted:
            wrong.append(prompt)
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    rows = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :].tolist()
    return wrong + [
        f"in a batch: {prompt}" for prompt, row, wanted in zip(prompts, rows, new_ids, strict=True) if row != wanted
    ]


def piped_wrong(folder: Path, prompts: list[str], new_ids: list[list[int]]) -> list[str]:
    """Prompts that the text-generation pipeline continues otherwise. Ids are compared: version 5 decodes the new ones
    alone, which costs a model with a space before every text that space.
    """
    pipe = pipeline("text-generation", model=str(folder), dtype=torch.float32)
    tokens = len(new_ids[0])
    made = [
        pipe(prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, return_tensors=True)[0][
            "generated_token_ids"
        ]
        for prompt in prompts
    ]
    return [prompt for prompt, ids, wanted in zip(prompts, made, new_ids, strict=True) if list(ids)[-tokens:] != wanted]


def check(folder: Path, expected_folder: Path) -> dict[str, object]:
    """All differences, by what was looked at."""
    expected = json.loads((expected_folder / "expected.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    facts = {"tokenizer": tokenizer_facts(tokenizer), "config": config_facts(AutoConfig.from_pretrained(folder))}
    facts_wrong = {
        f"{part}.{name}": found
        for part in facts
        for name, found in facts[part].items()
        if found != expected[part][name]
    }
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "facts_wrong": facts_wrong,
        "ids_differing": ids_differing(tokenizer, expected["texts"], expected["ids"]),
        "lossy": lossy(tokenizer, expected["texts"], expected["ids"], expected["decoded"]),
        "special_ids_wrong": special_ids_wrong(tokenizer, expected["special"]),
        "largest_logit_difference": largest_differences(folder, load_file(expected_folder / "expected.safetensors")),
        "generated_wrong": generated_wrong(model, tokenizer, expected["prompts"], expected["new_ids"]),
        "piped_wrong": piped_wrong(folder, expected["prompts"], expected["new_ids"]),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    warned = Warned()
    logging.getLogger("transformers").addHandler(warned)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(warned)
    warnings.simplefilter("default")
    found = check(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({**found, "warnings": sorted(set(warned.said))}, ensure_ascii=False))
