"""What other disks still need of an object store, and what is nobody's.

A job's inputs are pinned: an object tells other disks what a job of this one reads, until what it makes is there.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from neo_assets.core.committed import ARTIFACTS, COMMIT, Pair, committed, place_of, sent_for
from neo_assets.core.lease import alive
from neo_assets.core.objects import AT_ONCE
from neo_assets.core.remote import Remote

PINS = "pins"


def pin(remote: Remote, work: str, title: str, reads: Sequence[Pair], makes: Sequence[str]) -> None:
    """Tell other disks what a job of this one reads, until what it makes is in the object store."""
    told = {"title": title, "host": socket.gethostname(), "reads": list(reads), "makes": list(makes)}
    remote.objects.put(f"{PINS}/{remote.settings.disk}/{work}.json", json.dumps(told).encode())


def unpin(remote: Remote, work: str) -> None:
    remote.objects.delete([f"{PINS}/{remote.settings.disk}/{work}.json"])


def pinned(remote: Remote) -> list[tuple[str, list[Pair]]]:
    """(who, what it reads) for every job of another disk whose making is not in the object store yet."""
    return [
        (f"{told['title']} on {told['host']}", [(str(key), str(fingerprint)) for key, fingerprint in told["reads"]])
        for name, told in _pins(remote)
        if not name.startswith(f"{PINS}/{remote.settings.disk}/") and not _moot(remote, told)
    ]


def _pins(remote: Remote) -> Iterator[tuple[str, dict[str, Any]]]:
    for pin in remote.objects.list(f"{PINS}/"):
        if (read := remote.objects.read(pin.name)) is not None:
            yield pin.name, json.loads(read.data)


def _moot(remote: Remote, told: dict[str, Any]) -> bool:
    """Whether all that a pinned job makes is in the object store."""
    pairs = [(key, fingerprint) for key, _, fingerprint in (str(name).rpartition("/") for name in told["makes"])]
    return bool(pairs) and all(remote.objects.look(f"{place_of(*pair)}/{COMMIT}") for pair in pairs)


def _being_made(remote: Remote) -> set[Pair]:
    return {(str(told["key"]), str(told["fingerprint"])) for told in alive(remote.objects)}


def _referred_to(remote: Remote, pairs: Iterable[Pair]) -> set[str]:
    """Objects that these commits name now; another disk may have made one anew since this one heard of it."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = list(pool.map(lambda pair: remote.record(*pair), pairs))
    return {place for record in read if record is not None for place in record.objects.values()}


def sweep(remote: Remote, grace_s: float, remove: bool) -> tuple[int, int]:
    """(objects, bytes) that no commit refers to, older than the grace, of nothing that is being made; ``remove``
    removes them.
    """
    working = _being_made(remote)
    everything = list(remote.objects.list(f"{ARTIFACTS}/"))
    commits = {committed(o.name) for o in everything if o.name.endswith(f"/{COMMIT}")}
    used = _referred_to(remote, commits)
    working |= _being_made(remote)
    # Whoever committed while this was looking held a lease at one of the two looks, or is among these.
    used |= _referred_to(remote, {committed(name) for name in remote.commits()} - commits)
    now = remote.objects.now()
    nobodys = [
        o
        for o in everything
        if not o.name.endswith(f"/{COMMIT}")
        and o.name not in used
        and now - o.modified > grace_s
        and sent_for(o.name) not in working
    ]
    if remove:
        remote.objects.delete(o.name for o in nobodys)
        remote.objects.delete([name for name, told in _pins(remote) if _moot(remote, told)])
    return len(nobodys), sum(o.size for o in nobodys)
