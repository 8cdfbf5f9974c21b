"""``mixture/‹phase›``: which documents a training phase reads, and how often."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Mixture
from neo_assets.core.steps import VERDICTS, Decision, verdict_columns, write_verdicts
from neo_assets.core.store import Artifact, Check, Outcome, Workspace

SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("source", pa.string()),
        ("lang", pa.string()),
        ("rounds", pa.int32()),
        ("bytes", pa.int64()),
    ]
)
RECALL = "hq_recall/"
"""Inputs that say which documents high-quality recall found."""

Place = tuple[str, str]
"""(language, source)"""


class MixtureInput(Section):
    phase: str
    mixture: Mixture


def rounds_of(doc_id: str, asked: float, seed: int) -> int:
    """Times a document is read when ``asked`` rounds are wanted: the whole part, and one more for a keyed share of
    documents.
    """
    whole = math.floor(asked)
    return whole + (xxhash.xxh3_64_intdigest(doc_id.encode(), seed=seed) < int((asked - whole) * (1 << 64)))


def rounds_asked(mixture: Mixture, available: Mapping[Place, int]) -> dict[Place, float]:
    """Rounds of every language and source, given the bytes that each has.

    Raises:
        BadInput: a source cannot serve what is asked of it within ``max_rounds``; every such source is named with the
            numbers.
    """
    if mixture.target_tokens is None:
        return {
            (lang, source): mixture.rounds.get(lang, 0.0) * mixture.source_rounds.get(source, 1.0)
            for lang, source in available
        }
    out: dict[Place, float] = dict.fromkeys(available, 0.0)
    problems = []
    for lang, weight in mixture.weights.items():
        has = {source: size for (at, source), size in available.items() if at == lang and size}
        shares = mixture.source_weights.get(lang) or {source: size / sum(has.values()) for source, size in has.items()}
        wanted = mixture.target_tokens * weight * mixture.bytes_per_token[lang]
        if weight and not shares:
            problems.append(f"{lang} has no text at all")
        for source, share in shares.items():
            asked, there = wanted * share, has.get(source, 0)
            if asked > there * mixture.max_rounds:
                times = f"{asked / there:.2f} rounds" if there else "more than nothing"
                problems.append(
                    f"{source} has {there:,} bytes in '{lang}' and {asked:,.0f} are asked of it: {times}, with"
                    f" max_rounds {mixture.max_rounds:g}"
                )
            elif there:
                out[lang, source] = asked / there
    if problems:
        raise BadInput(
            "the mixture cannot be served: "
            + "; ".join(problems)
            + ". Lower target_tokens or the weight, add text, or raise max_rounds if repeats are wanted."
        )
    return out


def mix(config: MixtureInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The documents of one training phase with the number of rounds each is read, asked against got.

    Rounds are asked for by language and source, or follow from a target in tokens; a fraction of a round takes that
    share of the documents, chosen by a keyed hash. Documents that high-quality recall found may be read more often,
    those of one script of Chinese less.
    """
    asked, stage = config.mixture, f"mixture/{config.phase}"
    files = inputs["train_pool"].files(records.PART)
    available = _bytes_by_place(files)
    wanted = rounds_asked(asked, available)
    recalled = {
        doc_id
        for name, artifact in inputs.items()
        if name.startswith(RECALL)
        for doc_id in artifact.table("recalled.parquet").column("doc_id").to_pylist()
    }
    got: dict[Place, int] = defaultdict(int)
    chosen = []
    seen = 0
    for path in files:
        table = records.read_table(path, records.DOCUMENT, ["doc_id", "source", "lang", "script", "text"])
        sizes = pc.binary_length(table.column("text")).to_numpy().astype(np.int64)
        decision = Decision.keep(table.num_rows)
        rounds = np.zeros(table.num_rows, np.int32)
        for i, (doc_id, source, lang, script) in enumerate(
            zip(*(table.column(n).to_pylist() for n in ("doc_id", "source", "lang", "script")), strict=True)
        ):
            times = wanted[lang, source] * (asked.recalled_rounds.get(lang, 1.0) if doc_id in recalled else 1.0)
            times *= asked.script_rounds.get(script, 1.0)
            rounds[i] = rounds_of(doc_id, times, asked.seed)
            decision.threshold[i] = times
            got[lang, source] += int(sizes[i]) * int(rounds[i])
        decision.dropped = rounds == 0
        decision.rule[decision.dropped] = "no_round"
        decision.value = rounds.astype(np.float64)
        decision.detail = [f"rounds: {r}" for r in rounds]
        write_verdicts(
            verdict_columns(stage, table.column("doc_id"), table.column("source"), decision),
            out.path / VERDICTS / path.name,
        )
        part = pa.table(
            {
                "doc_id": table.column("doc_id"),
                "source": table.column("source"),
                "lang": table.column("lang"),
                "rounds": rounds,
                "bytes": sizes,
            },
            schema=SCHEMA,
        )
        chosen.append(part.filter(pa.array(rounds > 0)))
        seen += table.num_rows
    mixture = pa.concat_tables(chosen or [SCHEMA.empty_table()])
    out.write("mixture.parquet", mixture)
    total = sum(got.values())
    served = {lang for (lang, _), n in got.items() if n}
    missing = sorted({lang for lang, amount in (asked.rounds | asked.weights).items() if amount > 0} - served)
    expected = inputs["train_pool"].manifest.rows_kept or 0
    tokens = {"tokens_asked": asked.target_tokens} if asked.target_tokens else {}
    return Outcome(
        digest=records.table_digest([mixture]),
        rows_in=seen,
        rows_kept=mixture.num_rows,
        rows_dropped=seen - mixture.num_rows,
        numbers={
            "documents": mixture.num_rows,
            "bytes": total,
            "recalled": sum(d in recalled for d in mixture.column("doc_id").to_pylist()) if recalled else 0,
            **tokens,
        },
        tables={
            "asked against got": [
                {
                    "language": lang,
                    "source": source,
                    "rounds asked": round(wanted[lang, source], 6),
                    "rounds got": round(got[lang, source] / size, 6) if size else 0.0,
                    "bytes there": size,
                    "bytes": got[lang, source],
                    "share of bytes": round(got[lang, source] / max(1, total), 4),
                }
                for (lang, source), size in sorted(available.items())
            ]
        },
        checks=[
            Check(
                name="rows_balance",
                passed=seen == expected,
                detail=f"{expected} in = {mixture.num_rows} read + {seen - mixture.num_rows} not",
            ),
            Check(
                name="every_language_served",
                passed=not missing,
                detail=f"asked for but empty: {missing}" if missing else "every language asked for has documents",
            ),
        ],
    )


def _bytes_by_place(files: Sequence[Path]) -> dict[Place, int]:
    out: dict[Place, int] = defaultdict(int)
    for path in files:
        table = records.read_table(path, records.DOCUMENT, ["source", "lang", "text"])
        sizes = pa.table({"lang": table["lang"], "source": table["source"], "bytes": pc.binary_length(table["text"])})
        for row in sizes.group_by(["lang", "source"]).aggregate([("bytes", "sum")]).to_pylist():
            out[row["lang"], row["source"]] += row["bytes_sum"]
    return out
