"""Sites that behave and misbehave, on loopback, and the means to crawl them without Dagster."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pydantic import BaseModel

from neo_assets.core.recipe.sources import CrawlSource, Politeness, Source
from neo_assets.core.records import VERDICT, read_table, remove_leftovers, rows
from neo_assets.core.store import Artifact, MadeFrom, Manifest, Outcome, Store, Workspace, input_refs
from neo_assets.core.tombstones import Target
from neo_assets.crawl.catalogue import read_source_input
from neo_assets.crawl.crawler import crawl_source
from neo_assets.web.fetch_log import LogRow, read_log

Answer = Callable[[BaseHTTPRequestHandler], None]


def html(body: str, charset: str = "utf-8") -> bytes:
    return f"<html><head><title>A page</title></head><body>{body}</body></html>".encode(charset)


def send(content: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with ``content``; header names with ``_`` for ``-``."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {
            "Content-Type": "text/html",
            "Content-Length": str(len(content)),
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }.items():
            if value:
                request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def redirect(target: str) -> Answer:
    return send(b"", 302, Location=target)


def stall(before: bytes = b"", seconds: float = 2.0) -> Answer:
    """Send a little, then nothing."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(before)
        request.wfile.flush()
        time.sleep(seconds)

    return answer


def raw(content: bytes) -> Answer:
    """Bytes as they are, then the end of the connection."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(content)
        request.close_connection = True

    return answer


class Site:
    """What a test server answers by path, and how often each was asked for."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.hits: Counter[str] = Counter()
        self.root = ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the game."""


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[Site]:
    site = Site(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.hits[self.path] += 1
            try:
                site.answers.get(self.path, send(b"no such page", 404))(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    site.root = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def upstream(source: Source, key: str = "sources/test") -> dict[str, Artifact]:
    """The one input that a crawl has: only its key counts, and what it says of files on this machine."""
    made_from = MadeFrom(config=read_source_input(source).model_dump(mode="json"), code={}, libraries={}, inputs={})
    return {
        "sources": Artifact(
            key,
            Path("nowhere"),
            Manifest(key=key, fingerprint="f", digest="d", made_from=made_from, files={}, seconds=0, created_at=""),
            [],
        )
    }


def build(
    store: Path, key: str, stage: Callable[..., Outcome], config: BaseModel, inputs: Mapping[str, Artifact]
) -> Artifact:
    """Run a stage in a real store, as the factory does."""
    made_from = MadeFrom(config=config.model_dump(mode="json"), code={}, libraries={}, inputs=input_refs(inputs, {}))
    return Store(store).build(key, made_from, lambda out: stage(config, inputs, out))[0]


def crawl_config(root: str, **fields: object) -> CrawlSource:
    politeness = fields.pop("politeness", Politeness(timeout_s=0.6, tries=2, concurrency=16))
    return CrawlSource.model_validate(
        {
            "kind": "crawl",
            "licence": "CC0-1.0",
            "snapshot": "1",
            "seeds": [f"{root}/"],
            "allowed_domains": ["127.0.0.1"],
            "politeness": politeness,
            "private_addresses": True,
            **fields,
        }
    )


def crawl(folder: Path, config: BaseModel, withdrawn: Sequence[Target] = ()) -> tuple[Outcome, dict[str, LogRow]]:
    """Crawl into ``folder``; returns the outcome and the log by URL."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)  # as the store does before a stage goes on
    outcome = crawl_source(config, upstream(config), Workspace(folder), withdrawn)  # type: ignore[arg-type]
    return outcome, {row.url: row for path in sorted((folder / "log").iterdir()) for row in read_log(path)}


def verdict_rows(folder: Path) -> list[dict[str, object]]:
    """What was decided about each URL or record of a crawl that was written into a folder."""
    return [row for path in sorted((folder / "verdicts").glob("*.parquet")) for row in rows(read_table(path, VERDICT))]
