"""The report page: everything on it is escaped, names its artifact, and loads nothing; what was not built does not
break it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pytest

from neo_assets.core import records
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import Artifact, Check, MadeFrom, Outcome, Store, Workspace, input_refs
from neo_assets.pages.page import loads
from neo_assets.report.fates import _joined
from neo_assets.report.funnel import FunnelInput, make_funnel
from neo_assets.report.opening import _steps
from neo_assets.report.page import LONG, Bar
from neo_assets.report.report import ReportInput, write_report
from neo_assets.report.run_lines import RunLine, measured, run_lines
from neo_assets.report.scores import Score, against_chance, with_white_space_shown
from resources.ledger import Ledger

RECIPE = "tiny"
LABELS = {
    "raw_crawl/site": "fetched",
    "page_text/site": "with main text",
    "documents/site": "documents",
    "clean_docs/en": "pass the rules",
    "clean_docs/zh": "pass the rules",
}
CONFIG = ReportInput(name="tiny", description="four documents")
FUNNEL = FunnelInput(labels=LABELS, divides=[], examples_per_rule=2)
HOSTILE = "<script>alert('taken over')</script><img src=x onerror=alert(1)> buy now"
PAGES = {
    "d1": (
        "en",
        "A crawler fetched a page, and waited politely before the next one. " * 3,
        "http://site.example/one.html",
    ),
    "d2": ("en", HOSTILE, 'http://site.example/two.html?a=1&b="><b>x</b>'),
    "d3": ("zh", "抓取程序取回一个网页，然后礼貌地等待，再取下一个。" * 4, "http://site.example/三.html"),
    "d4": ("zh", "抓取程序取回一个网页，然后礼貌地等待，再取下一个！" * 4, "javascript:alert(2)"),
}


class Tiny:
    """A store with hand-made artifacts of a whole factory."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.inputs: dict[str, Artifact] = {}

    def add(
        self,
        key: str,
        outcome: Outcome,
        write: Callable[[Workspace], object] = lambda _: None,
        config: dict[str, object] | None = None,
    ) -> None:
        def work(out: Workspace) -> Outcome:
            write(out)
            return outcome

        made, _ = self.store.build(key, MadeFrom(config=config or {"key": key}, code={}, libraries={}, inputs={}), work)
        self.store.set_head(RECIPE, key, key, made.fingerprint)
        self.inputs[key] = made

    def verdicts(
        self,
        key: str,
        rows: list[Verdict],
        outcome: Outcome | None = None,
        write: Callable[[Workspace], object] = lambda _: None,
    ) -> None:
        def both(out: Workspace) -> None:
            out.write("verdicts.parquet", records.verdict_table(rows))
            write(out)

        dropped = sum(r.verdict == DROPPED for r in rows)
        outcome = outcome or Outcome(digest=key)
        outcome.rows_in, outcome.rows_kept, outcome.rows_dropped = len(rows), len(rows) - dropped, dropped
        outcome.checks = outcome.checks or [Check(name="rows_balance", passed=True, detail="balanced")]
        self.add(key, outcome, both)

    def data(self) -> None:
        self.add(
            "sources/site",
            Outcome(
                digest="s",
                rows_in=1,
                rows_kept=1,
                numbers={"kind": "html_folder", "licence": "CC0-1.0", "snapshot": "today"},
            ),
        )
        crawled = Outcome(
            digest="c",
            numbers={"pages": 4, "bytes": 4321},
            tables={
                "outcomes": [
                    {"outcome": "fetched", "count": 4, "share": 0.8},
                    {"outcome": "http_error", "count": 1, "share": 0.2},
                ]
            },
        )
        lost = Verdict(
            "gone", "raw_crawl/site", DROPPED, "http_error", detail="http://site.example/404: <i>not found</i>"
        )
        self.verdicts("raw_crawl/site", [*(Verdict(d, "raw_crawl/site") for d in PAGES), lost], crawled)
        for stage in ("page_text", "signals"):
            self.verdicts(f"{stage}/site", [Verdict(d, f"{stage}/site") for d in PAGES])
        self.verdicts(
            "documents/site",
            [Verdict(d, "documents/site") for d in PAGES],
            write=lambda out: out.write("part-00000.parquet", documents()),
        )
        self.verdicts(
            "clean_docs/en",
            [
                Verdict("d1", "clean_docs/en", source="site"),
                Verdict("d2", "clean_docs/en", DROPPED, "min_words", 4.0, 50.0, source="site"),
            ],
        )
        self.verdicts("clean_docs/zh", [Verdict(d, "clean_docs/zh", source="site") for d in ("d3", "d4")])
        for lang, ids in (("en", ["d1"]), ("zh", ["d3", "d4"])):
            self.verdicts(f"exact_dedup/{lang}", [Verdict(d, f"exact_dedup/{lang}", source="site") for d in ids])
        by_source: list[dict[str, int | float | str | bool | None]] = [
            {"language": "en", "source": "site", "documents": 1, "bytes": 200},
            {"language": "zh", "source": "site", "documents": 1, "bytes": 300},
        ]
        self.verdicts("near_dedup/en", [Verdict("d1", "near_dedup/en", source="site")])
        self.verdicts(
            "near_dedup/zh",
            [
                Verdict("d3", "near_dedup/zh", source="site"),
                Verdict("d4", "near_dedup/zh", DROPPED, "near_duplicate", 0.93, 0.844, "d3", "site"),
            ],
        )
        self.verdicts(
            "matrix",
            [Verdict(d, "matrix", source="site") for d in ("d1", "d3")],
            Outcome(digest="m", numbers={"documents": 2, "bytes": 500}, tables={"by language and source": by_source}),
        )
        self.verdicts(
            "train_pool",
            [Verdict(d, "train_pool", source="site") for d in ("d1", "d3")],
            Outcome(digest="t", numbers={"documents_en": 1, "documents_zh": 1}),
        )
        asked: list[dict[str, int | float | str | bool | None]] = [
            {
                "language": "en",
                "source": "site",
                "rounds asked": 1.5,
                "rounds got": 2.0,
                "bytes": 400,
                "share of bytes": 0.5714,
            }
        ]
        self.verdicts(
            "mixture/fundamental",
            [Verdict("d1", "mixture/fundamental", value=2.0, source="site")],
            Outcome(digest="x", tables={"asked against got": asked}),
        )

    def model(self, value: float = 0.31) -> None:
        warned = Check(name="lossless", passed=False, detail="1 of 13 texts do not survive", blocking=False)
        self.add(
            "tokenizer",
            Outcome(digest="k", numbers={"pieces": 300}, checks=[warned]),
            config={"tokenizer": {"split_digits": True, "special_tokens": ["<EOD>"]}},
        )
        self.add("run_plan/main", Outcome(digest="p", numbers={"parameters": 2_100_000, "hours (estimate)": 0.01}))
        steps = list(range(1, 701))
        metrics = pa.table(
            {
                "step": steps,
                "loss": [2 + 6 * math.exp(-s / 90) for s in steps],
                "lr": [s / 700 for s in steps],
                "tokens": [s * 2048 for s in steps],
                "tokens_per_s": [9000.0 + s % 7 for s in steps],
            }
        )
        trained = Outcome(
            digest="r",
            numbers={
                "steps": 700,
                "first_tenth_loss": 7.1,
                "last_tenth_loss": 2.0,
                "trained_tokens": 1_433_600,
                "job": "abc",
            },
        )
        self.add("pretraining/main", trained, lambda out: out.write("metrics.parquet", metrics))
        scored = [
            row(step, "cloze_en", 0.25 + (value - 0.25) * step / 700, 0.25, 0.04, True) for step in (0, 350, 700)
        ] + [row(step, "bits_per_byte_zh", 8 - step / 200, 8.0, 0.1, False) for step in (0, 350, 700)]
        written = [
            {"step": s, "checkpoint": f"{s:07d}-ab", "lang": lang, "prompt": prompt, "continuation": text}
            for s in (0, 700)
            for lang, prompt, text in (("en", "The crawler", " <b>waits</b>"), ("zh", "抓取程序", "等待。"))
        ]

        def write(out: Workspace) -> None:
            out.write_text("scores.json", json.dumps(scored))
            out.write_text("samples.json", json.dumps(written, ensure_ascii=False))

        self.add("evaluation/main", Outcome(digest="e"), write)

    def page(self, config: ReportInput = CONFIG, recipe_text: str = "name: tiny # <script>\n") -> tuple[str, Outcome]:
        folder = self.store.root / "page"
        folder.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(self.store, RECIPE)
        gathered, _ = self.store.build(
            "funnel",
            MadeFrom(config={"n": len(self.inputs)}, code={}, libraries={}, inputs=input_refs(self.inputs, {})),
            lambda out: make_funnel(FUNNEL, self.inputs, out, ledger=ledger),
        )
        inputs = {**self.inputs, "funnel": gathered}
        outcome = write_report(config, inputs, Workspace(folder), store=self.store, recipe_text=recipe_text)
        return (folder / "report.html").read_text(encoding="utf-8"), outcome


