"""How long the page of scores takes in a browser: ``python -m benchmarks.score_page [checkpoints] [tasks]``.

The scores are made up: curves that rise from chance, two runs, a task that changed half-way, four generations a
checkpoint. Chromium is the system's; each view is timed from the key press (or the navigation) to the browser's own
mark that it is drawn.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright

from neo_assets.scores.score_page import Comparator, Gate, Generation, ScorePage, ScoreRow, write_page

PROMPTS = [
    ("en", "The crawler fetched a page and"),
    ("en", "To boil an egg, first"),
    ("zh", "抓取程序取回一个网页，"),
    ("zh", "春天来了，"),
]
WORDS = {
    "en": ["the page", "was kept", "and counted", "by the model", "which waits", "for one more"],
    "zh": ["网页", "留下了", "程序", "等待着", "下一个", "词语"],
}
SUITES = {"en": "English", "zh": "中文", "mul": "translation"}


@contextmanager
def chromium(program: str | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Browser]:
    """A Chromium: ``program``, or the system's. Raises ``RuntimeError`` where there is none."""
    program = program or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise RuntimeError("no chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"], env={**os.environ, **(environment or {})}
        )
        try:
            yield browser
        finally:
            browser.close()


def identity(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def synthetic(checkpoints: int, tasks: int) -> ScorePage:
    """A page with ``checkpoints`` × ``tasks`` scores."""
    generator = random.Random(0)
    shares = {"main": checkpoints - checkpoints // 4, "annealed": checkpoints // 4}
    at = [(run, 500 * (i + 1), i) for run, count in shares.items() for i in range(count)]
    rows: list[ScoreRow] = []
    names = [(f"task_{t:02}_{lang}", lang) for t in range(tasks) for lang in [("en", "zh", "en", "zh", "mul")[t % 5]]]
    for t, (task, lang) in enumerate(names):
        lower = t % 7 == 3
        chance, n, shots = (
            (0.25, 0.5, 0.0)[t % 3],
            generator.choice([200, 500, 1000, 14042]),
            generator.choice([0, 3, 5]),
        )
        gain, pace = generator.uniform(0.05, 0.4), generator.uniform(0.2, 1.0)
        changes = t % 4 == 1
        for run, step, i in at:
            share = i / max(1, shares["main"] - 1)
            value = (
                chance + gain * (1 - math.exp(-3 * share / pace))
                if not lower
                else 4 - 2.5 * (1 - math.exp(-3 * share / pace))
            )
            stderr = math.sqrt(0.25 / n) if not lower else 0.03
            old = changes and share < 0.5
            rows.append(
                ScoreRow(
                    run=run,
                    step=step,
                    tokens=step * 2_097_152,
                    checkpoint=f"{run}/{step:09d}",
                    task=task,
                    lang=lang,
                    metric="bits per byte" if lower else "acc",
                    value=value + generator.gauss(0, stderr / 2) + (0.05 if old else 0),
                    stderr=stderr,
                    n=n,
                    shots=shots,
                    requests=4 * n,
                    cut=0,
                    identity=identity(task, old),
                    current=not old,
                    chance=None if lower else chance,
                    higher_is_better=not lower,
                    attempt=1,
                    subset=None,
                    detectable=2.8 * stderr,
                    main=True,
                )
            )
    suites: dict[str, list[str]] = {}
    for task, lang in names:
        suites.setdefault(SUITES[lang], []).append(task)
    return ScorePage(
        title="Scores of a synthetic factory",
        description="Made-up scores, to see how the page looks and how long it takes.",
        rows=rows,
        suites=suites,
        comparators=[
            Comparator(model=model, task=task, value=value, provenance="printed", harness="other harness")
            for task, _ in names[:3]
            for model, value in (("Neo 7B", 0.61), ("Olmo 1B", 0.43), ("Pythia 1B", 0.41))
        ],
        generations=[
            Generation(
                run=run,
                step=step,
                checkpoint=f"{run}/{step:09d}",
                lang=lang,
                prompt=prompt,
                continuation=_written(lang, generator),
                traced="",
            )
            for run, step, _ in at
            for lang, prompt in PROMPTS
        ],
        gates=[
            Gate(
                name="better than chance",
                run="main",
                passed=True,
                blocking=True,
                detail="17 of 20 headline scores are more than two standard errors above chance",
            ),
            Gate(
                name="no task fell",
                run="annealed",
                passed=False,
                blocking=True,
                detail="task_04_mul fell by 0.06, three times its detectable difference",
            ),
            Gate(
                name="Chinese keeps up",
                run="main",
                passed=False,
                blocking=False,
                detail="mean of Chinese tasks is 0.02 below that of the last checkpoint",
            ),
        ],
        absent=[{"task": "gsm8k", "message": "data not here: put it at data/benchmarks/gsm8k/test.jsonl"}],
    )


def _written(lang: str, generator: random.Random) -> str:
    gap = "" if lang == "zh" else " "
    return gap + gap.join(generator.choices(WORDS[lang], k=30 if lang == "zh" else 24))


# ------------------------------------------------------------------ timing


def drawn(page: Page, section: str) -> None:
    page.wait_for_selector(f"#{section}[aria-busy=false]", state="attached")


def after(page: Page, change: str, section: str) -> float:
    """Milliseconds from running ``change`` in the page until ``section`` is drawn and painted."""
    return float(
        page.evaluate(
            """([change, id]) => new Promise((done) => {
              const section = document.getElementById(id), began = performance.now();
              new Function(change)();
              const painted = () => setTimeout(() => done(performance.now() - began));
              const drawn = () => section.getAttribute("aria-busy") === "false";
              const look = () => drawn() ? requestAnimationFrame(painted) : setTimeout(look, 1);
              look();
            })""",
            [change, section],
        )
    )


def choose(name: str, value: str) -> str:
    return (
        f"const f = document.getElementById('filters').elements['{name}']; f.type === 'checkbox' ? f.checked ="
        f" {value!r} === 'on' : f.value = {value!r}; f.dispatchEvent(new Event('change', {{bubbles: true}}))"
    )


def times(browser: Browser, file: Path) -> dict[str, float]:
    """Milliseconds of each view, in a new window of 1280 × 900."""
    page = browser.new_page(
        viewport={"width": 1280, "height": 900}, bypass_csp=True
    )  # what measures is not among the page's own scripts
    page.goto(file.as_uri())
    drawn(page, "curves")
    taken: dict[str, float] = page.evaluate(
        "({'text painted': performance.getEntriesByName('first-contentful-paint')[0].startTime, 'first curve':"
        " performance.getEntriesByName('first curve')[0].startTime, 'all curves on the screen':"
        " performance.getEntriesByName('curves drawn')[0].startTime})"
    )
    taken["filter: language"] = after(page, choose("lang", "zh"), "curves")
    taken["filter: all again"] = after(page, choose("lang", ""), "curves")
    taken["heat map"] = after(page, "document.getElementById('matrix').scrollIntoView()", "matrix")
    taken["heat map, every checkpoint"] = after(page, choose("all", "on"), "matrix")
    taken["newest scores"] = after(page, "document.getElementById('newest').scrollIntoView()", "newest")
    taken["generations"] = after(page, "document.getElementById('generations').scrollIntoView()", "generations")
    page.close()
    return taken


def main(checkpoints: int = 1000, tasks: int = 20, passes: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder, "page.html")
        page = synthetic(checkpoints, tasks)
        write_page(page, file)
        print(
            f"{checkpoints:,} checkpoints, {tasks} tasks: {len(page.rows):,} scores, {len(page.generations):,}"
            f" generations, {file.stat().st_size / 1e6:.1f} MB"
        )
        found = [times(browser, file) for _ in range(passes)]
        print(f"milliseconds, median (least to most) of {passes} windows, Chromium {browser.version}")
        for name in found[0]:
            each = [t[name] for t in found]
            print(f"  {name:<32}{median(each):8,.0f}   ({min(each):,.0f} to {max(each):,.0f})")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
