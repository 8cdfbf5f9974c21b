"""Each statement of the paper has the verdict that recipe and artifacts give it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neo_assets.build import stages
from neo_assets.core.errors import RecipeError
from neo_assets.core.manifest import MadeFrom, Manifest
from neo_assets.core.recipe import Recipe, identity, load
from neo_assets.core.recipe.load import names
from neo_assets.paper.compared import (
    CHANGED,
    MEASURED,
    NOT_RUN,
    SAME,
    UNKNOWN,
    NotMeasured,
    Row,
    all_rows,
    artifacts,
    compared,
    place_in,
)
from neo_assets.paper.paper import last_score
from neo_assets.paper.statements import read_statements, roles
from neo_assets.paper.text import About, Places, lines_of, paper_text, verdict_in_words
from neo_assets.report.assets import recipe_text

CHAPTERS = read_statements()


class Made:
    """Artifacts with these numbers."""

    def __init__(self, **numbers: dict[str, float]) -> None:
        self.numbers = {key.replace("__", "/"): value for key, value in numbers.items()}

    def manifest(self, key: str) -> tuple[Manifest, str] | None:
        if key not in self.numbers:
            return None
        told = dict(self.numbers[key])
        rows = {name: int(told.pop(name)) for name in ("rows_in", "rows_kept") if name in told}
        made = MadeFrom(config={}, code={}, libraries={}, inputs={})
        return (
            Manifest(
                key=key,
                fingerprint="f",
                digest="d",
                made_from=made,
                numbers=dict(told),
                files={},
                seconds=0,
                created_at="",
                **rows,
            ),
            f"{key}/manifest.json",
        )

    def score(self, task: str) -> tuple[float, str] | None:
        return (0.25, "scores.json") if task == "mmlu" else None


def rows_of(recipe: Recipe, made: Made | None = None) -> dict[str, Row]:
    told = compared(CHAPTERS, identity(recipe), recipe.written, made or Made())
    return {row.statement.id: row for row in all_rows(told)}


def recipe_with(folder: Path, text: str) -> Recipe:
    (folder / "mine.yaml").write_text(f"extends: laptop\nname: mine\n{text}", encoding="utf-8")
    return load(str(folder / "mine.yaml"))


def test_the_recipe_of_the_paper_says_what_the_paper_says() -> None:
    rows = rows_of(load("neo-7b"))
    places = {name: row for name, row in rows.items() if row.statement.recipe}
    here_alone = {"law", "recognition_score"}  # it has no scaling series, and no source of documents
    assert {name for name, row in places.items() if not row.place} == here_alone
    changed = {name for name, row in places.items() if row.verdict == CHANGED}
    assert changed == {"zero", "W11"}, "and says why"
    assert not any(row.unexplained for row in rows.values())


@pytest.mark.parametrize("name", [n for n in names() if n not in ("ci", "node")])
def test_shipped_recipes_say_why_they_differ(name: str) -> None:
    assert [row.statement.id for row in rows_of(load(name)).values() if row.unexplained] == []


def test_every_artifact_that_is_named_is_made_by_a_recipe() -> None:
    recipe = load("laptop")
    assert artifacts(CHAPTERS, identity(recipe)) - {"hq_recall/en", "hq_classifier/en"} <= set(stages(recipe))
    assert {"hq_recall/en", "hq_classifier/en"} <= set(stages(recipe))


def test_a_threshold_that_was_changed_is_told_with_its_reason_or_without(tmp_path: Path) -> None:
    row = rows_of(recipe_with(tmp_path, "clean: {en: {max_words: 9000}}"))["G8_most"]
    assert (row.published, row.ours, row.verdict, row.unexplained) == ("10,000", "9,000", CHANGED, True)
    assert verdict_in_words(row) == "changed; the recipe does not say why (mine.yaml:3)"
    row = rows_of(recipe_with(tmp_path, "clean: {en: {max_words: 9000}} # paper"))["G8_most"]
    assert row.unexplained, "a comment that says 'paper' of another number is none"
    for nothing in ("ours", "not ours, the paper's", "a matter of hours"):
        row = rows_of(recipe_with(tmp_path, f"clean: {{en: {{max_words: 9000}}}} # {nothing}"))["G8_most"]
        assert row.unexplained, nothing
    row = rows_of(recipe_with(tmp_path, "clean: {en: {max_words: 9000}}  # ours: short pages"))["G8_most"]
    assert verdict_in_words(row) == "changed; short pages (mine.yaml:3)"
    row = rows_of(recipe_with(tmp_path, "clean: {en: {max_words: 10000}}"))["G8_most"]
    assert row.verdict == SAME
    row = rows_of(recipe_with(tmp_path, "clean: {en: {min_chars: 1000}}"))["N3"]
    assert verdict_in_words(row).startswith("changed, as released code where RedPajama's signals are read;")


def test_what_is_taken_over_keeps_the_reason_that_its_own_file_gives(tmp_path: Path) -> None:
    rows = rows_of(recipe_with(tmp_path, "runs: {main: {model: {layers: 5}}}"))
    assert rows["layers"].unexplained, "this file gives none"
    assert verdict_in_words(rows["hidden"]).startswith("changed; model: the paper's block, narrow, for a laptop")
    assert rows["hidden"].written.of == "model" and rows["hidden"].written.at.startswith("_own.yaml:")


def test_a_step_that_is_not_taken_is_not_run(tmp_path: Path) -> None:
    rows = rows_of(recipe_with(tmp_path, "steps: {en: [clean_docs, exact_dedup, pii_masked]}"))
    assert rows["bands_en"].verdict == NOT_RUN and rows["bands_zh"].verdict == CHANGED
    assert rows["order_en"].verdict == CHANGED and rows["order_en"].unexplained
    assert rows["N5"].verdict == NOT_RUN, "a rule that needs signals that this text does not have"
    assert rows["dpo_rate"].verdict == NOT_RUN and rows["compression_rest"].verdict == UNKNOWN


def test_roles_are_found_whatever_runs_are_called() -> None:
    recipe = identity(load("neo-7b"))
    runs = recipe["runs"]
    assert isinstance(runs, dict)
    renamed = {f"my_{name}": run for name, run in runs.items()}
    called = roles({**recipe, "runs": renamed})
    assert called["$fundamental"] == ("my_main", "fundamental") and called["$decay"][0] == "my_decay"
    assert [called[f"$dpo_{n}"][0] for n in (1, 2, 3)] == ["my_dpo_1", "my_dpo_2", "my_dpo_3"]
    assert place_in("runs.$sft_1.steps", called) == "runs.my_foundational.steps"
    assert place_in("align.dpo.$dpo_2.beta", called) == "align.dpo.own_pairs.beta"
    assert place_in("runs.$sft_9.steps", called) is None


def test_what_was_measured_stands_beside_it_and_what_was_not_does_not_compile() -> None:
    recipe = load("laptop")
    rows = rows_of(
        recipe,
        Made(
            tokenizer={"pieces": 5999, "ids": 6008, "training_bytes": 10},
            clean_docs__en={"rows_in": 200, "rows_kept": 50},
        ),
    )
    assert rows["vocab_size"].measured is not None and rows["vocab_size"].measured.text == "5,999 pieces"
    assert rows["ids"].verdict == MEASURED
    kept = rows["kept_en_filter"]
    assert kept.measured is not None and kept.measured.text == "25.0 % (50 of 200)"
    assert rows["kept_en_exact"].verdict == NOT_RUN, "half of a share is none"
    assert rows["score_mmlu"].measured is not None and rows["score_mmlu"].measured.text == "25.00 %"
    with pytest.raises(NotMeasured, match="vocab_size: tokenizer has no number 'pieces'; it has ids"):
        rows_of(recipe, Made(tokenizer={"ids": 6008}))


def test_each_value_leads_to_its_line_of_the_recipe() -> None:
    recipe = load("laptop")
    text = recipe_text(recipe)
    lines, written = lines_of(text), text.splitlines()
    by_chapter = compared(CHAPTERS, identity(recipe), recipe.written, Made())
    paper = paper_text(About("laptop", "says", "us", text), by_chapter, CHAPTERS, Places("p.md", "r.yaml", "s.yaml"))
    statements = Path("neo_assets/paper/statements.yaml").read_text(encoding="utf-8").splitlines()
    for row in all_rows(by_chapter):
        assert f"id: {row.statement.id}," in statements[row.statement.line - 1]
        if row.place:
            line = lines[row.place]
            assert f"(r.yaml#L{line})" in paper
            assert written[line - 1].strip().startswith(f"{row.place.rpartition('.')[2]}:"), row.place


def test_scores_are_those_of_the_step_at_the_first_attempt() -> None:
    row = {"task": "mmlu", "headline": True, "main": True, "attempt": 1, "step": 10, "value": 0.5}
    rows = [row, {**row, "step": 20, "value": 0.7}, {**row, "step": 20, "attempt": 2, "value": 0.9}]
    assert last_score(rows, "mmlu") == 0.7 and last_score(rows, "mmlu", 10) == 0.5
    assert last_score(rows, "mmlu", 15) is None and last_score(rows, "arc") is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{id: a, what: b, from: unknown, value: 3}", "unknown, and a value"),
        ("{id: a, what: b, value: 3}", "from"),
        ("{id: a, what: b, value: 3, from: memory}", "from"),
        ("{id: a, what: b, value: 3, from: paper, measure: x}", "measure"),
        ("{id: a, what: b, from: unknown}\n    - {id: a, what: c, from: unknown}", "told twice: a"),
    ],
)
def test_a_statement_without_a_source_is_refused(line: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "statements.yaml"
    file.write_text(f"One:\n  of: section 1\n  statements:\n    - {line}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=says):
        read_statements(file)
