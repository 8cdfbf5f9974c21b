"""``instructions/‹set›`` and ``preferences/‹set›``: what people said to assistants, and which answers they liked
better; each row is kept, held out to ask models, or dropped with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from neo_assets.align.formats import conversation, preferences
from neo_assets.align.phrases import translation
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes, digest_file, digest_json
from neo_assets.core.place import recipe_path
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.align import Align, ConversationSet, InstructionSet, PageSet, PreferenceSet, TranslationSet
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Decontamination, Split
from neo_assets.core.records import DROPPED, KEPT, Verdict, verdict_table
from neo_assets.core.remembered import digests_at_load
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.crawl.catalogue import digests_now
from neo_assets.crawl.documents_source import repaired_text
from neo_assets.crawl.input_files import InputFile, contents, files_known_at_load, input_files
from neo_assets.crawl.row_files import BadRow, open_records
from neo_assets.quality.decontaminated import build_index, overlaps
from neo_assets.tasks.benchmark_items import KEY as BENCHMARKS
from neo_assets.text.searched import read_searched
from neo_assets.web.fetch_log import storable
from training.templates import ASSISTANT, USER, Turn

FILE, HELD_OUT_FILE = "rows.parquet", "held_out.parquet"
TURN = pa.struct([("role", pa.string()), ("text", pa.string())])
CONVERSATION = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("lang", pa.string()),
        ("task", pa.string()),
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
BAD_ROW, DUPLICATE, CONTAMINATED, HELD_OUT = "bad_row", "duplicate", "contaminated", "held_out"
NAMED = 5
"""Rows that a check names."""


class SetInput(Section):
    """What these stages take: the set, and how evaluation items are looked for in it, by language; files by their
    content.
    """

    name: str
    settings: InstructionSet | PreferenceSet
    decontamination: dict[str, Decontamination]
    split: Split | None = None  # of a set that is made of the corpus: which addresses are translations of one page
    content: dict[str, str] = Field(default_factory=dict, description="digest by file; nothing of what is not here")


@dataclass(frozen=True)
class Found:
    """A row that can be used: its id by its content, what it is written as, what is asked and its whole text, and where
    it stands; and whether it is held out.
    """

    key: str
    row: Mapping[str, object]
    asked: str
    text: str
    place: str = ""
    held_out: bool = False

    @property
    def lang(self) -> str:
        return str(self.row["lang"])


def set_input(name: str, settings: InstructionSet | PreferenceSet, recipe: Recipe) -> SetInput:
    """The stage's input as far as it is known when definitions load."""
    langs = recipe.languages if isinstance(settings, PageSet | TranslationSet) else [settings.lang]
    held = {lang: recipe.decontaminated[lang] for lang in langs if lang in recipe.decontaminated}
    if isinstance(settings, PageSet):
        return SetInput(name=name, settings=settings, decontamination=held, split=recipe.heldout)
    try:
        files = files_known_at_load(settings, settings.SUFFIXES)
        content = contents(files, digests_at_load)
    except BadInput:
        content = {}
    return SetInput(name=name, settings=settings, decontamination=held, content=content)


def missing_sets(align: Align | None) -> list[str]:
    """Files that sets name, and folders of reward models, that are not on this machine, in words; remote ones are not
    asked.
    """
    out = []
    for kind, sets in (("instructions", align.instructions), ("preferences", align.preferences)) if align else ():
        for name, settings in sets.items():
            try:
                if not isinstance(settings, PageSet):
                    files_known_at_load(settings, settings.SUFFIXES)
            except BadInput as error:
                out.append(f"align.{kind}.{name}: {error}")
    for name, stage in (align.dpo if align else {}).items():
        folder = stage.generated.rewarded_by.folder if stage.generated else None
        if folder is not None and not recipe_path(folder).is_dir():
            out.append(f"align.dpo.{name}.generated.rewarded_by.folder: {folder} is no folder")
    return out


