"""`neo compare-runs`: runs of this recipe and of others on one page: loss, rate and gradient norm over tokens, scores,
and what was different.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core import records
from neo_assets.core.completion import RUNS
from neo_assets.core.errors import BadInput, MissingUpstream, did_you_mean
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.scalars import is_number
from neo_assets.core.store import Artifact, Row, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.trainings import names_of, trained_run

TEMPLATE, STYLE = Path(__file__).with_name("runs.html.j2"), Path(__file__).with_name("artifact.css")


@dataclass(frozen=True)
class Compared:
    """A finished run: its recipe, its training, what it is called on the page, and its scores where there are any."""

    recipe: str
    run: str
    called: str
    trained: Artifact
    evaluated: Artifact | None


def compare_runs(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="[RECIPE:]RUN...", help="runs that have ended: main, other_recipe:main", autocompletion=RUNS
        ),
    ],
    out: Annotated[Path, typer.Option(help="the page that is written")] = Path("runs.html"),
    as_json: bool = JSON,
) -> None:
    """Runs of this recipe and of others on one page: loss, learning rate, gradient norm and scores over tokens, and
    every setting in which they differ.
    """
    from neo_assets.pages.charts import drawing
    from neo_assets.pages.page import render
    from neo_assets.report.run_lines import RunLine, measured

    store = Store(store_root())
    found = [_found(store, load().name, name) for name in dict.fromkeys(runs)]
    rows, differ = [_row(c) for c in found], differences(found)
    if as_json:
        told = [{n: values[c.called] for n, values in differ.items()} for c in found]
        show([{**row, "differs": own} for row, own in zip(rows, told, strict=True)], as_json=True)
        return
    charts, block = measured([RunLine(c.called, "", 0.0, c.trained) for c in found])
    values = {
        "runs": rows,
        "columns": list(rows[0]),
        "differ": differ,
        "names": [c.called for c in found],
        "charts": [drawing(chart) for chart in [*charts, *_scores(found)]],
        "block": block,
    }
    records.write_text(out, render(TEMPLATE, STYLE, values))
    show(rows, as_json=False)
    if differ:
        print()
        show([{"setting": name, **values} for name, values in differ.items()], as_json=False)
    print(f"\nPage: {out.resolve()}")


def _found(store: Store, mine: str, name: str) -> Compared:
    recipe, _, run = name.rpartition(":")
    recipe = recipe or mine
    if recipe not in store.recipes():
        raise BadInput(f"this store holds no build of a recipe '{recipe}'.{did_you_mean(recipe, store.recipes())}")
    heads = store.heads(recipe)
    pointer = next((heads[name] for name in names_of(run) if name in heads), None)
    made = store.find(*pointer) if pointer else None
    if made is None:
        known = [known for name in heads if (known := trained_run(name))]
        raise MissingUpstream(
            f"recipe '{recipe}' has no run '{run}' that has ended; it has {', '.join(known) or 'none'}"
        )
    scored = heads.get(f"evaluation/{run}")
    called = run if recipe == mine else f"{recipe}:{run}"
    return Compared(recipe, run, called, made, store.find(*scored) if scored else None)


def _row(one: Compared) -> Row:
    numbers = one.trained.manifest.numbers
    shown = ("steps", "trained_tokens", "last_tenth_loss", "median_tokens_per_s")
    return {"run": one.called, "recipe": one.recipe, **{name: numbers.get(name) for name in shown}} | {
        "fingerprint": one.trained.fingerprint[:12]
    }


def differences(found: Sequence[Compared]) -> dict[str, dict[str, str]]:
    """Settings, and inputs, that are not alike in all of these runs: by name, what each run has."""
    flat = {c.called: dict(_flat(c.trained.manifest.made_from.config)) for c in found}
    for c in found:
        made_from = c.trained.manifest.made_from
        flat[c.called] |= {f"input {name}": ref.digest[:12] for name, ref in made_from.inputs.items()}
        flat[c.called] |= {f"library {name}": version for name, version in made_from.libraries.items()}
        flat[c.called]["code"] = made_from.code_version[:12] if len({*map(_code, found)}) > 1 else ""
    names = sorted({name for settings in flat.values() for name in settings})
    told = {name: {run: settings.get(name, "–") for run, settings in flat.items()} for name in names}
    return {name: values for name, values in told.items() if len(set(values.values())) > 1 and name != "name"}


def _code(one: Compared) -> str:
    return str(sorted(one.trained.manifest.made_from.code.items()))


def _flat(value: object, before: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair for name, inner in value.items() for pair in _flat(inner, f"{before}.{name}" if before else str(name))
        ]
    return [(before, "–" if value is None else str(value))]


def _scores(found: Sequence[Compared]) -> list[Mapping[str, object]]:
    """A chart for each task that two of the runs were asked, on its main metric."""
    from neo_assets.pages.charts import Line, Point, curves
    from neo_assets.report.run_lines import SMALL
    from neo_assets.report.scores import read_scores

    drawn: dict[tuple[str, str], list[Line]] = {}
    for one in found:
        for key, rows in read_scores(one.evaluated).items() if one.evaluated else ():
            if rows[-1].main and is_number(rows[-1].value):
                points = [Point(r.tokens, r.value, r.stderr) for r in rows]
                drawn.setdefault(key, []).append(Line(points, one.called))
    return [
        curves(task, lines, "tokens trained on", subtitle=metric, marks=True, size=SMALL)
        for (task, metric), lines in drawn.items()
        if len(lines) > 1
    ]
