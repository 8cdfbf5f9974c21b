"""The trace index at about 1e8 tokens: what building it takes, its size, and how long an answer of a model takes to be
traced, from a disk that has to be read and from memory: ``python -m benchmarks.trace [MB of text] [folder]``.

The text is the demo's training pool, its sentences drawn again and again in another order, a tenth of the words
changed, two English documents for each Chinese one. It is tokenised by the demo's tokenizer, and read by a run of as
many steps as it has text for. An answer is two sentences of nobody's with a quotation between them, about 128 tokens.
The peer is ``bytes.find``, which is told the quotation itself.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pyarrow as pa

from benchmarks.common import edited
from neo_assets.core import records
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.data import Mixture
from neo_assets.core.shards import LocalEngine
from neo_assets.core.steps import write_part
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace, input_refs
from neo_assets.corpus.mixture import MixtureInput, mix
from neo_assets.tokenizer.stream import StreamInput, write_stream
from neo_assets.trace.index import TraceInput, index_pool
from neo_assets.trace.reads import Reader, steps_that_read
from neo_assets.trace.search import Passage, Place, TraceIndex, units_of
from neo_assets.trace.traced import Turn, trace
from training.ledger import RunLedger
from training.spec import PretrainConfig

FILE_BYTES = 16_000_000
ANSWERS = 40
_ENDS = re.compile(r"(?<=[.!?。！？])\s*")


@dataclass(frozen=True)
class Trained:
    """As much of a run as the ledger needs."""

    name: str
    config: PretrainConfig
    shards: Path
    made_with: Artifact

    def ledger(self) -> RunLedger:
        return RunLedger.of(self.config, self.shards)

    def tokenizer(self) -> Artifact:
        return self.made_with


def sentences(pool: Artifact, lang: str) -> list[str]:
    table = pool.documents(["text", "lang"]).to_pylist()
    return [s for row in table if row["lang"] == lang for s in _ENDS.split(row["text"]) if len(s) > 8]


def write_pool(out: Workspace, held: dict[str, list[str]], size: int) -> Outcome:
    generator = random.Random(3)
    written = number = rows = 0
    while written < size:
        part: list[dict[str, object]] = []
        begin = written
        while written - begin < min(FILE_BYTES, size - begin):
            lang = "zh" if len(part) % 3 == 2 else "en"
            chosen = generator.choices(held[lang], k=generator.randrange(5, 60))
            text = ("" if lang == "zh" else " ").join(edited(s, lang, 0.1, generator) for s in chosen)
            url = f"http://pages.example/{number}/{len(part)}"
            told = {"doc_id": records.document_id(url, b""), "text": text, "lang": lang, "url": url, "title": "A page"}
            part.append({**told, "source": "pages", "licence": "CC-BY-4.0", "cluster_id": told["doc_id"]})
            written += len(text.encode())
        part.sort(key=lambda row: str(row["doc_id"]))
        filled = [{name: row.get(name) for name in records.DOCUMENT.names} for row in part]
        table = pa.Table.from_pylist(filled, schema=records.DOCUMENT)
        write_part(table, out.path / f"part-{number:05d}.parquet")
        number, rows = number + 1, rows + len(part)
    return Outcome(digest=str(size), rows_in=rows, rows_kept=rows, rows_dropped=0)


def made(
    store: Store,
    key: str,
    work: Callable[[Workspace], Outcome],
    inputs: dict[str, Artifact],
    config: dict[str, object],
) -> Artifact:
    began, spent = time.monotonic(), sum(os.times()[:4])
    made_from = MadeFrom(config=config, code={}, libraries={}, inputs=input_refs(inputs, {}))
    artifact, was_there = store.build(key, made_from, work, engine=LocalEngine(2))
    cpu = artifact.manifest.cpu_seconds or sum(os.times()[:4]) - spent
    told = "there" if was_there else f"{cpu:.1f} CPU s, {time.monotonic() - began:.1f} s"
    print(f"{key}: {told}; {artifact.manifest.numbers}", flush=True)
    return artifact


def forget(artifact: Artifact) -> None:
    """Drop the artifact's files from the page cache."""
    for path in artifact.path.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def answers(held: dict[str, list[str]], index: TraceIndex, generator: random.Random) -> list[tuple[str, bytes]]:
    """(text, the quotation in it)."""
    out = []
    for number in range(ANSWERS):
        lang = "zh" if number % 2 else "en"
        while True:
            shard = generator.choice(index.shards)
            document = generator.randrange(len(shard.offsets) - 1)
            text = shard.around(Place(shard.number, document, 0), 0, 0, shard.bytes_of(document))[1].decode()
            if (lang == "zh") == (text.encode().isascii() is False) and len(text) > 400:
                break
        begin = generator.randrange(len(text) - 200)
        quotation = text[begin : begin + (80 if lang == "zh" else 200)]
        around = [edited(generator.choice(held[lang]), lang, 0.4, generator) for _ in range(2)]
        out.append((f"{around[0][:200]} {quotation} {around[1][:200]}", quotation.encode()))
    return out


