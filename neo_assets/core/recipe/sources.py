"""Recipe sections of the sources: what is fetched or read, how politely, and what is obeyed."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from neo_assets.core.recipe.base import NOT_IDENTITY, Section, Share
from neo_assets.core.recipe.kinds import or_of_its_own_file


class SourceSection(Section):
    """What every source says, whatever its kind."""

    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    """Endings of the files that count where ``paths`` names a folder."""
    GIVES_TEXT: ClassVar[bool] = False
    """Whether what is read is text already, and neither HTML nor documents to be converted."""
    GIVES_PAGES: ClassVar[bool] = True
    """Whether HTML pages are among what is read."""

    max_bad_share: Share = Field(
        0.1,
        description=(
            "more than this share of a file's records that cannot be used, or of its bytes that cannot be read, or of a"
            " crawl's requests that fail, stop the build"
        ),
    )

    @property
    def converts(self) -> bool:
        """Whether documents to be converted (PDF, EPUB and the like) are among what is read."""
        return bool(getattr(self, "keep_documents", False))

    licence: str = Field(description="SPDX expression or a name; copied to every document")
    licence_file: str | None = Field(
        None, description="file with the full terms; quoted in the catalogue", json_schema_extra=NOT_IDENTITY
    )
    snapshot: str = Field(description="label of this state of the source; a new label means: fetch it again")


class Politeness(Section):
    """How the crawler behaves towards one site. Addresses of this machine (loopback) are never waited for."""

    delay_s: float = Field(
        1.0, ge=0, description="seconds between two requests to one host; robots.txt Crawl-delay wins if longer"
    )
    concurrency: int = Field(4, ge=1, le=64, description="requests under way at once")
    timeout_s: float = Field(20.0, gt=0, description="seconds for one whole request")
    tries: int = Field(3, ge=1, le=10, description="tries of a request that failed for a passing reason")
    contact: str = Field(
        "https://example.org/neofoundry-contact",
        description="where a site's owner can complain; part of the User-Agent",
    )


Signal = Literal["robots_agents", "content_usage", "content_signal", "tdmrep", "noai", "rsl"]
"""A way in which a site says that its pages are not for training."""

TRAINING_AGENTS = (
    "AI2Bot",
    "Amazonbot",
    "anthropic-ai",
    "Applebot-Extended",
    "Bytespider",
    "CCBot",
    "ClaudeBot",
    "cohere-ai",
    "cohere-training-data-crawler",
    "Diffbot",
    "FacebookBot",
    "Google-Extended",
    "GPTBot",
    "meta-externalagent",
    "omgili",
    "PanguBot",
    "Timpibot",
)
"""Crawlers that say that they gather training data, by the names that their makers give for robots.txt."""


class Refusals(Section):
    """What a site says about being trained on, and stored, and whether it is obeyed. Whatever it says is in the log."""

    obey: list[Signal] = Field(
        default_factory=lambda: list(get_args(Signal)),
        description=(
            "robots_agents: a group of robots.txt for one of `agents`; content_usage: AIPREF; content_signal; tdmrep;"
            " noai: X-Robots-Tag and meta; rsl: RSL licences"
        ),
    )
    agents: list[str] = Field(
        default_factory=lambda: list(TRAINING_AGENTS),
        description="product tokens of crawlers that gather training data: what is forbidden to one of them is to us",
    )
    page_robots: bool = Field(
        True,
        description="obey noindex, noarchive (not stored) and nofollow (links) in X-Robots-Tag and meta robots",
    )


class TrapBudget(Section):
    """When a site without end is left: session ids, calendars, paths that grow."""

    patience: int = Field(
        50, ge=1, description="repeated pages more than new ones, among URLs of one form, before the form is left"
    )
    tries: int = Field(5, ge=2, description="values of a query name that are compared before it is judged")
    same_share: Share = Field(0.8, description="of them, this share with the same text: the name changes nothing")
    max_same_steps: int = Field(3, ge=1, description="times that one step may stand in a path")
    max_url_chars: int = Field(2_000, ge=1)


_HOST = re.compile(r"(?:[\w-]+\.)*[\w-]+|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+", re.ASCII | re.IGNORECASE)


def _host_name(value: str) -> str:
    """A bare host, in lower case. Raises ValueError with the form that is meant."""
    bare = value.strip().lower().rstrip(".")
    if not _HOST.fullmatch(bare.encode("idna").decode() if not bare.isascii() else bare):
        meant = re.sub(r"^[a-z+.-]+:/+", "", bare).partition("/")[0]
        meant = meant.partition("@")[2] or meant
        meant = re.sub(r":\d+$", "", meant).lstrip("*.")
        raise ValueError(
            f"'{value}' is not a host name: write {meant or 'www.example.org'}, without scheme, port and path"
        )
    return bare


HostName = Annotated[str, AfterValidator(_host_name)]


KEEP_DOCUMENTS = Field(
    False, description="keep PDF, EPUB, DOCX and ODT files as well, and convert them (pip install -e '.[documents]')"
)


class Crawled(SourceSection):
    keep_documents: bool = KEEP_DOCUMENTS
    refusals: Refusals = Field(default_factory=lambda: Refusals.model_validate({}))
    max_pages: int = Field(100_000, ge=1, description="pages at most, taken breadth first, in URL order within a depth")
    max_depth: int = Field(20, ge=0, description="links away from a seed")
    max_page_bytes: int = Field(5_000_000, ge=1, description="longer bodies are cut here and marked truncated")
    max_redirects: int = Field(5, ge=0)
    politeness: Politeness = Field(
        default_factory=lambda: Politeness.model_validate({}), json_schema_extra=NOT_IDENTITY
    )


class CrawlSource(Crawled):
    """A web site: seeds are followed breadth first, obeying robots.txt; sitemaps named there are read."""

    kind: Literal["crawl"]
    seeds: list[str] = Field(min_length=1)
    allowed_domains: list[HostName] = Field(min_length=1, description="hosts, or their subdomains, that may be fetched")
    private_addresses: bool = Field(
        False, description="whether hosts may lead to private, link-local or loopback addresses (an intranet)"
    )
    traps: TrapBudget = Field(default_factory=lambda: TrapBudget.model_validate({}))

    @model_validator(mode="after")
    def _seeds_are_allowed(self) -> CrawlSource:
        for seed in self.seeds:
            parts = urlsplit(seed)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"seed '{seed}' is not a web address: write https://{self.allowed_domains[0]}/")
            host = parts.hostname.rstrip(".")
            if not any(host == d or host.endswith("." + d) for d in self.allowed_domains):
                raise ValueError(f"seed '{seed}' is outside allowed_domains: add {host} to them")
        return self


class HtmlFolderSource(Crawled):
    """A folder of HTML files, served on loopback and crawled like any site, under a fixed logical host name."""

    kind: Literal["html_folder"]
    path: str = Field(
        description="the folder; ${VAR} and ${VAR:-default} are filled in", json_schema_extra=NOT_IDENTITY
    )
    host: HostName = Field(
        description="logical host name in every URL, so that no port of this machine enters an identity"
    )
    include: list[str] = Field(
        default_factory=lambda: ["**/*.html", "**/*.htm"], description="glob patterns below the folder"
    )


RECORD_BYTES = 100_000_000
"""Ours: no page is longer, and a worker holds one record at a time."""


class FilesSource(SourceSection):
    """Files that somebody else made."""

    max_record_bytes: int = Field(
        RECORD_BYTES,
        ge=1,
        description=(
            "a record, or the body in it, that is longer when unpacked is left out by name; so is one that inflates"
            " without end"
        ),
    )
    paths: list[str] = Field(
        min_length=1,
        description="files, folders or glob patterns, here or at s3://, hf:// and other places that fsspec reads",
        json_schema_extra=NOT_IDENTITY,
    )


class WarcSource(FilesSource):
    """WARC files (.warc, .warc.gz, .warc.zst), read where they lie: pages of response and resource records."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".warc", ".arc")
    kind: Literal["warc"]
    keep_documents: bool = KEEP_DOCUMENTS
    refusals: Refusals = Field(
        default_factory=lambda: Refusals.model_validate({}), description="of headers and pages; robots.txt is not asked"
    )


