"""A folder of HTML pages as a real web site on 127.0.0.1, with robots.txt and sitemap.

It runs in the crawler's own event loop: a second thread would only wait for the same interpreter lock. What is served
is an index made from the include patterns beforehand, so no request can name a file outside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import web

from neo_assets.core.recipe.sources import DOCUMENT_TYPES

SITEMAP_URLS = 50_000
"""URLs in one sitemap, by the protocol."""

_TYPES = {suffix: kind for kind, suffix in DOCUMENT_TYPES.items()}
_INDEX = re.compile(r"(?:^|(?<=/))index\.html?$")


@dataclass(frozen=True)
class FolderSite:
    """What a folder looks like from outside: URL path -> file."""

    host: str
    files: Mapping[str, Path]

    @property
    def seeds(self) -> list[str]:
        """The root page if there is one; the sitemap names all pages anyway."""
        return [f"http://{self.host}{path}" for path in ("/index.html", "/index.htm") if path in self.files][:1]

    def robots(self) -> str:
        maps = [self._sitemap_path(i) for i in range(len(self._chunks()))]
        return "User-agent: *\nDisallow:\n" + "".join(f"Sitemap: http://{self.host}{path}\n" for path in maps)

    def sitemaps(self) -> dict[str, str]:
        """Sitemap documents by URL path."""
        return {
            self._sitemap_path(i): _sitemap(f"http://{self.host}{path}" for path in chunk)
            for i, chunk in enumerate(self._chunks())
        }

    def _chunks(self) -> list[list[str]]:
        paths = sorted(self.files)
        return [paths[i : i + SITEMAP_URLS] for i in range(0, max(len(paths), 1), SITEMAP_URLS)]

    @staticmethod
    def _sitemap_path(i: int) -> str:
        return "/sitemap.xml" if i == 0 else f"/sitemap-{i}.xml"


def folder_site(folder: Path, host: str, include: Sequence[str]) -> FolderSite:
    """Index of the files below ``folder`` that match one of the ``include`` patterns; links that lead out of it are
    left out.
    """
    root = folder.resolve()
    files: dict[str, Path] = {}
    for pattern in include:
        for path in root.glob(pattern):
            if path.is_file() and Path(os.path.realpath(path)).is_relative_to(root):
                files["/" + quote(path.relative_to(root).as_posix(), errors="surrogateescape")] = path
    return FolderSite(host, files)


@asynccontextmanager
async def serving(site: FolderSite) -> AsyncIterator[int]:
    """Serve ``site`` on 127.0.0.1 at a free port, which is yielded, until the block ends."""
    pages = dict(site.files)
    texts = {
        "/robots.txt": ("text/plain", site.robots()),
        **{path: ("application/xml", text) for path, text in site.sitemaps().items()},
    }
    indexes = {_INDEX.sub("", path): path for path in pages if _INDEX.search(path)}

    async def answer(request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        if path in pages:
            # No charset: a file's encoding is for its reader to find out.
            kind = _TYPES.get(pages[path].suffix.lower(), "text/html")
            return web.Response(body=pages[path].read_bytes(), headers={"Content-Type": kind})
        if path in texts:
            kind, text = texts[path]
            return web.Response(text=text, content_type=kind)
        if path in indexes:
            raise web.HTTPMovedPermanently(indexes[path])
        raise web.HTTPNotFound

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _sitemap(urls: Iterable[str]) -> str:
    entries = "".join(f"<url><loc>{escape(url)}</loc></url>\n" for url in urls)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<urlset'
        f' xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{entries}</urlset>\n'
    )
