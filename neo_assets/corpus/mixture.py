"""``mixture/‹phase›``: which documents a training phase reads, and how often."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from neo_assets.core import records
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Mixture
from neo_assets.core.steps import VERDICTS, Decision, verdict_columns, write_verdicts
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
    available: dict[tuple[str, str], int] = defaultdict(int)
    got: dict[tuple[str, str], int] = defaultdict(int)
    chosen = []
    seen = 0
    for path in inputs["train_pool"].files(records.PART):
        table = records.read_table(path, records.DOCUMENT, ["doc_id", "source", "lang", "text"])
        sizes = pc.binary_length(table.column("text")).to_numpy().astype(np.int64)
        decision = Decision.keep(table.num_rows)
        rounds = np.zeros(table.num_rows, np.int32)
        for i, (doc_id, source, lang) in enumerate(zip(*(table.column(n).to_pylist() for n in ("doc_id", "source", "lang")), strict=True)):
            wanted = asked.rounds.get(lang, 0.0) * asked.source_rounds.get(source, 1.0)
            rounds[i] = rounds_of(doc_id, wanted, asked.seed)
            decision.threshold[i] = wanted
            available[lang, source] += int(sizes[i])
            got[lang, source] += int(sizes[i]) * int(rounds[i])
        decision.dropped = rounds == 0
        decision.rule[decision.dropped] = "no_round"
        decision.value = rounds.astype(np.float64)
        decision.detail = [f"rounds: {r}" for r in rounds]
        write_verdicts(verdict_columns(stage, table.column("doc_id"), table.column("source"), decision), out.path / VERDICTS / path.name)
        part = pa.table({"doc_id": table.column("doc_id"), "source": table.column("source"), "lang": table.column("lang"), "rounds": rounds, "bytes": sizes}, schema=SCHEMA)
        chosen.append(part.filter(pa.array(rounds > 0)))
        seen += table.num_rows
    mixture = pa.concat_tables(chosen or [SCHEMA.empty_table()])
    out.write("mixture.parquet", mixture)
    total = sum(got.values())
    missing = [lang for lang, rounds in asked.rounds.items() if rounds > 0 and not any(n for (at, _), n in got.items() if at == lang)]
    return Outcome(
        digest=records.table_digest([mixture]),
        rows_in=seen,
        rows_kept=mixture.num_rows,
        rows_dropped=seen - mixture.num_rows,
        numbers={"documents": mixture.num_rows, "bytes": total},
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
            Check(
                name="rows_balance", passed=seen == (inputs["train_pool"].manifest.rows_kept or 0), detail=f"{seen} in = {mixture.num_rows} read + {seen - mixture.num_rows} not"
            ),
            Check(name="every_language_served", passed=not missing, detail=f"asked for but empty: {missing}" if missing else "every language asked for has documents"),
        ],
    )
