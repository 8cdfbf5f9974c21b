"""A checkpoint's model as it is exported, in memory: weights rounded to bf16, in another type where asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.recipe.run import Model
from training.export import ExportConfig, bf16_model
from training.weights import STATE, master_weights

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


def loaded(
    checkpoint: Path, model: Model, vocab_rows: int, tokenizer: PreTrainedTokenizerBase, dtype: str, threads: int
) -> LlamaForCausalLM:
    """The model of a checkpoint's folder, on the CPU, ready to be asked; ``dtype``: fp32 or bf16."""
    import torch
    from transformers import LlamaForCausalLM

    os.environ["DS_ACCELERATOR"] = "cpu"  # read where a checkpoint's files are
    told = ExportConfig(model=model, vocab_rows=vocab_rows, tag=STATE, threads=threads)
    made = bf16_model(told, master_weights(checkpoint), tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert isinstance(made, LlamaForCausalLM)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    for parameter in made.parameters():
        parameter.data = parameter.data.to(kind)
    return made.eval()
