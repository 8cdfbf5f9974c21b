"""``traced_samples``: what every evaluated checkpoint wrote, traced to the pool and to the steps before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.trace import Trace
from neo_assets.core.store import Artifact, Outcome, Row, Store, Workspace
from neo_assets.core.withdrawn import all_withdrawn
from neo_assets.runs.found_runs import run_of
from neo_assets.trace.hidden import Hidden
from neo_assets.trace.index import KEY
from neo_assets.trace.reads import readers_before, steps_that_read
from neo_assets.trace.search import TraceIndex
from neo_assets.trace.told import passages, segments
from neo_assets.trace.traced import Spans, Traced, Turn, trace
from neo_assets.trace.written import FILE


class TracedSamplesInput(Section):
    settings: Trace


def trace_samples(
    config: TracedSamplesInput, inputs: Mapping[str, Artifact], out: Workspace, *, store: Store
) -> Outcome:
    """What the evaluated checkpoints wrote, looked for in the training pool: passages that stand there verbatim, in
    which documents, and which of the steps before that checkpoint read them. Verbatim is not cause.
    """
    index, hidden = TraceIndex(inputs[KEY]), Hidden(all_withdrawn(inputs, "train_pool", "trace"))
    rows: list[dict[str, Any]] = []
    shares: list[Row] = []
    for name, artifact in inputs.items():
        if not name.startswith("evaluation/") or "samples.json" not in artifact.manifest.files:
            continue
        run = name.partition("/")[2]
        written = json.loads(artifact.file("samples.json").read_text(encoding="utf-8"))
        for checkpoint in sorted({str(row["checkpoint"]) for row in written}):
            mine = [row for row in written if str(row["checkpoint"]) == checkpoint]
            step, _, fingerprint = checkpoint.partition("-")
            readers = readers_before(store, run_of(store, run, fingerprint), int(step))

            def reads(spans: Spans, sizes: Mapping[str, int], readers: Any = readers) -> Any:
                return steps_that_read(readers, spans, sizes)

            found = [trace(index, [Turn(str(row["continuation"]))], config.settings, reads, hidden) for row in mine]
            rows += [_row(run, row, one) for row, one in zip(mine, found, strict=True)]
            units = sum(one.units for one in found)
            read = sum(any(r.steps for d in told.documents for r in d.read) for one in found for told in one.told)
            shares.append(
                {
                    "run": run,
                    "step": int(step),
                    "words or characters": units,
                    "in passages that stand in the pool": round(sum(one.covered for one in found) / max(units, 1), 4),
                    "passages": sum(len(one.told) for one in found),
                    "of documents read by then": read,
                }
            )
        out.progress(len(rows), None, "samples traced")
    out.write_text(FILE, json.dumps(rows, ensure_ascii=False, indent=1))
    return Outcome(
        digest=digest_json(rows),
        numbers={"samples": len(rows), "passages": sum(len(row["passages"]) for row in rows)},
        tables={"what stands in the training pool of what was written": shares},
    )


def _row(run: str, row: Mapping[str, Any], found: Traced) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("step", "checkpoint", "lang", "prompt")},
        "run": run,
        "segments": [[s.text, s.passage] for s in segments(found, 0)],
        "passages": passages(found),
    }
