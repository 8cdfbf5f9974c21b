"""A score as a row: the columns of the index (``index.SCORES``), and what is added to it on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NotRequired, TypedDict, cast

from neo_assets.core.store import Row


class ScoreRow(TypedDict):
    """One score of a checkpoint. ``value`` is None in rows of the task ``samples``, which is no score, and in
    those of a subset that holds no item; whoever may meet them asks first.
    """

    run: str
    step: int
    tokens: int
    checkpoint: str
    task: str
    lang: str | None
    metric: str
    subset: str | None
    value: float
    stderr: float | None
    detectable: float | None
    n: int
    shots: int | None
    requests: int | None
    cut: int | None
    chance: float | None
    higher_is_better: bool
    main: bool
    attempt: int
    identity: str
    lm_eval: str | None
    fingerprint: str
    samples: str
    made_at: str
    headline: NotRequired[bool]  # one that tables show (score.headline)
    current: NotRequired[bool]  # asked as it would be asked today (score_matrix)


def columns(row: ScoreRow, names: Iterable[str]) -> Row:
    """Some columns of a score, as a table shows them."""
    every = cast("Mapping[str, int | float | str | bool | None]", row)
    return {name: every[name] for name in names}
