"""The page of scores: it loads nothing, joins nothing that cannot be compared, and what a model wrote stays text.

What a browser does is asked of a real one: the system's Chromium. Where there is none, those tests are not run, and the
run says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from benchmarks.score_page import drawn, synthetic, times
from neo_assets.pages import page as pages
from neo_assets.scores.explained import explained
from neo_assets.scores.score_page import SOURCES, Generation, ScorePage, ScoreRow, columnar, embedded, write_page

OLD, NEW = "abc123abc123", "def456def456"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'\u2028<!--{{ 7*7 }}"
Open = Callable[..., Page]


def row(
    task: str = "cloze_en",
    step: int = 100,
    value: float = 0.3,
    run: str = "main",
    identity: str = NEW,
    attempt: int = 1,
    **more: object,
) -> ScoreRow:
    made = ScoreRow(
        run=run,
        step=step,
        tokens=step * 2_000_000,
        checkpoint=f"{run}/{step:09d}",
        task=task,
        lang=task[-2:],
        metric="acc",
        value=value,
        stderr=0.02,
        n=500,
        shots=3,
        requests=2000,
        cut=0,
        identity=identity,
        current=identity == NEW,
        chance=0.25,
        higher_is_better=True,
        attempt=attempt,
        subset=None,
        detectable=0.056,
        main=True,
    )
    made.update(more)  # type: ignore[typeddict-item]
    return made


def generation(step: int, lang: str, prompt: str, continuation: str, run: str = "main") -> Generation:
    return Generation(
        run=run,
        step=step,
        checkpoint=f"{run}/{step:09d}",
        lang=lang,
        prompt=prompt,
        continuation=continuation,
        traced="",
    )


def small(**more: object) -> ScorePage:
    """Two runs and four tasks; cloze_en changed between step 300 and 400, and one checkpoint of it was scored again."""
    rows = [row(step=s, value=0.25 + s / 2000, identity=OLD if s < 350 else NEW) for s in range(100, 700, 100)]
    rows += [row(step=500, value=0.47, attempt=2)]
    rows += [row("cloze_zh", s, 0.25 + s / 3000, run) for run in ("main", "annealed") for s in range(100, 700, 100)]
    rows += [
        row("bytes_zh", s, 4 - s / 300, higher_is_better=False, chance=None, metric="bits per byte")
        for s in range(100, 700, 100)
    ]
    rows += [
        row("cloze_zh", s, 0.2 + s / 3000, subset=subset, main=True)
        for s in (100, 600)
        for subset in ("clean", "source:handbook", "source:news")
    ]
    rows += [row("facts_en", 600, 0.51), row("facts_en", 600, 1.7, metric="nats", main=False, chance=None)]
    given: dict[str, object] = {
        "rows": rows,
        "suites": {"cloze": ["cloze_en", "cloze_zh"], "rest": ["bytes_zh", "facts_en"]},
        "comparators": [
            {
                "model": "Olmo 1B",
                "task": "cloze_en",
                "value": 0.41,
                "provenance": "read from a figure, ± 0.3",
                "harness": "other harness",
            }
        ],
        "generations": [
            generation(s, lang, prompt, f"{lang} after {s}")
            for s in (100, 300, 600)
            for lang, prompt in (("en", "The crawler"), ("zh", "抓取程序"))
        ],
        "gates": [
            {"name": "above chance", "run": "main", "passed": True, "blocking": True, "detail": "4 of 4"},
            {"name": "no task fell", "run": "annealed", "passed": False, "blocking": True, "detail": "cloze_zh fell"},
            {"name": "Chinese keeps up", "run": "main", "passed": False, "blocking": False, "detail": "0.02 below"},
        ],
        "absent": [{"task": "gsm8k", "message": "data not here: put it at data/gsm8k.jsonl"}],
    }
    return ScorePage("Scores", "of four tasks", **(given | more))  # type: ignore[arg-type]


# ------------------------------------------------------------------ the file


class _Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loading: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loading += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if name in {"src", "href", "srcset", "data", "action", "poster"} or name.startswith("on")
        ]


def parsed(html: str) -> _Attributes:
    parser = _Attributes()
    parser.feed(html)
    return parser


def test_nothing_on_the_page_names_a_file_to_load(tmp_path: Path) -> None:
    write_page(small(), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = parsed(html)
    assert found.loading == []
    assert not {"link", "iframe", "img", "object", "embed", "base"} & set(found.tags)
    assert not re.search(r"@import|url\(", html[html.index("<style>") : html.index("</style>")])
    assert "default-src 'none'" in html and "unsafe-eval" not in html and "script-src 'sha256-" in html


def test_hostile_text_adds_no_element(tmp_path: Path) -> None:
    def tags(page: ScorePage) -> list[str]:
        write_page(page, tmp_path / "page.html")
        return parsed((tmp_path / "page.html").read_text(encoding="utf-8")).tags

    assert tags(hostile()) == tags(hostile("calm"))


def test_data_comes_back_as_it_was_given() -> None:
    rows = small().rows
    told = json.loads(embedded(columnar(rows, list(ScoreRow.__annotations__))))

    def value(name: str, i: int) -> object:
        column = told["columns"][name]
        return column["values"][column["at"][i] if "at" in column else i]

    assert [{name: value(name, i) for name in told["columns"]} for i in range(told["count"])] == rows
    assert "at" in told["columns"]["identity"] and len(told["columns"]["identity"]["values"]) == 2


def test_json_in_a_script_element_cannot_close_it() -> None:
    text = embedded({"text": HOSTILE})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"text": HOSTILE}


def test_a_number_that_is_none_becomes_null() -> None:
    assert columnar([{"v": float("nan")}, {"v": float("inf")}, {"v": 1.5}], ["v"])["columns"] == {
        "v": {"values": [None, None, 1.5]}
    }


def test_a_row_without_a_key_is_refused_by_name() -> None:
    lacking = dict(row())
    del lacking["stderr"], lacking["chance"]
    with pytest.raises(ValueError, match=r"rows\[1\] lacks chance, stderr"):
        small(rows=[row(), lacking])


def test_equal_pages_are_equal_bytes_and_half_a_surrogate_does_not_break_one(tmp_path: Path) -> None:
    page = small(generations=[generation(1, "en", "a", "b\ud83d")])
    write_page(page, tmp_path / "a.html")
    write_page(page, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_all_that_the_page_is_made_of_is_told_to_whoever_caches_it() -> None:
    folders = (SOURCES[0].parent, pages.FOLDER)
    assert set(SOURCES) == {p for folder in folders for p in folder.iterdir() if p.is_file() and p.suffix != ".py"}


def test_gates_are_told_in_words_and_the_failed_come_first(tmp_path: Path) -> None:
    write_page(small(), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Gates: 1 failed, 1 warning, 1 passed" in html
    assert re.findall(r'<strong class="verdict \w+">(\w+)</strong>', html) == ["fail", "warning", "pass"]
    assert "data not here: put it at data/gsm8k.jsonl" in html


# ------------------------------------------------------------------ in a browser


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Writes a page and opens it; whatever it asks for besides itself, logs as an error or alerts fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    wrong: list[str] = []

    def open_page(page: ScorePage, view: str = "") -> Page:
        file = tmp_path / "page.html"
        write_page(page, file)
        tab = context.new_page()
        tab.route(
            "**/*",
            lambda route: (
                route.continue_()
                if route.request.url.partition("#")[0] == file.as_uri()
                else (wrong.append(route.request.url), route.abort())[1]
            ),
        )
        tab.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: (wrong.append(f"alert: {dialog.message}"), dialog.dismiss())[1])
        tab.goto(f"{file.as_uri()}{view}")
        drawn(tab, "curves")
        return tab

    yield open_page
    context.close()
    assert not wrong


def show(tab: Page, section: str) -> None:
    tab.evaluate("id => document.getElementById(id).scrollIntoView()", section)
    drawn(tab, section)


def titles(tab: Page) -> list[str]:
    return tab.locator(".card h3").all_inner_texts()


def pointed_at(tab: Page, card: int) -> Locator:
    """What the page tells when the pointer stands on the last score of a chart."""
    mark = tab.locator(".card").nth(card).locator('[class*=" points-"] path').last
    mark.scroll_into_view_if_needed()
    point = mark.bounding_box()
    assert point
    tab.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    expect(tab.get_by_role("tooltip")).to_be_visible()
    return tab.get_by_role("tooltip")


def curves(tab: Page, task: str) -> list[tuple[str, int]]:
    """(dash, number of points) of each line that is drawn for a task."""
    card = tab.locator(".card", has=tab.get_by_role("button", name=task, exact=True))
    card.locator(".plot svg").wait_for()
    found = card.locator('[class*=" curve-"] path').evaluate_all(
        "paths => paths.map(p => [p.getAttribute('stroke-dasharray') ?? '', (p.getAttribute('d').match(/[ML]/g) ??"
        " []).length])"
    )
    return [(dash, points) for dash, points in found if points]


def test_the_page_works_from_a_file_and_asks_for_nothing(opened: Open) -> None:
    tab = opened(small())
    assert titles(tab) == ["cloze_en", "cloze_zh", "bytes_zh", "facts_en"]
    for section in ("matrix", "newest", "generations"):
        show(tab, section)
    assert tab.locator("#matrix td").count() > 0 and tab.locator("#newest .scroll tbody tr").count() > 0


def test_scores_of_two_identities_are_not_joined_and_the_break_is_labelled(opened: Open) -> None:
    tab = opened(small())
    found = curves(tab, "cloze_en")
    assert len(found) == 2 and len({dash for dash, _ in found}) == 2
    assert [points for _, points in found] == [3, 3]
    card = tab.locator(".card").first
    assert "task changed: abc123 → def456" in card.locator("svg text").all_text_contents()
    assert card.locator('[class*=" break-"] line').count() == 1
    assert card.inner_text().endswith("abc123 dashed, older · def456 solid, today's")
    assert tab.locator(".card").nth(1).locator('[class*=" break-"]').count() == 0


def test_a_repeated_attempt_is_a_mark_that_no_line_reaches(opened: Open) -> None:
    tab = opened(small())
    assert sum(points for _, points in curves(tab, "cloze_en")) == 6
    assert tab.locator(".card").first.locator('[class*=" again-"] path').count() == 1


def test_chance_and_other_models_are_horizontals_with_their_names(opened: Open) -> None:
    tab = opened(small())
    told = tab.locator(".card").first.locator("svg text").all_text_contents()
    assert "chance 0.250" in told and "Olmo 1B 0.410 (other harness)" in told
    tab.get_by_label("other models").uncheck()
    drawn(tab, "curves")
    assert "Olmo 1B 0.410 (other harness)" not in tab.locator(".card").first.locator("svg text").all_text_contents()


def test_pointing_at_a_curve_tells_the_score_whole(opened: Open) -> None:
    tab = opened(small())
    told = pointed_at(tab, 1).inner_text()
    assert (
        "± 0.020" in told
        and "n 500, 3 shots" in told
        and f"identity {NEW}" in told
        and "detectable difference 0.056" in told
    )


def test_filters_change_what_is_drawn_and_the_address_brings_it_back(opened: Open) -> None:
    tab = opened(small())
    tab.get_by_label("Suite").select_option("cloze")
    tab.get_by_label("Language").select_option("zh")
    tab.get_by_label("annealed").check()
    drawn(tab, "curves")
    assert titles(tab) == ["cloze_zh"] and len(curves(tab, "cloze_zh")) == 1
    assert "6 scores: 1 task, 6 checkpoints" in tab.locator("#count").inner_text()
    again = opened(small(), "#" + tab.url.partition("#")[2])
    assert titles(again) == ["cloze_zh"] and len(curves(again, "cloze_zh")) == 1
    assert again.get_by_label("annealed").is_checked() and again.get_by_label("Language").input_value() == "zh"
    tab.evaluate("location.hash = ''")
    expect(tab.locator(".card")).to_have_count(4)


def test_a_task_is_found_by_a_part_of_its_name(opened: Open) -> None:
    tab = opened(small())
    tab.get_by_role("searchbox").fill("BYTES")
    expect(tab.locator(".card")).to_have_count(1)
    assert titles(tab) == ["bytes_zh"] and tab.url.endswith("#task=BYTES")


def test_clean_items_and_sources_are_curves_of_their_own(opened: Open) -> None:
    tab = opened(small(), "#subset=clean")
    assert titles(tab) == ["cloze_zh"] and [n for _, n in curves(tab, "cloze_zh")] == [2]
    tab.get_by_label("Items").select_option("source")
    drawn(tab, "curves")
    assert [n for _, n in curves(tab, "cloze_zh")] == [2, 2]
    assert tab.locator("#legend li").all_inner_texts() == ["main · handbook", "main · news"]


def test_other_metrics_are_shown_when_asked_for(opened: Open) -> None:
    assert titles(opened(small(), "#metrics=all")).count("facts_en") == 2


def test_filters_that_leave_nothing_say_so(opened: Open) -> None:
    assert opened(small(), "#task=nothing").locator("#count").inner_text() == "No score is left by these filters."


def test_the_heat_map_turns_a_column_round_where_lower_is_better(opened: Open) -> None:
    tab = opened(small(), "#runs=main")
    show(tab, "matrix")
    shades = tab.locator("#matrix tbody tr:not(:has(.run))").evaluate_all(
        "rows => rows.map(r => [...r.cells].slice(1).map(c => c.className))"
    )
    heads = tab.locator("#matrix thead th").all_inner_texts()
    column = heads.index("bytes_zh ↓") - 1
    assert shades[0][column] == "z0" and shades[-1][column] == "z10"
    assert shades[0][heads.index("cloze_en") - 1].endswith("older") and shades[-1][heads.index("cloze_en") - 1] == "z10"


def test_a_long_heat_map_is_thinned_and_says_so(opened: Open) -> None:
    tab = opened(small(rows=[row(step=s) for s in range(1, 201)]))
    show(tab, "matrix")
    steps = tab.locator("#matrix tbody th[scope=row]")
    assert steps.count() == 60 and [steps.first.inner_text(), steps.last.inner_text()] == ["1", "200"]
    assert "60 of 200 checkpoints are shown" in tab.locator("#matrix .note").inner_text()
    tab.get_by_label("every checkpoint").check()
    drawn(tab, "matrix")
    assert steps.count() == 200


def test_the_newest_scores_sort_by_click_and_an_older_identity_is_marked(opened: Open) -> None:
    tab = opened(
        small(
            rows=[
                row("a_en", 200, 0.5),
                row("a_en", 100, 0.9),
                row("b_en", 200, 0.3),
                row("c_en", 100, 0.4, identity=OLD),
            ]
        )
    )
    show(tab, "newest")
    table = tab.locator("#newest .scroll").first
    assert "0.900" not in table.inner_text()
    table.get_by_role("button", name="value").click()
    assert table.locator("tbody td:nth-child(4)").all_inner_texts() == [
        "0.300 ± 0.020",
        "0.400 ± 0.020",
        "0.500 ± 0.020",
    ]
    table.get_by_role("button", name="value").click()
    assert table.locator("tbody td:nth-child(2)").all_inner_texts() == ["a_en", "c_en", "b_en"]
    assert table.locator("td.older").all_inner_texts() == [f"{OLD} older"]


def test_a_comparators_provenance_stands_in_a_table(opened: Open) -> None:
    tab = opened(small())
    show(tab, "newest")
    assert "read from a figure, ± 0.3" in tab.locator("#comparators").inner_text()


def test_two_checkpoints_writings_stand_side_by_side_and_can_be_browsed(opened: Open) -> None:
    tab = opened(small())
    show(tab, "generations")
    quotes, told = tab.locator("#generations blockquote"), tab.locator("#generations output")
    assert [q.removeprefix("The crawler") for q in quotes.all_inner_texts()] == ["en after 100", "en after 600"]
    tab.get_by_role("button", name="later").first.click()
    assert quotes.first.inner_text().endswith("en after 300") and "main@300" in told.first.inner_text()
    tab.get_by_label("Prompt").select_option(index=1)
    assert quotes.first.inner_text() == "抓取程序zh after 300" and quotes.first.get_attribute("lang") == "zh-Hans"
    tab.get_by_label("checkpoint on the right").fill("0")
    assert quotes.last.inner_text().endswith("zh after 100")
    again = opened(small(), "#" + tab.url.partition("#")[2])
    show(again, "generations")
    assert again.locator("#generations blockquote").all_inner_texts() == [
        "抓取程序zh after 300",
        "抓取程序zh after 100",
    ]


def test_white_space_that_a_young_model_writes_is_told(opened: Open) -> None:
    tab = opened(
        small(
            generations=[
                generation(1, "en", "The crawler", "." + "\n" * 38),
                generation(2, "en", "The crawler", " a\n\nb" + " " * 40),
            ]
        )
    )
    show(tab, "generations")
    assert tab.locator("#generations blockquote").all_inner_texts() == [
        "The crawler.↵ × 38",
        "The crawler a\n\nb␣ × 40",
    ]


def hostile(text: str = HOSTILE) -> ScorePage:
    return ScorePage(
        text,
        text,
        [row(text, s, run=text, metric=text, checkpoint=text, lang="en", identity=i) for s, i in ((1, OLD), (2, NEW))],
        {text: [text]},
        [{"model": text, "task": text, "value": 0.4, "provenance": text, "harness": text}],
        [generation(1, "en", text, text, text)],
        [{"name": text, "run": text, "passed": False, "blocking": True, "detail": text}],
        [{"task": text, "message": text}],
    )


def test_hostile_text_stays_text_everywhere(opened: Open) -> None:
    tab = opened(hostile())
    assert HOSTILE in (pointed_at(tab, 0).text_content() or "")
    for section in ("matrix", "newest", "generations"):
        show(tab, section)
    assert tab.locator("img").count() == 0
    assert tab.locator("h1").text_content() == HOSTILE and titles(tab)[0].startswith(
        "</script><script>alert(1)</script>"
    )
    assert tab.locator("#generations blockquote").first.text_content() == HOSTILE * 2
    assert any(text.startswith("</script>") for text in tab.locator("svg text").all_text_contents())


def test_a_page_without_scores_says_so(opened: Open) -> None:
    tab = opened(ScorePage("Empty", "nothing yet", [], {}))
    assert tab.locator("#count").inner_text() == "No score is left by these filters."
    show(tab, "generations")
    assert "No checkpoint was asked to write." in tab.locator("#generations").inner_text()


def test_on_a_phone_nothing_stands_out_of_the_page(opened: Open) -> None:
    tab = opened(small())
    tab.set_viewport_size({"width": 400, "height": 800})
    for section in ("matrix", "newest", "generations"):
        show(tab, section)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_in_print_every_curve_is_drawn(opened: Open) -> None:
    tab = opened(small(rows=[row(f"task_{i:02}_en") for i in range(40)]))
    assert tab.locator(".plot svg").count() < 40
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(tab.locator(".plot svg")).to_have_count(40)


def test_a_thousand_checkpoints_of_twenty_tasks_load(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_page(synthetic(1000, 20), file)
    taken = times(browser, file)
    print({name: round(milliseconds) for name, milliseconds in taken.items()}, f"{file.stat().st_size / 1e6:.1f} MB")
    assert file.stat().st_size < 6e6


def test_where_lower_is_better_the_untrained_model_is_the_level_and_the_axis_is_cut_to_it(opened: Open) -> None:
    """A uniform guess of 8 bits a byte would flatten a curve that goes from 3.5 to 1.6."""
    told = {"higher_is_better": False, "metric": "bits_per_byte", "chance": 8.0}
    rows = [row("bits_per_byte_en_30", s, 3.463 if s == 0 else 1.656 - s / 10_000, **told) for s in (0, 350)]
    tab = opened(ScorePage("Scores", "", rows, {"smoke": ["bits_per_byte_en_30"]}))
    texts = tab.locator(".card").first.locator("svg text").all_text_contents()
    assert "untrained 3.463" in texts or "untrained 3.46" in texts
    assert (
        not any("chance" in text for text in texts) and max(float(t) for t in texts if t.replace(".", "").isdigit()) < 4
    )
    name = tab.get_by_role("button", name="bits_per_byte_en_30")
    assert name.get_attribute("title") == explained("bits_per_byte_en_30")


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("bits_per_byte_zh_30", "fewer is better. Chinese. The first 30 items."),
        ("translation_zh_en", "From Chinese into English."),
        ("hsk_en_zh", "From English into Chinese."),
        ("arc_challenge", "(ARC)."),
        ("somebodys_own_task", ""),
    ],
)
def test_a_tasks_name_is_explained_whatever_it_ends_with(task: str, told: str) -> None:
    assert explained(task).endswith(told) and bool(explained(task)) == bool(told)


def test_every_task_that_recipes_name_is_explained() -> None:
    from neo_assets.core.recipe import load

    recipe = load("laptop")
    named = {t if isinstance(t, str) else t.task for tasks in recipe.evaluation.suites.values() for t in tasks}
    assert not [task for task in named if not explained(task)]
