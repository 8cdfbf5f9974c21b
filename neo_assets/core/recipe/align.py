"""Recipe sections of alignment: conversations and preferences, and the form that they are learnt in."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from neo_assets.core.recipe.base import Lang, Named, Section
from neo_assets.core.recipe.sources import DocumentsSource, FilesSource


class ConversationSet(FilesSource):
    """Conversations in files of rows: OpenAI messages, ShareGPT, Alpaca; each row is recognised by its fields."""

    SUFFIXES: ClassVar[tuple[str, ...]] = DocumentsSource.SUFFIXES
    kind: Literal["conversations"] = "conversations"
    lang: Lang = Field(description="of the whole set")


class PreferenceSet(FilesSource):
    """Prompts with two answers or more, of which one is preferred: chosen and rejected, or ranked."""

    SUFFIXES: ClassVar[tuple[str, ...]] = DocumentsSource.SUFFIXES
    kind: Literal["preferences"] = "preferences"
    lang: Lang = Field(description="of the whole set")


class Align(Section):
    template: Literal["neo", "map_neo"] = Field(
        "neo", description="neo: markers that are tokens; map_neo: the paper's, which is Llama 2's"
    )
    instructions: Named[ConversationSet] = Field(default_factory=dict)
    preferences: Named[PreferenceSet] = Field(default_factory=dict)
