"""From texts to numbers: every signal of a batch of documents, as columns.

The loops are in ``text/kernels.py`` and ``clean/kernels.py``; here their counts become what the rules bound: shares of
words, lines or characters, as each rule's name says. A text is never changed for measuring. Words need no dictionary
here; the one signal that does (mean length of Chinese words) is in ``chinese_words.py``, because segmenting costs more
than everything else together.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.clean import signal_kernels as kernels
from neo_assets.text.characters import character_table
from neo_assets.text.text_kernels import COUNTS
from neo_assets.text.tokens import HashList, buffers, phrase_list, token_hashes, word_list

Column = npt.NDArray[np.float64]
_KNOWN = ("lorem", "ipsum", "read", "more", "readmore", "展", "开", "更", "多")

REPETITION = (
    "top_2gram",
    "top_3gram",
    "top_4gram",
    "duplicate_5grams",
    "duplicate_6grams",
    "duplicate_7grams",
    "duplicate_8grams",
    "duplicate_9grams",
    "duplicate_10grams",
)
COPIES = (
    "duplicate_lines",
    "duplicate_line_chars",
    "duplicate_paragraphs",
    "duplicate_paragraph_chars",
    "duplicate_sentences",
    "duplicate_sentence_chars",
)
COMMON = (
    "chars",
    "lines",
    "sentences",
    "words",
    "bullet_lines",
    "ellipsis_lines",
    "read_more_lines",
    "punctuation",
    "digits",
    "bad_words",
    *REPETITION,
    *COPIES,
)
ENGLISH = (
    "mean_word_length", "letterless_words", "stop_word_share", "stop_words", "symbols_per_word", "curly_braces",
    "lorem_ipsum", "caps_words", "unique_words",
    "unigram_entropy", "read_more_sentences", "hash_runs_per_word", "ellipsis_runs_per_word", "non_alphabetic",
)  # fmt: skip
CHINESE = ("bracketed", "hash_runs", "ellipsis_runs", "distinct_chars", "char_entropy")


def signals_of(lang: str) -> tuple[str, ...]:
    """Signals that are measured of a language: Chinese ones, or those of a language with spaces between words."""
    return (*COMMON, *(CHINESE if lang == "zh" else ENGLISH))


@functools.cache
def _known() -> npt.NDArray[np.uint64]:
    return np.concatenate(token_hashes(_KNOWN))


@dataclass(frozen=True)
class Lists:
    """What the signals of one language look up."""

    stop_words: HashList
    bad_words: HashList


def lists(stop_words: Sequence[str], bad_words: Sequence[str]) -> Lists:
    return Lists(word_list(stop_words), phrase_list(bad_words))


def measure(texts: pa.Array | pa.ChunkedArray, lang: str, known_lists: Lists) -> Mapping[str, Column]:
    """The signals of :func:`signals_of` for every text: float64 (n,) each. An empty text has zeros everywhere."""
    held, table = buffers(texts), character_table()
    n = len(held.offsets) - 1
    counts = np.zeros((n, len(COUNTS)), np.int64)
    repetition, copies, words, found = (
        np.zeros((n, 9)),
        np.zeros((n, 6), np.int64),
        np.zeros((n, 2)),
        np.zeros((n, 3), np.int64),
    )
    letters = np.zeros((n if lang == "zh" else 0, 2))
    stop, bad = known_lists.stop_words, known_lists.bad_words
    kernels.measure_texts(
        held.data, held.offsets, table.flags, table.fold, _known(), lang == "zh", stop.table, stop.bits, bad.table,
        bad.bits, bad.longest, counts, repetition, copies, words, found, letters
    )  # fmt: skip
    c = {name: counts[:, i].astype(np.float64) for i, name in enumerate(COUNTS)}

    def share(part: Column, of: Column) -> Column:
        return np.divide(part, of, out=np.zeros(n), where=of > 0)

    length, spoken = c["length"], c["chars"] - c["punctuation"]
    out: dict[str, Column] = {
        "chars": c["chars"],
        "lines": c["lines"],
        "sentences": c["sentences"],
        "words": c["words"],
        "bullet_lines": share(c["bullet_lines"], c["lines"]),
        "ellipsis_lines": share(c["ellipsis_lines"], c["lines"]),
        "read_more_lines": share(c["read_more_lines"], c["lines"]),
        "punctuation": c["punctuation"],
        "digits": share(c["digits"], spoken),
        "bad_words": found[:, 2].astype(np.float64),
    }
    out |= {name: repetition[:, i] for i, name in enumerate(REPETITION)}
    for i, unit in enumerate(("lines", "paragraphs", "sentences")):
        out[COPIES[2 * i]] = share(copies[:, 2 * i].astype(np.float64), c[unit])
        out[COPIES[2 * i + 1]] = share(copies[:, 2 * i + 1].astype(np.float64), length)
    if lang == "zh":
        return out | {
            "bracketed": share(c["bracketed"], c["chars"]),
            "hash_runs": share(c["hash_runs"], c["chars"]),
            "ellipsis_runs": share(c["ellipsis_runs"], c["chars"]),
            "distinct_chars": share(letters[:, 0], c["chars"]),
            "char_entropy": letters[:, 1],
        }
    return out | {
        "mean_word_length": share(c["word_chars"], c["words"]),
        "letterless_words": share(c["letterless_words"], c["words"]),
        "stop_word_share": share(found[:, 0].astype(np.float64), c["words"]),
        "stop_words": found[:, 1].astype(np.float64),
        "symbols_per_word": share(c["symbols"], np.maximum(c["words"], 1)),
        "curly_braces": share(c["braces"], length),
        "lorem_ipsum": share(c["lorem_ipsum"], length),
        "caps_words": share(c["caps_words"], c["words"]),
        "unique_words": share(words[:, 0], c["words"]),
        "unigram_entropy": words[:, 1],
        "read_more_sentences": share(c["read_more_ends"], c["sentences"]),
        "hash_runs_per_word": share(c["hash_runs"], np.maximum(c["words"], 1)),
        "ellipsis_runs_per_word": share(c["ellipsis_runs"], np.maximum(c["words"], 1)),
        "non_alphabetic": share(spoken - c["letters"], spoken),
    }
