"""A site that is not there is a failure to try again; private addresses are not reached from a public source."""

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp.abc import ResolveResult
from pydantic import ValidationError
from sites import Answer, crawl, crawl_config, html, raw, redirect, send, serving

from neo_assets.core.errors import Unreachable
from neo_assets.core.recipe.sources import HtmlFolderSource, Politeness
from neo_assets.crawl import crawler
from neo_assets.crawl.fetch import Fetcher, LoopbackResolver, PrivateAddress, is_private
from neo_assets.web.fetch_log import FETCHED, REDIRECT


def test_a_site_that_cannot_be_reached_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        root = f"http://127.0.0.1:{held.getsockname()[1]}"
    with pytest.raises(Unreachable, match=r"raw_crawl/test: 127\.0\.0\.1 cannot be reached.*Connect.*asked for http"):
        crawl(tmp_path, crawl_config(root))
    assert not list((tmp_path / "log").glob("*")) if (tmp_path / "log").exists() else True


def test_a_site_whose_robots_file_fails_is_left_alone_until_it_is_back(tmp_path: Path) -> None:
    with serving({"/robots.txt": send(b"", 503, Retry_After="0"), "/": send(html("a page"))}) as site:
        with pytest.raises(Unreachable, match=r"robots\.txt cannot be read \(HTTP 503"):
            crawl(tmp_path, crawl_config(site.root))
        assert not site.hits["/"]
        del site.answers["/robots.txt"]
        outcome, _ = crawl(tmp_path, crawl_config(site.root))
    assert outcome.rows_kept == 1


def test_pages_of_a_sitemap_that_could_not_be_had_at_first_are_not_lost(tmp_path: Path) -> None:
    down = send(b"", 503, Retry_After="0")
    with serving({"/robots.txt": down, "/": send(html("a page")), "/alone": send(html("a page alone"))}) as site:
        with pytest.raises(Unreachable):
            crawl(tmp_path, crawl_config(site.root))
        site.answers["/robots.txt"] = send(f"Sitemap: {site.root}/sitemap.xml".encode())
        site.answers["/sitemap.xml"] = send(f"<urlset><url><loc>{site.root}/alone</loc></url></urlset>".encode())
        outcome, log = crawl(tmp_path, crawl_config(site.root))
    assert outcome.rows_kept == 2 and log[f"{site.root}/alone"].outcome == FETCHED


def test_a_robots_file_that_fails_is_told_beside_the_sitemaps(tmp_path: Path) -> None:
    with (
        serving({"/": send(html("a page"))}) as site,
        serving({"/robots.txt": send(b"", 503, Retry_After="0"), "/": send(html("another"))}) as other,
    ):
        outcome, _ = crawl(tmp_path, crawl_config(site.root, seeds=[f"{site.root}/", f"{other.root}/"]))
    assert outcome.rows_kept == 1
    assert [(row["sitemap"], row["outcome"]) for row in outcome.tables["sitemaps"]] == [
        (f"{other.root}/robots.txt", "http_error")
    ]


def test_a_site_that_goes_down_in_the_middle_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawler, "OUTAGE", 5)
    pages = [f"/p{'x' * i}" for i in range(10)]
    deep = [f"{page}/deep" for page in pages]
    answers: dict[str, Answer] = {
        "/": send(html("".join(f'<a href="{p}">x</a>' for p in pages))),
        **{p: send(html(f'{p} <a href="{p}/deep">x</a>')) for p in pages},
    }
    with serving({**answers, **dict.fromkeys(deep, raw(b""))}) as site:
        with pytest.raises(Unreachable, match=r"has stopped answering after 11 pages.*it goes on"):
            crawl(tmp_path, crawl_config(site.root))
        before = site.hits.copy()
        site.answers.update({p: send(html(p)) for p in deep})
        outcome, _ = crawl(tmp_path, crawl_config(site.root))
        assert outcome.rows_kept == 21
        assert all(site.hits[p] == before[p] for p in ("/", *pages)), "what was fetched is not asked for again"


def test_a_host_that_never_answered_is_a_row_and_no_end(tmp_path: Path) -> None:
    with serving({"/": send(html('<a href="http://127.0.0.1:9/">x</a>'))}) as site:
        outcome, log = crawl(tmp_path, crawl_config(site.root))
    assert log["http://127.0.0.1:9/"].outcome == "connection" and outcome.rows_kept == 1


def test_private_addresses_are_not_reached_by_name_number_or_redirect(tmp_path: Path) -> None:
    links = '<a href="http://127.0.0.1:1/">x</a><a href="http://2130706433/">y</a>'
    with serving({"/": send(html(links)), "/away": redirect("http://169.254.169.254/latest/")}) as site:
        _, log = crawl(tmp_path, crawl_config(site.root, private_addresses=False))
        assert [row.outcome for row in log.values()] == ["private_address"] and not site.hits
        assert "private_addresses: true would allow it" in next(iter(log.values())).reason

        async def hop() -> str:
            async with Fetcher(Politeness(), 1000, private_addresses=True) as fetcher:
                first = await fetcher.fetch(f"{site.root}/away")
            assert first.outcome == REDIRECT
            async with Fetcher(Politeness(), 1000) as fetcher:
                return (await fetcher.fetch(first.location)).outcome

        assert asyncio.run(hop()) == "private_address"


@pytest.mark.parametrize(
    "found", ["10.0.0.7", "127.0.0.1", "::ffff:192.168.1.1", "fe80::1", "64:ff9b::a00:1", "100.64.0.1"]
)
def test_a_public_name_that_leads_home_is_refused_where_it_is_resolved(found: str) -> None:
    """Judged at each connection, so that a name which changes its mind after it was looked at gains nothing."""

    class Rebinding:
        async def resolve(self, host: str, port: int, family: int) -> list[ResolveResult]:
            return [ResolveResult(hostname=host, host=found, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def resolved(allowed: bool) -> object:
        resolver = LoopbackResolver({}, allowed)
        resolver._others = Rebinding()  # type: ignore[assignment]
        return await resolver.resolve("a.example", 80)

    with pytest.raises(PrivateAddress, match=f"a.example leads to {found}"):
        asyncio.run(resolved(False))
    assert asyncio.run(resolved(True))


def test_public_addresses_are_public() -> None:
    assert not any(map(is_private, ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "a.example"]))
    assert all(map(is_private, ["0.0.0.0", "[::1]", "192.168.0.1", "224.0.0.1", "localhost", "2002:a00:1::"]))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"allowed_domains": ["https://a.example/x"]}, "write a.example, without scheme"),
        ({"allowed_domains": ["a.example:8080"]}, "write a.example, without"),
        ({"allowed_domains": ["*.a.example"]}, "write a.example, without"),
        ({"seeds": ["a.example"]}, "is not a web address: write https://127.0.0.1/"),
        ({"seeds": ["http://b.example/"]}, "outside allowed_domains: add b.example"),
    ],
)
def test_what_is_no_host_is_refused_with_the_form_that_is_meant(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        crawl_config("http://127.0.0.1", **fields)


def test_the_host_of_a_folder_is_a_host() -> None:
    folder = {"kind": "html_folder", "path": "x", "licence": "CC0-1.0", "snapshot": "1"}
    with pytest.raises(ValidationError, match=r"write site\.example, without"):
        HtmlFolderSource.model_validate({**folder, "host": "http://site.example/"})
    assert HtmlFolderSource.model_validate({**folder, "host": "Site.Example"}).host == "site.example"
