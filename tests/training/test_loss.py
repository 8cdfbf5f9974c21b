"""The loss without logits: equal to torch's on logits, in value and in both gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import training.loss
from training.data.order import IGNORED
from training.log_probabilities import token_log_probabilities
from training.loss import LossHead


@given(st.integers(1, 40), st.integers(2, 30), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_value_and_gradients_are_those_of_cross_entropy(
    positions: int, vocabulary: int, chunk: int, unlabelled: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, positions, 8, generator=generator, dtype=torch.float64).float().requires_grad_()
    head = LossHead(8, vocabulary, bias=False)
    labels = torch.randint(vocabulary, (2, positions), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < unlabelled] = IGNORED
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.loss.CHUNK, "cpu", chunk)
        loss = head(hidden, labels)
        (loss * 0.37).backward()
    got = loss.detach(), hidden.grad.clone(), head.weight.grad.clone()  # type: ignore[union-attr]
    hidden.grad = head.weight.grad = None
    expected = torch.nn.functional.cross_entropy(
        head(hidden).double().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    (expected * 0.37).backward()
    torch.testing.assert_close(got[0].double(), expected.detach(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(got[1], hidden.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got[2], head.weight.grad, atol=1e-5, rtol=1e-4)


def test_large_logits_do_not_overflow() -> None:
    head = LossHead(1, 3, bias=False)
    head.weight.data = torch.tensor([[300.0], [-300.0], [0.0]])
    loss = head(torch.ones(1, 1), torch.tensor([1]))
    assert loss.item() == pytest.approx(600.0)


def test_bf16_is_summed_in_fp32() -> None:
    head = LossHead(8, 16, bias=False).bfloat16()
    hidden = torch.randn(5000, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(5000) % 16
    loss = head(hidden, labels)
    exact = torch.nn.functional.cross_entropy((hidden @ head.weight.t()).double(), labels, reduction="sum")
    assert loss.dtype is torch.float32 and loss.item() == pytest.approx(exact.item(), rel=1e-4)


@given(st.integers(1, 40), st.integers(2, 30), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_each_tokens_log_probability_and_its_gradients_are_those_of_log_softmax(
    positions: int, vocabulary: int, chunk: int, unlabelled: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, positions, 8, generator=generator).requires_grad_()
    head = LossHead(8, vocabulary, bias=False)
    labels = torch.randint(vocabulary, (2, positions), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < unlabelled] = IGNORED
    pull = torch.randn(2, positions, generator=generator)  # another gradient into each token
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.loss.CHUNK, "cpu", chunk)
        each = token_log_probabilities(hidden, head.weight, labels)
        (each * pull).sum().backward()
        summed = head(hidden, labels)
    got = each.detach(), hidden.grad.clone(), head.weight.grad.clone()  # type: ignore[union-attr]
    hidden.grad = head.weight.grad = None
    expected = torch.log_softmax(head(hidden).double(), -1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    expected = torch.where(labels == IGNORED, 0.0, expected)
    (expected * pull).sum().backward()
    torch.testing.assert_close(got[0].double(), expected.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[1], hidden.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got[2], head.weight.grad, atol=1e-5, rtol=1e-4)
    assert float(-got[0].sum()) == pytest.approx(summed.item(), abs=1e-4, rel=1e-5)


def test_token_by_token_no_more_than_a_chunks_logits_are_kept() -> None:
    hidden = torch.randn(4096, 8, requires_grad=True)
    weight = torch.randn(3000, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        token_log_probabilities(hidden, weight, torch.zeros(4096, dtype=torch.int64))
    assert max(kept) <= weight.numel()  # the logits of all positions are 12 million values
