"""The loop of decontamination: which n-grams of evaluation items stand in a text."""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import mix

_SEED, _PRIME, _ZERO = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(0)


@kernel
def gram_hash(tokens, begin, length):
    h = _SEED
    for i in range(begin, begin + length):
        h = (h ^ tokens[i]) * _PRIME
    return mix(h)


@kernel
def contains(table, bits, key):
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    slot = np.int64((key * _PRIME) >> shift)
    while table[slot] != _ZERO:
        if table[slot] == key:
            return True
        slot = (slot + 1) & mask
    return False


@kernel
def find_grams(tokens, starts, shortest, lengths, beginnings, beginning_bits, grams, gram_bits, texts, hits):
    """N-grams of ``grams`` in all texts: the text's number and the n-gram's hash of each place, as many as fit; returns
    how many there are.

    Every n-gram is at least ``shortest`` tokens long and begins with one of ``beginnings`` (hashes of that many
    tokens): only where one stands are the longer ``lengths`` looked at.
    """
    found = 0
    for k in range(len(starts) - 1):
        for i in range(starts[k], starts[k + 1] - shortest + 1):
            if not contains(beginnings, beginning_bits, gram_hash(tokens, i, shortest)):
                continue
            for length in lengths:
                if i + length > starts[k + 1]:
                    break
                key = gram_hash(tokens, i, length)
                if contains(grams, gram_bits, key):
                    if found < len(hits):
                        texts[found], hits[found] = k, key
                    found += 1
    return found
