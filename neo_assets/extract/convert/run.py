"""Runs the conversion of a document in a child process with limits, and goes on after the page that ended it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.fingerprint import ROOT
from neo_assets.extract.convert import other_kinds
from neo_assets.extract.convert.pages import WINDOW, ConvertedPage, Trust

START_SECONDS = 60.0
"""Until a child says its first word: it imports, and opens the file."""
MOST_DEATHS = 8
"""Pages of one file that may each end a child; then the rest of it is given up."""


PLAIN_BYTES = 32_000_000
"""Plain text that is longer is read in a child too, whose memory has a limit."""


def is_plain(suffix: str, size: int) -> bool:
    """Whether a document is read without a child, which takes half a second to start."""
    return suffix == ".txt" and size <= PLAIN_BYTES


@dataclass(frozen=True)
class Failed:
    """A document, or the rest of one, that cannot be converted; says why."""

    reason: str


def converted(path: Path, suffix: str, trust: Trust, first: int = 0) -> Iterator[ConvertedPage | Failed]:
    """Pages of a document in order, from ``first`` on (the first of a window); what ends a child costs its page, and
    what cannot be opened is told. Plain text is read here: nothing of it is parsed.
    """
    if is_plain(suffix, path.stat().st_size):
        try:
            yield from [page for page in other_kinds.convert(path, suffix) if page.page >= first]
        except (other_kinds.NotRead, OSError) as error:
            yield Failed(str(error)[:300])
        return
    skip, done, deaths = set[int](), first - 1, 0
    while True:
        at, ended = -1, ""
        for told in _lines(path, suffix, first, trust, skip):
            if "at" in told:
                at = int(told["at"])  # type: ignore[call-overload]
            elif "page" in told:
                page = ConvertedPage(**told["page"])  # type: ignore[arg-type]
                if page.page > done:
                    done = page.page
                    yield page
            elif "end" in told:
                return
            elif "failed" in told and not told.get("memory"):
                yield Failed(str(told["failed"]))
                return
            elif "failed" in told or "died" in told:
                ended = str(told.get("failed") or told["died"])
        deaths += 1
        if at < 0 or at in skip or deaths > MOST_DEATHS:
            yield Failed(ended or "the reader ended without a word")
            return
        skip.add(at)
        first = (done + 1) // WINDOW * WINDOW


def _lines(path: Path, suffix: str, first: int, trust: Trust, skip: set[int]) -> Iterator[dict[str, object]]:
    """What a child says; ``{"died": reason}`` where it ends before its end, or says nothing for too long."""
    command = [sys.executable, "-m", "neo_assets.extract.convert.child", str(path), suffix, str(first)]
    command += [trust.model_dump_json(), json.dumps(sorted(skip))]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert child.stdout is not None
    patience = max(trust.page_seconds, trust.ocr_page_seconds if trust.ocr else 0.0)
    held = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            allowed = START_SECONDS
            while True:
                if not selector.select(allowed):
                    yield {"died": f"it took more than {allowed:g} s"}
                    return
                piece = os.read(child.stdout.fileno(), 1 << 16)
                if not piece:
                    break
                allowed = patience
                *whole, held = (held + piece).split(b"\n")
                for line in whole:
                    yield json.loads(line)
        code = child.wait()
        if code:
            how = f"by signal {-code}" if code < 0 else f"with code {code}"
            yield {"died": f"the reader ended {how}; it may have {trust.max_memory_mb} MB of memory"}
    finally:
        if child.poll() is None:
            child.kill()
        child.stdout.close()
        child.wait()
