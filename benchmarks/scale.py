"""The whole cleaning half at 1e4, 1e5 and 1e6 documents: seconds, MB/s and peak memory (two workers included) of every
step, each in a process of its own.

``python -m benchmarks.scale 10000 100000 1000000``. Documents are the demo's real pages and seeded edits of them, two
English ones for each Chinese one, in files of 20,000. Time should grow with the text, memory with the files' size and
by the few bytes a document that the global steps name in their docstrings.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.common import edited, texts
from neo_assets.build import stages
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import MadeFrom, Outcome, Store, Workspace

FILE_DOCUMENTS = 20_000
WORKERS = 2


def write_file(index: int, begin: int, end: int, folder: Path, pages: dict[str, list[str]]) -> None:
    """Documents ``begin`` to ``end``: the first time round the pages themselves, then edits of them."""
    generator = random.Random(index)
    rows = []
    for number in range(begin, end):
        lang = "zh" if number % 3 == 2 else "en"
        mine = pages[lang]
        turn, place = divmod(number // 3, len(mine)) if lang == "zh" else divmod(number - number // 3, len(mine))
        text = mine[place] if turn == 0 else edited(mine[place], lang, generator.choice((0.01, 0.05, 0.2)), generator)
        doc_id = digest_bytes(f"{number}".encode())
        rows.append(
            dict.fromkeys(records.DOCUMENT.names, "") | {"doc_id": doc_id, "text": text, "lang": lang,
            "lang_score": 0.9, "url": f"http://scale.example/{number}", "source": "handbook", "cluster_id": doc_id}
        )  # fmt: skip
    rows.sort(key=lambda r: str(r["doc_id"]))
    records.write_table(pa.Table.from_pylist(rows, schema=records.DOCUMENT), folder / f"part-{index:05d}.parquet")


def make_documents(store: Store, n: int) -> float:
    """Write ``documents/handbook`` with ``n`` documents; returns its megabytes of text."""
    pages = {lang: texts(lang) for lang in ("en", "zh")}

    def work(out: Workspace) -> Outcome:
        cuts = [(i, b, min(n, b + FILE_DOCUMENTS), out.path, pages) for i, b in enumerate(range(0, n, FILE_DOCUMENTS))]
        with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as processes:
            for done in [processes.submit(write_file, *cut) for cut in cuts]:
                done.result()
        return Outcome(digest="scale", parts={"en": "en", "zh": "zh"}, rows_in=n, rows_kept=n, rows_dropped=0)

    made, _ = store.build("documents/handbook", MadeFrom(config={"n": n}, code={}, libraries={}, inputs={}), work)
    store.set_head("scale", "documents/handbook", "documents/handbook", made.fingerprint)
    return (
        sum(
            pc.sum(pc.binary_length(records.read_table(p, columns=["text"])["text"])).as_py()
            for p in made.files(records.PART)
        )
        / 1e6
    )


def recipe() -> Recipe:
    """The laptop's, with one source and all steps."""
    base = load("laptop")
    return base.model_copy(update={"sources": {"handbook": base.sources["handbook"]}})


def run_step(root: Path, name: str) -> None:
    """One artifact in this process; prints its seconds and peak memory (its own and its workers')."""
    store, entry = Store(root), stages(recipe())[name]
    inputs = {n: store.head("scale", n) for n in entry.reads}
    begin = time.monotonic()
    made, _ = store.build(
        name, entry.made_from(inputs), lambda out: entry.run(entry.config, inputs, out), workers=WORKERS
    )
    seconds = time.monotonic() - begin
    store.set_head("scale", name, name, made.fingerprint)
    print(f"{seconds:.1f} {made.manifest.rows_in} {made.manifest.rows_kept}")


def ask(root: Path) -> None:
    """What another threshold would do to all English documents; prints the seconds."""
    from neo_assets.clean.whatif import compare, parsed

    made = recipe().model_copy(update={"name": "scale"})
    begin = time.monotonic()
    compare(Store(root), made, "en", parsed(made, ["clean.en.max_bullet_lines=0.5", "clean.en.min_words=60"])["en"], 3)
    print(f"{time.monotonic() - begin:.1f}")


def watched(command: list[str]) -> tuple[str, float]:
    """(what it printed, peak megabytes of it and all its descendants together, looked at ten times a second)."""
    process, peak = subprocess.Popen(command, stdout=subprocess.PIPE, text=True), 0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(process.pid)
            held = 0
            for one in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    held += one.memory_info().rss
            peak = max(peak, held)
        time.sleep(0.1)
    told = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return told, peak / 1e6


def main() -> None:
    if sys.argv[1] == "step":
        run_step(Path(sys.argv[2]), sys.argv[3])
        return
    if sys.argv[1] == "whatif":
        ask(Path(sys.argv[2]))
        return
    sizes = [int(a) for a in sys.argv[1:]] or [10_000, 100_000]
    for n in sizes:
        root = Path(os.environ.get("NEO_SCALE", "/tmp")) / f"scale-{n}"
        shutil.rmtree(root, ignore_errors=True)
        begin = time.monotonic()
        mb = make_documents(Store(root), n)
        print(
            f"\n{n:,} documents, {mb:,.0f} MB of text (written in {time.monotonic() - begin:.0f} s)\n "
            f" {'step':<22}{'seconds':>9}{'MB/s':>9}{'peak MB':>9}{'in':>11}{'kept':>11}"
        )
        total = 0.0
        made = recipe()
        steps = [
            "benchmark_items",
            "signals/handbook",
            *(f"{step}/{lang}" for lang in made.languages for step in made.steps[lang]),
            "matrix",
            "heldout",
            "train_pool",
        ]
        for name in steps:
            out, peak = watched([sys.executable, "-m", "benchmarks.scale", "step", str(root), name])
            told = out.split()
            seconds, rows_in, kept = float(told[0]), int(told[1]), int(told[2])
            total += seconds
            print(
                f"  {name:<22}{seconds:>9.1f}{mb / max(seconds, 0.01):>9.1f}{peak:>9.0f}{rows_in:>11,}{kept:>11,}",
                flush=True,
            )
        print(f"  {'all':<22}{total:>9.1f}{mb / total:>9.1f}   {n / total:,.0f} documents/s")
        out, peak = watched([sys.executable, "-m", "benchmarks.scale", "whatif", str(root)])
        print(f"  {'neo whatif, English':<22}{float(out):>9.1f}{'':>9}{peak:>9.0f}")
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