def documents() -> pa.Table:
    rows = [
        dict.fromkeys(records.DOCUMENT.names, "")
        | {
            "doc_id": d,
            "text": text,
            "lang": lang,
            "lang_score": 0.9,
            "url": url,
            "source": "site",
        }
        for d, (lang, text, url) in PAGES.items()
    ]
    return pa.Table.from_pylist(rows, schema=records.DOCUMENT)


def row(
    step: int, task: str, value: float, chance: float, stderr: float, higher: bool, attempt: int = 1
) -> dict[str, object]:
    where = {
        "run": "main",
        "step": step,
        "tokens": step * 2048,
        "checkpoint": f"{step:09d}",
        "identity": "i",
        "lang": task[-2:],
        "fingerprint": "f",
    }
    return where | {
        "task": task,
        "metric": "acc",
        "value": value,
        "stderr": stderr,
        "n": 100,
        "chance": chance,
        "higher_is_better": higher,
        "attempt": attempt,
    }


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    made = Tiny(tmp_path / "store")
    made.data()
    made.model()
    return made


def test_a_script_in_a_crawled_text_stays_text(tiny: Tiny) -> None:
    page, outcome = tiny.page()
    assert "&lt;script&gt;alert(&#39;taken over&#39;)&lt;/script&gt;" in page
    assert (
        "<script" not in page
        and "<img" not in page
        and "<i>not found" not in page
        and "<b>waits" not in page
        and "<b>x" not in page
    )
    assert not loads(page)
    assert [(c.name, c.passed) for c in outcome.checks] == [("self_contained", True)]


