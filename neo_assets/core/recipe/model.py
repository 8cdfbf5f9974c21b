"""Recipe sections of the model half: tokenizer, runs, evaluation, compute."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from neo_assets.core.recipe.base import NOT_IDENTITY, Lang, Name, Named, Section


class Tokenizer(Section):
    """SentencePiece BPE. The flags' names are SentencePiece's own."""

    vocab_size: int = Field(ge=300, description="pieces in the .model file")
    character_coverage: float = Field(gt=0, le=1)
    normalization_rule_name: Literal["identity", "nfkc", "nmt_nfkc"]
    remove_extra_whitespaces: bool
    add_dummy_prefix: bool
    split_digits: bool
    byte_fallback: bool
    max_sentencepiece_length: int = Field(ge=1)
    max_sentence_length: int = Field(ge=1, description="bytes; longer training lines are cut there")
    sample_bytes: int = Field(ge=1, description="bytes of text the trainer sees, shared out evenly by language")
    special_tokens: list[str] = Field(description="appended after the pieces, in this order")
    end_of_document: str = Field(description="the special token that ends every document in the stream")
    must_be_lossless: bool = Field(description="decode(encode(x)) == x is a blocking check")


class Model(Section):
    """The Llama block: RMSNorm, SwiGLU, RoPE, no biases, untied embeddings."""

    layers: int = Field(ge=1)
    hidden: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    ffn: int = Field(ge=1, description="width of each SwiGLU branch")
    context: int = Field(ge=2, description="positions")
    rope_theta: float = Field(gt=0)
    norm_eps: float = Field(gt=0)
    init_std: float = Field(gt=0)
    vocab_multiple: int = Field(ge=1, description="embedding rows are rounded up to a multiple of this")

    @model_validator(mode="after")
    def _heads_fit(self) -> Model:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads ({self.kv_heads}) must divide heads ({self.heads})")
        if self.head_dim % 2:
            raise ValueError(f"head_dim ({self.head_dim}) must be even for rotary embeddings")
        return self

    def vocab_rows(self, tokens: int) -> int:
        """Embedding rows for a tokenizer of ``tokens`` ids."""
        return math.ceil(tokens / self.vocab_multiple) * self.vocab_multiple

    def parameters(self, vocab_rows: int) -> int:
        """Trainable parameters, embeddings (input and output) included."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        block = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        return 2 * vocab_rows * self.hidden + self.layers * block + self.hidden


class CosineSchedule(Section):
    """Linear warm-up, then a cosine to ``min_lr`` at ``decay_steps``, then constant."""

    kind: Literal["cosine"]
    peak_lr: float = Field(gt=0)
    min_lr: float = Field(ge=0)
    warmup_start_lr: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    decay_steps: int = Field(ge=1, description="step at which the cosine reaches min_lr; the run may be longer or shorter")


class Optimizer(Section):
    """AdamW."""

    beta1: float = Field(gt=0, lt=1)
    beta2: float = Field(gt=0, lt=1)
    eps: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    grad_clip: float = Field(gt=0)


