"""What a job has used: hours of its ranks, energy where the machine measures it, and what that costs at the recipe's
price.
"""

from __future__ import annotations

from dataclasses import dataclass

from neo_assets.core.jobs import JobFolder
from neo_assets.core.shard_job import progress


@dataclass(frozen=True)
class Usage:
    """All attempts of a job together."""

    seconds: float  # from each attempt's first report to its last
    rank_hours: float
    joules: float | None  # None: not measured
    measured_by: str

    def cost(self, price_per_rank_hour: float | None) -> float | None:
        return None if price_per_rank_hour is None else self.rank_hours * price_per_rank_hour


def usage(folder: JobFolder) -> Usage:
    """Summed up from what the job reported; an attempt that was killed counts up to its last report."""
    spec = folder.spec()
    if spec.tasks:
        told = progress(folder)
        return Usage(told.last_at - told.first_at, told.seconds / 3600, None, "not measured")
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    joules: dict[int, float] = {}
    sources = "not measured"
    for message in folder.messages()[0]:
        first.setdefault(message.attempt, message.at)
        last[message.attempt] = message.at
        if isinstance(energy := message.data.get("joules"), int | float):
            joules[message.attempt] = float(energy)
            sources = str(message.data.get("energy_from", sources))
    seconds = sum(last[a] - first[a] for a in first)
    return Usage(
        seconds, seconds * spec.nodes * spec.ranks_per_node / 3600, sum(joules.values()) if joules else None, sources
    )
