"""The recipe: every number that changes a result, typed, in one place. ``load()`` is the only way in."""

from neo_assets.core.recipe.load import Recipe, identity, json_schema, load, written_at

__all__ = ["Recipe", "identity", "json_schema", "load", "written_at"]
