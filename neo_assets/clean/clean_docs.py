"""``clean_docs/‹lang›``: the documents of all sources that no rule of their language objects to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.clean import released
from neo_assets.clean.chinese_edits import Edit, real_lines, without_urls
from neo_assets.clean.lists import list_input
from neo_assets.clean.rules import Rule, judge, rules
from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.layout import lay_out
from neo_assets.core.recipe.data import CleanChinese, CleanEnglish
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.steps import VERDICTS, Decision, report, verdict_columns, write_part, write_verdicts
from neo_assets.core.store import Artifact, Outcome, Workspace


def clean_english(config: CleanEnglish, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """English documents of all sources that pass every English rule, and a verdict for each that does not.

    The rules are those of the paper's English re-processing; each dropped document names the first rule it broke, the
    value measured and the threshold.
    """
    return _clean("en", rules(config), inputs, out)


def clean_chinese(config: CleanChinese, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Chinese documents of all sources, simplified and traditional, that pass every Chinese rule, and a verdict for
    each that does not.

    The rules are those of the paper's Chinese pipeline; each dropped document names the first rule it broke, the value
    measured and the threshold.
    """
    return _clean("zh", rules(config), inputs, out, edits=chinese_edits(config))


def chinese_edits(config: CleanChinese) -> tuple[Edit, ...]:
    """What a recipe changes in the Chinese texts that it keeps, in order."""
    bad_words = list_input(config.bad_words).read()
    chosen = (
        (config.faithful_to_release, Edit("half_width_punctuation", released.half_width)),
        (
            config.delete_urls,
            Edit("urls_deleted", released.without_addresses if config.faithful_to_release else without_urls),
        ),
        (config.line_rules, Edit("lines_dropped", partial(real_lines, bad_words=bad_words))),
    )
    return tuple(edit for wanted, edit in chosen if wanted)


def _edited(documents: pa.Table, decision: Decision, edits: Sequence[Edit]) -> pa.Table:
    """The documents with their texts edited; each kept one that changed has a verdict naming the edits and the share of
    characters that is gone.
    """
    if not edits:
        return documents
    texts = documents.column("text").to_pylist()
    for i in np.flatnonzero(~decision.dropped):
        before, made = texts[i], []
        for edit in edits:
            after = edit.apply(texts[i])
            if after != texts[i]:
                texts[i] = after
                made.append(edit.rule)
        if made:
            decision.rule[i] = "+".join(made)
            decision.value[i] = round(1 - len(texts[i]) / len(before), 6)
    return documents.set_column(documents.schema.get_field_index("text"), "text", pa.array(texts, pa.string()))


def signal_columns(table: pa.Table, chosen: list[Rule]) -> dict[str, npt.NDArray[np.float64]]:
    """The signals that rules read, as arrays; nan where null."""
    return {rule.signal: table.column(rule.signal).to_numpy(zero_copy_only=False) for rule in chosen}


def _clean(
    lang: str, chosen: list[Rule], inputs: Mapping[str, Artifact], out: Workspace, edits: Sequence[Edit] = ()
) -> Outcome:
    work = []
    for source in sorted(name.split("/", 1)[1] for name in inputs if name.startswith("documents/")):
        measured = {path.name: path for path in inputs[f"signals/{source}"].files(f"{lang}/part-")}
        work += [(source, path, measured[path.name]) for path in inputs[f"documents/{source}"].files("part-")]
    kept = out.path / ".logs" / "kept"
    run_shards(
        partial(_judge_shard, lang, chosen, edits, out.path, kept),
        work,
        out,
        writes=lambda shard: kept / _kept_name(*shard[:2]),
        input_bytes=total_bytes(path for _, path, _ in work),
    )
    lay_out(sorted(kept.glob("*.parquet")), out)
    expected = sum(
        int(str(a.manifest.numbers.get(f"documents_{lang}") or 0))
        for name, a in inputs.items()
        if name.startswith("signals/")
    )
    return report(out, expected=expected, numbers={"rules": len(chosen)})


def _kept_name(source: str, path: Path) -> str:
    return f"{source}-{path.name}"


def _judge_shard(
    lang: str, chosen: list[Rule], edits: Sequence[Edit], folder: Path, kept: Path, shard: tuple[str, Path, Path]
) -> None:
    source, path, measured = shard
    name = _kept_name(source, path)
    documents = records.read_table(path, records.DOCUMENT)
    documents = documents.filter(pc.equal(documents.column("lang"), lang)).sort_by("doc_id")
    signals = records.read_table(measured).sort_by("doc_id")
    if signals.column("doc_id").combine_chunks() != documents.column("doc_id").combine_chunks():
        raise BadInput(f"{measured}: its documents are not those of {path}")
    decision = judge(signal_columns(signals, chosen), chosen, documents.num_rows)
    documents = _edited(documents, decision, edits)
    write_verdicts(
        verdict_columns(f"clean_docs/{lang}", documents.column("doc_id"), source, decision), folder / VERDICTS / name
    )
    write_part(documents.filter(pa.array(~decision.dropped)), kept / name)
