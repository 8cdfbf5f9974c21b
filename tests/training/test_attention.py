"""No attention across documents on any rung, numerically; the arguments that flash-attn would get; and the rungs
against each other.
"""

from __future__ import annotations

import inspect
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neo_assets.core.recipe.run import Model
from tests.training.runs import small_run, write_shards
from training.attention import ONE_ROW, RUNGS, available, choose, model_inputs
from training.data.order import DataOrder, TokenStream
from training.data.token_stream import Batches
from training.model import build_model

CPU = torch.device("cpu")
HERE = [rung for rung in RUNGS if available(CPU, "bf16")[rung] is None]
SHAPE = Model(
    layers=3,
    hidden=48,
    heads=6,
    kv_heads=2,
    head_dim=8,
    ffn=96,
    context=64,
    rope_theta=10_000,
    norm_eps=1e-5,
    init_std=0.2,
    vocab_multiple=64,
)
ROWS, LENGTH = 128, 64
FP32, BF16 = torch.float32, torch.bfloat16


def documents(*lengths: int) -> torch.Tensor:
    """Positions of one window that holds documents of these lengths."""
    return torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0)


def model(rung: str, dtype: torch.dtype = FP32):  # type: ignore[no-untyped-def]
    made = build_model(SHAPE, ROWS, seed=3, attention=rung)
    if dtype is BF16:
        for parameter in made.parameters():
            parameter.data = parameter.data.to(BF16)
    return made.train()


