"""``reward_model/‹run›``: the last checkpoint of a reward model as a Hugging Face folder; ``reward_report/‹run›``: how
well it tells the better of two held-out answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from neo_assets.align.reward_numbers import Accuracy, accuracy, calibration, calibration_error, log_loss
from neo_assets.align.sets import HELD_OUT_FILE, PREFERENCE
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe.align import Reward
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.run import Run
from neo_assets.core.store import Artifact, Check, Outcome, Row, Store, Workspace
from neo_assets.core.trainings import trained_run
from neo_assets.declare import AttendedStage, Making
from neo_assets.pages.charts import Line, Point, curves, write_picture
from neo_assets.runs.export import EXPORT_THREADS, ExportInput, export_model, run_to_end, take
from resources.compute.base import Compute
from training.rewarding import FILE, MODEL, REWARDS, RewardingConfig
from training.spec import checkpoint_name

KEY, PROGRAM = "reward_model", "training.rewarding"
BATCH = 16
"""Answers of one length that are asked about at once."""
CHOSEN, REJECTED = "chosen", "rejected"


class RewardModelInput(Section):
    export: ExportInput
    last_step: int


class RewardReportInput(Section):
    run: str
    settings: Reward
    sets: list[str]


def exported_reward_model(
    config: RewardModelInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    fingerprint: str,
    store: Store,
    jobs: Compute,
) -> Outcome:
    """The last checkpoint of a reward model as a Hugging Face folder, which loads with transformers alone as
    ``LlamaForSequenceClassification``: one number of a whole conversation.
    """
    run = config.export.run
    (trained,) = (made for name, made in inputs.items() if trained_run(name) == run)
    checkpoint = store.require(f"checkpoint/{run}", checkpoint_name(config.last_step, trained.fingerprint))
    given = {f"checkpoint/{run}": checkpoint, "tokenizer": inputs["tokenizer"]}
    return export_model(config.export, given, out, fingerprint=fingerprint, store=store, jobs=jobs, key=KEY)


def reward_report(
    config: RewardReportInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    fingerprint: str,
    store: Store,
    jobs: Compute,
) -> Outcome:
    """Rewards of both answers of every held-out pair: how often the better one gets the higher, how far its confidence
    can be believed, and what "the longer one is better" would have got.
    """
    sets = {f"preferences/{name}": inputs[f"preferences/{name}"] for name in config.sets}
    model = inputs[f"{KEY}/{config.run}"]
    given = {
        MODEL: store.relative(model.path),
        **{n.partition("/")[2]: store.relative(m.path) for n, m in sets.items()},
    }
    score_answers(
        HELD_OUT_FILE,
        "pair_id",
        [CHOSEN, REJECTED],
        given,
        f"reward_report/{config.run}",
        fingerprint,
        store,
        jobs,
        out,
    )
    pairs = _pairs(out.path / FILE, {n.partition("/")[2]: made for n, made in sets.items()})
    return _report(config, pairs, out)


def score_answers(
    file: str,
    key: str,
    answers: Sequence[str],
    given: Mapping[str, str],
    title: str,
    fingerprint: str,
    store: Store,
    jobs: Compute,
    out: Workspace,
) -> None:
    """Have a job reward every answer in these folders' tables; its table is taken into ``out``."""
    told = RewardingConfig(file=file, id=key, answers=list(answers), batch_size=BATCH, threads=EXPORT_THREADS)
    spec = JobSpec(
        work_fingerprint=fingerprint,
        title=title,
        program=PROGRAM,
        **claimed(PROGRAM),
        max_attempts=2,
        threads_per_rank=EXPORT_THREADS,
        config=told.model_dump(),
        inputs=dict(given),
        out=f"jobs/{fingerprint}/out",
        makes=[f"{title}/{fingerprint}"],
    )
    run_to_end(jobs, spec)
    take(store.root / spec.out, out)


@dataclass(frozen=True)
class Judged:
    """A held-out pair: rewards, and tokens of prompt and answer, the better answer's first."""

    name: str
    lang: str
    prompt: str
    rewards: tuple[float, float]
    tokens: tuple[int, int]

    @property
    def margin(self) -> float:
        return self.rewards[0] - self.rewards[1]


