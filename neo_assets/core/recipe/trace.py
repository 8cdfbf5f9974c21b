"""Recipe section of the trace: what a text is compared with, and which of what stands there verbatim is told."""

from __future__ import annotations

from pydantic import Field

from neo_assets.core.recipe.base import NOT_IDENTITY, Section, Share


class Trace(Section):
    """An index over the training pool; ``neo trace`` finds there what a model wrote."""

    shard_mb: int = Field(
        512,
        ge=1,
        le=2047,
        description="most text that is sorted at once, MiB; whoever sorts it needs six times as much memory",
    )
    min_units: int = Field(6, ge=1, description="words, or characters of Chinese, of a passage that is told")
    max_occurrences: int = Field(
        10, ge=1, description="of a passage that is told: what stands in more places says little of any of them"
    )
    share: Share = Field(
        0.05, description="passages told for a word (or character) of the text that is traced; the rarest come first"
    )
    documents: int = Field(10, ge=1, description="told for a passage, those that share most with the text first")
    alike_units: int = Field(
        30,
        ge=1,
        description=(
            "words, or characters of Chinese, of a passage that makes another document one that `neo takedown` tells of"
        ),
        json_schema_extra=NOT_IDENTITY,
    )
