"""What may be done to a release behind its owner's back: each changes a folder and returns what has to be named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from neo_assets.release import layout
from neo_assets.release.cards import EU_SUMMARY, MODEL_CARD
from neo_assets.release.paper_card import PAPER, STATEMENTS
from neo_assets.release.signing import sign


def byte(folder: Path) -> str:
    file = folder / "weights/model.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return "weights/model.safetensors"


def add(folder: Path) -> str:
    (folder / "weights/modeling.py").write_text("print()")
    return "weights/modeling.py"


def remove(folder: Path) -> str:
    (folder / layout.FUNNEL).unlink()
    return layout.FUNNEL


def rename(folder: Path) -> str:
    (folder / "weights/tokenizer.model").rename(folder / "weights/tokenizer2.model")
    return "weights/tokenizer2.model (the bytes of weights/tokenizer.model)"


def swap(folder: Path) -> str:
    a, b = (next(folder.glob(f"certificates/{run}/*/certificate.json")) for run in ("main", "decay"))
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other)
    b.write_bytes(one)
    return a.relative_to(folder).as_posix()


def git(folder: Path) -> str:
    (folder / ".git/hooks").mkdir(parents=True)
    (folder / ".git/hooks/post-checkout").write_text("#!/bin/sh")
    return ".git/hooks/post-checkout"


def symlink(folder: Path) -> str:
    (folder / "weights/config.json").rename(folder.parent / "elsewhere.json")
    (folder / "weights/config.json").symlink_to(folder.parent / "elsewhere.json")
    return "weights/config.json: a link"


def manifest(folder: Path) -> str:
    file = next((folder / "manifests/train_pool").glob("*.json"))
    file.write_text(file.read_text(encoding="utf-8").replace('"rows_dropped": ', '"rows_dropped": 1'), encoding="utf-8")
    return file.relative_to(folder).as_posix()


def ledger_row(folder: Path) -> str:
    file = next((folder / "ledger/fundamental").rglob("*.parquet"))
    table = pq.read_table(file)
    ids = table.column("doc_id").to_pylist()
    ids[0] = ids[1]
    place = table.schema.get_field_index("doc_id")
    pq.write_table(table.set_column(place, "doc_id", pa.array(ids)), file)
    return file.relative_to(folder).as_posix()


def score(folder: Path) -> str:
    file = next(folder.glob("scores/*/scores.json"))
    rows = json.loads(file.read_text(encoding="utf-8"))
    rows[0]["value"] = 0.99
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file.relative_to(folder).as_posix()


def loss(folder: Path) -> str:
    file = max(folder.glob("certificates/main/*/metrics.parquet"))
    table = pq.read_table(file)
    losses = table.column("loss").to_pylist()
    losses[0] -= 1
    place = table.schema.get_field_index("loss")
    pq.write_table(table.set_column(place, "loss", pa.array(losses)), file)
    return file.relative_to(folder).as_posix()


def card_number(folder: Path) -> str:
    file = folder / MODEL_CARD
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("parameters for", "000 parameters for", 1), encoding="utf-8")
    return MODEL_CARD


def eu_number(folder: Path) -> str:
    file = folder / EU_SUMMARY
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("](../ledger/documents.parquet) documents", "0](../ledger/documents.parquet) documents")
    )
    return EU_SUMMARY


def paper_number(folder: Path) -> str:
    file = folder / PAPER
    file.write_text(file.read_text(encoding="utf-8").replace("| same | [", "| same | [9", 1), encoding="utf-8")
    return PAPER


def statement(folder: Path) -> str:
    """What the paper is said to say."""
    file = folder / STATEMENTS
    file.write_text(file.read_text(encoding="utf-8").replace("value: 64000,", "value: 900,", 1), encoding="utf-8")
    return STATEMENTS


def readme_number(folder: Path) -> str:
    file = folder / layout.README
    file.write_text(file.read_text(encoding="utf-8").replace(" documents,", "000 documents,", 1), encoding="utf-8")
    return layout.README


def licence(folder: Path) -> str:
    file = folder / layout.DOCUMENTS
    table = pq.read_table(file)
    place = table.schema.get_field_index("licence")
    pq.write_table(table.set_column(place, "licence", pa.array(["CC0-1.0"] * len(table))), file)
    return layout.DOCUMENTS


def signature(folder: Path) -> str:
    file = folder / layout.SIGNATURE
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    return layout.SIGNATURE


def torn(folder: Path) -> str:
    file = next(folder.glob("ledger/*/offsets.npy"))
    file.write_bytes(b"")
    return file.relative_to(folder).as_posix()


def threshold(folder: Path) -> str:
    file = folder / layout.RECIPE
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipe["clean"]["en"]["min_words"] += 1
    file.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return layout.RECIPE


def rate(folder: Path) -> str:
    file = folder / layout.RECIPE
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipe["runs"]["main"]["schedule"]["peak_lr"] *= 2
    file.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return layout.RECIPE


def step_left_out(folder: Path) -> str:
    file = folder / layout.RECIPE
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipe["steps"]["en"].remove("near_dedup")
    file.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return layout.RECIPE


def source_left_out(folder: Path) -> str:
    file = folder / layout.RECIPE
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    del recipe["sources"][sorted(recipe["sources"])[0]]
    file.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return layout.RECIPE


def module(folder: Path) -> str:
    """One line of a rule, as if another had been run."""
    file = folder / "code/neo_assets/dedup/exact_dedup.py"
    file.write_text(file.read_text(encoding="utf-8") + "\nEXTRA = 1\n", encoding="utf-8")
    return "code/neo_assets/dedup/exact_dedup.py"


def public_key(folder: Path) -> str:
    file = folder / layout.PUBLIC
    file.write_text("Of the Commission\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    return layout.PUBLIC


TAMPERS: dict[str, Callable[[Path], str]] = {
    function.__name__: function
    for function in (
        byte, add, remove, rename, swap, git, symlink, manifest, ledger_row, score, loss, card_number,
        eu_number, readme_number, paper_number, statement,
        licence, signature, torn, public_key, threshold, rate, step_left_out, source_left_out, module,
    )
}  # fmt: skip
SEEN_ANYWAY = (
    "byte",
    "add",
    "remove",
    "rename",
    "swap",
    "manifest",
    "ledger_row",
    "score",
    "loss",
    "card_number",
    "eu_number",
    "readme_number",
    "paper_number",
    "statement",
    "licence",
    "torn",
    "threshold",
    "rate",
    "step_left_out",
    "source_left_out",
    "module",
)
"""Those that are found though the forger made new sums, and signed them with a key of his own."""


def forge(folder: Path, key: Path) -> None:
    """New sums over what lies there now, signed by another key."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (*layout.SIGNING, layout.SUMS):
            sums[name] = layout.sha256(path)
    (folder / layout.SUMS).write_text(layout.sums_text(sums), encoding="utf-8")
    (folder / layout.MODEL_SIGNATURE).unlink()
    sign(folder, key)
