"""``release``: a model with everything that lets a stranger check what is said of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from neo_assets.core import records
from neo_assets.core.errors import MissingUpstream
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.manifest import MANIFEST
from neo_assets.core.recipe.base import Section
from neo_assets.core.same_file import take_over
from neo_assets.core.store import Artifact, Check, Outcome, Store, Workspace, read_manifest
from neo_assets.core.withdrawn import all_withdrawn, withdrawn_of
from neo_assets.core.written import SCRATCH
from neo_assets.release import layout
from neo_assets.release.cards import cards, worded
from neo_assets.release.code import OTHER, compared, write_code
from neo_assets.release.paper_card import WRITTEN, written_text
from neo_assets.release.readme import by_licence, readme
from neo_assets.runs.checkpoint_card import CARD
from neo_assets.runs.found_runs import FoundRun, parts_behind, run_of

_DOCUMENTS = ("doc_id", "url", "title", "source", "licence", "lang")


class ReleaseInput(Section):
    run: str
    redistribute: list[str]
    recipe_text: str
    written: dict[str, tuple[str, str, str]] = Field(
        description="by place of the recipe, for the paper: file and line, the reason given there, and by which section"
    )


@dataclass
class _Gathered:
    """Artifacts that a release was made from, by (key, fingerprint), and those that are gone."""

    there: dict[tuple[str, str], Path] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)


def make_release(
    config: ReleaseInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    store: Store,
    model: Artifact,
    checkpoint: Artifact,
) -> Outcome:
    """The released model as a bundle that strangers verify without this store: weights, settings, the manifest of every
    artifact it was made from, certificates, which document each training step read, addresses and licences, scores.
    """
    step, _, fingerprint = checkpoint.folder.name.partition("-")
    run = run_of(store, config.run, fingerprint)
    for name in model.manifest.files:
        if name not in ("verdict.json", CARD):  # the release's own card takes its place
            take_over(model.file(name), out.path / layout.WEIGHTS / name)
    parts = parts_behind(store, run, int(step))
    certified, streams = _write_checkpoints(parts, out), _write_streams(store, parts, out)
    roots = [*inputs.values(), model, checkpoint, *(made for made, _ in streams.values())]
    gathered = _gathered(store, [*((made.key, made.folder.name) for made in roots), *certified])
    for key, name in sorted(gathered.there):
        records.write_text(
            out.path / layout.manifest_file(key, name),
            (gathered.there[key, name] / MANIFEST).read_text(encoding="utf-8"),
        )
    documents = _write_documents(config.redistribute, inputs, out)
    _write_scores(inputs, out)
    out.write_text(layout.RECIPE, config.recipe_text)
    out.write_text(WRITTEN, written_text(config.written))
    write_code(out)
    told = {
        **_told(config, inputs, model, checkpoint),
        "parts": [_part(*part, certified, streams) for part in parts],
        "streams": {name: [made.key, made.fingerprint] for made, name in streams.values()},
        "not_followed": sorted(map(list, gathered.gone)),
        "worded": worded(),
        OTHER: compared(out.path, [read_manifest(folder) for folder in gathered.there.values()]).other,
    }
    out.write_text(layout.RELEASE, json.dumps(told, indent=1, ensure_ascii=False))
    out.write_text(layout.README, readme(told, documents))
    for card, text in cards(out.path).items():
        out.write_text(card, text)
    sums = {
        path.relative_to(out.path).as_posix(): layout.sha256(path)
        for path in sorted(out.path.rglob("*"))
        if path.is_file() and path.relative_to(out.path).parts[0] != SCRATCH
    }
    out.write_text(layout.SUMS, layout.sums_text(sums))
    return Outcome(
        digest=digest_json(sums),
        numbers={
            "run": config.run,
            "step": int(step),
            "files": len(sums),
            "manifests": len(gathered.there),
            "documents": sum(int(row["documents"]) for row in documents),
        },
        tables={"documents by licence": documents},  # type: ignore[dict-item]
        checks=[
            Check(
                name="everything_followed",
                passed=not gathered.gone,
                detail=", ".join(f"{key} {name[:12]}" for key, name in sorted(gathered.gone)[:5])
                or f"{len(gathered.there)} manifests",
                blocking=False,
            ),
            _nothing_withdrawn(parts, all_withdrawn(inputs, "train_pool", "release")),
        ],
    )


def _told(
    config: ReleaseInput, inputs: Mapping[str, Artifact], model: Artifact, checkpoint: Artifact
) -> dict[str, object]:
    """Which artifacts the release is of."""
    return {
        "run": config.run,
        "step": int(checkpoint.folder.name.partition("-")[0]),
        "weights": [model.key, model.fingerprint],
        "checkpoint": [checkpoint.key, checkpoint.folder.name],
        "pool": ["train_pool", inputs["train_pool"].fingerprint],
        "scores": {name: made.fingerprint for name, made in inputs.items() if name.startswith("evaluation/")},
        "comparison": inputs["comparison"].fingerprint,
        "funnel": inputs["funnel"].fingerprint,
        "redistribute": sorted(config.redistribute),
    }


def _nothing_withdrawn(parts: Sequence[tuple[FoundRun, int, int]], ids: Collection[str]) -> Check:
    """Whether a step that led to the model read what was withdrawn."""
    wrong = []
    for part, first, last in parts if ids else ():
        if first < last and len(steps := part.ledger().when(sorted(ids), last).column("step")):
            wrong.append(f"{part.name} in step {min(steps.to_pylist()):,}")
    told = f"{len(ids):,} documents are withdrawn, and no step read one" if ids else "nothing is withdrawn"
    if wrong:
        told = f"documents that were withdrawn were read by {', '.join(wrong)}: `neo takedown --plan`"
    return Check(name="nothing_withdrawn", passed=not wrong, detail=told)


_Streams = Mapping[str, tuple[Artifact, str]]
"""Streams that were read, by their fingerprints, with their names in the release."""


def _part(
    part: FoundRun, first: int, last: int, certified: Sequence[tuple[str, str]], streams: _Streams
) -> dict[str, object]:
    """A part of the training, and the steps of it that have a certificate in the release."""
    its = f"-{part.config.run_fingerprint[:8]}"  # a run may go on from itself as it was
    steps = [int(n.partition("-")[0]) for key, n in certified if key == f"checkpoint/{part.name}" and n.endswith(its)]
    return {
        "run": part.name,
        "run_fingerprint": part.config.run_fingerprint,
        "first": first,
        "last": last,
        "goes_on": bool(part.config.start and part.config.start.take == "everything"),
        "certified": steps,
        "stream": streams[read_manifest(part.shards).fingerprint][1],
    }


def _write_checkpoints(parts: Sequence[tuple[FoundRun, int, int]], out: Workspace) -> list[tuple[str, str]]:
    """Certificates and losses of all checkpoints that led to the released one; returns these, key and name."""
    found = []
    for part, first, last in parts:
        for step, folder in sorted(part.checkpoints().items()):
            if first < step <= last or step == last:
                for name in layout.OF_A_CHECKPOINT:
                    take_over(folder / name, out.path / layout.CERTIFICATES / part.name / str(step) / name)
                found.append((f"checkpoint/{part.name}", folder.name))
    return found


def _write_streams(store: Store, parts: Sequence[tuple[FoundRun, int, int]], out: Workspace) -> _Streams:
    """What says which document stood where in the streams that were read. The one that a phase was read from last is
    called as the phase; one that an earlier part of the training read has its fingerprint in its name, too.
    """
    streams: dict[str, tuple[Artifact, str]] = {}
    for part, _, _ in parts:
        made = read_manifest(part.shards)
        if made.fingerprint in streams:
            continue
        phase, known = made.key.partition("/")[2], {name for _, name in streams.values()}
        name = phase if phase not in known else f"{phase}-{made.fingerprint[:8]}"
        artifact = store.require(made.key, made.fingerprint)
        streams[made.fingerprint] = artifact, name
        for file in made.files:
            if file.startswith(layout.OF_A_STREAM) or file == "index.parquet":
                take_over(artifact.file(file), out.path / layout.LEDGER / name / file)
    return streams


def _gathered(store: Store, roots: Iterable[tuple[str, str]]) -> _Gathered:
    """Everything that artifacts were made from, down to the catalogues, and they themselves."""
    found = _Gathered()
    waiting = list(roots)
    while waiting:
        at = waiting.pop()
        if at in found.there or at in found.gone:
            continue
        try:
            store.learn(at[0])
            manifest = read_manifest(store.folder(*at))
        except (OSError, MissingUpstream):
            found.gone.add(at)
            continue
        found.there[at] = store.folder(*at)
        waiting += [(name, ref.fingerprint) for name, ref in manifest.made_from.inputs.items()]
    return found


def _write_documents(
    redistribute: Sequence[str], inputs: Mapping[str, Artifact], out: Workspace
) -> list[dict[str, int | str | bool]]:
    """What is told of every document of the pool, of one that was withdrawn no address and no title; returns a row a
    licence.
    """
    told = [("may_be_passed_on", pa.bool_()), ("withdrawn", pa.bool_())]
    schema = pa.schema([*(records.DOCUMENT.field(name) for name in _DOCUMENTS), *told])
    counts: dict[tuple[str, str], int] = {}
    target = out.path / layout.DOCUMENTS
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = records.aside_of(target)
    with pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for path in inputs["train_pool"].files(records.PART):
            table = records.read_table(path, records.DOCUMENT, list(_DOCUMENTS)).replace_schema_metadata(None)
            gone = withdrawn_of(inputs, "train_pool", path.name, "release")["doc_id"].combine_chunks()
            withdrawn = pc.is_in(table["doc_id"], value_set=gone)
            for name in ("url", "title"):
                hidden = pc.if_else(withdrawn, pa.scalar(None, pa.string()), table[name])
                table = table.set_column(table.schema.get_field_index(name), name, hidden)
            licences = table.column("licence").to_pylist()
            allowed = pa.array(np.array([licence in redistribute for licence in licences], np.bool_))
            table = table.append_column("may_be_passed_on", pc.and_not(allowed, withdrawn.combine_chunks()))
            writer.write_table(table.append_column("withdrawn", withdrawn).cast(schema))
            for place in zip(table.column("source").to_pylist(), licences, strict=True):
                counts[place] = counts.get(place, 0) + 1
    records.fsync_rename(aside, target)
    return [by_licence(source, licence, n, licence in redistribute) for (source, licence), n in sorted(counts.items())]


def _write_scores(inputs: Mapping[str, Artifact], out: Workspace) -> None:
    for name, made in inputs.items():
        if name.startswith("evaluation/"):
            for file in ("scores.json", "samples.json"):
                if file in made.manifest.files:
                    take_over(made.file(file), out.path / layout.SCORES / name.partition("/")[2] / file)
    take_over(inputs["comparison"].file("comparisons.json"), out.path / layout.COMPARISONS)
    take_over(inputs["funnel"].file("funnel.json"), out.path / layout.FUNNEL)