def test_a_crawled_javascript_address_is_no_link(tiny: Tiny) -> None:
    page, _ = tiny.page()
    assert "javascript:alert(2)" in page
    assert not re.search(r'href="javascript', page)


@pytest.mark.parametrize(
    "html",
    [
        "<script>1</script>",
        '<img src="http://a/b.png">',
        '<link rel="stylesheet" href="http://a/b.css">',
        "<style>@import 'http://a/b.css';</style>",
        "<style>p { background: url(http://a/b.png) }</style>",
        '<p style="background: url(//a/b.png)">',
        '<svg><image xlink:href="http://a/b.png"/></svg>',
        '<svg><use href="http://a/b.svg"/></svg>',
        '<p onclick="x()">',
        '<a href="javascript:x()">',
        '<iframe srcdoc="x">',
    ],
)
def test_whatever_a_browser_would_load_or_run_is_found(html: str) -> None:
    assert loads(html)


def test_links_data_pictures_and_anchors_are_not_loads() -> None:
    assert not loads(
        '<a href="http://a/b">x</a><a href="#y">y</a><img src="data:image/svg+xml;base64,AA=="><style>p { color: red'
        " }</style>"
    )


def test_every_table_and_figure_names_its_artifact_and_fingerprint(tiny: Tiny) -> None:
    page, _ = tiny.page()
    figures = re.findall(r"<figure.*?</figure>", page, re.S)
    named = re.compile(r"<code>([a-z_/]+) ([0-9a-f]{12})</code>")
    assert len(figures) > 15
    assert page.count("<table>") == sum("<table>" in f for f in figures)
    known = {(key, a.fingerprint[:12]) for key, a in tiny.inputs.items()}
    for figure in figures[:-1]:  # the last one is the table of all artifacts itself
        found = named.findall(figure)
        assert found and set(found) <= known, figure[:300]
    for key, artifact in tiny.inputs.items():
        assert key in figures[-1] and artifact.fingerprint[:12] in figures[-1]


