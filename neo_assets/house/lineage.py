"""`neo lineage`: what an artifact was made of; and all of a build as OpenLineage events, for whoever keeps a catalogue.

The events are of manifests, the same for everybody who asks: an artifact is a dataset (its name) in a version (its
fingerprint), and its making a run of a job of the same name. Two events a run, START and COMPLETE, as the specification
asks; a file with an event a line is what its clients read.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from neo_assets.core import records
from neo_assets.core.ancestry import Pair, behind
from neo_assets.core.errors import BadInput, MissingUpstream
from neo_assets.core.manifest import VERDICT_FILE, Manifest
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import Artifact, Row, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.words import counted

SPEC = "https://openlineage.io/spec"
EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = {
    "version": f"{SPEC}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "outputStatistics": f"{SPEC}/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",  # noqa: E501
    "dataQualityAssertions": f"{SPEC}/facets/1-1-0/DataQualityAssertionsDatasetFacet.json#/$defs/DataQualityAssertionsDatasetFacet",  # noqa: E501
    "jobType": f"{SPEC}/facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "ownership": f"{SPEC}/facets/1-0-1/OwnershipJobFacet.json#/$defs/OwnershipJobFacet",
    "processing_engine": f"{SPEC}/facets/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
    "neofoundry_madeFrom": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet",
}
"""Facets that are written, and the schemas that they follow; what an artifact was made from has none of its own."""


def lineage(
    artifact: Annotated[
        str, typer.Argument(metavar="[ARTIFACT]", help="an artifact of the build, clean_docs/en; all, if left out")
    ] = "",
    openlineage: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write OpenLineage events instead, one a line; - prints them")
    ] = None,
    namespace: Annotated[str, typer.Option(help="of jobs and datasets in the events")] = "neofoundry",
    as_json: bool = JSON,
) -> None:
    """What the build's artifacts, or one of them, were made of, down to the sources; as OpenLineage events for a
    catalogue.
    """
    recipe, store = load(), Store(store_root())
    found, gone = behind(store, _roots(store, recipe, artifact))
    if openlineage is not None:
        if str(openlineage) != "-" and not openlineage.parent.is_dir():
            raise BadInput(f"{openlineage}: there is no folder {openlineage.parent}")
        lines = [json.dumps(event, ensure_ascii=False) for event in events(recipe, found, namespace)]
        if str(openlineage) == "-":
            print("\n".join(lines))
            return
        records.write_text(openlineage, "\n".join(lines) + "\n")
        lost = f"; {counted(len(gone), 'artifact')} that they name are not in the store any more" if gone else ""
        told = f"{counted(len(lines), 'event')} of {counted(len(found), 'artifact')} in {openlineage}{lost}"
        print(told)
        return
    rows: list[Row] = [
        {
            "artifact": made.manifest.key,
            "fingerprint": made.folder.name[:12],
            "made": made.manifest.created_at[:19],
            "of": ", ".join(made.manifest.made_from.inputs) or None,
        }
        for made in found.values()
    ]
    rows += [{"artifact": key, "fingerprint": name[:12], "made": "gone", "of": None} for key, name in sorted(gone)]
    show(rows, as_json)


def _roots(store: Store, recipe: Recipe, artifact: str) -> list[Pair]:
    heads = store.heads(recipe.name)
    if artifact and artifact not in heads:
        from neo_assets.build import artifact_named, stages

        artifact = artifact_named(artifact, stages(recipe), recipe)
    if artifact and artifact not in heads:
        raise MissingUpstream(f"{artifact} is not made yet; `neo plan` lists what is")
    return [heads[artifact]] if artifact else list(heads.values())


# ------------------------------------------------------------------ OpenLineage


def events(recipe: Recipe, found: Mapping[Pair, Artifact], namespace: str) -> Iterator[dict[str, Any]]:
    """START and COMPLETE of the making of every artifact, in the order in which they were made of each other."""
    version = importlib.metadata.version("neofoundry")
    producer = f"urn:neofoundry:{version}"

    def facet(kind: str, /, **fields: object) -> dict[str, object]:
        return {"_producer": producer, "_schemaURL": FACETS[kind], **fields}

    def dataset(name: str, fingerprint: str) -> dict[str, Any]:
        version = facet("version", datasetVersion=fingerprint)
        return {"namespace": namespace, "name": name, "facets": {"version": version}}

    def read(name: str, fingerprint: str) -> dict[str, Any]:
        made = found.get((name, fingerprint))
        assertions = [
            {"assertion": c.name, "success": c.passed, "severity": "error" if c.blocking else "warn"}
            for c in (made.verdict if made else ())
        ]
        checked = {"dataQualityAssertions": facet("dataQualityAssertions", assertions=assertions)} if assertions else {}
        return dataset(name, fingerprint) | {"inputFacets": checked}

    def wrote(made: Manifest, fingerprint: str) -> dict[str, Any]:
        files = [entry for name, entry in made.files.items() if name != VERDICT_FILE]
        amounts: dict[str, object] = {"size": sum(entry.size for entry in files), "fileCount": len(files)}
        if made.rows_kept is not None:
            amounts["rowCount"] = made.rows_kept
        statistics = facet("outputStatistics", **amounts)
        return dataset(made.key, fingerprint) | {"outputFacets": {"outputStatistics": statistics}}

    for (key, fingerprint), artifact in found.items():
        made = artifact.manifest
        ended = datetime.datetime.fromisoformat(made.created_at)
        begun = ended - datetime.timedelta(seconds=made.seconds)
        made_from = facet(
            "neofoundry_madeFrom",
            fingerprint=fingerprint,
            digest=made.digest,
            config=made.made_from.config,
            code=made.made_from.code,
            libraries=made.made_from.libraries,
        )
        job = {
            "namespace": namespace,
            "name": key,
            "facets": {
                "jobType": facet("jobType", processingType="BATCH", integration="NEOFOUNDRY", jobType="ARTIFACT"),
                "ownership": facet("ownership", owners=[{"name": recipe.owner}]),
            },
        }
        common: dict[str, Any] = {"job": job, "producer": producer, "schemaURL": EVENT}
        engine = facet("processing_engine", version=version, name="NeoFoundry")
        run_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{producer}/{key}/{fingerprint}"))
        inputs = [read(name, ref.fingerprint) for name, ref in made.made_from.inputs.items()]
        run = {"runId": run_id, "facets": {"processing_engine": engine, "neofoundry_madeFrom": made_from}}
        common |= {"run": run, "inputs": inputs}
        yield {"eventType": "START", "eventTime": begun.isoformat(), "outputs": [], **common}
        made_this = [wrote(made, fingerprint)]
        yield {"eventType": "COMPLETE", "eventTime": ended.isoformat(), "outputs": made_this, **common}
