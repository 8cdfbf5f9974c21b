"""Lists that rules look things up in: inline in the recipe, or files named by path, whose content is what counts."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.place import recipe_path
from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.recipe.data import Clean, ListFile, UrlLists, WordList

NOT_HERE = "not here"


class ListInput(Section):
    """A word list as a stage takes it. A path is no identity, so the file's digest is."""

    entries: list[str] = Field(default_factory=list)
    path: str = Field(default="", json_schema_extra=NOT_IDENTITY)
    digest: str = ""

    def read(self) -> list[str]:
        """The entries. Raises BadInput when the file is not there, changed since the recipe was loaded, or is not
        UTF-8.
        """
        if not self.path:
            return self.entries
        file = recipe_path(self.path)
        if self.digest == NOT_HERE or not file.is_file():
            raise BadInput(
                f"the word list {file} is not here. It may not be shipped with NeoFoundry: put it there, name another"
                " path in the recipe, or list words inline"
            )
        if digest_file(file) != self.digest:
            raise BadInput(f"the word list {file} has changed since the recipe was loaded; load it again")
        return entries_of(file)


def list_input(words: WordList) -> ListInput:
    if isinstance(words, list):
        return ListInput(entries=words)
    file = recipe_path(words.path)
    return ListInput(path=words.path, digest=digest_file(file) if file.is_file() else NOT_HERE)


def missing_lists(clean: Clean) -> list[str]:
    """Word lists that a recipe names and that are not on this machine, in words."""
    named = [
        (f"clean.{lang}.{field}", getattr(section, field))
        for lang, section in clean
        for field in ("stop_words", "bad_words")
        if hasattr(section, field)
    ]
    return [
        f"{where}: there is no file {recipe_path(words.path)}"
        for where, words in named
        if isinstance(words, ListFile) and not recipe_path(words.path).is_file()
    ]


def entries_of(file: Path) -> list[str]:
    """Lines of a list file without comments and blank lines. Raises BadInput, with the line, for
    one that is not UTF-8.
    """
    out = []
    for number, raw in enumerate(file.read_bytes().split(b"\n"), 1):
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise BadInput(f"{file}: line {number}: not UTF-8 ({error.reason})") from error
        if line and not line.startswith("#"):
            out.append(line)
    return out


# ------------------------------------------------------------------ URLs


class UrlListInput(Section):
    """URL block lists as a stage takes them: where they are, and what they hold."""

    lists: UrlLists
    digest: str = ""

    def read(self) -> BlockedUrls:
        """The lists. Raises BadInput for a pattern that matches no file, and when a file changed since the recipe was
        loaded.
        """
        return _blocked_urls(tuple(self.lists.domains), tuple(self.lists.urls), self.digest)


def url_list_input(lists: UrlLists) -> UrlListInput:
    return UrlListInput(lists=lists, digest=_digest((*lists.domains, *lists.urls)))


def _digest(patterns: Iterable[str]) -> str:
    files = [path for pattern in patterns for path in matches(pattern)]
    return digest_json([digest_file(path) for path in files]) if files else ""


@functools.lru_cache(maxsize=1)  # by content, so that a worker reads millions of hosts once and never old ones
def _blocked_urls(domains: tuple[str, ...], urls: tuple[str, ...], digest: str) -> BlockedUrls:
    read = BlockedUrls.read(UrlLists(domains=list(domains), urls=list(urls)))
    if _digest((*domains, *urls)) != digest:
        raise BadInput("a URL list has changed since the recipe was loaded; load it again")
    return read


def matches(pattern: str) -> list[Path]:
    """Files behind a path or glob pattern, in order; relative to the repository."""
    return (
        sorted(path for path in recipe_path(".").glob(pattern) if path.is_file())
        if not pattern.startswith("/")
        else sorted(p for p in Path("/").glob(pattern[1:]) if p.is_file())
    )


@dataclass(frozen=True)
class BlockedUrls:
    """Hosts (their subdomains included) and URL prefixes. ``prefixes`` is sorted, and none of them
    begins with another.
    """

    hosts: frozenset[str]
    prefixes: Sequence[str]

    @staticmethod
    def read(lists: UrlLists) -> BlockedUrls:
        """Raises BadInput for a pattern that matches no file."""

        def entries(patterns: Iterable[str]) -> set[str]:
            out: set[str] = set()
            for pattern in patterns:
                files = matches(pattern)
                if not files:
                    raise BadInput(
                        f"no URL list matches {pattern}. These lists (UT1, for example) are not shipped with"
                        " NeoFoundry: put them there, or take the line out of the recipe"
                    )
                for file in files:
                    out.update(_without_scheme(line) for line in entries_of(file))
            return out

        prefixes: list[str] = []
        for entry in sorted(entries(lists.urls)):
            if not (prefixes and entry.startswith(prefixes[-1])):
                prefixes.append(entry)
        return BlockedUrls(frozenset(entries(lists.domains)), prefixes)

    def __contains__(self, url: str) -> bool:
        bare = _without_scheme(url)
        host = bare.split("/", 1)[0].split(":", 1)[0]
        labels = host.split(".")
        if any(".".join(labels[i:]) in self.hosts for i in range(len(labels))):
            return True
        place = bisect.bisect_right(self.prefixes, bare)
        return place > 0 and bare.startswith(self.prefixes[place - 1])


def _without_scheme(url: str) -> str:
    return url.split("://", 1)[-1].lower() if "://" in url else url.lower()
