"""Recipe section of the release: which model is given away, and which licences let text be passed on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from neo_assets.core.recipe.base import Name, Named, Section

NOT_STATED: Literal["not stated"] = "not stated"
Access = Literal["public", "licensed", "private", "crawled", "users", "synthetic", "other", "not stated"]


class Stated(Section):
    """What a provider states in the EU's public summary of training content; the ledger cannot know it."""

    version: str = Field(NOT_STATED, description="of the summary")
    updated: str = Field(NOT_STATED, description="day on which the summary was updated last")
    representative: str = Field(
        NOT_STATED, description="authorised representative in the Union, or that none is needed"
    )
    placed_on_market: str = Field(NOT_STATED, description="day, or that it is not placed on the market")
    goes_on: str = Field(NOT_STATED, description="whether the model is trained on after this release")
    content: str = Field(NOT_STATED, description="types of content: prose, documentation, code …")
    commercial_licences: str = Field(NOT_STATED, description="whether data was licensed from rightsholders")
    other_private: str = Field(NOT_STATED, description="whether private data was had from other third parties")
    crawlers: str = Field(NOT_STATED, description="names of crawlers, and how they behave")
    prompts: str = Field(NOT_STATED, description="whether what users of the model wrote was used")
    services: str = Field(NOT_STATED, description="whether data of users of other services was used")
    synthetic: str = Field(NOT_STATED, description="whether data was generated on the provider's behalf")
    code_of_practice: str = Field(NOT_STATED, description="whether the provider signed it")
    illegal_content: str = Field(NOT_STATED, description="measures against illegal content beyond the recipe's lists")


class SourceStated(Section):
    """What a provider states of a source."""

    title: str = Field(NOT_STATED, description="what the data set or work is called")
    publisher: str = NOT_STATED
    url: str = Field(NOT_STATED, description="where it is got")
    content: str = Field(NOT_STATED, description="what kind of text it is")
    access: Access = Field(NOT_STATED, description="how it was had, which says where the summary lists it")


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
    stated: Stated = Field(default_factory=lambda: Stated.model_validate({}))
    sources: Named[SourceStated] = Field(
        default_factory=dict,
        description="by source of the recipe; of others, which a recipe may have inherited, nothing is told",
    )
