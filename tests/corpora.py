"""Small corpora for tests, written here: documents with stable ids, and the artifact of a step that left them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.steps import write_part
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace

ENGLISH = [
    "the",
    "engine",
    "reads",
    "a",
    "document",
    "and",
    "writes",
    "its",
    "verdict",
    "so",
    "that",
    "nobody",
    "has",
    "to",
    "guess",
    "which",
    "rule",
    "threw",
    "it",
    "away",
    "or",
    "when",
    "and",
    "why",
    "it",
    "happened",
    "at",
    "all",
]
CHINESE = list("我们的系统会读取每一个文档并且写下它为什么被保留或者丢弃所以任何人都可以检查结果而不必猜测其中的原因")


def sentence(generator: random.Random, lang: str, words: int = 12) -> str:
    if lang == "en":
        return " ".join(generator.choice(ENGLISH) + str(generator.randrange(100)) for _ in range(words)) + "."
    return "".join(generator.choice(CHINESE) for _ in range(2 * words)) + "。"


def text(generator: random.Random, lang: str, sentences: int = 12) -> str:
    gap = " " if lang == "en" else ""
    lines = [gap.join(sentence(generator, lang) for _ in range(3)) for _ in range(max(1, sentences // 3))]
    return "\n".join(lines)


PROSE = (
    "The reader of this page will find that it has been written to be kept, and nothing else was on the mind of its"
    " author. "
)


def keepable(generator: random.Random) -> str:
    """An English text that no rule objects to."""
    return PROSE + " ".join(" ".join(generator.choices(ENGLISH, k=12)).capitalize() + "." for _ in range(8))


def document(
    body: str, lang: str = "en", name: str = "", score: float = 0.9, source: str = "site"
) -> dict[str, object]:
    doc_id = digest_bytes((name or body).encode())
    row = dict.fromkeys(records.DOCUMENT.names, "")
    return row | {
        "doc_id": doc_id,
        "text": body,
        "lang": lang,
        "lang_score": score,
        "url": f"http://{source}.example/{name or doc_id}",
        "source": source,
        "cluster_id": doc_id,
    }


def left_by_a_step(
    folder: Path, documents: Sequence[Mapping[str, object]], shards: int = 1, key: str = "clean_docs/en"
) -> Artifact:
    """A committed artifact with these documents in ``shards`` ranges of ids, as every cleaning step leaves them."""
    rows = sorted(documents, key=lambda d: str(d["doc_id"]))
    cut = [rows[i * len(rows) // shards : (i + 1) * len(rows) // shards] for i in range(shards)]

    def work(out: Workspace) -> Outcome:
        for i, part in enumerate(cut):
            table = pa.Table.from_pylist(list(part), schema=records.DOCUMENT)
            write_part(table, out.path / f"part-{i:05d}.parquet")
        return Outcome(digest="d", rows_in=len(rows), rows_kept=len(rows), rows_dropped=0)

    return Store(folder).build(
        key, MadeFrom(config={"shards": shards, "n": len(rows)}, code={}, libraries={}, inputs={}), work
    )[0]


def texts_of(out: Workspace) -> dict[str, str]:
    """Texts by id of what a step wrote."""
    tables = [records.read_table(p, columns=["doc_id", "text"]) for p in sorted(out.path.glob("part-*.parquet"))]
    return {row["doc_id"]: row["text"] for table in tables for row in table.to_pylist()}


def verdicts_of(out: Workspace) -> dict[str, dict[str, object]]:
    tables = [records.read_table(p) for p in sorted((out.path / "verdicts").glob("*.parquet"))]
    return {row["doc_id"]: row for table in tables for row in table.to_pylist()}
