"""URLs have one form, pages one reading, whatever they claim."""

import gzip

import pytest

from neo_assets.crawl.fetch import is_loopback
from neo_assets.web.encoding import decode_html
from neo_assets.web.links import BadUrl, address, canonical, is_allowed, sitemap_entries
from neo_assets.web.page_view import view_page
from neo_assets.web.warc_files import Response

CHINESE = "<p>这是一个用来测试编码的页面，里面有许多汉字。</p>" * 3


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("http://A.Example:80/x?b=1&a=2#part", "http://a.example/x?a=2&b=1"),
        ("https://a.example:443", "https://a.example/"),
        ("http://a.example:8080/", "http://a.example:8080/"),
        ("http://a.example/文", "http://a.example/%E6%96%87"),
        ("HTTP://a.example/%7euser/../x", "http://a.example/x"),
    ],
)
def test_a_url_has_one_canonical_form(url: str, form: str) -> None:
    assert canonical(url) == form
    assert canonical(form) == form


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://",
        "http://a b/",
        "mailto:a@b.example",
        "http://a.example:99999/",
        "http://" + "a" * 300,
        "/path",
        "",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        canonical(url)


@pytest.mark.parametrize(
    ("href", "sent"),
    [
        ("?/topic/1", "/?/topic/1"),
        ("?b=2&a=1", "/?b=2&a=1"),
        ("?x=a%20b", "/?x=a%20b"),
        ("?x=a+b", "/?x=a+b"),
        ("?a=1;b=2", "/?a=1;b=2"),
        ("?id[]=1", "/?id[]=1"),
        ("?a&b=&&c", "/?a&b=&&c"),
        ("/%7Euser/%2F/|", "/%7Euser/%2F/|"),
        ("/a b/文?q=文#part", "/a%20b/%E6%96%87?q=%E6%96%87"),
        ("..\\x", "/x"),
        (" /a\n/b ", "/a/b"),
    ],
)
def test_an_address_is_what_a_browser_would_ask_for(href: str, sent: str) -> None:
    place = address(href, "http://a.example/")
    assert place == f"http://a.example{sent}" and address(place) == place
    assert canonical(canonical(place)) == canonical(place)


def test_a_query_that_its_encoding_lacks_is_one_value() -> None:
    assert address("?q=é中", "http://a.example/", "iso-8859-1") == "http://a.example/?q=%E9%26%2320013;"


def test_allowed_are_a_domain_and_what_is_below_it() -> None:
    allowed = ["a.example"]
    assert is_allowed("http://a.example/", allowed) and is_allowed("http://www.a.example/", allowed)
    assert not is_allowed("http://nota.example/", allowed) and not is_allowed("http://a.example.evil.example/", allowed)


def test_links_follow_the_base_and_the_encoding_of_their_page() -> None:
    page = (
        '<base href="/b/"><a href="x#1">1</a><a href="x#2">2</a><a href="?q=中">3</a><a href="http://[::1">4</a><a'
        ' href="mailto:x@y">5</a><a>6</a>' + CHINESE
    )
    found = view_page(Response("http://a.example/a/", 200, [], page.encode("gb18030"), ""))
    assert [place for _, place in found.links] == ["http://a.example/b/?q=%D6%D0", "http://a.example/b/x"]
    assert found.malformed == ("http://[::1",)


def test_sitemaps_are_read_packed_plain_or_broken() -> None:
    xml = (
        b'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc> http://a.example/1'
        b" </loc></url><url><loc>http://a.example/2</loc>"
    )
    assert sitemap_entries(xml) == (["http://a.example/1", "http://a.example/2"], [])
    assert sitemap_entries(gzip.compress(xml)) == sitemap_entries(xml)
    assert sitemap_entries(b"http://a.example/1\nhttp://a.example/2\n")[0] == [
        "http://a.example/1",
        "http://a.example/2",
    ]
    assert sitemap_entries(b"\x1f\x8bnot gzip") == ([], [])


def test_a_sitemap_loads_nothing_from_this_machine() -> None:
    trick = (
        b"<!DOCTYPE x [<!ENTITY f SYSTEM"
        b' "file:///etc/passwd">]><urlset><url><loc>http://a.example/&f;</loc></url></urlset>'
    )
    assert not any("root" in url for url in sitemap_entries(trick)[0])


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (CHINESE.encode("gb18030"), "text/html; charset=utf-8"),
        (b'<meta charset="utf-8">' + CHINESE.encode("gb18030"), "text/html"),
        (CHINESE.encode("gb18030"), "text/html; charset=gb2312"),
        (CHINESE.encode("utf-8"), "text/html; charset=iso-8859-1"),
        (CHINESE.encode("utf-8"), "text/html; charset=no-such-thing"),
        (CHINESE.encode("utf-8-sig"), ""),
        (CHINESE.encode("utf-16"), ""),
        (b'<meta charset="utf-16">' + CHINESE.encode("utf-8"), ""),
        ("<p>里面有許多漢字，可供測試之用。</p>".encode("big5"), "text/html; charset=big5"),
    ],
)
def test_a_page_is_read_by_its_bytes_when_it_lies_about_its_encoding(payload: bytes, content_type: str) -> None:
    assert "里面有" in decode_html(payload, content_type)[0]


def test_a_page_cut_inside_a_character_keeps_its_encoding() -> None:
    text, name = decode_html(CHINESE.encode()[:-5], "text/html; charset=utf-8")
    assert name == "utf-8" and "�" not in text


def test_names_of_this_machine_are_known() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.8.8.8", "::1", "a.localhost"]))
    assert not any(map(is_loopback, ["a.example", "10.0.0.1", "127.example"]))


def test_a_byte_order_mark_hides_no_first_line() -> None:
    from neo_assets.crawl.robots import parsed_robots

    rules = parsed_robots(b"\xef\xbb\xbfUser-agent: *\nDisallow: /private/\n")
    assert not rules.can_fetch("http://a.example/private/x", "anybody") and rules.can_fetch(
        "http://a.example/", "anybody"
    )
    for body in (
        b"http://a.example/1\nhttp://a.example/2\n",
        b"<urlset><url><loc>http://a.example/1</loc></url></urlset>",
    ):
        assert sitemap_entries(b"\xef\xbb\xbf" + body) == sitemap_entries(body) != ([], [])
