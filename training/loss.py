"""Cross-entropy without the logits: the output layer, the loss and their gradients in one pass over chunks of
positions.

The usual way holds logits of shape (positions, vocabulary) several times over, in fp32: 2.1 GB each for one window of
MAP-Neo 7B. Here a chunk's logits live as long as its part of the loss and of both gradients is computed; nothing is
computed twice. On a CPU a step of the laptop's model takes 15 to 22 % less time for it, as the chunk stays in the cache
(docs/measurements.md). The idea is Liger Kernel's (arXiv 2410.10989); the code is plain torch, so that it runs, and is
tested, wherever torch does.
"""

from __future__ import annotations

from typing import Any

import torch

from training.data.order import IGNORED
from training.log_probabilities import token_log_probabilities
from training.sizes import CHUNK


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        to_hidden, to_weight = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32)
        size = CHUNK.get(hidden.device.type, 2048)
        for begin in range(0, hidden.shape[0], size):
            part, wanted = hidden[begin : begin + size], labels[begin : begin + size]
            trained, place = wanted != IGNORED, wanted.clamp(min=0).unsqueeze(1)
            logits = (part @ weight.t()).float()
            norm = torch.logsumexp(logits, dim=1, keepdim=True)
            total += ((norm - logits.gather(1, place)).squeeze(1) * trained).sum()
            # In place: softmax minus the one-hot label, nothing where no label is.
            gradient = logits.sub_(norm).exp_()
            gradient.scatter_(1, place, gradient.gather(1, place) - 1.0)
            gradient = gradient.mul_(trained.unsqueeze(1)).to(hidden.dtype)
            torch.matmul(gradient, weight, out=to_hidden[begin : begin + size])
            to_weight += gradient.t() @ part
        ctx.save_for_backward(to_hidden, to_weight.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * upstream[0].to(to_hidden.dtype), to_weight * upstream[0].to(to_weight.dtype), None


class LossHead(torch.nn.Linear):
    """An output layer without a bias that, given labels, returns the summed loss instead of logits. A module of its
    own, so that ZeRO 3 gathers its weight.
    """

    def forward(self, hidden: torch.Tensor, labels: torch.Tensor | None = None, each: bool = False) -> torch.Tensor:
        """``hidden``: (…, width); ``labels``: int64 (…), ``IGNORED`` where nothing is trained. Returns logits, or the
        loss in nats, a scalar in fp32; or ``each`` label's log-probability, fp32 (…).
        """
        if labels is None:
            return super().forward(hidden)
        if each:
            return token_log_probabilities(hidden, self.weight, labels)
        loss: torch.Tensor = _SummedLoss.apply(hidden.flatten(0, -2), self.weight, labels.flatten())  # type: ignore[no-untyped-call]
        return loss
