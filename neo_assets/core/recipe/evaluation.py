"""The recipe's evaluation section: benchmarks, suites, gates, and when what is asked."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from neo_assets.core.recipe.base import NOT_IDENTITY, Lang, Named, Section, Share, without_nulls
from neo_assets.core.recipe.kinds import or_of_its_own_file
from neo_assets.core.recipe.run import Run

CHAT, CHAT_TASKS = "chat", "chat_tasks"
"""Tasks made of held-out prompts of conversations: ``chat_‹lang›``; and the artifact that holds them."""
BITS_PER_BYTE = "bits_per_byte"
HELDOUT_KINDS = (BITS_PER_BYTE, "next_sentence", "cloze")
"""Tasks made of held-out documents of one language; ``translation_‹from›_‹to›`` is made of two."""


class BenchmarkSection(Section):
    """What every benchmark says, whatever its kind."""

    lang: Lang
    licence: str
    path: str = Field(
        "",
        description="where the data lies: a file or folder, or package:‹package›/‹file›",
        json_schema_extra=NOT_IDENTITY,
    )
    url: str | None = Field(
        None,
        description=(
            "where `neo fetch-benchmarks` gets it: any fsspec URL (s3://, https://, file://,"
            " hf://datasets/‹name›@‹revision›)"
        ),
        json_schema_extra=NOT_IDENTITY,
    )
    shots: int = Field(0, ge=0, description="solved examples before each question")
    decontaminate: bool = Field(
        True,
        description=(
            "keep its items out of the training text; without that, the contamination gate still looks for them"
        ),
    )
    source: str = Field("", description="where the numbers are from", json_schema_extra=NOT_IDENTITY)


class Choice(BenchmarkSection):
    """Questions of one's own: JSON lines with ``question``, ``choices`` and ``answer`` (index)."""

    kind: Literal["choice"]
    metric: Literal["acc", "acc_norm", "acc_bytes"] = "acc_norm"


class Harness(BenchmarkSection):
    """A task (or group of tasks) that lm-eval ships, on data that lies here."""

    kind: Literal["harness"]
    task: str = Field(description="lm-eval's name of it")
    metric: str = Field(
        description="as lm-eval reports it; with its filter where there are several: exact_match,strict-match"
    )
    datasets: list[str] = Field(min_length=1, description="folders below `path`, called as on the hub")
    question_fields: list[str] = Field(description="columns whose text is looked for in training text")


class Code(BenchmarkSection):
    """Programs to be written, run in a sandbox: the share that passes its tests at the first try (pass@1, greedy)."""

    kind: Literal["code"]
    format: Literal["humaneval", "mbpp"]
    max_tokens: int = Field(ge=1, description="of a completion")
    cpu_s: int = Field(ge=1, description="processor seconds of one program")
    memory_mb: int = Field(ge=64)
    packages: list[str] = Field(
        default_factory=list,
        description="installed packages that its tests import; a program in the sandbox sees these and no other",
    )
    task_ids: tuple[int, int] | None = Field(
        None,
        description="first and last id asked, of MBPP, whose file holds its training and validation problems as well",
    )


class Translation(BenchmarkSection):
    """Which of four is the translation? Sentences of the package hsk-sentences-audio."""

    kind: Literal["translation"]
    into: Lang
    items: int = Field(ge=1)
    choices: int = Field(4, ge=2)
    min_chars: int = Field(ge=1, description="of the Chinese sentence")
    seed: int


class Poems(BenchmarkSection):
    """Which line comes next in a classical Chinese poem? Debian's fortunes-zh."""

    kind: Literal["poems"]
    files: list[str] = Field(min_length=1)
    items: int = Field(ge=1)
    choices: int = Field(4, ge=2)
    seed: int


class Arithmetic(BenchmarkSection):
    """Sums made here: exact answer after solved examples."""

    kind: Literal["arithmetic"]
    items: int = Field(ge=1)
    digits: int = Field(ge=1, description="of an operand, at most")
    operators: list[Literal["+", "-", "*"]] = Field(min_length=1)
    seed: int


SHIPPED_BENCHMARKS = ("choice", "harness", "code", "translation", "poems", "arithmetic")
Benchmark = Annotated[
    Annotated[Choice | Harness | Code | Translation | Poems | Arithmetic, Field(discriminator="kind")],
    or_of_its_own_file(BenchmarkSection, SHIPPED_BENCHMARKS, "neo_assets.tasks.benchmarks", "BENCHMARK"),
]
"""One of the shipped kinds, or one that ``neo_assets/tasks/benchmarks/‹kind›.py`` tells."""


