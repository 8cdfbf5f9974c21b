"""What a page links to is what is asked for; its canonical form only tells that two addresses are one page."""

from pathlib import Path

from sites import crawl, crawl_config, html, redirect, send, serving

from neo_assets.core.records import document_id
from neo_assets.web.links import canonical
from neo_assets.web.warc_files import read_segment

LINKED = ["/?/topic/1", "/?b=2&a=1", "/?x=a%20b", "/?x=a+c", "/?a=1;b=2", "/?id[]=1", "/%7Euser", "/?q=%D6%D0"]


def test_every_address_is_asked_for_as_it_was_linked(tmp_path: Path) -> None:
    answers = {path: send(html(f"page {i}: {path}")) for i, path in enumerate(LINKED)}
    answers["/"] = send(html("".join(f'<a href="{path}">x</a>' for path in LINKED)))
    with serving(answers) as site:
        outcome, log = crawl(tmp_path, crawl_config(site.root))
    assert {path: site.hits[path] for path in LINKED} == dict.fromkeys(LINKED, 1)
    assert outcome.rows_kept == 1 + len(LINKED)
    rows = {row.address.removeprefix(site.root): row for row in log.values()}
    assert set(rows) == {"/", *LINKED} and all(row.url == canonical(row.address) for row in rows.values())
    stored = {page.url: page for page in read_segment(tmp_path / "warc/part-00000.warc.gz")}
    more = {page.url: page for page in read_segment(tmp_path / "warc/part-00001.warc.gz")}
    for row in rows.values():
        assert row.doc_id == document_id(row.url, (stored | more)[row.address].payload)


def test_two_addresses_of_one_page_are_asked_for_once_in_the_first_form(tmp_path: Path) -> None:
    body = '<a href="/?b=2&a=1">x</a><a href="/?a=1&b=2">y</a>'
    with serving({"/": send(html(body)), "/?a=1&b=2": send(html("the page")), "/?b=2&a=1": send(html("it"))}) as site:
        outcome, _ = crawl(tmp_path, crawl_config(site.root))
    assert outcome.rows_kept == 2 and site.hits["/?a=1&b=2"] + site.hits["/?b=2&a=1"] == 1


def test_a_redirect_to_another_address_of_the_same_page_is_followed(tmp_path: Path) -> None:
    answers = {
        "/": send(html('<a href="/?b=2&amp;a=1">x</a><a href="/?x=1&amp;y=2">y</a>')),
        "/?b=2&a=1": redirect("/?a=1&b=2"),
        "/?a=1&b=2": send(html("the page")),
        "/?x=1&y=2": redirect("/?x=1&y=2"),
    }
    with serving(answers) as site:
        outcome, log = crawl(tmp_path, crawl_config(site.root))
    assert outcome.rows_kept == 2
    assert log[f"{site.root}/?a=1&b=2"].address == f"{site.root}/?a=1&b=2"
    assert log[f"{site.root}/?x=1&y=2"].outcome == "redirect_loop"
