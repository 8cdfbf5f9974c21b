"""`neo summary`: the scores of a recipe's build, what its gates said, and where its report is."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.scalars import whole
from neo_assets.core.store import Check, Scalar, Store
from neo_assets.core.terminal import JSON, program, show
from neo_assets.core.words import age, at
from neo_assets.house.answers import by_kind, told
from neo_assets.house.heads import current_heads
from neo_assets.report.rounds import rounds_table
from neo_assets.scaling.readings import TEXTS
from neo_assets.scores.gates import verdict_in_words

WHAT_TO_DO = {
    "no_regression": "Item by item that is no chance: look at its loss and rate in the report before it is used.",
    "better_than_parent": "That phase is not worth its time as it is: try a lower rate, more steps or other text.",
    "languages_in_step": "One language falls behind the other: give it more rounds in the mixture.",
    "no_contamination": "Compare such scores by their clean part, which stands beside the whole on the page of scores.",
    "guessing_is_chance": "Compare scores of that task with each other, and not with guessing.",
    "little_forgotten": "Replay more of the text before, at a lower rate or for fewer steps.",
    "answers_well": "Read its answers on the page of scores; more conversations, or more rounds of them, are needed.",
    "sane": "Read what it writes, above and on the page of scores, before any of its scores.",
}
"""What a gate that refuses, or warns, means for whoever reads it."""
OUTCOME = "forecast_outcome"
WIDEST = 110
"""Characters of a continuation that are printed."""


def summary(as_json: bool = JSON, since: Annotated[float, typer.Option(hidden=True)] = 0.0) -> None:
    """The scores of this recipe's build, and where its report is."""
    recipe = load()
    store = Store(store_root())
    rows, waiting, asked = [], [], []
    last: list[dict[str, Any]] = []
    newest = ""
    for run in recipe.writing:
        if store.head_pointer(recipe.name, f"evaluation/{run}") is None:
            waiting.append(run)
            continue
        scores = json.loads(
            store.head(recipe.name, f"evaluation/{run}").file("scores.json").read_text(encoding="utf-8")
        )
        asked += [r for r in scores if r["main"] and not r["subset"]]
        if recipe.tuned(run):
            last, newest = scores, at(run, scores[-1]["checkpoint"])
        rows += [
            {
                "run": run,
                "step": r["step"],
                "task": r["task"],
                "metric": r["metric"],
                "value": r["value"],
                "stderr": r["stderr"],
                "n": r["n"],
                "chance": r["chance"],
            }
            for r in scores
            if r["headline"]
        ]
    if as_json:
        print(json.dumps(_whole(recipe, store, rows, waiting), ensure_ascii=False, indent=1))
        return
    if _foretold(recipe, store) and waiting == list(recipe.writing):
        print(f"No tasks were asked yet ({', '.join(waiting)}): the job 'factory' does that.")
        return
    if waiting == list(recipe.writing):
        store.head(recipe.name, f"evaluation/{waiting[0]}")  # says what to do
    _written(recipe, store)
    for line in told(recipe, store):
        print(line)
    show(_by_checkpoint(asked), as_json=False, title="\nScores")
    for line in by_kind(last, newest):
        print(line)
    if waiting:
        print(f"not evaluated yet: {', '.join(waiting)}")
    _figures(recipe, store)
    heads = {n: a for n, p in current_heads(recipe, store).items() if "@" not in n and (a := store.find(*p))}
    if rounds := rounds_table(heads):
        show(rounds, as_json=False, title="\nRounds of preferences")
    if (pointer := store.head_pointer(recipe.name, "comparison")) and (comparison := store.find(*pointer)):
        print()
        for check in comparison.verdict:
            print(f"{verdict_in_words(check):8} {_said(check)}")
        print(f"Scores, curves, what was written, every gate's reasons in full: {comparison.file('scores.html')}")
        store.head(recipe.name, "comparison")  # a refused one ends it here
    if store.head_pointer(recipe.name, "factory_report") is None:
        print("\nThere is no report yet: the job 'factory' makes it.")
        return
    report = store.head(recipe.name, "factory_report").file("report.html")
    fresh = [a for a in heads.values() if (a.folder / "manifest.json").stat().st_mtime >= since]
    if since:
        print(
            f"\n{len(fresh)} of {len(heads)} artifacts were made now, {len(heads) - len(fresh)} were reused."
            + ("" if fresh else " Nothing was recomputed.")
        )
    neo = program("neo")
    print(f"\nReport: {report}\nWeb UI: {neo} ui")
    if tuned := [run for run in recipe.writing if recipe.tuned(run) and run not in waiting]:
        print(f"Talk with it: NEO_RECIPE={recipe.name} {neo} chat {tuned[-1]}@last   (--serve 8000: in a browser)")
    if url := _a_page(recipe, store):
        print(f"The story of one page: {neo} fate {url}")


