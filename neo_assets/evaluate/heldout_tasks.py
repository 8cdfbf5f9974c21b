"""Tasks made from held-out documents, so that every model has a test that nobody could have trained on.

Per language: *bits per byte* of whole documents (what a model is trained for, comparable between tokenizers), and a *cloze* task
(``cloze.py``). They need no outside data and exist for any language of the recipe. In return they say nothing about knowledge
or reasoning, and their scores compare models on this corpus only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes, digest_json
from neo_assets.core.recipe.base import Lang, Section
from neo_assets.core.recipe.model import HeldoutTasks
from neo_assets.core.records import DROPPED, KEPT, Verdict, verdict_table
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.evaluate.cloze import ClozeItem, Limits, Text, delimiter, keyed, make_items
from training.tasks import TASKS_FILE, Task, write_tasks

STAGE = "heldout_tasks"
UNIFORM_BITS_PER_BYTE = 8.0


class HeldoutTasksInput(Section):
    """What this stage reads of the recipe."""

    tasks: HeldoutTasks
    languages: list[Lang] = Field(min_length=1)


class _Heldout(NamedTuple):
    """The columns of a held-out document that tasks are made from."""

    doc_id: str
    lang: str
    cluster_id: str | None
    text: str
    licence: str | None


def make_heldout_tasks(config: HeldoutTasksInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Test questions made from held-out documents: how well a model predicts them, and which of several sentences comes next.

    Which documents and sentences are used depends on the recipe's seed and on the documents themselves, never on their order. A
    document that gives nothing to any task is in `verdicts.parquet` with the reason.
    """
    table = inputs["heldout"].documents()
    documents = sorted(_Heldout(*row) for row in zip(*(table.column(n).to_pylist() for n in _Heldout._fields), strict=True))
    made = [_make_language(lang, documents, config.tasks, out) for lang in config.languages]
    tasks = [task for language in made for task in language.tasks]
    used = {doc_id for language in made for doc_id in language.used}
    checks = [check for language in made for check in language.checks]
    out.write_text(TASKS_FILE, write_tasks(tasks))
    verdicts = [_verdict(d.doc_id, d.lang, config.languages, used) for d in documents]
    out.write("verdicts.parquet", verdict_table(verdicts))
    kept, dropped = sum(v.verdict == KEPT for v in verdicts), sum(v.verdict == DROPPED for v in verdicts)
    balanced = kept + dropped == len(documents) and kept == len(used)
    checks.append(Check(name="rows_balance", passed=balanced, detail=f"{len(documents)} documents in = {kept} used + {dropped} not used; {len(used)} different ids used"))
    return Outcome(
        digest=digest_json([t.model_dump() for t in sorted(tasks, key=lambda t: t.name)]),
        parts={t.name: t.data_digest for t in tasks},
        rows_in=len(documents),
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={"tasks": len(tasks), "cloze_items": sum(t.items for t in tasks if t.kind == "multiple_choice"), "documents_used": len(used)},
        tables={"languages": [language.numbers for language in made]},
        checks=checks,
    )


@dataclass(frozen=True)
class _Language:
    """The tasks of one language and what is told of them."""

    tasks: list[Task]
    used: set[str]
    numbers: Row
    checks: list[Check]


def _make_language(lang: str, documents: Sequence[_Heldout], settings: HeldoutTasks, out: Workspace) -> _Language:
    """Choose documents and items of one language and write both task files."""
    mine = [d for d in documents if d.lang == lang]
    docs = [Text(d.doc_id, d.cluster_id or d.doc_id, d.text) for d in mine if d.text]
    licences = ", ".join(sorted({d.licence or "unknown" for d in mine}))
    rolling = sorted(sorted(docs, key=lambda d: keyed(settings.seed, "bits_per_byte", d.doc_id))[: settings.max_documents], key=lambda d: d.doc_id)
    items = make_items(docs, lang, _limits(settings, lang), items=settings.cloze_items, choices=settings.choices, seed=settings.seed)
    tasks = [_bits_per_byte(lang, rolling, licences, settings, out), _cloze(lang, items, licences, settings, out)]
    out.log(f"{lang}: {len(rolling)} documents for bits per byte, {len(items)} cloze items")
    short = f"{len(items)} of the {settings.cloze_items} cloze items asked for, {len(rolling)} of {settings.max_documents} documents"
    return _Language(
        tasks=tasks,
        used={d.doc_id for d in rolling} | {i.doc_id for i in items},
        numbers={"lang": lang, "documents": len(docs), "bits_per_byte_documents": len(rolling), "cloze_items": len(items), "cloze_asked": settings.cloze_items},
        checks=[
            Check(name=f"has_items_{lang}", passed=bool(rolling and items), detail=f"{len(rolling)} documents and {len(items)} cloze items from {len(docs)} held-out documents"),
            Check(name=f"enough_items_{lang}", passed=len(items) >= settings.cloze_items and len(rolling) > 0, detail=short, blocking=False),
        ],
    )


def _bits_per_byte(lang: str, documents: Sequence[Text], licences: str, settings: HeldoutTasks, out: Workspace) -> Task:
    file, digest = _write(out, f"bits_per_byte_{lang}.jsonl", [{"id": d.doc_id, "text": d.text[: settings.max_document_chars]} for d in documents])
    return Task(
        name=f"bits_per_byte_{lang}",
        kind="loglikelihood_rolling",
        file=file,
        data_digest=digest,
        lang=lang,
        licence=licences,
        items=len(documents),
        chance=UNIFORM_BITS_PER_BYTE,
        metric="bits_per_byte",
        description=f"Bits per byte of held-out documents, cut to {settings.max_document_chars:,} characters. Lower is better; guessing every byte costs 8.",
    )


def _cloze(lang: str, items: Sequence[ClozeItem], licences: str, settings: HeldoutTasks, out: Workspace) -> Task:
    file, digest = _write(out, f"cloze_{lang}.jsonl", [{"id": i.id, "doc_id": i.doc_id, "context": i.context, "choices": i.choices, "answer": i.answer} for i in items])
    return Task(
        name=f"cloze_{lang}",
        kind="multiple_choice",
        file=file,
        data_digest=digest,
        lang=lang,
        licence=licences,
        items=len(items),
        chance=1 / settings.choices,
        metric="acc_norm",
        prompt="{context}",
        delimiter=delimiter(lang),
        description=f"Which of {settings.choices} sentences comes next in a held-out document; the wrong ones are sentences of other documents, nearest in length.",
    )


def _limits(settings: HeldoutTasks, lang: str) -> Limits:
    given = {name: getattr(settings, name) for name in ("min_context_chars", "max_context_chars", "min_choice_chars", "max_choice_chars")}
    for name, by_language in given.items():
        if lang not in by_language:
            raise BadInput(f"the recipe's evaluation.heldout.{name} has no '{lang}', which is one of its languages")
    return Limits(*(by_language[lang] for by_language in given.values()))


def _write(out: Workspace, name: str, lines: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """(file name, digest) of the JSON lines."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    out.write_text(name, text)
    return name, digest_bytes(text.encode())


def _verdict(doc_id: str, lang: str, languages: list[str], used: set[str]) -> Verdict:
    if doc_id in used:
        return Verdict(doc_id, STAGE, KEPT)
    return Verdict(doc_id, STAGE, DROPPED, rule="not_sampled" if lang in languages else "language", detail=lang)
