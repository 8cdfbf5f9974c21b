"""Recipe sections of a training run: the model's shape, the schedule, where it starts from, and its cadence."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from neo_assets.core.recipe.base import NOT_IDENTITY, Name, Section, Share


class Shape(Section):
    """How wide and how deep a model is."""

    layers: int = Field(ge=1)
    hidden: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    ffn: int = Field(ge=1, description="width of each SwiGLU branch")

    @model_validator(mode="after")
    def _heads_fit(self) -> Shape:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads ({self.kv_heads}) must divide heads ({self.heads})")
        if self.hidden % self.heads:
            raise ValueError(
                f"heads ({self.heads}) must divide hidden ({self.hidden}): transformers refuses other shapes"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim ({self.head_dim}) must be even for rotary embeddings")
        return self


class Model(Shape):
    """The Llama block: RMSNorm, SwiGLU, RoPE, no biases."""

    context: int = Field(ge=2, description="positions")
    rope_theta: float = Field(gt=0)
    norm_eps: float = Field(gt=0)
    init_std: float = Field(gt=0)
    tied_embeddings: bool = Field(False, description="the output layer is the embedding table")
    zero_outputs: bool = Field(
        False,
        description=(
            "what a block adds to the residual stream starts at zero, and so does an output layer of its own"
            " (arXiv 2203.03466, appendix D.2)"
        ),
    )
    vocab_multiple: int = Field(ge=1, description="embedding rows are rounded up to a multiple of this")

    def vocab_rows(self, tokens: int) -> int:
        """Embedding rows for a tokenizer of ``tokens`` ids."""
        return math.ceil(tokens / self.vocab_multiple) * self.vocab_multiple

    def parameters(self, vocab_rows: int, scored: bool = False) -> int:
        """Trainable parameters, embeddings (input and output) included; of a reward model one row for its output."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        block = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        outer = (vocab_rows + 1) * self.hidden if scored else self.embedding_parameters(vocab_rows)
        return outer + self.layers * block + self.hidden

    def embedding_parameters(self, vocab_rows: int) -> int:
        """Those of the input table, and of the output layer where it is another."""
        return (1 if self.tied_embeddings else 2) * vocab_rows * self.hidden


class _Schedule(Section):
    """A linear warm-up from ``warmup_start_lr``, which step 0 has, to ``peak_lr``, which step ``warmup_steps`` has;
    then what the kind says.
    """

    peak_lr: float = Field(gt=0)
    min_lr: float = Field(ge=0, description="floor; the rate never goes below it after the warm-up")
    warmup_start_lr: float = Field(0.0, ge=0)
    warmup_steps: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> _Schedule:
        if self.min_lr > self.peak_lr:
            raise ValueError(f"min_lr ({self.min_lr}) is above peak_lr ({self.peak_lr})")
        return self


class CosineSchedule(_Schedule):
    """After the warm-up a cosine to ``min_lr`` at ``decay_steps``, then constant. How long the run is, is another
    number.
    """

    kind: Literal["cosine"]
    decay_steps: int = Field(
        ge=1, description="step at which the cosine reaches min_lr; the run may be longer or shorter"
    )


class ExponentialSchedule(_Schedule):
    """After the warm-up the rate halves every ``half_life_steps``, down to ``min_lr``."""

    kind: Literal["exponential"]
    half_life_steps: int = Field(ge=1)


class ConstantSchedule(_Schedule):
    """After the warm-up the peak, to the end: a phase whose decay is another run."""

    kind: Literal["constant"]


Schedule = Annotated[CosineSchedule | ExponentialSchedule | ConstantSchedule, Field(discriminator="kind")]


class AdamW(Section):
    """arXiv 1711.05101, no decay on norm weights."""

    kind: Literal["adamw"] = "adamw"
    beta1: float = Field(gt=0, lt=1)
    beta2: float = Field(gt=0, lt=1)
    eps: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    grad_clip: float = Field(gt=0)


class Muon(AdamW):
    """Momentum whose matrices are made orthogonal, for the matrices within the blocks (Jordan 2024; DeepSpeed's own);
    AdamW for everything else.
    """

    kind: Literal["muon"]  # type: ignore[assignment]
    momentum: float = Field(gt=0, lt=1)
    matrix_rate: float = Field(gt=0, description="rate of the blocks' matrices, as a multiple of the schedule's")
    embedding_rate: float = Field(1.0, gt=0, description="rate of embeddings and output layer, likewise")


