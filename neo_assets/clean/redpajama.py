"""RedPajama-V2's own quality signals, for the rules that are written against them (MAP-Neo §2.3: N1, N5, I1, I2, R1).

They come from models we may not ship (CCNet's language models, importance weights, a classifier), so they are read from
the release's own files: JSON lines, gzipped or not, with ``metadata.url`` and ``quality_signals``, each signal a list
of ``[start, end, value]``. A document is found by its URL. One that is in no file has no value, and what has no value
breaks no rule.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import Field

from neo_assets.clean.lists import matches
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import NOT_IDENTITY, Section

NAMES = {
    "ccnet_bucket": "ccnet_bucket",
    "ccnet_perplexity": "ccnet_perplexity",
    "books_importance": "rps_doc_books_importance",
    "openwebtext_importance": "rps_doc_openwebtext_importance",
    "wikiref_score": "rps_doc_ml_wikiref_score",
}
"""Our name of a signal -> the release's. CCNet's bucket is a word there (head, middle, tail),
counted here as 0, 1, 2.
"""

_BUCKETS = {"head": 0.0, "middle": 1.0, "tail": 2.0}


class RedPajamaInput(Section):
    """Files as a stage takes them: their names and sizes count, their place does not.

    The release is terabytes, and definitions load in seconds, so the files are not hashed: like a source, they are
    trusted under one name.
    """

    paths: list[str] = Field(default_factory=list, json_schema_extra=NOT_IDENTITY)
    digest: str = ""

    def read(self) -> Signals:
        """All values. Raises BadInput for a pattern without files, a line that cannot be read, and files that changed
        since the recipe was loaded.
        """
        if redpajama_input(self.paths).digest != self.digest:
            raise BadInput("RedPajama-V2's quality signals have changed since the recipe was loaded; load it again")
        return _read(tuple(self.paths), self.digest)


def redpajama_input(paths: Sequence[str]) -> RedPajamaInput:
    files = [file for pattern in paths for file in matches(pattern)]
    return RedPajamaInput(
        paths=list(paths), digest=digest_json([[f.name, f.stat().st_size] for f in files]) if files else ""
    )


class Signals:
    """Values by URL: sorted 64-bit hashes of URLs, and float64 (documents, signals)."""

    def __init__(self, hashes: npt.NDArray[np.uint64], values: npt.NDArray[np.float64]) -> None:
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.values = hashes[order], values[order]

    def of(self, urls: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
        """Every signal of the documents with these URLs: float64 (n,), nan where the files have none."""
        wanted = np.array([_hash(url) for url in urls], np.uint64)
        place = np.searchsorted(self.hashes, wanted)
        found = np.zeros(len(urls), np.bool_)
        inside = place < len(self.hashes)
        found[inside] = self.hashes[place[inside]] == wanted[inside]
        out = np.full((len(urls), len(NAMES)), np.nan)
        out[found] = self.values[place[found]]
        return {name: out[:, i] for i, name in enumerate(NAMES)}


@functools.lru_cache(maxsize=1)
def _read(paths: tuple[str, ...], _digest: str) -> Signals:
    hashes: list[int] = []
    values: list[list[float]] = []
    for pattern in paths:
        files = matches(pattern)
        if not files:
            raise BadInput(
                f"no file matches {pattern}. RedPajama-V2's quality signals are not shipped with NeoFoundry: put them"
                " there, or take clean.redpajama_signals out of the recipe"
            )
        for file in files:
            with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    try:
                        row = json.loads(line)
                        held = row["quality_signals"]
                        held = json.loads(held) if isinstance(held, str) else held
                        metadata = row["metadata"]
                        url = (json.loads(metadata) if isinstance(metadata, str) else metadata)["url"]
                        values.append([_value(held.get(theirs)) for theirs in NAMES.values()])
                        hashes.append(_hash(url))
                    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                        raise BadInput(
                            f"{file}: line {number}: not a row of quality signals ({type(error).__name__}: {error})"
                        ) from error
    return Signals(np.array(hashes, np.uint64), np.array(values, np.float64).reshape(-1, len(NAMES)))


def _hash(url: str) -> int:
    return xxhash.xxh3_64_intdigest(url.encode("utf-8", "surrogatepass"))


def _value(spans: list[list[float | str | None]] | None) -> float:
    """A document's signal is one span over all of it."""
    value = spans[0][2] if spans else None
    if isinstance(value, str):
        return _BUCKETS[value]
    return float("nan") if value is None else float(value)