def test_a_dropped_document_shows_its_value_its_threshold_and_its_twin(tiny: Tiny) -> None:
    page, _ = tiny.page()
    words = next(f for f in re.findall(r"<figure.*?</figure>", page, re.S) if "<code>min_words</code>" in f)
    assert "value 4 · threshold 50" in words and "site.example/two.html" in words
    near = next(f for f in re.findall(r"<figure.*?</figure>", page, re.S) if "<code>near_duplicate</code>" in f)
    assert "value 0.93 · threshold 0.844" in near
    assert near.index(PAGES["d4"][1][:20]) < near.index("stays instead") < near.index("http://site.example/三.html")


def test_examples_are_cut_at_the_asked_number_and_the_total_is_told(tmp_path: Path) -> None:
    made = Tiny(tmp_path)
    made.verdicts(
        "clean_docs/en",
        [Verdict(f"x{i}", "clean_docs/en", DROPPED, "min_words", float(i), 50.0, source="site") for i in range(5)],
    )
    page, _ = made.page()
    assert "clean_docs/en: 5 documents, the first 2 shown" in page
    assert page.count("threshold 50") == 2


def test_the_page_says_when_a_score_is_not_above_chance(tiny: Tiny) -> None:
    page, _ = tiny.page()
    assert "not distinguishable from guessing (1.5 standard errors)" in page
    assert "cloze_en is not distinguishable from chance." in page
    assert "lower is better: bits_per_byte_zh fell from 8 at step 0 to 4.5 at step 700." in page


@pytest.mark.parametrize(
    ("value", "stderr", "higher", "verdict", "words"),
    [
        (0.34, 0.04, True, "better", "better than guessing"),
        (0.16, 0.04, True, "worse", "worse than guessing"),
        (0.16, 0.04, False, "better", "better than guessing"),
        (0.32, 0.04, True, "same", "not distinguishable"),
        (0.9, None, True, "unknown", "no standard error is known"),
        (0.0, 0.0, True, "unknown", "the standard error is 0"),
    ],
)
def test_a_score_is_compared_with_chance_honestly(
    value: float, stderr: float | None, higher: bool, verdict: str, words: str
) -> None:
    told = against_chance(Score("t", "acc", 1, 1, value, stderr, 100, 0.25, higher, 1))
    assert told.verdict == verdict
    assert words in told.words


def test_a_metric_beside_the_main_one_is_shown_only_as_a_headline_and_never_judged(tmp_path: Path) -> None:
    made = Tiny(tmp_path)
    beside = row(0, "cloze_en", 0.9, 0.25, 0.01, True) | {"metric": "nats", "main": False, "headline": True}
    hidden = row(0, "cloze_en", 0.777, 0.25, 0.01, True) | {"metric": "hidden", "main": False, "headline": False}
    made.add(
        "evaluation/main",
        Outcome(digest="e"),
        lambda out: out.write_text(
            "scores.json", json.dumps([beside, hidden, row(0, "cloze_en", 0.26, 0.25, 0.04, True)])
        ),
    )
    page, _ = made.page()
    assert "<td>nats</td>" in page and "0.777" not in page
    assert "At the last checkpoint of run &#39;main&#39;: cloze_en is not distinguishable from chance." in page


def test_of_several_attempts_at_a_checkpoint_the_last_is_shown(tmp_path: Path) -> None:
    made = Tiny(tmp_path)
    attempts = [row(0, "cloze_en", 0.111, 0.25, 0.04, True, 1), row(0, "cloze_en", 0.222, 0.25, 0.04, True, 2)]
    made.add("evaluation/main", Outcome(digest="e"), lambda out: out.write_text("scores.json", json.dumps(attempts)))
    page, _ = made.page()
    assert "0.222" in page and "0.111" not in page


