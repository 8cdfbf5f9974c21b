"""Section "scaling" of the report: laws through a series of small runs, and the forecast beside what came of it."""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.core.store import Artifact
from neo_assets.report.page import Block, Part, table
from neo_assets.scaling.readings import TEXTS


def scaling_part(inputs: Mapping[str, Artifact]) -> list[Part]:
    """Nothing for a recipe without a series."""
    fitted, told, came = (inputs.get(name) for name in ("scaling_fit", "sealed_forecast", "forecast_outcome"))
    if fitted is None:
        return []
    blocks: list[Block] = [
        *table(
            "Laws of the loss by parameters and tokens, fitted without the sizes that are held out. Huber loss between"
            " log-losses (delta 0.001), R² of the loss, largest error as a share of the loss.",
            fitted.manifest.tables.get("laws", []),
            [fitted],
            folded=False,
        ),
        *table(
            "The model and the amount of tokens that are best for a budget, by the recipe's law.",
            fitted.manifest.tables.get("compute-optimal", []),
            [fitted],
        ),
    ]
    if came is not None:
        (sealed,) = [check.detail for check in came.verdict if check.name == "sealed_before_its_first_step"]
        caption = f"The forecast and what the run reached, nats a token: {sealed}."
        blocks += table(caption, came.manifest.tables.get("forecast and outcome", []), [came], folded=False)
        if texts := came.manifest.tables.get(TEXTS):
            blocks += table("Bits per byte of held-out documents at its last checkpoint.", texts, [came], folded=False)
    elif told is not None:
        caption = "The forecast; its run has not ended."
        blocks += table(caption, told.manifest.tables.get("foretold", []), [told], folded=False)
        if texts := told.manifest.tables.get(TEXTS):
            blocks += table("Bits per byte of held-out documents, foretold.", texts, [told], folded=False)
    return [
        Part(
            "scaling",
            "Scaling",
            "Small runs at a constant rate say how the loss falls with parameters and tokens; the forecast was in the"
            " main run's job before its first step, or is said to be none.",
            blocks,
        )
    ]
