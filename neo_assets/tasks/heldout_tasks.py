"""Tasks made from held-out documents, so that every model has a test that nobody could have trained on.

Per language: *bits per byte* of documents (what a model is trained for, comparable between tokenizers), the *next
sentence* (``next_sentence.py``) and the *missing word* (``word_cloze.py``); between two languages, which line is the
*translation* (``parallel.py``), where pages exist in both. They need no outside data and exist for any language of the
recipe. In return they say nothing about knowledge or reasoning, and their scores compare models on this corpus only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Lang, Section
from neo_assets.core.recipe.data import Split
from neo_assets.core.recipe.evaluation import HeldoutTasks
from neo_assets.core.records import DROPPED, KEPT, Verdict, verdict_table
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.core.withdrawn import all_withdrawn
from neo_assets.tasks.benchmarks.built import write_lines
from neo_assets.tasks.benchmarks.translations import PROMPTS
from neo_assets.tasks.drawing import keyed
from neo_assets.tasks.next_sentence import ChoiceItem, Limits, Text, make_items
from neo_assets.tasks.parallel import TranslationItem, make_translation_items
from neo_assets.tasks.word_cloze import make_cloze_items
from neo_assets.text.sentences import delimiter
from training.tasks import TASKS_FILE, Task, write_tasks

STAGE = "heldout_tasks"
UNIFORM_BITS_PER_BYTE = 8.0

NEXT_SENTENCE = (
    "Which of {choices} sentences comes next in a held-out document; the wrong ones come next in other documents, and"
    " each is right as often as wrong ones go."
)
CLOZE = (
    "Which of {choices} words stands in a sentence of a held-out document; the wrong ones are as frequent and as long."
)
TRANSLATION = (
    "Which of {choices} lines of held-out documents is the translation; the wrong ones are of other pages, nearest in"
    " length."
)


class HeldoutTasksInput(Section):
    """What this stage reads of the recipe. ``split`` says which addresses are translations of one page."""

    tasks: HeldoutTasks
    languages: list[Lang] = Field(min_length=1)
    split: Split


class _Heldout(NamedTuple):
    """The columns of a held-out document that tasks are made from."""

    doc_id: str
    lang: str
    cluster_id: str | None
    text: str
    licence: str | None
    url: str | None
    source: str | None
    script: str | None


def make_heldout_tasks(config: HeldoutTasksInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Test questions made from held-out documents: how well a model predicts them, which sentence comes next, which
    word is missing, which line is the translation.

    Which documents and sentences are used depends on the recipe's seed and on the documents themselves, never on their
    order. A document that gives nothing to any task is in `verdicts.parquet` with the reason.
    """
    table = inputs["heldout"].documents()
    everything = [_Heldout(*row) for row in zip(*(table.column(n).to_pylist() for n in _Heldout._fields), strict=True)]
    withdrawn = all_withdrawn(inputs, "heldout")
    documents = sorted((d for d in everything if d.doc_id not in withdrawn), key=lambda d: d.doc_id)
    made = [_make_language(lang, documents, config.tasks, out) for lang in config.languages]
    across = [
        _make_translation(a, b, documents, config, out)
        for a, b in permutations(config.languages, 2)
        if config.tasks.items.translation
    ]
    tasks = [task for language in made for task in language.tasks] + [task for tasks, _ in across for task in tasks]
    used = {doc_id for language in made for doc_id in language.used} | {doc_id for _, ids in across for doc_id in ids}
    checks = [check for language in made for check in language.checks]
    out.write_text(TASKS_FILE, write_tasks(tasks))
    verdicts = [_verdict(d.doc_id, d.lang, config.languages, used) for d in documents]
    verdicts += [Verdict(d.doc_id, STAGE, DROPPED, "withdrawn") for d in everything if d.doc_id in withdrawn]
    out.write("verdicts.parquet", verdict_table(verdicts))
    kept, dropped = sum(v.verdict == KEPT for v in verdicts), sum(v.verdict == DROPPED for v in verdicts)
    balanced = kept + dropped == len(everything) and kept == len(used)
    checks.append(
        Check(
            name="rows_balance",
            passed=balanced,
            detail=f"{len(everything)} documents in = {kept} used + {dropped} not used; {len(used)} different ids used",
        )
    )
    return Outcome(
        digest=digest_json([t.model_dump(mode="json") for t in sorted(tasks, key=lambda t: t.name)]),
        parts={t.name: t.data_digest for t in tasks},
        rows_in=len(everything),
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={"tasks": len(tasks), "items": sum(t.items or 0 for t in tasks), "documents_used": len(used)},
        tables={
            "tasks": [
                {
                    "task": t.name,
                    "items": t.items,
                    "asked": _asked(t.name, config.tasks),
                    "chance": t.chance,
                    "licence": t.licence,
                }
                for t in tasks
            ]
        },
        checks=checks,
    )


