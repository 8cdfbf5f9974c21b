"""The de-duplication steps: who stays, what is cut, what the verdicts say, and that nothing depends on workers or
shards.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neo_assets.core.recipe.data import NearDedup, ParagraphDedup, SimilarLineDedup, SubstringDedup
from neo_assets.core.records import read_table
from neo_assets.core.shards import LocalEngine
from neo_assets.core.stage import StepInput
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.dedup import exact_dedup, repeats, substring_dedup
from neo_assets.dedup import substring_kernels as kernels
from neo_assets.dedup.exact_dedup import drop_exact_duplicates
from neo_assets.dedup.line_dedup import (
    drop_repeated_paragraphs,
    drop_similar_lines,
    without_similar_lines,
)
from neo_assets.dedup.near_dedup import drop_near_duplicates
from neo_assets.dedup.substring_dedup import cut_repeated_substrings
from neo_assets.text.tokens import buffers, string_array
from tests.corpora import document, left_by_a_step, sentence, text, texts_of, verdicts_of

Step = Callable[[Artifact, Workspace], Outcome]


def exact(before: Artifact, out: Workspace) -> Outcome:
    return drop_exact_duplicates(StepInput(lang="en", settings=None), {"before": before}, out)


def near(before: Artifact, out: Workspace) -> Outcome:
    return drop_near_duplicates(
        StepInput(lang="en", settings=NearDedup(bands=9, rows=13, shingle=13, unit="character", seed=1)),
        {"before": before},
        out,
    )


def counted(before: Artifact, out: Workspace) -> Outcome:
    settings = NearDedup(bands=14, rows=8, shingle=13, unit="character", seed=1, min_similarity=0.7)
    return drop_near_duplicates(StepInput(lang="en", settings=settings), {"before": before}, out)


def paragraphs(before: Artifact, out: Workspace, minimum: int = 0) -> Outcome:
    return drop_repeated_paragraphs(
        StepInput(lang="en", settings=ParagraphDedup(kind="paragraph", min_paragraph_bytes=minimum, min_chars=20)),
        {"before": before},
        out,
    )


def substrings(before: Artifact, out: Workspace) -> Outcome:
    return cut_repeated_substrings(
        StepInput(lang="en", settings=SubstringDedup(length=50, min_chars=20)), {"before": before}, out
    )


SIMILAR = SimilarLineDedup(kind="similar_line", max_distance=0.1, exact_below=15, min_chars=5)


def similar(before: Artifact, out: Workspace) -> Outcome:
    return drop_similar_lines(StepInput(lang="zh", settings=SIMILAR), {"before": before}, out)


STEPS = [exact, near, counted, paragraphs, substrings, similar]


def run(
    step: Step, folder: Path, documents: list[dict[str, object]], shards: int = 1, workers: int = 1
) -> tuple[Outcome, Workspace]:
    out = Workspace(folder / f"out-{shards}-{workers}", engine=LocalEngine(workers, 0 if workers > 1 else 1 << 40))
    out.path.mkdir(parents=True)
    return step(left_by_a_step(folder / "store", documents, shards), out), out


def corpus() -> list[dict[str, object]]:
    """Texts of both languages with everything that the steps look for: copies, edited copies, shared paragraphs and
    passages.
    """
    generator = random.Random(5)
    made = [text(generator, lang) for lang in ("en", "zh") for _ in range(30)]
    out = [document(t, name=f"page{i}") for i, t in enumerate(made)]
    out += [document(t, name=f"copy{i}") for i, t in enumerate(made[:6])]
    out += [
        document(t.replace("verdict", "judgement", 1) + " Edited.", name=f"edited{i}")
        for i, t in enumerate(made[:30:3])
    ]
    shared = sentence(generator, "en", 30)
    out += [document(text(generator, "en") + "\n" + shared + "\n\nend " + str(i), name=f"sharing{i}") for i in range(8)]
    return out


@pytest.mark.parametrize("step", STEPS)
def test_nothing_depends_on_shards_or_workers(step: Step, tmp_path: Path) -> None:
    plain, first = run(step, tmp_path, corpus())
    other, second = run(step, tmp_path, corpus(), shards=7, workers=2)
    assert plain.digest == other.digest
    assert verdicts_of(first) == verdicts_of(second)
    assert texts_of(first) == texts_of(second)
    assert all(c.passed for c in (*plain.checks, *other.checks))


@pytest.mark.parametrize("step", STEPS)
def test_every_document_has_one_verdict(step: Step, tmp_path: Path) -> None:
    documents = corpus()
    outcome, out = run(step, tmp_path, documents, shards=3)
    told = verdicts_of(out)
    assert set(told) == {d["doc_id"] for d in documents}
    assert set(texts_of(out)) == {i for i, v in told.items() if v["verdict"] != "dropped"}
    assert outcome.rows_in == len(documents) == (outcome.rows_kept or 0) + (outcome.rows_dropped or 0)
    for row in told.values():
        assert (row["verdict"] == "kept") == (row["rule"] == "")


@pytest.mark.parametrize("step", STEPS)
def test_an_empty_corpus_is_refused_not_a_crash(step: Step, tmp_path: Path) -> None:
    outcome, _ = run(step, tmp_path, [])
    assert {c.name: c.passed for c in outcome.checks} == {"rows_balance": True, "language_not_empty": False}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_step_goes_on_with_the_shards_it_has_not_done(step: Step, tmp_path: Path) -> None:
    whole, first = run(step, tmp_path, corpus(), shards=4)
    half = Workspace(tmp_path / "half")
    half.path.mkdir()
    for name in ("part-00001.parquet", "verdicts/part-00001.parquet"):
        (half.path / name).parent.mkdir(exist_ok=True)
        (half.path / name).write_bytes((first.path / name).read_bytes())
    stamp = (half.path / "part-00001.parquet").stat().st_mtime_ns
    again = step(left_by_a_step(tmp_path / "store", corpus(), 4), half)
    assert again.digest == whole.digest
    assert (half.path / "part-00001.parquet").stat().st_mtime_ns == stamp


def test_of_equal_texts_the_surest_then_the_smallest_id_stays(tmp_path: Path) -> None:
    body = text(random.Random(1), "en")
    documents = [document(body, name=n, score=s) for n, s in (("a", 0.51), ("b", 0.93), ("c", 0.931), ("d", 0.7))]
    _, out = run(exact, tmp_path, documents)
    expected = min(str(documents[1]["doc_id"]), str(documents[2]["doc_id"]))  # 0.93 and 0.931 are equally sure
    assert set(texts_of(out)) == {expected}
    losers = [v for v in verdicts_of(out).values() if v["verdict"] == "dropped"]
    assert len(losers) == 3 and all((v["rule"], v["twin"], v["value"]) == ("same_text", expected, 1.0) for v in losers)


def test_of_near_duplicates_the_longest_stays_and_the_others_name_it(tmp_path: Path) -> None:
    body = text(random.Random(2), "en", 60)
    long = document(body + " And one more sentence at the end.", name="long")
    documents = [
        document(body, name="a"),
        document(body + " x", name="b"),
        long,
        document(text(random.Random(3), "en", 60), name="else"),
    ]
    _, out = run(near, tmp_path, documents)
    assert set(texts_of(out)) == {long["doc_id"], documents[3]["doc_id"]}
    loser = verdicts_of(out)[str(documents[0]["doc_id"])]
    assert loser["twin"] == long["doc_id"] and 0.9 < float(str(loser["value"])) <= 1 and loser["threshold"] == 0.8445


def real_similarity(a: str, b: str) -> float:
    sets = [{plain[i : i + 13] for i in range(len(plain) - 12)} for plain in map(str.lower, (a, b))]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def chain() -> list[dict[str, object]]:
    """Texts of which each is like the next, and the ends are not like each other; and one apart."""
    words = [f"word{i:04d}" for i in range(400)]
    return [
        *(document(" ".join(words[i * 25 : i * 25 + 200]), name=str(i)) for i in range(8)),
        document(text(random.Random(3), "en", 60), name="else"),
    ]


def verified(before: Artifact, out: Workspace) -> Outcome:
    wanted = NearDedup(bands=60, rows=3, shingle=13, unit="character", seed=1, min_similarity=0.7)
    return drop_near_duplicates(StepInput(lang="en", settings=wanted), {"before": before}, out)


def test_a_chain_of_small_differences_takes_nothing_along(tmp_path: Path) -> None:
    documents = chain()
    texts = {str(d["doc_id"]): str(d["text"]) for d in documents}
    _, out = run(verified, tmp_path, documents)
    kept, told = texts_of(out), verdicts_of(out)
    dropped = {i: v for i, v in told.items() if v["verdict"] == "dropped"}
    assert 2 < len(kept) < len(documents) and set(kept) | set(dropped) == set(texts)
    for loser, verdict in dropped.items():
        alike = real_similarity(texts[loser], texts[str(verdict["twin"])])
        assert str(verdict["twin"]) in kept and alike >= 0.7 == verdict["threshold"]
        assert float(str(verdict["value"])) == pytest.approx(alike, abs=0.01)
    for a in kept:
        assert all(real_similarity(kept[a], kept[b]) < 0.7 for b in kept if a != b)
    clusters = {c for path in out.path.glob("part-*") for c in read_table(path)["cluster_id"].to_pylist()}
    assert len(clusters) == 2, "what a chain ties stays on one side of the split"


def test_without_a_bound_the_bands_alone_link(tmp_path: Path) -> None:
    def bands(before: Artifact, out: Workspace) -> Outcome:
        wanted = NearDedup(bands=60, rows=3, shingle=13, unit="character", seed=1)
        return drop_near_duplicates(StepInput(lang="en", settings=wanted), {"before": before}, out)

    _, out = run(bands, tmp_path, chain())
    assert len(texts_of(out)) == 2


def test_blank_lines_do_not_pile_up_where_something_was_cut(tmp_path: Path) -> None:
    line = "这一行在同一个文档里面出现了好几次，后来的都要去掉。"
    body = f"第一段有自己的内容，不同于别的。\n\n{line}\n\n　\n{line}\n\n{line}\n\n最后一段也有自己的内容。"
    _, out = run(similar, tmp_path, [document(body, "zh")])
    (left,) = texts_of(out).values()
    assert left == f"第一段有自己的内容，不同于别的。\n\n{line}\n\n最后一段也有自己的内容。"
    (verdict,) = verdicts_of(out).values()
    assert verdict["value"] == pytest.approx(1 - len(left) / len(body), abs=1e-5)


def test_a_paragraph_stays_where_it_is_first_and_blank_lines_stay_everywhere(tmp_path: Path) -> None:
    repeated = "This very paragraph stands in several documents."
    documents = sorted(
        (
            document(f"Only here, number {i}, and long enough.\n\n  {repeated}\n\nThe end of number {i}.", name=str(i))
            for i in range(4)
        ),
        key=lambda d: str(d["doc_id"]),
    )
    _, out = run(paragraphs, tmp_path, documents, shards=2)
    texts = texts_of(out)
    assert texts[str(documents[0]["doc_id"])] == documents[0]["text"]
    for d in documents[1:]:
        assert texts[str(d["doc_id"])] == str(d["text"]).replace(f"\n\n  {repeated}", "")
        assert verdicts_of(out)[str(d["doc_id"])]["verdict"] == "edited"


def test_short_paragraphs_may_repeat_where_the_recipe_says_so(tmp_path: Path) -> None:
    documents = [document(f"Options\nThe text of document number {i} is its own.", name=str(i)) for i in range(3)]
    _, out = run(lambda before, out: paragraphs(before, out, minimum=10), tmp_path, documents)
    assert texts_of(out) == {d["doc_id"]: d["text"] for d in documents}


def test_a_document_of_which_nothing_is_left_is_dropped_with_what_was_left(tmp_path: Path) -> None:
    line = "All there is to say stands in this one line."
    documents = [document(line, name="a"), document(line + "\nshort", name="b")]
    _, out = run(paragraphs, tmp_path, documents)
    dropped = [v for v in verdicts_of(out).values() if v["verdict"] == "dropped"]
    if not dropped:  # the longer one came first: of the other nothing is left
        pytest.fail("one of the two had to go")
    assert dropped[0]["rule"] == "min_chars" and float(str(dropped[0]["value"])) <= 5 and dropped[0]["threshold"] == 20


# ------------------------------------------------------------------ substrings, against the definition


def cut_by_definition(texts: list[str], length: int) -> list[str]:
    """Every window of every text in order; all windows but the first of their kind are cut out. Two characters that
    come together over white space that was cut are kept apart by one of it.
    """
    seen: set[str] = set()
    out = []
    for body in texts:
        gone = [False] * len(body)
        for i in range(len(body) - length + 1):
            window = body[i : i + length]
            if window in seen:
                gone[i : i + length] = [True] * length
            seen.add(window)
        told = ""
        for lost, run in itertools.groupby(zip(body, gone, strict=True), lambda pair: pair[1]):
            part = "".join(c for c, _ in run)
            told += f"\0{part}\0" if lost else part
        parts = told.split("\0")
        left = parts[0]
        for lost_part, part in zip(parts[1::2], parts[2::2], strict=True):
            spaces = [c for c in lost_part if c.isspace()]
            apart = left and part and not left[-1].isspace() and not part[0].isspace()
            left += (("\n" if "\n" in spaces else " ") if spaces and apart else "") + part
        out.append(left)
    return out


@given(
    texts=st.lists(st.text("ab中\n ", max_size=40), min_size=1, max_size=5),
    length=st.integers(2, 6),
    passes=st.integers(1, 3),
    cut=st.integers(0, 5),
)
@settings(max_examples=300, deadline=None)
def test_what_is_cut_is_what_the_definition_says(texts: list[str], length: int, passes: int, cut: int) -> None:
    shards = [part for part in (texts[:cut], texts[cut:]) if part]
    held = [buffers(pa.array(part, pa.string())) for part in shards]
    of_shards = [
        substring_dedup.windows(h, length, passes, 0, np.zeros(len(part), np.uint64))[0]
        for h, part in zip(held, shards, strict=True)
    ]
    all_marks = [np.zeros(sum(map(len, part)) // 8 + 1, np.uint8) for part in shards]
    for index in range(passes):
        mine = [parts[index] for parts in of_shards]
        seen = repeats.repeats(np.concatenate([hashes for hashes, _ in mine]))
        ends = np.cumsum([len(hashes) for hashes, _ in mine])[:-1]
        for marks, (_, places), repeated in zip(all_marks, mine, np.split(seen, ends), strict=True):
            kernels.mark(places[repeated], marks)
    found: list[str] = []
    for h, marks, part in zip(held, all_marks, shards, strict=True):
        out, offsets, removed = (
            np.empty(len(h.data), np.uint8),
            np.zeros(len(part) + 1, np.int64),
            np.zeros(len(part), np.int64),
        )
        kernels.without_repeats(h.data, h.offsets, length, marks, 0, out, offsets, removed)
        found += string_array(out, offsets).to_pylist()
        assert removed.tolist() == [len(a) - len(b) for a, b in zip(part, found[-len(part) :], strict=True)]
    assert found == cut_by_definition(texts, length)


@pytest.mark.parametrize(("between", "stays"), [("\n", "\n"), (" ", " "), (" \n", "\n"), ("", "")])
def test_words_on_both_sides_of_a_cut_stay_two(between: str, stays: str) -> None:
    passage = "and" + f"{between}thisissaidineveryoneofthesedocumentswordbyword{between}" + "so"
    texts = [f"one{passage}two", f"target{passage}Ask"]
    held = buffers(pa.array(texts, pa.string()))
    marks = np.zeros(sum(map(len, texts)) // 8 + 1, np.uint8)
    ((hashes, places),), _ = substring_dedup.windows(held, 50, 1, 0, np.zeros(2, np.uint64))
    kernels.mark(places[repeats.repeats(hashes)], marks)
    out, offsets, removed = np.empty(len(held.data), np.uint8), np.zeros(3, np.int64), np.zeros(2, np.int64)
    kernels.without_repeats(held.data, held.offsets, 50, marks, 0, out, offsets, removed)
    found = string_array(out, offsets).to_pylist()
    assert found == cut_by_definition(texts, 50) == [texts[0], f"target{stays}Ask"]
    assert removed.tolist() == [0, len(passage) - len(stays)]


@pytest.mark.parametrize("step", [exact, paragraphs, substrings])
def test_many_partitions_find_what_one_finds(step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, first = run(step, tmp_path, corpus())
    monkeypatch.setattr(exact_dedup, "PARTITION", 9)
    monkeypatch.setattr(repeats, "PARTITION", 5000 if step is substrings else 300)
    monkeypatch.setattr(substring_dedup, "CHUNK_BYTES", 700)
    many, second = run(step, tmp_path / "many", corpus(), shards=3)
    assert one.digest == many.digest and verdicts_of(first) == verdicts_of(second)
    assert (one.numbers["edited"] or one.rows_dropped or 0) > 5
    (folder,) = {p.parent for p in second.path.glob(".logs/*/00001.arrows")}
    assert len(list(folder.glob("*.arrows"))) > 3


def cut_by(folder: Path, documents: list[dict[str, object]], **more: object) -> dict[str, str]:
    """Texts that the step leaves, with these settings besides."""
    out = Workspace(folder / f"out-{len(more)}-{more.get('one_in')}")
    out.path.mkdir(parents=True)
    asked = SubstringDedup.model_validate({"length": 50, "min_chars": 0} | more)
    cut_repeated_substrings(
        StepInput(lang="en", settings=asked), {"b": left_by_a_step(folder / "s", documents, 2)}, out
    )
    return texts_of(out)


def test_within_a_source_passages_of_other_sources_stay(tmp_path: Path) -> None:
    generator = random.Random(11)
    shared = sentence(generator, "en", 30)
    documents = [document(f"{text(generator, 'en')}\n{shared}", name=f"p{i}") for i in range(6)]
    for i, row in enumerate(documents):
        row["source"] = f"s{i % 2}"
    exact, apart = cut_by(tmp_path, documents), cut_by(tmp_path, documents, scope="source")
    assert sum(shared in body for body in exact.values()) == 1
    assert sum(shared in body for body in apart.values()) == 2  # the first of each source


def test_of_some_windows_less_is_found_and_nothing_else(tmp_path: Path) -> None:
    documents = corpus()
    whole = {str(row["doc_id"]): str(row["text"]) for row in documents}
    exact, some = cut_by(tmp_path, documents), cut_by(tmp_path, documents, one_in=8)
    lost = {i: len(whole[i]) - len(exact.get(i, "")) for i in whole}
    lost_less = {i: len(whole[i]) - len(some.get(i, "")) for i in whole}
    assert all(lost_less[i] <= lost[i] + 2 for i in whole)  # a gap between two cuts may keep a space
    assert 0.3 * sum(lost.values()) < sum(lost_less.values()) <= sum(lost.values())


# ------------------------------------------------------------------ similar lines, against the definition


def distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


LINES = st.lists(
    st.tuples(
        st.text("天地玄黄宇宙洪荒日月盈昃", min_size=0, max_size=30),
        st.sampled_from(["。", "！", "\n", "；", ". ", "？\n"]),
    ),
    max_size=8,
)


@given(
    lines=LINES,
    edits=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 29), st.sampled_from("天地辰宿")), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_similar_lines_are_those_within_the_distance(
    lines: list[tuple[str, str]], edits: list[tuple[int, int, str]]
) -> None:
    import pyarrow as pa

    lines = [*lines, *((lines[i][0][:j] + c + lines[i][0][j + 1 :], "。") for i, j, c in edits if i < len(lines))]
    body = "".join(a + b for a, b in lines)
    pieces, begin = [], 0
    for i, c in enumerate(body):
        if c in "!?。！？…】]\\\n" or (c == "." and (i + 1 == len(body) or body[i + 1].isspace())):
            pieces.append(body[begin : i + 1])
            begin = i + 1
    pieces += [body[begin:]] if begin < len(body) else []
    kept: list[str] = []
    expected = ""
    for piece in pieces:
        content = piece.strip("。！？；. \n")
        alike = any(
            k == content
            or (min(len(k), len(content)) > 15 and distance(k, content) <= int(0.1 * max(len(k), len(content)) + 1e-9))
            for k in kept
        )
        if content and alike:
            expected += "\n" if piece.endswith("\n") else ""
            continue
        kept += [content] if content else []
        expected += piece
    texts, chars, _ = without_similar_lines(buffers(pa.array([body], pa.string())), SIMILAR)
    assert texts[0].as_py() == expected
    assert chars[0] >= len(body) - len(expected)


def test_two_sentences_that_differ_in_the_last_mark_are_one(tmp_path: Path) -> None:
    _, out = run(
        similar,
        tmp_path,
        [
            document(
                "这是一个足够长的句子，它说的是同一件事情。另外一句话也在这里。这是一个足够长的句子，它说的是同一件事情！",
                "zh",
                "a",
            )
        ],
    )
    assert list(texts_of(out).values()) == ["这是一个足够长的句子，它说的是同一件事情。另外一句话也在这里。"]