@pytest.mark.parametrize(
    "missing",
    [
        "near_dedup",
        "benchmark_items",
        "evaluation",
        "pretraining",
        "run_plan",
        "tokenizer",
        "matrix",
        "page_text",
        "clean_docs",
        "raw_crawl",
        "documents",
    ],
)
def test_a_missing_artifact_does_not_break_the_page(tiny: Tiny, missing: str) -> None:
    for key in [k for k in tiny.inputs if k.partition("/")[0] == missing]:
        del tiny.inputs[key]
    page, outcome = tiny.page()
    assert outcome.checks[0].passed
    assert page.count("<section ") == outcome.numbers["sections"] == 8


def test_a_factory_with_nothing_built_gives_a_page(tmp_path: Path) -> None:
    page, outcome = Tiny(tmp_path).page()
    assert outcome.checks[0].passed and "1 artifact" in page  # the funnel, which gathered nothing
    assert page.count("Nothing of this has been built.") == 7


def test_the_same_inputs_give_the_same_bytes_and_other_inputs_another_digest(tiny: Tiny) -> None:
    (first, one), (second, two) = tiny.page(), tiny.page()
    assert first == second and one.digest == two.digest
    del tiny.inputs["tokenizer"]
    assert tiny.page()[1].digest != one.digest


def test_a_failed_but_not_blocking_check_is_on_the_page(tiny: Tiny) -> None:
    page, _ = tiny.page()
    assert "lossless: 1 of 13 texts do not survive" in page


def second_phase(made: Tiny) -> None:
    """A run that goes on from the first one's weights, and what the comparison says of it."""
    plan = {"run": {"parent": {"run": "main"}, "model": {"layers": 2, "hidden": 64, "tied_embeddings": True}}}
    made.add("run_plan/decay", Outcome(digest="p2", numbers={"parameters": 2_100_000}), config=plan)
    metrics = pa.table({"step": [1, 2], "loss": [2.0, 1.5], "tokens": [1000, 2000], "lr": [0.1, 0.05]})
    made.add(
        "pretraining/decay",
        Outcome(digest="r2", numbers={"steps": 2, "trained_tokens": 2000}),
        lambda out: out.write("metrics.parquet", metrics),
    )
    scored = [row(2, "cloze_en", 0.33, 0.25, 0.04, True), row(2, "bits_per_byte_zh", 4.1, 8.0, 0.1, False)]
    written = [{"step": 2, "checkpoint": "0000002-ab", "lang": "en", "prompt": "The crawler", "continuation": "stops."}]

    def write(out: Workspace) -> None:
        out.write_text("scores.json", json.dumps([r | {"run": "decay", "tokens": 2000} for r in scored]))
        out.write_text("samples.json", json.dumps(written))

    made.add("evaluation/decay", Outcome(digest="e2"), write)
    told: dict[str, int | float | str | bool | None] = {
        "run": "decay", "task": "cloze_en", "against": "parent main@700", "then": 0.31, "now": 0.33, "difference": 0.02,
        "low": -0.01, "high": 0.05, "p": 0.4, "items": 100, "verdict": "no difference found",
    }  # fmt: skip
    best = told | {"against": "best main@350", "task": "never shown"}
    checks = [
        Check(name="sane", passed=True, detail="fine"),
        Check(name="no_regression", passed=False, detail="cloze_en fell", blocking=False),
        Check(name="better_than_parent", passed=False, detail="not enough", blocking=True),
    ]
    made.add("comparison", Outcome(digest="q", tables={"last checkpoints compared": [told, best]}, checks=checks))


