"""The loop that finds which hashes of a partition stand earlier in it.

They are spread over 256 buckets before they are looked up, so that each bucket's table stays in the processor's cache;
looked up one by one in one table, every hash would wait for memory (measured: 3 to 4 times as long).
"""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel

_PRIME = np.uint64(0xD6E8FEB86659FD93)
_ZERO, _S56 = np.uint64(0), np.uint64(56)
BUCKETS = 256


@kernel
def repeats(hashes, order, seen):
    """Which of the hashes of a partition, in corpus order, stand earlier in it: ``seen`` (bool). ``order``: scratch, as
    long.
    """
    ends = np.zeros(BUCKETS + 1, np.int64)
    for i in range(len(hashes)):
        ends[np.int64(hashes[i] >> _S56) + 1] += 1
    for b in range(BUCKETS):
        ends[b + 1] += ends[b]
    fill = ends[:BUCKETS].copy()
    for i in range(len(hashes)):
        b = np.int64(hashes[i] >> _S56)
        order[fill[b]] = i
        fill[b] += 1
    for b in range(BUCKETS):
        bits = 1
        while (1 << bits) < 2 * (ends[b + 1] - ends[b] + 1):
            bits += 1
        table, mask, shift = np.zeros(1 << bits, np.uint64), (1 << bits) - 1, np.uint64(64 - bits)
        for j in range(ends[b], ends[b + 1]):
            key = hashes[order[j]]
            slot = np.int64((key * _PRIME) >> shift)
            while table[slot] != _ZERO and table[slot] != key:
                slot = (slot + 1) & mask
            seen[order[j]] = table[slot] == key
            table[slot] = key
