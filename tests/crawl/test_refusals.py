"""What a site says about training is obeyed, kept in its words, and counted."""

from pathlib import Path

import pytest
from sites import Answer, crawl, crawl_config, html, send, serving, verdict_rows

from neo_assets.core.tombstones import Target
from neo_assets.web.fetch_log import SAID_ABOUT_TRAINING
from neo_assets.web.training_signals import page_says, site_says
from neo_assets.web.warc_files import read_segment

ROBOTS = b"""User-agent: *
Content-Usage: train-ai=y
Content-Usage: /aipref train-ai=n
Content-Signal: /signal search=yes, ai-train=no

User-agent: GPTBot
Disallow: /gpt
"""
TDMREP = b'[{"location": "/tdm/free", "tdm-reservation": 0}, {"location": "/tdm/*", "tdm-reservation": 1}]'


def meta(name: str, content: str) -> Answer:
    return send(html("a page").replace(b"<title>", f'<meta name="{name}" content="{content}"><title>'.encode()))


REFUSED: dict[str, tuple[Answer, str]] = {
    "/gpt": (send(html("a page")), "robots_agents: robots.txt disallows GPTBot"),
    "/aipref": (send(html("a page")), "content_usage: robots.txt Content-Usage: train-ai=n"),
    "/signal": (send(html("a page")), "content_signal: robots.txt Content-Signal: search=yes, ai-train=no"),
    "/tdm/reserved": (send(html("a page")), 'tdmrep: tdmrep.json "/tdm/*" tdm-reservation 1'),
    "/usage-header": (
        send(html("a page"), Content_Usage="search=y, train-ai=n"),
        "content_usage: Content-Usage: search=y, train-ai=n",
    ),
    "/tdm-header": (send(html("a page"), tdm_reservation="1"), "tdmrep: tdm-reservation: 1"),
    "/tdm-meta": (meta("tdm-reservation", "1"), 'tdmrep: meta tdm-reservation "1"'),
    "/noai-header": (send(html("a page"), X_Robots_Tag="noai, noimageai"), "noai: X-Robots-Tag: noai, noimageai"),
    "/noai-ours": (send(html("a page"), X_Robots_Tag="GPTBot: noai"), "noai: X-Robots-Tag: GPTBot: noai"),
    "/noai-meta": (meta("robots", "follow, NOAI"), 'noai: meta robots "follow, NOAI"'),
    "/rsl-header": (
        send(html("a page"), Link='</l.xml>; rel="license"; type="application/rsl+xml"'),
        'rsl: Link: </l.xml>; rel="license"; type="application/rsl+xml"',
    ),
    "/rsl-link": (
        send(html('<link rel="license" type="application/rsl+xml" href="/l.xml">a page')),
        "rsl: licence /l.xml",
    ),
}
FREE: dict[str, Answer] = {
    "/tdm/free": send(html("a free page")),
    "/noai-others": send(html("a page"), X_Robots_Tag="otherbot: noai"),
    "/noai-others-noindex": send(html("a page"), X_Robots_Tag="googlebot: noindex"),
    "/usage-yes": send(html("a page"), Content_Usage="train-ai=y, bots=n"),
    "/snippet": send(html("a page"), X_Robots_Tag="max-snippet: 20, unavailable_after: 2030-01-01"),
}


def answers() -> dict[str, Answer]:
    pages = {path: answer for path, (answer, _) in REFUSED.items()} | FREE
    return {
        "/robots.txt": send(ROBOTS, Content_Type="text/plain"),
        "/.well-known/tdmrep.json": send(TDMREP, Content_Type="application/json"),
        "/": send(html("".join(f'<a href="{path}">x</a>' for path in pages))),
        **pages,
    }


def test_every_signal_is_a_verdict_in_the_sites_own_words(tmp_path: Path) -> None:
    with serving(answers()) as site:
        outcome, log = crawl(tmp_path, crawl_config(site.root))
    for path, (_, words) in REFUSED.items():
        row = log[f"{site.root}{path}"]
        assert (row.outcome, row.reason) == ("training_refused", words), path
        assert words in row.said.split("\n")
    assert all(log[f"{site.root}{path}"].outcome == "fetched" for path in FREE)
    stored = {page.url for part in (tmp_path / "warc").iterdir() for page in read_segment(part)}
    assert stored == {f"{site.root}{path}" for path in ("/", *FREE)}, "what is refused is not stored"
    assert not any(site.hits[path] for path in ("/gpt", "/aipref", "/signal", "/tdm/reserved")), "nor asked for"
    told = {(row["signal"], row["pages"]): row["count"] for row in outcome.tables[SAID_ABOUT_TRAINING]}
    assert told["noai", "refused"] == 3 and told["tdmrep", "kept"] == 1
    assert "Content-Usage: train-ai=y" in log[f"{site.root}/usage-yes"].said, "consent is kept as well"


def test_what_a_recipe_does_not_obey_is_kept_with_what_was_said(tmp_path: Path) -> None:
    with serving(answers()) as site:
        _, log = crawl(tmp_path, crawl_config(site.root, refusals={"obey": [], "agents": []}))
    assert all(row.outcome == "fetched" for row in log.values())
    assert (
        log[f"{site.root}/noai-meta"].said
        == 'content_usage: robots.txt Content-Usage: train-ai=y\nnoai: meta robots "follow, NOAI"'
    )


