"""Reading the ``.pt`` files of a checkpoint as data: tensors, numbers, arrays. Whatever else stands in one is refused, and nothing in it is run.

A pickle may call anything when it is read. A store may come from a stranger, whose manifests agree with his files, so the names that a file may
use are listed here: numpy's arrays, of which random states are made, and one record of DeepSpeed's, for which a stand-in is enough (and
DeepSpeed need not be imported, which takes seconds).
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.serialization import safe_globals


@dataclass
class _Fragment:
    """Where a parameter lies in a flat partition, as DeepSpeed notes it."""

    numel: int
    start: int


_KNOWN: list[Any] = [
    (_Fragment, "deepspeed.utils.tensor_fragment.fragment_address"),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("uint32", "uint64", "int64", "float64")},
    (np.zeros(1).__reduce__()[0], "numpy._core.multiarray._reconstruct"),
    (np.zeros(1).__reduce__()[0], "numpy.core.multiarray._reconstruct"),
]


def read_state(path: Path, map_location: Any = "cpu") -> Any:
    """The content of a file that :class:`~training.snapshot.Writing` wrote.

    Raises:
        SystemExit: the file names something that no checkpoint of ours holds; says what.
    """
    try:
        with safe_globals(_KNOWN):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), str(error).splitlines()[0])
        raise SystemExit(f"{path} was not read: it holds more than data ({reason})") from None
