"""Pairs of answers as a model reads them, and what it says of each answer."""

from __future__ import annotations

import numpy as np
import torch

from training.attention import ModelInputs, model_inputs
from training.data.order import IGNORED, Integers
from training.data.pair_stream import BETTER, WORSE, PairStream
from training.preferences import Answers


def pair_batch(
    stream: PairStream, sequences: Integers, attention: str, device: torch.device
) -> tuple[ModelInputs, torch.Tensor, torch.Tensor]:
    """(the model's arguments, labels of the shape of its ids, which answer each position is of) of some pairs."""
    ids, labels, positions = stream.examples(sequences)
    answer = np.cumsum(positions == 0, axis=1) - 1
    inputs = model_inputs(attention, torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(positions)), device)
    wanted = torch.from_numpy(labels).reshape(inputs["input_ids"].shape).to(device)
    return inputs, wanted, torch.from_numpy(answer).to(device)


def answer_sums(each: torch.Tensor, labels: torch.Tensor, answer: torch.Tensor) -> Answers:
    """Sums over the two answers of each pair; ``each``: log-probabilities of the labels, of any shape with as many."""
    by_row, wanted = each.reshape(answer.shape), labels.reshape(answer.shape) != IGNORED
    masks = [(answer == which) & wanted for which in (BETTER, WORSE)]
    return Answers(
        torch.stack([(by_row * mask).sum(dim=1) for mask in masks], dim=1),
        torch.stack([mask.sum(dim=1) for mask in masks], dim=1),
    )


def rewards_at_ends(each: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """The reward of each answer, (pairs, 2): what stands at its last token. ``each``: of every position, of any shape
    with as many.
    """
    by_row = each.reshape(answer.shape)
    place = torch.arange(answer.shape[1], device=answer.device)
    ends = [torch.where(answer == which, place, -1).amax(dim=1) for which in (BETTER, WORSE)]
    return by_row.gather(1, torch.stack(ends, dim=1))