def test_a_licence_line_reserves_the_whole_site(tmp_path: Path) -> None:
    robots = b"License: https://a.example/licence.xml\nUser-agent: *\nAllow: /\n"
    with serving({"/robots.txt": send(robots, Content_Type="text/plain"), "/": send(html("a page"))}) as site:
        outcome, log = crawl(tmp_path, crawl_config(site.root))
    assert log[f"{site.root}/"].outcome == "training_refused" and not site.hits["/"]
    not_empty = next(check for check in outcome.checks if check.name == "not_empty")
    assert not not_empty.passed and "rsl: robots.txt License" in not_empty.detail


def test_page_robots_are_obeyed(tmp_path: Path) -> None:
    pages = {
        "/noindex": meta("robots", "noindex"),
        "/noarchive": send(html("a page"), X_Robots_Tag="noarchive"),
        "/list": send(
            html('<a href="/from-list">x</a>').replace(b"<title>", b'<meta name="robots" content="noindex"><title>')
        ),
        "/nofollow": send(
            html('<a href="/hidden-1">x</a>').replace(b"<title>", b'<meta name="robots" content="nofollow"><title>')
        ),
        "/rel": send(html('<a rel="ugc nofollow" href="/hidden-2">x</a>')),
        "/from-list": send(html("found by a list")),
        "/hidden-1": send(html("hidden")),
        "/hidden-2": send(html("hidden")),
    }
    shown = ("/noindex", "/noarchive", "/list", "/nofollow", "/rel")
    root = send(html("".join(f'<a href="{path}">x</a>' for path in shown)))
    with serving({"/": root, **pages}) as site:
        _, log = crawl(tmp_path / "obeyed", crawl_config(site.root))
        _, free = crawl(tmp_path / "free", crawl_config(site.root, refusals={"page_robots": False}))
        # A crawl that goes on finds the links of what was not kept in its log.
        (tmp_path / "obeyed/log/part-00002.parquet").unlink()
        _, again = crawl(tmp_path / "obeyed", crawl_config(site.root))
    outcomes = {url.removeprefix(site.root): row.outcome for url, row in log.items()}
    kept, gone = "fetched", "page_robots"
    assert {path for path, outcome in outcomes.items() if outcome == gone} == {"/noindex", "/noarchive", "/list"}
    assert {path for path, outcome in outcomes.items() if outcome == kept} == {"/", "/nofollow", "/rel", "/from-list"}
    assert len(outcomes) == 7
    assert set(again) == set(log)
    assert "/hidden-1" in {url.removeprefix(site.root) for url in free}
    assert all(row.outcome == kept for row in free.values())


OWN_GROUP = "User-agent: neofoundry\nContent-Usage: train-ai=y\n\nUser-agent: *\nContent-Usage: train-ai=n"


@pytest.mark.parametrize(
    ("robots", "url", "refuses"),
    [
        ("Content-Usage: train-ai=n", "http://a.example/x", True),
        ("User-agent: *\nContent-Usage: train-ai=n", "http://a.example/x", True),
        (OWN_GROUP, "http://a.example/", False),
        ("User-agent: *\nContent-Usage: bots=n, train-ai=y", "http://a.example/x", False),
        ("User-agent: *\nContent-Usage: bots=n", "http://a.example/x", True),
        ("User-agent: *\nContent-Usage: search=n", "http://a.example/x", False),
        ("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /open train-ai=y", "http://a.example/open", False),
        ("User-agent: *\nContent-Usage: train-ai=n;exceptions=x", "http://a.example/x", True),
        ("User-agent: *\nContent-Usage: train-ai=y\nContent-Usage: train-ai=n", "http://a.example/x", True),
        ("User-agent: *\nContent-Usage: train-ai", "http://a.example/x", False),
        ("\x00\xff: :::\nContent-Usage", "http://a.example/x", False),
    ],
)  # fmt: skip
def test_content_usage_in_robots_txt(robots: str, url: str, refuses: bool) -> None:
    assert any(said.refuses for said in site_says(robots, b"", "NeoFoundry").said(url)) == refuses


def test_a_broken_tdmrep_says_nothing() -> None:
    for body in (b"<html>", b"[1, null]", b'{"location": 3}', b"\xff\xfe", b"[" * 100_000):
        assert site_says("", body, "NeoFoundry").said("http://a.example/") == []
    one = site_says("", b'{"location": "/*.pdf$", "tdm-reservation": 1}', "NeoFoundry")
    assert one.said("http://a.example/a.pdf")[0].refuses and not one.said("http://a.example/a.pdfx")


def test_statements_that_allow_are_no_refusal() -> None:
    says = page_says([("tdm-reservation", "0"), ("Content-Signal", "ai-train=yes")], [], [], ["NeoFoundry"])
    assert [said.refuses for said in says.training] == [False, False]


def test_what_is_withdrawn_is_not_asked_for(tmp_path: Path) -> None:
    links = "".join(f'<a href="{path}">x</a>' for path in ("/gone.html", "/sub/a.html", "/stays.html", "/moved.html"))
    pages = {
        "/": send(html(links)),
        "/gone.html": send(html("a page")),
        "/sub/a.html": send(html("a page")),
        "/stays.html": send(html("a page")),
        "/moved.html": send(b"", status=301, Location="/gone.html"),
    }
    with serving(pages) as site:
        targets = [Target.of(f"{site.root}/gone.html"), Target.of(f"prefix:{site.root}/sub/")]
        _, log = crawl(tmp_path, crawl_config(site.root), targets)
    outcomes = {url.removeprefix(site.root): row.outcome for url, row in log.items()}
    assert [outcomes[path] for path in ("/gone.html", "/sub/a.html", "/stays.html")] == [*["withdrawn"] * 2, "fetched"]
    assert site.hits["/stays.html"] and not (site.hits["/gone.html"] or site.hits["/sub/a.html"])
    assert any("a tombstone names" in str(row["detail"]) for row in verdict_rows(tmp_path))
