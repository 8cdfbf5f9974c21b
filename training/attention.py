"""The rungs of attention, best first, and the arguments that keep documents apart on each.

| rung | kernel | how documents are kept apart |
|---|---|---|
| ``flash_attention_2`` | flash-attn's varlen kernel (CUDA, bf16) | one row; ``cu_seq_lens`` say where documents begin |
| ``flash_attention_4`` | flash-attn 4's varlen kernel (CUDA, capability 9 or more, bf16; a wheel) | the same arguments |
| ``torch_varlen`` | the flash kernel inside torch (CUDA, bf16; nothing to install) | the same arguments |
| ``varlen`` | torch's SDPA, document by document | the same arguments; needs nothing but torch |
| ``sdpa`` | torch's SDPA on the whole window | transformers makes a block mask from positions that restart |
| ``eager`` | plain matrix products | the same mask |

transformers would guess packing from positions, but only for one row and without a cache, and it does not say when it
guesses wrong. So on the one-row rungs all four varlen arguments are given, and the cache is off everywhere
(``use_cache=False``).
"""  # noqa: E501

from __future__ import annotations

import importlib.util
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import varlen
from transformers import AttentionInterface, AttentionMaskInterface

from neo_assets.core.recipe.run import SIXTEEN_BITS

RUNGS = ("flash_attention_2", "flash_attention_4", "torch_varlen", "varlen", "sdpa", "eager")
ONE_ROW = ("flash_attention_2", "flash_attention_4", "torch_varlen", "varlen")
"""Rungs that read the micro-batch as one row of documents."""

CAUSAL = (-1, 0)
"""Window of a causal kernel, as flash-attention counts: all to the left, nothing to the right."""

ModelInputs = dict[str, Any]


def available(device: torch.device, precision: str) -> dict[str, str | None]:
    """Every rung, best first, with what it lacks on this machine; None where it can run."""
    common = (
        "it runs on CUDA only"
        if device.type != "cuda"
        else "it computes in 16 bits; the run's precision is fp32"
        if precision != "bf16"
        else None
    )
    two = common or (
        None
        if _installed("flash_attn.flash_attn_interface")
        else "the package flash-attn is not installed (pip install '.[flash]')"
    )
    four = common or (
        None if _installed("flash_attn.cute") else "the package flash-attn-4 is not installed (pip install '.[flash4]')"
    )
    if four is None and torch.cuda.get_device_capability(device)[0] < 9:
        four = "flash-attn-4 is for compute capability 9 or more"
    return {
        "flash_attention_2": two,
        "flash_attention_4": four,
        "torch_varlen": common,
        "varlen": None,
        "sdpa": None,
        "eager": None,
    }


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its package
        return False


def choose(asked: str, device: torch.device, precision: str, across_documents: bool) -> str:
    """The rung a run uses: the one asked for, or the best that this machine has.

    ``auto`` is the first flash kernel there is, in the order of the table; without any it is ``sdpa``, which on a CPU
    is within a few percent of the document-by-document rung (docs/measurements.md).

    Raises:
        SystemExit: the rung asked for cannot run here; says what is missing.
    """
    lacks = available(device, precision)
    if asked == "auto":
        return next((rung for rung in RUNGS if rung in SIXTEEN_BITS and lacks[rung] is None), "sdpa")
    if lacks[asked] is not None:
        raise SystemExit(
            f"attention: {asked} cannot run here: {lacks[asked]}. `attention: auto` takes the best there is, which is"
            f" {choose('auto', device, precision, across_documents)}"
        )
    return asked


def model_inputs(rung: str, ids: torch.Tensor, positions: torch.Tensor, device: torch.device) -> ModelInputs:
    """Arguments of the model's forward for int64 ``ids`` and ``positions`` of shape (rows, length); positions restart
    where a document begins.

    On the one-row rungs the rows are laid end to end, and ``cu_seq_lens`` (int32, (documents + 1,)) and the longest
    length are given.
    """
    common = {"use_cache": False}
    if rung not in ONE_ROW:
        return {
            "input_ids": ids.to(device, non_blocking=True),
            "position_ids": positions.to(device, non_blocking=True),
            **common,
        }
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
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each of the segments that ``cu_seq_lens_q`` names. Shapes (1, heads, length, head dim)
    in, (1, length, heads, head dim) out.
    """
    if attention_mask is not None or "cu_seq_lens_q" not in arguments:
        raise ValueError("varlen attention takes cu_seq_lens and no mask")
    bounds = arguments["cu_seq_lens_q"].tolist()
    grouped = query.shape[1] != key.shape[1]
    parts = [
        F.scaled_dot_product_attention(
            query[:, :, a:b],
            key[:, :, a:b],
            value[:, :, a:b],
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=grouped,
        )
        for a, b in pairwise(bounds)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _flash_inside_torch(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    """As :func:`_document_by_document`, in one call of torch's flash kernel."""
    if attention_mask is not None or "cu_seq_lens_q" not in arguments or dropout:
        raise ValueError("torch_varlen takes cu_seq_lens, no mask and no dropout")
    q, k, v = (part.squeeze(0).transpose(0, 1) for part in (query, key, value))
    bounds, longest = arguments["cu_seq_lens_q"], arguments["max_length_q"]
    out = varlen.varlen_attn(
        q,
        k,
        v,
        bounds,
        bounds,
        longest,
        longest,
        scale=scaling,
        window_size=CAUSAL,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(out, torch.Tensor)  # a pair where more is asked for
    return out.unsqueeze(0), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


for _rung, _kernel in (("varlen", _document_by_document), ("torch_varlen", _flash_inside_torch)):
    AttentionInterface.register(_rung, _kernel)
    AttentionMaskInterface.register(_rung, _no_mask)
