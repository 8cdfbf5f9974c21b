"""What was foretold of a training run, taken into its job before its first attempt: once, and never again."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from pydantic import BaseModel, ConfigDict

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.jobs import JobFolder
from neo_assets.core.store import Artifact

SEALED = "forecast.json"
"""File of a job's folder, and of the artifact that comes of it."""


class Seal(BaseModel):
    """A forecast, with its digest, when it came into the job, and when the job's first attempt was started."""

    model_config = ConfigDict(extra="forbid")

    artifact: str
    digest: str
    sealed_at: float
    first_attempt: float | None = None
    forecast: dict[str, Any]


def seal(folder: JobFolder, forecast: Artifact) -> bool:
    """Take a forecast into a job that no attempt was made at. What is in it stays, and a job that has been started gets
    none. Returns whether this one was taken.
    """
    if folder.attempts():
        return False
    content = json.loads(forecast.file(SEALED).read_text(encoding="utf-8"))
    told = Seal(
        artifact=f"{forecast.key}/{forecast.fingerprint}",
        digest=digest_json(content),
        sealed_at=time.time(),
        forecast=content,
    )
    folder.path.mkdir(parents=True, exist_ok=True)
    partial = folder.path / f".{SEALED}.{os.getpid()}"
    partial.write_text(told.model_dump_json(indent=1), encoding="utf-8")
    try:
        os.link(partial, folder.path / SEALED)  # fails where there is one
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    return True


def sealed(folder: JobFolder) -> Seal | None:
    """What a job was begun with, and when."""
    file = folder.path / SEALED
    if not file.is_file():
        return None
    found = Seal.model_validate_json(file.read_text(encoding="utf-8"))
    attempts = folder.attempts()
    return found.model_copy(update={"first_attempt": attempts[0].started_at if attempts else None})
