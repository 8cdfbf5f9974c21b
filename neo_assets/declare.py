"""The shared Dagster glue: keys, and the one way a stage becomes an asset: resolved, made or found, reported.

A stage (``core/stage.py``) says what it is; :func:`asset_of` turns that into an asset: its function's docstring is the
description, its config, code and libraries are the ``code_version``, its reads are the edges. The body looks up what
this recipe's build used last for every input, finds or makes the artifact, and reports numbers, pictures and checks.
"""

import base64
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import dagster as dg
from dagster._core.definitions.metadata import CodeReferencesMetadataValue, LocalFileCodeReference
from pydantic import BaseModel

from neo_assets.core.errors import NeoError
from neo_assets.core.frozen import refuse_what_was_edited
from neo_assets.core.recipe import Recipe
from neo_assets.core.shard_job import Progress
from neo_assets.core.stage import Stage
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Store, Workspace
from neo_assets.core.words import spoken
from resources.compute.base import Compute
from resources.console import progress_of
from resources.data import open_engine
from resources.data.cluster import Observe
from resources.ledger import Ledger

C = TypeVar("C", bound=BaseModel)
PAGES = "NEO_PAGES"
"""Variable that holds the address of the server of pages, where there is one."""
PICTURE_BYTES = 200_000
"""Larger pictures are left in the store instead of being copied into every event."""


def key(name: str) -> dg.AssetKey:
    """Asset key of an artifact: 'clean_docs/en' is `clean_docs_en` in Dagster."""
    return dg.AssetKey(label(name))


def label(name: str) -> str:
    """What Dagster calls an artifact. One part only: its graph shows no more than the last part of a key, and `en` or
    `main` says nothing.
    """
    return name.replace("/", "_")


@dataclass(frozen=True)
class Making:
    """Where and with what an artifact is being made: the recipe's build, its inputs, and the resources it named."""

    context: dg.AssetExecutionContext
    recipe: Recipe
    store: Store
    inputs: Mapping[str, Artifact]

    @property
    def compute(self) -> Compute:
        compute: Compute = self.context.resources.compute.open()
        return compute

    @property
    def ledger(self) -> Ledger:
        ledger: Ledger = self.context.resources.ledger.open()
        return ledger

    def log(self, line: str) -> None:
        self.context.log.info(line)


@dataclass(frozen=True)
class AttendedStage(Stage[C], Generic[C]):
    """A stage that needs more than its inputs while it is made: a job, the store, what only this Dagster run knows.

    Each of the three is the plain thing here; a stage overrides what it does otherwise.
    """

    def settled(self, at: Making) -> C:
        """The config with what is only known when the artifact is made (the fields named in ``found``)."""
        return self.config

    def make(self, at: Making, out: Workspace) -> Outcome:
        """Make the artifact of this stage, whose config is settled."""
        return self.run(self.config, at.inputs, out)

    def made(self, at: Making, artifact: Artifact) -> None:
        """Called when the artifact is there, made now or found."""


