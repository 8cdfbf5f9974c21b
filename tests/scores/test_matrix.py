"""All scores in one table: what is not comparable is told apart, and what stands in the training
text is told beside.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import load
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store
from neo_assets.evaluate.index import read_scores, tokens_before
from neo_assets.evaluate.models import from_elsewhere
from neo_assets.evaluate.score import Subject
from neo_assets.scores.clean_scores import FILE as KEPT_IN
from neo_assets.scores.clean_scores import clean_scores
from neo_assets.scores.comparison import ComparisonInput, compare_runs, files_digest
from neo_assets.scores.published import read_published
from neo_assets.scores.score_matrix import FILE, ScoreMatrixInput, gathered, last_made, make_score_matrix
from neo_assets.text.searched import FLAGGED
from tests.evaluate.scoring import Answering, scorer, subject, task, tasks_artifact
from training.tasks import task_identity

RUN = "0123456789abcdef"
RECIPE = load("laptop")


def checkpoint(step: int) -> str:
    return f"{step:07d}-{RUN[:8]}"


class Built:
    """A store in which a run was trained, exported at some steps, and asked two tasks there."""

    def __init__(
        self, root: Path, right: dict[int, float], content: str = "", flagged: dict[str, list[str]] | None = None
    ) -> None:
        self.store = Store(root)
        self.before: dict[str, int] = {}
        self.store.set_head("mine", "pretraining/main", "pretraining/main", RUN)
        self.tasks = tasks_artifact(self.store, task("quiz", 40, content), task("test", 40))
        self.jobs = Answering(self.store, {checkpoint(step): share for step, share in right.items()})
        self.scorer = scorer(self.store, self.jobs, [self.tasks], ["quiz", "test"])
        for step in right:
            self.store.set_head("mine", f"hf_model/main@{checkpoint(step)}", "hf_model/main", str(step))
            self.scorer.scored(subject(checkpoint(step), step))
        self.contamination = self.make("contamination", lambda out: out.write_text(FLAGGED, json.dumps(flagged or {})))

    def make(self, key: str, write: object, **config: object) -> Artifact:
        def work(out: object) -> Outcome:
            made = write(out)  # type: ignore[operator]
            return made if isinstance(made, Outcome) else Outcome(digest="d")

        return self.store.build(key, MadeFrom(config={"n": str(config)}, code={}, libraries={}, inputs={}), work)[0]

    def matrix(self) -> Artifact:
        identities = {name: task_identity(t) for name, t in self.scorer.tasks().items()}
        config = gathered(ScoreMatrixInput(trained=["pretraining/main"]), self.store, "mine", identities, self.before)
        return self.make(
            "score_matrix",
            lambda out: make_score_matrix(
                config, {"contamination": self.contamination}, out, store=self.store, recipe="mine"
            ),
            of=config.scores,
            now=identities,
            before=self.before,
        )

    def comparison(
        self, baseline: Subject | None = None, asked: tuple[str, ...] = ("quiz", "test"), **regression: object
    ) -> Artifact:
        gates = RECIPE.evaluation.gates
        gates = gates.model_copy(
            update={"regression": gates.regression.model_copy(update={"blocking": True, **regression})}
        )
        config = ComparisonInput(
            recipe="mine",
            description="d",
            parents={},
            from_elsewhere=[],
            asked=list(asked),
            suites={"all": ["quiz", "test"]},
            gates=gates,
            published=[],
            files_digest=files_digest([]),
        )
        inputs = {"score_matrix": self.matrix(), "benchmark_items": self.tasks, "heldout_tasks": self.tasks}
        return self.make(
            "comparison",
            lambda out: compare_runs(config, inputs, out, store=self.store, baseline=baseline),
            m=inputs["score_matrix"].fingerprint,
            r=regression,
            asked=asked,
            b=str(baseline and len(self.jobs.asked)),
        )


def test_scores_of_a_changed_task_stand_beside_the_new_ones_and_are_marked(tmp_path: Path) -> None:
    Built(tmp_path, {1: 0.5, 2: 0.6})
    rows = Built(tmp_path, {1: 0.5, 2: 0.6}, content="mended ").matrix().table(FILE).to_pylist()
    quiz = [(r["step"], r["current"]) for r in rows if r["task"] == "quiz"]
    assert sorted(quiz) == [(1, False), (1, True), (2, False), (2, True)]
    assert all(r["current"] for r in rows if r["task"] == "test")
    assert len({r["identity"] for r in rows if r["task"] == "quiz"}) == 2


def test_of_scores_that_another_version_of_the_programs_made_only_the_newest_counts() -> None:
    common = {
        "run": "main",
        "checkpoint": "c",
        "task": "quiz",
        "metric": "acc",
        "subset": None,
        "attempt": 1,
        "identity": "i",
    }
    rows = [common | {"value": 0.1}, common | {"value": 0.2}, common | {"value": 0.3, "identity": "j"}]
    assert [r["value"] for r in last_made(rows)] == [0.2, 0.3]


def test_only_the_runs_own_checkpoints_are_gathered(tmp_path: Path) -> None:
    built = Built(tmp_path, {1: 0.5})
    built.scorer.scored(subject("0000001-ffffffff", 1))  # of a run that the recipe no longer makes
    assert {r["checkpoint"] for r in built.matrix().table(FILE).to_pylist()} == {checkpoint(1)}


def test_a_score_without_what_stands_in_the_training_text_is_a_row_of_its_own(tmp_path: Path) -> None:
    built = Built(tmp_path, {1: 0.5}, flagged={"quiz": [f"quiz{i}" for i in range(10)], "test": []})
    rows = {(r["task"], r["subset"]): r for r in built.matrix().table(FILE).to_pylist()}
    assert ("test", "clean") not in rows
    assert (rows["quiz", None]["value"], rows["quiz", None]["n"]) == (0.5, 40)
    assert (rows["quiz", "clean"]["value"], rows["quiz", "clean"]["n"]) == (
        pytest.approx(10 / 30),
        30,
    )  # of 20 right ones, ten were seen in training
    assert not rows["quiz", "clean"]["main"]


def test_items_are_read_once_for_what_is_left_out_and_again_for_anything_else(tmp_path: Path) -> None:
    flagged = {"quiz": [f"quiz{i}" for i in range(10)]}
    first = Built(tmp_path, {1: 0.5}, flagged=flagged).matrix().table(FILE).to_pylist()
    items = next(tmp_path / str(r["samples"]) for r in first if r["task"] == "quiz")
    kept = items.read_text()
    items.write_text("x" * len(kept))  # whoever reads it now, notices
    more = {
        (r["step"], r["subset"]): r["value"]
        for r in Built(tmp_path, {1: 0.5, 2: 0.75}, flagged=flagged).matrix().table(FILE).to_pylist()
        if r["task"] == "quiz"
    }
    assert more[1, "clean"] == pytest.approx(10 / 30) and more[2, "clean"] == pytest.approx(20 / 30)
    items.write_text(kept)
    rows = [r for r in read_scores(Store(tmp_path)).to_pylist() if r["task"] == "quiz" and r["step"] == 1]
    assert [r["n"] for r in clean_scores(rows, {"quiz": ["quiz0"]}, Store(tmp_path))] == [39]
    assert clean_scores(rows, {"quiz": ["of another task"]}, Store(tmp_path)) == []
    (tmp_path / KEPT_IN).write_bytes(b"torn")
    assert [r["n"] for r in clean_scores(rows, flagged, Store(tmp_path))] == [30]


def test_tokens_are_counted_from_the_first_weights_on(tmp_path: Path) -> None:
    built = Built(tmp_path, {1: 0.5, 2: 0.5})
    built.before = {"main": 500}
    assert [r["tokens"] for r in built.matrix().table(FILE).to_pylist() if r["task"] == "quiz"] == [1500, 2500]
    assert (tokens_before(RECIPE, "main", built.store), tokens_before(RECIPE, "decay", built.store)) == (
        0,
        RECIPE.runs["main"].steps * RECIPE.runs["main"].tokens_per_step,
    ), "as planned: there is no checkpoint here"


def test_new_scores_make_a_new_matrix_and_nothing_else_does(tmp_path: Path) -> None:
    built = Built(tmp_path, {1: 0.5})
    first = built.matrix()
    assert built.matrix().fingerprint == first.fingerprint
    again = Built(tmp_path, {1: 0.5, 2: 0.6})
    assert again.matrix().fingerprint != first.fingerprint


def test_a_worsened_checkpoint_is_refused_item_by_item(tmp_path: Path) -> None:
    made = Built(tmp_path, {1: 0.8, 2: 0.9, 3: 0.3}).comparison()
    assert [c.name for c in made.refused_by] == ["no_regression"]
    assert "quiz 0.3000" in made.refused_by[0].detail and "main@2" in made.refused_by[0].detail
    found = {(r["task"], r["verdict"]) for r in json.loads(made.file("comparisons.json").read_text())}
    assert ("quiz", "worse") in found
    page = made.file("scores.html").read_text(encoding="utf-8")
    assert "no_regression" in page and "fail" in page


def test_a_better_one_passes_and_says_what_it_was_held_against(tmp_path: Path) -> None:
    made = Built(tmp_path, {1: 0.5, 2: 0.9}).comparison()
    assert made.refused_by == []
    rows = json.loads(made.file("comparisons.json").read_text())
    assert {(r["task"], r["against"], r["verdict"]) for r in rows} == {
        (t, "parent main@1", "better") for t in ("quiz", "test")
    }


def test_gates_look_at_what_every_checkpoint_is_asked_and_the_page_shows_the_rest(tmp_path: Path) -> None:
    made = Built(tmp_path, {1: 0.8, 2: 0.3}).comparison(asked=("quiz",))
    assert "quiz 0.3000" in made.refused_by[0].detail and "test" not in made.refused_by[0].detail
    assert {r["task"] for r in json.loads(made.file("comparisons.json").read_text())} == {"quiz"}
    assert '"test"' in made.file("scores.html").read_text(encoding="utf-8")


def test_a_baseline_is_held_against_item_by_item_and_drawn_beside(tmp_path: Path) -> None:
    built = Built(tmp_path, {1: 0.5, 2: 0.6})
    theirs = replace(subject("theirs", 0, "model.theirs"), folder=Path("/models/theirs"))
    unscored = built.comparison(theirs, against=["baseline"])
    assert "not asked: baseline theirs has no score of quiz as it is asked today" in unscored.refused_by[0].detail
    built.jobs.right["theirs"] = 1.0
    built.scorer.scored(theirs)
    made = built.comparison(theirs, against=["baseline"], alpha=0.02)
    assert "quiz 0.6000, baseline theirs 1.0000" in made.refused_by[0].detail
    assert "baseline theirs" in made.file("scores.html").read_text(encoding="utf-8")


def test_a_folder_that_is_no_whole_model_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    def wants(said: str) -> None:
        with pytest.raises(BadInput, match=said):
            from_elsewhere(tmp_path)

    wants(r"is no Hugging Face folder: it has no config\.json")
    (tmp_path / "config.json").write_text("{}")
    wants(r"has no \*\.safetensors")
    save_file({"weight": numpy.zeros(64, dtype="float32")}, tmp_path / "model.safetensors")
    wants("has no tokenizer")
    (tmp_path / "tokenizer.json").write_text("{}")
    whole = from_elsewhere(tmp_path)
    assert (whole.run, whole.step) == (f"model.{tmp_path.name.lower()[:40].strip('_')}", 0)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-20])
    wants(r"model\.safetensors is no whole safetensors file")
    (tmp_path / "model.safetensors").write_bytes(data[:-1] + b"\x01")
    assert from_elsewhere(tmp_path).digest != whole.digest


# ------------------------------------------------------------------ other people's numbers


def test_published_scores_say_where_they_are_from_and_none_is_from_memory() -> None:
    rows = read_published([Path(name) for name in RECIPE.evaluation.published])
    models = {r["model"] for r in rows}
    assert {"Llama-3-8B", "Mistral-7B-v0.1", "OLMo-7B", "Amber-7B", "Pythia-6.9B"} <= models and any(
        str(m).startswith("MAP-Neo-7B") for m in models
    )
    assert all(
        r["harness"] == "other harness" and ("printed" in str(r["provenance"]) or "figure" in str(r["provenance"]))
        for r in rows
    )
    assert all(0 < float(str(r["value"])) < 1 for r in rows)
    assert {r["task"] for r in rows} <= set(RECIPE.evaluation.benchmarks), "each stands beside a task of ours"


def test_a_file_of_published_scores_without_provenance_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("source: s\nscores: {m: {recalled: {mmlu: 50}}}\n")
    with pytest.raises(BadInput, match=r"x\.yaml: scores\.m\.recalled"):
        read_published([tmp_path / "x.yaml"])