def _kind_of_optimizer(value: object) -> str:
    kind = value.get("kind", "adamw") if isinstance(value, dict) else getattr(value, "kind", "adamw")
    return str(kind)


Optimizer = Annotated[Annotated[AdamW, Tag("adamw")] | Annotated[Muon, Tag("muon")], Discriminator(_kind_of_optimizer)]


class Parent(Section):
    """The checkpoint a run starts from.

    ``weights``: a new phase; fresh optimizer, fresh data order, steps counted from 0. ``everything``: a branch;
    optimizer, random states, data position and step go on from the parent's.
    """

    run: Name
    step: int | None = Field(None, ge=0, description="the run's last one if left out")
    fingerprint: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{8,32}$",
        description="the run as it was then, under other code or settings; as the recipe has it now if left out",
    )
    take: Literal["weights", "everything"] = "weights"
    because: str = Field("", description="why the branch was made; for people", json_schema_extra=NOT_IDENTITY)

    @model_validator(mode="after")
    def _names_a_step(self) -> Parent:
        if self.step is None and (self.take == "everything" or self.fingerprint):
            raise ValueError("a parent that is continued, or named by its fingerprint, needs its step")
        return self


class OnTrouble(Section):
    """What a run does about a step that looks wrong. A step is looked at after its update; the checkpoint before it is
    unharmed.
    """

    spike: Literal["flag", "stop"] = Field(description="the loss, or the gradient norm, far above its recent median")
    spike_factor: float = Field(gt=1, description="times the median of the last ``window`` steps")
    window: int = Field(ge=2, description="steps")


class Keep(Section):
    """Which checkpoints of a run stay whole. Of the others certificate and metrics stay, and no state. Besides these:
    the run's first and last, those that are evaluated, and those that other runs start from.
    """

    every: int = Field(ge=1, description="steps; the first checkpoint at or after each multiple stays")
    last: int = Field(2, ge=1, description="as many of the newest")


MUON_STAGES = {"bf16": (1,), "fp32": (0,)}
"""Where DeepSpeed's Muon does what it says (tests/training/test_muon.py)."""
SIXTEEN_BITS = ("flash_attention_4", "flash_attention_2", "torch_varlen")
"""Attention kernels that exist for bf16 alone."""


