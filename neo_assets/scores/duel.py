"""`neo duel`: two models' answers to the same held-out prompts, judged pair by pair, side by side on a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from neo_assets.core.completion import CHECKPOINTS
from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.evaluation import CHAT, CHAT_TASKS
from neo_assets.core.store import Row, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.evaluate.by_hand import MODEL, SUITE, known_suites, scorer_of, subject_of
from neo_assets.scores.judges import ENDPOINT, OVERLAP, ByEndpoint, ByReward, ByTarget, Judge, Meeting, Said
from training.templates import Turn

TEMPLATE = Path(__file__).with_name("duel_page") / "duel.html.j2"
STYLE = TEMPLATE.with_name("duel.css")


def duel(
    a: Annotated[str, typer.Argument(help=MODEL, autocompletion=CHECKPOINTS)],
    b: Annotated[str, typer.Argument(help=MODEL, autocompletion=CHECKPOINTS)],
    judge: Annotated[
        str,
        typer.Option(
            help=f"{OVERLAP} (with the right answer), a run of a reward model, such a model's folder, or {ENDPOINT}"
            " (NEO_JUDGE_URL, NEO_JUDGE_MODEL, NEO_JUDGE_KEY)"
        ),
    ] = OVERLAP,
    suite: Annotated[list[str] | None, SUITE] = None,
    items: Annotated[int | None, typer.Option(min=1, help="prompts of each task, the first; all if left out")] = None,
    out: Annotated[Path, typer.Option(help="the page that is written; an endpoint's replies stand beside it")] = Path(
        "duel.html"
    ),
    as_json: bool = JSON,
) -> None:
    """How often the answers of B are better than those of A, by a judge, with the 95 % interval; both on one page.
    Missing answers are made first.
    """
    from neo_assets.pages.page import render

    recipe, store = load(), Store(store_root())
    known_suites(recipe, suite)
    suite = suite or [name for name in recipe.evaluation.suites if any(map(is_chat, recipe.asked([name])))]
    if not suite:
        raise BadInput(f"no suite of recipe '{recipe.name}' asks chat tasks ({CHAT}_‹lang›); docs/alignment.md")
    who = judge_named(judge, recipe, store, out)
    meetings = list(_meetings(recipe, store, a, b, suite, items, quiet=as_json))
    said = judged(who, meetings)
    rows = rates(meetings, said)
    show(rows, as_json)
    met = sorted(zip(meetings, said, strict=True), key=lambda pair: pair[1].better in (None, 0.5))  # what differs first
    values = {"a": a, "b": b, "judge": who.name, "rows": rows, "meetings": met}
    out.write_text(render(TEMPLATE, STYLE, values), encoding="utf-8", errors="replace")
    if not as_json:
        print(f"\n{b} against {a}, by {who.name}: a tie is half a win; from..to: 95 %, over prompts. Page: {out}")


def judge_named(name: str, recipe: Recipe, store: Store, out: Path) -> Judge:
    """Raises BadInput: there is no such judge, or it is not made yet."""
    if name == OVERLAP:
        return ByTarget()
    if name == ENDPOINT:
        return ByEndpoint.of_environment(out.with_suffix(".jsonl"))
    if name in recipe.runs and recipe.scored(name):
        return ByReward(name, store.head(recipe.name, f"reward_model/{name}").path)
    if Path(name).expanduser().is_dir():
        return ByReward(name, Path(name).expanduser())
    runs = ", ".join(run for run in recipe.runs if recipe.scored(run)) or "it has none"
    raise BadInput(
        f"there is no judge '{name}': {OVERLAP}, {ENDPOINT}, a run of the recipe that trains a reward model ({runs}),"
        " or the folder of one"
    )


def judged(judge: Judge, meetings: Sequence[Meeting]) -> list[Said]:
    """Of every meeting; the same answer twice is a tie, about which nobody is asked."""
    asked = iter(judge.says([m for m in meetings if m.a.strip() != m.b.strip()]))
    return [Said(0.5) if m.a.strip() == m.b.strip() else next(asked) for m in meetings]


def rates(meetings: Sequence[Meeting], said: Sequence[Said]) -> list[Row]:
    """A row a language, and one of all: B's wins, with an interval over prompts. Raises BadInput of no verdict."""
    from neo_assets.align.round_report import moved

    rows: list[Row] = []
    langs = sorted({m.lang for m in meetings})
    for lang in [*langs, *(["all"] if len(langs) > 1 else [])]:
        mine = [(m, s) for m, s in zip(meetings, said, strict=True) if lang in (m.lang, "all")]
        told = [(s, s.better) for _, s in mine if s.better is not None]
        if not told:
            raise BadInput(f"the judge said nothing of {lang}: none of {len(mine)} replies names an answer or a tie")
        found = moved([0.5] * len(told), [better for _, better in told])
        both = [s.same for s, _ in told if s.same is not None]
        rows.append(
            {
                "language": lang,
                "prompts": len(mine),
                "B wins": round(found.after, 4),
                "from": round(0.5 + found.low, 4),
                "to": round(0.5 + found.high, 4),
                "better": sum(better > 0.5 for _, better in told),
                "worse": sum(better < 0.5 for _, better in told),
                "tie": sum(better == 0.5 for _, better in told),
                "not said": len(mine) - len(told),
                "same in both orders": round(sum(both) / len(both), 4) if both else None,
            }
        )
    return rows


def _meetings(
    recipe: Recipe, store: Store, a: str, b: str, suite: list[str] | None, items: int | None, quiet: bool
) -> Iterator[Meeting]:
    """Of the chat tasks of the suites, in their order. Raises BadInput where no such task is asked."""
    from neo_assets.evaluate.index import read_answers
    from neo_assets.evaluate.score import score_rows

    scorer = scorer_of(recipe, store, suite, quiet=quiet)
    sides: list[dict[str, dict[str, dict[str, Any]]]] = []
    for model in (a, b):
        found, _ = scorer.scored(subject_of(model, recipe, store, quiet=quiet))
        rows = [r for r in score_rows(found, 1) if r["main"] and r["subset"] is None and is_chat(r["task"])]
        folders = {r["task"]: f"eval_scores/{r['run']}/{r['fingerprint']}/{r['task']}.items.jsonl" for r in rows}
        sides.append({task: read_answers(store, file) for task, file in folders.items()})
    if not sides[0].keys() & sides[1].keys():
        raise BadInput(f"no chat task is asked of both {a} and {b}: they are tasks {CHAT}_‹lang› of fine-tuned runs")
    tasks = store.head(recipe.name, CHAT_TASKS)
    for task in sorted(sides[0].keys() & sides[1].keys()):
        lines = tasks.file(f"{task}.jsonl").read_text(encoding="utf-8").split("\n")
        asked = {item["id"]: item for item in map(json.loads, filter(None, lines))}
        for key in [key for key in sides[0][task] if key in sides[1][task] and key in asked][:items]:
            item = asked[key]
            yield Meeting(
                key,
                item["lang"],
                [Turn(turn["role"], turn["text"]) for turn in item["turns"]],
                item["target"],
                sides[0][task][key]["written"],
                sides[1][task][key]["written"],
            )


def is_chat(task: str) -> bool:
    return task.startswith(f"{CHAT}_")
