"""The shared Dagster glue: keys, and the one way an asset is declared, resolved, called and reported.

A stage is a plain function ``(config, inputs, workspace) -> Outcome``. :func:`artifact` turns it into an asset: its
docstring is the description, its config, code and libraries are the ``code_version``, its reads are the edges. The body
looks up what this recipe's build used last for every input, finds or makes the artifact, and reports numbers, pictures
and checks.
"""

import base64
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.metadata import CodeReferencesMetadataValue, LocalFileCodeReference
from pydantic import BaseModel

from neo_assets.core.code import code_of, code_reachable_from, libraries_reachable_from
from neo_assets.core.errors import NeoError
from neo_assets.core.fingerprint import code_version
from neo_assets.core.frozen import refuse_what_was_edited
from neo_assets.core.recipe import Recipe, identity
from neo_assets.core.store import Artifact, Check, MadeFrom, Outcome, Row, Scalar, Store, Workspace, input_refs
from resources.console import progress_of

Stage = Callable[[Any, Mapping[str, Artifact], Workspace], Outcome]
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
class Declared:
    """What an asset is made from, as far as it is known when definitions load."""

    name: str
    stage: Callable[..., Outcome]
    config: BaseModel
    reads: Sequence[str] = ()
    parts: Mapping[str, str] = field(default_factory=dict)  # input name -> the part of it that counts
    programs: Sequence[str] = ()
    found: Sequence[str] = ()  # fields of the config that are filled in when it is made

    @property
    def code(self) -> dict[str, str]:
        # A job's artifact is made by the program; a change in the code that watches it must not cost a training run.
        return (
            {**code_reachable_from(self.programs), "stage": self.name.split("/")[0]}
            if self.programs
            else code_of(self.stage)
        )

    @property
    def libraries(self) -> dict[str, str]:
        return libraries_reachable_from(self.programs or [self.stage.__module__])

    @property
    def version(self) -> str:
        return code_version(identity(self.config), self.code, self.libraries)

    def expected(self, made: MadeFrom, inputs: Mapping[str, Artifact]) -> MadeFrom:
        """What ``made`` would be made from now, if what is only found while making it were as it was then."""
        now = self.made_from(inputs)
        return now.model_copy(
            update={"config": now.config | {name: made.config[name] for name in self.found if name in made.config}}
        )

    def made_from(self, inputs: Mapping[str, Artifact]) -> MadeFrom:
        return MadeFrom(
            config=identity(self.config),
            code=self.code,
            libraries=self.libraries,
            inputs=input_refs(inputs, self.parts),
        )


