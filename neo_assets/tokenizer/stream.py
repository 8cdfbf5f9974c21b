"""``token_shards/‹phase›`` and ``fertility``: the token stream a phase trains on, and how much text a token holds."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.tokenizer.train import end_of_document_id, load_processor

CHUNK_DOCUMENTS = 2000
"""Documents encoded between two savings; a kill costs at most one chunk (about 2 s of work)."""

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

    ``tokens.bin`` holds the ids, ``offsets.npy`` where each document starts, ``index.parquet`` which document that is.
    Documents stand in (round, language, id) order; which sequence a training step reads is computed by a keyed
    permutation, not stored.
    """
    processor = load_processor(inputs["tokenizer"])
    end = end_of_document_id(config.tokenizer, processor.vocab_size())
    dtype = token_dtype(processor.vocab_size() + len(config.tokenizer.special_tokens))
    mixture = inputs[f"mixture/{config.phase}"].table("mixture.parquet")
    asked = int(str(pc.sum(mixture.column("rounds")).as_py() or 0))
    chunks: list[Path] = []
    index: list[pa.Table] = []
    for number in range(int(str(pc.max(mixture.column("rounds")).as_py() or 0))):
        wanted = mixture.filter(pc.greater(mixture.column("rounds"), number)).column("doc_id").combine_chunks()
        for path in inputs["train_pool"].files(records.PART):
            pool = records.read_table(path, records.DOCUMENT, ["doc_id", "text", "source", "lang"])
            chosen = pool.filter(pc.is_in(pool.column("doc_id"), value_set=wanted))
            for batch in chosen.to_batches(max_chunksize=CHUNK_DOCUMENTS):
                file = out.path / "parts" / f"{len(chunks):06d}.npz"
                chunks.append(file)
                if not file.is_file():
                    encoded = [[*ids, end] for ids in processor.encode(batch.column("text").to_pylist())]
                    _save(
                        file,
                        np.concatenate([np.asarray(ids, dtype=dtype) for ids in encoded]),
                        np.asarray([len(ids) for ids in encoded], dtype=np.int64),
                    )
                part = pa.Table.from_batches([batch]).select(["doc_id", "source", "lang"])
                index.append(part.append_column("round", pa.array(np.full(part.num_rows, number, np.int32))))
                out.progress(sum(t.num_rows for t in index), asked, "documents")
    lengths = np.concatenate([_lengths(file) for file in chunks] or [np.zeros(0, np.int64)])
    with (out.path / "tokens.bin").open("wb") as stream:
        for file in chunks:
            with np.load(file) as saved:
                saved["tokens"].tofile(stream)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(out.path / "offsets.npy", offsets)
    rows = pa.concat_tables(index) if index else INDEX.empty_table().select(["doc_id", "source", "lang", "round"])
    rows = rows.append_column("position", pa.array(offsets[:-1])).append_column("tokens", pa.array(lengths))
    out.write("index.parquet", rows.select(INDEX.names).cast(INDEX))
    shutil.rmtree(out.path / "parts", ignore_errors=True)
    digest = digest_json({n: digest_file(out.path / n) for n in ("tokens.bin", "offsets.npy")})
    total = int(offsets[-1])
    out.write_text(
        "stream.json",
        json.dumps(
            {"dtype": dtype, "digest": digest, "tokens": total, "documents": len(lengths), "end_of_document": end}
        ),
    )
    by_language = {
        row["lang"]: row["tokens_sum"] for row in rows.group_by("lang").aggregate([("tokens", "sum")]).to_pylist()
    }
    ended = int((np.memmap(out.path / "tokens.bin", dtype=dtype, mode="r") == end).sum()) if total else 0
    return Outcome(
        digest=digest,
        rows_in=asked,
        rows_kept=len(lengths),
        rows_dropped=0,
        numbers={
            "tokens": total,
            "documents": len(lengths),
            "dtype": dtype,
            **{f"tokens_{lang}": n for lang, n in sorted(by_language.items())},
        },
        checks=[
            Check(
                name="rows_balance",
                passed=len(lengths) == asked,
                detail=f"{asked} documents asked for, {len(lengths)} in the stream",
            ),
            Check(
                name="every_document_ends",
                passed=ended == len(lengths),
                detail=f"{ended} end-of-document tokens for {len(lengths)} documents",
            ),
        ],
    )


def _lengths(file: Path) -> np.ndarray:
    with np.load(file) as saved:
        return np.asarray(saved["lengths"])


def _save(file: Path, tokens: np.ndarray, lengths: np.ndarray) -> None:
    file.parent.mkdir(exist_ok=True)
    aside = records.aside_of(file)
    with aside.open("wb") as stream:
        np.savez(stream, tokens=tokens, lengths=lengths)
    records.fsync_rename(aside, file)


class FertilityInput(Section):
    sample_documents: int


def measure_fertility(config: FertilityInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Characters and UTF-8 bytes a token holds, by language and source, on the first documents (by id) of the training
    pool.
    """
    processor = load_processor(inputs["tokenizer"])
    pool = inputs["train_pool"]
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for path in pool.files(records.PART):
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