class HeldoutItems(Section):
    """Items a language, at most; 0 makes no such task."""

    next_sentence: int = Field(ge=0)
    cloze: int = Field(ge=0)
    translation: int = Field(ge=0, description="from parallel documents; a direction")


class HeldoutTasks(Section):
    """Tasks made from held-out documents: bits per byte, next sentence, missing word, translation."""

    max_documents: int = Field(ge=1, description="documents a language for bits per byte")
    max_document_chars: int = Field(ge=100)
    items: HeldoutItems
    choices: int = Field(4, ge=2)
    min_context_chars: dict[Lang, int]
    max_context_chars: dict[Lang, int]
    min_choice_chars: dict[Lang, int]
    max_choice_chars: dict[Lang, int]
    seed: int


class First(Section):
    """The first items of a task, in the order of their ids, which are random: a quick look under a name of its own."""

    task: str
    first: int = Field(ge=1)

    @property
    def name(self) -> str:
        return f"{self.task}_{self.first}"


def whole_task(name: str, known: Collection[str]) -> str:
    """The task whose items a score of this name is about: itself, or the one whose first items it asks (see
    :class:`First`).
    """
    return name if name in known else re.sub(r"_\d+$", "", name)


Suites = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")], list[str | First]], BeforeValidator(without_nulls)
]


class Reevaluate(Section):
    cron: str = Field(description="when the schedule ticks, in cron form, UTC")
    repeat: bool = Field(description="score again what has a score, as a numbered attempt")
    recent: int = Field(1, ge=0, description="of each run, as many of its newest checkpoints, due or not")
    best: list[str] = Field(
        default_factory=list,
        description=(
            "tasks whose best checkpoint of each run is asked again; every run's last checkpoint, the release"
            " candidate, always is"
        ),
    )


class RegressionGate(Section):
    """No run's last checkpoint may be worse than what it is held against."""

    against: list[Literal["parent", "best", "baseline"]]
    alpha: float = Field(
        gt=0, lt=1, description="chance of calling one unchanged model worse, over all its tasks (Holm)"
    )
    tolerance: float = Field(ge=0, description="losses up to this are let pass, in the task's unit")
    blocking: bool


class ImprovementGate(Section):
    """A run that goes on from another must be worth it."""

    tasks: list[str] = Field(description="tasks that its last checkpoint must be better at than its parent")
    least: float = Field(description="by this share of the parent's score")
    blocking: bool


class ParityGate(Section):
    """The gap between two tasks of two languages may not widen."""

    pairs: list[tuple[str, str]] = Field(description="tasks: English, Chinese")
    max_widening: float = Field(
        ge=0, description="against the run's first evaluated checkpoint, beyond two standard errors, in the task's unit"
    )
    blocking: bool


class ContaminationGate(Section):
    """A score may not rest on items that stand in the training text."""

    max_items: Share = Field(description="share of a task's items found in the training text")
    max_inflation: float = Field(
        ge=0, description="score on all items less score on clean ones, beyond two standard errors, in the task's unit"
    )
    blocking: bool


class SanityGate(Section):
    """Better than chance, and no degenerate text."""

    tasks: list[str] = Field(description="tasks that must be better than chance")
    max_cut: Share = Field(
        description=(
            "of a task's requests, the share that may be longer than the model reads; those are cut from the left, and"
            " have fewer examples than the task says"
        )
    )
    max_repetition: Share = Field(
        description=(
            "of a continuation's 4-grams of tokens, the share that repeats an earlier one, on average over the prompts"
        )
    )
    blocking: bool


class GuessingGate(Section):
    """Without training, a model scores what guessing does; where it does not, the items give something away."""

    alpha: float = Field(
        gt=0,
        lt=1,
        description=(
            "chance of calling a task unfair whose items are not; each task is judged alone, for one test sees little"
            " as it is"
        ),
    )
    blocking: bool


class ForgettingGate(Section):
    """Fine-tuning may cost the model it began from only so much of what that could do."""

    tasks: list[str] = Field(description="bits per byte, or whatever else pre-training is for")
    most: float = Field(ge=0, description="worse by this share of the score before any fine-tuning")
    blocking: bool


class AnswersGate(Section):
    """What every answer of a fine-tuned model must be, whatever was asked: shares of the held-out prompts."""

    least: dict[Literal["stops", "right_language", "well_formed", "exact", "distinct"], Share]
    blocking: bool