def _pairs(file: Path, sets: Mapping[str, Artifact]) -> list[Judged]:
    """Pairs of which both answers fit into the model."""
    held = {
        (name, row["pair_id"]): row
        for name, made in sets.items()
        for row in records.read_table(made.file(HELD_OUT_FILE), PREFERENCE).to_pylist()
    }
    both: dict[tuple[str, str], dict[str, tuple[float | None, int]]] = {}
    for row in records.read_table(file, REWARDS).to_pylist():
        both.setdefault((row["set"], row["id"]), {})[row["answer"]] = (row["reward"], row["tokens"])
    out = []
    for (name, key), sides in sorted(both.items()):
        (better, long), (worse, short) = sides[CHOSEN], sides[REJECTED]
        if better is not None and worse is not None:
            row = held[name, key]
            asked = digest_json([[t["role"], t["text"]] for t in row["prompt"]])
            out.append(Judged(name, row["lang"], asked, (better, worse), (long, short)))
    return out


def _of(pairs: Sequence[Judged], margins: Sequence[float]) -> Accuracy:
    return accuracy(np.array(margins, np.float64), [pair.prompt for pair in pairs])


def _report(config: RewardReportInput, pairs: Sequence[Judged], out: Workspace) -> Outcome:
    if not pairs:
        nothing = Check(name="accurate", passed=False, detail="no pair is held out: see held_out of the sets")
        return Outcome(digest=digest_file(out.path / FILE), numbers={"pairs": 0}, checks=[nothing])
    margins = np.array([pair.margin for pair in pairs], np.float64)
    lengths = [pair.tokens[0] - pair.tokens[1] for pair in pairs]
    found, longer = _of(pairs, margins.tolist()), _of(pairs, lengths)
    bins = calibration(margins, config.settings.bins)
    error, nats = calibration_error(bins), log_loss(margins)
    points = Line([Point(b.sure, b.right) for b in bins], "held-out pairs")
    true = Line([Point(0.5, 0.5), Point(1.0, 1.0)], "as sure as it is right", dotted=True)
    write_picture(curves("how often it is right", [points, true], "how sure it is"), out.path / "calibration.svg")
    numbers = {
        "pairs": found.n,
        "accuracy": round(found.value, 4),
        "accuracy_low": round(found.low, 4),
        "accuracy_high": round(found.high, 4),
        "longer_is_better": round(longer.value, 4),
        "log_loss": round(nats, 4),
        "calibration_error": round(error, 4),
    }
    told = {**numbers, "bins": [asdict(b) for b in bins]}
    out.write_text("report.json", json.dumps(told, indent=1))
    groups = sorted({(pair.name, pair.lang) for pair in pairs})
    by_set = [_row(name, lang, [p for p in pairs if (p.name, p.lang) == (name, lang)]) for name, lang in groups]
    words = f"{found.value:.1%} of {found.n} held-out pairs (95 %: {found.low:.1%} to {found.high:.1%})"
    least = config.settings.least_accuracy
    return Outcome(
        digest=digest_json([digest_file(out.path / FILE), told]),
        numbers=dict(numbers),
        tables={
            "by set": by_set,
            "calibration": [
                {"pairs": b.n, "as sure as": round(b.sure, 4), "as often right": round(b.right, 4)} for b in bins
            ],
        },
        pictures={"calibration": "calibration.svg"},
        checks=[
            Check(name="accurate", passed=found.value >= least, detail=f"{words}; the recipe asks for {least:.0%}"),
            Check(
                name="more_than_length",
                passed=found.low > longer.value,
                detail=f"{words}; the longer answer is the better one of {longer.value:.1%}",
                blocking=False,
            ),
        ],
    )


def _row(name: str, lang: str, pairs: Sequence[Judged]) -> Row:
    found = _of(pairs, [pair.margin for pair in pairs])
    return {
        "set": name,
        "language": lang,
        "pairs": found.n,
        "accuracy": round(found.value, 4),
        "from": round(found.low, 4),
        "to": round(found.high, 4),
        "the longer is better": round(_of(pairs, [p.tokens[0] - p.tokens[1] for p in pairs]).value, 4),
    }


@dataclass(frozen=True)
class RewardModel(AttendedStage[RewardModelInput]):
    """Asked of the compute backend."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        fingerprint = self.made_from(at.inputs).fingerprint
        return exported_reward_model(
            self.config, at.inputs, out, fingerprint=fingerprint, store=at.store, jobs=at.compute
        )


@dataclass(frozen=True)
class RewardReport(AttendedStage[RewardReportInput]):
    """Asked of the compute backend."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        fingerprint = self.made_from(at.inputs).fingerprint
        return reward_report(self.config, at.inputs, out, fingerprint=fingerprint, store=at.store, jobs=at.compute)


def reward_export(run: str, told: Run, rows: int, template: str) -> RewardModelInput:
    export = ExportInput(run=run, model=told.model, vocab_rows=rows, template=template, scored=True)
    return RewardModelInput(export=export, last_step=told.steps)
