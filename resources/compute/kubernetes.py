"""Jobs on Kubernetes: the manifests (kubernetes_manifests.py), and nothing more.

What can be said without a cluster is said: manifests are rendered (`neo plan RUN --manifest`) and validated against Kubernetes' own
schemas in the tests. Submitting is left to `kubectl apply`; the job's folder then tells the rest, as with any backend. Not tried on a cluster.
"""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.errors import MachineLacks
from neo_assets.core.jobs import JobFolder, JobSpec, JobState
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute.base import Compute


class KubernetesCompute(Compute):
    """Renders manifests; cannot submit them."""

    name = "kubernetes"

    def __init__(self, store_root: Path, settings: Settings) -> None:
        super().__init__(store_root)
        self.settings = settings

    def start(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        raise MachineLacks(
            f"{spec.title}: this version renders manifests for Kubernetes and does not submit them. `neo plan --manifest RUN | kubectl apply -f -` starts the job; "
            "its folder in the store tells how it is, and the next Dagster run picks its checkpoints up."
        )

    def look_up(self, fingerprint: str) -> dict[str, str | int] | None:
        return None

    def observe(self, handle: dict[str, str | int]) -> JobState | None:
        return None

    def stop(self, fingerprint: str, handle: dict[str, str | int] | None) -> None: ...
