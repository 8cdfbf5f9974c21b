"""Numbers out of records that hold values of several kinds: manifests, tables, messages of jobs."""

from __future__ import annotations

from neo_assets.core.errors import NeoError


def whole(value: object) -> int:
    """The integer that a record holds. Raises NeoError where it holds something else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise NeoError(f"a whole number is expected here, not {value!r}")


def real(value: object) -> float:
    """The number that a record holds. Raises NeoError where it holds something else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise NeoError(f"a number is expected here, not {value!r}")
