"""What a release shows of documents that were withdrawn: no step of the training read one.

Where a stream has only the places of such a document, nothing can have been read of it. A part of the training from
before the withdrawal read a stream that still had it: which steps that were follows from the data order, and none of
them may be one that the released model goes back to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neo_assets.core.manifest import Manifest
from neo_assets.core.words import counted
from neo_assets.release import layout
from neo_assets.release.claims import CLAIMED, PROVEN, REFUTED, SHOWN, Bundle, Claim
from training.data.order import DataOrder, sequences_between
from training.data.stream_index import index_files, masked_numbers, rows_of
from training.data.tokens import ORDER_KEY

CLAIM = "no step of the training read a document that was withdrawn"


def unread(bundle: Bundle) -> Iterator[Claim]:
    """Nothing, where no listed document was withdrawn, and none is masked in a stream."""
    listed = pq.read_table(bundle.folder / layout.DOCUMENTS, columns=["doc_id", "withdrawn"])
    withdrawn = listed["doc_id"].filter(listed["withdrawn"]).combine_chunks()
    masked = [_masked_ids(bundle, f"{layout.LEDGER}/{stream}") for stream in bundle.told["streams"]]
    if not len(withdrawn) and not any(map(len, masked)):
        return
    wrong: list[str] = []
    for stream, ids in zip(bundle.told["streams"], masked, strict=True):
        if hidden := pc.sum(pc.invert(pc.is_in(ids, value_set=withdrawn))).as_py():
            told = counted(hidden, "document")
            wrong.append(f"{layout.DOCUMENTS} does not say of {told} that {stream} has only the places of them")
    unknown: list[str] = []
    places = 0
    for part in bundle.told["parts"]:
        folder = f"{layout.LEDGER}/{part['stream']}"
        there = _numbers(bundle, folder, withdrawn)
        places += len(there)
        left = np.setdiff1d(there, masked_numbers(bundle.folder / folder))
        if not len(left):
            continue
        trained = _training(bundle, part["run_fingerprint"])
        if trained is None:
            unknown.append(f"{part['run']} {part['run_fingerprint'][:12]}")
        elif steps := _steps(bundle, part, folder, left, trained.made_from.config["run"]):
            wrong.append(f"{part['run']} read one in step {steps[0]:,}")
    if wrong:
        yield Claim(CLAIM, REFUTED, "; ".join(wrong[:SHOWN]))
    elif unknown:
        yield Claim(CLAIM, CLAIMED, f"the settings of {', '.join(unknown)}, whose stream still had them, are not here")
    else:
        yield Claim(
            CLAIM,
            PROVEN,
            f"{counted(len(withdrawn), 'document')} at {counted(places, 'place')}, by the files in ledger/",
        )


def _training(bundle: Bundle, fingerprint: str) -> Manifest | None:
    """The manifest of a training run, which has its settings."""
    made = (made for (_, name), made in bundle.manifests.items() if name == fingerprint)
    return next((one for one in made if "run" in one.made_from.config), None)


def _numbers(bundle: Bundle, folder: str, wanted: Any) -> npt.NDArray[np.int64]:
    """Numbers of these documents in a stream, withdrawn or not."""
    found, first = [np.zeros(0, np.int64)], 0
    for path, documents in index_files(bundle.folder / folder):
        ids = pq.read_table(path, columns=["doc_id"])["doc_id"]
        found.append(first + np.flatnonzero(pc.is_in(ids, value_set=wanted).to_numpy()))
        first += documents
    return np.concatenate(found)


def _masked_ids(bundle: Bundle, folder: str) -> pa.Array:
    """Ids of the documents that a stream has only the places of."""
    masked = masked_numbers(bundle.folder / folder)
    if not len(masked):
        return pa.array([], pa.string())
    return rows_of(bundle.folder / folder, masked)["doc_id"].combine_chunks()


def _steps(bundle: Bundle, part: dict[str, Any], folder: str, numbers: npt.NDArray[np.int64], run: Any) -> list[int]:
    """Steps of a part of the training that read one of these documents of its stream, in order."""
    last = bundle.folder / layout.CERTIFICATES / part["run"] / str(part["last"]) / "certificate.json"
    certificate = json.loads(last.read_text(encoding="utf-8"))
    facts = json.loads((bundle.folder / folder / "stream.json").read_text(encoding="utf-8"))
    offsets = np.load(bundle.folder / folder / "offsets.npy", allow_pickle=False)
    length, batch = run["sequence_length"], run["global_batch"]
    order = DataOrder(
        (int(offsets[-1]) - 1) // length,
        certificate["seed"],
        facts.get(ORDER_KEY, facts["digest"]),
        certificate["start_sample"],
        tuple(map(tuple, run.get("skip_samples", []))),
    )
    held = np.unique(np.concatenate([sequences_between(offsets, n, length, order.sequences) for n in numbers.tolist()]))
    end = int(order.samples_at((part["last"] - part["first"]) * batch - 1)) + 1
    places = order.places_of(order.samples_of(held, end)[1])
    return sorted({part["first"] + int(place) // batch + 1 for place in places[places >= 0]})