def read_instructions(config: SetInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Conversations of a set in one form, each once, without those that hold an evaluation item; some held out.

    Raises:
        BadInput: a file is not there, or was changed since the recipe was loaded.
    """
    of = _of_translations if isinstance(config.settings, TranslationSet) else _of_conversation
    return _read(config, inputs, out, "instructions", CONVERSATION, lambda raw: of(config, raw))


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
    told: Callable[[object], list[Found]],
) -> Outcome:
    assert not isinstance(config.settings, PageSet)
    files = input_files(config.settings, config.settings.SUFFIXES)
    _refuse_changed(files, config.content)
    stage = f"{kind}/{config.name}"
    verdicts: list[Verdict] = []
    found: list[Found] = []
    share = getattr(config.settings, "held_out", 0.0)
    for place, raw in _rows(files, config.settings.max_record_bytes, out.path / ".logs"):
        try:
            if isinstance(raw, BadRow):
                raise BadInput(str(raw))
            rows = told(raw)
        except BadInput as error:
            key = digest_bytes(place.encode())
            verdicts.append(_verdict(config, stage, key, DROPPED, BAD_ROW, f"{place}: {error}"))
            continue
        found += [replace(one, place=place, held_out=_is_held_out(one.asked, share)) for one in rows]
    return finished(config, inputs, found, verdicts, schema, stage, out)


def _is_held_out(asked: str, share: float) -> bool:
    """By what is asked, so that no other answer to it is trained on."""
    return int(digest_bytes(asked.encode())[:13], 16) < share * (1 << 52)


def finished(
    config: SetInput,
    inputs: Mapping[str, Artifact],
    found: Sequence[Found],
    verdicts: list[Verdict],
    schema: pa.Schema,
    stage: str,
    out: Workspace,
) -> Outcome:
    """The set's files, of all rows that can be used: each once, nothing of an evaluation item, and held out no prompt
    that is trained on.
    """
    kept: dict[str, Found] = {}
    trained = {one.asked: one for one in found if not one.held_out}
    for one in found:
        twin = kept.get(one.key) or (trained.get(one.asked) if one.held_out else None)
        if twin is None:
            kept[one.key] = one
        else:
            key = digest_bytes(f"{one.place}/{one.key}".encode())
            told = f"{one.place} is {twin.place}" if twin.place else one.place
            verdicts.append(_verdict(config, stage, key, DROPPED, DUPLICATE, told, twin.key))
    searched = _drop_contaminated(config, inputs, kept, verdicts, stage)
    for key, one in kept.items():
        told_of = (DROPPED, HELD_OUT) if one.held_out else (KEPT, "")
        verdicts.append(_verdict(config, stage, key, *told_of, detail=one.place))
    sides = {FILE: False, HELD_OUT_FILE: True}
    for file, held_out in sides.items():
        rows = [one.row for _, one in sorted(kept.items()) if one.held_out == held_out]
        out.write(file, pa.Table.from_pylist(rows, schema=schema))
    out.write("verdicts.parquet", verdict_table(verdicts))
    digest = digest_json([digest_file(out.path / file) for file in sides])
    return _outcome(config, verdicts, [one for one in kept.values() if not one.held_out], searched, digest)


def _rows(files: Sequence[InputFile], limit: int, scratch: Path) -> Iterator[tuple[str, object]]:
    """(file#record, what stands there)."""
    for file in files:
        with file.local(scratch) as path:
            for number, raw in enumerate(open_records(file, path, limit), 1):
                yield f"{file.name}#{number}", raw


def _refuse_changed(files: Sequence[InputFile], known: Mapping[str, str]) -> None:
    now = contents(files, digests_now)
    if now != known:
        changed = next(name for name in sorted({*now, *known}) if now.get(name) != known.get(name))
        raise BadInput(f"{changed} was changed, added or taken away since the recipe was loaded: load it again")


def conversation_row(turns: Sequence[Turn], lang: str, licence: str, task: str = "") -> Found:
    """A conversation as these stages write it."""
    turns = _storable(turns)
    key = digest_json([[t.role, t.text] for t in turns])
    row: dict[str, object] = {
        "conversation_id": key,
        "lang": lang,
        "task": task,
        "licence": licence,
        "turns": _told(turns),
        "characters": sum(len(t.text) for t in turns),
        "answer_characters": sum(len(t.text) for t in turns if t.role == ASSISTANT),
    }
    asked = next(t.text for t in turns if t.role == USER)
    return Found(key, row, asked, "\n".join(t.text for t in turns))


def _of_conversation(config: SetInput, raw: object) -> list[Found]:
    assert isinstance(config.settings, ConversationSet)
    return [conversation_row(conversation(raw), config.settings.lang, config.settings.licence)]


def _of_translations(config: SetInput, raw: object) -> list[Found]:
    """Both directions of a sentence and its translation."""
    assert isinstance(config.settings, TranslationSet)
    (one, first), (two, second) = ((lang, _field(raw, field)) for lang, field in config.settings.fields.items())
    return [
        conversation_row(translation(source, target, lang), lang, config.settings.licence, "translate")
        for source, target, lang in ((first, second, two), (second, first, one))
    ]


def _field(raw: object, name: str) -> str:
    value = raw
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"'{name}' is no text")
    return value.strip()


def _of_preference(config: SetInput, raw: object) -> list[Found]:
    assert isinstance(config.settings, PreferenceSet)
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
        asked = "\n".join(t.text for t in prompt)
        out.append(Found(key, row, asked, "\n".join([asked, chosen, rejected])))
    return out


def _storable(turns: Sequence[Turn]) -> list[Turn]:
    """Turns as they can be stored: what documents lose too (NUL, halves of characters), and nothing else."""
    return [Turn(turn.role, repaired_text(turn.text)[0]) for turn in turns]


def _told(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "text": turn.text} for turn in turns]


