"""Sets of conversations and preferences: each row kept once, or dropped with its file, record and reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neo_assets import build
from neo_assets.align.from_pages import make_conversations
from neo_assets.align.sets import SetInput, read_instructions, read_preferences, set_input
from neo_assets.core.errors import BadInput, RecipeError
from neo_assets.core.recipe import load
from neo_assets.core.recipe.align import ConversationSet, PageSet, PreferenceSet, TranslationSet
from neo_assets.core.recipe.data import Split
from neo_assets.core.records import read_table
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.text.searched import SEARCHED
from tests.corpora import document, left_by_a_step

LAPTOP = load("laptop")
PLAIN = LAPTOP.model_copy(update={"decontaminated": {}})
ITEM = "Which command lists every package that is installed on this machine right now, with its exact version number?"


def talk(asked: str, answered: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


def written(file: Path, rows: list[object]) -> Path:
    lines = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    file.write_bytes(gzip.compress(lines.encode()) if file.suffix == ".gz" else lines.encode())
    return file


def settings(folder: Path, kind: type[ConversationSet] | type[PreferenceSet] = ConversationSet, **more: Any) -> Any:
    told = {"paths": [str(folder / "*.jsonl*")], "licence": "CC0-1.0", "snapshot": "1", "lang": "en"}
    return kind.model_validate({**told, **more})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def items(store: Store) -> Artifact:
    def work(out: Workspace) -> Outcome:
        out.write_text(f"{SEARCHED}.json", json.dumps(["quiz"]))
        out.write_text(f"{SEARCHED}/quiz.jsonl", json.dumps(["q1", ITEM, "dpkg"]) + "\n")
        return Outcome(digest="b")

    return store.build("benchmark_items", MadeFrom(config={}, code={}, libraries={}, inputs={}), work)[0]


def made(store: Store, config: SetInput, read: Any = read_instructions) -> Artifact:
    inputs = {"benchmark_items": items(store)}
    made_from = MadeFrom(config=config.model_dump(mode="json"), code={}, libraries={}, inputs={})
    return store.build(f"instructions/{config.name}", made_from, lambda out: read(config, inputs, out))[0]


def verdicts(artifact: Artifact) -> list[tuple[str, str, str]]:
    table = read_table(artifact.file("verdicts.parquet")).to_pylist()
    return sorted((row["detail"], row["verdict"], row["rule"]) for row in table)


def test_every_row_is_kept_once_or_dropped_with_its_place_and_reason(store: Store, tmp_path: Path) -> None:
    good = [talk("Where is it?", "There."), {"instruction": "Where?", "output": "Here."}]
    bad: list[object] = ["{not json", talk("What?", " "), {"text": "x"}]
    contaminated = talk(f"Tell me. {ITEM}", "dpkg -l")
    written(tmp_path / "a.jsonl", [good[0], *bad, contaminated])
    written(tmp_path / "b.jsonl.gz", [good[1], good[0]])
    artifact = made(store, set_input("ours", settings(tmp_path, max_bad_share=0.5), LAPTOP))
    told = verdicts(artifact)
    assert [(v, r) for _, v, r in told].count(("kept", "")) == 2
    dropped = {detail.split(":")[0].split(" is ")[0]: rule for detail, verdict, rule in told if verdict == "dropped"}
    assert dropped == {
        "a.jsonl#2": "bad_row", "a.jsonl#3": "bad_row", "a.jsonl#4": "bad_row", "a.jsonl#5": "contaminated",
        "b.jsonl.gz#2": "duplicate",
    }  # fmt: skip
    assert any("a.jsonl#3: turn 2, of the assistant, is empty" in detail for detail, *_ in told)
    assert any("quiz/q1" in detail for detail, *_ in told)
    rows = read_table(artifact.file("rows.parquet")).to_pylist()
    assert {row["turns"][0]["text"] for row in rows} == {"Where is it?", "Where?"}
    assert {(row["lang"], row["licence"]) for row in rows} == {("en", "CC0-1.0")}
    assert sorted(row["answer_characters"] for row in rows) == [5, 6]
    assert artifact.manifest.rows_in == 7 and all(check.passed for check in artifact.verdict)


def test_the_same_conversation_has_one_name_whatever_its_form_file_and_order(store: Store, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    both = [("a?", "b."), ("c?", "d.")]
    written(tmp_path / "one" / "x.jsonl", [talk(*pair) for pair in both])
    sharegpt = [{"conversations": [{"from": "human", "value": a}, {"from": "gpt", "value": b}]} for a, b in both[::-1]]
    written(tmp_path / "two" / "y.jsonl", list(sharegpt))
    found = [made(store, set_input(n, settings(tmp_path / n), PLAIN)) for n in ("one", "two")]
    ids = [read_table(a.file("rows.parquet")).column("conversation_id").to_pylist() for a in found]
    assert ids[0] == ids[1] and len(ids[0]) == 2 and found[0].manifest.digest == found[1].manifest.digest


def test_text_that_cannot_be_stored_is_repaired_and_told_as_it_is_in_documents(store: Store, tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", ['{"instruction": "a\\u0000b\\ud83d?", "output": "c\\ud800."}', '{"\\ud800": 1}'])
    artifact = made(store, set_input("ours", settings(tmp_path, max_bad_share=0.5), PLAIN))
    (row,) = read_table(artifact.file("rows.parquet")).to_pylist()
    assert [turn["text"] for turn in row["turns"]] == ["ab\ufffd?", "c\ufffd."]
    assert any(
        verdict == "dropped" and "a.jsonl#2: it has the fields" in detail for detail, verdict, _ in verdicts(artifact)
    )


def test_rows_of_a_parquet_file_are_read_alike(store: Store, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([talk("a?", "b.")]), tmp_path / "x.parquet")
    written(tmp_path / "x.jsonl", [talk("a?", "b.")])
    found = [
        made(store, set_input(kind, settings(tmp_path, paths=[str(tmp_path / f"x.{kind}")]), PLAIN))
        for kind in ("parquet", "jsonl")
    ]
    assert found[0].manifest.digest == found[1].manifest.digest and found[0].manifest.rows_kept == 1


def test_more_bad_rows_than_are_let_pass_stop_the_build_and_are_named(store: Store, tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", [talk("a?", "b."), {"text": "x"}])
    artifact = made(store, set_input("ours", settings(tmp_path), PLAIN))
    (refused,) = artifact.refused_by
    assert refused.name == "rows_can_be_used" and "a.jsonl#2: it has the fields 'text'" in refused.detail


def test_a_file_that_changed_after_loading_is_refused(store: Store, tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", [talk("a?", "b.")])
    config = set_input("ours", settings(tmp_path), PLAIN)
    written(tmp_path / "a.jsonl", [talk("a?", "c.")])
    with pytest.raises(BadInput, match=r"a\.jsonl was changed, added or taken away since the recipe was loaded"):
        made(store, config)
    assert set_input("ours", settings(tmp_path), PLAIN) != config
    with pytest.raises(BadInput, match="no file matches"):
        made(store, set_input("none", settings(tmp_path / "none"), PLAIN))


def test_preferences_are_read_with_their_prompt(store: Store, tmp_path: Path) -> None:
    ranked = {"prompt": "a?", "answers": [{"answer": "bad", "rank": 2}, {"answer": "good", "rank": 1}]}
    written(tmp_path / "p.jsonl", [ranked, {"prompt": "a?", "chosen": "good", "rejected": "bad"}])
    artifact = made(store, set_input("pairs", settings(tmp_path, PreferenceSet), PLAIN), read_preferences)
    (row,) = read_table(artifact.file("rows.parquet")).to_pylist()  # the same pair in two forms is one
    assert (row["prompt"], row["chosen"], row["rejected"]) == ([{"role": "user", "text": "a?"}], "good", "bad")


def test_a_recipe_names_sets_and_each_is_an_asset(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", [talk("a?", "b.")])
    line = f"{{paths: ['{tmp_path}/a.jsonl'], licence: CC0-1.0, snapshot: '1', lang: LANG}}"
    file = tmp_path / "mine.yaml"
    text = f"extends: laptop\nname: mine\nalign: {{instructions: {{ours: {line}}}, preferences: {{theirs: {line}}}}}\n"
    file.write_text(text.replace("LANG", "en"))
    stages = build.stages(load(str(file)))
    told = stages["instructions/ours"]
    assert told.room == "align" and told.reads == ["benchmark_items"] and list(told.config.content) == ["a.jsonl"]
    assert "preferences/theirs" in stages
    file.write_text(text.replace("LANG", "de"))
    with pytest.raises(RecipeError, match=r"align\.instructions\.ours\.lang is 'de', which is not in languages"):
        load(str(file))


def test_some_prompts_are_held_out_with_all_their_answers(store: Store, tmp_path: Path) -> None:
    rows: list[object] = [talk(f"Question {i}?", f"Answer {k}.") for i in range(200) for k in range(2)]
    written(tmp_path / "a.jsonl", rows)
    artifact = made(store, set_input("ours", settings(tmp_path, held_out=0.2), PLAIN))
    sides = [read_table(artifact.file(name)).to_pylist() for name in ("rows.parquet", "held_out.parquet")]
    asked = [{row["turns"][0]["text"] for row in side} for side in sides]
    assert not asked[0] & asked[1] and 20 < len(asked[1]) < 60 and len(asked[0] | asked[1]) == 200
    assert [len(side) for side in sides] == [2 * len(a) for a in asked]
    told = [rule for _, _, rule in verdicts(artifact)]
    assert told.count("held_out") == len(sides[1]) and artifact.manifest.rows_kept == len(sides[0])


def test_sentences_and_translations_give_both_directions(store: Store, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    content = [
        {"id": 1, "zh": "你好！", "to": {"en": "Hello!"}},
        {"id": 2, "zh": "再见。", "to": {}},
        {"id": 3, "zh": "谢谢。", "to": {"en": " Thank you. "}},
    ]
    (folder / "all.json").write_text(json.dumps(content, ensure_ascii=False, indent=1))
    told = TranslationSet(
        kind="translations", paths=[str(folder)], licence="CC0-1.0", snapshot="1", max_bad_share=0.5,
        fields={"en": "to.en", "zh": "zh"},
    )  # fmt: skip
    artifact = made(store, set_input("ours", told, PLAIN))
    rows = read_table(artifact.file("rows.parquet")).to_pylist()
    pairs = {(row["lang"], row["turns"][1]["text"]) for row in rows}
    assert pairs == {("en", "Hello!"), ("en", "Thank you."), ("zh", "你好！"), ("zh", "谢谢。")}
    assert all(row["task"] == "translate" for row in rows)
    assert [d for d, _, rule in verdicts(artifact) if rule == "bad_row"] == ["all.json#2: 'to.en' is no text"]


def test_one_array_and_yaml_are_read_and_what_is_torn_is_said(store: Store, tmp_path: Path) -> None:
    """The paper's own set is one JSON array of 246 MB: it is read an element at a time."""
    (folder := tmp_path / "in").mkdir()
    good = [talk(f"{'很长的问题' * 9000} {i}?", f"b{i}") for i in range(5)]
    (folder / "a.json").write_text("\ufeff " + json.dumps(good, ensure_ascii=False))
    (folder / "b.json").write_text(json.dumps([talk("x?", "y"), talk("cut?", "z")])[:-20])
    (folder / "c.yml").write_text("conversations:\n- - q?\n  - a.\n- - q?\n  - a.\n  - more?\n- one\n")
    (folder / "d.yaml").write_text("a: [")
    (folder / "e.jsonl").write_text(json.dumps(["p?", "q."]) + "\n")
    told = settings(folder, paths=[str(folder)], max_bad_share=0.5)
    artifact = made(store, set_input("ours", told, PLAIN))
    asked = {row["turns"][0]["text"] for row in read_table(artifact.file("rows.parquet")).to_pylist()}
    assert asked == {*(row["messages"][0]["content"] for row in good), "x?", "q?", "p?"}  # type: ignore[index]
    bad = sorted(detail for detail, _, rule in verdicts(artifact) if rule == "bad_row")
    assert [line.split(":")[0] for line in bad] == ["b.json#2", "c.yml#2", "c.yml#3", "d.yaml#1"]
    assert "the rest of the array was not read" in bad[0] and "nothing is answered" in bad[1]
    assert "is str, not an object" in bad[2] and "the file cannot be read" in bad[3]


