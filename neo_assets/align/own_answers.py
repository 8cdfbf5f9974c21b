"""``generations/‹run›``: what a model answers before it learns which of its answers are better;
``round_answers/‹run›``: what it answers to held-out prompts before and after, and how far it has moved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from neo_assets.align.refused import refuse_after_collapse
from neo_assets.align.sets import FILE, HELD_OUT_FILE
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.align import Generated, Guards
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.run import Model, Parent
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.declare import Making
from neo_assets.runs.job import start_from
from neo_assets.runs.job_stage import THREADS, Aside, JobStage
from neo_assets.runs.plan import ids
from neo_assets.tokenizer.train import hf_folder
from training.answering import (
    AFTER,
    ANSWERS,
    BEFORE,
    ENGINE,
    TEXT,
    TEXTS,
    TOKENIZER,
    AnsweringConfig,
    Asking,
    Texts,
    named_set,
)
from training.answering import FILE as ANSWERS_FILE
from training.spec import Start

PROGRAM = "training.answering"
SETS = ("instructions/", "preferences/")


class Spoken(Section):
    """How a run's models speak, whatever they are asked."""

    run: str
    parent: Parent
    model: Model
    vocab_rows: int
    template: str
    repetition_penalty: float
    dtype: str


class GenerationsInput(Section):
    spoken: Spoken
    asking: Asking


class RoundAnswersInput(Section):
    spoken: Spoken
    asking: Asking
    texts: Texts


def spoken(recipe: Recipe, name: str) -> Spoken:
    run = recipe.runs[name]
    assert run.parent is not None and recipe.align is not None
    return Spoken(
        run=name,
        parent=run.parent,
        model=run.model,
        vocab_rows=run.model.vocab_rows(ids(recipe.tokenizer)),
        template=recipe.align.template,
        repetition_penalty=recipe.align.repetition_penalty,
        dtype=recipe.evaluation.dtype,
    )


def asking_again(told: Generated) -> Asking:
    """What is asked of conversations that are trained on."""
    return Asking(
        file=FILE,
        shares=told.prompts,
        samples=told.samples,
        temperature=told.temperature,
        max_tokens=told.max_tokens,
        batch_size=told.batch_size,
        seed=told.seed,
        engine=told.engine,
    )


def asking_held_out(told: Guards) -> tuple[Asking, Texts]:
    """What is asked of prompts that nothing is trained on, and held-out text."""
    asking = Asking(
        file=HELD_OUT_FILE,
        shares=dict.fromkeys(told.prompts, 1.0),
        items=told.items,
        max_tokens=told.max_tokens,
        batch_size=told.batch_size,
        seed=told.seed,
    )
    return asking, Texts(documents=told.documents, characters=told.document_chars)


def generations(
    config: GenerationsInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> Outcome:
    """Several answers to each prompt, drawn from the model that a run starts from, with the set's own answer beside
    them; each one's chances depend on prompt, sample and seed alone.
    """
    speaks = config.spoken
    models = {BEFORE: start_from(speaks.parent, speaks.run, inputs, aside.store)}
    _answer(speaks, models, config.asking, None, inputs, out, aside)
    rows = records.read_table(out.path / ANSWERS_FILE, ANSWERS)
    prompts = prompts_of(rows)
    by_set: dict[tuple[str, str], list[dict[str, float]]] = {}
    for row in rows.select(["set", "lang", "stops", "overlap", "tokens"]).to_pylist():
        by_set.setdefault((row["set"], row["lang"]), []).append(row)
    return Outcome(
        digest=digest_file(out.path / ANSWERS_FILE),
        rows_in=rows.num_rows,
        rows_kept=rows.num_rows,
        numbers={"prompts": prompts, "answers": rows.num_rows, "drawn_by": drawn_by(out)},
        tables={
            "by set": [
                {
                    "set": name,
                    "language": lang,
                    "answers": len(found),
                    **{of: round(sum(r[of] for r in found) / len(found), 4) for of in ("stops", "overlap", "tokens")},
                }
                for (name, lang), found in sorted(by_set.items())
            ]
        },
        checks=[
            Check(
                name="every_prompt",
                passed=bool(prompts) and rows.num_rows == prompts * config.asking.samples,
                detail=f"{rows.num_rows} answers to {prompts} prompts, {config.asking.samples} to each",
            )
        ],
    )


def drawn_by(out: Workspace) -> str:
    """The library that drew the answers, with its version."""
    return str(json.loads((out.path / ENGINE).read_text(encoding="utf-8"))["engine"])


def prompts_of(answers: pa.Table) -> int:
    """How many prompts were asked; one that two sets hold was asked for each."""
    return int(answers.group_by(["set", "prompt_id"]).aggregate([]).num_rows)


def round_answers(
    config: RoundAnswersInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> Outcome:
    """What a model answers to held-out prompts before and after it has learnt preferences, as `neo chat` would; how far
    it has moved along its own answers; and how likely each finds held-out text.
    """
    speaks = config.spoken
    models = {
        BEFORE: start_from(speaks.parent, speaks.run, inputs, aside.store),
        AFTER: start_from(Parent.model_validate({"run": speaks.run}), speaks.run, inputs, aside.store),
    }
    _answer(speaks, models, config.asking, config.texts, inputs, out, aside)
    rows = records.read_table(out.path / ANSWERS_FILE, ANSWERS).num_rows
    return Outcome(
        digest=digest_json([digest_file(out.path / ANSWERS_FILE), digest_file(out.path / TEXTS)]),
        rows_in=rows,
        rows_kept=rows,
        numbers={"prompts": rows // 2},
        checks=[Check(name="something_to_ask", passed=rows > 0, detail=f"{rows // 2} held-out prompts")],
    )


def _answer(
    speaks: Spoken,
    models: Mapping[str, Start],
    asking: Asking,
    texts: Texts | None,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> None:
    """Have a job ask the models; its tables are taken into ``out``."""
    told = AnsweringConfig(
        models=dict(models),
        model=speaks.model,
        vocab_rows=speaks.vocab_rows,
        template=speaks.template,
        repetition_penalty=speaks.repetition_penalty,
        asking=asking,
        texts=texts,
        threads=THREADS,
        dtype=speaks.dtype,
    )
    given = {TOKENIZER: hf_folder(inputs["tokenizer"])}
    sets = {key.partition("/")[2]: made for key, made in inputs.items() if key.startswith(SETS)}
    given |= {named_set(name): sets[name].path for name in asking.shares}
    given |= {TEXT: inputs[TEXT].path} if texts else {}
    aside.run(PROGRAM, told.model_dump(), given, out)


@dataclass(frozen=True)
class Generations(JobStage[GenerationsInput]):
    """Not asked of a model whose own round was refused."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        refuse_after_collapse(at.recipe, at.store, self.config.spoken.run)
        return super().make(at, out)