def _asked(name: str, settings: HeldoutTasks) -> int:
    counts = {
        "next_sentence": settings.items.next_sentence,
        "cloze": settings.items.cloze,
        "translation": settings.items.translation,
    }
    return next((n for kind, n in counts.items() if name.startswith(kind)), settings.max_documents)


@dataclass(frozen=True)
class _Language:
    """The tasks of one language and what is told of them."""

    tasks: list[Task]
    used: set[str]
    checks: list[Check]


def _make_language(lang: str, documents: Sequence[_Heldout], settings: HeldoutTasks, out: Workspace) -> _Language:
    """Choose documents and items of one language and write the task files."""
    mine = [d for d in documents if d.lang == lang and d.text]
    written = _of_one_script(mine)
    docs = [_text(d) for d in written]
    licences = _licences(mine)
    rolling = sorted(
        sorted(written, key=lambda d: keyed(settings.seed, "bits_per_byte", d.doc_id))[: settings.max_documents],
        key=lambda d: d.doc_id,
    )
    limits, how = _limits(settings, lang), {"choices": settings.choices, "seed": settings.seed}
    following = make_items(docs, lang, limits, items=settings.items.next_sentence, **how)
    missing = make_cloze_items(docs, lang, limits, items=settings.items.cloze, **how) if settings.items.cloze else []
    tasks = [_bits_per_byte(lang, rolling, licences, settings, out)]
    for name, items, said in ((f"next_sentence_{lang}", following, NEXT_SENTENCE), (f"cloze_{lang}", missing, CLOZE)):
        if items:
            tasks.append(_choice(name, lang, items, licences, said.format(choices=settings.choices), settings, out))
    out.log(
        f"{lang}: {len(rolling)} documents for bits per byte, {len(following)} next sentences, {len(missing)} missing"
        " words"
    )
    wanted = {
        "next sentences": (len(following), settings.items.next_sentence),
        "missing words": (len(missing), settings.items.cloze),
    }
    short = (
        ", ".join(f"{got} of the {asked} {what} asked for" for what, (got, asked) in wanted.items())
        + f", {len(rolling)} of {settings.max_documents} documents"
    )
    enough = all(got >= asked for got, asked in wanted.values()) and len(rolling) > 0
    if not enough:
        short += ". Scores rest on what there is, with wider errors; a larger heldout.share gives more"
    return _Language(
        tasks=tasks,
        used={d.doc_id for d in rolling} | {i.doc_id for i in (*following, *missing)},
        checks=[
            Check(
                name=f"has_items_{lang}",
                passed=bool(rolling and following),
                detail=f"{len(rolling)} documents and {len(following)} next sentences from {len(docs)} documents",
            ),
            Check(
                name=f"enough_items_{lang}",
                passed=enough,
                detail=short,
                blocking=False,
            ),
        ],
    )


