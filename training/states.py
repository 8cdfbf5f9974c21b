"""Reading the ``.pt`` files of a checkpoint as data: tensors, numbers, arrays. Whatever else stands in one is refused,
and nothing in it is run.

A pickle may call anything when it is read. A store may come from a stranger, whose manifests agree with his files, so
the names that a file may use are listed here: numpy's arrays, of which random states are made, and a few records of
DeepSpeed's, for which a stand-in is enough (and DeepSpeed need not be imported, which takes seconds).
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.serialization import safe_globals


class _StandIn:
    """Holds whatever an object of DeepSpeed's holds: where a parameter lies in a flat partition, how the loss is
    scaled.
    """

    def __init__(self, *values: object) -> None:
        self.values = values


_ARRAYS: list[Any] = [
    np.ndarray,
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("uint32", "uint64", "int64", "float64")},
    (np.zeros(1).__reduce__()[0], "numpy._core.multiarray._reconstruct"),
    (np.zeros(1).__reduce__()[0], "numpy.core.multiarray._reconstruct"),
]
_RECORDS = {
    "deepspeed.utils.tensor_fragment": ("fragment_address",),
    "deepspeed.runtime.fp16.loss_scaler": ("LossScaler", "DynamicLossScaler"),
    "deepspeed.runtime.zero.config": ("ZeroStageEnum",),
}
"""What DeepSpeed's optimizers put beside tensors and numbers: records of numbers, whose making runs nothing."""


def _records(deepspeed: bool) -> list[Any]:
    if not deepspeed:
        return [
            (int if name == "ZeroStageEnum" else _StandIn, f"{module}.{name}")
            for module, names in _RECORDS.items()
            for name in names
        ]
    return [getattr(importlib.import_module(module), name) for module, names in _RECORDS.items() for name in names]


def read_state(path: Path, map_location: Any = "cpu", *, deepspeed: bool = False) -> Any:
    """The content of a file that :class:`~training.snapshot.Writing` wrote; with ``deepspeed``, its records as
    DeepSpeed's own classes, for its engine.

    Raises:
        SystemExit: the file names something that no checkpoint of ours holds; says what.
    """
    try:
        with safe_globals([*_ARRAYS, *_records(deepspeed)]):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next(
            (line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line),
            str(error).splitlines()[0],
        )
        raise SystemExit(f"{path} was not read: it holds more than data ({reason})") from None
