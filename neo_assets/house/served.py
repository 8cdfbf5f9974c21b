"""Pages of the store for a browser, beside the web UI: report, scores, and one page for every artifact.

Loopback only, and only for requests that name it: a page of another site that resolves its own name to this machine is
refused by the Host header. What is served is what manifests list as pages, and manifests; nothing else of the store.
No request changes anything.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from neo_assets.core.errors import NeoError
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import MANIFEST, Artifact, Store
from neo_assets.house.artifact_page import artifact_page, first_pages, index_page
from neo_assets.pages.loopback import HEADERS, NAMED_HERE
from neo_assets.pages.page import clean

SERVED = (".html", ".svg")
"""Ends of the names of files that are served, besides manifests."""
WHOLE = "site"
"""An artifact that is a folder of pages: its scripts are served as well, and what its pages lead to."""
OF_THE_WHOLE = (".html", ".js", ".json", ".md", ".yml")
KEY, FINGERPRINT = re.compile(r"[a-z][a-z0-9_]*(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)?"), re.compile(r"[0-9a-f]{16,64}")
"""What an artifact may be called in an address: no path leads out of the store."""
PICTURE_RULES = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A picture opened by itself is a document, which may run nothing."""


class Pages:
    """What is answered, by what the build of a recipe holds now. ``ui``: address of the web UI, which pages link to; ''
    for none.
    """

    def __init__(self, recipe: Recipe, store: Store, ui: str) -> None:
        self.recipe, self.store, self.ui = recipe, store, ui

    def index(self, _: Request) -> Response:
        """Every artifact of the build; report and scores first."""
        heads = {n: made for n in self.store.heads(self.recipe.name) if "@" not in n and (made := self._held(n))}
        return HTMLResponse(index_page(self.recipe, heads, self.ui), headers=HEADERS)

    def latest(self, request: Request) -> Response:
        """What the build holds now under a name (Dagster's spelling as well): its page, or what is said of it."""
        asked = request.path_params["name"]
        name = next((n for n in self.store.heads(self.recipe.name) if asked in (n, n.replace("/", "_"))), asked)
        made = self._held(name)
        if made is None:
            return _missing(f"{asked} is not made yet in recipe '{self.recipe.name}', or its files are damaged")
        wanted = request.query_params.get("show", "")
        page = next(iter(first_pages(made)), "") if wanted != "artifact" else ""
        return RedirectResponse(f"/{made.key}/{made.fingerprint}/{page}", headers=HEADERS)

    def file(self, request: Request) -> Response:
        """A page or picture that a manifest lists, or the manifest itself; without a name, the artifact's page."""
        path, name = request.path_params["path"], request.path_params.get("file", "")
        if name and (below := re.fullmatch(rf"({WHOLE}/[0-9a-f]+)/(.+)", path)):
            path, name = below[1], f"{below[2]}/{name}"
        key, _, fingerprint = path.rpartition("/")
        if not name:
            return self._artifact(key, fingerprint)
        made = self._found(key, fingerprint)
        ends = OF_THE_WHOLE if key == WHOLE else SERVED
        if made is None or not (name == MANIFEST or (name in made.manifest.files and name.endswith(ends))):
            return _missing(f"{key}/{fingerprint}/{name} is no page of the store")
        more = {"Content-Security-Policy": PICTURE_RULES} if name.endswith(".svg") else {}
        return FileResponse(made.folder / name if name == MANIFEST else made.file(name), headers=HEADERS | more)

    def _artifact(self, key: str, fingerprint: str) -> Response:
        made = self._found(key, fingerprint)
        if made is None:
            return _missing(f"there is no artifact {key}/{fingerprint} here")
        whose = {
            name: f"/{name}/{ref.fingerprint}/"
            for name, ref in made.manifest.made_from.inputs.items()
            if self.store.has(name, ref.fingerprint)
        }
        asset = f"{self.ui}/assets/{made.key.replace('/', '_')}" if self.ui else ""
        return HTMLResponse(artifact_page(made, whose, asset), headers=HEADERS)

    def _found(self, key: str, fingerprint: str) -> Artifact | None:
        if not KEY.fullmatch(key) or not FINGERPRINT.fullmatch(fingerprint):
            return None
        try:
            return self.store.find(key, fingerprint)
        except NeoError:  # damaged: `neo verify` says what
            return None

    def _held(self, name: str) -> Artifact | None:
        known = name in self.store.heads(self.recipe.name)
        pointer = self.store.head_pointer(self.recipe.name, name) if known else None
        return self._found(*pointer) if pointer else None


def pages_app(recipe: Recipe, store: Store, ui: str = "") -> Starlette:
    """The application."""
    pages = Pages(recipe, store, ui)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/latest/{name:path}", pages.latest),
            Route("/{path:path}/{file}", pages.file),
            Route("/{path:path}/", pages.file),
        ],
        middleware=[NAMED_HERE],
    )


def _missing(why: str) -> Response:
    return PlainTextResponse(clean(why), status_code=404, headers=HEADERS)


def free_port(first: int) -> int:
    """The first port of the loopback interface, from ``first``, that nobody has."""
    for port in range(first, first + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NeoError(f"no port from {first} to {first + 49} of 127.0.0.1 is free")


def _end_with(parent: int) -> None:
    """End when whoever started this is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    """``python -m neo_assets.house.served PORT UI PARENT``: serve until the parent process ends."""
    import uvicorn

    port, ui, parent = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    app = pages_app(load(), Store(Path(store_root())), ui)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