def asset_of(stage: Stage[Any], recipe: Recipe, group: str) -> dg.AssetsDefinition:
    """The asset of one unpartitioned artifact; its checks are all judged in the same step."""

    @dg.multi_asset(
        name=label(stage.name),
        specs=[
            dg.AssetSpec(
                key(stage.name),
                deps=[key(n) for n in (*stage.reads, *stage.after)],
                group_name=group,
                description=description(stage.run),
                code_version=stage.version,
                kinds=set(stage.kinds),
                owners=[recipe.owner],
                metadata=code_reference(stage.run) | pages_of(stage.name, stage.kinds),
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(c.name, asset=key(stage.name), blocking=c.blocking, description=c.says)
            for c in stage.claims
        ],
        required_resource_keys={"store", *stage.resources},
        pool=stage.pool,
    )
    def body(context: dg.AssetExecutionContext) -> Any:
        store: Store = context.resources.store.open()
        guard_instance(context, recipe)
        at = Making(context, recipe, store, {name: store.head(recipe.name, name) for name in stage.reads})
        made, reused = build(stage, at)
        context.log.info(summary(made, reused))
        for check in made.verdict:
            if not check.passed:
                (context.log.error if check.blocking else context.log.warning)(
                    f"{check.name} {'refuses' if check.blocking else 'warns'}: {check.detail}"
                )
        claimed = {claim.name for claim in stage.claims}
        yield dg.MaterializeResult(
            asset_key=key(stage.name),
            metadata=metadata(made, reused),
            data_version=dg.DataVersion(made.manifest.digest),
            check_results=[check_result(stage.name, c) for c in made.verdict if c.name in claimed],
        )

    return body


def build(stage: Stage[Any], at: Making) -> tuple[Artifact, bool]:
    """Find or make a stage's artifact and note it in the recipe's build; whether it was found."""
    attended = replace(stage, config=stage.settled(at)) if isinstance(stage, AttendedStage) else None
    entry = attended or stage
    made_from = entry.made_from(at.inputs)

    def work(out: Workspace) -> Outcome:
        outcome = attended.make(at, out) if attended else entry.run(entry.config, at.inputs, out)
        if not entry.programs:  # a job's programs are held to their code by the job
            refuse_what_was_edited(made_from.code)
        return outcome

    engine = open_engine(at.recipe.compute, at.store.root, observed(entry.name, at.context))
    made, reused = at.store.build(entry.name, made_from, work, at.log, engine, progress_of(at.context))
    at.store.set_head(at.recipe.name, entry.name, entry.name, made.fingerprint)
    if attended is not None:
        attended.made(at, made)
    return made, reused


def observed(name: str, context: dg.AssetExecutionContext) -> Observe:
    """How a job over shards tells its progress in the web UI, beside the asset."""

    def observe(fingerprint: str, told: Progress, rate: float) -> None:
        left = told.shards - len(told.done)
        facts: dict[str, Any] = {
            "files done": len(told.done),
            "files failed": len(told.failed),
            "files left": left,
            "files an hour": round(rate, 1),
            "hours left": round(left / rate, 2) if rate else "not known yet",
            "core hours so far": round(told.seconds / 3600, 3),
            "job": fingerprint,
        }
        context.log_event(dg.AssetObservation(asset_key=key(name), metadata=facts))

    return observe


def guard_instance(context: dg.AssetExecutionContext, recipe: Recipe) -> None:
    """One Dagster instance serves one recipe: its events carry asset keys alone, and two recipes share those.

    Raises:
        NeoError: the instance has served another recipe before.
    """
    storage = context.instance.run_storage
    known = storage.get_cursor_values({"neofoundry/recipe"}).get("neofoundry/recipe")
    if known is None:
        storage.set_cursor_values({"neofoundry/recipe": recipe.name})
    elif known != recipe.name:
        raise NeoError(
            f"this Dagster instance belongs to recipe '{known}', NEO_RECIPE is '{recipe.name}'. `neo home"
            f" {recipe.name}` makes an instance for it and prints the DAGSTER_HOME to set."
        )


# ------------------------------------------------------------------ what people see


def description(stage: Callable[..., object]) -> str:
    return inspect.cleandoc(stage.__doc__ or "")


def code_reference(stage: Callable[..., object]) -> dict[str, Any]:
    """Where the stage's code is, for the UI's link."""
    file, line = inspect.getsourcefile(stage), inspect.getsourcelines(stage)[1]
    return {
        "dagster/code_references": CodeReferencesMetadataValue(
            code_references=[LocalFileCodeReference(file_path=str(file), line_number=line, label=stage.__name__)]
        )
    }


def pages_of(name: str, kinds: Sequence[str]) -> dict[str, Any]:
    """Links to what a browser can be shown of an asset, while `neo ui` serves it."""
    if not (base := os.environ.get(PAGES)):
        return {}
    own = {"open": dg.MetadataValue.url(f"{base}/latest/{name}")} if "html" in kinds else {}
    return own | {"artifact": dg.MetadataValue.url(f"{base}/latest/{name}?show=artifact")}


def summary(made: Artifact, reused: bool) -> str:
    """One line about an artifact for the console."""
    m = made.manifest
    parts = [f"{name} {spoken(value)}" for name, value in list(m.numbers.items())[:4]]
    if m.rows_in is not None and m.rows_dropped:
        parts.insert(0, f"{m.rows_in:,} in = {m.rows_kept:,} kept + {m.rows_dropped:,} dropped")
    how = "reused" if reused else f"made in {m.seconds:.1f} s"
    return f"{how}  {made.fingerprint[:12]}  {'; '.join(parts)}"


def metadata(made: Artifact, reused: bool) -> dict[str, dg.MetadataValue]:
    """Numbers, tables and pictures of an artifact, as the UI shows them: what it holds first, then which one it is."""
    m = made.manifest
    out: dict[str, dg.MetadataValue] = {}
    for name, count in (("rows in", m.rows_in), ("rows kept", m.rows_kept), ("rows dropped", m.rows_dropped)):
        if count is not None:
            out[name] = dg.MetadataValue.int(count)
    out |= {name.replace("_", " "): scalar(value) for name, value in m.numbers.items() if value is not None}
    out |= {name: table(rows) for name, rows in m.tables.items() if rows}
    out |= {name: picture(made.file(file)) for name, file in m.pictures.items()}
    return out | {
        "seconds": dg.MetadataValue.float(m.seconds),
        **({} if m.cpu_seconds is None else {"processor seconds": dg.MetadataValue.float(m.cpu_seconds)}),
        "reused": dg.MetadataValue.bool(reused),
        "path": dg.MetadataValue.path(str(made.folder)),
        "fingerprint": dg.MetadataValue.text(m.fingerprint),
        "digest": dg.MetadataValue.text(m.digest),
    }


def scalar(value: int | float | str | bool) -> dg.MetadataValue:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value) if abs(value) < 1 << 53 else dg.MetadataValue.text(f"{value:,}")
    return dg.MetadataValue.float(float(f"{value:.6g}")) if isinstance(value, float) else dg.MetadataValue.text(value)


def legible(value: Scalar) -> Scalar:
    """A fraction with six digits, as the UI shows it; the artifact has them all."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def table(rows: Sequence[Row]) -> dg.MetadataValue:
    types = {bool: "bool", int: "int", float: "float", str: "string", type(None): "string"}
    columns = [dg.TableColumn(name, type=types[type(value)]) for name, value in rows[0].items()]
    return dg.MetadataValue.table(
        [dg.TableRecord({name: legible(value) for name, value in row.items()}) for row in rows],
        schema=dg.TableSchema(columns=columns),
    )


def picture(file: Path) -> dg.MetadataValue:
    """An SVG inline, behind the UI's "Show Markdown"; a large one as a path."""
    data = file.read_bytes()
    if len(data) > PICTURE_BYTES:
        return dg.MetadataValue.path(str(file))
    return dg.MetadataValue.md(f"![{file.stem}](data:image/svg+xml;base64,{base64.b64encode(data).decode()})")


def check_result(name: str, check: Check) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=key(name),
        check_name=check.name,
        passed=check.passed,
        severity=severity,
        metadata={"detail": check.detail},
    )
