"""What a release says, and how far it was shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neo_assets.core.manifest import Manifest

PROVEN, REFUTED, REPRODUCIBLE, CLAIMED = "proven", "refuted", "reproducible", "claimed"
SHOWN = 5
"""Files that are named of those that are wrong in one way."""


@dataclass(frozen=True)
class Claim:
    """Something that a release says, and how far it was shown. ``command``: what would show it."""

    claim: str
    verdict: str
    detail: str
    command: str = ""


@dataclass
class Bundle:
    """A release as it lies there: SHA-256 and the manifests' digest of every file."""

    folder: Path
    sums: dict[str, str]
    digests: dict[str, str]
    told: dict[str, Any] = field(default_factory=dict)
    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)

    def made(self, at: list[str]) -> Manifest:
        """Raises KeyError."""
        return self.manifests[at[0], at[1]]
