"""Recall finds more of what the seeds are, place by place, and says how precise it is by people's labels."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.data import HighQuality
from neo_assets.core.stage import StepInput
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.quality.classifier import GOOD, OTHER, line_of, place_of, probabilities, train, train_classifier
from neo_assets.quality.recall import RecallInput, recall, recall_input
from tests.corpora import document, left_by_a_step, verdicts_of

GUIDE = [
    "first",
    "open",
    "the",
    "menu",
    "then",
    "choose",
    "the",
    "entry",
    "you",
    "want",
    "and",
    "press",
    "the",
    "button",
    "until",
    "the",
    "list",
    "shows",
    "what",
    "you",
    "have",
    "done",
]
STUB = [
    "returns",
    "value",
    "parameter",
    "integer",
    "syntax",
    "type",
    "constant",
    "error",
    "zero",
    "index",
    "object",
    "method",
    "property",
    "default",
]
SETTINGS = HighQuality(
    seed_urls=["/guide/"], sample=100, rounds=3, epochs=10, learning_rate=0.5, dimensions=8, word_ngrams=1,
    min_count=1, buckets=1000, min_score=0.6, held_back=0.1,
    place_depth=1, min_place_documents=5, min_place_share=0.6, seed=1,
)  # fmt: skip


def corpus() -> list[dict[str, object]]:
    """Guides (seeds), a book that reads like guides, and reference stubs."""
    generator = random.Random(1)
    out = []
    for place, words, n in (("guide", GUIDE, 60), ("book", GUIDE, 30), ("reference", STUB, 120)):
        for i in range(n):
            body = " ".join(generator.choices(words, k=60) + generator.choices(GUIDE + STUB, k=10))
            out.append({**document(body, "en", f"{place}{i}"), "url": f"http://help.example/{place}/page{i}.html"})
    return out


def classifier(folder: Path, settings: HighQuality = SETTINGS, shards: int = 2) -> tuple[Artifact, Artifact]:
    cleaned = left_by_a_step(folder, corpus(), shards=shards, key="decontaminated/en")
    made_from = MadeFrom(config=settings.model_dump(), code={}, libraries={}, inputs={})
    made, _ = Store(folder).build(
        "hq_classifier/en",
        made_from,
        lambda out: train_classifier(StepInput(lang="en", settings=settings), {"x": cleaned}, out),
    )
    return cleaned, made


def recalled(folder: Path, config: RecallInput) -> tuple[Outcome, Workspace]:
    cleaned, model = classifier(folder)
    out = Workspace(folder / "out")
    out.path.mkdir()
    return recall(config, {"decontaminated/en": cleaned, "hq_classifier/en": model}, out), out


def recalled_ids(folder: Path) -> list[str]:
    files = sorted((folder / "recalled").glob("*.parquet"))
    return [i for path in files for i in records.read_table(path).column("doc_id").to_pylist()]


def test_a_place_that_reads_like_the_seeds_joins_them(tmp_path: Path) -> None:
    _, made = classifier(tmp_path)
    rounds = json.loads(made.file("rounds.json").read_text())
    assert rounds["places"] == ["help.example/book"]
    assert rounds["rounds"][0]["seeds"] == 60 and 85 < rounds["rounds"][1]["seeds"] <= 90
    assert rounds["rounds"][-1]["new places"] == 0
    assert rounds["rounds"][0]["accuracy on held-back seeds"] > 0.6  # the book's pages count as others there


def test_what_is_recalled_is_what_reads_like_the_seeds(tmp_path: Path) -> None:
    outcome, out = recalled(tmp_path, RecallInput(lang="en", settings=SETTINGS))
    urls = {str(d["doc_id"]): str(d["url"]) for d in corpus()}
    found = [urls[i] for i in recalled_ids(out.path)]
    assert sum("/reference/" in u for u in found) == 0 and sum("/book/" in u for u in found) > 25
    told = verdicts_of(out)
    assert len(told) == 210 and all(v["verdict"] == "kept" and v["threshold"] == 0.6 for v in told.values())
    assert {i for i, v in told.items() if v["detail"] == "recalled"} == set(recalled_ids(out.path))
    assert outcome.rows_dropped == 0


def test_the_same_documents_give_the_same_model(tmp_path: Path) -> None:
    first = classifier(tmp_path / "a")[1]
    for shards in (2, 1, 7):
        made = classifier(tmp_path / f"b{shards}", shards=shards)[1]
        assert made.manifest.digest == first.manifest.digest, "the files that the documents came in changed the model"
        assert made.manifest.tables == first.manifest.tables


def test_precision_is_measured_on_labels_and_labels_are_identity(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    rows = [{"url": f"http://help.example/book/page{i}.html", "good": i != 0} for i in range(10)] + [
        {"url": f"http://help.example/reference/page{i}.html", "good": False} for i in range(10)
    ]
    labels.write_text("".join(json.dumps(r) + "\n" for r in [*rows, {"url": "http://nowhere.example/", "good": True}]))
    config = recall_input("en", SETTINGS.model_copy(update={"labels": str(labels)}))
    outcome, _ = recalled(tmp_path / "run", config)
    n = outcome.numbers
    assert (n["labelled"], n["labelled_good"], n["labelled_recalled"]) == (20, 9, 10)
    assert (
        n["precision"] == 0.9
        and n["precision_stderr"] == pytest.approx(np.sqrt(0.09 / 10), abs=1e-3)
        and n["recall_of_good"] == 1.0
    )
    labels.write_text("")
    assert recall_input("en", SETTINGS.model_copy(update={"labels": str(labels)})).labels_digest != config.labels_digest
    with pytest.raises(BadInput, match="has changed since the recipe was loaded"):
        recalled(tmp_path / "again", config)


def test_labels_that_are_not_there_are_named() -> None:
    with pytest.raises(BadInput, match=r"high_quality\.en\.labels: there is no file .*none\.jsonl"):
        recall_input("en", SETTINGS.model_copy(update={"labels": "none.jsonl"}))


def test_seeds_that_match_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"seed_urls match none of 210 documents; their URLs look like http://help\.example/"
    ):
        classifier(tmp_path, SETTINGS.model_copy(update={"seed_urls": ["nothing"]}))


def test_the_probability_is_of_good_whichever_label_is_likelier(tmp_path: Path) -> None:
    model = train([(GOOD, " ".join(GUIDE)), (OTHER, " ".join(STUB))] * 50, SETTINGS, tmp_path / "t.txt")
    good, bad, unknown = probabilities(model, [" ".join(GUIDE), " ".join(STUB), ""])
    assert good > 0.8 and bad < 0.2 and 0 <= unknown <= 1


def test_places_and_lines() -> None:
    assert place_of("http://a.example/x/y/z/page.html?q=1", 2) == "a.example/x/y"
    assert place_of("http://a.example/page.html", 2) == "a.example"
    assert line_of("我们 use\nlinux __label__1") == "我 们 use linux 1"
