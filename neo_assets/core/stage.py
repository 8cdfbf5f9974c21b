"""What a stage says of itself: told once, beside its code, and read by everybody else.

A :class:`Stage` is one artifact: its name, what it is made of, what makes it, what is checked of it and what that
claims. The asset graph, the ledger's order, the funnel, the report, ``neo plan`` and ``neo why`` are derived from it.
Each room tells its own in ``assets.py``; ``neo_assets/build.py`` puts them in the order of the story.

A cleaning step of a language is told in its own file, which is called what the recipe calls the step:
``steps: {en: [..., my_step]}`` is ``neo_assets/quality/my_step.py`` (or ``clean/``, ``dedup/``), with a ``STEP`` in it.
What ``STEP`` says is no part of the module's identity (``syntax.py``): a claim in better words makes nothing stale.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel

from neo_assets.core.code import code_of, code_reachable_from, libraries_reachable_from
from neo_assets.core.fingerprint import code_version
from neo_assets.core.recipe.base import Section, identity
from neo_assets.core.recipe.steps import CLEANING_ROOMS, module_of_step
from neo_assets.core.store import Artifact, MadeFrom, Outcome, input_refs

if TYPE_CHECKING:
    from neo_assets.core.recipe import Recipe

C = TypeVar("C", bound=BaseModel)
S = TypeVar("S")


@dataclass(frozen=True)
class Need:
    """A module that is installed with an extra of this package, not with the package itself."""

    module: str
    extra: str

    @property
    def here(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


@dataclass(frozen=True)
class Claim:
    """A check that a stage makes of what it made: its name, and what it claims where it passes, in one sentence."""

    name: str
    says: str
    blocking: bool = True

    def only_warns(self, warns: bool = True) -> Claim:
        """The same claim; where it does not hold, people are told, and nothing stops."""
        return replace(self, blocking=not warns)


ROWS_BALANCE = Claim("rows_balance", "Every document that came in was kept or dropped, with a verdict.")
LANGUAGE_NOT_EMPTY = Claim("language_not_empty", "Something is left in every language.")


@dataclass(frozen=True)
class Stage(Generic[C]):
    """One artifact: what it is made from, as far as it is known when definitions load, and what is said of it.

    ``run`` is a plain function ``(config, inputs, out) -> Outcome``; its docstring is what people read of the asset.
    """

    name: str
    run: Callable[..., Outcome]
    config: C
    reads: Sequence[str] = ()
    kinds: Sequence[str] = ("parquet",)
    claims: Sequence[Claim] = ()
    label: str = ""
    """What is true of the documents it leaves, in a few words; the funnel's name for it. Empty: no part of a funnel."""
    divides: bool = False  # "dropped" means: on the other side of a split, or not needed
    parts: Mapping[str, str] = field(default_factory=dict)  # input name -> the part of it that counts
    programs: Sequence[str] = ()  # of the job that makes it
    modules: Sequence[str] = ()  # that it runs besides those it imports: files that the recipe names
    found: Sequence[str] = ()  # fields of the config that are only known when it is made
    after: Sequence[str] = ()  # what has to be there first, though it is not read
    resources: Sequence[str] = ()  # Dagster resources that making it needs
    pool: str | None = None  # concurrency pool that an instance may limit
    needs: Sequence[Need] = ()  # what it imports only while it works; `neo plan` says what of it is not installed
    room: str = ""  # the package that tells it; filled in by build.py
    shown_in: str = ""  # the room whose group of the asset graph it stands in, where that is another

    @property
    def kind(self) -> str:
        """The name without the source, language, phase or run: 'near_dedup' of 'near_dedup/en'."""
        return self.name.partition("/")[0]

    @property
    def code(self) -> dict[str, str]:
        # A job's artifact is made by the program; a change in the code that watches it must not cost a training run.
        # What such a stage makes of the job's files itself is named by it, and counts.
        if self.programs:
            return {**code_reachable_from([*self.programs, *self.modules]), "stage": self.kind}
        return {**code_reachable_from(self.modules), **code_of(self.run)}

    @property
    def libraries(self) -> dict[str, str]:
        return libraries_reachable_from([*(self.programs or [self.run.__module__]), *self.modules])

    @property
    def version(self) -> str:
        return code_version(identity(self.config), self.code, self.libraries)

    def made_from(self, inputs: Mapping[str, Artifact]) -> MadeFrom:
        return MadeFrom(
            config=identity(self.config),
            code=self.code,
            libraries=self.libraries,
            inputs=input_refs(inputs, self.parts),
        )

    def expected(self, made: MadeFrom, inputs: Mapping[str, Artifact]) -> MadeFrom:
        """What ``made`` would be made from now, if what is only found while making it were as it was then."""
        now = self.made_from(inputs)
        as_then = {name: made.config[name] for name in self.found if name in made.config}
        return now.model_copy(update={"config": now.config | as_then})


