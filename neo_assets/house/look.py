"""A look at somebody's text before anything is built: which files there are, how much text, in which languages."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.data import Documents, Extract
from neo_assets.core.recipe.sources import DOCUMENT_SUFFIXES, RECORD_BYTES, DocumentsSource, WarcSource
from neo_assets.crawl.input_files import InputFile, input_files
from neo_assets.crawl.row_files import open_records
from neo_assets.extract.extractors import bounds_of
from neo_assets.extract.html_pages import html_of
from neo_assets.extract.language import identify
from neo_assets.extract.main_content import main_text
from neo_assets.web.encoding import decode_html
from neo_assets.web.foreign_warc import Text, read_warc
from neo_assets.web.warc_files import Response

Item = TypeVar("Item")

LOOKED_AT = 200
"""Files, or records, of each source that are looked at: enough to tell a language that one document in twenty has."""
GONE_THROUGH = 500_000_000
"""Bytes of records of each source that are gone through for them: the first of a file say nothing about its last."""
TEXT_FIELDS = ("text", "content", "body", "raw_content", "document", "article", "output")
URL_FIELDS, ID_FIELDS = ("url", "link", "source_url", "meta.url"), ("id", "doc_id", "_id")
PLAIN = (".txt", ".md", ".markdown", ".tex")
PAGES = (".html", ".htm", ".xhtml")


@dataclass
class Looked:
    """What a source is seen to be: its section of a recipe, and of what was looked at in it the bytes of records and
    of text, the latter also by language, with those texts and the scores of their language. ``all_text``: bytes of text
    in all of it, where every record was counted.
    """

    section: dict[str, object]
    files: int
    size: int
    read: int = 0
    text: int = 0
    all_text: int | None = None
    languages: Counter[str] = field(default_factory=Counter)
    texts: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def text_size(self) -> int:
        """Bytes of text in all of it, by what was read; of what cannot be read at a glance a tenth of its size."""
        if self.all_text is not None:
            return self.all_text
        return int(self.size * self.text / self.read) if self.read else self.size // 10


def folder(path: Path, host: str, settings: Documents, extract: Extract) -> list[Looked]:
    """The sources that a folder's files make: pages, documents to be converted, rows of text.

    Raises:
        BadInput: no such folder, or nothing in it that is read here; says what there is.
    """
    if not path.is_dir():
        raise BadInput(f"there is no folder {path}")
    files = [p for p in sorted(path.rglob("*")) if p.is_file()]
    pages = [p for p in files if p.suffix.lower() in PAGES]
    found = []
    if pages:
        include = [f"**/*{end}" for end in PAGES if any(p.suffix == end for p in pages)]
        section: dict[str, object] = {"kind": "html_folder", "path": str(path), "host": host, "include": include}
        looked = Looked(section, len(pages), _sizes(pages))
        for page in _spread(pages):
            html = decode_html(page.read_bytes()[: extract.max_html_bytes], "")[0]
            _tell(looked, page.stat().st_size, main_text(html, bounds_of(extract)).text, settings)
        found.append(looked)
    if books := [p for p in files if p.suffix.lower() in DOCUMENT_SUFFIXES]:
        looked = Looked({"kind": "books", "paths": [str(path)]}, len(books), _sizes(books))
        plain = [p for p in books if p.suffix.lower() in PLAIN]
        for book in _spread(plain):
            _tell(looked, book.stat().st_size, book.read_text(encoding="utf-8", errors="replace"), settings)
        if len(plain) < len(books):
            looked.notes.append(
                f"{len(books) - len(plain)} of {len(books)} documents are PDF, EPUB and the like: pip install -e"
                " '.[documents]'"
            )
        found.append(looked)
    if rows := [p for p in files if DocumentsSource.SUFFIXES and _suffix(p) in DocumentsSource.SUFFIXES]:
        found.append(records([str(path)], settings, len(rows)))
    if warcs := [p for p in files if _suffix(p) == ".warc"]:
        found.append(archives([str(p) for p in warcs], settings, extract))
    if not found:
        ends = Counter(p.suffix or "none" for p in files)
        ending = ", ".join(f"{end} ({n})" for end, n in ends.most_common(5))
        there = f"there are files that end in {ending}" if ends else "it holds no file"
        raise BadInput(
            f"nothing in {path} is read here: {there}; pages ({', '.join(PAGES)}),"
            f" documents ({', '.join(DOCUMENT_SUFFIXES)}), rows ({', '.join(DocumentsSource.SUFFIXES)}) and .warc are"
        )
    return found


def records(
    paths: Sequence[str], settings: Documents, count: int | None = None, text_field: str | None = None
) -> Looked:
    """Rows of text: which fields hold what, told by the first rows. Raises BadInput where no field looks like text."""
    config = DocumentsSource.model_validate(_unsaid("documents", paths))
    files = input_files(config, DocumentsSource.SUFFIXES)
    if not files:
        raise BadInput(f"{', '.join(paths)}: no file of rows ({', '.join(DocumentsSource.SUFFIXES)}) is there")
    section: dict[str, object] = {"kind": "documents", "paths": list(paths)}
    looked = Looked(section, count or len(files), sum(f.size for f in files))
    some = _spread(files)
    walk = Walk(len(some))
    for file in some:
        rows = walk.through(_rows(file, config), lambda row: sum(len(v) for v in row.values() if isinstance(v, str)))
        if "text_field" not in section:
            _name_fields(section, looked.notes, rows, file, text_field)
        for row in rows:
            text = _at(row, str(section["text_field"]))
            if isinstance(text, str):
                _tell(looked, len(json.dumps(row, ensure_ascii=False, default=str).encode()), text, settings)
    walk.estimate(looked, len(files))
    if any(f.packed or f.suffix == ".parquet" for f in files):  # what was read is larger than the files are
        looked.read = max(1, looked.read // 3)
    return looked


def archives(paths: Sequence[str], settings: Documents, extract: Extract) -> Looked:
    """Pages of WARC files, or, where conversion records are in them, their text."""
    config = WarcSource.model_validate(_unsaid("warc", paths))
    files = input_files(config, WarcSource.SUFFIXES)
    if not files:
        raise BadInput(f"{', '.join(paths)}: no WARC file is there")
    section: dict[str, object] = {"kind": "warc", "paths": list(paths)}
    looked = Looked(section, len(files), sum(f.size for f in files))
    some = _spread(files)
    walk = Walk(len(some))
    for file in some:
        for what in walk.through(_texts_of(Path(file.place)), lambda what: len(what.payload)):
            if isinstance(what, Text):
                section["kind"] = "wet"
                text = what.payload.decode("utf-8", "replace")
            else:
                text = main_text(html_of(what), bounds_of(extract)).text
            _tell(looked, len(what.payload), text, settings)
    walk.estimate(looked, len(files))
    looked.read = max(1, looked.read // (4 if files[0].packed else 1)) if looked.read else 0
    return looked


def _texts_of(file: Path) -> Iterator[Text | Response]:
    for record in read_warc(file, RECORD_BYTES):
        if isinstance(record.what, Text) or (isinstance(record.what, Response) and record.what.status == 200):
            yield record.what


class Walk:
    """Through the records of some files, a like share of each, as far as GONE_THROUGH goes."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._each = max(1, LOOKED_AT // files)
        self._bytes = GONE_THROUGH // files
        self._passed = self._taken = 0
        self._whole = True

    def through(self, items: Iterable[Item], size: Callable[[Item], int]) -> list[Item]:
        """Some of the items, drawn evenly (Vitter's algorithm R, always the same ones): of rows that alternate between
        two languages every other one would be of one.
        """
        kept: list[Item] = []
        generator = random.Random(0)
        gone = seen = 0
        for item in items:
            if gone > self._bytes:
                self._whole = False
                break
            gone += size(item)
            seen += 1
            if len(kept) < self._each:
                kept.append(item)
            elif (place := generator.randrange(seen)) < self._each:
                kept[place] = item
        self._passed += seen
        self._taken += len(kept)
        return kept

    def estimate(self, looked: Looked, files: int) -> None:
        """The text of all records by those that were taken, if all records of some of the files were passed."""
        if self._whole and self._taken:
            looked.all_text = int(looked.text / self._taken * self._passed / self._files * files)
        elif not self._whole:
            looked.notes.append(f"languages and amount are those of what comes first: {GONE_THROUGH:,} bytes were read")


