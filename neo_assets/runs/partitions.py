"""Checkpoints in Dagster: one dynamic partition each, materialized while training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg

from neo_assets.core.jobs import Message
from neo_assets.core.recipe import Recipe
from neo_assets.core.scalars import real, whole
from neo_assets.core.store import Manifest, Store, read_manifest
from neo_assets.core.thinned import MARK as THINNED
from neo_assets.core.thinned import gone
from neo_assets.core.words import at
from neo_assets.declare import key, scalar
from resources.console import progress_of


def partitions(run_name: str) -> dg.DynamicPartitionsDefinition:
    """Training steps of one run: zero-padded step and short run fingerprint, shared by `checkpoint`, `hf_model` and
    `eval_scores`.
    """
    return dg.DynamicPartitionsDefinition(name=f"checkpoint_{run_name}")


def checkpoints(recipe: Recipe, groups: Mapping[str, str]) -> Iterator[dg.AssetSpec]:
    """`checkpoint/‹run›`, by step, of the runs with their groups: no asset that is run, but one that its training job
    fills.
    """
    for name, group in groups.items():
        yield dg.AssetSpec(
            key(f"checkpoint/{name}"),
            deps=[key(recipe.trained(name))],
            group_name=group,
            description=(
                f"Checkpoints of run `{name}`, one partition each: weights, optimizer, data cursor, random states and a"
                " certificate. They appear while training runs, saved by the job itself."
            ),
            owners=[recipe.owner],
            kinds={"pytorch"},
            partitions_def=partitions(name),
        )


class Announcer:
    """Puts a run's checkpoints into the event log, each once, whoever asks: a Dagster run that follows the job, or the
    sensor when none does.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        emit: Callable[[dg.AssetMaterialization], None],
        log: Callable[[str], None],
        store: Store,
        run_name: str,
    ) -> None:
        self.instance, self.emit, self.log, self.store, self.run_name = instance, emit, log, store, run_name
        self.tell = log
        self.asset = key(f"checkpoint/{run_name}")
        self.known = set(instance.get_materialized_partitions(self.asset))
        self.dynamic = f"checkpoint_{run_name}"

    @classmethod
    def of(cls, context: dg.AssetExecutionContext, store: Store, run_name: str) -> Announcer:
        made = cls(context.instance, context.log_event, context.log.info, store, run_name)
        made.tell = progress_of(context)
        return made

    def announce(self, name: str) -> None:
        """Record a committed checkpoint as a materialized partition, unless it is one already."""
        if name in self.known:
            return
        self.store.publish(f"checkpoint/{self.run_name}", name, self.log)
        folder = self.store.root / "checkpoint" / self.run_name / name
        manifest = read_manifest(folder)
        self.instance.add_dynamic_partitions(self.dynamic, [name])
        self.emit(
            dg.AssetMaterialization(
                self.asset,
                partition=name,
                metadata=_metadata(manifest, folder),
                tags={"dagster/data_version": manifest.digest},
            )
        )
        self.known.add(name)
        self._let_go()
        loss = manifest.numbers.get("loss")
        self.log(f"checkpoint {at(self.run_name, name)}" + (f", loss {loss:.4f}" if isinstance(loss, float) else ""))

    def _let_go(self) -> None:
        """What the run has let go of its checkpoints, goes where other disks see it, too."""
        if self.store.remote is None:
            return
        key = f"checkpoint/{self.run_name}"
        for marked in (self.store.root / key).glob(f"[0-9]*/{THINNED}"):
            self.store.remote.let_go(key, marked.parent.name, gone(marked.parent))

    def handle(self, message: Message) -> None:
        """Tell the console and the event log what a training job reports."""
        data = message.data
        if message.event == "checkpoint":
            self.announce(str(data["name"]))
        elif message.event == "progress":
            self.tell(
                f"step {data['step']}/{data['steps']}  loss {real(data['loss']):.3f} "
                f" {real(data['tokens_per_s']):,.0f} {data.get('counts', 'tokens')}/s  {real(data['eta_s']):.0f} s left"
            )
        elif message.event == "trouble":
            self.log(
                f"step {data['step']}: {str(data['kind']).replace('_', ' ')}, {data['value']} (usually"
                f" {data['median']}); its {data['documents']} documents are kept beside the job"
            )
        elif message.event == "stopped":
            self.log(f"asked to stop ({str(data['reason']).strip()}): saved at step {data['step']}")


def _metadata(manifest: Manifest, folder: Path) -> dict[str, dg.MetadataValue]:
    numbers = manifest.numbers
    out: dict[str, dg.MetadataValue] = {}
    if isinstance(numbers.get("loss"), float):
        out["loss"] = scalar(real(numbers["loss"]))
    return out | {
        "step": dg.MetadataValue.int(whole(numbers["step"])),
        "tokens": dg.MetadataValue.int(whole(numbers["trained_tokens"])),
        "bytes": dg.MetadataValue.int(sum(f.size for f in manifest.files.values())),
        "seconds to save": dg.MetadataValue.float(manifest.seconds),
        "path": dg.MetadataValue.path(str(folder)),
        "run fingerprint": dg.MetadataValue.text(next(iter(manifest.made_from.inputs.values())).fingerprint),
        "digest": dg.MetadataValue.text(manifest.digest),
    }
