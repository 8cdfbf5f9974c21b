"""Media types as headers tell them."""

from __future__ import annotations

from neo_assets.core.recipe.sources import DOCUMENT_TYPES

HTML = ("text/html", "application/xhtml+xml")


def media_type(content_type: str) -> str:
    """The type of a Content-Type header without its parameters, in lower case; "" for none."""
    return content_type.partition(";")[0].strip().lower()


def document_suffix(content_type: str) -> str:
    """The ending of files of a type that is converted, ``.pdf``; "" for HTML and whatever else."""
    return DOCUMENT_TYPES.get(media_type(content_type), "")
