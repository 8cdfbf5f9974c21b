"""A series of runs from one section of a recipe, laws through what they lost, and a forecast that cannot be changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.errors import BadInput, RecipeError
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.jobs import Attempt, JobFolder
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.run import Run
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.runs import job, training_job
from neo_assets.runs.job import PretrainInput, pretrain
from neo_assets.runs.plan import ids
from neo_assets.runs.sealed import SEALED, seal, sealed
from neo_assets.scaling.fit import ScalingFitInput, fit_laws, make_fit, read_fit
from neo_assets.scaling.forecast import ForecastInput, make_forecast, make_outcome, sealed_in
from neo_assets.scaling.readings import parameters_of, read_run, read_series
from neo_assets.scaling.texts import OF_SERIES, OF_TARGET, fit_texts, read_text_losses
from training import text_losses

Law = Callable[[float, np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def chinchilla(n: float, d: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return 60.0 / n**0.35 + 400.0 / d**0.4 + 1.8


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("scaling")


def rows_of(recipe: Recipe) -> int:
    return recipe.runs["main"].model.vocab_rows(ids(recipe.tokenizer))


class Made:
    """A store with runs that lost what a law says, step by step."""

    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.store, self.recipe = Store(root), recipe

    def add(self, key: str, work: Callable[[Workspace], Outcome], told: object = "") -> Artifact:
        """What ``told`` says is made once."""
        config: dict[str, object] = {"key": key, "told": str(told)}
        made, _ = self.store.build(key, MadeFrom(config=config, code={}, libraries={}, inputs={}), work)
        return made

    def trained(self, name: str, run: Run, law: Law = chinchilla, noise: float = 0.0, sealing: str = "") -> Artifact:
        steps = np.arange(1, run.steps + 1)
        tokens = steps * run.tokens_per_step
        n, _ = parameters_of(run, rows_of(self.recipe))
        losses = law(float(n), tokens) * np.exp(noise * np.random.default_rng(len(name)).standard_normal(run.steps))
        table = pa.table({"step": steps, "tokens": tokens, "loss": losses})

        def work(out: Workspace) -> Outcome:
            out.write("metrics.parquet", table)
            if sealing:
                out.write_text(SEALED, sealing)
            return Outcome(digest=f"{name}{noise}{len(sealing)}")

        return self.add(f"pretraining/{name}", work, [losses.sum(), sealing])

    def series(self, noise: float = 0.0) -> dict[str, Artifact]:
        return {f"pretraining/{n}": self.trained(n, run, noise=noise) for n, run in self.recipe.series.items()}

    def texts(self, key: str, runs: Mapping[str, Run], law: Law = chinchilla) -> Artifact:
        """Bits per byte that follow a law: two fifths of its loss in English, three in Chinese."""
        told = []
        for name, run in runs.items():
            n, _ = parameters_of(run, rows_of(self.recipe))
            for step in run.checkpoint_steps()[1:]:
                tokens = step * run.tokens_per_step
                loss = float(law(float(n), np.array([tokens]))[0])
                for task, share in (("bits_per_byte_en", 0.4), ("bits_per_byte_zh", 0.6)):
                    row = {"run": name, "step": step, "tokens": tokens, "task": task, "lang": task[-2:]}
                    told.append(row | {"documents": 9, "bits_per_byte": share * loss, "stderr": 0.01})

        def work(out: Workspace) -> Outcome:
            out.write(text_losses.FILE, pa.Table.from_pylist(told, schema=text_losses.ROWS))
            return Outcome(digest=digest_json(told))

        return self.add(key, work, told)

    def made(self, key: str, run: Callable[..., Outcome], config: object, inputs: dict[str, Artifact]) -> Artifact:
        told = [config, *(a.fingerprint for a in inputs.values())]
        return self.add(key, lambda out: run(config, inputs, out), told)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> Made:
    return Made(tmp_path_factory.mktemp("store"), recipe)


def fit_input(recipe: Recipe) -> ScalingFitInput:
    assert recipe.scaling is not None
    return ScalingFitInput(settings=recipe.scaling, series=recipe.series, rows=rows_of(recipe))


def forecast_of(made: Made, noise: float = 0.0) -> Artifact:
    recipe = made.recipe
    assert recipe.scaling is not None
    fitted = made.made("scaling_fit", make_fit, fit_input(recipe), made.series(noise))
    inputs = {"scaling_fit": fitted, OF_SERIES: made.texts(OF_SERIES, recipe.series)}
    return made.made("sealed_forecast", make_forecast, forecast_input(recipe), inputs)


def forecast_input(recipe: Recipe) -> ForecastInput:
    assert recipe.scaling is not None
    run, rows = recipe.runs["main"], rows_of(recipe)
    return ForecastInput(settings=recipe.scaling, target="main", run=run, rows=rows, series=recipe.series)


# ------------------------------------------------------------------ the series


def test_a_size_is_the_base_run_but_for_its_shape_rate_and_length(recipe: Recipe) -> None:
    base, run = recipe.runs["main"], recipe.series["w64"]
    assert list(recipe.series) == ["w32", "w48", "w64", "w96"] and next(iter(recipe.all_runs)) == "main"
    assert (run.model.hidden, run.model.ffn, run.model.layers) == (64, 256, 4)
    assert run.schedule.kind == "constant" and run.schedule.peak_lr == base.schedule.peak_lr
    assert run.checkpoint_steps() == [0, 40, 80, 120, 160, 200, 240] and run.parent is None
    same = ("phase", "global_batch", "micro_batch", "sequence_length", "optimizer", "precision", "seed", "zero_stage")
    assert all(getattr(run, name) == getattr(base, name) for name in same)
    assert run.model.tied_embeddings == base.model.tied_embeddings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("{held_out: [w128]}", "scaling: held_out names 'w128', which is not in sizes"),
        ("{held_out: [w32, w48, w64]}", "two sizes at least must be left to fit to"),
        ("{target: other}", "scaling.target names run 'other', which is not in runs"),
        (
            "{sizes: {main: {layers: 1, hidden: 8, heads: 1, kv_heads: 1, head_dim: 8, ffn: 8}}}",
            "has the name of a run",
        ),
        ("{sizes: {w64: {heads: 7}}}", r"scaling\.sizes\.w64: .*heads \(7\) must divide hidden"),
        ("{law: newton}", "law"),
        ("{checkpoints: 7}", r"checkpoints \(7\) must divide steps \(240\), as 6 and 8 do"),
        ("{tasks: [cloze_en]}", "scaling.tasks names 'cloze_en', which is none of bits_per_byte_en, bits_per_byte_zh"),
    ],
)
def test_a_series_that_cannot_be_is_refused(tmp_path: Path, change: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: scaling\nname: mine\nscaling: {change}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        load(str(file))


def test_a_reading_is_the_mean_of_its_steps_at_their_middle(made: Made) -> None:
    run = made.recipe.series["w32"]
    trained = made.trained("w32", run, law=lambda n, d: 5 - d / d[-1])
    (reading,) = read_run("w32", run, rows_of(made.recipe), trained, [0.5], over=0.1)
    middle = (97 + 120) / 2 * run.tokens_per_step  # of 24 steps that end with step 120
    assert reading.tokens == round(middle) and reading.loss == pytest.approx(5 - middle / (240 * run.tokens_per_step))
    assert reading.error == pytest.approx(0, abs=1e-12)  # a straight fall is no noise
    total = run.model.parameters(rows_of(made.recipe))
    assert (reading.total, reading.non_embedding) == (total, total - rows_of(made.recipe) * 32)
    assert read_run("w32", run, rows_of(made.recipe), trained, [0.05], over=0.1) == []  # no window before it


# ------------------------------------------------------------------ the fit


def test_what_the_series_follows_is_found_and_a_size_held_out_foretold(made: Made) -> None:
    fitted = made.made("scaling_fit", make_fit, fit_input(made.recipe), made.series())
    numbers = fitted.manifest.numbers
    assert float(str(numbers["held_out_largest_error"])) < 2e-3 and float(str(numbers["fitted_r2"])) > 0.9999
    assert {(row["law"], row["N is"]) for row in fitted.manifest.tables["laws"]} == {
        (law, count) for law in ("neo", "chinchilla", "kaplan", "sms") for count in ("total", "non_embedding")
    }
    assert fitted.file("fit.svg").read_text().startswith("<svg")
    again, readings, told = read_fit(fitted)
    assert (
        again.law.name == "neo" and len(readings) == numbers["readings"] == 4 * 8
    )  # .3 lies before 200,000 tokens? no
    assert {f["formula"] for f in told["fits"]} and all(check.passed for check in fitted.verdict)


def test_a_budget_is_told_with_what_lies_beyond_the_series(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = made.made("scaling_fit", make_fit, fit_input(made.recipe), made.series())
    made.store.set_head("scaling", "scaling_fit", "scaling_fit", fitted.fingerprint)
    monkeypatch.setenv("NEO_STORE", str(made.store.root))
    monkeypatch.setenv("NEO_RECIPE", "scaling")
    row = json.loads(CliRunner().invoke(app, ["plan", "--budget", "1e12", "--json"], catch_exceptions=False).output)[0]
    assert row["parameters without embeddings"] * row["tokens"] * 6 == pytest.approx(1e12, rel=1e-3)
    said = CliRunner().invoke(app, ["plan", "--budget", "1e18"], catch_exceptions=False).output
    assert "Beyond what was fitted (parameters, tokens): a guess, not a forecast." in said
    assert isinstance(CliRunner().invoke(app, ["plan", "--budget", "-1"]).exception, BadInput)
    monkeypatch.setenv("NEO_RECIPE", "laptop")
    assert "has no scaling series" in str(CliRunner().invoke(app, ["plan", "--budget", "1e12"]).exception)


def test_embeddings_counted_in_spoil_the_exponent_of_a_law_without_them(made: Made) -> None:
    assert made.recipe.scaling is not None
    settings = made.recipe.scaling.model_copy(update={"law": "chinchilla"})
    readings = read_series(made.recipe.series, rows_of(made.recipe), made.series(), [0.3, 0.6, 0.8, 1.0], 0.1, 0)
    alphas = {
        f.count: f.whole.constants["alpha"] for f in fit_laws(settings, readings) if f.whole and f.law == "chinchilla"
    }
    assert alphas["non_embedding"] == pytest.approx(0.35, rel=0.02) and abs(alphas["total"] - 0.35) > 0.1


# ------------------------------------------------------------------ the seal


def test_a_forecast_holds_for_a_run_that_follows_the_law(made: Made) -> None:
    forecast = forecast_of(made, noise=0.005)
    points = json.loads(forecast.file("forecast.json").read_text())["points"]
    run = made.recipe.runs["main"]
    n, _ = parameters_of(run, rows_of(made.recipe))
    for point in points:
        assert point["loss"] == pytest.approx(float(chinchilla(n, np.array([point["tokens"]]))[0]), rel=0.02)
        assert point["low"] <= point["loss"] <= point["high"]
    assert forecast.manifest.numbers["target"] == "main" and len(points) == 6
    texts = {row["task"]: row for row in json.loads(forecast.file("forecast.json").read_text())["texts"]}
    last = float(chinchilla(n, np.array([run.steps * run.tokens_per_step]))[0])
    assert texts["bits_per_byte_en"]["foretold"] == pytest.approx(0.4 * last, rel=2e-3)
    assert texts["bits_per_byte_zh"]["foretold"] == pytest.approx(0.6 * last, rel=2e-3)
    # Six checkpoints of four sizes; the first lies before 200,000 tokens.
    assert all(row["low"] <= row["foretold"] <= row["high"] and row["fitted to"] == 20 for row in texts.values())


def folder_of(root: Path) -> JobFolder:
    folder = JobFolder(root / "jobs" / ("a" * 32))
    (folder.path / "attempts").mkdir(parents=True)
    return folder


def begin(folder: JobFolder, at: float) -> None:
    folder.record_attempt(Attempt(number=1, backend="local", handle={}, started_at=at))


def test_a_forecast_made_later_cannot_take_its_place(made: Made, tmp_path: Path) -> None:
    first, folder = forecast_of(made), folder_of(tmp_path)
    assert sealed(folder) is None and seal(folder, first)
    other = made.add("sealed_forecast", lambda out: (out.write_text(SEALED, '{"run": "x"}'), Outcome(digest="o"))[1], 1)
    kept = (folder.path / SEALED).read_bytes()
    assert not seal(folder, other) and (folder.path / SEALED).read_bytes() == kept
    begin(folder, 4e9)
    told = sealed(folder)
    assert told is not None and told.first_attempt == 4e9 and told.artifact.endswith(first.fingerprint)
    started = folder_of(tmp_path / "other")
    begin(started, 1.0)
    assert not seal(started, first) and sealed(started) is None and list(started.path.glob("*forecast*")) == []


def sealed_text(made: Made, tmp_path: Path) -> str:
    folder = folder_of(tmp_path)
    seal(folder, forecast_of(made))
    begin(folder, 4e9)
    told = sealed(folder)
    assert told is not None
    return told.model_dump_json()


def outcome_of(made: Made, trained: Artifact, law: Law = chinchilla) -> Artifact:
    recipe = made.recipe
    inputs = {"sealed_forecast": forecast_of(made), "pretraining/main": trained}
    inputs[OF_TARGET] = made.texts(OF_TARGET, {"main": recipe.runs["main"]}, law)
    return made.made("forecast_outcome", make_outcome, forecast_input(recipe), inputs)


def test_what_was_sealed_is_held_against_what_the_run_lost(made: Made, tmp_path: Path) -> None:
    trained = made.trained("main", made.recipe.runs["main"], sealing=sealed_text(made, tmp_path))
    outcome = outcome_of(made, trained)
    assert outcome.manifest.numbers["sealed"] is True and all(check.passed for check in outcome.verdict)
    assert abs(float(str(outcome.manifest.numbers["off_by"]))) < 2e-3
    assert len(outcome.manifest.tables["forecast and outcome"]) == 6
    for row in outcome.manifest.tables["bits per byte"]:
        assert abs(float(str(row["off by"]))) < 2e-3


def test_bits_per_byte_that_were_missed_or_never_foretold_are_said(made: Made, tmp_path: Path) -> None:
    sealing = sealed_text(made, tmp_path)
    trained = made.trained("main", made.recipe.runs["main"], sealing=sealing)
    told = {c.name: c for c in outcome_of(made, trained, lambda n, d: chinchilla(n, d) / 1.05).verdict}
    assert told["forecast_held"].passed and not told["bits_per_byte_held"].passed
    assert "bits_per_byte_en +5." in told["bits_per_byte_held"].detail
    without = json.loads(sealing)
    without["forecast"].pop("texts")
    without["digest"] = digest_json(without["forecast"])
    outcome = outcome_of(made, made.trained("main", made.recipe.runs["main"], sealing=json.dumps(without)))
    (check,) = [c for c in outcome.verdict if c.name == "bits_per_byte_held"]
    assert outcome.manifest.numbers["sealed"] is True and not check.passed
    assert "bits_per_byte_en was not foretold, bits_per_byte_zh was not foretold" in check.detail


def test_scores_too_few_for_the_law_are_refused_with_what_to_do(made: Made) -> None:
    recipe = made.recipe
    assert recipe.scaling is not None
    few = recipe.scaling.model_copy(update={"beyond_tokens": 950_000})
    scores = made.texts(OF_SERIES, recipe.series)
    readings = read_text_losses(scores, recipe.series, rows_of(recipe), few.tasks, few.beyond_tokens)
    with pytest.raises(BadInput, match=r"cannot be fitted to 4 scores of bits_per_byte_en: .*a larger scaling.checkpo"):
        fit_texts(few, readings)


def test_a_forecast_that_missed_is_said(made: Made, tmp_path: Path) -> None:
    worse = made.trained(
        "main", made.recipe.runs["main"], law=lambda n, d: 1.1 * chinchilla(n, d), sealing=sealed_text(made, tmp_path)
    )
    told = {check.name: check for check in outcome_of(made, worse).verdict}
    assert not told["forecast_held"].passed and "off by -9." in told["forecast_held"].detail


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: None, "had no forecast when it was first started"),
        (lambda told: told["forecast"]["points"][-1].update(loss=1.0), "its digest differs"),
        (lambda told: told.update(first_attempt=1.0), "after its first attempt"),
        (lambda told: told.update(first_attempt=None), "after its first attempt"),
    ],
)
def test_what_was_not_sealed_or_was_changed_is_no_forecast(
    made: Made, tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    told = json.loads(sealed_text(made, tmp_path))
    changed = change(told)
    sealing = "" if changed is None and "no forecast" in said else json.dumps(told)
    outcome = outcome_of(made, made.trained("main", made.recipe.runs["main"], sealing=sealing))
    checks = {check.name: check for check in outcome.verdict}
    assert outcome.manifest.numbers["sealed"] is False and not checks["sealed_before_its_first_step"].passed
    assert said in checks["sealed_before_its_first_step"].detail


def test_a_forecast_of_other_settings_is_none_of_this_run(made: Made, tmp_path: Path) -> None:
    trained = made.trained("main", made.recipe.runs["main"], sealing=sealed_text(made, tmp_path))
    other = made.recipe.runs["main"].model_copy(update={"seed": 1})
    assert sealed_in(trained, made.recipe.runs["main"])[0] is not None
    assert sealed_in(trained, other)[0] is None and "is of another run" in sealed_in(trained, other)[1]


class _Asked(Exception):
    """The job was asked for."""


def test_the_job_has_the_forecast_before_it_is_asked_for(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast, run = forecast_of(made), made.recipe.runs["main"]
    folder = folder_of(tmp_path)
    seen: list[bool] = []

    def submit(_: object) -> JobFolder:
        seen.append((folder.path / SEALED).is_file())
        raise _Asked

    monkeypatch.setattr(
        job, "job_spec", lambda *_: SimpleNamespace(work_fingerprint="a" * 32, title="pretraining/main")
    )
    monkeypatch.setattr(job, "refuse_silent_restart", lambda *_: None)
    jobs: Any = SimpleNamespace(folder=lambda _: folder, submit=submit)
    asked = PretrainInput(name="main", run=run, tokenizer=made.recipe.tokenizer)
    told: dict[str, Any] = {"made_from": None, "store": made.store, "jobs": jobs, "report": print}
    for before in (forecast, None):
        with pytest.raises(_Asked):
            pretrain(asked, {}, Workspace(tmp_path), recipe="scaling", forecast=before, **told)
    assert seen == [True, True] and sealed(folder) is not None


def test_only_the_run_that_is_foretold_takes_a_forecast(made: Made) -> None:
    at: Any = SimpleNamespace(recipe=made.recipe, store=made.store)
    assert made.store.head_pointer("scaling", "sealed_forecast") or training_job._forecast(at, "main") is None
    forecast = forecast_of(made)
    made.store.set_head("scaling", "sealed_forecast", "sealed_forecast", forecast.fingerprint)
    found = training_job._forecast(at, "main")
    assert found is not None and found.fingerprint == forecast.fingerprint
    assert training_job._forecast(at, "w32") is None
    plain: Any = SimpleNamespace(recipe=load("laptop"), store=made.store)
    assert training_job._forecast(plain, "main") is None
