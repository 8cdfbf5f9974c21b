"""Training runs as they lie on disk: which job made a run, what it was told, and which checkpoints are there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from neo_assets.core.errors import BadInput, MissingUpstream, did_you_mean
from neo_assets.core.here import here
from neo_assets.core.jobs import JobSpec, job_folders
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import MANIFEST, Artifact, Store, read_manifest
from neo_assets.core.thinned import gone
from neo_assets.core.trainings import names_of
from neo_assets.runs.asked import asked_runs, not_anothers
from training.data.stream_index import numbers_of
from training.ledger import RunLedger
from training.spec import PretrainConfig


@dataclass(frozen=True)
class FoundRun:
    """One training run: the specification it was or is run with."""

    spec: JobSpec
    config: PretrainConfig
    store: Store

    @property
    def name(self) -> str:
        return self.config.run_name

    @property
    def shards(self) -> Path:
        return self.store.whole(self.spec.inputs["token_shards"])

    def checkpoints(self) -> dict[int, Path]:
        """Committed checkpoints by step."""
        self.store.learn(f"checkpoint/{self.name}")
        folders = sorted(self.store.resolve(self.spec.out).glob(f"[0-9]*-{self.config.run_fingerprint[:8]}/{MANIFEST}"))
        return {int(p.parent.name.split("-")[0]): p.parent for p in folders}

    def whole_checkpoints(self) -> dict[int, Path]:
        """Those that a run can go on from: not those whose states were let go."""
        return {step: folder for step, folder in self.checkpoints().items() if not gone(folder)}

    def checkpoint(self, step: int | None) -> tuple[int, Path]:
        """The checkpoint of a step, or the last one there is. Raises MissingUpstream."""
        there = self.checkpoints()
        wanted = max(there, default=None) if step is None else step
        if wanted not in there:
            raise MissingUpstream(
                f"run '{self.name}' has no checkpoint of step {wanted}; there are:"
                f" {', '.join(map(str, there)) or 'none'}"
            )
        return wanted, there[wanted]

    def start(self) -> Path:
        """The folder that the run started from. Raises BadInput where it started from nothing."""
        if self.config.start is None:
            raise BadInput(f"run '{self.name}' starts from nothing")
        return self.store.whole(self.config.start.folder)

    def ledger(self) -> RunLedger:
        return RunLedger.of(self.config, self.shards)

    def tokenizer(self) -> Artifact:
        """That its stream was made with. Raises MissingUpstream where it is not in the store any more."""
        used = read_manifest(self.shards).made_from.inputs["tokenizer"]
        made = self.store.find("tokenizer", used.fingerprint)
        if made is None:
            raise MissingUpstream(
                f"the tokenizer of run '{self.name}', {used.fingerprint[:12]}, is not in the store any more"
            )
        return made

    def holds(self, doc_ids: Sequence[str]) -> bool:
        """Whether any of these documents is in the run's text, whether or not a step came to it."""
        return bool(numbers_of(self.shards, doc_ids))


def find_run(store: Store, recipe: Recipe, name: str) -> FoundRun:
    """The run as this recipe's build has it: the finished one, or else the job of that name that the recipe asked for
    last; of an older store, where that was not noted, the newest that no other recipe asked for.

    Raises:
        BadInput: the recipe has no such run.
        MissingUpstream: it was never started.
    """
    if name not in recipe.all_runs:
        raise BadInput(
            f"recipe '{recipe.name}' has no run '{name}'.{did_you_mean(name, recipe.all_runs)} It has"
            f" {', '.join(recipe.all_runs)}."
        )
    trained = recipe.trained(name)
    pointer = store.head_pointer(recipe.name, trained)
    made = store.find(*pointer) if pointer else None
    if made is not None:
        finished = _read(made.file("spec.json"), store)
        if finished is not None:
            return finished
    mine = not_anothers(store, recipe.name, name)
    there = {
        found.spec.work_fingerprint: found
        for file in _specs(store, trained)
        if (found := _read(file, store)) and mine(found.spec.work_fingerprint)
    }
    asked = [there[f] for f in asked_runs(store, recipe.name, name) if f in there]
    if not there:
        raise MissingUpstream(f"run '{name}' has not been started in this store. Materialize {trained}.")
    return (asked or list(there.values()))[-1]


