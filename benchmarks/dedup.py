"""Substring, line and similar-line de-duplication at 50 MB, everything included that the step needs.

Peers: pydivsufsort does not cut anything, so the substring figure stands alone beside the goal; lines are compared with
xxh3 and a Python set.
"""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import xxhash

from benchmarks.common import best, edited, megabytes, row, texts
from neo_assets.core.recipe.data import SimilarLineDedup
from neo_assets.dedup import line_dedup, repeats, substring_dedup, substring_kernels
from neo_assets.text.tokens import buffers, string_array

TARGET_MB = 50


def enlarged(lang: str) -> list[str]:
    """Real pages, and seeded edits of them, until there are 50 MB."""
    some, out, generator = texts(lang), [], random.Random(1)
    size = 0.0
    for turn in range(10_000):
        for text in some:
            out.append(text if turn == 0 else edited(text, lang, 0.03, generator))
            size += len(out[-1].encode()) / 1e6
            if size >= TARGET_MB:
                return out
    return out


def main() -> None:
    for lang in ("en", "zh"):
        some = enlarged(lang)
        mb = megabytes(some)
        held = buffers(pa.array(some, pa.string()))
        print(f"{lang}: {len(some):,} documents, {mb:.1f} MB")

        def cut() -> float:
            marks = np.zeros(len(held.data) // 8 + 1, np.uint8)  # noqa: B023
            seeds = np.zeros(len(some), np.uint64)  # noqa: B023
            ((hashes, places),), _ = substring_dedup.windows(held, 50, 1, 0, seeds)  # noqa: B023
            seen = repeats.repeats(hashes)
            substring_kernels.mark(places[seen], marks)
            out, offsets, removed = (
                np.empty(len(held.data), np.uint8),  # noqa: B023
                np.zeros(len(some) + 1, np.int64),  # noqa: B023
                np.zeros(len(some), np.int64),  # noqa: B023
            )
            data, starts = held.data, held.offsets  # noqa: B023
            substring_kernels.without_repeats(data, starts, 50, marks, 0, out, offsets, removed)
            string_array(out, offsets)
            return float(seen.mean())

        seconds, repeated = best(cut, passes=2)
        row(f"substring, windows of 50 characters ({repeated:.0%} repeated)", mb, seconds, len(some))

        def hashed() -> float:
            hashes, _ = line_dedup.paragraph_hashes(held, 0)  # noqa: B023
            return float(repeats.repeats(hashes[hashes != 0]).mean())

        def peer() -> int:
            seen: set[int] = set()
            repeats = 0
            for text in some:  # noqa: B023
                for line in text.split("\n"):
                    if line := line.strip():
                        h = xxhash.xxh3_64_intdigest(line.encode())
                        repeats += h in seen
                        seen.add(h)
            return repeats

        theirs, _ = best(peer, passes=1)
        ours, share = best(hashed)
        row(f"paragraphs, hashed and looked up ({share:.0%} repeated)", mb, ours, len(some), theirs)
        row("xxh3 and a Python set", mb, theirs, len(some))
        settings = SimilarLineDedup(kind="similar_line", max_distance=0.1, exact_below=15, min_chars=20)
        seconds, _ = best(lambda: line_dedup.without_similar_lines(held, settings), passes=1)  # noqa: B023
        row("similar lines within documents", mb, seconds, len(some))


if __name__ == "__main__":
    main()
