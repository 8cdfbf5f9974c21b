"""Recipe sections of the model half: tokenizer and compute. Runs and evaluation have files of their own."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from neo_assets.core.errors import did_you_mean
from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.recipe.kinds import module_telling


class Tokenizer(Section):
    """SentencePiece BPE. The flags' names are SentencePiece's own."""

    from_model: str | None = Field(
        None,
        description=(
            "a SentencePiece .model file, or a folder with tokenizer.model, that is taken instead of training one; its"
            " content counts"
        ),
        json_schema_extra=NOT_IDENTITY,
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


SHIPPED_BACKENDS = ("local", "slurm", "kubernetes")


class DataEngine(Section):
    """Where work over many files is done (``neo_assets/core/shards.py``). Changes no result."""

    engine: Literal["local", "slurm", "ray"] = Field(
        "local", description="processes of this machine (`workers`), an array of Slurm jobs, or tasks of a Ray cluster"
    )
    at_least_mb: int | None = Field(
        None,
        ge=0,
        description=(
            "megabytes of input from which work goes to several processes (8 if left out), or becomes a job (64)"
        ),
    )
    tasks: int = Field(64, ge=1, description="of a job, at most; each takes its share of the files")
    cpus: int = Field(1, ge=1, description="of a task: so many of its files are worked on at the same time")
    memory: str = Field("8G", description="of a task: Slurm's --mem; what a process needs is in docs/scale.md")
    minutes_per_task: int | None = Field(
        None, ge=2, description="time limit of a task, which queues again for what is left; none: the partition's"
    )
    partition: str | None = Field(None, description="Slurm: the one of `compute` if left out")
    attempts: int = Field(
        3, ge=1, description="how often what failed is tried, each time by itself, before the stage fails"
    )
    core_hour_cost: float | None = Field(None, ge=0, description="of one process, in the currency of `compute`")
    address: str | None = Field(
        None,
        description=(
            "Ray: of the cluster's dashboard, http://host:8265; RAY_API_SERVER_ADDRESS, or this machine, if left out"
        ),
    )


class Compute(Section):
    """Where jobs run. Changes no result."""

    backend: str = Field(description="local, slurm, kubernetes, or a file of resources/compute with a BACKEND in it")
    backend_options: dict[str, str] = Field(
        default_factory=dict, description="for a backend that is a file of its own: what it reads"
    )
    workers: int = Field(ge=1, description="processes of this machine for work over many files")
    data: DataEngine = Field(default_factory=lambda: DataEngine.model_validate({}))
    partition: str | None = None
    account: str | None = None
    time_limit: str | None = Field(None, description="Slurm's D-HH:MM:SS, in quotes")
    warn_s: int = Field(
        120,
        ge=1,
        description=(
            "seconds before the time limit at which a job saves, ends and queues again; at least as long as a save"
            " takes"
        ),
    )
    memory: str | None = Field(None, description="of a node: Slurm's --mem (64G), Kubernetes' quantity (64Gi)")
    gpus_per_node: int | None = Field(None, ge=1)
    sbatch_options: list[str] = Field(default_factory=list, description="more options for sbatch, as they are")
    setup: list[str] = Field(default_factory=list, description="shell lines a batch script runs first: module load …")
    image: str | None = Field(None, description="Kubernetes: container image with this project installed")
    volume_claim: str | None = Field(None, description="Kubernetes: ReadWriteMany claim that holds the store")
    mount: str = Field(
        "/shared", description="Kubernetes: where a container has the claim; the claim's root is the store's"
    )
    context: str | None = Field(
        None, description="Kubernetes: which of the kubeconfig's clusters; its current one if left out"
    )
    namespace: str = Field("default", description="Kubernetes")
    gpu_tflops: float | None = Field(
        None, gt=0, description="TFLOP/s that a GPU sustains in training, for plans; an H800 in the paper: 337"
    )
    gpu_hour_cost: float | None = Field(
        None, ge=0, description="of one GPU (or, without GPUs, one rank), in the currency below; for plans and reports"
    )
    currency: str = "EUR"

    @field_validator("backend")
    @classmethod
    def _is_there(cls, name: str) -> str:
        if name not in SHIPPED_BACKENDS and module_telling("resources.compute", name, "BACKEND") is None:
            raise ValueError(
                f"there is no backend of that name.{did_you_mean(name, SHIPPED_BACKENDS)} Shipped are"
                f" {', '.join(SHIPPED_BACKENDS)}; another is a file resources/compute/{name}.py with a BACKEND in it"
            )
        return name

    @field_validator("time_limit", mode="before")
    @classmethod
    def _a_time_of_slurms(cls, value: object) -> object:
        if isinstance(value, int):
            spelled = f"{value // 3600}:{value // 60 % 60:02d}:{value % 60:02d}"
            raise ValueError(
                f'YAML reads 1:30 without quotes as a number, here {value}: put it in quotes, "{spelled}", or "{value}"'
                " if that many minutes are meant"
            )
        if isinstance(value, str) and not re.fullmatch(
            r"(\d+-)?\d+(:[0-5]?\d){0,2}|UNLIMITED|INFINITE", value, re.IGNORECASE
        ):
            raise ValueError(f"{value!r} is no time of Slurm's: minutes, HH:MM:SS, D-HH:MM:SS or UNLIMITED")
        return value
