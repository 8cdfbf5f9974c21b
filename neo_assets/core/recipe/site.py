"""Recipe section of the reader's site: whose texts it shows, and of how many documents."""

from __future__ import annotations

from pydantic import Field

from neo_assets.core.recipe.base import Section


class Site(Section):
    """A folder of pages that opens without a server: what was made, and every document with what became of it."""

    texts: list[str] | None = Field(
        None,
        description=(
            "licences, as the sources have them, under which texts may be shown; those of `release.redistribute` if"
            " left out. Of all other documents the site says what became of them, and shows no text"
        ),
    )
    documents: int = Field(
        20_000, ge=1, description="that can be searched and read at most; of more, so many are drawn by their ids"
    )
