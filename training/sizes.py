"""Sizes that decide speed and memory, and no result; apart, so that a plan can be made without torch."""

CHUNK = {"cpu": 256, "cuda": 2048}
"""Positions the loss looks at at once: what fits a CPU's cache with a vocabulary of some thousands, and what keeps a
GPU busy.
"""

BUCKET = 500_000_000
"""Gradients that are gathered for one reduction between ranks (DeepSpeed's default); a smaller model has room for its
own alone.
"""
