"""Tombstones: what must not be used any more, and why. They belong to a store, and every recipe that builds in it
honours them.

A tombstone is a file of its own, ``tombstones/000001.json``, created once and never changed, on a disk as on object
storage. Each holds the digest of the one before, so that one that was changed or taken away is noticed. One that was a
mistake is superseded by another, which says so. A text is named by its hash alone.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neo_assets.core.errors import BadInput, DamagedArtifact, NeoError
from neo_assets.core.fingerprint import digest_bytes, digest_json
from neo_assets.core.records import aside_of
from neo_assets.core.remote import remote_of

FOLDER = "tombstones"
Kind = Literal["url", "domain", "prefix", "licence", "source", "doc_id", "text_sha256"]
KINDS: tuple[Kind, ...] = ("url", "domain", "prefix", "licence", "source", "doc_id", "text_sha256")
OF_ADDRESSES: tuple[Kind, ...] = ("url", "domain", "prefix")
"""Those that a crawler can tell before it asks."""
Reason = Literal["opt-out", "copyright", "privacy", "licence", "illegal"]
REASONS: tuple[Reason, ...] = ("opt-out", "copyright", "privacy", "licence", "illegal")
Scope = Literal["crawl", "corpus", "trace", "release"]
SCOPES: tuple[Scope, ...] = ("crawl", "corpus", "trace", "release")
"""Who honours it: crawls ask for none of it; token streams of every build have none of it; traces do not show it;
nothing is released that learnt from it, or lists it.
"""
OF_THE_CORPUS: tuple[Scope, ...] = ("corpus", "trace", "release")
"""Those that honour it in what was crawled already."""
_ID = re.compile(r"[0-9a-f]{8,32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"\d{6}\.json")


@dataclass(frozen=True)
class Target:
    """Whose documents: ``kind`` is one of :data:`KINDS`."""

    kind: Kind
    value: str

    @classmethod
    def of(cls, text: str) -> Target:
        """``domain:example.org``; without a kind an address, or a document's id. Raises BadInput."""
        head, colon, value = text.strip().partition(":")
        kind = next((k for k in KINDS if k == head.lower() and colon), None)
        if kind is None:
            kind, value = ("doc_id" if _ID.fullmatch(text.strip()) else "url"), text.strip()
        value = value.strip()
        if not value:
            named = f"'{text}' names no {kind}" if colon else "there is nothing to look for"
            raise BadInput(f"{named}: an address, an id, or one of " + ", ".join(f"{k}:…" for k in KINDS))
        if kind == "text_sha256" and not _SHA256.fullmatch(value):
            raise BadInput(f"'{value}' is no SHA-256: 64 hexadecimal digits, of the text's UTF-8")
        if kind == "doc_id" and not _ID.fullmatch(value):
            raise BadInput(f"'{value}' is no document's id: 8 to 32 hexadecimal digits, its beginning")
        if kind in OF_ADDRESSES:
            value = _bare(value)
        if kind == "domain" and (not value or re.search(r"[/:?#\s]", value)):
            raise BadInput(f"'{value}' is no domain: a name as example.org, without scheme, port or path")
        return cls(kind, value.lower() if kind == "domain" else value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    def of_table(self, table: pa.Table) -> pa.ChunkedArray:
        """Which rows are meant, of a table with ``doc_id``, ``url``, ``source``, ``licence``, ``text_sha256``, or with
        some of these; none, where what would tell is not there.
        """
        column = "url" if self.kind in OF_ADDRESSES else self.kind
        if column not in table.column_names:
            return pa.chunked_array([pa.nulls(table.num_rows, pa.bool_()).fill_null(False)])
        told = table[column].cast(pa.string()).fill_null("")
        if self.kind in OF_ADDRESSES:
            told = pc.replace_substring_regex(told, "^https?://", "")
        if self.kind == "url":  # a book's address names its parts as well
            return pc.or_(pc.equal(told, self.value), pc.starts_with(told, f"{self.value}#"))
        if self.kind == "domain":
            hosts = pc.utf8_lower(pc.replace_substring_regex(told, "[/:?#].*$", ""))
            return pc.or_(pc.equal(hosts, self.value), pc.ends_with(hosts, f".{self.value}"))
        if self.kind in ("prefix", "doc_id"):
            return pc.starts_with(told, self.value)
        return pc.equal(told, self.value)


def _bare(address: str) -> str:
    """An address without its scheme."""
    return re.sub("^https?://", "", address)


class Tombstone(BaseModel):
    """One withdrawal, as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(ge=1)
    kind: Kind
    value: str
    reason: Reason
    received: str  # day on which it was asked for
    recorded: str  # RFC 3339, UTC
    reference: str = ""  # of the request; who asked is not kept here
    proof: str = ""  # what shows that it may be asked for
    scope: tuple[Scope, ...] = SCOPES
    status: Literal["in force", "revoked"] = "in force"
    supersedes: int | None = None
    before: str  # digest of the tombstone before, "" of the first

    @property
    def target(self) -> Target:
        return Target(self.kind, self.value)


# ------------------------------------------------------------------ reading and writing


def read_tombstones(root: Path, ask: bool = True) -> list[Tombstone]:
    """All tombstones of a store, in their order. ``ask``: those on object storage, too, that this disk has not seen.

    Raises:
        DamagedArtifact: one was changed, or is not there any more.
    """
    folder = root / FOLDER
    if ask and (remote := remote_of(root)) is not None:
        for listed in remote.objects.list(f"{FOLDER}/"):
            file = root / listed.name
            if _FILE.fullmatch(file.name) and not file.is_file() and (read := remote.objects.read(listed.name)):
                _create(file, read.data)
    names = sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name)) if folder.is_dir() else []
    found: list[Tombstone] = []
    before = ""
    for number, file in enumerate(names, 1):
        data = file.read_bytes()
        try:
            told = Tombstone.model_validate_json(data)
        except ValidationError as error:
            raise DamagedArtifact(f"{file} is no tombstone: {error.errors()[0]['msg']}") from error
        if file.name != _name(number):
            raise DamagedArtifact(f"{folder}: tombstone {number} is gone; they are never taken away")
        if told.number != number or told.before != before:
            raise DamagedArtifact(f"{file} does not follow the tombstone before it: one of them was changed")
        before = digest_bytes(data)
        found.append(told)
    return found


def in_force(tombstones: Iterable[Tombstone], scope: Scope) -> list[Tombstone]:
    """Those that somebody has to honour."""
    told = list(tombstones)
    superseded = {stone.supersedes for stone in told}
    return [t for t in told if t.status == "in force" and t.number not in superseded and scope in t.scope]


def still_in_force(root: Path) -> list[Tombstone]:
    """Those that anybody has to honour."""
    told = read_tombstones(root)
    return [stone for stone in told if any(stone in in_force(told, scope) for scope in SCOPES)]


def chain_of(root: Path, ask: bool = True) -> str:
    """How many there are, and the digest of the last: what later ones begin with."""
    there = read_tombstones(root, ask)
    return f"{len(there)}:{digest_bytes((root / FOLDER / _name(len(there))).read_bytes()) if there else ''}"


def begins_with(root: Path, chain: str) -> bool:
    """Whether the tombstones that were there when ``chain`` was taken are there, as they were."""
    count, _, digest = chain.partition(":")
    there = read_tombstones(root)
    if not int(count):
        return True
    return len(there) >= int(count) and digest_bytes((root / FOLDER / _name(int(count))).read_bytes()) == digest


def targets_in_force(root: Path, scope: Scope, ask: bool = True) -> list[Target]:
    """What has to be honoured, each once, in an order of its own: when it was recorded changes nothing."""
    return _targets(in_force(read_tombstones(root, ask), scope))


def _targets(stones: Iterable[Tombstone]) -> list[Target]:
    return sorted({stone.target for stone in stones}, key=lambda target: (target.kind, target.value))


class Addresses:
    """Whether an address is withdrawn, told by it alone; for a crawler, who asks for each."""

    def __init__(self, targets: Iterable[Target]) -> None:
        told = list(targets)
        self._urls = {t.value: t for t in told if t.kind == "url"}
        self._domains = {t.value: t for t in told if t.kind == "domain"}
        self._prefixes = [t for t in told if t.kind == "prefix"]

    def named_by(self, address: str) -> Target | None:
        """What names it, if anything does."""
        bare = _bare(address)
        if (found := self._urls.get(bare.partition("#")[0]) or self._urls.get(bare)) is not None:
            return found
        labels = re.split(r"[/:?#]", bare, maxsplit=1)[0].lower().split(".")
        hosts = (".".join(labels[i:]) for i in range(len(labels)))
        return next((self._domains[host] for host in hosts if host in self._domains), None) or next(
            (t for t in self._prefixes if bare.startswith(t.value)), None
        )


def in_the_corpus(root: Path, ask: bool = True) -> dict[Scope, list[Target]]:
    """What has to be honoured of documents that are in the corpus, by who honours it."""
    told = read_tombstones(root, ask)
    return {scope: _targets(in_force(told, scope)) for scope in OF_THE_CORPUS}


def targets_digest(targets: Mapping[Scope, Sequence[Target]]) -> str:
    return digest_json({scope: [[t.kind, t.value] for t in told] for scope, told in targets.items()})


def record(
    root: Path,
    target: Target,
    reason: Reason,
    *,
    received: str = "",
    reference: str = "",
    proof: str = "",
    scope: Sequence[Scope] = SCOPES,
    revokes: int | None = None,
) -> Tombstone:
    """Add a tombstone to a store, after those that are there.

    Raises:
        BadInput: ``revokes`` is the number of none that is in force.
        NeoError: others keep being faster.
    """
    remote = remote_of(root)
    for _ in range(20):
        there = read_tombstones(root)
        gone = {stone.supersedes for stone in there}
        if revokes is not None and not any(
            t.number == revokes and t.status == "in force" and t.number not in gone for t in there
        ):
            raise BadInput(f"tombstone {revokes} is not in force")
        number = len(there) + 1
        told = Tombstone(
            number=number,
            kind=target.kind,
            value=target.value,
            reason=reason,
            received=received or time.strftime("%Y-%m-%d", time.gmtime()),
            recorded=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            reference=reference,
            proof=proof,
            scope=tuple(s for s in SCOPES if s in scope),
            status="in force" if revokes is None else "revoked",
            supersedes=revokes,
            before=digest_bytes((root / FOLDER / _name(number - 1)).read_bytes()) if there else "",
        )
        data = (json.dumps(told.model_dump(mode="json"), ensure_ascii=False) + "\n").encode()
        file = root / FOLDER / _name(number)
        if remote is not None and remote.objects.put_once(f"{FOLDER}/{file.name}", data) is None:
            continue
        if _create(file, data) or remote is not None:
            return told
    raise NeoError(f"{root / FOLDER}: others write tombstones all the time; try again")


def _name(number: int) -> str:
    return f"{number:06d}.json"


def _create(file: Path, data: bytes) -> bool:
    """Write a file that nobody has written, whole or not at all; whether this call did."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(file)
    with aside.open("wb") as stream:
        stream.write(data)
        os.fsync(stream.fileno())
    try:
        os.link(aside, file)
    except FileExistsError:
        return False
    finally:
        aside.unlink()
    return True