class Run(Section):
    """One training run."""

    phase: Name = Field(description="which mixture it reads")
    model: Model
    sequence_length: int = Field(ge=2, description="tokens")
    global_batch: int = Field(ge=1, description="sequences a step")
    micro_batch: int = Field(ge=1, description="sequences a rank holds at once")
    steps: int = Field(ge=1)
    schedule: CosineSchedule
    optimizer: Optimizer
    precision: Literal["bf16", "fp32"]
    zero_stage: Literal[0, 1, 2, 3]
    nodes: int = Field(1, ge=1)
    ranks_per_node: int = Field(ge=1, description="GPUs, or CPU processes")
    threads_per_rank: int = Field(ge=1)
    tensor_parallel: int = Field(1, ge=1, description="ranks that share one copy of the model; only 1 can be run today")
    seed: int
    checkpoint_every: int = Field(ge=1, description="steps")
    max_attempts: int = Field(3, ge=1, description="tries of the job after failures of its own", json_schema_extra=NOT_IDENTITY)

    @model_validator(mode="after")
    def _batch_fits(self) -> Run:
        share = self.data_parallel * self.micro_batch
        if self.ranks % self.tensor_parallel:
            raise ValueError(f"tensor_parallel ({self.tensor_parallel}) must divide the {self.ranks} ranks")
        if self.global_batch % share:
            raise ValueError(f"global_batch ({self.global_batch}) must be a multiple of data-parallel ranks x micro_batch ({self.data_parallel} x {self.micro_batch} = {share})")
        if self.sequence_length > self.model.context:
            raise ValueError(f"sequence_length ({self.sequence_length}) is longer than the model's context ({self.model.context})")
        return self

    @property
    def ranks(self) -> int:
        return self.nodes * self.ranks_per_node

    @property
    def data_parallel(self) -> int:
        return self.ranks // self.tensor_parallel

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch * self.sequence_length

    def checkpoint_steps(self) -> list[int]:
        """Steps after which a checkpoint is written: 0 (the untrained model), the cadence, and the last one."""
        return sorted({0, *range(self.checkpoint_every, self.steps + 1, self.checkpoint_every), self.steps})


class Benchmark(Section):
    """A multiple-choice benchmark: JSON lines with ``question``, ``choices`` and ``answer`` (index)."""

    path: str = Field(json_schema_extra=NOT_IDENTITY)
    lang: Lang
    licence: str


class HeldoutTasks(Section):
    """Tasks made from held-out documents: bits per byte, and which of four sentences comes next."""

    max_documents: int = Field(ge=1, description="documents a language for bits per byte")
    max_document_chars: int = Field(ge=100)
    cloze_items: int = Field(ge=1, description="items a language")
    choices: int = Field(4, ge=2)
    min_context_chars: dict[Lang, int]
    max_context_chars: dict[Lang, int]
    min_choice_chars: dict[Lang, int]
    max_choice_chars: dict[Lang, int]
    seed: int


class Reevaluate(Section):
    cron: str = Field(description="when the schedule ticks, in cron form, UTC")
    repeat: bool = Field(description="score again what has a score, as a numbered attempt")


class Evaluation(Section):
    evaluate_at: list[float] = Field(min_length=1, description="shares of the run, 0 to 1; the nearest checkpoint at or after each is evaluated")
    benchmarks: Named[Benchmark] = Field(default_factory=dict)
    heldout: HeldoutTasks
    batch_size: int = Field(ge=1)
    device: Literal["cpu", "cuda"]
    dtype: Literal["bf16", "fp32"]
    seed: int
    threads: int = Field(ge=1, json_schema_extra=NOT_IDENTITY)
    samples: dict[Lang, list[str]] = Field(description="prompts that the report shows continuations of")
    sample_tokens: int = Field(ge=1)
    repetition_penalty: float = Field(ge=1, description="of the samples; 1 = none")
    reevaluate: Reevaluate = Field(json_schema_extra=NOT_IDENTITY)

    @model_validator(mode="after")
    def _shares(self) -> Evaluation:
        if any(not 0 <= share <= 1 for share in self.evaluate_at):
            raise ValueError("evaluate_at holds shares of the run, between 0 and 1")
        return self

    def due(self, run: Run) -> list[int]:
        """Checkpoint steps of ``run`` that are evaluated."""
        steps = run.checkpoint_steps()
        return sorted({min((s for s in steps if s >= share * run.steps - 1e-9), default=steps[-1]) for share in self.evaluate_at})


class Compute(Section):
    """Where jobs run. Changes no result."""

    backend: Literal["local", "slurm", "kubernetes"]
    workers: int = Field(ge=1, description="processes for shard-parallel data work")
    partition: str | None = None
    account: str | None = None
    time_limit: str | None = Field(None, description="Slurm's D-HH:MM:SS")
