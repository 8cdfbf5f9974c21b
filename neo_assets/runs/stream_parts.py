"""The documents of a token stream, file by file, without its tokens: on object storage these stay there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neo_assets.core.store import Artifact
from training.data.stream_index import index_files, masked_numbers
from training.data.tokens import FACTS, MASKED


def stream_parts(stream: Artifact) -> Iterator[tuple[Path, npt.NDArray[np.bool_]]]:
    """Files of a stream's index in its order, each with which of its documents the stream has tokens of: of those that
    were withdrawn it has places alone.
    """
    for name in (FACTS, MASKED):
        if name in stream.manifest.files:
            stream.file(name)  # brought, where it is not on this disk
    masked, first = masked_numbers(stream.folder), 0
    for path, documents in index_files(stream.folder):
        yield path, ~np.isin(first + np.arange(documents), masked)
        first += documents
