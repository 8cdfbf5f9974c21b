"""How the web UI and our own views bear a thousand evaluated checkpoints: ``python -m benchmarks.ui_scores
[CHECKPOINTS] [TASKS]``.

A Dagster instance of its own gets that many partitions of `checkpoint`, `hf_model` and `eval_scores` of run `main`,
materialized with synthetic events as the factory's (beside twenty from real score artifacts), and a store gets as many
score artifacts. Then a webserver is asked what its pages ask, by GraphQL, and each of our views is timed. Times are
wall-clock, of a warm server, median of three.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median

import dagster as dg

from neo_assets.core.fingerprint import ROOT, digest_bytes
from neo_assets.core.store import Store
from neo_assets.declare import key
from neo_assets.evaluate.assets import score_digest, score_metadata
from neo_assets.evaluate.index import read_scores
from neo_assets.evaluate.score import score_rows
from neo_assets.scores.clean_scores import clean_scores
from tests.evaluate.scoring import Answering, scorer, subject, task, tasks_artifact

RUN = "0123456789abcdef"
REAL = 20

PARTITIONS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { id
  partitionKeysByDimension { name partitionKeys }
  assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions } } } } }"""
EVENTS = """query($key: AssetKeyInput!, $limit: Int!, $partitions: [String!]) {
  assetOrError(assetKey: $key) { ... on Asset { id
  assetMaterializations(limit: $limit, partitions: $partitions) {
    runId timestamp partition metadataEntries { label __typename
    ... on FloatMetadataEntry { floatValue } ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text }
    ... on TableMetadataEntry { table { records schema { columns { name type } } } } } } } } }"""
GRAPH = (
    "{ assetNodes { id assetKey { path } groupName hasMaterializePermission partitionStats { numMaterialized"
    " numPartitions numFailed } assetChecksOrError { ... on AssetChecks { checks { name } } } } }"
)


def timed(work: Callable[[], object]) -> float:
    took = []
    for _ in range(3):
        began = time.monotonic()
        work()
        took.append(time.monotonic() - began)
    return median(took)


def fill_store(root: Path, checkpoints: int, tasks: int) -> tuple[Store, list[str]]:
    store = Store(root)
    store.set_head("laptop", "pretraining/main", "pretraining/main", RUN)
    artifact = tasks_artifact(store, *(task(f"task_{i:02}", 20) for i in range(tasks)))
    names = [f"{50 * i:07d}-{RUN[:8]}" for i in range(checkpoints)]
    mine = scorer(
        store,
        Answering(store, {name: 0.25 + 0.5 * i / checkpoints for i, name in enumerate(names)}),
        [artifact],
        [f"task_{i:02}" for i in range(tasks)],
    )
    for i, name in enumerate(names):
        store.set_head("laptop", f"hf_model/main@{name}", "hf_model/main", digest_bytes(name.encode()))
        mine.scored(subject(name, 50 * i))
        if i % 100 == 99:
            print(f"  {i + 1} checkpoints scored", flush=True)
    return store, names


def fill_instance(home: Path, store: Store, names: list[str], tasks: int) -> None:
    home.mkdir()
    (home / "dagster.yaml").write_text(
        (ROOT / "dagster.yaml").read_text().replace("base_dir: .dagster", f"base_dir: {home}")
    )
    artifact = tasks_artifact(store, *(task(f"task_{i:02}", 20) for i in range(tasks)))
    mine = scorer(store, Answering(store), [artifact], [f"task_{i:02}" for i in range(tasks)])
    scores, _ = mine.scored(subject(names[0], 0))
    rows, digest = score_rows(scores, 1), score_digest(scores)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("checkpoint_main", names)
        for i, name in enumerate(names):
            if i < REAL:
                scores, _ = mine.scored(subject(name, 50 * i))
                rows, digest = score_rows(scores, 1), score_digest(scores)
            metadata = score_metadata([{**row, "step": 50 * i} for row in rows])
            for asset in ("checkpoint", "hf_model"):
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(
                        key(f"{asset}/main"),
                        partition=name,
                        metadata={"step": 50 * i},
                        tags={"dagster/data_version": name},
                    )
                )
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    key("eval_scores/main"), partition=name, metadata=metadata, tags={"dagster/data_version": digest}
                )
            )


def ask(port: int, query: str, **variables: object) -> object:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        answer = json.load(reply)
    if "errors" in answer:
        raise SystemExit(json.dumps(answer["errors"])[:2000])
    return answer["data"]


def main() -> None:
    checkpoints, tasks = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 1000), (2, 10)))
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        began = time.monotonic()
        store, names = fill_store(here / "store", checkpoints, tasks)
        print(
            f"{checkpoints} checkpoints x {tasks} tasks: {checkpoints * tasks} score artifacts in"
            f" {time.monotonic() - began:.0f} s"
        )
        fill_instance(here / "home", store, names, tasks)
        environment = {
            **os.environ,
            "NEO_STORE": str(store.root),
            "DAGSTER_HOME": str(here / "home"),
            "NEO_RECIPE": "laptop",
            "PYTHONWARNINGS": "ignore",
        }
        began = time.monotonic()
        neo(environment, "scores", "main")
        print(f"neo scores, index made anew: {time.monotonic() - began:.2f} s")
        print(
            f"neo scores: {timed(lambda: neo(environment, 'scores', 'main')):.2f} s; --history:"
            f" {timed(lambda: neo(environment, 'scores', 'main', '--history', '--json')):.2f} s"
        )
        rows, flagged = (
            read_scores(store).to_pylist(),
            {f"task_{i:02}": [f"task_{i:02}{n}" for n in range(5)] for i in range(tasks)},
        )
        began = time.monotonic()
        clean_scores(rows, flagged, store)
        print(
            f"every score once more without its contaminated items: {time.monotonic() - began:.1f} s; what is known"
            f" again: {timed(lambda: clean_scores(rows, flagged, store)):.2f} s"
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "dagster_webserver", "-m", "definitions", "-h", "127.0.0.1", "-p", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port)
            where = {"path": key("eval_scores/main").path}
            for said, query, variables in (
                ("asset graph with partition counts", GRAPH, {}),
                ("partitions of eval_scores and their states", PARTITIONS, {"key": where}),
                ("one checkpoint's scores", EVENTS, {"key": where, "limit": 1, "partitions": [names[len(names) // 2]]}),
                ("plots: the last 100 events with their tables", EVENTS, {"key": where, "limit": 100}),
                ("all events with their tables", EVENTS, {"key": where, "limit": checkpoints}),
            ):
                print(
                    f"web UI, {said}:"
                    f" {timed(lambda query=query, variables=variables: ask(port, query, **variables)):.2f} s",
                    flush=True,
                )  # type: ignore[misc]
        finally:
            server.terminate()
            server.wait()


def neo(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "neo_assets.cli", *arguments], cwd=ROOT, env=environment, check=True, capture_output=True
    )


def wait_for(port: int) -> None:
    for _ in range(240):
        try:
            ask(port, "{ version }")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise SystemExit("the webserver did not come up")


if __name__ == "__main__":
    main()