def run_of(store: Store, run: str, fingerprint: str) -> FoundRun:
    """The run with this fingerprint, whichever recipe it was of. Raises MissingUpstream."""
    for file in (file for name in names_of(run) for file in _specs(store, name)):
        if (found := _read(file, store)) and found.spec.work_fingerprint.startswith(fingerprint):
            return found
    raise MissingUpstream(
        f"the specification of run '{run}' {fingerprint[:12]} is in no job and no artifact of this store any more"
    )


def lineage(store: Store, run: FoundRun) -> list[FoundRun]:
    """The run, and those it is a branch of (everything taken over), nearest first."""
    out = [run]
    while (start := out[-1].config.start) is not None and start.take == "everything":
        folder = Path(start.folder)  # relative to the store, or not: its last two names say which checkpoint it is
        out.append(run_of(store, folder.parent.name, folder.name.split("-")[1]))
    return out


def begun_from(store: Store, run: FoundRun) -> tuple[FoundRun, int] | None:
    """The run, and the step of it, whose weights this one, or what it is a branch of, began with; None for one that
    began with none of ours.
    """
    start = lineage(store, run)[-1].config.start
    if start is None or start.foreign:
        return None
    folder = Path(start.folder)  # as in `lineage`
    return run_of(store, folder.parent.name, folder.name.split("-")[1]), start.step


def parts_behind(store: Store, run: FoundRun, step: int) -> list[tuple[FoundRun, int, int]]:
    """The parts of runs that led to a checkpoint, its own first: (part, step before its first, last step)."""
    found: list[tuple[FoundRun, int, int]] = []
    at: tuple[FoundRun, int] | None = (run, step)
    while at is not None:
        run, end = at
        for part in lineage(store, run):
            found.append((part, part.config.first_step, end))
            end = part.config.first_step
        at = begun_from(store, run)
    return found


def started(store: Store, recipe: Recipe) -> list[FoundRun]:
    """The recipe's runs that were started, in its order."""
    found = []
    for name in recipe.runs:
        with contextlib.suppress(MissingUpstream):
            found.append(find_run(store, recipe, name))
    return found


def _specs(store: Store, title: str) -> list[Path]:
    """Specifications of runs with this title, oldest first; those of finished runs are in their artifacts, too, when
    their jobs are gone.
    """
    jobs = [folder for folder in job_folders(store.root) if folder.title == title]
    there = {folder.fingerprint for folder in jobs}
    store.learn(title)
    folders = [made.parent for made in sorted((store.root / title).glob(f"*/{MANIFEST}"))]
    finished = [folder / "spec.json" for folder in folders if folder.name not in there]
    return [*finished, *(folder.path / "spec.json" for folder in jobs)]


def _read(file: Path, store: Store) -> FoundRun | None:
    try:
        spec = JobSpec.model_validate_json(here(file).read_text(encoding="utf-8"))
        return FoundRun(spec, PretrainConfig.model_validate(spec.config), store)
    except ValidationError:
        return None  # of an older form


def run_and_step(text: str) -> tuple[str, int | None]:
    """'main@70' -> ('main', 40); 'main' and 'main@last' -> ('main', None). Raises BadInput."""
    name, _, step = text.partition("@")
    if step in ("", "last"):
        return name, None
    if not step.isdecimal():
        raise BadInput(f"'{text}': a checkpoint is named RUN@STEP, as in main@70 or main@last")
    return name, int(step)


def run_and_steps(text: str) -> tuple[str, int, int]:
    """'main@10..12' -> ('main', 10, 12); 'main@10' -> ('main', 10, 10). Raises BadInput."""
    name, at, steps = text.partition("@")
    if not at:
        raise BadInput(f"'{text}': steps are named RUN@FIRST..LAST, as in main@10..12")
    return name, *step_range(steps)


def step_range(text: str) -> tuple[int, int]:
    """'10..12' -> (10, 12); '10' -> (10, 10). Raises BadInput."""
    first, _, last = text.partition("..")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise BadInput(f"'{text}': steps are named FIRST..LAST, as in 10..12")
    begin, end = int(first), int(last or first)
    if begin < 1:
        raise BadInput(f"'{text}': steps are counted from 1; step 1 is the first update")
    if end < begin:
        raise BadInput(f"'{text}': the last step comes before the first")
    return begin, end
