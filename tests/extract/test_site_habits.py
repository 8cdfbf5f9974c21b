"""What the other pages of a site say of a page: in whatever order they are read, and never the page of itself."""

import random
from pathlib import Path

import numpy as np
import pytest
from pages import commit, crawled

from neo_assets.core.recipe.data import Extract, SiteHabits
from neo_assets.core.records import document_id, read_table, rows
from neo_assets.extract.first_look import looked_at, shares_of
from neo_assets.extract.page_blocks import blocks_of
from neo_assets.extract.page_text import PageTextInput, extract_pages
from neo_assets.extract.site_habits import Habit, as_the_site, habit_of, joined, places_of
from neo_assets.web.flat_page import flat_page

SITE = SiteHabits(pages=200, at_least=4, weight=4.0)
CONFIG = Extract(extractor="blocks", keep_above=0.5, site=SITE, min_chars=1, max_html_bytes=10**6, max_bad_share=0.5)
FRAME = "This page is:"
WORDS = (
    "the", "printer", "reads", "paper", "from", "a", "tray", "and", "writes", "what", "it", "was", "sent", "by",
)  # fmt: skip
Pages = dict[str, tuple[bytes, str]]


def manual_page(body: str) -> tuple[bytes, str]:
    return (
        f"<html><head><title>Manual</title></head><body><div class='leaf'>{body}</div><div class='frame'>"
        f"<h3>About this page:</h3><p>{FRAME} /manual/7.4/leaf</p><p>Its source is: /manual/leaf.xml</p></div></body>"
    ).encode(), "text/html"


def prose(generator: random.Random, sentences: int) -> str:
    return " ".join(" ".join(generator.sample(WORDS, 12)).capitalize() + "." for _ in range(sentences))


def manual(pages: int = 12) -> Pages:
    """Long pages, and one that is nearly empty: its frame is longer than what it has to say."""
    generator = random.Random(5)
    site = {
        f"http://manual.example/{i}": manual_page("".join(f"<p>{prose(generator, 4)}</p>" for _ in range(8)))
        for i in range(pages)
    }
    return site | {"http://manual.example/short": manual_page("<p>See the other page.</p>")}


def texts(store: Path, segments: list[Pages], config: Extract = CONFIG) -> dict[str, str]:
    crawl = crawled(store, segments)
    made = commit(
        store, "page_text/test",
        lambda out: extract_pages(PageTextInput(extract=config), {"raw_crawl": crawl}, out), {"raw_crawl": crawl},
    )  # fmt: skip
    return {str(row["url"]): str(row["text"]) for path in made.files("text/") for row in rows(read_table(path))}


def test_a_page_with_little_on_it_is_read_as_its_neighbours_are(tmp_path: Path) -> None:
    alone = CONFIG.model_copy(update={"site": SITE.model_copy(update={"weight": 0.0})})
    before = texts(tmp_path / "alone", [manual()], alone)
    after = texts(tmp_path / "site", [manual()])
    assert before["http://manual.example/short"].strip() != "See the other page."
    assert after["http://manual.example/short"] == "See the other page."
    assert FRAME not in "".join(after.values())


@pytest.mark.parametrize("pages", [200, 5])
def test_the_same_whatever_the_parts_and_their_order(tmp_path: Path, pages: int) -> None:
    config = CONFIG.model_copy(update={"site": SITE.model_copy(update={"pages": pages})})
    site = list(manual().items())
    whole = texts(tmp_path / "whole", [dict(site)], config)
    random.Random(3).shuffle(site)
    assert texts(tmp_path / "parts", [dict(site[:4]), dict(site[4:5]), dict(site[5:])], config) == whole


def test_so_many_pages_are_looked_at_of_hosts_that_have_enough(tmp_path: Path) -> None:
    page = (b"<p>x", "text/html")
    site = {f"http://{host}.example/{i}": page for host, n in (("a", 400), ("b", 4), ("c", 3)) for i in range(n)}
    site |= {f"http://c.example/{i}.pdf": (b"%PDF-1.7", "application/pdf") for i in range(9)}  # of pdf_text
    logs = crawled(tmp_path, [dict(list(site.items())[:200]), dict(list(site.items())[200:])]).files("log/")
    shares = shares_of(logs, SITE.model_copy(update={"pages": 100}))
    assert shares == {"a.example": 0.25, "b.example": 1.0}
    drawn = sum(looked_at(document_id(url, page[0]), 0.25) for url in site if url.startswith("http://a"))
    assert 70 < drawn < 130


def test_a_page_is_not_asked_about_itself() -> None:
    places = np.array([7, 7, 9], np.uint64)
    odds = np.array([4.0, 2.0, -1.0])
    own = habit_of(places, odds)
    assert own.places.tolist() == [7, 9] and own.log_odds.tolist() == [3000, -1000]
    assert (as_the_site(places, odds, own, True, SITE) == odds).all()
    others = [habit_of(np.array([9], np.uint64), np.array([5.0])) for _ in range(4)]
    said = pytest.approx([4.0, 2.0, -1.0 + 4.0 * 5.0 * 4 / 8])
    assert as_the_site(places, odds, joined([own, *others]), True, SITE) == said
    assert as_the_site(places, odds, joined(others), False, SITE) == said
    nothing = Habit(*(column[:0] for column in (own.places, own.pages, own.log_odds, own.squares)))
    assert (as_the_site(places, odds, nothing, False, SITE) == odds).all()


def test_a_place_that_holds_now_this_now_that_says_little() -> None:
    place = np.zeros(1, np.uint64)

    def added(*said: float) -> float:
        habit = joined([habit_of(place, np.array([odds])) for odds in said])
        return float(as_the_site(place, np.zeros(1), habit, False, SITE)[0])

    assert added(*[1.0] * 8) == pytest.approx(4.0 * 1.0 * 8 / 12)
    assert abs(added(*[6.0, -4.0] * 4)) < 0.11  # of the same mean


def test_a_place_is_told_by_tags_and_classes_and_not_by_numbers_in_them() -> None:
    def place(html: str) -> int:
        page = flat_page(html)
        return int(places_of(page, blocks_of(page))[-1])

    here = place("<div class='entry post-17'><p>Words.</p></div>")
    assert here == place("<p>More.</p><div class='entry post-18'><p>Others, and longer.</p></div>")
    assert here != place("<div class='entry side'><p>Words.</p></div>")
    assert here != place("<div class='entry post-17'><h2>Words.</h2></div>")


def test_sums_are_the_same_in_any_order() -> None:
    generator = np.random.default_rng(2)
    many = [habit_of(generator.integers(0, 20, 30).astype(np.uint64), generator.normal(0, 4, 30)) for _ in range(50)]
    one, other = joined(many), joined([joined(many[30:]), joined(many[:30][::-1])])
    assert all(
        (getattr(one, name) == getattr(other, name)).all() for name in ("places", "pages", "log_odds", "squares")
    )
    assert one.pages.sum() == sum(len(habit.places) for habit in many)
