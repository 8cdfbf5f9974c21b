"""``mixture/‹phase›``: which documents a training phase reads, and how often."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa
import xxhash

from neo_assets.core import records
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Mixture
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import Artifact, Check, Outcome, Workspace

SCHEMA = pa.schema([("doc_id", pa.string()), ("source", pa.string()), ("lang", pa.string()), ("rounds", pa.int32()), ("bytes", pa.int64())])


class MixtureInput(Section):
    phase: str
    mixture: Mixture


def rounds_of(doc_id: str, asked: float, seed: int) -> int:
    """Times a document is read when ``asked`` rounds are wanted: the whole part, and one more for a keyed share of documents."""
    whole = math.floor(asked)
    return whole + (xxhash.xxh3_64_intdigest(doc_id.encode(), seed=seed) < int((asked - whole) * (1 << 64)))


def mix(config: MixtureInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The documents of one training phase with the number of rounds each is read, asked against got.

    Rounds are asked for by language, times a factor by source, as in the paper's mixtures; a fraction of a round takes that share
    of the documents, chosen by a keyed hash.
    """
    asked, stage = config.mixture, f"mixture/{config.phase}"
    table = inputs["train_pool"].table("documents.parquet", records.DOCUMENT)
    verdicts, chosen = [], []
    available: dict[tuple[str, str], int] = defaultdict(int)
    got: dict[tuple[str, str], int] = defaultdict(int)
    for doc_id, source, lang, text in zip(*(table.column(n).to_pylist() for n in ("doc_id", "source", "lang", "text")), strict=True):
        size = len(text.encode())
        wanted = asked.rounds.get(lang, 0.0) * asked.source_rounds.get(source, 1.0)
        rounds = rounds_of(doc_id, wanted, asked.seed)
        available[lang, source] += size
        got[lang, source] += size * rounds
        if rounds:
            chosen.append((doc_id, source, lang, rounds, size))
            verdicts.append(Verdict(doc_id, stage, value=float(rounds), source=source, detail=f"rounds: {rounds}"))
        else:
            verdicts.append(Verdict(doc_id, stage, DROPPED, "no_round", 0.0, wanted, source=source))
    out.write("mixture.parquet", pa.table({n: [row[i] for row in chosen] for i, n in enumerate(SCHEMA.names)}, schema=SCHEMA))
    out.write("verdicts.parquet", records.verdict_table(verdicts))
    total = sum(got.values())
    missing = [lang for lang, rounds in asked.rounds.items() if rounds > 0 and not any(n for (at, _), n in got.items() if at == lang)]
    return Outcome(
        digest=records.files_digest([out.path / "mixture.parquet"]),
        rows_in=len(verdicts),
        rows_kept=len(chosen),
        rows_dropped=len(verdicts) - len(chosen),
        numbers={"documents": len(chosen), "bytes": total},
        tables={
            "asked against got": [
                {
                    "language": lang,
                    "source": source,
                    "rounds asked": asked.rounds.get(lang, 0.0) * asked.source_rounds.get(source, 1.0),
                    "rounds got": round(got[lang, source] / size, 4) if size else 0.0,
                    "bytes": got[lang, source],
                    "share of bytes": round(got[lang, source] / max(1, total), 4),
                }
                for (lang, source), size in sorted(available.items())
            ]
        },
        checks=[
            Check(name="rows_balance", passed=len(verdicts) == table.num_rows, detail=f"{table.num_rows} in = {len(chosen)} read + {len(verdicts) - len(chosen)} not"),
            Check(name="every_language_served", passed=not missing, detail=f"asked for but empty: {missing}" if missing else "every language asked for has documents"),
        ],
    )
