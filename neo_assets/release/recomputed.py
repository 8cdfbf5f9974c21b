"""What can be recomputed of a release: what it was made from, weights, losses, data order, documents, scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.manifest import Manifest, parsed_manifest
from neo_assets.release import layout
from neo_assets.release.cards import DATA_CARD, MODEL_CARD, TEMPLATES, differing, worded
from neo_assets.release.claims import CLAIMED, PROVEN, REFUTED, REPRODUCIBLE, SHOWN, Bundle, Claim
from neo_assets.release.code import code
from neo_assets.release.eval_results import FOLDER as EVAL_RESULTS
from neo_assets.release.paper_card import PAPER
from neo_assets.release.readme import by_licence, readme
from neo_assets.release.settings import settings
from neo_assets.release.unread import unread
from neo_assets.runs.checkpoint_card import CARD
from training.data.tokens import MASKED

_OF_A_STEP = ("step", "loss", "lr", "grad_norm", "tokens")
"""What a loss history's digest is of: as ``training/certificate.py`` has it."""


def recomputed(bundle: Bundle) -> Iterator[Claim]:
    """Every claim that the files themselves can show. Raises KeyError, ValueError and others for what is not there."""
    bundle.told.update(json.loads((bundle.folder / layout.RELEASE).read_text(encoding="utf-8")))
    yield from _lineage(bundle)
    for check in (_weights, _certificates, _data_order, _documents, unread, settings, code, _scores, _cards):
        yield from check(bundle)


def _lineage(bundle: Bundle) -> Iterator[Claim]:
    """Every manifest is whole, is called what it makes, and its inputs are there with the content that it read."""
    wrong: list[str] = []
    for name in bundle.sums:
        if not name.startswith(f"{layout.MANIFESTS}/"):
            continue
        try:
            made = parsed_manifest((bundle.folder / name).read_bytes(), name)
        except DamagedArtifact as error:
            wrong.append(str(error))
            continue
        called = Path(name).stem
        bundle.manifests[made.key, called] = made
        if name != layout.manifest_file(made.key, called) or called != made.fingerprint:
            wrong.append(f"{name} is the manifest of {made.key} {made.fingerprint}")
        if not made.key.startswith("checkpoint/") and made.made_from.fingerprint != made.fingerprint:
            wrong.append(
                f"{name}: what it was made from makes {made.made_from.fingerprint[:12]}, not what it is called"
            )
    gone = {tuple(at) for at in bundle.told["not_followed"]}
    for (key, name), made in bundle.manifests.items():
        for read, ref in made.made_from.inputs.items():
            source = bundle.manifests.get((read, ref.fingerprint))
            if source is None:
                if (read, ref.fingerprint) not in gone:
                    wrong.append(f"{key} {name[:12]} read {read} {ref.fingerprint[:12]}, whose manifest is not here")
            elif ref.digest not in (source.digest, *source.parts.values(), ref.fingerprint):
                wrong.append(f"{key} {name[:12]} read other content of {read} than {ref.fingerprint[:12]} has")
    claim = "what it is said to be made from hangs together: each step's inputs, their content, its settings and code"
    told = f"{len(bundle.manifests)} manifests, from the sources to the scores"
    told += (
        f"; not followed, because they were gone: {', '.join(f'{k} {n[:12]}' for k, n in sorted(gone))}" if gone else ""
    )
    yield Claim(claim, *_verdict(wrong, told))


def _verdict(wrong: list[str], told: str) -> tuple[str, str]:
    if not wrong:
        return PROVEN, told
    return REFUTED, "; ".join(wrong[:SHOWN]) + (f"; {len(wrong) - SHOWN} more" if wrong[SHOWN:] else "")


def _held(bundle: Bundle, made: Manifest, folder: str, names: Mapping[str, str]) -> list[str]:
    """Files of the bundle that are not those of an artifact: ``names`` here, there."""
    return [
        f"{folder}/{here}: not the file that {made.key} {made.fingerprint[:12]} has"
        for here, there in names.items()
        if there not in made.files or bundle.digests.get(f"{folder}/{here}") != made.files[there].digest
    ]


def _below(bundle: Bundle, folder: str) -> list[str]:
    return [name.removeprefix(f"{folder}/") for name in bundle.sums if name.startswith(f"{folder}/")]


def _weights(bundle: Bundle) -> Iterator[Claim]:
    made, checkpoint = bundle.made(bundle.told["weights"]), bundle.told["checkpoint"]
    compiled = (MODEL_CARD, f"{EVAL_RESULTS}/")  # again, below
    names = [n for n in _below(bundle, layout.WEIGHTS) if not f"{layout.WEIGHTS}/{n}".startswith(compiled)]
    wrong = _held(bundle, made, layout.WEIGHTS, {name: name for name in names})
    wrong += [f"weights/{n}: missing" for n in made.files if n not in (*names, "verdict.json", CARD)]
    ref = made.made_from.inputs.get(checkpoint[0])
    if ref is None or ref.digest != bundle.made(checkpoint).digest:
        wrong.append(f"{made.key} was not exported from {' '.join(checkpoint)}")
    claim = f"the weights are those of {bundle.told['run']}@{bundle.told['step']}"
    told = f"{len(names)} files as {made.key} has them, exported from {checkpoint[1]}"
    if ref is not None and ref.fingerprint != checkpoint[1]:
        told += f", or rather from {ref.fingerprint}, which holds the same, every tensor and random state"
    yield Claim(claim, *_verdict(wrong, told))