class Run(Section):
    """One training run."""

    phase: Name = Field(description="which mixture it reads")
    parent: Parent | None = None
    from_model: str | None = Field(
        None,
        description=(
            "a Hugging Face folder (Llama, safetensors) whose weights it starts from; its content counts, not its place"
        ),
        json_schema_extra=NOT_IDENTITY,
    )
    model: Model
    sequence_length: int = Field(ge=2, description="tokens")
    global_batch: int = Field(ge=1, description="sequences a step")
    micro_batch: int = Field(ge=1, description="sequences a rank holds at once")
    steps: int = Field(ge=1, description="step at which the run ends")
    schedule: Schedule
    optimizer: Optimizer
    precision: Literal["bf16", "fp32"]
    zero_stage: Literal[0, 1, 2, 3]
    attention: Literal["auto", "flash_attention_4", "flash_attention_2", "torch_varlen", "varlen", "sdpa", "eager"] = (
        Field("auto", description="which kernel; auto: the best that the machine has (docs/training.md)")
    )
    across_documents: bool = Field(
        False, description="attention and positions run on from one document into the next, as in the released code"
    )
    skip_samples: list[tuple[int, int]] = Field(
        default_factory=list, description="half-open ranges of samples of the data order that this run never sees"
    )
    nodes: int = Field(1, ge=1)
    ranks_per_node: int = Field(ge=1, description="GPUs, or CPU processes")
    threads_per_rank: int = Field(ge=1)
    recompute: Literal["none", "selective", "full"] = Field(
        "none",
        description=(
            "what the backward pass computes again instead of keeping it: nothing; the feed-forward layers, which hold"
            " most of it; every block whole"
        ),
    )
    deterministic: bool = Field(
        True,
        description=(
            "kernels that give the same bits each time, on a GPU too: without them a run resumes, and not bit for bit"
        ),
    )
    seed: int
    checkpoint_every: int = Field(ge=1, description="steps")
    early_checkpoints: int = Field(0, ge=0, description="more checkpoints at steps 1, 2, 4 … up to this one; 0: none")
    keep: Keep | None = Field(
        None, description="which checkpoints stay whole; all, if left out", json_schema_extra=NOT_IDENTITY
    )
    on_trouble: OnTrouble = Field(json_schema_extra=NOT_IDENTITY)
    hang_after_s: float = Field(
        1800.0,
        gt=0,
        description="a step that takes longer is taken for a hang: every rank writes its stacks and ends",
        json_schema_extra=NOT_IDENTITY,
    )
    trackers: list[Literal["tensorboard", "wandb"]] = Field(
        default_factory=list,
        description="also report metrics there; ours are kept anyway",
        json_schema_extra=NOT_IDENTITY,
    )
    evaluate_at: list[Share] | None = Field(
        None, description="shares of this run; evaluation.evaluate_at if left out", json_schema_extra=NOT_IDENTITY
    )
    max_attempts: int = Field(
        3, ge=1, description="tries of the job after failures of its own", json_schema_extra=NOT_IDENTITY
    )

    @model_validator(mode="after")
    def _batch_fits(self) -> Run:
        share = self.data_parallel * self.micro_batch
        if self.global_batch % share:
            raise ValueError(
                f"global_batch ({self.global_batch}) must be a multiple of data-parallel ranks x micro_batch"
                f" ({self.data_parallel} x {self.micro_batch} = {share})"
            )
        if self.precision == "bf16" and self.zero_stage == 0:
            raise ValueError(
                "zero_stage 0 in bf16 would train bf16 weights without an fp32 master; stage 1 keeps one, and with one"
                " rank costs the same"
            )
        if isinstance(self.optimizer, Muon) and self.zero_stage not in MUON_STAGES[self.precision]:
            stages = " or ".join(map(str, MUON_STAGES[self.precision]))
            raise ValueError(
                f"muon with ZeRO {self.zero_stage} in {self.precision} is not tested to make its updates orthogonal;"
                f" zero_stage {stages} is"
            )
        if self.attention in SIXTEEN_BITS and self.precision == "fp32":
            raise ValueError(f"attention: {self.attention} computes in 16 bits; the run's precision is fp32")
        if self.sequence_length > self.model.context:
            raise ValueError(
                f"sequence_length ({self.sequence_length}) is longer than the model's context ({self.model.context})"
            )
        return self

    @model_validator(mode="after")
    def _goes_on(self) -> Run:
        if self.parent is not None and self.from_model is not None:
            raise ValueError("a run starts from a parent or from a model folder, not from both")
        if self.first_step >= self.steps:
            raise ValueError(
                f"the run would end at step {self.steps}, but it starts from its parent's step {self.first_step}"
            )
        before = 0
        for first, end in self.skip_samples:
            if not before <= first < end:
                raise ValueError(
                    f"skip_samples must be ascending half-open ranges that do not overlap; [{first}, {end}) is not"
                )
            before = end
        return self

    @property
    def first_step(self) -> int:
        """The step a run starts at: its parent's, where it goes on with everything, else 0."""
        return self.parent.step or 0 if self.parent and self.parent.take == "everything" else 0

    @property
    def ranks(self) -> int:
        return self.nodes * self.ranks_per_node

    @property
    def data_parallel(self) -> int:
        return self.ranks

    @property
    def accumulation(self) -> int:
        """Micro-batches a rank works through for one step."""
        return self.global_batch // (self.micro_batch * self.data_parallel)

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch * self.sequence_length

    def checkpoint_steps(self) -> list[int]:
        """Steps after which a checkpoint is written: the first (what the run starts from), the early ones, the cadence,
        and the last.
        """
        early = [1 << k for k in range(self.early_checkpoints.bit_length()) if 1 << k <= self.early_checkpoints]
        cadence = range(self.checkpoint_every, self.steps + 1, self.checkpoint_every)
        return sorted(
            {self.first_step, self.steps, *(s for s in (*early, *cadence) if self.first_step < s <= self.steps)}
        )

    def kept_steps(self) -> list[int]:
        """Steps whose checkpoints ``keep`` leaves whole by itself: the first, the last, one for every so many steps.
        All, without it.
        """
        steps = self.checkpoint_steps()
        if self.keep is None:
            return steps
        every = self.keep.every
        apart = [step for before, step in pairwise(steps) if before // every != step // every]
        return sorted({steps[0], *apart, steps[-1]})
