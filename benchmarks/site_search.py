"""Search of the reader's site, in a browser from ``file://``, beside looking through all texts in the same page.

    neo site FOLDER && python -m benchmarks.site_search FOLDER

200 Chinese passages of 2 to 8 characters, drawn from the site's own documents. Prints how many had a document missing
or one too many, and milliseconds (median, 95 of 100, longest): of the index in a page that has just opened, of every
document that has a passage, of the same without an index, and from a key to the result on the screen (80 ms of which
the page waits for the next key).
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.score_page import chromium
from neo_assets.site.search_index import RUNS, normal
from tests.conftest import find_browser

PACKAGES = Path(tempfile.gettempdir()) / f"neofoundry-packages-{os.getuid()}"
QUERIES, OPENED = 200, 40
_FIND = "async q => { const t = performance.now(), f = await neo.find(q); return [performance.now() - t, neo.ids(f)] }"
_CANDIDATES = "async q => { const t = performance.now(); await neo.candidates(q); return performance.now() - t }"
_THROUGH_ALL = """async ([q, n]) => {
  const all = []; for (let i = 0; i < n; i++) all.push(...await neo.piece(i));
  const t = performance.now();
  const found = all.filter(d => `${d.title}\\n${d.text || ""}`.normalize("NFKC").toLowerCase().includes(q));
  return [performance.now() - t, found.length];
}"""


def main(folder: Path) -> None:
    texts, pieces = {}, sorted(folder.glob("documents/[0-9]*.js"))
    for file in pieces:
        told = re.fullmatch(r"neo\.documents\(\d+,(.*)\)\n", file.read_text(encoding="utf-8"), re.DOTALL)
        assert told is not None
        texts |= {one["id"]: normal(f"{one['title']}\n{one['text'] or ''}") for one in json.loads(told[1])}
    rng = random.Random(11)
    runs = [run for text in texts.values() for run in RUNS.findall(text) if "一" <= run[0] <= "鿿" and len(run) > 1]
    queries: list[str] = []
    while len(queries) < QUERIES:
        run = rng.choice(runs)
        begin = rng.randrange(len(run) - 1)
        queries.append(run[begin : begin + rng.randint(2, 8)])
    at, ready = f"file://{folder.resolve()}/documents.html", "#found li"
    whole, through, opened, seen, wrong = [], [], [], [], 0
    with chromium(*find_browser(PACKAGES)) as browser:
        page = browser.new_page()
        page.goto(at)
        page.wait_for_selector(ready)
        for query in queries:
            took, marks = page.evaluate(
                _FIND,
                query,
            )
            whole.append(took)
            wrong += set(marks) != {name[: len(marks[0])] for name, text in texts.items() if query in text}
        for query in queries[:OPENED]:
            through.append(page.evaluate(_THROUGH_ALL, [query, len(pieces)])[0])
        for query in queries[:OPENED]:
            page = browser.new_page()
            page.goto(at)
            page.wait_for_selector(ready)
            opened.append(page.evaluate(_CANDIDATES, query))
            began = time.perf_counter()
            page.fill("#query", query)
            page.wait_for_selector("#found mark")
            seen.append(1000 * (time.perf_counter() - began))
            page.close()
    size = sum(path.stat().st_size for path in folder.glob("index/*.js")) / 1e6
    print(f"{len(texts):,} documents, index {size:.1f} MB; wrong: {wrong} of {QUERIES}")
    for what, times in (
        ("index, page just opened", opened),
        ("every document that has it", whole),
        ("without an index", through),
        ("from a key to the screen", seen),
    ):
        ordered = sorted(times)
        print(
            f"{what:28} {statistics.median(times):7.1f} {ordered[int(0.95 * len(ordered))]:7.1f} {ordered[-1]:7.1f} ms"
        )
    print(f"without an index / with: {statistics.median(through) / statistics.median(whole):.0f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
