"""Rows brought from many files into others, each byte moved twice: the tasks of the first half write one file each,
with an offset a partition; those of the second half read their piece out of every such file.

With M files and N partitions a file a pair would be M x N small files, and reading every file for every partition M x N
openings of Parquet (13 ms each). A piece here costs an open and two reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from neo_assets.core import records

_OFFSET = 8
"""Bytes of an offset at the end of the file."""


def scatter(
    pieces: Iterable[Sequence[pa.Table]], partitions: int, target: Path, compression: str | None = "zstd"
) -> None:
    """Write one file from some inputs; ``pieces``: of each input its rows by partition. In memory are the rows of one
    input, and the compressed rows of those before it.

    The file holds the pieces of partition 0, then of 1, …, each as Arrow's stream format, then
    ``partitions`` + 1 offsets (int64, little-endian).
    """
    held: list[list[bytes]] = [[] for _ in range(partitions)]
    options = pa.ipc.IpcWriteOptions(compression=compression)
    for tables in pieces:
        for number, table in enumerate(tables):
            if table.num_rows:
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
                    stream.write_table(table)
                held[number].append(sink.getvalue().to_pybytes())
    sizes = [sum(map(len, mine)) for mine in held]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype("<i8")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = records.aside_of(target)
    with aside.open("wb") as file:
        for mine in held:
            file.writelines(mine)
        file.write(offsets.tobytes())
    records.fsync_rename(aside, target)


def gather(files: Iterable[Path], partition: int, partitions: int) -> list[pa.Table]:
    """The pieces of one partition out of files that :func:`scatter` wrote, in their order."""
    out = []
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            told = os.fstat(descriptor).st_size - _OFFSET * (partitions + 1)
            begin, end = np.frombuffer(os.pread(descriptor, 2 * _OFFSET, told + _OFFSET * partition), "<i8").tolist()
            data = _read(descriptor, begin, end - begin)
        finally:
            os.close(descriptor)
        reader = pa.BufferReader(data)
        while reader.tell() < len(data):
            with pa.ipc.open_stream(reader) as stream:
                out.append(stream.read_all())
    return out


def _read(descriptor: int, begin: int, size: int) -> bytes:
    """``pread`` gives at most 2 GiB at a time."""
    pieces = []
    while size:
        piece = os.pread(descriptor, min(size, 1 << 30), begin)
        if not piece:
            raise EOFError(f"{size} bytes are missing at {begin}")
        pieces.append(piece)
        begin, size = begin + len(piece), size - len(piece)
    return b"".join(pieces)
