"""How our inner loops are compiled: numba, with machine code kept between processes and never used for other source.

Numba keeps compiled code by the file of the function alone: a change in a second file that the function calls goes unnoticed, and
old machine code runs. Here the folder that keeps it is named by a digest of every module that compiles anything, and by numba's version, so
a change anywhere in them starts afresh. The price is one compilation (about half a minute) after every such change.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from neo_assets.core.fingerprint import ROOT, digest_bytes

_MARK = b"neo_assets.core.compiled"


def _sources() -> list[Path]:
    return sorted(path for path in (ROOT / "neo_assets").rglob("*.py") if _MARK in path.read_bytes())


def _keep_code_by_source() -> None:
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    name = digest_bytes(b"".join(path.read_bytes() for path in _sources()) + numba.__version__.encode())
    numba.config.CACHE_DIR = str(ROOT / ".neo" / "kernels" / name)


_keep_code_by_source()


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` for arrays and numbers at its first call; integers wrap, division by zero gives inf or nan."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
