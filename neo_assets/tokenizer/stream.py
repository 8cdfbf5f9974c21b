"""``token_shards/‹phase›`` and ``fertility``: the token stream a phase trains on, and how much text a token holds."""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes, digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.scalars import whole
from neo_assets.core.shards import run_shards
from neo_assets.core.steps import amounts, read_footer, write_with_footer
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.core.withdrawn import withdrawn_of
from neo_assets.core.written import Hashing
from neo_assets.tokenizer.train import end_of_document_id, load_processor
from training.data.tokens import MASKED, ORDER_KEY, SEGMENTS, Segment

CHUNK_DOCUMENTS = 2000
"""Documents encoded at once."""
OFFSETS = "offsets.npy"

INDEX = pa.schema(
    [
        ("position", pa.int64()),
        ("doc_id", pa.string()),
        ("round", pa.int32()),
        ("source", pa.string()),
        ("lang", pa.string()),
        ("tokens", pa.int64()),
    ]
)


class StreamInput(Section):
    phase: str
    tokenizer: Tokenizer


def token_dtype(ids: int) -> str:
    """Smallest unsigned type that holds every id."""
    return "uint16" if ids <= 1 << 16 else "uint32"


def write_stream(config: StreamInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The token stream of one phase, memory-mapped: every document once per round, each ended by the end-of-document
    token.

    Each file of the pool is tokenised by itself, each document once, into a file a round (``tokens/``, with
    ``index/``: which document stands where); ``stream.json`` names these in their order, and ``offsets.npy`` holds
    where each document starts. Documents stand in (round, language, id) order; which sequence a training step reads is
    computed by a keyed permutation, not stored.

    Of documents that are withdrawn there are places and no tokens: each is end-of-document tokens, and none of them is
    learnt (``masked.npy``: numbers of these documents). The permutation's key is what it would be without tombstones,
    so that every other document is read in the step that reads it anyway.
    """
    model = inputs["tokenizer"].file("tokenizer.model")
    pieces = _processor(model).vocab_size()
    end = end_of_document_id(config.tokenizer, pieces)
    dtype = token_dtype(pieces + len(config.tokenizer.special_tokens))
    mixture, pool = inputs[f"mixture/{config.phase}"], inputs["train_pool"].files(records.PART)
    gone = [withdrawn_of(inputs, "train_pool", path.name)["doc_id"].to_pylist() for path in pool]
    rounds = [mixture.file(f"{records.ROUNDS}/{path.name}") for path in pool]
    shards = list(zip(pool, rounds, gone, strict=True))
    told = out.path / ".logs" / "told"
    size = sum(path.stat().st_size for path in pool)
    run_shards(
        partial(_tokenise, model, end, dtype, out.path, told),
        shards,
        out,
        writes=lambda shard: told / f"{shard[0].stem}.json",
        input_bytes=size,
    )
    written = [(number, *row) for path in pool for number, row in enumerate(_read(told / f"{path.stem}.json"))]
    written.sort(key=lambda row: row[0])  # stable: the files of each round in their order
    segments = [Segment(str(name), whole(tokens), whole(documents)) for _, name, tokens, documents, *_ in written]
    digests, whole_digests = (
        {segment.tokens_file: str(row[at]) for segment, row in zip(segments, written, strict=True)} for at in (4, 6)
    )
    ended = sum(whole(row[5]) for row in written)
    starts = np.concatenate([[0], np.cumsum([segment.tokens for segment in segments])]).astype(np.int64)
    _write_offsets(out.path / OFFSETS, told, segments, starts)
    work = [(segment.name, int(start)) for segment, start in zip(segments, starts, strict=False)]
    run_shards(
        partial(_write_index, out.path, told),
        work,
        out,
        writes=lambda shard: out.path / Segment(shard[0], 0, 0).index_file,
        input_bytes=0,
    )
    offsets = {OFFSETS: digest_file(out.path / OFFSETS)}
    masked = _write_masked(out.path / MASKED, told, segments) if any(gone) else {}
    facts: dict[str, Any] = {"dtype": dtype, "digest": digest_json(digests | offsets | masked)}
    facts |= {"tokens": int(starts[-1]), "end_of_document": end}
    if masked:
        facts[ORDER_KEY] = digest_json(whole_digests | offsets)
    documents = sum(segment.documents for segment in segments)
    facts |= {"documents": documents, SEGMENTS: [[s.name, s.tokens, s.documents] for s in segments]}
    out.write_text("stream.json", json.dumps(facts))
    outcome = _stream_outcome(out, segments, facts, asked=_asked(rounds), ended=ended)
    if masked:
        outcome.numbers |= _masked_numbers(out.path)
    return outcome


@functools.cache
def _processor(model: Path) -> sentencepiece.SentencePieceProcessor:
    """Read once a process."""
    return sentencepiece.SentencePieceProcessor(model_file=str(model))


def _read(file: Path) -> list[list[Any]]:
    return json.loads(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _tokenise(model: Path, end: int, dtype: str, folder: Path, told: Path, shard: tuple[Path, Path, list[str]]) -> None:
    """One file of the pool to a file of tokens a round, with its index as far as it is known here; then, what each
    holds: [name, tokens, documents, digest, end-of-document tokens, digest if nothing were withdrawn].
    """
    path, mixture, withdrawn = shard
    chosen = records.read_table(mixture, columns=["doc_id", "source", "lang", "rounds"])
    pool = records.read_table(path, records.DOCUMENT, ["doc_id", "text"])
    texts = pool.filter(pc.is_in(pool["doc_id"], value_set=chosen["doc_id"].combine_chunks()))
    if texts["doc_id"].combine_chunks() != chosen["doc_id"].combine_chunks():
        raise BadInput(f"{mixture}: its documents are not all in {path}")
    encoded: list[npt.NDArray[np.unsignedinteger]] = []
    for batch in texts.select(["text"]).to_batches(max_chunksize=CHUNK_DOCUMENTS):
        ids = _processor(model).encode(batch.column("text").to_pylist())
        encoded += [np.asarray([*one, end], dtype) for one in ids]
    gone = pc.is_in(chosen["doc_id"], value_set=pa.array(withdrawn, pa.string())).to_numpy()
    rounds, rows = chosen["rounds"].to_numpy(), []
    for number in range(int(rounds.max(initial=0))):
        read = np.flatnonzero(rounds > number)
        name, lengths = f"{number:03d}-{path.stem}", np.array([len(encoded[i]) for i in read], np.int64)
        plain = [encoded[i] for i in read]
        digest = _write_tokens(
            folder / Segment(name, 0, 0).tokens_file,
            [np.full_like(one, end) if gone[i] else one for i, one in zip(read, plain, strict=True)],
        )
        ended = sum(int((encoded[i] == end).sum()) for i in read)
        part = chosen.select(["doc_id", "source", "lang"]).take(pa.array(read))
        part = part.append_column("round", pa.array(np.full(len(read), number, np.int32)))
        part = part.append_column("tokens", pa.array(lengths)).append_column("masked", pa.array(gone[read]))
        records.write_table(part, told / f"{name}.parquet")
        rows.append(
            [name, int(lengths.sum()), len(read), digest, ended, _digest_of(plain) if gone[read].any() else digest]
        )
    records.write_text(told / f"{path.stem}.json", json.dumps(rows))


def _write_tokens(file: Path, documents: Sequence[npt.NDArray[np.unsignedinteger]]) -> str:
    """Write a file whole or not at all; returns its digest."""
    file.parent.mkdir(exist_ok=True)
    aside = records.aside_of(file)
    with Hashing(aside) as stream:
        for document in documents:
            stream.write(document.tobytes())
    records.fsync_rename(aside, file, stream.digest())
    return stream.digest()


def _digest_of(documents: Sequence[npt.NDArray[np.unsignedinteger]]) -> str:
    """Digest of the file that they would be."""
    return digest_bytes(b"".join(document.tobytes() for document in documents))


def _write_masked(file: Path, told: Path, segments: Sequence[Segment]) -> dict[str, str]:
    """Numbers of the documents of the stream that are withdrawn; returns the file's digest by its name, nothing where
    there are none.
    """
    found, first = [np.zeros(0, np.int64)], 0
    for segment in segments:
        masked = records.read_table(told / f"{segment.name}.parquet", columns=["masked"])["masked"].to_numpy()
        found.append(first + np.flatnonzero(masked))
        first += segment.documents
    numbers = np.concatenate(found)
    if not len(numbers):
        return {}
    records.write_array(numbers, file)
    return {MASKED: digest_file(file)}


def _masked_numbers(folder: Path) -> dict[str, int]:
    numbers, offsets = np.load(folder / MASKED), np.load(folder / OFFSETS, mmap_mode="r")
    return {"masked_documents": len(numbers), "masked_tokens": int((offsets[numbers + 1] - offsets[numbers]).sum())}


def _write_offsets(file: Path, told: Path, segments: Sequence[Segment], starts: npt.NDArray[np.int64]) -> None:
    """Where each document of the stream starts, and where the last one ends, written file by file: nobody holds all."""
    shape = (1 + sum(segment.documents for segment in segments),)
    aside = records.aside_of(file)
    offsets = np.lib.format.open_memmap(aside, mode="w+", dtype=np.int64, shape=shape)  # type: ignore[no-untyped-call]
    at = 0
    for segment, start in zip(segments, starts, strict=False):
        lengths = records.read_table(told / f"{segment.name}.parquet", columns=["tokens"])["tokens"].to_numpy()
        offsets[at : at + len(lengths)] = start + np.cumsum(lengths) - lengths
        at += len(lengths)
    offsets[at] = starts[-1]
    offsets.flush()
    del offsets
    records.fsync_rename(aside, file)


def _write_index(folder: Path, told: Path, segment: tuple[str, int]) -> None:
    name, start = segment
    part = records.read_table(told / f"{name}.parquet")
    lengths = part["tokens"].to_numpy()
    part = part.append_column("position", pa.array(start + np.cumsum(lengths) - lengths))
    languages = part.group_by("lang").aggregate([("tokens", "sum")]).to_pylist()
    footer: dict[str, object] = {"languages": {row["lang"]: row["tokens_sum"] for row in languages}}
    write_with_footer(part.select(INDEX.names).cast(INDEX), folder / Segment(name, 0, 0).index_file, footer)


def _asked(mixture: Iterable[Path]) -> int:
    """Documents in all rounds, as the mixture has them."""
    return sum(int(pc.sum(records.read_table(path, columns=["rounds"])["rounds"]).as_py() or 0) for path in mixture)


def _stream_outcome(
    out: Workspace, segments: Sequence[Segment], facts: Mapping[str, Any], asked: int, ended: int
) -> Outcome:
    by_language: Counter[str] = Counter()
    for segment in segments:
        by_language.update(read_footer(out.path / segment.index_file)["languages"])
    documents, total = facts["documents"], facts["tokens"]
    return Outcome(
        digest=facts["digest"],
        rows_in=asked,
        rows_kept=documents,
        rows_dropped=0,
        numbers={
            "tokens": total,
            "documents": documents,
            "dtype": facts["dtype"],
            **{f"tokens_{lang}": n for lang, n in sorted(by_language.items())},
        },
        checks=[
            Check(
                name="rows_balance",
                passed=documents == asked,
                detail=f"{asked} documents asked for, {documents} in the stream",
            ),
            Check(
                name="every_document_ends",
                passed=ended == documents,
                detail=f"{ended} end-of-document tokens for {documents} documents",
            ),
        ],
    )


class FertilityInput(Section):
    sample_documents: int


def measure_fertility(config: FertilityInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Characters and UTF-8 bytes a token holds, by language and source, on the first documents (by id) of the training
    pool. Files that hold nothing more of what is wanted are not read.
    """
    processor = load_processor(inputs["tokenizer"])
    pool = inputs["train_pool"]
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for path in pool.files(records.PART):
        if all(totals[place][0] >= config.sample_documents for place in amounts([path])):
            continue
        table = records.read_table(path, records.DOCUMENT, ["lang", "source", "text"])
        for lang, source, text in zip(*(table.column(n).to_pylist() for n in ("lang", "source", "text")), strict=True):
            held = totals[lang, source]
            if held[0] < config.sample_documents:
                for i, amount in enumerate((1, len(processor.encode(text)), len(text), len(text.encode()))):
                    held[i] += amount
    rows: list[dict[str, int | float | str | bool | None]] = [
        {
            "language": lang,
            "source": source,
            "documents": d,
            "tokens": t,
            "characters per token": round(c / t, 4),
            "bytes per token": round(b / t, 4),
        }
        for (lang, source), (d, t, c, b) in sorted(totals.items())
        if t
    ]
    out.write_text("fertility.json", json.dumps(rows, ensure_ascii=False, indent=1))
    numbers = {}
    for lang in sorted({lang for lang, _ in totals}):
        mine = [v for (at, _), v in totals.items() if at == lang]
        numbers[f"characters_per_token_{lang}"] = round(sum(v[2] for v in mine) / max(1, sum(v[1] for v in mine)), 4)
    return Outcome(digest=digest_json(rows), numbers=dict(numbers), tables={"by language and source": rows})
