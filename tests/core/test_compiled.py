"""Machine code is kept between processes, and a change in any module that compiles something starts afresh."""

from pathlib import Path

from neo_assets.core.compiled import kept_in


def test_a_change_in_another_kernel_module_is_another_folder(tmp_path: Path) -> None:
    package = tmp_path / "neo_assets"
    package.mkdir()
    (package / "a.py").write_text("from neo_assets.core.compiled import kernel\nfrom neo_assets.b import helper\n")
    (package / "b.py").write_text("from neo_assets.core.compiled import kernel\nX = 1\n")
    (package / "plain.py").write_text("X = 1\n")
    before = kept_in(tmp_path)
    (package / "plain.py").write_text("X = 2\n")
    assert kept_in(tmp_path) == before
    (package / "b.py").write_text("from neo_assets.core.compiled import kernel\nX = 2\n")
    assert kept_in(tmp_path) != before


def test_kernels_are_kept_where_git_does_not_look() -> None:
    from neo_assets.core.fingerprint import ROOT

    assert kept_in(ROOT).is_relative_to(ROOT / ".neo")
