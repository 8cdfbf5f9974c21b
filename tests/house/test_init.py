"""`neo init` writes a recipe that loads and plans, for whatever form a text has, and says what it saw."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neo_assets import build
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe import Recipe, load
from neo_assets.house import init as init_module
from neo_assets.house import look
from neo_assets.house.init import init
from neo_assets.web.warc_files import Response, SegmentWriter
from tests.corpora import keepable, text


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name in ("_own", "_benchmarks", "laptop"):
        shutil.copyfile(ROOT / "recipes" / f"{name}.yaml", folder / f"{name}.yaml")
    shutil.copytree(ROOT / "recipes" / "published", folder / "published")
    monkeypatch.setattr(init_module, "RECIPES", folder)
    monkeypatch.setattr(sys.modules["neo_assets.core.recipe.load"], "RECIPES", folder)  # a function has its name
    return folder


def written(name: str) -> Recipe:
    """The recipe as anybody loads it; its stages are declared, which looks at what its sources name."""
    recipe = load(name)
    assert "factory_report" in build.stages(recipe)
    return recipe


def pages(folder: Path, lang: str, count: int) -> None:
    generator = random.Random(lang)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        body = "".join(f"<p>{text(generator, lang)}</p>" for _ in range(4))
        (folder / f"{lang}{i}.html").write_text(
            f"<title>t</title><main><article>{body}</article></main>", encoding="utf-8"
        )


def test_a_folder_of_pages_in_both_languages(recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages(tmp_path / "site" / "a", "en", 20)
    pages(tmp_path / "site" / "b", "zh", 20)
    (tmp_path / "site" / "notes.md").write_text("# Notes\n\n" + text(random.Random(1), "en"), encoding="utf-8")
    init("mine", of_folder=tmp_path / "site", licence="CC-BY-4.0")
    recipe, said = written("mine"), capsys.readouterr().out
    assert recipe.languages == ["en", "zh"] and set(recipe.sources) == {"ours_html_folder", "ours_books"}
    assert recipe.sources["ours_html_folder"].licence == "CC-BY-4.0"
    assert recipe.tokenizer.vocab_size == 3200 and "at least 3,200" in said
    assert recipe.runs["main"].steps == 40 and recipe.runs["decay"].steps == 20
    assert "html_folder  40 files" in said and "found: " in said and "neo home mine" in said
    with pytest.raises(BadInput, match="is there already"):
        init("mine", of_folder=tmp_path / "site")


@pytest.mark.parametrize("packed", [False, True])
def test_rows_whose_fields_have_other_names(recipes: Path, tmp_path: Path, packed: bool) -> None:
    generator = random.Random(2)
    rows = [
        {"n": i, "content": keepable(generator), "meta": {"url": f"http://a.example/{i}"}, "title": "A"}
        for i in range(50)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = tmp_path / ("rows.jsonl.gz" if packed else "rows.jsonl")
    file.write_bytes(gzip.compress(lines) if packed else lines)
    init("rows", jsonl=[str(file)])
    recipe = written("rows")
    source = recipe.sources["ours"].model_dump()
    assert (source["text_field"], source["url_field"], source["title_field"], source["id_field"]) == (
        "content",
        "meta.url",
        "title",
        None,
    )
    assert recipe.languages == ["en"] and recipe.mixture["decay"].rounds == {"en": 1.0}
    assert not any("zh" in task for task in recipe.asked())


def test_parquet_in_chinese(recipes: Path, tmp_path: Path) -> None:
    generator = random.Random(3)
    table = pa.table({"text": [text(generator, "zh") for _ in range(40)], "id": [str(i) for i in range(40)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    init("zh_rows", parquet=[str(tmp_path / "rows.parquet")])
    recipe = written("zh_rows")
    assert recipe.languages == ["zh"] and recipe.sources["ours"].model_dump()["id_field"] == "id"


def test_a_path_is_written_as_it_is_from_anywhere(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(json.dumps({"text": keepable(random.Random(i))}) + "\n" for i in range(40))
    (tmp_path / "rows.jsonl").write_text(rows)
    monkeypatch.chdir(tmp_path)
    init("near", jsonl=["rows.jsonl"])
    monkeypatch.chdir("/")
    assert written("near").sources["ours"].model_dump()["paths"] == [str(tmp_path / "rows.jsonl")]
    assert init_module._typed("s3://bucket/a.jsonl") == "s3://bucket/a.jsonl"


def test_a_warc_and_a_language_that_was_said(recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = random.Random(4)
    writer = SegmentWriter(tmp_path / "pages.warc.gz", "tests")
    for i in range(10):
        body = f"<main><article><p>{keepable(generator)}</p></article></main>".encode()
        headers = [("Content-Type", "text/html; charset=utf-8")]
        writer.add(Response(f"http://a.example/{i}", 200, headers, body, "2024-01-01T00:00:00Z", truncated=False))
    writer.finish()
    init("web", warc=[str(tmp_path / "pages.warc.gz")], lang=["en"])
    recipe = written("web")
    assert recipe.sources["ours"].kind == "warc" and recipe.languages == ["en"]
    assert "as you say; found: en 100%" in capsys.readouterr().out


def test_a_site_is_not_fetched_yet(recipes: Path) -> None:
    init("site", url="https://www.example.org/docs/")
    source = written("site").sources["ours"].model_dump()
    assert source["seeds"] == ["https://www.example.org/docs/"] and source["allowed_domains"] == ["example.org"]


def test_what_cannot_be_a_source_is_refused_with_what_is_there(recipes: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "odd" / "a.xyz").write_text("x")
    german = tmp_path / "german.jsonl"
    german.write_text(json.dumps({"text": "Das ist ein deutscher Satz, und noch einer, der nichts sagt. " * 9}) + "\n")
    numbers = tmp_path / "numbers.jsonl"
    numbers.write_text('{"a": 1}\n{"a": 2}\n')
    refused = [
        ({"of_folder": tmp_path / "odd"}, r"files that end in \.xyz \(1\)"),
        ({"of_folder": tmp_path / "bare"}, "it holds no file; pages"),
        ({"of_folder": tmp_path / "none"}, "there is no folder"),
        ({"jsonl": [str(german)]}, r"neither English nor Chinese \(found: de 100%\)"),
        ({"jsonl": [str(numbers)]}, "no field of its first rows holds text; its fields are a"),
        ({"jsonl": [str(tmp_path / "none.jsonl")]}, "none.jsonl"),
        ({"url": "example.org"}, "is no web address"),
        ({"url": "http://a.example/", "lang": ["de"]}, "--lang de"),
        ({}, "say where the text is, once"),
    ]
    for given, why in refused:
        with pytest.raises(BadInput, match=why):
            init("odd", **given)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="is no name of a recipe"):
        init("../odd", url="http://a.example/")
    assert not (recipes / "odd.yaml").exists()


def test_what_comes_last_in_a_file_is_looked_at_too(
    recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of two sources put together, one after the other or by turns."""
    generator = random.Random(3)
    rows = [{"text": text(generator, lang), "note": "no text " * 5} for lang in ("en", "zh") for _ in range(900)]
    rows += [{"text": text(generator, lang), "note": ""} for _ in range(300) for lang in ("en", "zh", "en", "en")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    init("sorted_rows", jsonl=[str(tmp_path / "rows.jsonl")])
    assert written("sorted_rows").languages == ["en", "zh"]
    said = capsys.readouterr().out
    true = sum(len(row["text"].encode()) for row in rows) / 1e6
    told = float(said.split("about ")[1].split(" MB")[0])
    assert abs(told - true) <= 0.1 * true + 0.05
    assert "the text is 'text'; fields that hold words as well: note" in said


def test_a_long_file_is_gone_through_to_a_bound_and_that_is_said(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(look, "GONE_THROUGH", 20_000)
    generator = random.Random(4)
    rows = "".join(json.dumps({"text": keepable(generator)}) + "\n" for _ in range(400))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    init("long_rows", jsonl=[str(tmp_path / "rows.jsonl")])
    assert "are those of what comes first: 20,000 bytes were read" in capsys.readouterr().out


def test_what_the_rules_would_leave_is_told_and_steps_are_counted_on_that(
    recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of which nine in ten are of no use: the rules drop them, so that few steps are worth while."""
    generator = random.Random(5)
    rows = [keepable(generator) for _ in range(400)]
    rows = [row if i % 10 == 0 else f"{row} Lorem ipsum." for i, row in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": r}) + "\n" for r in rows), encoding="utf-8")
    init("filler", jsonl=[str(tmp_path / "rows.jsonl")])
    said = capsys.readouterr().out
    share = int(said.split("below_lorem_ipsum (")[1].split("%")[0])
    assert 85 <= share <= 95 and f"rules        en: {100 - share}% of the text passes" in said
    assert "that is little" in said and written("filler").clean.en is not None
    # What would let more pass stands in the recipe, to be switched on by "#"s taken away.
    text = (recipes / "filler.yaml").read_text()
    assert "#clean:\n#  en: {below_lorem_ipsum: null" in text
    changed = text.replace("#clean:", "clean:").replace("#  en:", "  en:").replace("name: filler", "name: filler2")
    (recipes / "filler2.yaml").write_text(changed)
    assert written("filler2").clean.en.below_lorem_ipsum is None  # type: ignore[union-attr]


def test_text_of_which_nothing_would_be_left_is_told_by_exit_code(
    recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "One sentence is all there is."}\n')
    with pytest.raises(BadInput, match=r"one\.yaml is written, but its rules leave nothing .* under `clean` in it"):
        init("one", jsonl=[str(tmp_path / "rows.jsonl")], lang=["en"])
    said = capsys.readouterr().out
    assert (recipes / "one.yaml").is_file() and "0% of the text passes" in said and "build it" not in said


def test_a_collection_of_short_texts_is_not_thrown_away_for_their_length(
    recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = random.Random(6)
    rows = [" ".join(keepable(generator).split()[8:40]) + "." for _ in range(300)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": r}) + "\n" for r in rows), encoding="utf-8")
    init("short_rows", jsonl=[str(tmp_path / "rows.jsonl")])
    said, english = capsys.readouterr().out, written("short_rows").clean.en
    assert english is not None and english.min_words is None and english.min_chars is None
    assert english.max_caps_words == load("laptop").clean.en.max_caps_words  # type: ignore[union-attr]
    assert "min_words" in said and "of these texts are too short for them" in said


def test_the_field_of_the_text_may_be_said(recipes: Path, tmp_path: Path) -> None:
    generator = random.Random(7)
    rows = [{"text": "short words here and there", "meta": {"long": keepable(generator)}} for _ in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    init("said", jsonl=[str(tmp_path / "rows.jsonl")], text_field="meta.long")
    assert written("said").sources["ours"].text_field == "meta.long"  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="no field 'body' of its rows holds text; its fields are meta, text"):
        init("said_wrong", jsonl=[str(tmp_path / "rows.jsonl")], text_field="body")
    with pytest.raises(BadInput, match="goes with --jsonl or --parquet"):
        init("said_of_pages", of_folder=tmp_path, text_field="body")
