"""How many positions the loss looks at at once; apart, so that a plan can be made without torch."""

CHUNK = {"cpu": 256, "cuda": 2048}
"""What fits a CPU's cache with a vocabulary of some thousands, and what keeps a GPU busy."""
