"""``hf_model/‹run›``: a checkpoint as a Hugging Face folder, exported by a job of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import Field

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.run import Model
from neo_assets.core.same_file import take_over
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.runs.checkpoint_card import CARD, CERTIFICATE, LOSSES, PARITY, card_digest, checkpoint_card
from neo_assets.runs.job_stage import THREADS, Aside
from neo_assets.tokenizer.train import hf_folder

STATE_FOLDER = "state"
"""DeepSpeed's files inside a checkpoint (training/checkpoint.py)."""

PROGRAM = "training.export"


class ExportInput(Section):
    run: str
    model: Model
    vocab_rows: int
    template: str | None = None
    repetition_penalty: float = 1.0
    scored: bool = False  # a reward model
    card_digest: str = Field(default_factory=card_digest, description="of what words the card that lies in the folder")


def export_model(
    config: ExportInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> Outcome:
    """A checkpoint as a Hugging Face folder: safetensors, configuration, tokenizer, a card and the certificate that
    this is compiled from; loads with transformers alone.

    The exported model's logits are compared with those of the checkpoint's own weights before the folder is committed.
    """
    checkpoint, tokenizer = inputs[f"checkpoint/{config.run}"], inputs["tokenizer"]
    told = {
        "model": config.model.model_dump(),
        "vocab_rows": config.vocab_rows,
        "tag": STATE_FOLDER,
        "threads": THREADS,
        "template": config.template,
        "repetition_penalty": config.repetition_penalty,
        "scored": config.scored,
    }
    given = {"checkpoint": checkpoint.path, "tokenizer": hf_folder(tokenizer)}
    aside.run(PROGRAM, told, given, out, about=checkpoint.folder.name)
    for file, place in (("certificate.json", CERTIFICATE), ("metrics.parquet", LOSSES)):
        take_over(checkpoint.file(file), out.path / place)
    out.write_text(CARD, checkpoint_card(out.path, config.scored))
    parity = json.loads((out.path / PARITY).read_text(encoding="utf-8"))
    return Outcome(
        digest=digest_json([checkpoint.manifest.digest, tokenizer.manifest.digest]),
        numbers={"checkpoint": checkpoint.folder.name, "max_logit_difference": parity["max_abs_logit_difference"]},
        checks=[
            Check(
                name="logits_match",
                passed=parity["max_abs_logit_difference"] == 0,
                detail=f"largest difference of a logit: {parity['max_abs_logit_difference']}",
            )
        ],
    )
