"""Recipe sections of the model half, runs aside: tokenizer, evaluation, compute."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neo_assets.core.recipe.base import NOT_IDENTITY, Lang, Named, Section
from neo_assets.core.recipe.run import Run


class Tokenizer(Section):
    """SentencePiece BPE. The flags' names are SentencePiece's own."""

    from_model: str | None = Field(
        None, description="a SentencePiece .model file, or a folder with tokenizer.model, that is taken instead of training one; its content counts", json_schema_extra=NOT_IDENTITY
    )
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
        """Checkpoint steps of ``run`` that are evaluated: at the run's own shares, or at those of the recipe."""
        steps, length = run.checkpoint_steps(), run.steps - run.first_step
        shares = self.evaluate_at if run.evaluate_at is None else run.evaluate_at
        return sorted({min((s for s in steps if s >= run.first_step + share * length - 1e-9), default=steps[-1]) for share in shares})


class Compute(Section):
    """Where jobs run. Changes no result."""

    backend: Literal["local", "slurm", "kubernetes"]
    workers: int = Field(ge=1, description="processes for shard-parallel data work")
    partition: str | None = None
    account: str | None = None
    time_limit: str | None = Field(None, description="Slurm's D-HH:MM:SS")
    warn_s: int = Field(120, ge=1, description="seconds before the time limit at which a job saves, ends and queues again; at least as long as a save takes")
    memory: str | None = Field(None, description="of a node: Slurm's --mem (64G), Kubernetes' quantity (64Gi)")
    gpus_per_node: int | None = Field(None, ge=1)
    sbatch_options: list[str] = Field(default_factory=list, description="more options for sbatch, as they are")
    setup: list[str] = Field(default_factory=list, description="shell lines a batch script runs first: module load …")
    image: str | None = Field(None, description="Kubernetes: container image with this project installed")
    volume_claim: str | None = Field(None, description="Kubernetes: ReadWriteMany claim that holds the store")
    namespace: str = Field("default", description="Kubernetes")
    gpu_hour_cost: float | None = Field(None, ge=0, description="of one GPU (or, without GPUs, one rank), in the currency below; for plans and reports")
    currency: str = "EUR"
