"""Recipe section of the release: which model is given away, and which licences let text be passed on."""

from __future__ import annotations

from pydantic import Field

from neo_assets.core.recipe.base import Name, Section


class Release(Section):
    """A bundle that strangers can verify without this project's store."""

    run: Name | None = Field(
        None, description="whose last checkpoint is released; the last run that learns from text if left out"
    )
    title: str = Field("A language model", description="what the model is called on its cards")
    licence: str = Field("other", description="of the weights, as model hubs name licences: apache-2.0")
    producer: str = Field("not said", description="who made it, on the cards")
    contact: str = Field("not said", description="where its makers are asked, on the cards")
    url: str = Field("", description="where the release lies, for the data card")
    redistribute: list[str] = Field(
        default_factory=list,
        description="licences, as the sources have them, under which text may be passed on; all else is listed alone",
    )
