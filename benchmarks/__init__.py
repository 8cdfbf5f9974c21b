"""Runnable comparisons: ``python -m benchmarks.‹name›``. Each prints our figure, a peer's on the same input in the
same run, and their ratio.

They read the demo's documents (run ``make demo`` first) and need the peers: ``pip install -e '.[bench]'``. Times are
processor seconds of one process, the best of several passes for us and for the peer alike.
"""
