"""``instructions/‹set›`` and ``preferences/‹set›``: what people said to assistants, and which answers they liked
better; each row is kept, or dropped with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from neo_assets.align.formats import conversation, preferences
from neo_assets.align.templates import ASSISTANT, Turn
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes, digest_file, digest_json
from neo_assets.core.recipe.align import ConversationSet, PreferenceSet
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Decontamination
from neo_assets.core.records import DROPPED, Verdict, verdict_table
from neo_assets.core.remembered import digests_at_load
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.crawl.catalogue import digests_now
from neo_assets.crawl.documents_source import repaired_text
from neo_assets.crawl.input_files import InputFile, contents, files_known_at_load, input_files
from neo_assets.crawl.row_files import BadRow, open_records
from neo_assets.quality.decontaminated import build_index, overlaps
from neo_assets.tasks.benchmark_items import KEY as BENCHMARKS
from neo_assets.text.searched import read_searched
from neo_assets.web.fetch_log import storable

FILE = "rows.parquet"
TURN = pa.struct([("role", pa.string()), ("text", pa.string())])
CONVERSATION = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("lang", pa.string()),
        ("licence", pa.string()),
        ("turns", pa.list_(TURN)),
        ("characters", pa.int64()),
        ("answer_characters", pa.int64()),
    ]
)
PREFERENCE = pa.schema(
    [
        ("pair_id", pa.string()),
        ("lang", pa.string()),
        ("licence", pa.string()),
        ("prompt", pa.list_(TURN)),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
    ]
)
BAD_ROW, DUPLICATE, CONTAMINATED = "bad_row", "duplicate", "contaminated"
NAMED = 5
"""Rows that a check names."""


class SetInput(Section):
    """What these stages take: the set, and how evaluation items are looked for in it; files by their content."""

    name: str
    settings: ConversationSet | PreferenceSet
    decontamination: Decontamination | None
    content: dict[str, str] = Field(default_factory=dict, description="digest by file; nothing of what is not here")


@dataclass(frozen=True)
class _Found:
    """A row that can be used: its id by its content, what it is written as, its text, and where it stands."""

    key: str
    row: Row | dict[str, object]
    text: str
    place: str


def set_input(name: str, settings: ConversationSet | PreferenceSet, held: Decontamination | None) -> SetInput:
    """The stage's input as far as it is known when definitions load."""
    try:
        files = files_known_at_load(settings, settings.SUFFIXES)
        content = contents(files, digests_at_load)
    except BadInput:
        content = {}
    return SetInput(name=name, settings=settings, decontamination=held, content=content)


def read_instructions(config: SetInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Conversations of a set in one form, each once, without those that hold an evaluation item.

    Raises:
        BadInput: a file is not there, or was changed since the recipe was loaded.
    """
    return _read(config, inputs, out, "instructions", CONVERSATION, lambda raw: [_of_conversation(config, raw)])


def read_preferences(config: SetInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Prompts with a preferred and a rejected answer, each once, without those that hold an evaluation item.

    Raises:
        BadInput: a file is not there, or was changed since the recipe was loaded.
    """
    return _read(config, inputs, out, "preferences", PREFERENCE, lambda raw: _of_preference(config, raw))


def _read(
    config: SetInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    kind: str,
    schema: pa.Schema,
    told: Callable[[object], list[_Found]],
) -> Outcome:
    files = input_files(config.settings, config.settings.SUFFIXES)
    _refuse_changed(files, config.content)
    stage = f"{kind}/{config.name}"
    verdicts: list[Verdict] = []
    kept: dict[str, _Found] = {}
    for place, raw in _rows(files, config, out.path / ".logs"):
        at = digest_bytes(place.encode())
        try:
            if isinstance(raw, BadRow):
                raise BadInput(str(raw))
            found = told(raw)
        except BadInput as error:
            verdicts.append(_verdict(config, stage, at, DROPPED, BAD_ROW, f"{place}: {error}"))
            continue
        for one in found:
            if one.key in kept:
                twin = kept[one.key]
                verdicts.append(
                    _verdict(
                        config,
                        stage,
                        digest_bytes(place.encode()),
                        DROPPED,
                        DUPLICATE,
                        f"{place} is {twin.place}",
                        twin.key,
                    )
                )
            else:
                kept[one.key] = replace(one, place=place)
    searched = _drop_contaminated(config, inputs, kept, verdicts, stage)
    verdicts += [_verdict(config, stage, key, detail=one.place) for key, one in kept.items()]
    rows = [one.row for _, one in sorted(kept.items())]
    out.write(FILE, pa.Table.from_pylist(rows, schema=schema))
    out.write("verdicts.parquet", verdict_table(verdicts))
    return _outcome(config, verdicts, rows, searched, out)


def _rows(files: Sequence[InputFile], config: SetInput, scratch: Path) -> Iterator[tuple[str, object]]:
    """(file#record, what stands there)."""
    for file in files:
        with file.local(scratch) as path:
            for number, raw in enumerate(open_records(file, path, config.settings.max_record_bytes), 1):
                yield f"{file.name}#{number}", raw


def _refuse_changed(files: Sequence[InputFile], known: Mapping[str, str]) -> None:
    now = contents(files, digests_now)
    if now != known:
        changed = next(name for name in sorted({*now, *known}) if now.get(name) != known.get(name))
        raise BadInput(f"{changed} was changed, added or taken away since the recipe was loaded: load it again")


def _of_conversation(config: SetInput, raw: object) -> _Found:
    turns = _storable(conversation(raw))
    key = digest_json([[t.role, t.text] for t in turns])
    row: dict[str, object] = {
        "conversation_id": key,
        "lang": config.settings.lang,
        "licence": config.settings.licence,
        "turns": _told(turns),
        "characters": sum(len(t.text) for t in turns),
        "answer_characters": sum(len(t.text) for t in turns if t.role == ASSISTANT),
    }
    return _Found(key, row, "\n".join(t.text for t in turns), "")


def _of_preference(config: SetInput, raw: object) -> list[_Found]:
    out = []
    for pair in preferences(raw):
        prompt = _storable(pair.prompt)
        chosen, rejected = (repaired_text(text)[0] for text in (pair.chosen, pair.rejected))
        key = digest_json([[[t.role, t.text] for t in prompt], chosen, rejected])
        row: dict[str, object] = {
            "pair_id": key,
            "lang": config.settings.lang,
            "licence": config.settings.licence,
            "prompt": _told(prompt),
            "chosen": chosen,
            "rejected": rejected,
        }
        text = "\n".join([*(t.text for t in prompt), chosen, rejected])
        out.append(_Found(key, row, text, ""))
    return out


def _storable(turns: Sequence[Turn]) -> list[Turn]:
    """Turns as they can be stored: what documents lose too (NUL, halves of characters), and nothing else."""
    return [Turn(turn.role, repaired_text(turn.text)[0]) for turn in turns]


def _told(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "text": turn.text} for turn in turns]


