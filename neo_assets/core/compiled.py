"""How our inner loops are compiled: numba, with machine code kept between processes and never used for other source.

Numba keeps compiled code by the file of the function alone: a change in a second file that the function calls goes
unnoticed, and old machine code runs. Here the folder that keeps it is named by a digest of every module that compiles
anything, and by numba's version, so a change anywhere in them starts afresh. The price is one compilation (about half a
minute) after every such change.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from neo_assets.core.fingerprint import ROOT, digest_bytes

_MARK = b"neo_assets.core.compiled"


def kept_in(root: Path) -> Path:
    """Where machine code of the modules below ``root`` is kept: named by all of them that compile anything, and by
    numba's version.
    """
    sources = sorted(path for path in (root / "neo_assets").rglob("*.py") if _MARK in path.read_bytes())
    name = digest_bytes(b"".join(path.read_bytes() for path in sources) + numba.__version__.encode())
    return root / ".neo" / "kernels" / name


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(kept_in(ROOT))


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` for arrays and numbers at its first call; integers wrap, division by
    zero gives inf or nan.
    """
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