def test_pages_give_conversations_and_held_out_pages_prompts(store: Store, tmp_path: Path) -> None:
    def page(name: str, lang: str, title: str, text: str) -> dict[str, Any]:
        return {**document(text, lang, name), "title": title, "url": f"http://{lang}.example/{name}"}

    english = "Fonts are files of letters. They lie in a folder of the system. " * 3
    chinese = "字体是放着字形的文件。它们放在系统的一个文件夹里。" * 3
    sides = {
        "train_pool": [page("fonts", "en", "Fonts", english), page("fonts", "zh", "字体", chinese)],
        "heldout": [
            page("colour", "en", "Colours", "Colours " + english),
            page("colour", "zh", "颜色", "颜色" + chinese),
        ],
    }
    inputs = {name: left_by_a_step(tmp_path, rows, 1, name) for name, rows in sides.items()}
    split = Split(share=0.5, seed=1, together=[r"(?<=//)(en|zh)(?=\.)"])
    told = PageSet(
        kind="pages", tasks=["title", "define", "translate", "language"], items=9, held_out_items=9, seed=1,
        max_text_chars={"en": 90, "zh": 40}, min_answer_chars={"en": 9, "zh": 5}, max_answer_chars={"en": 60, "zh": 30},
    )  # fmt: skip
    config = set_input("pages", told, PLAIN.model_copy(update={"heldout": split}))
    made_from = MadeFrom(config={}, code={}, libraries={}, inputs={})
    artifact = store.build("instructions/pages", made_from, lambda out: make_conversations(config, inputs, out))[0]
    trained, held = (
        {
            (r["task"], r["lang"], r["turns"][1]["text"]): r["turns"][0]["text"]
            for r in read_table(artifact.file(f)).to_pylist()
        }
        for f in ("rows.parquet", "held_out.parquet")
    )
    assert trained.keys() == {
        ("title", "en", "Fonts"), ("title", "zh", "字体"), ("define", "en", "Fonts are files of letters."),
        ("define", "zh", "字体是放着字形的文件。"), ("translate", "en", "Fonts"), ("translate", "zh", "字体"),
        ("language", "en", "English."), ("language", "en", "Chinese."),
        ("language", "zh", "英文。"), ("language", "zh", "中文。"),
    }  # fmt: skip
    assert ("translate", "zh", "颜色") in held and ("title", "en", "Colours") in held
    assert "Colours" not in held["title", "en", "Colours"]  # the title does not stand in the text that it is asked for
    assert "字体" in trained["translate", "en", "Fonts"] and "Fonts" in trained["translate", "zh", "字体"]