def _verdict(
    config: SetInput, stage: str, key: str, verdict: str = "kept", rule: str = "", detail: str = "", twin: str = ""
) -> Verdict:
    return Verdict(key, stage, verdict, rule, detail=storable(detail), twin=twin, source=config.name)


def _drop_contaminated(
    config: SetInput, inputs: Mapping[str, Artifact], kept: dict[str, _Found], verdicts: list[Verdict], stage: str
) -> int:
    """Take out what holds an evaluation item; returns how many items were looked for."""
    settings = config.decontamination
    if settings is None or not kept:
        return 0
    index = build_index(read_searched(inputs[BENCHMARKS]), settings)
    keys = list(kept)
    for key, (share, item) in zip(keys, overlaps(pa.array([kept[k].text for k in keys]), index), strict=True):
        if share > settings.max_overlap:
            one = kept.pop(key)
            verdicts.append(
                Verdict(
                    key, stage, DROPPED, CONTAMINATED, share, settings.max_overlap, source=config.name,
                    detail=f"{one.place}: {item}",
                )
            )  # fmt: skip
    return len(index.items)


def _outcome(
    config: SetInput, verdicts: Sequence[Verdict], rows: Sequence[Mapping[str, object]], searched: int, out: Workspace
) -> Outcome:
    dropped = Counter(v.rule for v in verdicts if v.verdict == DROPPED)
    bad = [v.detail for v in verdicts if v.rule == BAD_ROW]
    share = len(bad) / max(1, len(verdicts))
    bound = config.settings.max_bad_share
    return Outcome(
        digest=digest_file(out.path / FILE),
        rows_in=len(verdicts),
        rows_kept=len(rows),
        rows_dropped=len(verdicts) - len(rows),
        numbers={
            "lang": config.settings.lang,
            "licence": config.settings.licence,
            "snapshot": config.settings.snapshot,
            "items_looked_for": searched,
            **{f"dropped_{rule}": n for rule, n in sorted(dropped.items())},
        },
        tables={"dropped": [{"rule": rule, "rows": n} for rule, n in dropped.most_common()]},
        checks=[
            Check(
                name="rows_balance",
                passed=len(rows) + sum(dropped.values()) == len(verdicts),
                detail=f"{len(verdicts)} rows = {len(rows)} kept + {sum(dropped.values())} dropped",
            ),
            Check(name="not_empty", passed=bool(rows), detail=f"{len(rows)} rows are left"),
            Check(
                name="rows_can_be_used",
                passed=share <= bound,
                detail=f"{len(bad)} of {len(verdicts)} rows cannot be used ({share:.1%}, {bound:.1%} is let pass)"
                + "".join(f"; {detail}" for detail in bad[:NAMED]),
            ),
        ],
    )
