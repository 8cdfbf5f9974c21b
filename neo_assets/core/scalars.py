"""Numbers out of records that hold values of several kinds: manifests, tables, messages of jobs."""

from __future__ import annotations

from typing import TypeGuard

from neo_assets.core.errors import NeoError


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(value: object) -> int:
    """The integer that a record holds. Raises NeoError where it holds something else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise NeoError(f"a whole number is expected here, not {value!r}")


def real(value: object) -> float:
    """The number that a record holds. Raises NeoError where it holds something else."""
    if is_number(value):
        return float(value)
    raise NeoError(f"a number is expected here, not {value!r}")
