"""A module that was moved counts as it did; one that was changed does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neo_assets.core import code as walk
from neo_assets.core import frozen, moved
from neo_assets.core.code import code_of, code_reachable_from, module_file
from neo_assets.core.errors import ChangedCode
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.syntax import read_text

BEFORE = {
    "old/__init__": "",
    "old/kernels": "LIMIT = 1\n",
    "old/pages": "from pathlib import Path\n\nWORDS = Path(__file__).with_name('words.txt')\n",
    "judge": (
        "import numpy\n\nfrom neo_assets.early import A\nfrom neo_assets.old import kernels\nfrom neo_assets.old.pages"
        " import WORDS\n\n\ndef judge():\n    from neo_assets.old.pages import WORDS as words\n\n    return"
        " kernels.LIMIT, words\n"
    ),
    "early": "A = 1\n",
}
AFTER = {
    "alpha/__init__": "",
    "alpha/loops": BEFORE["old/kernels"],
    "alpha/pages": BEFORE["old/pages"],
    "judge": (
        "import numpy\n\nfrom neo_assets.alpha import loops as kernels\nfrom neo_assets.alpha.pages import"
        " WORDS\nfrom neo_assets.early import A\n\n\ndef judge():\n    from neo_assets.alpha.pages import WORDS as"
        " words\n\n    return kernels.LIMIT, words\n"
    ),
    "early": BEFORE["early"],
}
MOVED = {"neo_assets.alpha": "neo_assets.old", "neo_assets.alpha.loops": "neo_assets.old.kernels"}


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__": "", **files}.items():
        file = folder / "neo_assets" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def code_in(root: Path, table: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(walk, "ROOT", root)
    monkeypatch.setattr(moved, "COUNTED_AS", table)
    monkeypatch.setattr(walk, "remembered_text", read_text)
    walk.module.cache_clear()
    walk.reachable.cache_clear()
    found = code_reachable_from(["neo_assets.judge"])
    walk.module.cache_clear()
    walk.reachable.cache_clear()
    return found


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, str]]:
    """A tree in which modules were moved, and what counted before."""
    before, after = lay(tmp_path / "before", BEFORE), lay(tmp_path / "after", AFTER)
    for root, folder in ((before, "old"), (after, "alpha")):
        (root / "neo_assets" / folder / "words.txt").write_text("one\n")
    was = code_in(before, {}, monkeypatch)
    assert code_in(after, {}, monkeypatch) != was
    return after, was


def test_moved_and_renamed_modules_count_as_they_did(
    trees: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, was = trees
    assert code_in(root, MOVED, monkeypatch) == was


@pytest.mark.parametrize(
    ("file", "was_called"),
    [
        ("alpha/loops.py", "neo_assets.old.kernels"),
        ("judge.py", "neo_assets.judge"),
        ("alpha/words.txt", "neo_assets/old/words.txt"),
    ],
)
def test_what_was_moved_and_then_changed_counts_as_changed(
    file: str, was_called: str, trees: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, was = trees
    place = root / "neo_assets" / file
    place.write_text(place.read_text() + "\nMORE = 2\n")
    now = code_in(root, MOVED, monkeypatch)
    assert {name for name in was if was[name] != now.get(name)} == {was_called}


def test_two_modules_that_would_count_under_one_name_both_count(
    trees: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, was = trees
    lay(root, {"old/__init__": "", "old/pages": "OTHER = 1\n"})
    (root / "neo_assets" / "early.py").write_text("from neo_assets.old import pages\n\nA = 1\n")
    now = code_in(root, MOVED, monkeypatch)
    assert now["neo_assets.alpha.pages"] == was["neo_assets.old.pages"] != now["neo_assets.old.pages"]


def test_a_moved_module_that_was_edited_before_it_was_imported_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "neo_assets.text.text_kernels"
    counted = moved.counted_name(name)
    assert counted != name and name in moved.names_today(counted)
    monkeypatch.setitem(sys.modules, name, sys.modules[__name__])
    monkeypatch.setattr(frozen, "edited_before_import", lambda asked: asked == name)
    with pytest.raises(ChangedCode, match=r"text_kernels was edited"):
        frozen.refuse_what_was_edited([counted])


def test_every_entry_of_the_table_is_of_something_that_is_there_and_was_elsewhere() -> None:
    for today, before in moved.COUNTED_AS.items():
        assert module_file(today, ROOT), today
        assert today != before


def test_better_words_about_a_stage_make_nothing_stale() -> None:
    text = b'from x import Step\n\n\ndef run(): return 1\n\n\nSTEP = Step("no equal text", run)\n'
    other, edited = text.replace(b"no equal text", b"each text once"), text.replace(b"return 1", b"return 2")
    assert read_text(text, "p").counted == read_text(other, "p").counted != read_text(edited, "p").counted
    assert read_text(text, "p").digest != read_text(other, "p").digest  # a job is held to its whole text


@pytest.mark.parametrize("told", ["lambda config, inputs, out: 1", "partial(run, 1)", "run if FAST else slow"])
def test_code_that_is_told_in_place_counts(told: str) -> None:
    text = f"from x import Step\n\n\nSTEP = Step('words', {told})\n"
    assert (
        read_text(text.encode(), "p").counted
        != read_text(text.replace("1", "2").replace("FAST", "BIG").encode(), "p").counted
    )


def test_the_function_behind_a_stage_is_counted_by_its_name_then(monkeypatch: pytest.MonkeyPatch) -> None:
    from neo_assets.scores.comparison import compare_runs

    assert code_of(compare_runs)["stage"] == "neo_assets.evaluate.comparison.compare_runs"


def test_why_names_a_moved_module_as_people_find_it() -> None:
    from neo_assets.core.store import MadeFrom
    from neo_assets.core.why import differences

    def made(code: dict[str, str]) -> MadeFrom:
        return MadeFrom(config={}, code=code, libraries={}, inputs={})

    said = differences(
        made({"neo_assets.evaluate.compare": "a", "gone.module": "a"}), made({"neo_assets.evaluate.compare": "b"})
    )
    assert said == ["code: gone.module is no longer used", "code: neo_assets.scores.paired changed"]
