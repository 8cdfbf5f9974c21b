"""The data half from WARC files to token ids at 1e4, 1e5 and 1e6 pages: CPU seconds, MB/s and peak memory of every
step, each in a process of its own.

``python -m benchmarks.scale 10000 100000 1000000``. Pages are the texts of the demo's build and seeded edits of them,
each in a page with navigation and a footer, two English ones for each Chinese one, in WARC files of 20,000. CPU should
grow with the text; the memory of the driving process by some tens of bytes a document that the global steps name in
their docstrings; that of the workers with the size of a file.
"""

from __future__ import annotations

import contextlib
import html
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil

from benchmarks.common import edited, texts
from neo_assets.build import stages
from neo_assets.core import records
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.sources import WarcSource
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.shards import LocalEngine
from neo_assets.core.steps import amounts, footer_of
from neo_assets.core.store import Artifact, Store
from neo_assets.web.warc_files import Response, SegmentWriter

FILE_PAGES = 20_000
WORKERS = 2
LAST = "token_shards/fundamental"
PAGE = (
    "<html><head><title>{title}</title></head><body><nav><ul><li><a href='/'>Home</a></li><li><a href='/a'>About</a>"
    "</li></ul></nav><main><h1>{title}</h1>{body}</main><footer><p>Contact, imprint</p></footer></body></html>"
)


