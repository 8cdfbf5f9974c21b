"""The source catalogue: what a source is, where it comes from and under which terms, before anything of it is read.

Its digest covers kind, place, licence, terms and snapshot, and no path of this machine: moving a folder makes nothing
stale, and a new snapshot label does. What lies on this machine counts by its content as well: a file that is added,
changed or taken away makes the source stale. The price: pages of a web site that changed under an old label are not
noticed, since nobody asks the site.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.place import recipe_path
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.sources import (
    BooksSource,
    CrawlSource,
    DocumentsSource,
    FilesSource,
    HtmlFolderSource,
    Source,
    WarcSource,
    WetSource,
)
from neo_assets.core.remembered import digests_at_load, remembered_digest, remembered_tree
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.crawl.input_files import HasPaths, InputFile, contents, files_known_at_load, input_files
from neo_assets.crawl.site import folder_site


class SourceInput(Section):
    """A source as the recipe names it, and digests of what lies on this machine of it. A path is no identity, so these
    are.
    """

    source: Source
    content: dict[str, str] = Field(default_factory=dict, description="by file, or of a whole folder")


def source_input(source: Source) -> SourceInput:
    """The stage's input as far as it is known when definitions load; nothing of what is not there."""
    try:
        return SourceInput(source=source, content=_content(source, files_known_at_load, digests_at_load))
    except BadInput:
        return SourceInput(source=source)


def read_source_input(source: Source) -> SourceInput:
    """The stage's input with every file read, and remote places asked. Raises BadInput: a place that the recipe names
    is not there.
    """
    return SourceInput(source=source, content=_content(source, input_files, digests_now))


def _content(
    source: Source,
    listed: Callable[[HasPaths, Sequence[str]], list[InputFile]],
    digests: Callable[[Sequence[Path]], list[str]],
) -> dict[str, str]:
    if isinstance(source, CrawlSource):
        return {}
    if isinstance(source, HtmlFolderSource):
        folder = html_folder(source).resolve()
        return {
            folder.name: remembered_tree(
                folder, source.include, lambda: folder_site(folder, source.host, source.include).files.items()
            )
        }
    return contents(listed(source, source.SUFFIXES), digests)


def refuse_changed_files(source: Source, catalogue: Artifact) -> None:
    """Raises BadInput where what lies on this machine of a source is no longer what its catalogue describes."""
    _refuse_other(catalogue, read_source_input(source).content)


def described_files(
    source: BooksSource | DocumentsSource | WarcSource | WetSource, inputs: Mapping[str, Artifact]
) -> list[InputFile]:
    """The files of a source. ``inputs``: its catalogue. Raises BadInput where they are not what that describes."""
    (catalogue,) = inputs.values()
    files = input_files(source, source.SUFFIXES)
    _refuse_other(catalogue, contents(files, digests_now))
    return files


def digests_now(files: Sequence[Path]) -> list[str]:
    return [remembered_digest(file) for file in files]


def _refuse_other(catalogue: Artifact, now: Mapping[str, str]) -> None:
    described = catalogue.manifest.made_from.config.get("content")
    if described != now:
        told = described if isinstance(described, dict) else {}
        name = next(n for n in [*sorted({*told, *now}), "it"] if told.get(n) != now.get(n) or n == "it")
        raise BadInput(
            f"{name} is not what {catalogue.key} describes: it was changed, added or taken away since. Materialize"
            f" {catalogue.key} again."
        )


def describe_source(config: SourceInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The source as the recipe names it: kind, place, licence with its full terms, snapshot, content of local files,
    and a digest of all that.

    Raises:
        BadInput: a folder or file that the recipe names is not there.
    """
    source, content = config.source, config.content
    terms = _terms(source)
    entry: dict[str, object] = {
        "kind": source.kind,
        "place": {"files": list(content)} if isinstance(source, FilesSource) else _place(source),
        "licence": source.licence,
        "terms": terms,
        "snapshot": source.snapshot,
        "content": content,
    }
    digest = digest_json(entry)
    out.write_text("catalogue.json", json.dumps({**entry, "digest": digest}, ensure_ascii=False, indent=1))
    return Outcome(
        digest=digest,
        rows_in=1,
        rows_kept=1,
        rows_dropped=0,
        numbers={
            "kind": source.kind,
            "licence": source.licence,
            "snapshot": source.snapshot,
            "terms_chars": len(terms or ""),
        },
        checks=[
            Check(name="terms_quoted", passed=terms is not None, detail=_terms_known(source, terms), blocking=False),
        ],
    )


def missing_places(sources: Mapping[str, Source]) -> list[str]:
    """Folders and files that sources name and that are not on this machine, in words."""
    out = []
    for name, source in sources.items():
        try:
            _place(source)
        except BadInput as error:
            out.append(f"sources.{name}: {error}")
    return out


def html_folder(config: HtmlFolderSource) -> Path:
    """The folder of an ``html_folder`` source. Raises BadInput, with what to do, if it is not there."""
    folder = recipe_path(config.path)
    if not folder.is_dir():
        raise BadInput(
            f"there is no folder {folder} to read pages of {config.host} from. Run `make demo` to fetch the demo site,"
            " or point the source's `path` at any folder of HTML pages, or use `kind: crawl` with a list of URLs"
            " (`seeds`)."
        )
    return folder


def _place(config: Source) -> object:
    if isinstance(config, CrawlSource):
        return {"seeds": config.seeds, "allowed_domains": config.allowed_domains}
    if isinstance(config, HtmlFolderSource):
        return {"folder": html_folder(config).resolve().name, "host": config.host, "include": config.include}
    return {"files": [file.name for file in input_files(config, config.SUFFIXES)]}


def _terms(config: Source) -> str | None:
    if config.licence_file is None:
        return None
    try:
        return recipe_path(config.licence_file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _terms_known(config: Source, terms: str | None) -> str:
    if terms is not None:
        return "full terms are in catalogue.json"
    if config.licence_file is None:
        return "the recipe names no licence_file; only the licence's name is known"
    return f"the licence file {Path(config.licence_file).name} cannot be read; only the licence's name is known"
