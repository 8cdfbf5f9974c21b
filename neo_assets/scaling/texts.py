"""How well a series predicts held-out text, and how well the main run will: the recipe's law, through bits per byte.

``text_losses/series`` and ``text_losses/target`` ask the recipe's tasks of every checkpoint of the series, and of the
last one of the run that is foretold. The same law as the loss's is fitted to each task by itself: text that nothing is
trained on has another floor than the training text, so one cannot be told from the other by a factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.evaluation import Evaluation
from neo_assets.core.recipe.run import Parent, Run
from neo_assets.core.recipe.scaling import Scaling
from neo_assets.core.scalars import whole
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.runs.job import checkpoint_folders, start_from
from neo_assets.runs.job_stage import THREADS, Aside
from neo_assets.scaling.laws import LAWS, Fit, fit, intervals, quality
from neo_assets.scaling.readings import Reading, columns, parameters_of
from neo_assets.tokenizer.train import hf_folder
from training.text_losses import FILE, ROWS, TASKS, TOKENIZER, Measured, TextLossConfig

PROGRAM = "training.text_losses"
STAGE = "text_losses"
OF_SERIES, OF_TARGET = f"{STAGE}/series", f"{STAGE}/target"


class TextLossesInput(Section):
    """``last_only``: the last checkpoint of each run alone, and not those before it, of which only those after
    ``beyond_tokens`` are asked.
    """

    runs: dict[str, Run]
    rows: int = Field(ge=1, description="of the embedding table")
    tasks: list[str]
    last_only: bool
    beyond_tokens: int
    batch_size: int
    device: str
    dtype: str
    seed: int


def text_losses_input(
    settings: Scaling, evaluation: Evaluation, runs: Mapping[str, Run], rows: int, last_only: bool
) -> TextLossesInput:
    return TextLossesInput(
        runs=dict(runs),
        rows=rows,
        tasks=settings.tasks,
        last_only=last_only,
        beyond_tokens=settings.beyond_tokens,
        batch_size=evaluation.batch_size,
        device=evaluation.device,
        dtype=evaluation.dtype,
        seed=evaluation.seed,
    )


def measure_texts(config: TextLossesInput, inputs: Mapping[str, Artifact], out: Workspace, aside: Aside) -> Outcome:
    """Bits per byte of held-out documents at the checkpoints of these runs: the tasks and the code that scores have,
    so the same numbers.
    """
    measured = [one for name, run in config.runs.items() for one in _checkpoints(config, name, inputs, aside)]
    told = TextLossConfig.model_validate(
        {
            "measured": measured, "vocab_rows": config.rows, "tasks": config.tasks, "batch_size": config.batch_size,
            "device": config.device, "dtype": config.dtype, "threads": THREADS, "seed": config.seed,
        }
    )  # fmt: skip
    given = {TOKENIZER: hf_folder(inputs["tokenizer"]), TASKS: inputs["heldout_tasks"].path}
    aside.run(PROGRAM, told.model_dump(), given, out)
    table = records.read_table(out.path / FILE, ROWS)
    wanted = len(measured) * len(config.tasks)
    return Outcome(
        digest=digest_file(out.path / FILE),
        rows_in=table.num_rows,
        rows_kept=table.num_rows,
        numbers={"checkpoints": len(measured), "tasks": len(config.tasks)},
        tables={
            "bits per byte": [{**row, "bits_per_byte": round(row["bits_per_byte"], 5)} for row in table.to_pylist()]
        },
        checks=[
            Check(
                name="every_checkpoint_measured",
                passed=table.num_rows == wanted > 0,
                detail=f"{table.num_rows} of {wanted} numbers: {len(measured)} checkpoints, {len(config.tasks)} tasks",
            )
        ],
    )


def _checkpoints(config: TextLossesInput, name: str, inputs: Mapping[str, Artifact], aside: Aside) -> list[Measured]:
    run, trained = config.runs[name], inputs[f"pretraining/{name}"]
    out = []
    for folder in checkpoint_folders(aside.store, name, run, trained.fingerprint):
        numbers = aside.store.require(f"checkpoint/{name}", folder.name).manifest.numbers
        step, tokens = whole(numbers["step"]), whole(numbers["trained_tokens"])
        early = step == run.first_step or tokens < config.beyond_tokens
        if step == run.steps or not (early or config.last_only):
            start = start_from(Parent.model_validate({"run": name, "step": step}), name, inputs, aside.store)
            out.append(Measured(run=name, start=start, tokens=tokens, model=run.model))
    return out


@dataclass(frozen=True)
class Text:
    """A law through one task's bits per byte, fitted to all sizes; and how far off it is on those held out, when it is
    fitted without them.
    """

    task: str
    readings: list[Reading]
    fitted: Fit
    held_out: float | None


def read_text_losses(
    made: Artifact, runs: Mapping[str, Run], rows: int, tasks: Sequence[str], beyond: int = 0
) -> dict[str, list[Reading]]:
    """By task, what each checkpoint scored, in the order of steps; its error is over documents."""
    out: dict[str, list[Reading]] = {task: [] for task in tasks}
    for row in records.read_table(made.file(FILE), ROWS).to_pylist():
        if row["tokens"] >= beyond:
            without, total = parameters_of(runs[row["run"]], rows)
            value, error = float(row["bits_per_byte"]), float(row["stderr"] or 0.0)
            out[row["task"]].append(Reading(row["run"], without, total, row["tokens"], value, error, steps=0))
    return out


def fit_texts(settings: Scaling, readings: Mapping[str, Sequence[Reading]]) -> list[Text]:
    """The recipe's law through each task's readings. Raises BadInput where they do not say what its constants are."""
    law = LAWS[settings.law]
    out = []
    for task, mine in readings.items():
        inner = [r for r in mine if r.run not in settings.held_out]
        outer = [r for r in mine if r.run in settings.held_out]
        try:
            fitted = fit(law, *columns(list(mine), settings.count))
            within = fit(law, *columns(inner, settings.count)) if outer else fitted
        except ValueError as error:
            raise BadInput(
                f"scaling.tasks: the law '{settings.law}' cannot be fitted to {len(mine)} scores of {task}: {error};"
                " a larger scaling.checkpoints gives more"
            ) from error
        held = quality(within, *columns(outer, settings.count))["largest_error"] if outer else None
        out.append(Text(task, list(mine), fitted, held))
    return out


def foretell_texts(settings: Scaling, texts: Sequence[Text], parameters: float, tokens: float) -> list[Row]:
    """What a model of so many parameters will score after so many tokens, with intervals; a row a task."""
    rows: list[Row] = []
    for text in texts:
        points = columns(text.readings, settings.count)
        ((low, high),) = intervals(
            text.fitted, points, [(parameters, tokens)], settings.rounds, settings.level, settings.seed
        )
        held = None if text.held_out is None else round(text.held_out, 5)
        told = float(text.fitted.predict(parameters, tokens))
        rows.append(
            {
                "task": text.task, "tokens": round(tokens), "foretold": round(told, 5), "low": round(low, 5),
                "high": round(high, 5), "fitted to": len(text.readings), "held out, largest error": held,
            }
        )  # fmt: skip
    return rows


def compare_texts(told: Sequence[Mapping[str, object]], reached: Mapping[str, Sequence[Reading]]) -> list[Row]:
    """What was foretold beside what the run's last checkpoint scored; a row a task that both have."""
    rows: list[Row] = []
    for row in told:
        if not (mine := reached.get(str(row["task"]))):
            continue
        foretold, low, high = (float(str(row[name])) for name in ("foretold", "low", "high"))
        value = mine[-1].loss
        rows.append(
            {
                "task": str(row["task"]), "tokens": mine[-1].tokens, "foretold": foretold, "low": low, "high": high,
                "reached": round(value, 5), "± over documents": round(mine[-1].error, 5),
                "off by": round(foretold / value - 1, 5), "within the interval": low <= value <= high,
            }
        )  # fmt: skip
    return rows