def _certificates(bundle: Bundle) -> Iterator[Claim]:
    """Of each part of the training: its certificates are its checkpoints', and the losses of all steps have the digests
    that these name, step by step.
    """
    wrong: list[str] = []
    history = ""
    for part in reversed(bundle.told["parts"]):  # the oldest first
        run, step = part["run"], part["first"]
        history = history if part["goes_on"] else digest_json([])
        for last in part["certified"]:
            folder = f"{layout.CERTIFICATES}/{run}/{last}"
            made = bundle.made([f"checkpoint/{run}", f"{last:07d}-{part['run_fingerprint'][:8]}"])
            wrong += _held(bundle, made, folder, {name: name for name in layout.OF_A_CHECKPOINT})
            certificate = json.loads((bundle.folder / folder / "certificate.json").read_text(encoding="utf-8"))
            named = [certificate[name] for name in ("run", "step", "run_fingerprint")]
            if named != [run, last, part["run_fingerprint"]]:
                wrong.append(f"{folder}/certificate.json is of {named[0]}@{named[1]}")
            rows = pq.read_table(bundle.folder / folder / "metrics.parquet").to_pylist()
            if [row["step"] for row in rows] != list(range(step + 1, last + 1)):
                wrong.append(f"{folder}/metrics.parquet does not have steps {step + 1} to {last}")
            history, step = _history(history, rows), last
            if history != certificate["history_digest"]:
                wrong.append(f"{folder}/metrics.parquet: not the losses that the certificate is of")
        if step != part["last"]:
            wrong.append(f"{layout.CERTIFICATES}/{run}: nothing of step {part['last']}")
    steps = " and ".join(f"{p['run']} {p['first'] + 1} to {p['last']}" for p in reversed(bundle.told["parts"]))
    claim = "the losses of every step are those that the checkpoints' certificates are of"
    yield Claim(claim, *_verdict(wrong, f"steps {steps}"))


def _history(digest: str, rows: list[dict[str, Any]]) -> str:
    for row in rows:
        values = [row[name] for name in _OF_A_STEP]
        digest = digest_json([digest, [v.hex() if isinstance(v, float) else v for v in values]])
    return digest


# ------------------------------------------------------------------ data, documents, scores


def _data_order(bundle: Bundle) -> Iterator[Claim]:
    """Which tokens each step read: the stream that the certificates name is the one whose files the manifest names, and
    its index says which document stands where.
    """
    wrong: list[str] = []
    told = []
    of_streams = {}
    for phase, at in bundle.told["streams"].items():
        made, folder = bundle.made(at), f"{layout.LEDGER}/{phase}"
        names = _below(bundle, folder)
        wrong += _held(bundle, made, folder, {name: name for name in names})
        hashed = [n for n in made.files if n.startswith("tokens") or n in ("offsets.npy", "learnt.bin", MASKED)]
        if digest_json({n: made.files[n].digest for n in hashed}) != made.digest:
            wrong.append(f"{made.key}: its digest is not that of its tokens' files")
        offsets = np.load(bundle.folder / folder / "offsets.npy", allow_pickle=False)
        lengths = np.concatenate(list(_lengths(bundle.folder / folder, names)))
        if not np.array_equal(np.diff(offsets), lengths) or int(offsets[-1]) != made.numbers.get("tokens"):
            wrong.append(f"{folder}: index and offsets do not agree")
        of_streams[phase] = made.digest
        told.append(f"{phase}: {len(lengths):,} places of documents, {int(offsets[-1]):,} tokens")
    for part in bundle.told["parts"]:
        file = bundle.folder / layout.CERTIFICATES / part["run"] / str(part["last"]) / "certificate.json"
        if json.loads(file.read_text(encoding="utf-8"))["stream"] != of_streams.get(part["stream"]):
            wrong.append(f"{part['run']}@{part['last']} was trained on a stream that is not here")
    claim = "which document each step of the training read follows from the seed, by the files in ledger/"
    yield Claim(claim, *_verdict(wrong, "; ".join(told)))


def _lengths(folder: Path, names: list[str]) -> Iterator[npt.NDArray[np.int64]]:
    """Tokens of each document, in the stream's order."""
    facts = json.loads((folder / "stream.json").read_text(encoding="utf-8"))
    files = [f"index/{name}.parquet" for name, _, _ in facts.get("segments", [])] or ["index.parquet"]
    for name in files:
        if name not in names:
            raise KeyError(f"{folder.name}/{name}")
        yield pq.read_table(folder / name, columns=["tokens"]).column("tokens").to_numpy()