def _verdict(
    config: SetInput, stage: str, key: str, verdict: str, rule: str = "", detail: str = "", twin: str = ""
) -> Verdict:
    return Verdict(key, stage, verdict, rule, detail=storable(detail), twin=twin, source=config.name)


def _drop_contaminated(
    config: SetInput, inputs: Mapping[str, Artifact], kept: dict[str, Found], verdicts: list[Verdict], stage: str
) -> int:
    """Take out what holds an evaluation item; returns how many items were looked for."""
    searched = 0
    items = read_searched(inputs[BENCHMARKS]) if config.decontamination else []
    for lang, settings in config.decontamination.items():
        index = build_index(items, settings)
        searched = max(searched, len(index.items))
        keys = [key for key, one in kept.items() if one.lang == lang]
        for key, (share, item) in zip(
            keys, overlaps(pa.array([kept[k].text for k in keys], pa.string()), index), strict=True
        ):
            if share > settings.max_overlap:
                one = kept.pop(key)
                verdicts.append(
                    Verdict(
                        key, stage, DROPPED, CONTAMINATED, share, settings.max_overlap, source=config.name,
                        detail=f"{one.place}: {item}",
                    )
                )  # fmt: skip
    return searched


def _outcome(
    config: SetInput, verdicts: Sequence[Verdict], kept: Sequence[Found], searched: int, digest: str
) -> Outcome:
    dropped = Counter(v.rule for v in verdicts if v.verdict == DROPPED)
    bad = [v.detail for v in verdicts if v.rule == BAD_ROW]
    share = len(bad) / max(1, len(verdicts))
    bound = getattr(config.settings, "max_bad_share", 0.0)
    languages = Counter(one.lang for one in kept)
    numbers = {name: getattr(config.settings, name, None) for name in ("licence", "snapshot")}
    return Outcome(
        digest=digest,
        rows_in=len(verdicts),
        rows_kept=len(kept),
        rows_dropped=len(verdicts) - len(kept),
        numbers={
            **{name: value for name, value in numbers.items() if value is not None},
            "items_looked_for": searched,
            **{f"rows_{lang}": n for lang, n in sorted(languages.items())},
            **{f"dropped_{rule}": n for rule, n in sorted(dropped.items())},
        },
        tables={"dropped": [{"rule": rule, "rows": n} for rule, n in dropped.most_common()]},
        checks=[
            Check(
                name="rows_balance",
                passed=len(kept) + sum(dropped.values()) == len(verdicts),
                detail=f"{len(verdicts)} rows = {len(kept)} kept + {sum(dropped.values())} dropped",
            ),
            Check(name="not_empty", passed=bool(kept), detail=f"{len(kept)} rows are left"),
            Check(
                name="rows_can_be_used",
                passed=share <= bound,
                detail=f"{len(bad)} of {len(verdicts)} rows cannot be used ({share:.1%}, {bound:.1%} is let pass)"
                + "".join(f"; {detail}" for detail in bad[:NAMED]),
            ),
        ],
    )
