"""Losses of preferences. Of a policy: how much more it prefers the better of two answers than the model it began from
does. Of a reward model: how much more it gives to the better one.

======================= ========================================================================================
sigmoid                 DPO (arXiv 2305.18290); with label smoothing as cDPO
ipo                     arXiv 2310.12036, by tokens' means, as its authors ran it
sigmoid_norm            DPO by tokens' means (arXiv 2411.15124)
======================= ========================================================================================

Each may be given a term of the better answer's own likelihood, by tokens' means (arXiv 2404.19733).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from neo_assets.core.recipe.align import DpoLoss, RewardLoss


@dataclass(frozen=True)
class Answers:
    """Of the better and the worse answer of each pair: summed log-probabilities under a model, fp32 (pairs, 2), and how
    many tokens that is.
    """

    sums: torch.Tensor
    tokens: torch.Tensor


def reward_losses(rewards: torch.Tensor, settings: RewardLoss) -> torch.Tensor:
    """The loss of each pair, (pairs,), of its rewards, the better answer's first, (pairs, 2): Bradley and Terry's, and
    a term that keeps rewards around zero, where the recipe has one.
    """
    losses = -logsigmoid(rewards[:, 0] - rewards[:, 1])
    return losses + settings.center * rewards.sum(dim=1) ** 2 if settings.center else losses


def preference_losses(policy: Answers, reference: torch.Tensor, settings: DpoLoss) -> torch.Tensor:
    """The loss of each pair, (pairs,). ``reference``: summed log-probabilities under the reference, (pairs, 2)."""
    ratios = policy.sums - reference
    if settings.loss != "sigmoid":
        ratios = ratios / policy.tokens
    margin = ratios[:, 0] - ratios[:, 1]
    if settings.loss == "ipo":
        losses = (margin - 1 / (2 * settings.beta)) ** 2
    else:
        smooth = settings.label_smoothing
        losses = -(1 - smooth) * logsigmoid(settings.beta * margin) - smooth * logsigmoid(-settings.beta * margin)
    if settings.sft_weight:
        losses = losses - settings.sft_weight * policy.sums[:, 0] / policy.tokens[:, 0]
    return losses