def artifact(
    recipe: Recipe,
    group: str,
    declared: Declared,
    *,
    checks: Sequence[str],
    warns: Collection[str] = (),
    kinds: Sequence[str],
    deps: Sequence[str] = (),
    call: (
        Callable[[dg.AssetExecutionContext, Store, MadeFrom, Mapping[str, Artifact], Workspace], Outcome] | None
    ) = None,
    after: Callable[[dg.AssetExecutionContext, Store, Artifact], None] | None = None,
    refine: Callable[[dg.AssetExecutionContext, Store, Mapping[str, Artifact]], BaseModel] | None = None,
    required_resources: Sequence[str] = (),
    pool: str | None = None,
) -> dg.AssetsDefinition:
    """Declare one unpartitioned artifact.

    ``checks`` are the names of the checks its stage returns, all judged in the same step; ``warns`` those of them that
    stop nothing. ``call`` replaces the plain call of the stage where it needs more than inputs (a job); ``after`` runs
    once the artifact is there, made or found; ``refine`` gives the config where it depends on what this Dagster run
    asks for. ``deps`` are further edges that the stage does not read through the store. ``pool`` names the concurrency
    pool that an instance may limit; without a limit it means nothing.
    """

    @dg.multi_asset(
        name=label(declared.name),
        specs=[
            dg.AssetSpec(
                key(declared.name),
                deps=[key(n) for n in (*declared.reads, *deps)],
                group_name=group,
                description=description(declared.stage),
                code_version=declared.version,
                kinds=set(kinds),
                owners=[recipe.owner],
                metadata=code_reference(declared.stage),
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(c, asset=key(declared.name), blocking=c not in warns, description=check_description(c))
            for c in checks
        ],
        required_resource_keys={"store", *required_resources},
        pool=pool,
    )
    def body(context: dg.AssetExecutionContext) -> Any:
        store: Store = context.resources.store.open()
        guard_instance(context, recipe)
        inputs = {name: store.head(recipe.name, name) for name in declared.reads}
        entry = replace(declared, config=refine(context, store, inputs)) if refine else declared
        made_from = entry.made_from(inputs)

        def work(out: Workspace) -> Outcome:
            if call:
                return call(context, store, made_from, inputs, out)
            outcome = entry.stage(entry.config, inputs, out)
            refuse_what_was_edited(made_from.code)
            return outcome

        made, reused = store.build(
            declared.name, made_from, work, context.log.info, recipe.compute.workers, progress_of(context)
        )
        store.set_head(recipe.name, declared.name, declared.name, made.fingerprint)
        if after:
            after(context, store, made)
        context.log.info(summary(made, reused))
        for check in made.verdict:
            if not check.passed:
                (context.log.error if check.blocking else context.log.warning)(
                    f"{check.name} {'refuses' if check.blocking else 'warns'}: {check.detail}"
                )
        yield dg.MaterializeResult(
            asset_key=key(declared.name),
            metadata=metadata(made, reused),
            data_version=dg.DataVersion(made.manifest.digest),
            check_results=[check_result(declared.name, c) for c in made.verdict if c.name in checks],
        )

    return body


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


CHECKS = {
    "rows_balance": "Every document that came in was kept or dropped, with a verdict.",
    "language_not_empty": "Something is left in every language.",
    "not_empty": "Something was fetched.",
    "something_recalled": "The classifier recalls at least one document (a warning).",
    "no_item_left": (
        "No evaluation item stands verbatim in any document that is left, by a search of all of them; nothing is made"
        " from an artifact that fails this."
    ),
    "terms_quoted": (
        "The full terms of the source's licence are in the catalogue (a warning where only its name is known)."
    ),
    "every_language_served": "Every language the mixture asks for has documents.",
    "lossless": "decode(encode(text)) is the text, for English, Chinese, code and odd white space.",
    "same_ids": "The Hugging Face tokenizer gives the ids that SentencePiece gives.",
    "every_document_ends": "Every document of the stream is followed by the end-of-document token.",
    "parameters_agree": "The formula that plans and the model that trains have the same number of parameters.",
    "one_sequence_at_least": "The stream is longer than one training sequence.",
    "loss_finite": "No step's loss was infinite or not a number.",
    "loss_falls": (
        "The loss is lower over the last tenth of the steps than over the first (a warning where the run did not start"
        " from scratch)."
    ),
    "every_step_recorded": "Each step has its row in the metrics.",
    "logits_match": "The exported model's logits are those of the checkpoint.",
    "every_due_checkpoint_scored": "Every checkpoint the recipe wants evaluated has its scores.",
    "repeats_agree": "A repeated evaluation gave the same scores (a warning).",
    "searched": "The training text was searched for evaluation items (a warning where no language says how).",
    "scores_there": "There are scores to be gathered (a warning).",
    "no_regression": (
        "No run's last checkpoint is worse than its parent, the best checkpoint or the baseline, item by item (blocking"
        " where the recipe says so)."
    ),
    "languages_in_step": (
        "The gap between English and Chinese has not widened beyond the recipe's bound (blocking where the recipe says"
        " so)."
    ),
    "no_contamination": "No score rests on items that stand in the training text (blocking where the recipe says so).",
    "guessing_is_chance": (
        "Without training a model scores what guessing does, so that no task's items give something away (blocking"
        " where the recipe says so)."
    ),
    "sane": (
        "Scores are better than guessing and than without training, questions fit the model, and what is written does"
        " not repeat itself (blocking where the recipe says so)."
    ),
    "self_contained": "The report needs nothing outside its own file.",
}
"""What a check claims, as the UI shows it."""


def check_description(name: str) -> str:
    if name in CHECKS:
        return CHECKS[name]
    kind, _, lang = name.partition("_items_")
    return {
        "has": f"There are held-out items in '{lang}'.",
        "enough": f"There are as many items in '{lang}' as the recipe asks for (a warning).",
    }[kind]


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


def summary(made: Artifact, reused: bool) -> str:
    """One line about an artifact for the console."""
    m = made.manifest
    parts = [f"{name} {spoken(value)}" for name, value in list(m.numbers.items())[:4]]
    if m.rows_in is not None and m.rows_dropped:
        parts.insert(0, f"{m.rows_in:,} in = {m.rows_kept:,} kept + {m.rows_dropped:,} dropped")
    how = "reused" if reused else f"made in {m.seconds:.1f} s"
    return f"{how}  {made.fingerprint[:12]}  {'; '.join(parts)}"


def spoken(value: Scalar) -> str:
    """A number as a person reads it: thousands apart, four digits of a fraction."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)


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
        "reused": dg.MetadataValue.bool(reused),
        "path": dg.MetadataValue.path(str(made.path)),
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
