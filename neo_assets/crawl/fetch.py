"""One request at a time, politely: waiting between requests to a host, trying again for passing reasons, never raising.

Whatever a site does ends as a :class:`Fetched` with an outcome and a reason. Redirects are not followed here: they are
answers, and the crawler asks for their targets like for any link, so that robots.txt and allowed domains hold for every
hop.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import random
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from resiliparse.parse.encoding import detect_mime
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from neo_assets.core.recipe.sources import Politeness
from neo_assets.web.fetch_log import FETCHED, REDIRECT, now
from neo_assets.web.links import BadUrl, host_of
from neo_assets.web.links import address as address_of
from neo_assets.web.media import HTML, media_type

AGENT = "NeoFoundry"
LONGEST_WAIT_S = 120.0
"""A site that asks for a longer pause than this (Retry-After) is not asked again in this crawl."""

NOT_MODIFIED = "not_modified"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (429, 503)
_CHUNK = 1 << 16


@dataclass(slots=True)
class Fetched:
    """The answer to one request, or why there is none."""

    outcome: str
    reason: str = ""
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    content_type: str = ""
    payload: bytes = b""
    truncated: bool = False
    location: str = ""
    fetched_at: str = ""
    passing: bool = False
    """Whether it failed in a way that may be gone at another time."""


class _Passing(Exception):
    """A failure that may be gone in a moment."""

    def __init__(self, result: Fetched, wait_s: float | None = None) -> None:
        super().__init__(result.reason)
        self.result = result
        self.wait_s = wait_s


class PrivateAddress(OSError):
    """A public host's name leads to a private, link-local or loopback address."""


class LoopbackResolver(AbstractResolver):
    """Resolves logical hosts to a port of this machine, and everything else as usual, but not to private addresses
    unless they are ``allowed``. What is judged here is what is connected to, so that a name that changes its mind in
    between gains nothing.
    """

    def __init__(self, ports: Mapping[str, int], private_addresses: bool) -> None:
        self._ports = ports
        self._private_addresses = private_addresses
        self._others = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host not in self._ports:
            found = await self._others.resolve(host, port, family)
            if not self._private_addresses:
                for answer in found:
                    if is_private(answer["host"]):
                        raise PrivateAddress(_private(host, answer["host"]))
            return found
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self._ports[host],
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        await self._others.close()


class _Host:
    """Turn-taking at one host: so many requests at once, so many seconds between their starts."""

    def __init__(self, concurrency: int, delay_s: float) -> None:
        self.delay_s = delay_s
        self._places = asyncio.Semaphore(concurrency)
        self._turn = asyncio.Lock()
        self._next_start = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._places:
            if self.delay_s:
                async with self._turn:
                    await asyncio.sleep(max(0.0, self._next_start - time.monotonic()))
                    self._next_start = time.monotonic() + self.delay_s
            yield


