"""What is held out shares no long run of text with what is trained on, and both sides together are the corpus."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from neo_assets.core.recipe.data import Split
from neo_assets.core.store import Artifact, Check, MadeFrom, Outcome, Store, Workspace
from neo_assets.corpus.candidates import is_held_out
from neo_assets.corpus.held_out import NO_SHARED_RUNS, SplitInput, hold_out, pool
from neo_assets.corpus.matrix import MatrixInput, assemble_matrix
from tests.corpora import document, left_by_a_step, texts_of, verdicts_of

SPLIT = Split(share=0.4, seed=1, max_run={"en": 5, "zh": 8})
Documents = list[dict[str, Any]]


def matrix(folder: Path, documents: Documents, shards: int = 3) -> Artifact:
    cleaned = {
        lang: left_by_a_step(folder, [d for d in documents if d["lang"] == lang], shards, f"decontaminated/{lang}")
        for lang in ("en", "zh")
    }
    config = MatrixInput(languages=["en", "zh"])
    made = MadeFrom(config={"n": len(documents), "shards": shards}, code={}, libraries={}, inputs={})
    return Store(folder).build("matrix", made, lambda out: assemble_matrix(config, cleaned, out))[0]


def divided(folder: Path, of: Artifact, split: Split = SPLIT) -> tuple[Outcome, Workspace, Outcome, Workspace]:
    """Both sides: outcome and folder of what is held out, of what is trained on."""
    config = SplitInput(languages=["en", "zh"], split=split)
    made = MadeFrom(config=config.model_dump(), code={}, libraries={}, inputs={})
    held = Store(folder / "store").build("heldout", made, lambda out: hold_out(config, {"matrix": of}, out))[0]
    outs = Workspace(folder / "held"), Workspace(folder / "pool")
    for out in outs:
        out.path.mkdir(parents=True)
    first = hold_out(config, {"matrix": of}, outs[0])
    return first, outs[0], pool(config, {"matrix": of, "heldout": held}, outs[1]), outs[1]


def check(outcome: Outcome, name: str) -> Check:
    return next(c for c in outcome.checks if c.name == name)


def words(generator: random.Random, count: int) -> list[str]:
    return ["".join(generator.choices("abcdefghij", k=8)) for _ in range(count)]


def named(candidate: bool, prefix: str) -> str:
    """A name of a document that is, or is not, a candidate."""
    names = (f"{prefix}{i}" for i in range(1000))
    return next(n for n in names if is_held_out(str(document("", name=n)["doc_id"]), SPLIT) is candidate)


@pytest.mark.parametrize(("shared", "goes_back"), [(5, False), (6, True)])
def test_a_candidate_that_shares_a_longer_run_is_trained_on(tmp_path: Path, shared: int, goes_back: bool) -> None:
    generator = random.Random(1)
    run = words(generator, shared)
    trained = document(" ".join([*words(generator, 20), *run]), name=named(False, "trained"))
    candidate = document(" ".join([*run, *words(generator, 20)]).upper(), name=named(True, "candidate"))
    other = document(" ".join(words(generator, 20)), name=named(True, "other"))
    chinese = [document("一些别的字" * 3, "zh", named(side, "zh")) for side in (True, False)]
    of = matrix(tmp_path / "m", [trained, candidate, other, *chinese])
    held, held_out, trained_on, _ = divided(tmp_path, of, SPLIT.model_copy(update={"max_run": {"en": 5}}))
    assert (candidate["doc_id"] in texts_of(held_out)) is not goes_back
    assert other["doc_id"] in texts_of(held_out) and held.numbers["went_back_en"] == int(goes_back)
    verdict = verdicts_of(held_out)[candidate["doc_id"]]
    if goes_back:
        told = (verdict["rule"], verdict["value"], verdict["threshold"], verdict["twin"])
        assert told == ("shared_run", 6, 5, trained["doc_id"])
    assert check(trained_on, NO_SHARED_RUNS.name).passed


def test_what_shares_a_run_with_what_went_back_goes_too_with_its_translations(tmp_path: Path) -> None:
    generator = random.Random(2)
    one, two = words(generator, 8), words(generator, 8)
    split = SPLIT.model_copy(update={"together": ["-(en|zh)$"]})
    pages = (f"page{i}" for i in range(1000))
    page = next(p for p in pages if is_held_out(f"http://site.example/{p}", split))
    trained = document(" ".join([*words(generator, 9), *one]), name=named(False, "trained"))
    bridge = document(" ".join([*one, *words(generator, 9), *two]), name=named(True, "bridge"))
    english = document(" ".join([*two, *words(generator, 9)]), name=f"{page}-en")
    chinese = document("这一页说的是别的事情，没有人说过。", "zh", f"{page}-zh")
    kept = document("另外一页也说了别的事情，与谁都不相同。", "zh", named(True, "kept"))
    zh = document("训练用的文字就在这里写着，别处没有。", "zh", named(False, "zh"))
    stays = document(" ".join(words(generator, 30)), name=named(True, "stays"))
    of = matrix(tmp_path / "m", [trained, bridge, english, chinese, kept, zh, stays])
    held, held_out, trained_on, _ = divided(tmp_path, of, split)
    assert set(texts_of(held_out)) == {stays["doc_id"], kept["doc_id"]}
    told = {i: (v["rule"], v["value"], v["twin"]) for i, v in verdicts_of(held_out).items()}
    assert told[bridge["doc_id"]] == ("shared_run", 8, trained["doc_id"])
    assert told[english["doc_id"]] == ("shared_run", 8, bridge["doc_id"])
    assert told[chinese["doc_id"]] == ("with_its_page", None, "")
    assert (held.numbers["went_back_en"], held.numbers["went_back_zh"]) == (2, 1)
    assert check(trained_on, NO_SHARED_RUNS.name).passed


def test_a_run_is_found_in_documents_of_another_language_too(tmp_path: Path) -> None:
    """Pages are translated in part: an English document goes back for an English passage of a Chinese page, and for
    one of a Chinese candidate that goes back itself.
    """
    generator = random.Random(5)
    one, two, three = words(generator, 7), words(generator, 9), words(generator, 9)
    saying = "这一句话在两边都说过，一个字也没有改。"
    trained = document(f"训练用的中文页。{' '.join(one)}。{saying}", "zh", named(False, "zh"))
    bridge = document(f"{saying}{' '.join(two)}。", "zh", named(True, "bridge"))
    quoted = document(" ".join([*words(generator, 9), *one]), name=named(True, "quoted"))
    beyond = document(" ".join([*words(generator, 9), *two]), name=named(True, "beyond"))
    kept = document(f"留下来的中文页，谁也没有抄过它。{' '.join(three)}。", "zh", named(True, "kept"))
    stays = document(" ".join([*words(generator, 9), *three]), name=named(True, "stays"))
    english = document(" ".join(words(generator, 20)), name=named(False, "english"))
    of = matrix(tmp_path / "m", [trained, bridge, quoted, beyond, kept, stays, english])
    _, held_out, trained_on, _ = divided(tmp_path, of)
    assert set(texts_of(held_out)) == {kept["doc_id"], stays["doc_id"]}  # both held out: that they share is no matter
    told = {i: (v["rule"], v["value"], v["twin"]) for i, v in verdicts_of(held_out).items()}
    assert told[quoted["doc_id"]] == ("shared_run", 7, trained["doc_id"])
    assert told[beyond["doc_id"]] == ("shared_run", 9, bridge["doc_id"])
    assert told[bridge["doc_id"]] == ("shared_run", 17, trained["doc_id"])
    assert check(trained_on, NO_SHARED_RUNS.name).passed


def runs(body: str, length: int) -> set[tuple[str, ...]]:
    tokens = re.findall("[a-j]+|[一-龥]", body)
    return {tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)}


def test_random_corpora_divide_as_plain_python_divides_them(tmp_path: Path) -> None:
    """Documents made of a few shared pieces, some of the other language, against the closure in plain sets; whatever
    the files they stand in.
    """
    generator = random.Random(3)
    pieces = {"en": [words(generator, 7) for _ in range(700)]}
    pieces["zh"] = [["".join(generator.choices("天地玄黄宇宙洪荒日月盈昃辰宿列张", k=10))] for _ in range(700)]
    other = {"en": "zh", "zh": "en"}
    documents = [
        document(
            ", ".join(" ".join(generator.choice(pieces[other[lang] if k == 4 else lang])) for k in range(5)),
            lang,
            f"{lang}{i}",
        )
        for lang in ("en", "zh")
        for i in range(40)
    ]
    expected = candidates = {d["doc_id"] for d in documents if is_held_out(d["doc_id"], SPLIT)}
    while True:
        trained = {
            lang: set().union(*(runs(d["text"], limit + 1) for d in documents if d["doc_id"] not in expected))
            for lang, limit in SPLIT.max_run.items()
        }
        stay = {
            d["doc_id"]
            for d in documents
            if d["doc_id"] in expected and not runs(d["text"], SPLIT.max_run[d["lang"]] + 1) & trained[d["lang"]]
        }
        if stay == expected:
            break
        expected = stay
    found = []
    for shards in (1, 4):
        folder = tmp_path / str(shards)
        _, held_out, trained_on, rest = divided(folder, matrix(folder / "m", documents, shards))
        found.append(set(texts_of(held_out)))
        assert set(texts_of(rest)) == {d["doc_id"] for d in documents} - found[-1]
        assert check(trained_on, NO_SHARED_RUNS.name).passed and check(trained_on, "rows_balance").passed
    assert found == [expected, expected] and 5 < len(expected) < len(candidates) - 5


def test_a_line_that_was_drawn_without_looking_at_runs_is_refused(tmp_path: Path) -> None:
    generator = random.Random(4)
    run = words(generator, 9)
    documents = [document(" ".join([*words(generator, 9), *run]), name=named(side, "d")) for side in (True, False)]
    documents += [document(f"{side}边的文字说的都是自己的事", "zh", named(side == "左", "zh")) for side in "左右"]
    of = matrix(tmp_path / "m", documents)
    blind = SplitInput(languages=["en", "zh"], split=SPLIT.model_copy(update={"max_run": {}}))
    made = MadeFrom(config=blind.model_dump(), code={}, libraries={}, inputs={})
    held = Store(tmp_path / "store").build("heldout", made, lambda out: hold_out(blind, {"matrix": of}, out))[0]
    out = Workspace(tmp_path / "pool")
    out.path.mkdir()
    found = check(
        pool(SplitInput(languages=["en", "zh"], split=SPLIT), {"matrix": of, "heldout": held}, out), NO_SHARED_RUNS.name
    )
    assert not found.passed and found.blocking and found.detail.startswith("8 of 18 ")


def test_a_language_of_which_everything_went_back_says_what_to_change(tmp_path: Path) -> None:
    documents = [document("所有的页面说的都是同一句话，没有别的。", "zh", named(side, "zh")) for side in (True, False)]
    documents += [document(" ".join(words(random.Random(i), 30)), name=f"en{i}") for i in range(20)]
    held, *_ = divided(tmp_path, matrix(tmp_path / "m", documents))
    found = check(held, "language_not_empty")
    assert not found.passed and "1 candidate went back" in found.detail and "heldout.max_run" in found.detail
