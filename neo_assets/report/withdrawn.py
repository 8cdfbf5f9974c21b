"""The report on what was withdrawn: how much, what is left of it in the token streams, and which runs went back."""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.core.scalars import whole
from neo_assets.core.store import Artifact, Row
from neo_assets.core.withdrawn import KEY, SIDES
from neo_assets.report.page import Part, of_kind, table


def withdrawn_part(inputs: Mapping[str, Artifact]) -> list[Part]:
    """Nothing, where no tombstone is in force."""
    made = inputs.get(KEY)
    if made is None or not made.manifest.numbers.get("tombstones"):
        return []
    numbers = made.manifest.numbers
    streams = of_kind(inputs, "token_shards")
    masked: list[Row] = [
        {
            "phase": phase,
            "places masked": stream.manifest.numbers.get("masked_documents", 0),
            "tokens masked": stream.manifest.numbers.get("masked_tokens", 0),
            "of tokens": stream.manifest.numbers.get("tokens"),
        }
        for phase, stream in streams.items()
    ]
    plans = of_kind(inputs, "run_plan")
    back = [row for run, plan in plans.items() if (row := _goes_back(run, plan)) is not None]
    sides: list[Row] = [{"side": side, "documents": numbers.get(side)} for side in SIDES]
    blocks = [
        *table(
            f"What {whole(numbers['tombstones']):,} tombstones name in the corpus, with copies that stayed in the place"
            " of it.",
            sides,
            [made],
        ),
        *table(
            "Token streams: every other document stands where it stood; of a masked one no token is left, and none is"
            " learnt.",
            masked,
            streams.values(),
        ),
        *table(
            "Runs that go on from a checkpoint of themselves as they were: from before the first step that read what is"
            " withdrawn, where `neo takedown --plan` recorded it.",
            back,
            [plans[str(row["run"])] for row in back],
        ),
    ]
    return [
        Part(
            "withdrawn",
            "What was withdrawn",
            "Its text stays where it was cleaned; no step of these runs read it, no task is made of it, and no trace"
            " shows it.",
            blocks,
        )
    ]


def _goes_back(run: str, plan: Artifact) -> Row | None:
    config = plan.manifest.made_from.config.get("run")
    parent = config.get("parent") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(parent, dict) or parent.get("run") != run:
        return None
    step, steps = whole(parent["step"]), whole(config["steps"])
    return {
        "run": run,
        "goes on from": f"{run}@{step}",
        "of the run": str(parent.get("fingerprint"))[:12],
        "steps trained again": steps - step,
    }