def write_warc(index: int, begin: int, end: int, folder: Path, pages: Mapping[str, Sequence[str]]) -> int:
    """Pages ``begin`` to ``end``: the first time round the texts as they are, then edits of them. Returns bytes."""
    generator, written = random.Random(index), 0
    writer = SegmentWriter(folder / f"pages-{index:05d}.warc.gz", "benchmark")
    for number in range(begin, end):
        lang = "zh" if number % 3 == 2 else "en"
        mine = pages[lang]
        turn, place = divmod(number // 3, len(mine)) if lang == "zh" else divmod(number - number // 3, len(mine))
        text = mine[place] if turn == 0 else edited(mine[place], lang, generator.choice((0.01, 0.05, 0.2)), generator)
        host = "handbook.example" if number % 10 == 0 else f"site{number % 97}.example"
        body = "".join(f"<p>{html.escape(line)}</p>" for line in text.split("\n") if line.strip())
        page = PAGE.format(title=f"Page {number}", body=body).encode()
        written += len(page)
        kind = [("Content-Type", "text/html; charset=utf-8")]
        writer.add(Response(f"http://{host}/{lang}/{number}.html", 200, kind, page, "2024-05-30T00:00:00Z"))
    writer.finish()
    return written


def make_warcs(folder: Path, n: int) -> float:
    """WARC files with ``n`` pages; returns megabytes of HTML."""
    pages = {lang: texts(lang) for lang in ("en", "zh")}
    cuts = [(i, b, min(n, b + FILE_PAGES), folder, pages) for i, b in enumerate(range(0, n, FILE_PAGES))]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as processes:
        return sum(done.result() for done in [processes.submit(write_warc, *cut) for cut in cuts]) / 1e6


def recipe(root: Path) -> Recipe:
    """The laptop's, with one source of WARC files, and without the labels of its own pages."""
    base = load("laptop")
    told = {"kind": "warc", "paths": [str(root / "warc")], "licence": "none: for measuring", "snapshot": "benchmark"}
    quality = {lang: one.model_copy(update={"labels": None}) for lang, one in base.high_quality.items() if one}
    source = WarcSource.model_validate(told)
    return base.model_copy(update={"name": "scale", "sources": {"pages": source}, "high_quality": quality})


def run_step(root: Path, name: str) -> None:
    """One artifact in this process; prints seconds, megabytes of text (of WARC files: packed) that it reads, rows in,
    rows kept.
    """
    for file in (root / "warc").iterdir():
        remembered_digest(file)  # of more than a gigabyte, definitions tell size and time alone until it is read
    store, made_of = Store(root / "store"), recipe(root)
    entry = stages(made_of)[name]
    inputs = {n: store.head(made_of.name, n) for n in entry.reads}
    begin = time.monotonic()
    made, _ = store.build(
        name, entry.made_from(inputs), lambda out: entry.run(entry.config, inputs, out), engine=LocalEngine(WORKERS)
    )
    seconds = time.monotonic() - begin
    store.set_head(made_of.name, name, name, made.fingerprint)
    told = made.manifest
    read = sum(_text_bytes(artifact) for artifact in inputs.values())
    if entry.kind in ("raw_crawl", "page_text"):
        read = sum(file.stat().st_size for file in (root / "warc").iterdir())
    print(f"{seconds:.1f} {read / 1e6:.1f} {told.rows_in or 0} {told.rows_kept or 0}")


def _text_bytes(artifact: Artifact) -> int:
    """Bytes of text in an artifact's documents, by the footers of its files."""
    files = artifact.files(records.PART) or artifact.files("text/")
    return sum(int(footer_of(path).get("text_bytes", 0)) for path in files)


def ask(root: Path) -> None:
    """What another threshold would do to all English documents; prints the seconds."""
    from neo_assets.clean.whatif import compare, parsed

    made = recipe(root)
    begin = time.monotonic()
    changes = parsed(made, ["clean.en.max_bullet_lines=0.5", "clean.en.min_words=60"])["en"]
    compare(Store(root / "store"), made, "en", changes, 3)
    print(f"{time.monotonic() - begin:.1f}")


def watched(command: list[str]) -> tuple[str, float, float, float]:
    """(what it printed, peak megabytes of its own memory, mapped files aside, peak megabytes of it and all its
    descendants together, their CPU seconds), looked at ten times a second: of what ends in between, up to a tenth of a
    second is lost.
    """
    process, peak, own = subprocess.Popen(command, stdout=subprocess.PIPE, text=True), 0, 0
    used: dict[int, float] = {}
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(process.pid)
            held = 0
            status = Path(f"/proc/{process.pid}/status").read_text()
            own = max([own, *map(int, re.findall(r"RssAnon:\s+(\d+)", status))])
            for one in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    held += one.memory_info().rss
                    spent = one.cpu_times()
                    used[one.pid] = spent.user + spent.system
            peak = max(peak, held)
        time.sleep(0.1)
    told = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return told, own / 1e3, peak / 1e6, sum(used.values())


def steps_of(made: Recipe) -> list[str]:
    """Steps up to the token ids, in their order."""
    names = list(stages(made))
    return [n for n in names[: names.index(LAST) + 1] if not n.endswith("/decay") and n != "fertility"]


def measure(n: int) -> None:
    root = Path(os.environ.get("NEO_SCALE", "/tmp")) / f"scale-{n}"
    shutil.rmtree(root, ignore_errors=True)
    (root / "warc").mkdir(parents=True)
    (root / "store").mkdir()
    begin = time.monotonic()
    mb = make_warcs(root / "warc", n)
    packed = sum(p.stat().st_size for p in (root / "warc").iterdir()) / 1e6
    print(f"\n{n:,} pages, {mb:,.0f} MB of HTML, {packed:,.0f} MB packed (written in {time.monotonic() - begin:.0f} s)")
    columns = f"{'CPU s':>9}{'s':>8}{'MB read':>9}{'MB/CPU s':>10}{'own MB':>8}{'all MB':>8}{'in':>11}{'kept':>11}"
    print(f"  {'step':<26}{columns}")
    total, largest = 0.0, 0.0
    for name in steps_of(recipe(root)):
        out, own, peak, used = watched([sys.executable, "-m", "benchmarks.scale", "step", str(root), name])
        seconds, read, rows_in, kept = map(float, out.split()[-4:])
        total, largest = total + used, max(largest, own)
        rate = f"{read / max(used, 0.01):.1f}" if read else ""
        sizes = f"{own:>8.0f}{peak:>8.0f}{rows_in:>11,.0f}{kept:>11,.0f}"
        print(f"  {name:<26}{used:>9.1f}{seconds:>8.1f}{read:>9.0f}{rate:>10}{sizes}", flush=True)
    store, name = Store(root / "store"), recipe(root).name
    kept_bytes = sum(a.bytes for a in amounts(store.head(name, "matrix").files(records.PART)).values()) / 1e6
    print(
        f"  {'all':<26}{total:>9.1f}{'':>17}{mb / total:>10.2f}{largest:>8.0f}   {n / total:,.0f} pages a CPU second;"
        f" {kept_bytes:,.0f} MB of text left"
    )
    out, own, peak, _ = watched([sys.executable, "-m", "benchmarks.scale", "whatif", str(root)])
    print(f"  {'neo whatif, English':<26}{'':>9}{float(out.split()[-1]):>8.1f}{'':>19}{own:>8.0f}{peak:>8.0f}")
    shutil.rmtree(root)


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        run_step(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1:2] == ["whatif"]:
        ask(Path(sys.argv[2]))
    else:
        for n in [int(a) for a in sys.argv[1:]] or [10_000, 100_000]:
            measure(n)


if __name__ == "__main__":
    main()
