"""``hq_classifier/‹lang›`` and ``hq_recall/‹lang›``: more of what is known to be good, found by a classifier, in rounds
(MAP-Neo §2.6).

Seeds are documents whose URL says what they are. A fastText classifier learns them against a sample of the rest, scores
everything, and the places (host and first folders) where many documents score high join the seeds for the next round.
The library is floret, fastText's own code with wheels for every Python; training runs on one thread, so that the same
documents give the same model.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from pydantic import Field

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import ROOT, digest_file
from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.recipe.data import HighQuality
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.stage import StepInput
from neo_assets.core.steps import (
    VERDICTS,
    Decision,
    read_footer,
    totals,
    verdict_columns,
    write_part,
    write_verdicts,
    write_with_footer,
)
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Workspace

GOOD, OTHER = "__label__1", "__label__0"
_IDEOGRAPH = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
_SCORED_AT_ONCE = 2000
SCORES = "scores"
"""Folder of an artifact of recall: the score of every document."""


class RecallInput(Section):
    """``labels``: documents read by people; its digest counts, its place does not."""

    lang: str
    settings: HighQuality
    labels: str = Field(default="", json_schema_extra=NOT_IDENTITY)
    labels_digest: str = ""


def recall_input(lang: str, settings: HighQuality) -> RecallInput:
    """Raises BadInput when the recipe names labels that are not there."""
    if settings.labels is None:
        return RecallInput(lang=lang, settings=settings)
    file = ROOT / settings.labels
    if not file.is_file():
        raise BadInput(f"high_quality.{lang}.labels: there is no file {file}")
    return RecallInput(lang=lang, settings=settings, labels=settings.labels, labels_digest=digest_file(file))


@dataclass(frozen=True)
class _Documents:
    """What the rounds look at: ids, URLs and places of all documents; texts are read shard by shard."""

    files: list[Path]
    ids: list[str]
    urls: list[str]
    places: list[str]

    @staticmethod
    def of(artifact: Artifact, depth: int) -> _Documents:
        files = artifact.files(records.PART)
        ids, urls = [], []
        for path in files:
            table = records.read_table(path, records.DOCUMENT, ["doc_id", "url"])
            ids += table.column("doc_id").to_pylist()
            urls += table.column("url").to_pylist()
        return _Documents(files, ids, urls, [place_of(url, depth) for url in urls])

    def lines(self) -> Iterator[list[str]]:
        """Texts as the classifier reads them, in the order of ``ids``, some at a time."""
        for path in self.files:
            texts = records.read_table(path, records.DOCUMENT, ["text"]).column("text").to_pylist()
            for begin in range(0, len(texts), _SCORED_AT_ONCE):
                yield [line_of(t) for t in texts[begin : begin + _SCORED_AT_ONCE]]


def place_of(url: str, depth: int) -> str:
    """Host and the first ``depth`` folders of a URL: what is counted as one place."""
    parts = urlsplit(url)
    folders = [part for part in parts.path.split("/")[:-1] if part][:depth]
    return "/".join([parts.netloc, *folders])


def line_of(text: str) -> str:
    """A text as one line of words: ideographs apart, so that they are words to fastText; label marks taken out."""
    return " ".join(_IDEOGRAPH.sub(r" \1 ", text.replace("__label__", "")).split())


def train(lines: Sequence[tuple[str, str]], settings: HighQuality, file: Path) -> Any:
    """A fastText model from (label, line) pairs; ``file`` takes the training text."""
    import floret

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{label} {line}\n" for label, line in lines), encoding="utf-8")
    return floret.train_supervised(
        input=str(file), epoch=settings.epochs, lr=settings.learning_rate, dim=settings.dimensions,
        wordNgrams=settings.word_ngrams,
        minCount=settings.min_count, bucket=settings.buckets, thread=1, verbose=0,
    )  # fmt: skip


def probabilities(model: Any, lines: Sequence[str]) -> npt.NDArray[np.float64]:
    """P(good) of each line; 0 for one without a known word.

    The likelier label is asked for alone: with two, floret 0.10 gives both the first one's probability when it is
    handed a list.
    """
    labels, scores = model.predict(list(lines), k=1)
    out = np.zeros(len(lines))
    for i, (names, values) in enumerate(zip(labels, scores, strict=True)):
        if len(names):
            likelier = min(1.0, float(values[0]))
            out[i] = likelier if names[0] == GOOD else 1 - likelier
    return out


def train_classifier(config: StepInput[HighQuality], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The classifier of the last round, with what each round learnt from and which places joined the seeds.

    Accuracy is on documents kept out of training, by their seed labels: it says how well the seeds are told from the
    rest, not how good the documents are. That is what the labelled sample of `hq_recall` is for.
    """
    settings = config.settings
    (cleaned,) = inputs.values()
    documents = _Documents.of(cleaned, settings.place_depth)
    patterns = [re.compile(p) for p in settings.seed_urls]
    seeds = {i for i, url in enumerate(documents.urls) if any(p.search(url) for p in patterns)}
    if not seeds:
        raise BadInput(
            f"high_quality.{config.lang}.seed_urls match none of {len(documents.ids):,} documents; their URLs look like"
            f" {documents.urls[0] if documents.urls else '(none)'}. Name patterns of good pages there, or leave the"
            " step out with `high_quality: null`."
        )
    rounds: list[Row] = []
    accepted: list[str] = []
    model: Any = None
    for number in range(1, settings.rounds + 1):
        chosen = _sample(documents, seeds, set(accepted), settings, number)
        lines = {i: line for i, line in enumerate(line for batch in documents.lines() for line in batch) if i in chosen}
        held_back = {i for i in chosen if _key(documents.ids[i], settings.seed + 999) < settings.held_back * 2**64}
        training = [
            (GOOD if i in seeds else OTHER, lines[i])
            for i in sorted(chosen - held_back, key=lambda i: _key(documents.ids[i], number))
        ]
        model = train(training, settings, out.path / ".logs" / "train.txt")
        scores = np.concatenate([probabilities(model, batch) for batch in documents.lines()])
        tested = sorted(held_back)
        right = np.mean([(scores[i] > 0.5) == (i in seeds) for i in tested]) if tested else float("nan")
        hits = scores > settings.min_score
        new = _new_places(documents, hits, seeds, settings)
        rounds.append(
            {
                "round": number,
                "seeds": len(seeds),
                "trained on": len(training),
                "accuracy on held-back seeds": round(float(right), 4),
                "held back": len(tested),
                "recalled": int(hits.sum()),
                "new places": len(new),
                "joining": ", ".join(sorted(new)[:5]),
            }
        )
        accepted += sorted(new)
        seeds |= {i for i, place in enumerate(documents.places) if place in new and hits[i]}
        out.log(f"round {number}: {len(training):,} documents, {int(hits.sum()):,} recalled, {len(new)} places join")
        if not new:
            break
    model.save_model(str(out.path / "classifier.bin"))
    out.write_text("rounds.json", json.dumps({"rounds": rounds, "places": accepted}, ensure_ascii=False, indent=1))
    return Outcome(
        digest=digest_file(out.path / "classifier.bin"),
        numbers={
            "rounds": len(rounds),
            "seeds": rounds[-1]["seeds"],
            "recalled": rounds[-1]["recalled"],
            "accuracy on held-back seeds": rounds[-1]["accuracy on held-back seeds"],
        },
        tables={"rounds": rounds},
        checks=[
            Check(
                name="something_recalled",
                passed=int(str(rounds[-1]["recalled"])) > 0,
                detail=f"{rounds[-1]['recalled']} documents score above {settings.min_score}",
                blocking=False,
            )
        ],
    )