def covers(passage: Passage, begin: int, size: int) -> bool:
    """Whether a passage is a quotation, but for words that were cut at its ends."""
    return min(passage.end, begin + size) - max(passage.begin, begin) > 0.85 * size


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 405) * 1e6)
    recipe, demo = load(), Store(store_root())
    assert recipe.trace is not None
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(sys.argv[2] if len(sys.argv) > 2 else name) / "store")
        held = {lang: sentences(demo.head(recipe.name, "train_pool"), lang) for lang in ("en", "zh")}
        pool = made(store, "train_pool", lambda out: write_pool(out, held, size), {}, {"size": size})
        settings = TraceInput(shard_mb=recipe.trace.shard_mb)
        inputs = {"train_pool": pool}
        built = made(
            store, "trace_index", lambda out: index_pool(settings, inputs, out), inputs, {"mb": settings.shard_mb}
        )
        reader = trained(store, demo, recipe, pool)
        ask(TraceIndex(built), built, reader, held, recipe)


def trained(store: Store, demo: Store, recipe: Recipe, pool: Artifact) -> Reader:
    """A run that read the pool once."""
    mixture = Mixture.model_validate({"seed": 1, "rounds": {"en": 1.0, "zh": 1.0}})
    inputs = {"train_pool": pool}
    mixed = made(
        store, "mixture/main", lambda out: mix(MixtureInput(phase="main", mixture=mixture), inputs, out), inputs, {}
    )
    tokenizer = demo.head(recipe.name, "tokenizer")
    inputs = {"train_pool": pool, "mixture/main": mixed, "tokenizer": tokenizer}
    config = StreamInput(phase="main", tokenizer=recipe.tokenizer)
    stream = made(store, "token_shards/main", lambda out: write_stream(config, inputs, out), inputs, {})
    run = recipe.runs["main"]
    steps = int(str(stream.manifest.numbers["tokens"])) // run.tokens_per_step
    run = run.model_copy(update={"steps": steps})
    told = PretrainConfig(run_name="main", run_fingerprint="f" * 32, run=run, vocab_rows=6016)
    part = Trained("main", told, stream.path, tokenizer)
    return Reader("main", [(part, steps)])  # type: ignore[list-item]


def ask(index: TraceIndex, built: Artifact, reader: Reader, held: dict[str, list[str]], recipe: Recipe) -> None:
    asked = answers(held, index, random.Random(7))
    index.passages(units_of("compiled 编译"))
    wanted = [units_of(text) for text, _ in asked]
    found = 0
    for (_, quotation), units in zip(asked, wanted, strict=True):
        passages = index.passages(units)
        longest = max(passages, key=lambda p: p.end - p.begin)
        found += (
            units.text[longest.begin : longest.end] in quotation.join([b" "] * 2)
            or longest.end - longest.begin > len(quotation) * 0.7
        )
    print(
        f"\n{found} of {len(asked)} answers have their quotation found; units an answer: {median(map(len, wanted)):.0f}"
    )
    cold = []
    for units in wanted:
        forget(built)
        again = TraceIndex(built)
        cold.append(milliseconds(lambda units=units, again=again: again.passages(units)))
    warm = [milliseconds(lambda units=units: index.passages(units)) for units in wanted]
    print(f"passages, from disk:  {median(cold):7.1f} ms (most {max(cold):.1f})")
    print(f"passages, in memory:  {median(warm):7.1f} ms (most {max(warm):.1f})")
    settings = recipe.trace
    assert settings is not None

    def whole(text: str) -> None:
        trace(index, [Turn(text)], settings, lambda spans, sizes: steps_that_read([reader], spans, sizes))

    for text, _ in asked[:2]:
        whole(text)
    every = [milliseconds(lambda text=text: whole(text)) for text, _ in asked]
    print(f"with documents and steps: {median(every):7.1f} ms (most {max(every):.1f})")
    peer = [milliseconds(lambda q=q: [bytes(s.text).find(q) for s in index.shards]) for _, q in asked[:8]]
    print(f"bytes.find of the quotation alone: {median(peer):7.1f} ms, {median(peer) / median(warm):.0f} times as long")


if __name__ == "__main__":
    main()
