"""The model: a recipe's shape as a Hugging Face Llama, so that what trains is, layer by layer and name by name, what is
published.

Using the library's own class costs the freedom to change the block; in return an export is a copy of weights, and
anybody can load it without our code. ``use_cache`` is off in every configuration: with it on, transformers does not
notice that a window holds several documents, and they see each other without any error.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from neo_assets.core.recipe.run import Model
from training.loss import LossHead

M = TypeVar("M", bound=torch.nn.Module)


def llama_config(
    model: Model, vocab_rows: int, *, bos_token_id: int | None = None, eos_token_id: int | None = None
) -> LlamaConfig:
    """The configuration of ``model`` with ``vocab_rows`` embedding rows (see ``Model.vocab_rows``).

    There is no padding token: windows are full, and a padding row breaks the partitioned embedding of ZeRO stage 3.
    """
    return LlamaConfig(
        vocab_size=vocab_rows,
        hidden_size=model.hidden,
        intermediate_size=model.ffn,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        head_dim=model.head_dim,
        max_position_embeddings=model.context,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        rms_norm_eps=model.norm_eps,
        initializer_range=model.init_std,
        hidden_act="silu",
        tie_word_embeddings=model.tied_embeddings,
        attention_bias=False,
        mlp_bias=False,
        attention_dropout=0.0,
        use_cache=False,
        pad_token_id=None,
        bos_token_id=bos_token_id,
        eos_token_id=eos_token_id,
    )


class TrainedLlama(LlamaForCausalLM):  # type: ignore[misc]
    """transformers' Llama, with the same weights under the same names, that returns the summed loss when it is given
    labels.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.lm_head.__class__ = LossHead

    def forward(self, *arguments: Any, labels: torch.Tensor | None = None, each: bool = False, **named: Any) -> Any:
        """transformers' output, or, with int64 ``labels`` of the shape of ``input_ids``, the loss in nats summed over
        them, in fp32; with ``each``, the log-probability of every one.
        """
        if labels is None:
            return super().forward(*arguments, **named)
        return self.lm_head(self.model(*arguments, **named).last_hidden_state, labels, each)


class ScoredLlama(LlamaForSequenceClassification):  # type: ignore[misc]
    """A reward model: transformers' Llama with one number of each position instead of words, ``score.weight``."""

    def forward(self, *arguments: Any, each: bool = False, **named: Any) -> Any:
        """transformers' output; or, with ``each``, the reward that every position would have as the last one, fp32, of
        the shape of ``input_ids``.
        """
        if not each:
            return super().forward(*arguments, **named)
        return self.score(self.model(*arguments, **named).last_hidden_state).squeeze(-1).float()


def scored_config(config: LlamaConfig) -> LlamaConfig:
    """That of a reward model: one number, and no output layer that could be the embedding table."""
    config.num_labels, config.tie_word_embeddings = 1, False
    return config


def load_body(model: ScoredLlama, weights: dict[str, torch.Tensor]) -> None:
    """Take the weights of a language model, but for its output layer: every reward is zero then; or of a reward model,
    all of them.
    """
    own = {name: weight for name, weight in weights.items() if name != "lm_head.weight"}
    model.load_state_dict({"score.weight": torch.zeros_like(model.score.weight), **own}, strict=True)


def load_weights(model: LlamaForCausalLM | LlamaForSequenceClassification, weights: dict[str, torch.Tensor]) -> None:
    """Take weights by name, all of them and no other. Of a tied table files have the first name alone."""
    if model.config.tie_word_embeddings:
        weights = {"lm_head.weight": weights["model.embed_tokens.weight"], **weights}
    model.load_state_dict(weights, strict=True)


def round_to_bf16(model: torch.nn.Module) -> None:
    """Parameters in bf16. Buffers stay fp32, as in DeepSpeed and ``from_pretrained``: ``.to(bfloat16)`` would round
    the rotary frequencies.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)


def recompute(model: TrainedLlama | ScoredLlama, what: str) -> None:
    """Have the backward pass compute again what the forward pass then need not keep (arXiv 1604.06174). Changes no bit,
    where kernels are deterministic.

    ``full``: each block whole; a third more work, and one value of ``hidden`` a token and block is kept. ``selective``:
    the feed-forward layers alone, which hold most of what is kept and are cheap beside a long window's attention.
    """
    for block in model.model.layers:
        part = {"none": None, "selective": block.mlp, "full": block}[what]
        if part is not None:
            part.forward = partial(
                checkpoint, part.forward, use_reentrant=False, preserve_rng_state=False
            )  # nothing here is drawn at random


def build_model(model: Model, vocab_rows: int, *, seed: int, attention: str = "sdpa") -> TrainedLlama:
    """A freshly initialised model in fp32 on the CPU; the same weights for the same seed, in any process.

    The caller's random state is left as it was.
    """
    built = _built(TrainedLlama, llama_config(model, vocab_rows), seed, attention)
    if model.zero_outputs:
        for block in built.model.layers:
            torch.nn.init.zeros_(block.self_attn.o_proj.weight)
            torch.nn.init.zeros_(block.mlp.down_proj.weight)
        if not model.tied_embeddings:
            torch.nn.init.zeros_(built.lm_head.weight)
    return built


def build_scorer(model: Model, vocab_rows: int, *, seed: int, attention: str = "sdpa") -> ScoredLlama:
    """As :func:`build_model`, a reward model: its blocks are those of the language model, and it says 0 of all."""
    built = _built(ScoredLlama, scored_config(llama_config(model, vocab_rows)), seed, attention)
    torch.nn.init.zeros_(built.score.weight)
    return built


def _built(kind: type[M], config: LlamaConfig, seed: int, attention: str) -> M:
    config._attn_implementation = attention
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built: M = kind(config).to(torch.float32)
    return built
