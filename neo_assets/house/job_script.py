"""`neo plan --manifest`: what a run's scheduler would be given, before it is.

Once what the run reads is there, this is the very job: its folder is written as for any submission, and whoever asks
for its work attaches to it. Before that, its name cannot be known, since it follows from what it reads; all else is as
it will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neo_assets.core.errors import MissingUpstream
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobFolder, JobSpec
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.run import Run
from neo_assets.core.stage import Stage
from neo_assets.core.store import Store
from neo_assets.core.trainings import PROGRAMS
from neo_assets.runs.asked import note_asked
from neo_assets.runs.job import PretrainInput, job_spec
from resources.compute import open_compute
from resources.compute.base import Compute
from resources.compute.kubernetes_manifests import manifests
from resources.compute.slurm import SlurmCompute

NOT_KNOWN = "0" * 32
"""Stands for a fingerprint that follows from what is not there yet."""


def print_jobs(recipe: Recipe, stages: Mapping[str, Stage[Any]], store: Store, names: Sequence[str]) -> None:
    """What the recipe's backend is given for each of these runs: YAML for Kubernetes, a batch script for Slurm, a
    command on this machine.
    """
    compute = open_compute(recipe.compute, store.root)
    for name in names:
        entry = stages[recipe.trained(name)]
        try:
            inputs = {read: store.head(recipe.name, read) for read in entry.reads}
            spec = job_spec(entry.config, entry.made_from(inputs), inputs, store)
            note_asked(store, recipe.name, name, spec.work_fingerprint)
            folder = compute.folder(spec.work_fingerprint)
            folder.write_spec(spec)
            folder.freeze()
            last = folder.last_attempt()
            number = last.number + 1 if last else 1
        except MissingUpstream as missing:
            print(f"# {name}: {missing}\n# Until then its fingerprint is not known, and stands here as {NOT_KNOWN}.")
            spec, number = foreseen(entry.config), 1
            folder = compute.folder(spec.work_fingerprint)
        print(given(compute, spec, entry.config.run, folder, number), end="")


def foreseen(config: PretrainInput) -> JobSpec:
    """The job of a run as far as the recipe alone tells it; nothing of it is written anywhere."""
    run, program = config.run, PROGRAMS[config.learns]
    return JobSpec(
        work_fingerprint=NOT_KNOWN,
        title=config.trained,
        program=program,
        **claimed(program),
        nodes=run.nodes,
        ranks_per_node=run.ranks_per_node,
        threads_per_rank=run.threads_per_rank,
        max_attempts=run.max_attempts,
        config={},
        inputs={},
        out=f"checkpoint/{config.name}",
    )


def given(compute: Compute, spec: JobSpec, run: Run, folder: JobFolder, number: int) -> str:
    """What the backend's scheduler gets for an attempt."""
    if compute.name == "kubernetes":
        import yaml

        objects = manifests(spec, compute.settings, number)
        if spec.work_fingerprint == NOT_KNOWN:
            objects[0]["spec"]["suspend"] = True  # whoever applies it all the same, starts nothing
        return "---\n" + "---\n".join(yaml.safe_dump(one, sort_keys=False) for one in objects)
    if isinstance(compute, SlurmCompute):
        options = compute.options(folder, spec)
        first, rest = compute.script(folder, spec, number).split("\n", 1)
        return "\n".join([first, *(f"#SBATCH {option}" for option in options), rest])
    return f"{compute.launch_command(spec.title.partition('/')[2], run)}\n"
