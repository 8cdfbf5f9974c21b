"""The whole recipe: its sections, and what they must agree on with each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from pydantic import Field, PrivateAttr, model_validator

from neo_assets.core.errors import did_you_mean
from neo_assets.core.recipe.align import Align, Dpo, Generated, Guards, PairStage, Sft
from neo_assets.core.recipe.base import Lang, Name, Named, Section
from neo_assets.core.recipe.data import (
    Clean,
    Convert,
    Decontamination,
    Documents,
    Extract,
    HighQuality,
    LineDedup,
    Mixture,
    NearDedup,
    PersonalData,
    Split,
    SubstringDedup,
)
from neo_assets.core.recipe.evaluation import BITS_PER_BYTE, CHAT, Evaluation, First, languages_of
from neo_assets.core.recipe.model import Compute, Tokenizer
from neo_assets.core.recipe.release import Release
from neo_assets.core.recipe.run import Run
from neo_assets.core.recipe.scaling import Scaling
from neo_assets.core.recipe.site import Site
from neo_assets.core.recipe.sources import Source
from neo_assets.core.recipe.steps import FIRST, SHIPPED, WITHOUT_SETTINGS, check_line, module_of_step, told_in_lines
from neo_assets.core.recipe.trace import Trace
from neo_assets.core.recipe.written import Written, WrittenIn
from neo_assets.core.trainings import STREAMS, Learning


class Recipe(Section):
    """A whole model, from its sources to its scores."""

    name: Name
    description: str
    owner: str = Field(
        description="who answers for these artifacts; shown in the UI, as team:‹name› or an e-mail address"
    )
    languages: list[Lang] = Field(min_length=1)
    sources: Named[Source] = Field(min_length=1)
    extract: Extract
    convert: Convert = Field(default_factory=lambda: Convert.model_validate({}))
    documents: Documents
    clean: Clean
    steps: Named[list[str]] = Field(
        description=(
            "by language: the cleaning steps in order, from the rules on; each reads what the one before left. A step"
            " that is a file of its own has its settings in its line: `{my_step: {min_letters: 3}}`"
        )
    )
    step_settings: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="by language and step: filled in from the lines of `steps`"
    )
    near_dedup: Named[NearDedup]
    line_dedup: Named[LineDedup] = Field(default_factory=dict)
    substring_dedup: Named[SubstringDedup] = Field(default_factory=dict)
    pii_masked: Named[PersonalData] = Field(default_factory=dict)
    decontaminated: Named[Decontamination] = Field(default_factory=dict)
    high_quality: Named[HighQuality] = Field(
        default_factory=dict,
        description="by language; what is recalled can be read more often (mixture.‹phase›.recalled_rounds)",
    )
    heldout: Split
    mixture: Named[Mixture] = Field(min_length=1)
    tokenizer: Tokenizer
    runs: Named[Run] = Field(min_length=1)
    align: Align | None = Field(None, description="conversations and preferences, and how they are learnt")
    scaling: Scaling | None = Field(None, description="a series of small runs, laws of the loss, and a forecast")
    evaluation: Evaluation
    trace: Trace | None = Field(None, description="an index in which outputs are looked for: `neo trace`")
    release: Release | None = Field(None, description="a bundle that strangers can verify: `neo release`")
    site: Site | None = Field(None, description="pages for readers, in a folder that needs no server: `neo site`")
    compute: Compute
    _written: WrittenIn | None = PrivateAttr(None)

    def read_from(self, written: WrittenIn) -> Recipe:
        """This recipe, knowing where its file says what."""
        self._written = written
        return self

    def written(self, place: str) -> Written:
        """Where a field is written, named like ``runs.main.steps``, and why; nothing where no file says it."""
        return self._written.at(place) if self._written else Written()

    @model_validator(mode="before")
    @classmethod
    def _lines_of_steps(cls, content: object) -> object:
        if not isinstance(content, dict) or "steps" not in content:
            return content
        names, given = told_in_lines(content["steps"])
        return {**content, "steps": names, **({"step_settings": given} if given else {})}

    @model_validator(mode="after")
    def _release_is_of_a_run(self) -> Recipe:
        if self.release is not None and (run := self.release.run) is not None:
            if run not in self.runs:
                raise ValueError(f"release.run names run '{run}', which is not in runs ({', '.join(self.runs)})")
            if self.tuned(run):
                raise ValueError(
                    f"release.run names run '{run}', which is fine-tuned: releases are of pre-training yet"
                )
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> Recipe:
        for lang in self.languages:
            if getattr(self.clean, lang, None) is None:
                if lang in type(self.clean).model_fields:
                    raise ValueError(f"languages lists '{lang}', but clean.{lang} is not there")
                raise ValueError(f"languages lists '{lang}', for which there are no rules (docs/howto.md, A language)")
            for name, given in self.evaluation.heldout:
                if isinstance(given, dict) and lang not in given:
                    raise ValueError(f"evaluation.heldout.{name} has no '{lang}', which is one of languages")
            steps = self.steps.get(lang, [])
            if steps[:1] != [FIRST] or len(set(steps)) < len(steps):
                raise ValueError(f"steps.{lang} must begin with {FIRST} and name each step once; it is {steps}")
            for place, step in enumerate(steps):
                if step in SHIPPED and step not in WITHOUT_SETTINGS and lang not in getattr(self, step):
                    raise ValueError(f"steps.{lang} names {step}, but {step}.{lang} is not there")
                if step not in SHIPPED or step in self.step_settings.get(lang, {}):
                    check_line(lang, place, step, self.step_settings.get(lang, {}).get(step))
        for phase, mixture in self.mixture.items():
            for lang in sorted(set(mixture.recalled_rounds) - set(self.high_quality)):
                raise ValueError(
                    f"mixture.{phase}.recalled_rounds names '{lang}', but high_quality.{lang} is not there"
                )
            for lang in sorted(mixture.languages - set(self.languages)):
                raise ValueError(f"mixture.{phase} names '{lang}', which is not in languages {self.languages}")
            for source in sorted(mixture.sources - set(self.sources)):
                raise ValueError(
                    f"mixture.{phase} names '{source}', which is not in sources ({', '.join(self.sources)})"
                )
        stages = {kind: told for kind, told in self.align.stages().items() if told} if self.align else {}
        known = [*self.mixture, *(name for told in stages.values() for name in told)]
        for name in sorted({name for name in known if known.count(name) > 1}):
            both = [
                *(["mixture"] if name in self.mixture else []),
                *(f"align.{k}" for k in stages if name in stages[k]),
            ]
            raise ValueError(f"{' and '.join(both)} both have '{name}': a run's phase must mean one of them")
        for name, run in self.runs.items():
            if run.phase not in known:
                raise ValueError(
                    f"runs.{name}.phase is '{run.phase}', which is not in mixture ({', '.join(self.mixture)})"
                    + (f" or align ({', '.join(known[len(self.mixture) :])})" if stages else "")
                )
        for learns, named in stages.items():
            for name, stage in named.items():
                self._stage_fits(learns, name, stage)
        for kind in ("instructions", "preferences"):
            for name, told in (getattr(self.align, kind) if self.align else {}).items():
                if getattr(told, "lang", self.languages[0]) not in self.languages:
                    raise ValueError(f"align.{kind}.{name}.lang is '{told.lang}', which is not in languages")
                for field in ("fields", "max_text_chars", "min_answer_chars", "max_answer_chars"):
                    given = getattr(told, field, None)
                    if given is not None and (lacking := set(self.languages) - set(given)):
                        raise ValueError(f"align.{kind}.{name}.{field} has no '{min(lacking)}'")
        for where, task in self.evaluation.named():
            if task.startswith(f"{CHAT}_") and (self.align is None or self.align.asked is None):
                raise ValueError(f"evaluation.{where} names '{task}', but the recipe has no align.asked")
            if languages_of(task, self.evaluation) is None:
                raise ValueError(
                    f"evaluation.{where} names '{task}'.{did_you_mean(task, self.evaluation.benchmarks)} No benchmark"
                    " is called that, and held-out documents give bits_per_byte_‹lang›, next_sentence_‹lang›,"
                    " cloze_‹lang› and translation_‹lang›_‹lang›"
                )
        return self

    @model_validator(mode="after")
    def _series_fits(self) -> Recipe:
        if self.scaling is None:
            return self
        for field in ("base", "target"):
            if (run := getattr(self.scaling, field)) not in self.runs:
                raise ValueError(f"scaling.{field} names run '{run}', which is not in runs ({', '.join(self.runs)})")
            if self.tuned(run):
                raise ValueError(f"scaling.{field} names run '{run}', which is fine-tuned: laws are of pre-training")
        for name in self.scaling.sizes:
            if name in self.runs:
                raise ValueError(f"scaling.sizes.{name} has the name of a run; sizes are runs, too")
        for task in self.scaling.tasks:
            if task not in (known := [f"{BITS_PER_BYTE}_{lang}" for lang in self.languages]):
                raise ValueError(f"scaling.tasks names '{task}', which is none of {', '.join(known)}")
        return self

    def _stage_fits(self, kind: str, name: str, stage: Sft | PairStage) -> None:
        """A stage of fine-tuning reads sets and a mixture that are there, in windows of one length."""
        assert self.align is not None
        sets = "instructions" if isinstance(stage, Sft) else "preferences"
        known = getattr(self.align, sets)
        for given in sorted(set(stage.rounds) - set(known)):
            raise ValueError(
                f"align.{kind}.{name}.rounds names '{given}', which is not in align.{sets} ({', '.join(known)})"
            )
        for run, told in self.runs.items():
            if told.phase != name or isinstance(stage, Sft):
                continue
            if told.parent is None or told.parent.fingerprint:
                raise ValueError(f"runs.{run} learns from preferences, and needs a run of this recipe as its parent")
            if isinstance(stage, Dpo):
                self._round_fits(run, name, stage)
        if isinstance(stage, Sft) and stage.replay is not None and stage.replay.phase not in self.mixture:
            raise ValueError(
                f"align.sft.{name}.replay.phase is '{stage.replay.phase}', which is not in mixture"
                f" ({', '.join(self.mixture)})"
            )
        lengths = {run.sequence_length for run in self.runs.values() if run.phase == name}
        if len(lengths) > 1:
            raise ValueError(
                f"runs of align.{kind}.{name} have sequence_length {sorted(lengths)}: it is packed for one"
            )

    def _round_fits(self, run: str, name: str, stage: Dpo) -> None:
        """A run can be asked the prompts that its stage names, and be rewarded by what is no child of its own."""
        assert self.align is not None
        asked = {
            "generated.prompts": stage.generated and stage.generated.prompts,
            "guards.prompts": stage.guards and stage.guards.prompts,
        }
        for field, sets in asked.items():
            for given in sets or ():
                kinds = self.align.kinds_of(given)
                if len(kinds) == 2:
                    raise ValueError(f"align.dpo.{name}.{field} names '{given}', of which there are two: rename one")
                if not kinds:
                    known = ", ".join([*self.align.instructions, *self.align.preferences])
                    raise ValueError(f"align.dpo.{name}.{field} names '{given}', which is no set of align ({known})")
        if stage.generated is None:
            return
        if run != name and run in self.align.named():
            raise ValueError(
                f"runs.{run} writes pairs of its own, called as it is: no stage of align may have its name"
            )
        judge = stage.generated.rewarded_by.run
        if judge is None:
            return
        if judge not in self.runs or not self.scored(judge):
            known = ", ".join(name for name in self.runs if self.scored(name)) or "there is none"
            raise ValueError(
                f"align.dpo.{name}.generated.rewarded_by.run is '{judge}', which is no run of a reward model ({known});"
                " of one the phase is a stage of align.reward"
            )
        if run in self.ancestors(judge):
            raise ValueError(f"runs.{run} is rewarded by '{judge}', which is trained from it")

    def window_of(self, phase: str) -> int:
        """Tokens of the windows that a stage of fine-tuning is packed into: its runs' sequence_length."""
        return next(run.sequence_length for run in self.runs.values() if run.phase == phase)

    def learns(self, run: str) -> Learning:
        """What a run learns: it is told by what its phase is."""
        phase = self.all_runs[run].phase
        stages = self.align.stages() if self.align else {}
        return next((kind for kind, told in stages.items() if phase in told), "pretraining")

    def reference_of(self, run: str) -> str:
        """The run whose last checkpoint preferences are measured against."""
        assert self.align is not None
        first = self.align.dpo[self.all_runs[run].phase].reference == "first"
        before = [name for name in self.ancestors(run) if not first or self.learns(name) != "dpo"]
        return before[0]

    @property
    def writing(self) -> dict[str, Run]:
        """Runs of the recipe whose models go on with text; a reward model says how well an answer is liked."""
        return {name: run for name, run in self.runs.items() if not self.scored(name)}

    def of_pairs(self, run: str) -> bool:
        """Whether what a run counts are pairs of answers, not tokens."""
        return STREAMS[self.learns(run)] == "pair_shards"

    def scored(self, run: str) -> bool:
        """Whether a run trains a reward model."""
        return self.learns(run) == "reward"

    @property
    def released(self) -> str | None:
        """The run that a release is of; None where the recipe has none."""
        if self.release is None:
            return None
        plain = [run for run in self.runs if not self.tuned(run)]
        return self.release.run or (plain[-1] if plain else None)

    def tuned(self, run: str) -> bool:
        """Whether a run learns from conversations or preferences."""
        return self.learns(run) != "pretraining"

    def converses(self, run: str) -> bool:
        """Whether a run, or one that leads to it, was fine-tuned on conversations."""
        return any(map(self.tuned, (run, *self.ancestors(run))))

    def trained(self, run: str) -> str:
        """The artifact that a run's training makes."""
        return f"{self.learns(run)}/{run}"

    def stream_of(self, run: str) -> str:
        """The token stream that a run reads: its phase's, but its own where it writes pairs itself."""
        return f"{STREAMS[self.learns(run)]}/{run if self.generated(run) else self.all_runs[run].phase}"

    def preference(self, run: str) -> Dpo | None:
        """How a run learns preferences, if it does."""
        return self.align.dpo.get(self.all_runs[run].phase) if self.align else None

    def generated(self, run: str) -> Generated | None:
        """How a run's model writes the pairs that it learns from, if it does."""
        told = self.preference(run)
        return told.generated if told else None

    def guards(self, run: str) -> Guards | None:
        """What must hold of a run that learns preferences, where the recipe says so."""
        told = self.preference(run)
        return told.guards if told else None

    @cached_property
    def series(self) -> dict[str, Run]:
        """Runs of the scaling series, by the names of their sizes."""
        if self.scaling is None:
            return {}
        base = self.runs[self.scaling.base]
        return {name: self.scaling.run_of(size, base) for name, size in self.scaling.sizes.items()}

    def whole_steps(self, name: str) -> list[int] | None:
        """Steps whose checkpoints stay whole, the newest ones aside; None where all do."""
        run = self.all_runs[name]
        if run.keep is None:
            return None
        named = {r.parent.step for r in self.runs.values() if r.parent is not None and r.parent.run == name}
        kept = {*run.kept_steps(), *self.evaluation.due(run), *named}
        return [step for step in run.checkpoint_steps() if step in kept]

    @property
    def all_runs(self) -> dict[str, Run]:
        """Those of the recipe, then those of its series."""
        return {**self.runs, **self.series}

    @model_validator(mode="after")
    def _parents_are_there(self) -> Recipe:
        for name, run in self.runs.items():
            if run.parent is None:
                continue
            parent = self.runs.get(run.parent.run)
            if parent is None:
                raise ValueError(
                    f"runs.{name}.parent names run '{run.parent.run}', which is not in runs ({', '.join(self.runs)})"
                )
            before, learns = self.learns(run.parent.run), self.learns(name)
            if before == "reward" != learns:
                raise ValueError(f"runs.{name} starts from '{run.parent.run}', a reward model, which writes no text")
            if learns == "reward" != before and run.parent.take != "weights":
                raise ValueError(f"runs.{name} is a reward model: of '{run.parent.run}' it can take the weights alone")
            if parent.model != run.model:
                raise ValueError(f"runs.{name} starts from '{run.parent.run}', but its model has another shape")
            if run.parent.fingerprint is None and run.parent.step not in (None, *parent.checkpoint_steps()):
                raise ValueError(
                    f"runs.{name}.parent.step is {run.parent.step}; '{run.parent.run}' has checkpoints at"
                    f" {_some(parent.checkpoint_steps())}"
                )
            self.ancestors(name)
        return self

    def parent_of(self, run: str) -> str | None:
        """The run that another starts from, as this recipe has it; None for a start from scratch, or from a run as it
        once was.
        """
        parent = self.all_runs[run].parent
        return parent.run if parent and parent.fingerprint is None else None

    def ancestors(self, run: str) -> list[str]:
        """The runs that lead to this one, nearest first. Raises ValueError where they go in a circle."""
        found: list[str] = []
        at = self.parent_of(run)
        while at is not None:
            if at == run or at in found:
                raise ValueError(f"runs.{run}: its parents go in a circle ({' <- '.join([run, *found, at])})")
            found.append(at)
            at = self.parent_of(at)
        return found

    def asked(self, suites: list[str] | None = None) -> dict[str, First | None]:
        """Tasks of these suites (those that every due checkpoint is asked, if left out) by the name their scores get,
        each once, in the recipe's languages.

        The value says how many items are asked, where not all.
        """
        return {name: first for name, first, listed in self._entries(suites) if listed}

    def of_other_languages(self) -> set[str]:
        """Names of what suites would ask, were their languages among the recipe's."""
        return {name for name, _, listed in self._entries(list(self.evaluation.suites)) if not listed}

    def _entries(self, suites: list[str] | None) -> Iterator[tuple[str, First | None, bool]]:
        """(name of the scores, how many items where not all, whether its languages are the recipe's)."""
        for _, entry in self.evaluation.entries(suites):
            task, name, first = (entry, entry, None) if isinstance(entry, str) else (entry.task, entry.name, entry)
            yield name, first, set(languages_of(task, self.evaluation) or []) <= set(self.languages)

    def settings_of(self, step: str, lang: str) -> object:
        """What the recipe says of a cleaning step of a language: its section, or what its line gives."""
        if step in SHIPPED:
            return getattr(self, step, {}).get(lang)
        return self.step_settings.get(lang, {}).get(step)

    def before(self, step: str, lang: str) -> str:
        """The artifact that a cleaning step of a language reads."""
        steps = self.steps[lang]
        return f"{steps[steps.index(step) - 1]}/{lang}"

    def makes(self, name: str) -> bool:
        """Whether a cleaning artifact (``step/language``) is one of this recipe's; other names are not judged."""
        step, _, lang = name.partition("/")
        return module_of_step(step) is None or (lang in self.languages and step in self.steps[lang])

    def cleaned(self, lang: str) -> str:
        """The artifact that a language's last cleaning step makes."""
        return f"{self.steps[lang][-1]}/{lang}"


def _some(steps: list[int]) -> str:
    return ", ".join(map(str, steps)) if len(steps) <= 12 else f"{', '.join(map(str, steps[:8]))} … {steps[-1]}"
