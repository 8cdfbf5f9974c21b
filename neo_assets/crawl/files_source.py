"""Sources made of files: each file is read by one worker, which writes its log last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from neo_assets.core.recipe.sources import FilesSource
from neo_assets.core.shards import run_shards
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.crawl.input_files import InputFile, total_size
from neo_assets.web.fetch_log import log_outcome, stage_key

Read = Callable[[Path, int, InputFile], None]
"""Reads one file, of a number, into a folder; what it writes last is :func:`log_name`."""


def log_name(i: int) -> str:
    """The log of the file of number ``i``; where it is there, the file is read."""
    return f"log/part-{i:05d}.parquet"


def read_files(
    config: FilesSource, inputs: Mapping[str, Artifact], out: Workspace, files: Sequence[InputFile], read: Read
) -> Outcome:
    """Read every file that has no log yet, and report on all."""
    run_shards(
        partial(_read_one, read, out.path),
        list(enumerate(files)),
        out,
        writes=lambda shard: out.path / log_name(shard[0]),
        input_bytes=total_size(files),
    )
    return files_outcome(config, inputs, out, files, [log_name(i) for i in range(len(files))])


def files_outcome(
    config: FilesSource, inputs: Mapping[str, Artifact], out: Workspace, files: Sequence[InputFile], logs: Sequence[str]
) -> Outcome:
    """What became of the records of ``files``, by their ``logs``."""
    return log_outcome(
        stage_key("raw_crawl", inputs),
        out,
        [out.path / name for name in logs],
        {"files": len(files)},
        config.max_bad_share,
        {file.name: file.size for file in files},
    )


def _read_one(read: Read, folder: Path, shard: tuple[int, InputFile]) -> None:
    read(folder, *shard)