def test_the_opening_says_what_was_made_how_it_went_and_what_it_writes(tiny: Tiny) -> None:
    second_phase(tiny)
    page, _ = tiny.page()
    opening = page[page.index("<header>") : page.index("</header>")]
    assert "<b>4.1</b> <span>bits per byte, Chinese</span> <small>main@700: 4.5</small>" in opening
    assert "<b>2</b> <span>documents to train on</span> <small>of 4 fetched</small>" in opening
    assert "<b>1 of 3</b> <span>gates pass</span>" in opening
    assert "main 700 steps; decay 2 steps from main; 1.44 million tokens in all" in opening
    gates = re.findall(r'<li class="(\w+)"><b>\w+</b> <code>(\w+)</code>', opening)
    assert gates == [("pass", "sane"), ("warning", "no_regression"), ("REFUSED", "better_than_parent")]
    written = [
        re.sub("<.*?>", "", text) for text in re.findall(r"<dt>(.*?</dt>.*?)</dd>", opening[opening.index("writes") :])
    ]
    assert written[:3] == ["main@0 &lt;b&gt;waits&lt;/b&gt;", "main@700 &lt;b&gt;waits&lt;/b&gt;", "decay@2stops."]
    comparison = tiny.inputs["comparison"]
    assert f'href="../../comparison/{comparison.fingerprint}/scores.html"' in opening


def test_a_forecast_stands_beside_what_came_of_it_and_a_recipe_without_a_series_says_nothing(tiny: Tiny) -> None:
    assert 'id="scaling"' not in tiny.page()[0]
    laws: list[dict[str, int | float | str | bool | None]] = [{"law": "neo", "fitted_r2": 0.99}]
    tiny.add("scaling_fit", Outcome(digest="f", tables={"laws": laws}))
    tiny.add("sealed_forecast", Outcome(digest="g", tables={"foretold": [{"tokens": 9, "loss": 4.125}]}))
    page, outcome = tiny.page()
    assert 'id="scaling"' in page and "its run has not ended" in page and "4.125" in page
    assert outcome.numbers["sections"] == 9
    check = Check(name="sealed_before_its_first_step", passed=True, detail="sealed 0.5 s before", blocking=False)
    lost = [{"tokens": 9, "foretold": 4.125, "reached": 4.25}]
    texts = [{"task": "bits_per_byte_en", "foretold": 1.375, "reached": 1.125}]
    tables = {"forecast and outcome": lost, "bits per byte": texts}
    tiny.add("forecast_outcome", Outcome(digest="h", tables=tables, checks=[check]))
    page, _ = tiny.page()
    assert "1.125" in page and "Bits per byte of held-out documents at its last checkpoint" in page
    assert "nats a token: sealed 0.5 s before." in page and "4.25" in page and "has not ended" not in page


def test_each_bar_of_the_openings_funnel_begins_with_what_the_one_before_left() -> None:
    chain = [Bar("fetched", 1000, 900), Bar("in parts", 900, 901), Bar("a", 901, 899), Bar("b", 899, 897)]
    chain += [Bar("same", 897, 897), Bar("rules", 897, 500), Bar("c", 500, 499), Bar("to train on", 499, 400)]
    joined = _joined(chain)
    assert [bar.label for bar in joined] == ["fetched", "in parts", "2 smaller steps", "rules", "c", "to train on"]
    assert all(bar.rows_in == before.kept for before, bar in pairwise(joined))
    assert sum(bar.dropped for bar in joined) == 1000 - 400 and joined[1].dropped == -1


def test_a_phase_begins_where_its_parent_ended_and_is_held_against_it(tiny: Tiny) -> None:
    second_phase(tiny)
    lines = {line.name: line for line in run_lines(tiny.inputs)}
    assert list(lines) == ["main", "decay"] and (lines["decay"].parent, lines["decay"].before) == ("main", 1_433_600)
    charts, _ = measured(list(lines.values()))
    loss = next(c for c in charts if str(c["title"]).startswith("loss"))
    xs = {name: [p["x"] for p in loss["data"]["values"] if p["name"] == name] for name in lines}
    assert xs["decay"] == [1_434_600, 1_435_600] and max(xs["main"]) == 1_433_600
    page, _ = tiny.page()
    assert "no difference found" in page and "never shown" not in page