class Gates(Section):
    regression: RegressionGate
    improvement: ImprovementGate = ImprovementGate(tasks=[], least=0.0, blocking=False)
    parity: ParityGate
    contamination: ContaminationGate
    guessing: GuessingGate
    sanity: SanityGate
    forgetting: ForgettingGate = ForgettingGate(tasks=[], most=0.0, blocking=False)
    answers: AnswersGate = AnswersGate(least={}, blocking=False)


class Baseline(Section):
    """Somebody else's model, or an earlier one of ours, to be held against: a Hugging Face folder scored with `neo
    eval`.
    """

    path: str = Field(json_schema_extra=NOT_IDENTITY)


class Evaluation(Section):
    evaluate_at: list[float] = Field(
        min_length=1, description="shares of the run, 0 to 1; the nearest checkpoint at or after each is evaluated"
    )
    benchmarks: Named[Benchmark] = Field(default_factory=dict)
    heldout: HeldoutTasks
    suites: Suites = Field(description="tasks by suite")
    evaluated: list[str] = Field(min_length=1, description="suites that every due checkpoint is asked")
    gates: Gates
    baseline: Baseline | None = None
    published: list[str] = Field(
        default_factory=list, description="files with published scores of other models", json_schema_extra=NOT_IDENTITY
    )
    batch_size: int = Field(ge=1)
    device: Literal["cpu", "cuda"]
    dtype: Literal["bf16", "fp32"]
    seed: int
    threads: int = Field(ge=1, json_schema_extra=NOT_IDENTITY)
    samples: dict[Lang, list[str]] = Field(description="prompts that the report shows continuations of")
    sample_tokens: int = Field(ge=1)
    repetition_penalty: float = Field(ge=1, description="of the samples; 1 = none")
    reevaluate: Reevaluate = Field(json_schema_extra=NOT_IDENTITY)

    @field_validator("evaluate_at")
    @classmethod
    def _shares(cls, shares: list[float]) -> list[float]:
        if any(not 0 <= share <= 1 for share in shares):
            raise ValueError("holds shares of the run, between 0 and 1")
        return shares

    @model_validator(mode="after")
    def _suites_are_known(self) -> Evaluation:
        for suite in self.evaluated:
            if suite not in self.suites:
                raise ValueError(f"evaluated names the suite '{suite}'; there are: {', '.join(self.suites)}")
        return self

    def entries(self, suites: list[str] | None = None) -> list[tuple[str, First | str]]:
        """(suite, entry) of these suites, ``evaluated`` if left out."""
        return [
            (suite, entry) for suite in (self.evaluated if suites is None else suites) for entry in self.suites[suite]
        ]

    def named(self) -> list[tuple[str, str]]:
        """(field, task) of every task that suites and gates name, without how many of its items."""
        out = [
            (f"suites.{suite}[{i}]", e if isinstance(e, str) else e.task)
            for suite, entries in self.suites.items()
            for i, e in enumerate(entries)
        ]
        judged = [(f"gates.parity.pairs[{i}]", name) for i, pair in enumerate(self.gates.parity.pairs) for name in pair]
        judged += [(f"gates.sanity.tasks[{i}]", name) for i, name in enumerate(self.gates.sanity.tasks)]
        judged += [(f"gates.forgetting.tasks[{i}]", name) for i, name in enumerate(self.gates.forgetting.tasks)]
        judged += [(f"gates.improvement.tasks[{i}]", name) for i, name in enumerate(self.gates.improvement.tasks)]
        return out + [(where, whole_task(name, self.benchmarks)) for where, name in judged]

    def due(self, run: Run) -> list[int]:
        """Checkpoint steps of ``run`` that are evaluated: at the run's own shares, or at those of the recipe."""
        steps, length = run.checkpoint_steps(), run.steps - run.first_step
        shares = self.evaluate_at if run.evaluate_at is None else run.evaluate_at
        return sorted(
            {
                min((s for s in steps if s >= run.first_step + share * length - 1e-9), default=steps[-1])
                for share in shares
            }
        )


def heldout_languages(name: str) -> list[str] | None:
    """Languages of the held-out documents, or prompts, that a task of this name is made of; None if no such task has
    this name.
    """
    if match := re.fullmatch(rf"(?:{'|'.join((*HELDOUT_KINDS, CHAT))})_([a-z]{{2}})", name):
        return [match[1]]
    match = re.fullmatch(r"translation_([a-z]{2})_([a-z]{2})", name)
    return [match[1], match[2]] if match and match[1] != match[2] else None


def languages_of(task: str, evaluation: Evaluation) -> list[str] | None:
    """Languages that a task is about; None if neither a benchmark nor the held-out documents have it."""
    benchmark = evaluation.benchmarks.get(task)
    return [benchmark.lang] if benchmark else heldout_languages(task)