def _foretold(recipe: Recipe, store: Store) -> bool:
    """Laws of the recipe's series, and its forecast beside what came of it; whether there is anything to tell."""
    made = {name: store.find(*p) for name, p in store.heads(recipe.name).items() if name in ("scaling_fit", OUTCOME)}
    if recipe.scaling is None or (fitted := made.get("scaling_fit")) is None:
        return False
    wanted = ("law", "N is", "fitted_r2", "held_out_huber", "held_out_r2", "held_out_largest_error", "not identified")
    rows = [{name: row.get(name) for name in wanted} for row in fitted.manifest.tables.get("laws", [])]
    show(rows, as_json=False, title="Laws of the loss")
    if (came := made.get(OUTCOME)) is not None:
        rows = came.manifest.tables.get("forecast and outcome", [])
        show(rows, as_json=False, title=f"\nLoss of '{recipe.scaling.target}', foretold and reached")
        if texts := came.manifest.tables.get(TEXTS):
            show(texts, as_json=False, title=f"\nBits per byte of '{recipe.scaling.target}', foretold and reached")
        for check in came.verdict:
            print(f"{verdict_in_words(check):8} {check.name}: {check.detail}")
    from neo_assets.build import stages  # every room, which other recipes' summaries need not wait for
    from neo_assets.house.status import FOUND, MADE, states

    for state in states(recipe, store, stages(recipe)):
        if state.name in made and state.state not in (MADE, FOUND):
            why = f"{state.name} is {state.state} ({state.because})"
            print(f"{why}: these numbers are of the one that is there.")
    print()
    return True


def _a_page(recipe: Recipe, store: Store) -> str | None:
    """The first by address of the pages that near-duplicate removal dropped, as those have most to tell; or of all."""
    from resources.ledger import Ledger

    ledger = Ledger(store, recipe.name, recipe.makes)
    found = ledger.rows(
        "select url from verdicts join fetched using (doc_id) where url <> ''"
        " order by starts_with(verdicts.stage, 'near_dedup/') and verdict = 'dropped' desc, url limit 1"
    )
    return str(found[0]["url"]) if found else None


def _whole(recipe: Recipe, store: Store, rows: list[dict[str, Any]], waiting: list[str]) -> dict[str, Any]:
    """All that there is to say, for programs: scores, gates, what was written, and every artifact of the build. A
    report or comparison that a gate refused is among them.
    """
    made = {n: store.find(*p) for n, p in current_heads(recipe, store).items() if "@" not in n}
    comparison, report = made.get("comparison"), made.get("factory_report")
    return {
        "recipe": recipe.name,
        "scores": rows,
        "not_evaluated": waiting,
        "gates": [c.model_dump() for c in comparison.verdict] if comparison else [],
        "written": [
            {"lang": lang, "prompt": prompt, "checkpoint": checkpoint, "continuation": text}
            for (lang, prompt), said in _samples(recipe, store).items()
            for checkpoint, text in said
        ],
        "artifacts": [
            {"name": n, "key": a.key, "fingerprint": a.fingerprint, "seconds": a.manifest.seconds}
            | {"cpu_seconds": a.manifest.cpu_seconds}
            | {"rows": a.manifest.rows_kept, "refused_by": [c.name for c in a.refused_by]}
            for n, a in made.items()
            if a
        ],
        "report": str(report.file("report.html")) if report else None,
        "scores_page": str(comparison.file("scores.html")) if comparison else None,
    }