def _key(doc_id: str, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(doc_id.encode(), seed=seed)


def _sample(documents: _Documents, seeds: set[int], accepted: set[str], settings: HighQuality, number: int) -> set[int]:
    """Seeds, evenly from every place, and as many others at random (keyed by id); what joined places hold beside seeds
    is neither.
    """
    by_place: dict[str, list[int]] = defaultdict(list)
    for i in seeds:
        by_place[documents.places[i]].append(i)
    share = -(-settings.sample // len(by_place))
    good = {
        i
        for mine in by_place.values()
        for i in sorted(mine, key=lambda i: _key(documents.ids[i], settings.seed + number))[:share]
    }
    rest = sorted(
        (i for i in range(len(documents.ids)) if i not in seeds and documents.places[i] not in accepted),
        key=lambda i: _key(documents.ids[i], settings.seed + number),
    )
    return good | set(rest[: min(settings.sample, len(good))])


def _new_places(documents: _Documents, hits: npt.NDArray[np.bool_], seeds: set[int], settings: HighQuality) -> set[str]:
    """Places that are no seeds yet where enough documents, and a large enough share, were recalled."""
    known = {documents.places[i] for i in seeds}
    total, recalled = (
        Counter(documents.places),
        Counter(place for place, hit in zip(documents.places, hits, strict=True) if hit),
    )
    return {
        place
        for place, n in recalled.items()
        if place not in known and n >= settings.min_place_documents and n / total[place] >= settings.min_place_share
    }


def recall(config: RecallInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Which documents the classifier recalls, with the score of every document, and its precision on a sample that
    people labelled.

    Nothing is dropped here: a mixture may read recalled documents more often.
    """

    cleaned = next(artifact for name, artifact in inputs.items() if not name.startswith("hq_classifier/"))
    model = inputs[f"hq_classifier/{config.lang}"].file("classifier.bin")
    shards = cleaned.files(records.PART)
    labels = _labels(config)
    run_shards(
        partial(_recall_shard, config, model, frozenset(labels), out.path),
        shards,
        workers=out.workers,
        scratch=out.path / ".logs",
        input_bytes=total_bytes(shards),
    )
    found = totals([out.path / records.RECALLED / path.name for path in shards], [])
    sources: Counter[tuple[str, bool]] = Counter()
    told: dict[str, bool] = {}
    for path in shards:
        footer = read_footer(out.path / SCORES / path.name)
        sources.update({(source, hit): n for source, hit, n in footer["by_source"]})
        told |= dict(footer["labelled"])
    scored, expected = sources.total(), cleaned.manifest.rows_kept or 0
    by_source: list[Row] = [
        {"source": s, "documents": sources[s, True] + sources[s, False], "recalled": sources[s, True]}
        for s in sorted({s for s, _ in sources})
    ]
    return Outcome(
        digest=found.digest,
        rows_in=expected,
        rows_kept=scored,
        rows_dropped=0,
        numbers={
            "recalled": found.rows,
            "recalled_share": round(found.rows / scored, 4) if scored else 0.0,
            **_precision(labels, told),
        },
        tables={"by source": by_source},
        checks=[Check(name="rows_balance", passed=scored == expected, detail=f"{expected} in = {scored} scored")],
    )


@functools.cache
def _model(file: Path) -> Any:
    """Read once a process."""
    import floret

    return floret.load_model(str(file))


def _recall_shard(config: RecallInput, model: Path, labelled: frozenset[str], folder: Path, path: Path) -> None:
    """Verdicts, then what is recalled, then the scores: where these are, the others are."""
    if (folder / SCORES / path.name).is_file():
        return
    least = config.settings.min_score
    table = records.read_table(path, records.DOCUMENT, ["doc_id", "text", "url", "source"])
    lines = [line_of(t) for t in table.column("text").to_pylist()]
    batches = [lines[b : b + _SCORED_AT_ONCE] for b in range(0, len(lines), _SCORED_AT_ONCE)]
    found = np.concatenate([np.zeros(0), *(probabilities(_model(model), batch) for batch in batches)])
    hits = found > least
    decision = Decision.keep(table.num_rows)
    decision.value, decision.threshold = np.round(found, 6), np.full(table.num_rows, least)
    decision.detail = ["recalled" if hit else "" for hit in hits]
    columns = verdict_columns(f"hq_recall/{config.lang}", table.column("doc_id"), table.column("source"), decision)
    write_verdicts(columns, folder / VERDICTS / path.name)
    write_part(table.select(["doc_id"]).filter(pa.array(hits)), folder / records.RECALLED / path.name)
    sources = Counter(zip(table.column("source").to_pylist(), hits.tolist(), strict=True))
    urls = zip(table.column("url").to_pylist(), hits.tolist(), strict=True)
    footer: dict[str, object] = {
        "by_source": [[source, hit, n] for (source, hit), n in sorted(sources.items())],
        "labelled": [[url, hit] for url, hit in urls if url in labelled],
    }
    scores = pa.table({"doc_id": table.column("doc_id"), "score": found})
    write_with_footer(scores, folder / SCORES / path.name, footer)


def _labels(config: RecallInput) -> dict[str, bool]:
    """What people said of documents, by URL. Labels are JSON lines: ``url`` and ``good``."""
    if not config.labels:
        return {}
    file = ROOT / config.labels
    if digest_file(file) != config.labels_digest:
        raise BadInput(f"{file} has changed since the recipe was loaded; load it again")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {row["url"]: bool(row["good"]) for row in rows}


def _precision(labels: Mapping[str, bool], recalled: Mapping[str, bool]) -> dict[str, Scalar]:
    """Precision and recall on the labelled documents that are in the corpus."""
    here = [(good, recalled[url]) for url, good in labels.items() if url in recalled]
    if not here:
        return {}
    hit = sum(good and found for good, found in here)
    found, good = sum(f for _, f in here), sum(g for g, _ in here)
    n = max(1, found)
    share = hit / n
    return {
        "labelled": len(here), "labelled_good": good, "labelled_recalled": found, "precision": round(share, 4),
        "precision_stderr": round(float(np.sqrt(share * (1 - share) / n)), 4),
        "recall_of_good": round(hit / max(1, good), 4),
    }  # fmt: skip