def _make_translation(
    source: str, target: str, documents: Sequence[_Heldout], config: HeldoutTasksInput, out: Workspace
) -> tuple[list[Task], set[str]]:
    """The task of telling which line is the translation, from pages that are held out in both languages; none where
    there are none.
    """
    settings = config.tasks
    pages: dict[str, dict[str, _Heldout]] = {}
    for document in (
        d for lang in (source, target) for d in _of_one_script([d for d in documents if d.lang == lang and d.text])
    ):
        if page := config.split.page(document.url):
            pages.setdefault(page, {}).setdefault(document.lang, document)
    pairs = [(p[source], p[target]) for p in pages.values() if len(p) == 2]
    limits = Limits(
        settings.min_choice_chars[source],
        settings.max_context_chars[source],
        settings.min_choice_chars[target],
        settings.max_context_chars[target],
    )
    texts = [(_text(a), _text(b)) for a, b in pairs]
    items = make_translation_items(
        texts, source, target, limits, items=settings.items.translation, choices=settings.choices, seed=settings.seed
    )
    out.log(f"{source} to {target}: {len(pairs)} pages in both, {len(items)} translations")
    if not items or target not in PROMPTS:
        return [], set()
    name = f"translation_{source}_{target}"
    licences = _licences([d for pair in pairs for d in pair])
    return [_choice(name, target, items, licences, TRANSLATION.format(choices=settings.choices), settings, out)], {
        i.doc_id for i in items
    }


def _text(document: _Heldout) -> Text:
    return Text(document.doc_id, document.cluster_id or document.doc_id, document.text)


def _of_one_script(documents: Sequence[_Heldout]) -> list[_Heldout]:
    """Documents in the script that most of them have: a traditional character among simplified ones would give a choice
    away.
    """
    counts = Counter(d.script or "" for d in documents)
    usual = max(sorted(counts), key=lambda script: counts[script], default="")
    return [d for d in documents if (d.script or "") == usual]


def _licences(documents: Sequence[_Heldout]) -> str:
    return ", ".join(sorted({d.licence or "unknown" for d in documents}))


def _bits_per_byte(
    lang: str, documents: Sequence[_Heldout], licences: str, settings: HeldoutTasks, out: Workspace
) -> Task:
    lines = [{"id": d.doc_id, "text": d.text[: settings.max_document_chars], "source": d.source} for d in documents]
    file, digest = write_lines(out, f"bits_per_byte_{lang}", lines)
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
        description=(
            f"Bits per byte of held-out documents, cut to {settings.max_document_chars:,} characters. Lower is better;"
            " guessing every byte costs 8."
        ),
    )


def _choice(
    name: str,
    lang: str,
    items: Sequence[ChoiceItem] | Sequence[TranslationItem],
    licences: str,
    said: str,
    settings: HeldoutTasks,
    out: Workspace,
) -> Task:
    shown = "source" if isinstance(items[0], TranslationItem) else "context"
    file, digest = write_lines(
        out,
        name,
        [
            {"id": i.id, "doc_id": i.doc_id, shown: getattr(i, shown), "choices": i.choices, "answer": i.answer}
            for i in items
        ],
    )
    prompt, gap = PROMPTS[lang] if shown == "source" else ("{context}", delimiter(lang))
    return Task(
        name=name,
        kind="multiple_choice",
        file=file,
        data_digest=digest,
        lang=lang,
        licence=licences,
        items=len(items),
        chance=1 / settings.choices,
        metric="acc_norm",
        prompt=prompt,
        delimiter=gap,
        description=said,
    )


def _limits(settings: HeldoutTasks, lang: str) -> Limits:
    given = {
        name: getattr(settings, name)
        for name in ("min_context_chars", "max_context_chars", "min_choice_chars", "max_choice_chars")
    }
    for name, by_language in given.items():
        if lang not in by_language:
            raise BadInput(f"the recipe's evaluation.heldout.{name} has no '{lang}', which is one of its languages")
    return Limits(*(by_language[lang] for by_language in given.values()))


def _verdict(doc_id: str, lang: str, languages: list[str], used: set[str]) -> Verdict:
    if doc_id in used:
        return Verdict(doc_id, STAGE, KEPT)
    return Verdict(doc_id, STAGE, DROPPED, rule="not_sampled" if lang in languages else "language", detail=lang)
