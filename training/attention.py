"""The rungs of attention, best first, and the arguments that keep documents apart on each.

| rung | kernel | how documents are kept apart |
|---|---|---|
| ``flash_attention_2`` | flash-attn's varlen kernel (CUDA, bf16) | the batch is one row; ``cu_seq_lens`` say where documents begin |
| ``varlen`` | torch's SDPA, document by document | the same arguments; needs nothing but torch |
| ``sdpa`` | torch's SDPA on the whole window | transformers makes a block mask from positions that restart |
| ``eager`` | plain matrix products | the same mask |

transformers would guess packing from positions, but only for one row and without a cache, and it does not say when it guesses wrong. So on
the first two rungs all four varlen arguments are given, and the cache is off everywhere (``use_cache=False``).
"""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface

RUNGS = ("flash_attention_2", "varlen", "sdpa", "eager")
ONE_ROW = ("flash_attention_2", "varlen")
"""Rungs that read the micro-batch as one row of documents."""

ModelInputs = dict[str, Any]


def available(device: torch.device, precision: str) -> dict[str, str | None]:
    """Every rung, best first, with what it lacks on this machine; None where it can run."""
    flash: str | None = None
    if device.type != "cuda":
        flash = "flash-attn runs on CUDA only"
    elif importlib.util.find_spec("flash_attn") is None:
        flash = "the package flash-attn is not installed (pip install '.[flash]')"
    elif precision != "bf16":
        flash = "flash-attn computes in 16 bits; the run's precision is fp32"
    return {"flash_attention_2": flash, "varlen": None, "sdpa": None, "eager": None}


def choose(asked: str, device: torch.device, precision: str, across_documents: bool) -> str:
    """The rung a run uses: the one asked for, or the best that this machine has.

    ``auto`` without flash-attn is ``sdpa``: on the whole window its kernels are the fastest on a GPU, and on a CPU they are within
    a few percent of the document-by-document rung (docs/measurements.md).

    Raises:
        SystemExit: the rung asked for cannot run here; says what is missing.
    """
    lacks = available(device, precision)
    if asked == "auto":
        return "flash_attention_2" if lacks["flash_attention_2"] is None else "sdpa"
    if lacks[asked] is not None:
        raise SystemExit(
            f"attention: {asked} cannot run here: {lacks[asked]}. `attention: auto` takes the best there is, which is {choose('auto', device, precision, across_documents)}"
        )
    return asked


def model_inputs(rung: str, ids: torch.Tensor, positions: torch.Tensor, device: torch.device) -> ModelInputs:
    """Arguments of the model's forward for int64 ``ids`` and ``positions`` of shape (rows, length); positions restart where a document begins.

    On the one-row rungs the rows are laid end to end, and ``cu_seq_lens`` (int32, (documents + 1,)) and the longest length are given.
    """
    common = {"use_cache": False}
    if rung not in ONE_ROW:
        return {"input_ids": ids.to(device, non_blocking=True), "position_ids": positions.to(device, non_blocking=True), **common}
    flat = positions.reshape(-1)
    begins = torch.nonzero(flat == 0).flatten()
    cu = torch.cat([begins, torch.tensor([flat.numel()])]).to(torch.int32)
    longest = int((cu[1:] - cu[:-1]).max())
    cu = cu.to(device, non_blocking=True)
    return {
        "input_ids": ids.reshape(1, -1).to(device, non_blocking=True),
        "position_ids": flat.unsqueeze(0).to(device, non_blocking=True),
        "cu_seq_lens_q": cu,
        "cu_seq_lens_k": cu,
        "max_length_q": longest,
        "max_length_k": longest,
        **common,
    }


def _document_by_document(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: None, scaling: float | None = None, dropout: float = 0.0, **arguments: Any
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each of the segments that ``cu_seq_lens_q`` names. Shapes (1, heads, length, head dim) in, (1, length, heads, head dim) out."""
    if attention_mask is not None or "cu_seq_lens_q" not in arguments:
        raise ValueError("varlen attention takes cu_seq_lens and no mask")
    bounds = arguments["cu_seq_lens_q"].tolist()
    grouped = query.shape[1] != key.shape[1]
    parts = [
        F.scaled_dot_product_attention(query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=grouped)
        for a, b in pairwise(bounds)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register("varlen", _document_by_document)
AttentionMaskInterface.register("varlen", _no_mask)
