"""What all recipe sections share: strictness, immutability, and which fields say *what* rather than *where or how
fast*.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

NOT_IDENTITY: dict[str, JsonValue] = {"identity": False}
"""Marks a field that changes no result (a path, a politeness delay, a number of workers): left out of fingerprints."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


V = TypeVar("V")


def without_nulls(value: object) -> object:
    if value is None:
        return {}
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


Named = Annotated[dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")], V], BeforeValidator(without_nulls)]
"""A mapping from names of the recipe's own choosing. ``null`` takes out what the recipe inherits under a name, or, in
place of the mapping, all of it.
"""

Share = Annotated[float, Field(ge=0, le=1)]
Lang = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Name = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="short snake_case name; becomes part of an asset key")
]


def identity(config: BaseModel) -> dict[str, object]:
    """A section as plain JSON values, without the fields marked :data:`NOT_IDENTITY`, at any depth."""
    out: dict[str, object] = {}
    for name, info in type(config).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("identity") is False:
            continue
        out[name] = _plain(getattr(config, name))
    return out


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