def test_a_run_that_goes_on_from_itself_as_it_was_has_no_run_before_it(tiny: Tiny) -> None:
    parent = {"run": "main", "fingerprint": "ab" * 16, "step": 300, "take": "everything"}
    config = {"name": "main", "run": {"parent": parent, "steps": 700, "model": {"layers": 2, "hidden": 64}}}
    tiny.add("run_plan/main", Outcome(digest="p3", numbers={"parameters": 1}), config=config)
    assert [(line.name, line.parent, line.before) for line in run_lines(tiny.inputs)] == [("main", "", 0.0)]
    numbers: dict[str, int | float | str | bool | None] = {"tombstones": 2, "train_pool": 1, "heldout": 0}
    tiny.add("withdrawn", Outcome(digest="w", numbers=numbers))
    page, _ = tiny.page()
    assert "What was withdrawn" in page and "main@300" in page and "<td>400</td>" in re.sub(r"<td[^>]*>", "<td>", page)
    tiny.add(
        "withdrawn", Outcome(digest="w0", numbers=numbers | {"tombstones": 0, "train_pool": 0}), config={"none": 1}
    )
    assert "What was withdrawn" not in tiny.page()[0]


def test_a_branch_counts_on_from_what_its_parent_had_read(tiny: Tiny) -> None:
    second_phase(tiny)
    parent = {"run": "main", "fingerprint": "ab" * 16, "step": 300, "take": "everything"}
    tiny.add("run_plan/decay", Outcome(digest="p3"), config={"name": "decay", "run": {"parent": parent}})
    assert {line.name: line.before for line in run_lines(tiny.inputs)} == {"main": 0.0, "decay": 0.0}


def test_a_run_whose_parent_is_not_here_stands_alone(tiny: Tiny) -> None:
    second_phase(tiny)
    for key in [k for k in tiny.inputs if k.endswith("/main")]:
        del tiny.inputs[key]
    lines = run_lines(tiny.inputs)
    assert [(line.name, line.before) for line in lines] == [("decay", 0.0)]
    page, outcome = tiny.page()
    assert outcome.checks[0].passed and "<small>main@" not in page


def test_long_tables_and_examples_are_folded_and_what_has_no_data_is_one_line(tiny: Tiny) -> None:
    benchmarks: list[dict[str, int | float | str | bool | None]] = [
        {"benchmark": f"b{i}", "items": None if i else 9, "note": "data not here"} for i in range(9)
    ]
    tiny.add("benchmark_items", Outcome(digest="b", tables={"benchmarks": benchmarks}))
    page, _ = tiny.page()
    assert "so not asked: b1, b2, b3, b4, b5, b6, b7, b8." in page and "data not here" not in page
    for figure in re.findall(r"<figure.*?</figure>", page, re.S):
        assert figure.count("<tr>") <= LONG + 1 or "<details>" in figure
    folded = page[page.index('<details class="dropped">') :]
    assert folded.index("min_words") < folded.index("Corpus and mixture")


def test_a_changed_template_makes_another_page() -> None:
    assert CONFIG.template_digest != ReportInput(name="tiny", description="", template_digest="other").template_digest
    assert len(CONFIG.template_digest) == 32


@pytest.mark.parametrize(
    ("text", "shown"),
    [(" a b", " a b"), ("a\nb", "a↵\nb"), ("." + "\n" * 38, ".↵×38\n"), (" " * 40, "␣×40"), ("\n  x", "↵\n␣×2x")],
)
def test_white_space_of_a_sample_is_told_not_printed(text: str, shown: str) -> None:
    assert with_white_space_shown(text) == shown


def test_a_run_that_goes_on_from_itself_counts_the_steps_before_and_a_branch_its_own() -> None:
    def steps(parent: str, **numbers: int) -> float:
        trained = SimpleNamespace(manifest=SimpleNamespace(numbers=numbers))
        return _steps(cast("RunLine", SimpleNamespace(parent=parent, trained=trained)))

    assert steps("", steps=70, last_step=350) == 350
    assert steps("main", steps=70, last_step=350) == 70
    assert steps("", steps=70) == 70
