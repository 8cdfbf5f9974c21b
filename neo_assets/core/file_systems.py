"""Places of other people's files, by fsspec: ``file://``, ``hf://``, ``s3://``, whatever a package is installed for."""

from __future__ import annotations

import importlib.util
from typing import Any

from neo_assets.core.objects import plain_http

USUAL = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""Packages that fsspec asks for by scheme. Without one of them, the store's own client reads there (extra ``s3``)."""


def file_system(place: str) -> tuple[Any, str]:
    """fsspec's file system of a place, and the place in it. Raises ImportError, and what that file system raises."""
    from fsspec.core import url_to_fs

    scheme = place.partition("://")[0]
    package = USUAL.get(scheme)
    if package and not _installed(package) and _installed("obstore"):
        from obstore.fsspec import FsspecStore

        made: Any = FsspecStore
        system = made(scheme.replace("gcs", "gs"), client_options=plain_http())
        return system, str(system._strip_protocol(place)).partition("://")[2]
    system, path = url_to_fs(place)
    return system, str(path)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
