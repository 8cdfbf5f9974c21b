"""Leases: locks on an object store. An object that its holder writes again every few seconds; one that was not written
for a while is nobody's.

A lease is economy, not safety: what two write at once is decided where it is committed, by a name that can be created
once. How long ago a lease was written is told by the server's clock alone.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from neo_assets.core.errors import NeoError
from neo_assets.core.objects import Objects

LEASES = "leases"
RENEWED_S = 20.0
DEAD_S = 90.0
"""Seconds after which a lease that nobody renewed is free."""
LOOKED_S = 2.0


class Lease:
    """Hold a name as long as this block lasts; wait for whoever holds it. ``waiting`` is called once, if so."""

    def __init__(self, objects: Objects, name: str, told: dict[str, object], waiting: Callable[[], None]) -> None:
        self.name = f"{LEASES}/{name}.json"
        self._objects, self._waiting = objects, waiting
        self._content = {**told, "host": socket.gethostname(), "holder": secrets.token_hex(8)}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{name}", daemon=True)
        self._etag = ""

    def __enter__(self) -> Lease:
        said = False
        while not self._taken():
            if not said:
                self._waiting()
                said = True
            time.sleep(LOOKED_S)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(NeoError):  # who waits will find it dead
            there = self._objects.look(self.name)
            if there is not None and there.etag == self._etag:  # not taken by another, who thought this one dead
                self._objects.delete([self.name])

    def _taken(self) -> bool:
        if (etag := self._objects.put_once(self.name, self._text())) is not None:
            self._etag = etag
            return True
        there = self._objects.look(self.name)
        if there is None or self._objects.now() - there.modified <= DEAD_S:
            return False
        self._etag = self._objects.replace(self.name, self._text(), there.etag) or ""
        return bool(self._etag)

    def _text(self) -> bytes:
        return json.dumps({**self._content, "renewed": time.time()}).encode()

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED_S):
            try:
                etag = self._objects.replace(self.name, self._text(), self._etag)
            except NeoError:
                continue  # the next turn may reach it
            if etag is None:
                return  # another has taken it
            self._etag = etag


def alive(objects: Objects) -> list[dict[str, object]]:
    """What the holders of all leases that are held now have told of themselves."""
    there = list(objects.list(f"{LEASES}/"))
    now = objects.now() if there else 0.0
    held = [objects.read(lease.name) for lease in there if now - lease.modified <= DEAD_S]
    return [json.loads(read.data) for read in held if read is not None]
