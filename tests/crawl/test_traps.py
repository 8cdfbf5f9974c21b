"""A site without end is left after a few tries, and one with many pages is not."""

import itertools
from pathlib import Path

from sites import Answer, crawl, crawl_config, html, send, serving

from neo_assets.core.recipe.sources import TrapBudget
from neo_assets.crawl.traps import LATER, NOW, Traps, form_of


class Endless(dict[str, Answer]):
    """Answers for every path, made by a function of the path."""

    def __init__(self, page: object) -> None:
        super().__init__()
        self._page = page

    def get(self, path: str, default: object = None) -> Answer:  # type: ignore[override]
        return default if path.startswith(("/robots", "/.well")) else send(html(self._page(path)))  # type: ignore


def test_a_session_id_costs_a_few_requests_and_no_page(tmp_path: Path) -> None:
    """Every answer hands out a new session: the same eighty pages under ever new addresses."""
    sessions = itertools.count()

    def page(path: str) -> str:
        name = path.partition("?")[0].strip("/")
        here = next(sessions)
        links = "".join(f'<a href="/p{i}?sid={here}">x</a>' for i in range(80))
        return f"The words of the page {'abcdefghijklmnop'[int(name[1:] or 0) % 16] * int(name[1:] or 1)} {links}"

    with serving(Endless(page)) as site:  # type: ignore[arg-type]
        outcome, log = crawl(tmp_path, crawl_config(site.root, politeness={"concurrency": 1, "timeout_s": 5}))
    asked = sum(site.hits.values())
    found = {row.url.partition("?")[0] for row in log.values() if row.outcome == "fetched"}
    assert len(found) == 81, "every page is there"
    assert asked <= 81 + 15, f"{asked} requests for 81 pages"
    refused = [row for row in log.values() if row.outcome == "trap"]
    assert refused and all("'sid' changes nothing here" in row.reason for row in refused)
    assert outcome.rows_in == len(log)


def test_a_calendar_ends(tmp_path: Path) -> None:
    def page(path: str) -> str:
        year, month = map(int, (path.strip("/").split("/")[1:] if path.count("/") == 3 else ["2024", "1"]))
        after = year * 12 + month
        return f'No events in this month. <a href="/cal/{after // 12}/{after % 12 + 1}">next month</a>'

    with serving(Endless(page)) as site:  # type: ignore[arg-type]
        _, log = crawl(tmp_path, crawl_config(site.root, max_depth=1000, traps={"patience": 10}))
    assert sum(site.hits.values()) < 20
    (trap,) = [row for row in log.values() if row.outcome == "trap"]
    assert "of the form 127.0.0.1" in trap.reason and "/cal/#/#" in trap.reason


def test_a_path_that_grows_at_every_step_ends(tmp_path: Path) -> None:
    with serving(Endless(lambda path: f'{path} <a href="{path.rstrip("/")}/a/b">x</a>')) as site:  # type: ignore[arg-type]
        _, log = crawl(tmp_path, crawl_config(site.root, max_depth=1000))
    assert sum(site.hits.values()) < 10
    assert [row.outcome for row in log.values()].count("trap") == 1


def test_many_numbered_pages_with_text_of_their_own_are_all_read() -> None:
    traps = Traps(TrapBudget.model_validate({}))
    waiting = [f"http://a.example/topic/{i}?view=all&page={i}" for i in range(2000)]
    batches = 0
    while waiting:
        batches += 1
        later = []
        for url in waiting:
            answer = traps.admit(url)
            assert answer in (NOW, LATER)
            if answer == NOW:
                traps.seen(url, hash(url))
            else:
                later.append(url)
        traps.settled()
        waiting = later
    assert batches < 12


def test_a_query_name_that_matters_is_followed() -> None:
    traps = Traps(TrapBudget.model_validate({}))
    for i in range(300):
        traps.settled()
        url = f"http://a.example/?topic={i}"
        assert traps.admit(url) == NOW
        traps.seen(url, i)


def test_the_form_of_a_url_leaves_numbers_and_values_out() -> None:
    assert form_of("http://a.example/2024/05/x?b=1&a=2") == "a.example/#/#/x?a&b"
    assert form_of("http://a.example/x;jsessionid=0a1b/y") == "a.example/x;jsessionid/y"
