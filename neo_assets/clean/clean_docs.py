"""``clean_docs/‹lang›``: the documents of all sources that no rule of their language objects to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.clean import released
from neo_assets.clean.rules import Rule, judge, rules
from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.layout import lay_out
from neo_assets.core.recipe.data import CleanChinese, CleanEnglish
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.steps import VERDICTS, report, verdict_columns, write_part, write_verdicts
from neo_assets.core.store import Artifact, Outcome, Workspace


def clean_english(config: CleanEnglish, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """English documents of all sources that pass every English rule, and a verdict for each that does not.

    The rules are those of the paper's English re-processing; each dropped document names the first rule it broke, the value
    measured and the threshold.
    """
    return _clean("en", rules(config), inputs, out)


def clean_chinese(config: CleanChinese, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Chinese documents of all sources, simplified and traditional, that pass every Chinese rule, and a verdict for each that does not.

    The rules are those of the paper's Chinese pipeline; each dropped document names the first rule it broke, the value measured
    and the threshold.
    """
    return _clean("zh", rules(config), inputs, out, half_width=config.faithful_to_release)


def signal_columns(table: pa.Table, chosen: list[Rule]) -> dict[str, npt.NDArray[np.float64]]:
    """The signals that rules read, as arrays; nan where null."""
    return {rule.signal: table.column(rule.signal).to_numpy(zero_copy_only=False) for rule in chosen}


def _clean(lang: str, chosen: list[Rule], inputs: Mapping[str, Artifact], out: Workspace, half_width: bool = False) -> Outcome:
    work = []
    for source in sorted(name.split("/", 1)[1] for name in inputs if name.startswith("documents/")):
        measured = {path.name: path for path in inputs[f"signals/{source}"].files(f"{lang}/part-")}
        work += [(source, path, measured[path.name]) for path in inputs[f"documents/{source}"].files("part-")]
    kept = out.path / ".logs" / "kept"
    run_shards(
        partial(_judge_shard, lang, chosen, half_width, out.path, kept), work, workers=out.workers, scratch=out.path / ".logs", input_bytes=total_bytes(path for _, path, _ in work)
    )
    lay_out(sorted(kept.glob("*.parquet")), out.path, workers=out.workers, scratch=out.path / ".logs")
    expected = sum(int(str(a.manifest.numbers.get(f"documents_{lang}") or 0)) for name, a in inputs.items() if name.startswith("signals/"))
    return report(out, expected=expected, numbers={"rules": len(chosen)})


def _judge_shard(lang: str, chosen: list[Rule], half_width: bool, folder: Path, kept: Path, shard: tuple[str, Path, Path]) -> None:
    source, path, measured = shard
    name = f"{source}-{path.name}"
    if (kept / name).is_file():
        return
    documents = records.read_table(path, records.DOCUMENT)
    documents = documents.filter(pc.equal(documents.column("lang"), lang)).sort_by("doc_id")
    signals = records.read_table(measured).sort_by("doc_id")
    if signals.column("doc_id").combine_chunks() != documents.column("doc_id").combine_chunks():
        raise BadInput(f"{measured}: its documents are not those of {path}")
    decision = judge(signal_columns(signals, chosen), chosen, documents.num_rows)
    if half_width:
        texts = documents.column("text").to_pylist()
        mapped = [released.half_width(t) for t in texts]
        changed = np.array([a != b for a, b in zip(texts, mapped, strict=True)], np.bool_)
        decision.rule[changed & ~decision.dropped] = "half_width_punctuation"
        documents = documents.set_column(documents.schema.get_field_index("text"), "text", pa.array(mapped, pa.string()))
    write_verdicts(verdict_columns(f"clean_docs/{lang}", documents.column("doc_id"), source, decision), folder / VERDICTS / name)
    write_part(documents.filter(pa.array(~decision.dropped)), kept / name)
