"""Object storage as the store needs it: names that can be created once, replaced only if unchanged, read and listed.

Anything that obstore opens and that has conditional writes: ``s3://`` and what speaks its protocol, ``gs://``, ``az://``.
Credentials, region and address come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
``AWS_REGION``, ``AWS_ENDPOINT_URL``, …) or from the machine's role, never from a recipe.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, cast

from neo_assets.core.errors import MachineLacks, NeoError

SCHEMES = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://")
PIECE, SPAN = 16 << 20, 256 << 20
"""Bytes that are sent, and asked for, in one request."""
ANSWER_S, REQUEST_S = 20, 120
"""Seconds that a request for something small, or for a piece of a file, may take; it is asked again after that."""
RETRIED_S = 60
"""Seconds after which something small is asked no more."""
CONFLICTS = 8
"""How often a name is tried again that two asked for at one moment (409)."""
AT_ONCE = 8
"""Files that are sent or brought at one time."""
PROBES = "probe"


class Unconditional(NeoError):
    """A server that ignores the conditions of a write: nothing of a store would be safe on it."""


@dataclass(frozen=True)
class Listed:
    """An object as a listing tells it."""

    name: str
    size: int
    etag: str
    modified: float  # seconds since 1970, by the server's clock


@dataclass(frozen=True)
class Read:
    data: bytes
    etag: str
    modified: float


class Objects:
    """Everything below one URL. Names are relative to it. Safe for any number of threads and processes."""

    def __init__(self, url: str) -> None:
        try:
            import obstore
            from obstore import exceptions
            from obstore.store import from_url
        except ImportError:
            raise MachineLacks(f"a store at {url} needs the extra 's3': pip install 'neofoundry[s3]'") from None
        self.url = url.rstrip("/")
        self._obs: Any = obstore
        open_url: Any = from_url
        self._errors: Any = exceptions
        refuse_no_place(self.url)
        plain = plain_http()

        def opened(seconds: int, retried: int) -> Any:
            return open_url(
                self.url,
                client_options={"timeout": f"{seconds}s", "connect_timeout": "10s", **plain},
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=retried)},
            )

        with self._asking():
            self._store, self._bulk = opened(ANSWER_S, RETRIED_S), opened(REQUEST_S, 3 * REQUEST_S)

    # -------------------------------------------------- small objects

    def put_once(self, name: str, data: bytes) -> str | None:
        """Create an object; gives its etag. None where there is one with other content: then nothing was written."""
        for turn in range(CONFLICTS):
            with self._asking(), contextlib.suppress(self._errors.AlreadyExistsError, self._errors.PreconditionError):
                return str(self._obs.put(self._store, name, data, mode="create")["e_tag"])
            # It is there, or two asked at one moment; or this very request was sent twice, its first answer lost.
            if (there := self.read(name)) is not None:
                return there.etag if there.data == data else None
            time.sleep(0.05 * 2**turn)
        raise NeoError(f"{self.url}: {name} can neither be created nor read")

    def put(self, name: str, data: bytes) -> str:
        """Write an object, whatever was there; gives its etag."""
        with self._asking():
            return str(self._obs.put(self._store, name, data)["e_tag"])

    def replace(self, name: str, data: bytes, etag: str) -> str | None:
        """Write an object if it is still the one with this etag; gives the new one's, None where it is not."""
        for turn in range(CONFLICTS):
            try:
                with self._asking():
                    return str(self._obs.put(self._store, name, data, mode={"e_tag": etag})["e_tag"])
            except self._errors.AlreadyExistsError:
                time.sleep(0.05 * 2**turn)
            except (self._errors.PreconditionError, FileNotFoundError):
                return None
        return None

    def read(self, name: str) -> Read | None:
        """An object's content; None where there is none."""
        with self._asking(), contextlib.suppress(FileNotFoundError):
            got = self._obs.get(self._store, name)
            return Read(bytes(got.bytes()), str(got.meta["e_tag"]), got.meta["last_modified"].timestamp())
        return None

    def look(self, name: str) -> Listed | None:
        """What is told of an object without reading it; None where there is none."""
        with self._asking(), contextlib.suppress(FileNotFoundError):
            return _listed(self._obs.head(self._store, name))
        return None

    def list(self, prefix: str) -> Iterator[Listed]:
        """All objects whose names begin with a folder's name."""
        with self._asking():
            for batch in self._obs.list(self._store, prefix, chunk_size=1000):
                yield from map(_listed, batch)

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there are none."""
        chosen = list(names)
        for begin in range(0, len(chosen), 1000):
            with self._asking(), contextlib.suppress(FileNotFoundError):
                self._obs.delete(self._store, chosen[begin : begin + 1000])

    def now(self) -> float:
        """Seconds since 1970, by the clock that objects are dated by."""
        name = f"{PROBES}/clock-{secrets.token_hex(6)}"
        self.put(name, b"")
        told = self.look(name)
        self.delete([name])
        if told is None:
            raise NeoError(f"{self.url}: what was written a moment ago is not there")
        return told.modified

    # -------------------------------------------------- files

    def upload(self, path: Path, name: str) -> str:
        """Send a file; gives the digest of what was sent, as
        :func:`~neo_assets.core.fingerprint.digest_file` of it.
        """
        state = hashlib.blake2b(digest_size=16)

        def pieces() -> Iterator[bytes]:
            with path.open("rb") as stream:
                while piece := stream.read(PIECE):
                    state.update(piece)
                    yield piece

        with self._asking():
            if path.stat().st_size <= PIECE:
                self._obs.put(self._bulk, name, b"".join(pieces()), use_multipart=False)
            else:
                self._obs.put(self._bulk, name, pieces(), use_multipart=True, chunk_size=PIECE, max_concurrency=2)
        return state.hexdigest()

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """An object's bytes, some at a time. Raises FileNotFoundError."""
        for begin in range(0, size, SPAN):
            with self._asking():
                span = {"range": (begin, min(begin + SPAN, size))}
                for piece in self._obs.get(self._bulk, name, options=span).stream(min_chunk_size=PIECE // 2):
                    yield memoryview(piece)

    def stream(self, name: str) -> IO[bytes]:
        """An object as a file that is read in pieces. Raises FileNotFoundError."""
        with self._asking():
            return cast("IO[bytes]", io.BufferedReader(_Pieces(self._obs.open_reader(self._bulk, name)), 1 << 16))

    def digest(self, name: str, size: int) -> str:
        """Digest of an object as :func:`~neo_assets.core.fingerprint.digest_file` of its file. Raises
        FileNotFoundError.
        """
        state = hashlib.blake2b(digest_size=16)
        for piece in self.pieces(name, size):
            state.update(piece)
        return state.hexdigest()

    # -------------------------------------------------- whether it will do

    def probe(self) -> None:
        """Raises Unconditional where this server writes what it should have refused."""
        name = f"{PROBES}/{secrets.token_hex(6)}"
        try:
            etag = self.put(name, b"first")
            if self.put_once(name, b"second") is not None:
                raise Unconditional(f"{self.url}: {_IGNORES.format('If-None-Match')}")
            if self.replace(name, b"third", etag) is None:
                raise Unconditional(f"{self.url}: it refuses a write whose condition (If-Match) holds; {_OTHER}")
            if self.replace(name, b"fourth", etag) is not None:
                raise Unconditional(f"{self.url}: {_IGNORES.format('If-Match')}")
        finally:
            self.delete([name])

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """What the library raises, as an error that names the place; what callers decide by stays what it is."""
        try:
            yield
        except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise NeoError(f"{self.url}: there is no such bucket") from error
            raise
        except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError) as error:
            raise NeoError(f"{self.url}: not allowed; {_first_line(error)}") from error
        except (self._errors.BaseError, NotImplementedError, ValueError) as error:
            told = _first_line(error)
            unknown = any(sign in told for sign in _NO_CREDENTIALS)
            hint = f". No credentials: set {_CREDENTIALS[self.url.partition(':')[0][:2]]}" if unknown else ""
            raise NeoError(f"{self.url} cannot be asked: {told}{hint}") from error


