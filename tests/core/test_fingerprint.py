"""What counts as a change, and what does not."""

from pathlib import Path

import pytest

from neo_assets.core import fingerprint
from neo_assets.core.fingerprint import MultisetDigest, code_reachable_from


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small tree of modules that stands for ours."""
    package = tmp_path / "neo_assets"
    (package / "core").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "core/__init__": "",
        "core/records": "X = 1\n",
        "english": '"""Rules."""\nfrom neo_assets.core import records\nLIMIT = 50\n',
        "chinese": "LIMIT = 60\n",
        "judge": "from neo_assets import english\n",
    }.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    fingerprint._module_facts.cache_clear()
    yield package
    fingerprint._module_facts.cache_clear()


def code(root: str) -> dict[str, str]:
    fingerprint._module_facts.cache_clear()
    return code_reachable_from([root])


def test_a_changed_module_changes_the_code_of_what_imports_it(project: Path) -> None:
    before = code("neo_assets.judge")
    (project / "english.py").write_text("LIMIT = 51\n")
    after = code("neo_assets.judge")
    assert before["neo_assets.english"] != after["neo_assets.english"]
    assert before["neo_assets.judge"] == after["neo_assets.judge"]


def test_a_chinese_rule_leaves_english_code_alone(project: Path) -> None:
    before = code("neo_assets.judge")
    (project / "chinese.py").write_text("LIMIT = 61\n")
    assert code("neo_assets.judge") == before


def test_comments_docstrings_and_layout_change_nothing(project: Path) -> None:
    before = code("neo_assets.english")
    (project / "english.py").write_text('"""Other words."""\n# why\nfrom neo_assets.core import records\n\n\nLIMIT = (\n    50\n)\n')
    assert code("neo_assets.english") == before


def test_the_core_counts_by_version_not_by_its_text(project: Path) -> None:
    before = code("neo_assets.english")
    (project / "core" / "records.py").write_text("X = 2\n")
    assert code("neo_assets.english") == before
    assert not any(name.startswith("neo_assets.core") for name in before)


def test_an_import_inside_a_function_counts(project: Path) -> None:
    (project / "judge.py").write_text("def f():\n    from neo_assets import chinese\n    return chinese\n")
    assert "neo_assets.chinese" in code("neo_assets.judge")


def test_a_multiset_digest_ignores_order_but_not_content() -> None:
    def digest(*rows: tuple[object, ...]) -> str:
        out = MultisetDigest()
        for row in rows:
            out.add_row(row)
        return out.hexdigest()

    assert digest(("a", 1), ("b", 2)) == digest(("b", 2), ("a", 1))
    assert digest(("a", 1), ("b", 2)) != digest(("a", 2), ("b", 1))
    assert digest(("a", 1)) != digest(("a", 1), ("a", 1))
    assert digest((None,)) != digest(("",)) != digest(("None",))
    assert digest(("ab", "c")) != digest(("a", "bc"))
