"""``hq_classifier/‹lang›``: what good pages look like, learnt in rounds (MAP-Neo §2.6).

Seeds are documents whose URL says what they are. A fastText classifier learns them against a sample of the rest, scores
everything, and the places (host and first folders) where many documents score high join the seeds for the next round.
The library is floret, fastText's own code with wheels for every Python; training runs on one thread, so that the same
documents give the same model.

Every look at the documents is a pass over their files, in parallel: this process holds what is drawn for training, and
how many documents were recalled in each place that has any.
"""

from __future__ import annotations

import functools
import heapq
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.recipe.data import HighQuality
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.stage import StepInput
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace

GOOD, OTHER = "__label__1", "__label__0"
_IDEOGRAPH = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
_SCORED_AT_ONCE = 2000
_HELD_BACK = 999
"""Added to the recipe's seed where documents are drawn that are kept out of training."""
PLACES = pa.schema([("place", pa.string()), ("total", pa.int64()), ("recalled", pa.int64()), ("seeds", pa.int64())])
DRAWN = pa.schema([("doc_id", pa.string()), ("place", pa.string()), ("seed", pa.bool_()), ("line", pa.string())])


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


def scores_of(model: Any, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """P(good) of texts, some at a time."""
    batches = [texts[b : b + _SCORED_AT_ONCE] for b in range(0, len(texts), _SCORED_AT_ONCE)]
    return np.concatenate([np.zeros(0), *(probabilities(model, [line_of(t) for t in batch]) for batch in batches)])


@functools.cache
def load_model(file: Path) -> Any:
    """Read once a process."""
    import floret

    return floret.load_model(str(file))


def _key(doc_id: str, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(doc_id.encode(), seed=seed)


@dataclass(frozen=True)
class Passes:
    """Looks at all documents of a language: each writes a file for each of theirs, of a round, below ``scratch``."""

    settings: HighQuality
    scratch: Path
    files: Sequence[Path]
    out: Workspace

    def run(self, work: partial[None], what: str, number: int) -> None:
        run_shards(
            work,
            list(self.files),
            self.out,
            writes=partial(_file, self.scratch, what, number),
            input_bytes=total_bytes(self.files),
        )

    def written(self, what: str, number: int) -> list[Path]:
        return [_file(self.scratch, what, number, path) for path in self.files]


def _file(scratch: Path, what: str, number: int, path: Path) -> Path:
    return scratch / f"{what}-{number:02d}" / path.name


def _array(scratch: Path, what: str, number: int, path: Path) -> Path:
    return _file(scratch, what, number, path).with_suffix(".npy")


def train_classifier(config: StepInput[HighQuality], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The classifier of the last round, with what each round learnt from and which places joined the seeds.

    Accuracy is on documents kept out of training, by their seed labels: it says how well the seeds are told from the
    rest, not how good the documents are. That is what the labelled sample of `hq_recall` is for.
    """
    settings = config.settings
    (cleaned,) = inputs.values()
    passes = Passes(settings, out.path / ".logs" / "rounds", cleaned.files(records.PART), out)
    rounds: list[Row] = []
    accepted: list[str] = []
    new: list[str] = []
    model: Any = None
    for number in range(1, settings.rounds + 1):
        passes.run(partial(_mark, settings, passes.scratch, number, frozenset(new)), "seeds", number)
        seeded = _seed_places(passes.written("seeds", number))
        if not seeded:
            raise BadInput(_no_seeds(config.lang, passes))
        share = -(-settings.sample // len(seeded))
        passes.run(partial(_draw, settings, passes.scratch, number, frozenset(accepted), share), "drawn", number)
        held_back, training = _sample(passes.written("drawn", number), settings, number, share)
        model = train([(label, line) for _, label, line in training], settings, passes.scratch / "train.txt")
        file = passes.scratch / f"model-{number:02d}.bin"
        model.save_model(str(file))
        passes.run(partial(_score, settings, file, passes.scratch, number), "places", number)
        places = passes.written("places", number)
        new = _new_places(places, set(seeded), settings)
        recalled = sum(_sums(path)["recalled"] for path in places)
        rounds.append(
            {
                "round": number,
                "seeds": sum(seeded.values()),
                "trained on": len(training),
                "accuracy on held-back seeds": round(_accuracy(model, held_back), 4),
                "held back": len(held_back),
                "recalled": recalled,
                "new places": len(new),
                "joining": ", ".join(new[:5]),
            }
        )
        accepted += new
        out.log(f"round {number}: {len(training):,} documents, {recalled:,} recalled, {len(new)} places join")
        if not new:
            break
    model.save_model(str(out.path / "classifier.bin"))
    out.write_text("rounds.json", json.dumps({"rounds": rounds, "places": accepted}, ensure_ascii=False, indent=1))
    last = rounds[-1]
    return Outcome(
        digest=digest_file(out.path / "classifier.bin"),
        numbers={
            "rounds": len(rounds),
            "seeds": last["seeds"],
            "recalled": last["recalled"],
            "accuracy on held-back seeds": last["accuracy on held-back seeds"],
        },
        tables={"rounds": rounds},
        checks=[
            Check(
                name="something_recalled",
                passed=int(str(last["recalled"])) > 0,
                detail=f"{last['recalled']} documents score above {settings.min_score}",
                blocking=False,
            )
        ],
    )


def _no_seeds(lang: str, passes: Passes) -> str:
    documents, first = 0, "(none)"
    for path in passes.files:
        urls = records.read_table(path, records.DOCUMENT, ["url"])["url"]
        first = str(urls[0]) if not documents and len(urls) else first
        documents += len(urls)
    return (
        f"high_quality.{lang}.seed_urls match none of {documents:,} documents; their URLs look like {first}. Name"
        " patterns of good pages there, or leave the step out with `high_quality: null`."
    )


# ------------------------------------------------------------------ one file


def _mark(settings: HighQuality, scratch: Path, number: int, new: frozenset[str], path: Path) -> None:
    """Which documents are seeds in a round: at first those whose URL says so; then also what was recalled in places
    that joined.
    """
    urls = records.read_table(path, records.DOCUMENT, ["url"])["url"].to_pylist()
    places = [place_of(url, settings.place_depth) for url in urls]
    if number == 1:
        patterns = [re.compile(p) for p in settings.seed_urls]
        seeds = np.array([any(p.search(url) for p in patterns) for url in urls], np.bool_)
    else:
        before = np.load(_array(scratch, "seeds", number - 1, path))
        hits = np.load(_array(scratch, "hits", number - 1, path))
        seeds = before | (hits & np.array([place in new for place in places], np.bool_))
    records.write_array(seeds, _array(scratch, "seeds", number, path))
    counted = Counter(place for place, seed in zip(places, seeds, strict=True) if seed)
    records.write_table(
        _place_table({place: (0, 0, n) for place, n in counted.items()}), _file(scratch, "seeds", number, path)
    )


def _place_table(counts: Mapping[str, tuple[int, int, int]]) -> pa.Table:
    rows = [
        {"place": place, "total": total, "recalled": recalled, "seeds": seeds}
        for place, (total, recalled, seeds) in sorted(counts.items())
    ]
    return pa.Table.from_pylist(rows, schema=PLACES)


def _draw(settings: HighQuality, scratch: Path, number: int, accepted: frozenset[str], share: int, path: Path) -> None:
    """What this file can give to the sample of a round: of each place its seeds with the smallest keys, and others."""
    table = records.read_table(path, records.DOCUMENT, ["doc_id", "url", "text"])
    ids, urls = table["doc_id"].to_pylist(), table["url"].to_pylist()
    seeds = np.load(_array(scratch, "seeds", number, path))
    places = [place_of(url, settings.place_depth) for url in urls]

    def key(i: int) -> tuple[int, str]:
        return _key(ids[i], settings.seed + number), ids[i]

    by_place: dict[str, list[int]] = {}
    for i in np.flatnonzero(seeds).tolist():
        by_place.setdefault(places[i], []).append(i)
    good = [i for mine in by_place.values() for i in heapq.nsmallest(share, mine, key=key)]
    others = (i for i in np.flatnonzero(~seeds).tolist() if places[i] not in accepted)
    chosen = [*good, *heapq.nsmallest(settings.sample, others, key=key)]
    texts = table["text"].take(pa.array(chosen, pa.int64())).to_pylist()
    rows = [
        {"doc_id": ids[i], "place": places[i], "seed": bool(seeds[i]), "line": line_of(text)}
        for i, text in zip(chosen, texts, strict=True)
    ]
    records.write_table(pa.Table.from_pylist(rows, schema=DRAWN), _file(scratch, "drawn", number, path))


def _score(settings: HighQuality, model: Path, scratch: Path, number: int, path: Path) -> None:
    """Which documents a round's model recalls, and how many in each place."""
    table = records.read_table(path, records.DOCUMENT, ["url", "text"])
    hits = scores_of(load_model(model), table["text"].to_pylist()) > settings.min_score
    records.write_array(hits, _array(scratch, "hits", number, path))
    places = [place_of(url, settings.place_depth) for url in table["url"].to_pylist()]
    total, recalled = Counter(places), Counter(p for p, hit in zip(places, hits, strict=True) if hit)
    counts = {place: (n, recalled[place], 0) for place, n in total.items()}
    records.write_table(_place_table(counts), _file(scratch, "places", number, path))


# ------------------------------------------------------------------ all files


def _sums(path: Path) -> dict[str, int]:
    table = records.read_table(path, PLACES)
    return {name: int(pc.sum(table[name]).as_py() or 0) for name in ("total", "recalled", "seeds")}


def _added(tables: Sequence[pa.Table], column: str) -> dict[str, int]:
    """A column's sums by place."""
    whole = pa.concat_tables([PLACES.empty_table(), *tables]).group_by("place").aggregate([(column, "sum")])
    return dict(zip(whole["place"].to_pylist(), whole[f"{column}_sum"].to_pylist(), strict=True))


def _seed_places(files: Sequence[Path]) -> dict[str, int]:
    """Seeds by place."""
    return _added([records.read_table(path, PLACES) for path in files], "seeds")


def _new_places(files: Sequence[Path], known: set[str], settings: HighQuality) -> list[str]:
    """Places that are no seeds yet where enough documents, and a large enough share, were recalled; by name. How many
    documents there are in all is looked up for those alone that can join.
    """
    tables = (records.read_table(path, PLACES) for path in files)
    recalled = _added([table.filter(pc.greater(table["recalled"], 0)) for table in tables], "recalled")
    able = {p: n for p, n in recalled.items() if p not in known and n >= settings.min_place_documents}
    wanted = pa.array(sorted(able), pa.string())
    tables = (records.read_table(path, PLACES) for path in files)
    total = _added([table.filter(pc.is_in(table["place"], value_set=wanted)) for table in tables], "total")
    return sorted(place for place, n in able.items() if n / total[place] >= settings.min_place_share)


Labelled = tuple[str, str, str]
"""(document, label, line)"""


def _sample(
    files: Sequence[Path], settings: HighQuality, number: int, share: int
) -> tuple[list[Labelled], list[Labelled]]:
    """(what is held back, what is trained on, in its order): seeds, evenly from every place, and as many others at
    random, keyed by id; what joined places hold beside seeds is neither.
    """
    drawn = pa.concat_tables([DRAWN.empty_table(), *(records.read_table(path, DRAWN) for path in files)]).to_pylist()
    drawn.sort(key=lambda row: (_key(row["doc_id"], settings.seed + number), row["doc_id"]))
    taken: Counter[str] = Counter()
    good, others = [], []
    for row in drawn:
        if not row["seed"]:
            others.append(row)
        elif taken[row["place"]] < share:
            taken[row["place"]] += 1
            good.append(row)
    chosen = [*good, *others[: min(settings.sample, len(good))]]
    labelled = [(row["doc_id"], GOOD if row["seed"] else OTHER, row["line"]) for row in chosen]
    least = settings.held_back * 2**64
    held_back = [one for one in labelled if _key(one[0], settings.seed + _HELD_BACK) < least]
    training = [one for one in labelled if _key(one[0], settings.seed + _HELD_BACK) >= least]
    return held_back, sorted(training, key=lambda one: _key(one[0], number))


def _accuracy(model: Any, held_back: Sequence[Labelled]) -> float:
    if not held_back:
        return float("nan")
    found = probabilities(model, [line for _, _, line in held_back]) > 0.5
    return float(np.mean(found == np.array([label == GOOD for _, label, _ in held_back])))
