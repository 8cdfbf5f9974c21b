"""Recipe sections of the data half: sources, extraction, cleaning, de-duplication, corpus."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from neo_assets.core.recipe.base import NOT_IDENTITY, Named, Section, Share


class _Source(Section):
    licence: str = Field(description="SPDX expression or a name; copied to every document")
    licence_file: str | None = Field(None, description="file with the full terms; quoted in the catalogue", json_schema_extra=NOT_IDENTITY)
    snapshot: str = Field(description="label of this state of the source; a new label means: fetch it again")


class Politeness(Section):
    """How the crawler behaves towards one site. Addresses of this machine (loopback) are never waited for."""

    delay_s: float = Field(1.0, ge=0, description="seconds between two requests to one host; robots.txt Crawl-delay wins if longer")
    concurrency: int = Field(4, ge=1, le=64, description="requests under way at once")
    timeout_s: float = Field(20.0, gt=0, description="seconds for one whole request")
    tries: int = Field(3, ge=1, le=10, description="tries of a request that failed for a passing reason")
    contact: str = Field("https://example.org/neofoundry-contact", description="where a site's owner can complain; part of the User-Agent")


class Crawled(_Source):
    max_pages: int = Field(100_000, ge=1, description="pages at most, taken breadth first, in URL order within a depth")
    max_depth: int = Field(20, ge=0, description="links away from a seed")
    max_page_bytes: int = Field(5_000_000, ge=1, description="longer bodies are cut here and marked truncated")
    max_redirects: int = Field(5, ge=0)
    politeness: Politeness = Field(default_factory=lambda: Politeness.model_validate({}), json_schema_extra=NOT_IDENTITY)


class CrawlSource(Crawled):
    """A web site: seeds are followed breadth first, obeying robots.txt; sitemaps named there are read."""

    kind: Literal["crawl"]
    seeds: list[str] = Field(min_length=1)
    allowed_domains: list[str] = Field(min_length=1, description="hosts, or their subdomains, that may be fetched")


class HtmlFolderSource(Crawled):
    """A folder of HTML files, served on loopback and crawled like any site, under a fixed logical host name."""

    kind: Literal["html_folder"]
    path: str = Field(description="the folder; ${VAR} and ${VAR:-default} are filled in", json_schema_extra=NOT_IDENTITY)
    host: str = Field(description="logical host name in every URL, so that no port of this machine enters an identity")
    include: list[str] = Field(default_factory=lambda: ["**/*.html", "**/*.htm"], description="glob patterns below the folder")


class WarcSource(_Source):
    """WARC files (.warc, .warc.gz, .warc.zst)."""

    kind: Literal["warc"]
    paths: list[str] = Field(min_length=1, description="files or glob patterns", json_schema_extra=NOT_IDENTITY)


class DocumentsSource(_Source):
    """Text that is extracted already: Parquet or JSON lines, one document a row."""

    kind: Literal["documents"]
    paths: list[str] = Field(min_length=1, description="files or glob patterns", json_schema_extra=NOT_IDENTITY)
    text_field: str = "text"
    url_field: str | None = "url"
    title_field: str | None = None


Source = Annotated[CrawlSource | HtmlFolderSource | WarcSource | DocumentsSource, Field(discriminator="kind")]


class Extract(Section):
    """HTML to text."""

    min_chars: int = Field(ge=0, description="shorter main text counts as none")
    max_html_bytes: int = Field(ge=1, description="longer pages are dropped unread")
    max_bad_share: Share = Field(description="the stage fails when more than this share of a source cannot be read")


class Documents(Section):
    """Repair of text, and language."""

    min_lang_chars: int = Field(ge=0, description="with fewer letters than this the language is 'und'")
    han_share_zh: Share = Field(description="at least this share of Han among letters, and hardly any kana: Chinese, whatever the model says")
    kana_share_ja: Share = Field(description="at least this share of kana among letters: not Chinese, whatever the model says")


class CleanEnglish(Section):
    """Thresholds of the English rules; a field's name says what its rule keeps."""

    min_lang_score: Share
    min_words: int
    max_words: int
    min_mean_word_length: float
    max_mean_word_length: float
    max_bullet_lines: Share
    max_ellipsis_lines: Share
    max_symbols_per_word: float
    min_stop_words: int
    stop_words: list[str]
    max_curly_braces: Share
    min_unigram_entropy: float


class CleanChinese(Section):
    """Thresholds of the Chinese rules; a field's name says what its rule keeps."""

    min_lang_score: Share
    min_chars: int
    max_chars: int
    max_bracketed: Share
    min_sentences: int
    max_digits: Share
    max_hashes: Share
    max_bullet_lines: Share
    min_distinct_chars: Share
    min_char_entropy: float


class Clean(Section):
    en: CleanEnglish | None = None
    zh: CleanChinese | None = None


class NearDedup(Section):
    """MinHash LSH; two documents are linked when any band of their signatures agrees."""

    bands: int = Field(ge=1)
    rows: int = Field(ge=1)
    shingle: int = Field(ge=1, description="length of a shingle in units")
    unit: Literal["character", "word"]
    seed: int


class Split(Section):
    """Held-out documents, chosen by near-duplicate cluster so that no twin of a held-out page is trained on."""

    share: Share
    seed: int


class Mixture(Section):
    """One training phase's data, in the released form: how many rounds of each language, and of each source where it differs."""

    rounds: Named[Annotated[float, Field(ge=0)]] = Field(min_length=1)
    source_rounds: Named[Annotated[float, Field(ge=0)]] = Field(default_factory=dict, description="factor on top, by source")
    seed: int = Field(description="which documents a fraction of a round takes")
