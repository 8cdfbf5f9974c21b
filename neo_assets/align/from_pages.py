"""``instructions/‹set›`` of kind ``pages``: conversations made of the corpus's own documents; of those that are trained
on, and prompts to ask models of held-out ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from neo_assets.align.phrases import NAMES, PHRASES, asked
from neo_assets.align.sets import CONVERSATION, Found, SetInput, conversation_row, finished
from neo_assets.core import records
from neo_assets.core.recipe.align import PageSet
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.core.withdrawn import without_withdrawn
from neo_assets.tasks.drawing import keyed
from neo_assets.text.sentences import sentence_spans

_COLUMNS = ("doc_id", "lang", "url", "title", "licence", "script", "text")


@dataclass(frozen=True)
class _Page:
    doc_id: str
    lang: str
    url: str | None
    title: str | None
    licence: str | None
    script: str | None
    text: str


def make_conversations(config: SetInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Conversations made of the documents that are trained on, and prompts of held-out ones, in which nothing is
    trained: titles, what something is, titles in the other language, which language a text is in.

    Which documents give what is decided by a keyed hash, never by their order.
    """
    found: list[Found] = []
    for side, held_out in (("train_pool", False), ("heldout", True)):
        assert isinstance(config.settings, PageSet)
        skipped = config.settings.skip_scripts
        pages = [page for page in _pages(inputs, side) if page.script not in skipped]
        count = config.settings.held_out_items if held_out else config.settings.items
        found += [replace(one, held_out=held_out) for one in _made(config, pages, count)]
    return finished(config, inputs, found, [], CONVERSATION, f"instructions/{config.name}", out)


def _pages(inputs: Mapping[str, Artifact], side: str) -> Iterator[_Page]:
    for path in inputs[side].files(records.PART):
        table = records.read_table(path, records.DOCUMENT, list(_COLUMNS))
        table = without_withdrawn(table, inputs, side, path.name)
        for row in zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True):
            yield _Page(*row)


def _made(config: SetInput, pages: list[_Page], count: int) -> Iterator[Found]:
    """At most ``count`` conversations of each task and language."""
    settings = config.settings
    assert isinstance(settings, PageSet)
    for task in settings.tasks:
        made = partial(_translated, config, pages) if task == "translate" else partial(_of_each, settings, task, pages)
        by_language: dict[str, list[tuple[str, Found]]] = defaultdict(list)
        for page, one in made():
            by_language[one.lang].append(
                (keyed(settings.seed, task, page.doc_id), replace(one, place=page.url or page.doc_id))
            )
        for _, ones in sorted(by_language.items()):
            yield from (one for _, one in sorted(ones, key=lambda pair: pair[0])[:count])


def _of_each(settings: PageSet, task: str, pages: list[_Page]) -> Iterator[tuple[_Page, Found]]:
    for page in pages:
        if page.lang not in PHRASES[task]:
            continue
        licence = page.licence or ""
        text = _begin(page, settings.max_text_chars.get(page.lang, 0))
        title = _title(page, settings.max_answer_chars)
        if task == "language" and text:
            for lang in PHRASES[task]:
                if page.lang in NAMES[lang]:
                    turns = asked(task, text, NAMES[lang][page.lang], lang)
                    yield page, conversation_row(turns, lang, licence, task)
        elif task == "section" and text and (name := _section(page, settings)):
            yield page, conversation_row(asked(task, text, name, page.lang), page.lang, licence, task)
        elif task == "title" and text and title:
            yield page, conversation_row(asked(task, text, title, page.lang), page.lang, licence, task)
        elif task == "define" and title and (sentence := _sentence(page, settings)):
            yield page, conversation_row(asked(task, title, sentence, page.lang), page.lang, licence, task)


def _translated(config: SetInput, pages: list[_Page]) -> Iterator[tuple[_Page, Found]]:
    """Titles of pages that are each other's translations, in both directions."""
    settings = config.settings
    assert isinstance(settings, PageSet) and config.split is not None
    groups: dict[str, dict[str, _Page]] = defaultdict(dict)
    for page in pages:
        name = config.split.page(page.url)
        if name and page.lang in PHRASES["translate"] and _title(page, settings.max_answer_chars):
            groups[name].setdefault(page.lang, page)
    for group in groups.values():
        for source in group.values():
            for target in group.values():
                titles = source.title, target.title
                if source.lang == target.lang or titles[0] == titles[1]:
                    continue
                turns = asked("translate", str(titles[0]).strip(), str(titles[1]).strip(), target.lang)
                yield target, conversation_row(turns, target.lang, target.licence or "", "translate")


def _section(page: _Page, settings: PageSet) -> str:
    return next((part.name.get(page.lang, "") for part in settings.sections if re.search(part.url, page.url or "")), "")


def _title(page: _Page, longest: Mapping[str, int]) -> str:
    title = (page.title or "").strip()
    return title if len(title) <= longest.get(page.lang, 0) else ""


def _begin(page: _Page, longest: int) -> str:
    """The whole sentences that a text begins with, as far as they fit; without its title, where that comes first."""
    text = page.text
    if page.title and text.startswith(page.title.strip()):
        text = text[len(page.title.strip()) :]
    text = text.lstrip()
    ends = [end for spans in sentence_spans(text[: longest + 1], page.lang) for _, end in spans if end <= longest]
    return text[: ends[-1]] if ends else ""


def _sentence(page: _Page, settings: PageSet) -> str:
    """The first sentence of a text that is neither too short nor too long to be an answer."""
    least, most = settings.min_answer_chars.get(page.lang, 1), settings.max_answer_chars.get(page.lang, 0)
    for spans in sentence_spans(page.text, page.lang):
        for begin, end in spans:
            if least <= end - begin <= most:
                return page.text[begin:end]
    return ""
