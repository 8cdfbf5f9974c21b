"""Models that can be asked: checkpoints of a run, exported first, and Hugging Face folders from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from neo_assets.core.code import code_reachable_from, libraries_reachable_from
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe, identity
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace, input_refs
from neo_assets.core.words import at
from neo_assets.evaluate.score import Subject
from neo_assets.runs.export import PROGRAM, ExportInput, export_model
from neo_assets.runs.job_stage import Aside
from neo_assets.runs.plan import ids
from resources.compute.base import Compute

ELSEWHERE = "model"
"""First part of the name that stands for the run of a model from elsewhere."""


def export_input(recipe: Recipe, run: str) -> ExportInput:
    """How a run's checkpoints are exported to be asked. Raises BadInput of a reward model, which cannot be asked."""
    if recipe.scored(run):
        raise BadInput(f"'{run}' trains a reward model, which writes nothing: reward_report/{run} says how good it is")
    model = recipe.all_runs[run].model
    plain = ExportInput(run=run, model=model, vocab_rows=model.vocab_rows(ids(recipe.tokenizer)))
    if recipe.align is None or not recipe.converses(run):
        return plain
    told = {"template": recipe.align.template, "repetition_penalty": recipe.align.repetition_penalty}
    return plain.model_copy(update=told)


@dataclass(frozen=True)
class Exporter:
    """Turns checkpoints of one run into Hugging Face folders, each once."""

    store: Store
    jobs: Compute
    recipe: str
    export: ExportInput
    tokenizer: Artifact
    log: Callable[[str], None]

    def _inputs(self, checkpoint: Artifact) -> dict[str, Artifact]:
        return {f"checkpoint/{self.export.run}": checkpoint, "tokenizer": self.tokenizer}

    def _made_from(self, checkpoint: Artifact) -> MadeFrom:
        inputs = input_refs(self._inputs(checkpoint), {})
        return MadeFrom(
            config=identity(self.export),
            code=code_reachable_from([PROGRAM]),
            libraries=libraries_reachable_from([PROGRAM]),
            inputs=inputs,
        )

    def find(self, checkpoint: Artifact) -> Artifact | None:
        """The checkpoint's folder, if it has been exported."""
        return self.store.find(f"hf_model/{self.export.run}", self._made_from(checkpoint).fingerprint)

    def exported(self, checkpoint: Artifact) -> tuple[Artifact, bool]:
        """The checkpoint's Hugging Face folder; made by a job if it is not there. Returns (artifact, reused)."""
        made_from, inputs = self._made_from(checkpoint), self._inputs(checkpoint)

        def work(out: Workspace) -> Outcome:
            self.log(f"exporting {at(self.export.run, checkpoint.folder.name)}")
            return export_model(self.export, inputs, out, Aside(key, made_from.fingerprint, self.store, self.jobs))

        key = f"hf_model/{self.export.run}"
        made, reused = self.store.build(key, made_from, work, self.log)
        self.store.set_head(self.recipe, f"{key}@{checkpoint.folder.name}", key, made.fingerprint)
        return self.store.require(key, made.fingerprint), reused


def _is_whole(file: Path) -> None:
    try:
        with safe_open(file, framework="np"):
            pass
    except SafetensorError as error:
        raise BadInput(f"{file} is no whole safetensors file: {error}") from error


def from_elsewhere(folder: Path) -> Subject:
    """A Hugging Face folder that was not made here, by its whole content. Only safetensors: weights in other forms can
    run code.

    Raises:
        BadInput: no such folder, no configuration, no tokenizer, or weights that are cut off or in another form.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder} is no Hugging Face folder: it has no config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BadInput(f"{folder} has no *.safetensors; weights in other forms are not read, since those can run code")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise BadInput(f"{folder} has no tokenizer (tokenizer.json, tokenizer.model or vocab.json)")
    for file in weights:
        _is_whole(file)
    files = sorted(
        p for p in folder.iterdir() if p.is_file() and p.suffix in (".json", ".safetensors", ".model", ".txt", ".jinja")
    )
    digest = digest_json([[p.name, remembered_digest(p)] for p in files])
    name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") or "model"
    return Subject(
        run=f"{ELSEWHERE}.{name[:40]}",
        name=digest[:12],
        step=0,
        tokens=0,
        folder=folder,
        fingerprint=digest,
        digest=digest,
    )