class WetSource(FilesSource):
    """WET files: WARC files whose conversion records hold text that somebody has extracted."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".wet", ".warc")
    GIVES_TEXT: ClassVar[bool] = True
    kind: Literal["wet"]


DOCUMENT_SUFFIXES = (".pdf", ".epub", ".docx", ".odt", ".tex", ".md", ".markdown", ".txt")
DOCUMENT_TYPES = {
    "application/pdf": ".pdf",
    "application/x-pdf": ".pdf",
    "application/epub+zip": ".epub",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.oasis.opendocument.text": ".odt",
}
"""Content types of documents that a crawl keeps where it is asked to, and the endings of such files."""


class BooksSource(FilesSource):
    """Documents to be converted: PDF, EPUB, DOCX, ODT, LaTeX, Markdown, plain text; read where they lie."""

    SUFFIXES: ClassVar[tuple[str, ...]] = DOCUMENT_SUFFIXES
    GIVES_PAGES: ClassVar[bool] = False
    kind: Literal["books"]

    @property
    def converts(self) -> bool:
        return True


class DocumentsSource(FilesSource):
    """Text that is extracted already: Parquet or JSON lines (.gz, .zst, .bz2, .xz), one document a row. A field inside
    another is named with a dot: ``meta.url``.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".parquet", ".jsonl", ".ndjson", ".json")
    GIVES_TEXT: ClassVar[bool] = True
    kind: Literal["documents"]
    text_field: str = "text"
    url_field: str | None = "url"
    title_field: str | None = None
    id_field: str | None = Field("id", description="what others call the document; `neo fate` finds it by that")


SHIPPED_SOURCES = ("crawl", "html_folder", "warc", "wet", "books", "documents")
Source = Annotated[
    Annotated[
        CrawlSource | HtmlFolderSource | WarcSource | WetSource | BooksSource | DocumentsSource,
        Field(discriminator="kind"),
    ],
    or_of_its_own_file(SourceSection, SHIPPED_SOURCES, "neo_assets.crawl", "SOURCE"),
]
"""One of the shipped kinds, or one that ``neo_assets/crawl/‹kind›.py`` tells: a section with ``paths``, whose files are
read here.
"""