def _documents(bundle: Bundle) -> Iterator[Claim]:
    """The list of documents: as many as the pool has, every one that a step read among them, licences the sources'."""
    wrong: list[str] = []
    pool = bundle.made(bundle.told["pool"])
    listed = pq.read_table(bundle.folder / layout.DOCUMENTS)
    if listed.num_rows != pool.rows_kept:
        wrong.append(f"{layout.DOCUMENTS} lists {listed.num_rows:,} documents, train_pool has {pool.rows_kept:,}")
    ids = listed.column("doc_id").combine_chunks()
    for phase in bundle.told["streams"]:
        folder = f"{layout.LEDGER}/{phase}"
        for name in _below(bundle, folder):
            if not name.endswith(".parquet"):
                continue
            read = pq.read_table(bundle.folder / folder / name, columns=["doc_id"]).column("doc_id")
            if unknown := pc.sum(pc.invert(pc.is_in(read, value_set=ids))).as_py():
                wrong.append(f"{folder}/{name}: {unknown:,} documents that are not listed")
    licences = {
        key.partition("/")[2]: made.numbers.get("licence")
        for (key, _), made in bundle.manifests.items()
        if key.startswith("sources/")
    }
    if named := pc.sum(pc.and_(listed["withdrawn"], pc.is_valid(listed["url"]))).as_py():
        wrong.append(f"{layout.DOCUMENTS} tells addresses of {named:,} documents that were withdrawn")
    groups = ["source", "licence", "may_be_passed_on", "withdrawn"]
    counts: Counter[tuple[str, str]] = Counter()
    for row in listed.group_by(groups).aggregate([([], "count_all")]).to_pylist():
        source, licence, passed_on = row["source"], row["licence"], row["may_be_passed_on"]
        counts[source, licence] += row["count_all"]
        if source in licences and licences[source] not in (None, licence):
            wrong.append(f"documents of {source} are listed under {licence}, not {licences[source]}")
        if passed_on != (licence in bundle.told["redistribute"] and not row["withdrawn"]):
            wrong.append(f"{licence}: listed otherwise than the recipe says")
    allowed = bundle.told["redistribute"]
    rows = [by_licence(source, licence, n, licence in allowed) for (source, licence), n in sorted(counts.items())]
    ours = bundle.told.get("worded") == worded()
    if ours and (bundle.folder / layout.README).read_text(encoding="utf-8") != readme(bundle.told, rows):
        wrong.append(f"{layout.README} does not say what the files say")
    claim = "every document that a step can have read is listed, under its source's licence"
    yield Claim(claim, *_verdict(wrong, f"{listed.num_rows:,} documents of {len(licences)} sources"))


def _cards(bundle: Bundle) -> Iterator[Claim]:
    claim = "every number of the cards and of the paper is that of the file it links to"
    if bundle.told.get("worded") != worded():
        told = "another version of NeoFoundry worded them, and README.md: the one that made it compiles them again"
        yield Claim(claim, CLAIMED, told, "neo verify-release .")
        return
    yield Claim(claim, *_verdict(differing(bundle.folder), ", ".join([*TEMPLATES, DATA_CARD, PAPER])))


def _scores(bundle: Bundle) -> Iterator[Claim]:
    wrong: list[str] = []
    count = 0
    for name, fingerprint in bundle.told["scores"].items():
        made, folder = bundle.made([name, fingerprint]), f"{layout.SCORES}/{name.partition('/')[2]}"
        names = _below(bundle, folder)
        wrong += _held(bundle, made, folder, {n: n for n in names})
        count += len(json.loads((bundle.folder / folder / "scores.json").read_text(encoding="utf-8")))
    for file, key in ((layout.COMPARISONS, "comparison"), (layout.FUNNEL, "funnel")):
        made = bundle.made([key, bundle.told[key]])
        folder, _, name = file.rpartition("/")
        wrong += _held(bundle, made, folder, {name: name})
    yield Claim("the scores are those that the evaluation wrote", *_verdict(wrong, f"{count} scores"))


def not_shown(bundle: Bundle) -> Iterator[Claim]:
    run, step = bundle.told.get("run", "RUN"), bundle.told.get("step", "STEP")
    yield Claim(
        "training leads to these weights, bit for bit, on a machine of that class",
        REPRODUCIBLE,
        "in a store that has the tokens",
        f"neo prove {run}@{step}",
    )
    yield Claim(
        "the model has these scores", REPRODUCIBLE, "of tasks whose data is at hand; none is here", "neo eval weights"
    )
    yield Claim(
        "the whole of it, from the pages on",
        REPRODUCIBLE,
        "with the sources at hand: the manifests name code, libraries and settings of every step; paths, and what"
        " changes no result, are not in the recipe here and have to be added",
    )
    yield Claim(
        "who the owner of the key is, and when it was signed", CLAIMED, "a key proves neither a name nor a time"
    )
    yield Claim(
        "the reasons that the paper gives for what is changed",
        CLAIMED,
        "paper/written.json has them as the recipe's comments had: their author's words",
    )
    yield Claim("addresses and titles are those of the documents", CLAIMED, "the texts that would show it are not here")
    yield Claim(
        "the steps were run as the manifests say",
        CLAIMED,
        "who wrote all of them anew, each fitting the others, would be stopped by the owner's signature alone",
    )