_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT, the path of a service account's key",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "ab": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_NO_CREDENTIALS = ("169.254.169.254", "metadata", "Account must be specified")
"""What the library says where it asked the machine for a role, in vain."""
_OTHER = "take a server that has conditional writes, or a folder as the store"
_IGNORES = f"this server ignores conditions ({{}}): of two writers both would be told that they were first; {_OTHER}"


class _Pieces(io.RawIOBase):
    """obstore's reader as Python's files are."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def readinto(self, buffer: Any) -> int:
        data = bytes(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def plain_http() -> dict[str, bool]:
    """The client's option for a server that is asked without encryption, as the environment names it. Raises NeoError
    for an address of no scheme.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise NeoError(f"AWS_ENDPOINT_URL={endpoint}: it begins with http:// or https://")
    return {"allow_http": True} if endpoint.startswith("http://") else {}


def refuse_no_place(url: str) -> None:
    """Raises NeoError for what names no place of object storage."""
    if not url.startswith(SCHEMES) or not url.partition("://")[2].strip("/") or set(url) & set("?#"):
        raise NeoError(f"{url}: a store is a folder, or BUCKET/PREFIX after one of {', '.join(SCHEMES)}")


def _listed(told: dict[str, Any]) -> Listed:
    return Listed(told["path"], int(told["size"]), str(told["e_tag"]), told["last_modified"].timestamp())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