def _samples(recipe: Recipe, store: Store) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """What the evaluated checkpoints write: (checkpoint, continuation) by (language, prompt)."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for run in recipe.writing:
        if store.head_pointer(recipe.name, f"evaluation/{run}") is not None:
            file = store.head(recipe.name, f"evaluation/{run}").file("samples.json")
            for row in json.loads(file.read_text(encoding="utf-8")):
                said = (at(run, row["checkpoint"]), row["continuation"])
                found.setdefault((row["lang"], row["prompt"]), []).append(said)
    return found


def _written(recipe: Recipe, store: Store) -> None:
    """What the evaluated checkpoints write after one prompt of each language, one below the other."""
    found = {
        prompt: [(name, " ".join(text.split())) for name, text in said]
        for prompt, said in _samples(recipe, store).items()
    }
    shown = [(prompt, said) for lang in recipe.languages for prompt, said in _first(found, lang)]
    if shown:
        print("\nWhat it writes")
    width = max((len(name) for _, said in shown for name, _ in said), default=0)
    for prompt, texts in shown:
        print(f"  {prompt}")
        for name, text in texts:
            print(f"    {name:{width}}  {text[:WIDEST] + ' …' * (len(text) > WIDEST) or '(white space only)'}")


def _first(found: dict[tuple[str, str], list[tuple[str, str]]], lang: str) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(prompt, said) for (of, prompt), said in found.items() if of == lang][:1]


def _by_checkpoint(asked: list[dict[str, Any]]) -> list[dict[str, object]]:
    """A row a task, a column a checkpoint."""
    names = list(dict.fromkeys(at(r["run"], r["checkpoint"]) for r in asked))
    out: dict[str, dict[str, object]] = {}
    for r in asked:
        row = out.setdefault(r["task"], {"task": r["task"], **dict.fromkeys(names), "±": None, "guessing": r["chance"]})
        row[at(r["run"], r["checkpoint"])] = r["value"]
        row["±"] = r["stderr"]
    return list(out.values())


def _figures(recipe: Recipe, store: Store) -> None:
    """What it was made from and what it took."""

    def of(name: str) -> dict[str, Scalar]:
        pointer = store.head_pointer(recipe.name, name)
        made = store.find(*pointer) if pointer else None
        return made.manifest.numbers if made else {}

    def number(name: str, what: str) -> int:
        return whole(of(name).get(what) or 0)

    pages = sum(number(f"raw_crawl/{name}", "pages") for name in recipe.sources)
    trained = [of(recipe.trained(run)) for run in recipe.runs if not recipe.of_pairs(run)]
    tokens = sum(whole(t.get("trained_tokens") or 0) for t in trained)
    if not tokens:
        return
    rates = [(whole(t["trained_tokens"]), float(str(t["median_tokens_per_s"]))) for t in trained if t]
    print(
        f"\n{pages:,} pages fetched; {number('matrix', 'documents'):,} documents,"
        f" {number('matrix', 'bytes') / 1e6:.1f} MB, left by cleaning;"
        f" {number(f'run_plan/{next(iter(recipe.runs))}', 'parameters'):,} parameters; {tokens:,} tokens trained on, in"
        f" {age(sum(count / rate for count, rate in rates if rate))}."
    )


def _said(check: Check) -> str:
    """A gate's verdict in whole sentences: its first reason, how many there are, and what that means."""
    if check.passed:
        return f"{check.name}: {check.detail}"
    first, *more = check.detail.split("; ")
    others = f" (and {len(more)} more)" if more else ""
    return f"{check.name}: {first}{others}. {WHAT_TO_DO.get(check.name, '')}".rstrip()
