"""The site as a reader opens it: from a disk, in a browser."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from neo_assets.site.search_index import RUNS, normal
from tests.factory.conftest import Factory

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUERIES = 200


@pytest.fixture(scope="module")
def folder(first_run: subprocess.CompletedProcess[str], factory: Factory) -> Path:
    done = factory.neo("site", str(factory.folder / "pages"))
    assert done.returncode == 0, done.stderr
    assert factory.neo("site", str(factory.folder / "pages")).returncode != 0, "nothing is written over"
    return factory.folder / "pages"


@pytest.fixture
def page(folder: Path, browser: Browser) -> Page:
    """The page of documents on a phone, which complains of nothing."""
    made: Page = browser.new_page(viewport={"width": 390, "height": 800})
    made.on("pageerror", lambda error: pytest.fail(str(error)))
    made.on("console", lambda said: pytest.fail(said.text) if said.type in ("error", "warning") else None)
    made.on("request", lambda asked: pytest.fail(asked.url) if not asked.url.startswith("file:") else None)
    made.goto(f"file://{folder}/documents.html")
    made.wait_for_selector("#found li")
    return made


def documents_in(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for file in sorted(folder.glob("documents/[0-9]*.js")):
        told = re.fullmatch(r"neo\.documents\(\d+,(.*)\)\n", file.read_text(encoding="utf-8"), re.DOTALL)
        assert told
        found |= {one["id"][:12]: one for one in json.loads(told[1])}
    return found


def test_every_page_opens_without_a_server_and_fits_a_phone(folder: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.on("console", lambda said: pytest.fail(said.text) if said.type in ("error", "warning") else None)
    names = [path.name for path in folder.glob("*.html")]
    assert len(names) == 9
    for name in names:
        page.goto(f"file://{folder}/{name}")
        assert page.locator("nav.site a[aria-current]").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name} is wider than a phone"
        for link in page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)"):
            if link.startswith("file:"):
                assert Path(link.removeprefix("file://").partition("#")[0]).is_file(), (name, link)


def test_no_passage_is_missed_and_nothing_else_is_found(page: Page, folder: Path) -> None:
    texts = {mark: normal(f"{one['title']}\n{one['text'] or ''}") for mark, one in documents_in(folder).items()}
    rng = random.Random(7)
    chinese = [run for text in texts.values() for run in RUNS.findall(text) if "一" <= run[0] <= "鿿" and len(run) > 1]
    queries = []
    for _ in range(QUERIES):
        run = rng.choice(chinese)
        begin = rng.randrange(len(run))
        queries.append(run[begin : begin + rng.randint(1, 8)])
    assert len(set(queries)) > QUERIES // 2
    found = page.evaluate(
        "async all => { const o = []; for (const q of all) o.push(neo.ids(await neo.find(q))); return o; }", queries
    )
    for query, ids in zip(queries, found, strict=True):
        assert set(ids) == {mark for mark, text in texts.items() if query in text}, query


def test_words_are_found_whole_or_by_their_beginning_and_passages_exactly(page: Page, folder: Path) -> None:
    texts = {mark: normal(f"{one['title']}\n{one['text'] or ''}") for mark, one in documents_in(folder).items()}

    def found(query: str) -> set[str]:
        return set(page.evaluate("async q => neo.ids(await neo.find(q))", query))

    words = {mark: set(RUNS.findall(text)) for mark, text in texts.items()}
    some = sorted({word for held in words.values() for word in held if word.isascii() and word.isalpha()})
    for word in random.Random(3).sample(some, 20):
        assert found(f"{word} ") == {mark for mark, held in words.items() if word in held}, word
    word = next(word for word in some if len(word) > 5)
    assert found(word[:4]) == {m for m, held in words.items() if any(w.startswith(word[:4]) for w in held)}
    assert found("no such thing anywhere") == set()


def test_a_document_says_what_became_of_it(page: Page, folder: Path) -> None:
    told = documents_in(folder)
    mark, one = next((m, o) for m, o in told.items() if any(d[1] == "dropped" and d[2] for d in o["decided"]))
    page.goto(f"file://{folder}/documents.html#d={mark}")
    page.wait_for_selector("#document h2")
    said = page.inner_text("#document")
    dropped = next(d for d in one["decided"] if d[1] == "dropped")
    assert f"dropped it: {dropped[2]}" in said and one["url"] in said and "Its text when it was dropped" in said
    mark, one = next((m, o) for m, o in told.items() if o["reads"])
    page.goto(f"file://{folder}/documents.html#d={mark}")
    page.wait_for_function("mark => document.querySelector('#document code')?.textContent.startsWith(mark)", arg=mark)
    said = page.inner_text("#document")
    assert f"Run {one['reads'][0][0]} read it in" in said and "Its text, as it is trained on" in said
    page.select_option("#fate", "out")
    page.wait_for_selector("#results:not([hidden]) #found .out")
    assert page.locator("#found .in").count() == 0


def test_what_stands_in_a_text_is_no_markup(page: Page) -> None:
    assert page.evaluate("document.querySelectorAll('#found script, #found img').length") == 0
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert policy is not None and "default-src 'none'" in policy and "unsafe-inline'; img" in policy
