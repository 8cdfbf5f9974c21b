"""Recipe section of the release: which model is given away, and which licences let text be passed on."""

from __future__ import annotations

from pydantic import Field

from neo_assets.core.recipe.base import Name, Section


class Release(Section):
    """A bundle that strangers can verify without this project's store."""

    run: Name = Field(description="whose last checkpoint is released")
    redistribute: list[str] = Field(
        default_factory=list,
        description="licences, as the sources have them, under which text may be passed on; all else is listed alone",
    )
