"""``mixture/‹phase›``: which documents a training phase reads, and how often."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Mixture
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.steps import (
    VERDICTS,
    Decision,
    Place,
    amounts,
    read_footer,
    totals,
    verdict_columns,
    write_part,
    write_verdicts,
)
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
READS_A_TENTH = 10
"""Share of a file that is read here: all but its texts."""


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
    asked, scratch = config.mixture, out.path / ".logs"
    files = inputs["train_pool"].files(records.PART)
    available = {place: amount.bytes for place, amount in amounts(files).items()}
    wanted = rounds_asked(asked, available)
    recalled = _recalled(inputs, scratch / "recalled.npy")
    run_shards(
        partial(_mix_shard, config, wanted, recalled, out.path),
        files,
        out,
        writes=lambda path: out.path / records.ROUNDS / path.name,
        input_bytes=total_bytes(files) // READS_A_TENTH,
    )
    parts = [out.path / records.ROUNDS / path.name for path in files]
    found = totals(parts, [out.path / VERDICTS / path.name for path in files])
    got: dict[Place, int] = defaultdict(int)
    read_again = 0
    for path in parts:
        footer = read_footer(path)
        read_again += footer["recalled"]
        for lang, source, size in footer["got"]:
            got[lang, source] += size
    total = sum(got.values())
    served = {lang for (lang, _), n in got.items() if n}
    missing = sorted({lang for lang, amount in (asked.rounds | asked.weights).items() if amount > 0} - served)
    expected = inputs["train_pool"].manifest.rows_kept or 0
    tokens = {"tokens_asked": asked.target_tokens} if asked.target_tokens else {}
    return Outcome(
        digest=found.digest,
        rows_in=found.seen,
        rows_kept=found.rows,
        rows_dropped=found.count(records.DROPPED),
        numbers={
            "documents": found.rows,
            "bytes": total,
            "recalled": read_again,
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
                passed=found.seen == expected == found.rows + found.count(records.DROPPED),
                detail=f"{expected} in = {found.rows} read + {found.count(records.DROPPED)} not",
            ),
            Check(
                name="every_language_served",
                passed=not missing,
                detail=f"asked for but empty: {missing}" if missing else "every language asked for has documents",
            ),
        ],
    )


def _recalled(inputs: Mapping[str, Artifact], file: Path) -> Path | None:
    """Ids of what recall found, sorted, as a file (n, 2) of uint64 that workers map; None where it found nothing."""
    found = [
        records.halves(records.read_table(path, columns=["doc_id"])["doc_id"])
        for name, artifact in sorted(inputs.items())
        if name.startswith(RECALL)
        for path in artifact.files(f"{records.RECALLED}/")
    ]
    high, low = (np.concatenate([np.zeros(0, np.uint64), *(pair[i] for pair in found)]) for i in (0, 1))
    if not len(high):
        return None
    order = np.lexsort((low, high))
    records.write_array(np.column_stack([high[order], low[order]]), file)
    return file


def _is_recalled(ids: pa.ChunkedArray, file: Path | None) -> npt.NDArray[np.bool_]:
    """Which of these ids, which are sorted, stand in the file."""
    if file is None or not len(ids):
        return np.zeros(len(ids), np.bool_)
    high, low = records.halves(ids)
    held = np.load(file, mmap_mode="r")
    begin, end = np.searchsorted(held[:, 0], high[0]), np.searchsorted(held[:, 0], high[-1], side="right")
    there = set(map(tuple, held[begin:end].tolist()))
    return np.array([pair in there for pair in zip(high.tolist(), low.tolist(), strict=True)], np.bool_)


def _mix_shard(
    config: MixtureInput, wanted: Mapping[Place, float], recalled: Path | None, folder: Path, path: Path
) -> None:
    """Verdicts first, then the rounds of the documents that are read."""
    asked = config.mixture
    table = records.read_table(path, records.DOCUMENT, ["doc_id", "source", "lang", "script"])
    sizes, again = records.text_lengths(path), _is_recalled(table.column("doc_id"), recalled)
    decision, rounds = Decision.keep(table.num_rows), np.zeros(table.num_rows, np.int32)
    got: dict[Place, int] = defaultdict(int)
    for i, (doc_id, source, lang, script) in enumerate(
        zip(*(table.column(n).to_pylist() for n in ("doc_id", "source", "lang", "script")), strict=True)
    ):
        times = wanted[lang, source] * (asked.recalled_rounds.get(lang, 1.0) if again[i] else 1.0)
        times *= asked.script_rounds.get(script, 1.0)
        rounds[i] = rounds_of(doc_id, times, asked.seed)
        decision.threshold[i] = times
        got[lang, source] += int(sizes[i]) * int(rounds[i])
    decision.dropped = rounds == 0
    decision.rule[decision.dropped] = "no_round"
    decision.value = rounds.astype(np.float64)
    decision.detail = [f"rounds: {r}" for r in rounds]
    columns = verdict_columns(f"mixture/{config.phase}", table.column("doc_id"), table.column("source"), decision)
    write_verdicts(columns, folder / VERDICTS / path.name)
    read = pa.array(rounds > 0)
    part = table.select(["doc_id", "source", "lang"])
    part = part.append_column("rounds", pa.array(rounds)).append_column("bytes", pa.array(sizes))
    footer = {
        "got": [[lang, source, size] for (lang, source), size in sorted(got.items())],
        "recalled": int((again & (rounds > 0)).sum()),
    }
    write_part(part.cast(SCHEMA).filter(read), folder / records.ROUNDS / path.name, footer)