# ------------------------------------------------------------------ cleaning steps


class StepInput(Section, Generic[S]):
    """What a cleaning step takes: its language, and its settings in the recipe."""

    lang: str
    settings: S


@dataclass(frozen=True)
class Step:
    """A cleaning step: what it leaves, and the function that makes it, by the kind of its settings where it has
    several.

    ``run`` takes a ``StepInput`` with the settings, the artifact that the step before left (and whatever ``reads``
    names), and a workspace. ``settings`` is the section that the recipe's line is checked against; the steps that are
    shipped leave it out and have a section in the recipe.
    """

    label: str
    run: Callable[..., Outcome] | Mapping[type[object], Callable[..., Outcome]]
    settings: type[Section] | None = None
    reads: Sequence[str] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    """Besides the two that every step makes: rows balance, and something is left."""
    needs: Sequence[Need] = ()

    def stage(self, recipe: Recipe, name: str, lang: str) -> Stage[StepInput[object]]:
        """The step's artifact in one language."""
        settings = recipe.settings_of(name, lang)
        if self.settings is not None:
            settings = self.settings.model_validate(settings or {})
        return Stage(
            f"{name}/{lang}",
            self.run[type(settings)] if isinstance(self.run, Mapping) else self.run,
            StepInput(lang=lang, settings=settings),
            reads=[recipe.before(name, lang), *self.reads],
            claims=[ROWS_BALANCE, LANGUAGE_NOT_EMPTY, *self.claims],
            label=self.label,
            parts=self.parts,
            needs=self.needs,
            room=str(module_of_step(name)).split(".")[1],
        )


def step_named(name: str) -> Step:
    """The step that the file of this name tells. Raises ModuleNotFoundError."""
    module = module_of_step(name)
    if module is None:
        raise ModuleNotFoundError(f"no file {name}.py in {', '.join(CLEANING_ROOMS)}")
    step: Step = importlib.import_module(module).STEP
    return step


def steps(recipe: Recipe) -> Iterator[Stage[StepInput[object]]]:
    """Cleaning steps of all languages after the rules, in the order the recipe lists them."""
    for lang in recipe.languages:
        for name in recipe.steps[lang][1:]:
            yield step_named(name).stage(recipe, name, lang)


# ------------------------------------------------------------------ other kinds that are a file of their own


@dataclass(frozen=True)
class SourceKind:
    """A kind of source: ``SOURCE = SourceKind(MySource, read)`` in ``neo_assets/crawl/‹kind›.py``.

    ``settings``: a :class:`~neo_assets.core.recipe.data.SourceSection` with a literal ``kind`` and ``paths``. ``read``
    is a stage function: a source's section, its catalogue, a workspace.
    """

    settings: type[Section]
    read: Callable[..., Outcome]


@dataclass(frozen=True)
class BenchmarkKind:
    """A kind of benchmark: ``BENCHMARK = BenchmarkKind(Mine, build)`` in ``neo_assets/tasks/benchmarks/‹kind›.py``.

    ``settings``: a :class:`~neo_assets.core.recipe.evaluation.BenchmarkSection` with a literal ``kind``. ``build``
    takes the benchmark's name, its section, the file or folder of its data, and a workspace; it gives a ``Built``.
    """

    settings: type[Section]
    build: Callable[..., object]
