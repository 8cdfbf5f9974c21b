"""The lineage of a build: what it was made of, and the same as a client of OpenLineage reads it."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from neo_assets.core.store import Store
from tests.factory.conftest import Factory


def test_what_an_artifact_is_made_of_is_told_down_to_its_sources(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    told = json.loads(factory.neo("lineage", "clean_docs/en", "--json").stdout)
    names = [row["artifact"] for row in told]
    assert names[-1] == "clean_docs/en" and names[0].startswith("sources/")
    kinds = {name.partition("/")[0] for name in names}
    assert kinds == {"sources", "raw_crawl", "page_text", "documents", "signals", "clean_docs"} | (kinds & {"pdf_text"})
    for number, row in enumerate(told):
        assert set((row["of"] or "").split(", ")) - {""} <= set(names[:number])
    assert (
        factory.neo("lineage", "clean_docs_en", "--json").stdout
        == json.dumps(told, ensure_ascii=False, indent=1) + "\n"
    )
    assert "has no asset" in factory.neo("lineage", "nothing").stderr
    assert "there is no folder" in factory.neo("lineage", "--openlineage", "/nowhere/x").stderr


def test_a_client_of_openlineage_reads_every_event(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    client = pytest.importorskip("openlineage.client.event_v2", reason="openlineage-python is not installed")
    generated = importlib.import_module("openlineage.client.generated")
    kinds = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for kind in vars(importlib.import_module(f"openlineage.client.generated.{module.name}")).values():
            if isinstance(kind, type) and hasattr(kind, "_get_schema"):
                kinds[kind._get_schema()] = kind

    def facets(told: dict[str, Any]) -> dict[str, Any]:
        """As the client's own classes, which refuse what their schema has not."""
        out = {}
        for name, facet in told.items():
            fields = {key: value for key, value in facet.items() if not key.startswith("_")}
            if name.startswith("neofoundry_"):
                continue  # one's own facets are anybody's
            out[name] = kinds[facet["_schemaURL"]](**fields, producer=facet["_producer"])
        return out

    file = tmp_path / "events.ndjson"
    said = factory.neo("lineage", "--openlineage", str(file), "--namespace", "lab")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert said.stdout.startswith(f"{len(lines)} events of {len(lines) // 2} artifacts")
    seen: dict[tuple[str, str], str] = {}
    for line in lines:
        event = client.RunEvent(
            eventTime=line["eventTime"],
            producer=line["producer"],
            run=client.Run(line["run"]["runId"], facets(line["run"]["facets"])),
            job=client.Job(line["job"]["namespace"], line["job"]["name"], facets(line["job"]["facets"])),
            eventType=client.RunState[line["eventType"]],
            inputs=[
                client.InputDataset(
                    namespace=read["namespace"],
                    name=read["name"],
                    facets=facets(read["facets"]),
                    inputFacets=facets(read["inputFacets"]),
                )
                for read in line["inputs"]
            ],
            outputs=[
                client.OutputDataset(
                    namespace=made["namespace"],
                    name=made["name"],
                    facets=facets(made["facets"]),
                    outputFacets=facets(made["outputFacets"]),
                )
                for made in line["outputs"]
            ],
        )
        assert line["schemaURL"] == event.schemaURL and event.job.namespace == "lab"
        for read in event.inputs:  # what is read was made by an event before
            assert (read.name, read.facets["version"].datasetVersion) in seen
        for made in event.outputs:
            seen[made.name, made.facets["version"].datasetVersion] = event.run.runId
    starts, ends = ([line for line in lines if line["eventType"] == kind] for kind in ("START", "COMPLETE"))
    assert [s["run"]["runId"] for s in starts] == [e["run"]["runId"] for e in ends]
    assert all(s["eventTime"] <= e["eventTime"] for s, e in zip(starts, ends, strict=True))
    store = Store(factory.folder / "store")
    heads = {(key, fingerprint) for key, fingerprint in store.heads("ci").values()}
    assert heads <= set(seen)
    made = store.head("ci", "clean_docs/en").manifest
    told = next(e for e in ends if e["outputs"][0]["name"] == "clean_docs/en")
    assert told["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == made.rows_kept
    assert not re.search(r'"/(tmp|home|root)/', file.read_text(encoding="utf-8"))
