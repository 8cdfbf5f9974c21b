"""An artifact as stages see it: what they read (`Artifact`), where they write (`Workspace`), what they return
(`Outcome`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.here import here
from neo_assets.core.manifest import (
    MANIFEST,
    Check,
    InputRef,
    Manifest,
    Row,
    Scalar,
    read_manifest,
)
from neo_assets.core.shards import HERE, Engine
from neo_assets.core.thinned import Thinned, gone
from neo_assets.core.written import PARTIAL

if TYPE_CHECKING:
    from neo_assets.core.remote import Remote

PARQUET = ".parquet"


@dataclass
class Outcome:
    """What a stage function returns: the content digest, the counts, and what a person would ask for.

    ``parts`` are digests of named parts (one language, say) for readers that read only that part. ``pictures`` maps a
    title to an SVG file of the artifact.
    """

    digest: str
    parts: dict[str, str] = field(default_factory=dict)
    rows_in: int | None = None
    rows_kept: int | None = None
    rows_dropped: int | None = None
    numbers: dict[str, Scalar] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True)
class Artifact:
    """A committed artifact, open for reading."""

    key: str
    folder: Path
    manifest: Manifest
    verdict: list[Check]
    remote: Remote | None = None

    @property
    def path(self) -> Path:
        """Its folder, with all of its files on this disk. Raises Thinned where the recipe has let some of them go."""
        self.refuse_thinned()
        if self.remote is not None:
            self.remote.fetch_all(self.folder, self.manifest.files)
        return self.folder

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    def refuse_thinned(self) -> Artifact:
        """The same, whole. Raises Thinned."""
        if gone(self.folder):
            raise Thinned(
                f"{self.key} {self.folder.name}: its run let its states go (`keep` in the recipe); certificate and"
                " metrics are there. The run's first, last and evaluated checkpoints are whole"
            )
        return self

    def file(self, name: str) -> Path:
        if name not in self.manifest.files:
            raise DamagedArtifact(f"{self.key} {self.fingerprint[:12]} has no file '{name}'")
        return here(self.folder / name)

    def files(self, prefix: str, suffix: str = PARQUET) -> list[Path]:
        """Files below ``prefix`` in name order. Of a store on object storage, Parquet files come to this disk when
        they are read, by ``records`` or :func:`~neo_assets.core.here.here`; others at once.
        """
        names = [n for n in sorted(self.manifest.files) if n.startswith(prefix) and n.endswith(suffix)]
        if self.remote is not None and suffix != PARQUET:
            self.remote.fetch_all(self.folder, names)
        return [self.folder / name for name in names]

    def table(self, name: str, schema: pa.Schema | None = None) -> pa.Table:
        return records.read_table(self.file(name), schema)

    def verdicts(self) -> list[Path]:
        """Files with what was decided about each document, which come to this disk when they are read."""
        return self.files("verdicts.parquet") or self.files("verdicts/")

    def documents(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All documents in memory, in ``doc_id`` order, which is always among ``columns``. For artifacts that are small
        by nature; others are read file by file.
        """
        columns = list(dict.fromkeys(["doc_id", *columns])) if columns else None
        tables = [
            records.read_table(path, records.DOCUMENT, columns).replace_schema_metadata(None)
            for path in self.files(records.PART)
        ]
        chosen = pa.schema([records.DOCUMENT.field(name) for name in columns]) if columns else records.DOCUMENT
        return pa.concat_tables(tables or [chosen.empty_table()]).sort_by("doc_id")

    @property
    def refused_by(self) -> list[Check]:
        return [c for c in self.verdict if c.blocking and not c.passed]


class Workspace:
    """The folder a stage writes into. Shards finished before a kill are found again by :meth:`has`."""

    def __init__(
        self,
        path: Path,
        log: Callable[[str], None] = lambda _: None,
        engine: Engine = HERE,
        tell: Callable[[str], None] | None = None,
        reads: Mapping[str, str] | None = None,
        remote: Remote | None = None,
    ) -> None:
        self.path = path
        self.remote = remote
        self.reads = dict(reads or {})  # fingerprint of what is read, by key
        self.cpu_seconds_elsewhere = 0.0  # of processes that this one does not wait for
        self.log = log
        self.tell = tell or log  # progress: lines that nobody keeps
        self.engine = engine
        self._started = self._last_progress = time.monotonic()

    def earlier(self) -> Artifact | None:
        """The newest finished artifact of the same key, made from something else; None where there is none."""
        found = []
        if self.remote is not None:
            self.remote.sync(self.path.parent.relative_to(self.remote.root).as_posix())
        for manifest in self.path.parent.glob(f"*/{MANIFEST}"):
            if not manifest.parent.name.startswith(PARTIAL):
                told = read_manifest(manifest.parent)
                found.append((told.created_at, Artifact(told.key, manifest.parent, told, [], self.remote)))
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def write(self, name: str, table: pa.Table) -> Path:
        return records.write_table(table, self.path / name)

    def write_text(self, name: str, text: str) -> None:
        records.write_text(self.path / name, text)

    def progress(self, done: int, total: int | None, unit: str, every: float = 5.0) -> None:
        """Say how far the stage is, at most once every ``every`` seconds."""
        now = time.monotonic()
        if now - self._last_progress < every:
            return
        self._last_progress = now
        rate = done / max(now - self._started, 1e-9)
        share = f" of {total:,}" if total else ""
        left = f", {max(total - done, 0) / rate:.0f} s left" if total and rate > 0 else ""
        self.tell(f"{done:,}{share} {unit} ({rate:,.0f}/s{left})")


def input_refs(artifacts: Mapping[str, Artifact], parts: Mapping[str, str]) -> dict[str, InputRef]:
    """References to inputs as they are read: the whole artifact, or the part of it named in ``parts``.

    An input that has nothing of the part is left out: a new English source makes no Chinese artifact stale.
    """
    whole = {name: a.manifest.digest for name, a in artifacts.items() if name not in parts}
    partly = {
        name: a.manifest.parts[parts[name]]
        for name, a in artifacts.items()
        if name in parts and parts[name] in a.manifest.parts
    }
    return {
        name: InputRef(fingerprint=artifacts[name].fingerprint, digest=digest)
        for name, digest in sorted((whole | partly).items())
    }
