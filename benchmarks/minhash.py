"""MinHash from text to signatures against rensa and datatrove; recall and precision on real edited text; decisions
against datatrove's.

Recall is counted on pairs of a real page and an edited copy of it, by their exact Jaccard similarity; precision on all
pairs that the bands link among the real pages. What the bands themselves allow is printed beside what was found.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from itertools import combinations

import numpy as np
import pyarrow as pa
import rensa
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig

from benchmarks.common import best, edited, megabytes, once, row, texts
from neo_assets.core.recipe.data import NearDedup
from neo_assets.dedup import minhash_kernels as kernels
from neo_assets.dedup.minhash import shingle_sets, signatures
from tests.clean.reference import folded

PAGES_OF_DATATROVE = 400
HASHING = HashConfig(precision=64, hash_fc="sha1")
"""datatrove's xxhash does not work with the xxhash that is installed: it wants bytes now."""


def plain(text: str) -> str:
    """What shingles are cut from: folded, without punctuation, white space as one space."""
    import unicodedata

    kept = "".join(" " if c.isspace() else "" if unicodedata.category(c)[0] == "P" else c for c in folded(text))
    return " ".join(kept.split())


def shingles(text: str, length: int) -> set[str]:
    body = plain(text)
    return {body[i : i + length] for i in range(max(1, len(body) - length + 1))}


def linked(table: np.ndarray, bands: int, rows: int) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for band in range(bands):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for i, part in enumerate(np.ascontiguousarray(table[:, band * rows : (band + 1) * rows])):
            buckets[part.tobytes()].append(i)
        for members in buckets.values():
            found.update(combinations(members[:50], 2))
    return found


def speed(lang: str, some: list[str]) -> None:
    mb = megabytes(some)
    array = pa.array(some, pa.string())
    words = NearDedup(bands=16, rows=8, shingle=5, unit="word", seed=1)
    characters = NearDedup(bands=9, rows=13, shingle=13 if lang == "en" else 5, unit="character", seed=1)
    print(f"{lang}: {len(some):,} pages, {mb:.1f} MB")
    ours, _ = best(lambda: signatures(array, words))
    slow, _ = best(lambda: signatures(array, characters))

    word = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’][^\W_\u3400-\u9fff]+)*")

    def peer() -> None:
        for text in some:
            cut = word.findall(text.lower())
            grams = {" ".join(cut[i : i + 5]) for i in range(max(1, len(cut) - 4))}
            made = rensa.RMinHash(num_perm=128, seed=1)
            made.update(grams)
            made.digest()

    theirs, _ = best(peer, passes=1)
    row("ours, 128 functions, shingles of 5 words", mb, ours, len(some), theirs)
    row(f"ours, 117 functions, shingles of {characters.shingle} characters", mb, slow, len(some))
    row("rensa RMinHash, 128 functions, shingles of 5 words", mb, theirs, len(some))
    part = some[:PAGES_OF_DATATROVE]
    block = MinhashDedupSignature(
        "/tmp/unused",
        MinhashConfig(n_grams=5, num_buckets=16, hashes_per_bucket=8, hash_config=HASHING),
        language="eng" if lang == "en" else "cmn",
    )
    block.get_shingles(part[0])
    shipped, _ = once(lambda: [block.get_signature(block.get_shingles(t)) for t in part])
    row(f"datatrove, 128 functions, 5-grams ({len(part)} pages)", megabytes(part), shipped, len(part))
    print(
        f"  ours against rensa {theirs / ours:.1f}x, against datatrove {shipped / (ours * megabytes(part) / mb):.0f}x"
    )