def logits(made, rung: str, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """Logits of shape (rows, length, vocabulary), whatever form the rung takes its micro-batch in."""
    with torch.no_grad():
        return made(**model_inputs(rung, ids, positions, CPU)).logits.float().reshape(*ids.shape, -1)


@pytest.mark.parametrize("dtype", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("rung", HERE)
def test_a_document_sees_nothing_of_another(rung: str, dtype: torch.dtype) -> None:
    """Changing every token of one document changes no logit of any other, to the last bit: in one window and between
    rows of a micro-batch.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(ROWS, (3, LENGTH), generator=generator)
    positions = torch.cat([documents(20, 1, 30, 13), documents(64), documents(1, 63)])
    made = model(rung, dtype)
    before = logits(made, rung, ids, positions)
    for row, begin, end in ((0, 0, 20), (0, 20, 21), (0, 21, 51), (1, 0, 64), (2, 1, 64)):
        changed = ids.clone()
        changed[row, begin:end] = (changed[row, begin:end] + 1 + torch.arange(end - begin)) % ROWS
        after = logits(made, rung, changed, positions)
        same = torch.ones(ids.shape, dtype=torch.bool)
        same[row, begin:end] = False
        assert torch.equal(before[same], after[same])
        assert not torch.equal(before[row, begin:end], after[row, begin:end])


@pytest.mark.parametrize("rung", HERE)
def test_a_document_in_a_pack_is_the_document_alone(rung: str) -> None:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(ROWS, (1, LENGTH), generator=generator)
    made = model(rung)
    packed = logits(made, rung, ids, documents(20, 1, 30, 13))
    for begin, end in ((0, 20), (20, 21), (21, 51), (51, 64)):
        alone = logits(made, rung, ids[:, begin:end], documents(end - begin))
        torch.testing.assert_close(packed[:, begin:end], alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("rung", HERE)
def test_across_documents_what_comes_before_is_seen(rung: str) -> None:
    ids = torch.randint(ROWS, (1, LENGTH), generator=torch.Generator().manual_seed(2))
    changed = ids.clone()
    changed[0, :20] = (changed[0, :20] + 1) % ROWS
    made = model(rung)
    before, after = (logits(made, rung, given, documents(LENGTH)) for given in (ids, changed))
    assert (before[0, 20:] - after[0, 20:]).abs().max() > 1e-3


def test_the_recipe_chooses_whether_documents_are_kept_apart(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards")
    stream = TokenStream(shards, 128, "uint16")
    order = DataOrder(stream.sequences, 1, "d")
    for across in (False, True):
        run = small_run(across_documents=across)
        inputs, labels = Batches(stream, order, run, 0, 0, CPU, "sdpa").micro(np.arange(8), 0)
        restarts = int((inputs["position_ids"] == 0).sum())
        assert restarts == (
            4 if across else 4 + sum(len([s for s in stream.starts_in(q) if s < 128]) for q in range(4))
        )
        assert int((labels == -100).sum()) == sum(
            len(stream.starts_in(q)) for q in range(4)
        )  # the end-of-document token predicts nothing in either


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_arguments_for_flash_attn_name_exactly_the_documents(rows: list[list[int]]) -> None:
    """A window that begins in the middle of a document begins one of its own; a window's end is an end, whatever stands
    in the next row.
    """
    length = max(map(sum, rows))
    rows = [[*row, length - sum(row)] if sum(row) < length else row for row in rows]
    positions = torch.cat([documents(*row) for row in rows])
    ids = torch.arange(positions.numel()).reshape(positions.shape)
    inputs = model_inputs("flash_attention_2", ids, positions, CPU)
    bounds = np.cumsum([0, *(n for row in rows for n in row)]).tolist()
    assert inputs["cu_seq_lens_q"].tolist() == inputs["cu_seq_lens_k"].tolist() == bounds
    assert inputs["cu_seq_lens_q"].dtype == torch.int32
    assert inputs["max_length_q"] == inputs["max_length_k"] == max(n for row in rows for n in row)
    assert isinstance(inputs["max_length_q"], int) and inputs["use_cache"] is False
    assert inputs["input_ids"].shape == inputs["position_ids"].shape == (1, ids.numel())
    for begin, end in pairwise(bounds):
        assert inputs["position_ids"][0, begin:end].tolist() == list(range(end - begin))


def test_transformers_hands_those_arguments_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives at flash-attn's varlen call, seen with a function in its place: through the model, layer by layer,
    from the four arguments alone.
    """
    import transformers.modeling_flash_attention_utils as utils

    seen: list[tuple[list[int], list[int], int, int]] = []

    def varlen(
        q,
        k,
        v,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        dropout_p=0.0,
        softmax_scale=None,
        causal=False,
        window_size=(-1, -1),
        softcap=0.0,
        deterministic=False,
    ):  # type: ignore[no-untyped-def]
        """With the signature of flash_attn_varlen_func: (tokens, heads, head dim) in and out."""
        seen.append((cu_seqlens_q.tolist(), cu_seqlens_k.tolist(), max_seqlen_q, max_seqlen_k))
        parts = []
        for a, b in pairwise(cu_seqlens_q.tolist()):
            heads = [t[a:b].transpose(0, 1).unsqueeze(0) for t in (q, k, v)]
            parts.append(
                torch.nn.functional.scaled_dot_product_attention(
                    *heads, is_causal=causal, scale=softmax_scale, enable_gqa=True
                )
            )
        return torch.cat([p.squeeze(0).transpose(0, 1) for p in parts])

    def plain(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("the kernel without cu_seqlens was called: documents would see each other")

    functions = (plain, varlen, None, None, None), (utils._lazy_define_process_function(varlen), dict)
    monkeypatch.setattr(utils, "lazy_import_flash_attention", lambda *_, **__: functions)
    made = model("varlen")
    made.config._attn_implementation = "flash_attention_2"
    ids = torch.randint(ROWS, (2, LENGTH), generator=torch.Generator().manual_seed(4))
    positions = torch.cat([documents(20, 1, 30, 13), documents(10, 54)])
    got = logits(made, "flash_attention_2", ids, positions)
    made.config._attn_implementation = "varlen"
    torch.testing.assert_close(got, logits(made, "varlen", ids, positions), atol=2e-5, rtol=1e-4)
    bounds = [0, 20, 21, 51, 64, 74, 128]
    assert seen == [(bounds, bounds, 54, 54)] * SHAPE.layers


def test_torchs_own_flash_kernel_gets_the_documents_and_gives_what_the_other_rungs_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel itself exists on CUDA alone; in its place stands its signature over plain SDPA,
    document by document.
    """
    from torch.nn.attention import varlen

    seen: list[tuple[list[int], int, tuple[int, int]]] = []

    def stand_in(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False
    ):  # type: ignore[no-untyped-def]
        assert cu_seq_k is cu_seq_q and max_k == max_q and query.dim() == 3
        seen.append((cu_seq_q.tolist(), max_q, window_size))
        parts = []
        for a, b in pairwise(cu_seq_q.tolist()):
            heads = [t[a:b].transpose(0, 1).unsqueeze(0) for t in (query, key, value)]
            parts.append(
                torch.nn.functional.scaled_dot_product_attention(
                    *heads, is_causal=window_size == (-1, 0), scale=scale, enable_gqa=enable_gqa
                )
            )
        return torch.cat([p.squeeze(0).transpose(0, 1) for p in parts])

    assert set(inspect.signature(stand_in).parameters) <= set(inspect.signature(varlen.varlen_attn).parameters)
    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    ids = torch.randint(ROWS, (2, LENGTH), generator=torch.Generator().manual_seed(4))
    positions = torch.cat([documents(20, 1, 30, 13), documents(10, 54)])
    torch.testing.assert_close(
        logits(model("torch_varlen"), "torch_varlen", ids, positions),
        logits(model("varlen"), "varlen", ids, positions),
        atol=2e-5,
        rtol=1e-4,
    )
    assert seen == [([0, 20, 21, 51, 64, 74, 128], 54, (-1, 0))] * SHAPE.layers


@pytest.mark.parametrize("across", [False, True], ids=["apart", "across"])
def test_every_rung_has_the_same_loss_and_gradients(tmp_path: Path, across: bool) -> None:
    """The parity table of docs/measurements.md, on the CPU's rungs: loss and the gradient of every weight, fp32,
    relative to the largest.
    """
    shards = write_shards(tmp_path / "shards")
    stream = TokenStream(shards, 64, "uint16")
    run = small_run(across_documents=across, sequence_length=64)
    found = {}
    for rung in HERE:
        made = build_model(SHAPE, 512, seed=3, attention=rung).train()
        inputs, labels = Batches(stream, DataOrder(stream.sequences, 1, "d"), run, 0, 0, CPU, rung).micro(
            np.arange(8), 0
        )
        loss = made(**inputs, labels=labels)
        loss.backward()
        found[rung] = (loss.item(), {n: p.grad for n, p in made.named_parameters()})
    for rung in HERE[1:]:
        assert found[rung][0] == pytest.approx(found[HERE[0]][0], rel=1e-6)
        for name, gradient in found[HERE[0]][1].items():
            assert (found[rung][1][name] - gradient).abs().max() <= 2e-5 * gradient.abs().max(), f"{rung} {name}"


def test_a_missing_flash_attn_is_one_clear_line() -> None:
    with pytest.raises(
        SystemExit,
        match=(
            r"attention: flash_attention_2 cannot run here: it runs on CUDA only. `attention: auto` takes the best"
            r" there is, which is sdpa"
        ),
    ):
        choose("flash_attention_2", CPU, "bf16", False)
    assert choose("auto", CPU, "bf16", False) == "sdpa"
    assert set(ONE_ROW) < set(RUNGS)
