"""What a model gives each token of a text, by chunks of positions: log-probabilities with the memory of one chunk.

The sum that pre-training descends is ``loss.py``'s, whose gradients are made in the same pass. Preferences need the
tokens one by one, and gradients through each: a chunk's logits are computed again in the backward pass, which costs one
more multiplication by the output layer and keeps no logits.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from training.data.order import IGNORED
from training.sizes import CHUNK


def token_log_probabilities(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each label: fp32, of the labels' shape; 0 where a label is ``IGNORED``.

    ``hidden``: (…, width), ``weight``: (vocabulary, width), ``labels``: int64 (…). Sums over what is labelled are minus
    ``LossHead``'s loss.
    """
    flat, wanted = hidden.flatten(0, -2), labels.flatten()
    size = CHUNK.get(hidden.device.type, 2048)
    parts = [
        checkpoint(_of_chunk, flat[begin : begin + size], weight, wanted[begin : begin + size], use_reentrant=False)
        for begin in range(0, flat.shape[0], size)
    ]
    return torch.cat(parts).reshape(labels.shape) if parts else labels.to(torch.float32)


def _of_chunk(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = (hidden @ weight.t()).float()
    place = labels.clamp(min=0).unsqueeze(1)
    chosen = logits.gather(1, place).squeeze(1) - torch.logsumexp(logits, dim=1)
    return torch.where(labels != IGNORED, chosen, 0.0)