def _unsaid(kind: str, paths: Sequence[str]) -> dict[str, object]:
    """A source's section while nothing is said about it but where it lies."""
    return {"kind": kind, "paths": [str(path) for path in paths], "licence": "unknown", "snapshot": "1"}


def _rows(file: InputFile, config: DocumentsSource) -> Iterator[Mapping[str, Any]]:
    with file.local(Path()) as path:
        for row in open_records(file, path, config.max_record_bytes, config.text_field):
            if isinstance(row, Mapping):
                yield row


def _name_fields(
    section: dict[str, object],
    notes: list[str],
    rows: Sequence[Mapping[str, Any]],
    file: InputFile,
    text_field: str | None,
) -> None:
    named = {name for row in rows for name, value in row.items() if isinstance(value, str) and len(value) > 20}
    text = text_field or next((name for name in TEXT_FIELDS if name in named), None)
    if text_field and not any(isinstance(_at(row, text_field), str) for row in rows):
        fields = ", ".join(sorted({name for row in rows for name in row})) or "none"
        raise BadInput(f"{file.place}: no field '{text_field}' of its rows holds text; its fields are {fields}")
    if text is None:  # the field that holds most
        sizes = Counter({name: sum(len(str(row.get(name) or "")) for row in rows) for name in named})
        if not sizes:
            fields = ", ".join(sorted({name for row in rows for name in row})) or "none"
            raise BadInput(f"{file.place}: no field of its first rows holds text; its fields are {fields}")
        text = sizes.most_common(1)[0][0]
    section["text_field"] = text
    if others := sorted(named - {text, *URL_FIELDS, *ID_FIELDS, "title"}):
        notes.append(f"the text is '{text}'; fields that hold words as well: {', '.join(others)}")
    there = {name for row in rows for name in row}
    section["url_field"] = next((n for n in URL_FIELDS if n in there or (rows and _at(rows[0], n))), None)
    section["id_field"] = next((n for n in ID_FIELDS if n in there), None)
    if "title" in there:
        section["title_field"] = "title"


def _at(row: Mapping[str, Any], name: str) -> object:
    value: object = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _tell(looked: Looked, size: int, text: str, settings: Documents) -> None:
    looked.read += size
    amount = len(text.encode())
    looked.text += amount
    if text.strip():
        found = identify(text[:20_000], settings)
        looked.languages[found.lang] += amount
        looked.texts.setdefault(found.lang, []).append((text, found.score))


def _suffix(path: Path) -> str:
    return InputFile(path.name, str(path), 0).suffix


def _sizes(files: Sequence[Path]) -> int:
    return sum(p.stat().st_size for p in files)


def _spread(files: Sequence[Item]) -> list[Item]:
    """So many of them, from all over."""
    step = max(1, len(files) // LOOKED_AT)
    return list(files[::step][:LOOKED_AT])