class Fetcher:
    """An HTTP client with manners. Use as an async context manager.

    ``ports`` maps logical host names to ports of this machine (see :class:`LoopbackResolver`).
    """

    def __init__(
        self,
        politeness: Politeness,
        max_bytes: int,
        ports: Mapping[str, int] | None = None,
        private_addresses: bool = False,
    ) -> None:
        self._politeness = politeness
        self._max_bytes = max_bytes
        self._ports = dict(ports or {})
        self._private_addresses = private_addresses
        self._hosts: dict[str, _Host] = {}
        self.requests = 0

    async def __aenter__(self) -> Fetcher:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=LoopbackResolver(self._ports, self._private_addresses), limit=0, ttl_dns_cache=300
            ),
            timeout=aiohttp.ClientTimeout(total=self._politeness.timeout_s),
            headers={
                "User-Agent": user_agent(self._politeness.contact),
                "Accept-Encoding": "identity",
                "Accept": "text/html,application/xhtml+xml,*/*;q=0.5",
            },
            # Cookies would make an answer depend on what was asked before it.
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def slow_down(self, host: str, delay_s: float) -> None:
        """Wait at least ``delay_s`` between requests to ``host`` (its Crawl-delay)."""
        if not self._is_here(host):
            turns = self._host(host)
            turns.delay_s = max(turns.delay_s, delay_s)

    async def fetch(
        self,
        address: str,
        *,
        wanted: Sequence[str] | None = HTML,
        max_bytes: int | None = None,
        unless: Mapping[str, str] | None = None,
    ) -> Fetched:
        """Ask for ``address``; content types that are not ``wanted`` are not read (None: all are). Never raises for
        what a site does. ``unless``: headers that make it a conditional request.
        """
        limit = self._max_bytes if max_bytes is None else max_bytes
        host = host_of(address)
        if host not in self._ports and not self._private_addresses and is_private(host):
            return Fetched("private_address", _private(host, host), fetched_at=now())
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Passing),
                stop=stop_after_attempt(self._politeness.tries),
                wait=lambda state: self._pause(state, host),
                reraise=True,
            ):
                with attempt:
                    async with self._host(host).turn():
                        return await self._once(address, wanted, limit, unless or {})
        except _Passing as failure:
            failure.result.passing = True
            return failure.result
        raise AssertionError("tenacity ends by returning or raising")

    def _is_here(self, host: str) -> bool:
        return host in self._ports or is_loopback(host)

    def _host(self, host: str) -> _Host:
        if host not in self._hosts:
            self._hosts[host] = _Host(
                self._politeness.concurrency, 0.0 if self._is_here(host) else self._politeness.delay_s
            )
        return self._hosts[host]

    def _pause(self, state: RetryCallState, host: str) -> float:
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, _Passing) and failure.wait_s is not None:
            return failure.wait_s
        return 0.0 if self._is_here(host) else min(2.0**state.attempt_number + random.random(), LONGEST_WAIT_S)

    async def _once(self, address: str, wanted: Sequence[str] | None, limit: int, unless: Mapping[str, str]) -> Fetched:
        self.requests += 1
        host = host_of(address)
        try:
            # encoded=True: it is written as it is sent, and yarl must not quote it a second way.
            request = self._session.get(yarl.URL(address, encoded=True), allow_redirects=False, headers=unless)
            async with request as answer:
                return await _read(answer, address, wanted, limit)
        except TimeoutError:
            raise _Passing(
                Fetched(
                    "timeout", f"{host}: no complete answer within {self._politeness.timeout_s:g} s", fetched_at=now()
                )
            ) from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PrivateAddress):
                return Fetched("private_address", str(error.os_error), fetched_at=now())
            raise _Passing(Fetched("connection", f"{host}: {_in_words(error)}", fetched_at=now())) from error
        except (aiohttp.ClientError, ValueError) as error:
            return Fetched("bad_response", f"{host}: {_in_words(error)}", fetched_at=now())


async def _read(answer: aiohttp.ClientResponse, url: str, wanted: Sequence[str] | None, limit: int) -> Fetched:
    headers = [(name, value) for name, value in answer.headers.items()]
    result = Fetched(FETCHED, "", answer.status, headers, answer.headers.get("Content-Type", ""), fetched_at=now())
    if answer.status in _REDIRECTS and "Location" in answer.headers:
        result.outcome = REDIRECT
        try:
            result.location = address_of(answer.headers["Location"], url)
        except BadUrl as error:
            result.outcome, result.reason = (
                "malformed_url",
                f"redirect to {answer.headers['Location'][:200]!r}: {error}",
            )
        return result
    if answer.status == 304:
        result.outcome = NOT_MODIFIED
        return result
    if not 200 <= answer.status < 300:
        result.outcome, result.reason = "http_error", f"HTTP {answer.status} {answer.reason or ''}".strip()
        wait_s = _retry_after(answer.headers.get("Retry-After"))
        if answer.status in _PASSING and (wait_s is None or wait_s <= LONGEST_WAIT_S):
            raise _Passing(result, wait_s)
        return result
    kind = media_type(result.content_type)
    if wanted is not None and kind and kind not in wanted:
        result.outcome, result.reason = "not_html", f"content type {kind}"
        answer.close()
        return result
    result.payload, result.truncated = await _body(answer, limit)
    if wanted is not None and not kind and (guess := detect_mime(result.payload)) not in wanted:
        return Fetched(
            "not_html",
            f"no content type; the bytes look like {guess}",
            answer.status,
            headers,
            fetched_at=result.fetched_at,
        )
    if wanted is not None and not result.payload:
        result.outcome, result.reason = "empty", "an answer without a body"
    return result


async def _body(answer: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_chunked(_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            answer.close()
            return b"".join(parts)[:limit], True
    return b"".join(parts), False


def user_agent(contact: str) -> str:
    try:
        ours = version("neofoundry")
    except PackageNotFoundError:
        ours = "0"
    return f"{AGENT}/{ours} (+{contact})"


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Whether ``host`` is an address that is not of the public internet, also where it is wrapped into another."""
    try:
        ip = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return is_loopback(host)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
    return not ip.is_global or ip.is_multicast


def _private(host: str, found: str) -> str:
    leads = "is" if host == found else f"leads to {found},"
    return f"{host} {leads} no address of the public internet; private_addresses: true would allow it"


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for (a number or a date), None without a usable one."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace(" ssl:default", "")[:300]