def recall(lang: str, some: list[str]) -> None:
    generator = random.Random(7)
    length = 13 if lang == "en" else 5
    chosen = [t for t in some if len(t) > 800]
    generator.shuffle(chosen)
    pairs = []
    for text in chosen[:500]:
        for share in (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.045):
            other = edited(text, lang, share, generator)
            a, b = shingles(text, length), shingles(other, length)
            pairs.append((text, other, len(a & b) / len(a | b)))
    print(
        f"  recall on {len(pairs):,} pairs of a real page and its edited copy, by exact Jaccard similarity (found /"
        " what the bands allow):"
    )
    for bands, rows in ((9, 13), (14, 8), (20, 8), (32, 8)):
        settings = NearDedup(bands=bands, rows=rows, shingle=length, unit="character", seed=3)
        left, right = (signatures(pa.array([p[i] for p in pairs], pa.string()), settings) for i in (0, 1))
        equal = (left == right).reshape(len(pairs), bands, rows).all(axis=2).any(axis=1)
        told = []
        for centre in (0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
            at = [k for k, p in enumerate(pairs) if abs(p[2] - centre) < 0.02]
            if at:
                allowed = np.mean([1 - (1 - pairs[k][2] ** rows) ** bands for k in at])
                told.append(f"J {centre}: {equal[at].mean():.3f}/{allowed:.3f} (n {len(at)})")
        print(f"    {bands:>2} x {rows:<2}  " + "  ".join(told))


def precision(lang: str, some: list[str]) -> None:
    """How many of the pairs that bands link are alike, and what is left where that is counted (min_similarity)."""
    length = 13 if lang == "en" else 5
    for bands, rows in ((9, 13), (14, 8), (20, 8)):
        settings = NearDedup(bands=bands, rows=rows, shingle=length, unit="character", seed=3, min_similarity=0.7)
        array = pa.array(some, pa.string())
        found = sorted(linked(signatures(array, settings), bands, rows))
        took, _ = once(lambda a=array, s=settings: shingle_sets(a, s))  # type: ignore[misc]
        flat, ends = shingle_sets(array, settings)

        def counted(i: int, j: int, flat: np.ndarray = flat, ends: np.ndarray = ends) -> float:
            begins = np.concatenate([[0], ends[:-1]])
            return float(kernels.similarity(flat, begins[i], ends[i], begins[j], ends[j]))

        values = np.array([counted(i, j) for i, j in found]) if found else np.zeros(0)
        sample = random.Random(1).sample(range(len(found)), min(300, len(found)))
        true = []
        for k in sample:
            a, b = (shingles(some[x], length) for x in found[k])
            true.append(len(a & b) / len(a | b))
        exact = np.array(true)
        shares = ", ".join(f"J >= {t}: {np.mean(exact >= t):.3f}" for t in (0.6, 0.7, 0.8)) if len(exact) else "no pair"
        chosen = values[sample] >= 0.7
        right = np.mean(exact[chosen] >= 0.7) if chosen.any() else float("nan")
        missed = np.mean(~chosen[exact >= 0.7]) if (exact >= 0.7).any() else float("nan")
        print(
            f"  {bands} x {rows}: {len(found):,} pairs linked among the real pages; of {len(sample)} of them {shares}"
        )
        print(
            f"    with min_similarity .7 {int((values >= 0.7).sum()):,} of them stay; precision {right:.3f}, of true"
            f" ones {missed:.3f} lost; shingle sets {took:.1f} s"
        )


def decisions(some: list[str]) -> None:
    """Which pages are duplicates of an earlier one: ours and datatrove's, 14 bands of 8, shingles of 5 words."""
    block = MinhashDedupSignature(
        "/tmp/unused",
        MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HASHING),
        language="eng",
    )
    theirs = linked(
        np.array([[h for part in block.get_signature(block.get_shingles(t)) for h in part] for t in some], np.uint64),
        14,
        8,
    )
    ours = linked(
        signatures(pa.array(some, pa.string()), NearDedup(bands=14, rows=8, shingle=5, unit="word", seed=1)), 14, 8
    )
    gone = [np.isin(np.arange(len(some)), [j for _, j in found]) for found in (ours, theirs)]
    print(
        f"  duplicates on {len(some):,} real pages: ours {gone[0].sum()}, datatrove {gone[1].sum()}, both"
        f" {(gone[0] & gone[1]).sum()}; decisions equal {np.mean(gone[0] == gone[1]):.4f}"
    )


def main() -> None:
    for lang in ("en", "zh"):
        some = texts(lang)
        speed(lang, some)
        recall(lang, some)
        precision(lang, some)
    decisions(texts("en")[:1500])


if __name__ == "__main__":
    main()
