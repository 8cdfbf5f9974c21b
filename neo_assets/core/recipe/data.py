"""Recipe sections of the data half after its sources: extraction, cleaning, de-duplication, corpus."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from neo_assets.core.recipe.base import NOT_IDENTITY, Lang, Named, Section, Share, without_nulls


class SiteHabits(Section):
    """What the other pages of a host say of a block that stands where theirs do (tags and classes around it)."""

    pages: int = Field(ge=1, description="pages of a host that are looked at first, drawn by their ids")
    at_least: int = Field(ge=2, description="hosts of fewer pages have no habits; n pages count n / (n + this)")
    weight: float = Field(ge=0, description="how much they say beside the page itself; 0: each page alone")


class Extract(Section):
    """HTML to text."""

    extractor: Literal["blocks", "resiliparse", "trafilatura"] = Field(description="what finds a page's main content")
    keep_above: Share = Field(description="blocks: one is kept that is content with a probability above this")
    keep_best_above: Share = Field(
        0.3,
        description="blocks: where none is, those half as likely as the likeliest one are kept, if it is above this",
    )
    site: SiteHabits = Field(
        SiteHabits(pages=200, at_least=4, weight=4.0), description="blocks: what the other pages of a host say"
    )
    min_chars: int = Field(ge=0, description="shorter main text counts as none")
    max_html_bytes: int = Field(ge=1, description="longer pages are dropped unread")
    max_bad_share: Share = Field(description="the stage fails when more than this share of a source cannot be read")
    max_kept_fall: Share = Field(
        0.05, description="a mean share of kept text of the same pages that falls by more than this is told"
    )


class Convert(Section):
    """Documents (PDF, scans, EPUB, DOCX, ODT, LaTeX) to text: when a page is believed, and what may be spent on it."""

    min_agreement: Share = Field(0.9, description="share of a page's words that two readers have in the same order")
    max_broken: Share = Field(0.02, description="share of broken characters above which a text layer is not believed")
    min_confidence: Share = Field(0.85, description="mean confidence of a recognised page")
    max_ink_outside: Share = Field(0.01, description="share of a recognised page's ink that is in no line")
    max_untrusted: Share = Field(0.1, description="more than this share of pages that are not believed is told")
    ocr: bool = Field(True, description="recognise pages without a text layer, or with a broken one")
    ocr_dpi: int = Field(200, ge=72, le=600)
    part_chars: int = Field(
        8_000, ge=500, description="longer documents are cut into parts of about so many characters, between paragraphs"
    )
    page_seconds: float = Field(30.0, gt=0, description="a page that takes longer is left out, by name")
    ocr_page_seconds: float = Field(180.0, gt=0, description="the same for a page that is recognised")
    max_memory_mb: int = Field(900, ge=200, description="memory of the process that reads a document")
    ocr_memory_mb: int = Field(2_500, ge=1_000, description="the same once it recognises pages")


class Documents(Section):
    """Repair of text, and language."""

    max_text_bytes: int = Field(ge=1, description="longer documents are dropped before anything looks at them")
    min_lang_chars: int = Field(ge=0, description="with fewer letters than this the language is 'und'")
    han_share_zh: Share = Field(
        description="at least this share of Han among letters, and hardly any kana: Chinese, whatever the model says"
    )
    kana_share_ja: Share = Field(
        description="at least this share of kana among letters: not Chinese, whatever the model says"
    )


def _whole(value: float | None) -> float | None:
    return int(value) if value is not None and value == int(value) else value


Bound = Annotated[float | None, AfterValidator(_whole)]
"""A threshold; ``null`` switches its rule off. 50 and 50.0 are one number, told as 50."""


class ListFile(Section):
    """A list that we may not ship, by its place: one entry a line, ``#`` begins a comment."""

    path: str = Field(description="the file; ${VAR} and ${VAR:-default} are filled in", json_schema_extra=NOT_IDENTITY)


WordList = list[str] | ListFile


class UrlLists(Section):
    """Block lists of URLs, in the form of UT1's: folders or files of ``domains`` (hosts) and ``urls`` (prefixes without
    scheme).
    """

    domains: list[str] = Field(
        default_factory=list, description="files or glob patterns", json_schema_extra=NOT_IDENTITY
    )
    urls: list[str] = Field(default_factory=list, description="files or glob patterns", json_schema_extra=NOT_IDENTITY)


class CleanEnglish(Section):
    """Thresholds of the English rules; a field's name says what its rule keeps. Ratios are per what the name says
    (words, lines, characters).
    """

    faithful_to_release: bool = Field(
        False, description="measure as the released code does where it is not what a rule's name says"
    )
    stop_words: WordList
    bad_words: WordList = Field(description="words or phrases")
    # Gopher (G1 to G8 of the specification's table)
    min_mean_word_length: Bound = Field(description="characters")
    max_mean_word_length: Bound = Field(description="characters")
    max_ellipsis_lines: Bound
    max_bullet_lines: Bound
    below_letterless_words: Bound = Field(description="share of words without a letter; kept below, not at")
    min_stop_word_share: Bound
    min_stop_words: Bound = Field(description="distinct ones")
    below_symbols_per_word: Bound = Field(description="#, ... and … a word; kept below, not at")
    min_words: Bound
    max_words: Bound
    # CCNet (N2 to N4)
    min_lang_score: Bound
    min_chars: Bound = Field(description="characters that are no white space")
    min_lines: Bound
    # C4 (C1 to C3)
    below_curly_braces: Bound = Field(description="share of characters")
    below_lorem_ipsum: Bound = Field(description="occurrences a character: any small number means none")
    below_sentences: Bound
    # A Pretrainer's Guide (P1, P2)
    max_caps_words: Bound
    min_unique_words: Bound
    max_unique_words: Bound
    # the paper's own (S1 to S8)
    min_sentences: Bound
    max_read_more_sentences: Bound
    max_hash_runs_per_word: Bound
    max_ellipsis_runs_per_word: Bound
    min_punctuation: Bound = Field(description="marks")
    max_non_alphabetic: Bound = Field(description="share of characters that are neither space nor punctuation")
    max_digits: Bound = Field(description="share of the same characters")
    max_bad_words: Bound = Field(description="occurrences")
    # RefinedWeb (W1 to W13)
    min_unigram_entropy: Bound = Field(description="nats")
    max_unigram_entropy: Bound = Field(description="nats")
    max_top_2gram: Bound = Field(description="share of characters; word n-grams")
    max_top_3gram: Bound
    max_top_4gram: Bound
    max_duplicate_5grams: Bound
    max_duplicate_6grams: Bound
    max_duplicate_7grams: Bound
    max_duplicate_8grams: Bound
    max_duplicate_9grams: Bound
    max_duplicate_10grams: Bound
    max_blocked_url: Bound = Field(description="0 drops what a URL list names")
    max_duplicate_sentences: Bound
    max_duplicate_sentence_chars: Bound
    # RedPajama-V2's own signals (N1, N5, I1, I2, R1): for documents that clean.redpajama_signals has values of
    max_ccnet_bucket: Bound = Field(default=None, description="head 0, middle 1, tail 2")
    below_ccnet_perplexity: Bound = Field(default=None, description="under the Wikipedia language model")
    above_books_importance: Bound = Field(default=None, description="kept above, not at")
    max_books_importance: Bound = None
    min_openwebtext_importance: Bound = None
    min_wikiref_score: Bound = None


class CleanChinese(Section):
    """Thresholds of the Chinese rules; a field's name says what its rule keeps. A word of the paper's Chinese rules is
    a character.
    """

    faithful_to_release: bool = Field(
        False, description="as the released code: no repetition rule, half-width punctuation in the corpus"
    )
    delete_urls: bool = Field(False, description="take URLs out of the text, as the released code does")
    line_rules: bool = Field(
        False, description="keep only lines that are sentences; written in the released code and never called there"
    )
    bad_words: WordList
    max_bracketed: Bound = Field(description="share of characters inside 【】")
    max_blocked_url: Bound = Field(description="0 drops what a URL list names")
    min_sentences: Bound
    min_chars: Bound = Field(description="characters that are no white space")
    max_chars: Bound
    min_mean_word_length: Bound = Field(description="characters in a word as jieba cuts them")
    max_mean_word_length: Bound
    max_hash_runs: Bound = Field(description="runs of # a character")
    max_ellipsis_runs: Bound = Field(description="runs of ..., … or 。。。 a character")
    max_digits: Bound = Field(description="share of characters that are neither space nor punctuation")
    max_read_more_lines: Bound = Field(description="share of lines ending in read more, 展开, 更多 or 。。。")
    max_bullet_lines: Bound
    min_punctuation: Bound = Field(description="marks")
    min_distinct_chars: Bound = Field(description="distinct characters a character")
    min_char_entropy: Bound = Field(description="nats")
    min_lang_score: Bound
    max_top_2gram: Bound = Field(
        description="share of characters; a Chinese character is a gram's unit, a Latin word another"
    )
    max_top_3gram: Bound
    max_top_4gram: Bound
    max_duplicate_5grams: Bound
    max_duplicate_6grams: Bound
    max_duplicate_7grams: Bound
    max_duplicate_8grams: Bound
    max_duplicate_9grams: Bound
    max_duplicate_10grams: Bound
    max_duplicate_sentences: Bound
    max_duplicate_sentence_chars: Bound
    max_bad_words: Bound = Field(description="occurrences")


class Clean(Section):
    blocked_urls: UrlLists = Field(default_factory=lambda: UrlLists.model_validate({}))
    redpajama_signals: list[str] = Field(
        default_factory=list,
        description="quality_signals files of RedPajama-V2, or glob patterns",
        json_schema_extra=NOT_IDENTITY,
    )
    en: CleanEnglish | None = None
    zh: CleanChinese | None = None


class NearDedup(Section):
    """MinHash LSH; two documents are linked when any band of their signatures agrees, and, with ``min_similarity``,
    when they really are that similar.
    """

    min_similarity: Share | None = Field(
        None,
        description=(
            "Jaccard similarity of their shingles, counted and not estimated, that linked documents must have; null:"
            " the bands alone link, as in the paper"
        ),
    )
    bands: int = Field(ge=1)
    rows: int = Field(ge=1)
    shingle: int = Field(ge=1, description="length of a shingle in units")
    unit: Literal["character", "word"]
    seed: int


class ParagraphDedup(Section):
    """Paragraphs that an earlier document has are cut out."""

    kind: Literal["paragraph"]
    min_paragraph_bytes: int = Field(ge=0, description="shorter paragraphs may repeat")
    min_chars: int = Field(
        ge=0, description="an edited document with fewer characters that are no white space is dropped"
    )


class SimilarLineDedup(Section):
    """Lines that are like an earlier line of the same document are cut out."""

    kind: Literal["similar_line"]
    max_distance: float = Field(ge=0, lt=1, description="edits, as a share of the longer line")
    exact_below: int = Field(ge=0, description="lines of so many characters or fewer must be equal")
    min_chars: int = Field(
        ge=0, description="an edited document with fewer characters that are no white space is dropped"
    )


LineDedup = Annotated[ParagraphDedup | SimilarLineDedup, Field(discriminator="kind")]


class SubstringDedup(Section):
    """Passages of ``length`` characters that occurred before are cut out."""

    length: int = Field(ge=2, description="characters")
    scope: Literal["corpus", "source"] = Field("corpus", description="where it counts that a passage occurred before")
    one_in: int = Field(
        1,
        ge=1,
        le=1 << 12,
        description="of how many windows one is looked up, by hash; 1 is exact, more finds less and takes less",
    )
    min_chars: int = Field(
        ge=0, description="an edited document with fewer characters that are no white space is dropped"
    )


class PersonalData(Section):
    """What is masked, and what stands there instead. A kind that has no placeholder is left alone."""

    placeholders: dict[Literal["email", "phone", "identity", "card", "ip"], str]


class Decontamination(Section):
    """How evaluation items are looked for in training text."""

    ngram: int = Field(ge=1, description="tokens: words, or Chinese characters")
    min_tokens: int = Field(ge=1, description="what is shorter says nothing and is not looked for")
    max_overlap: Share = Field(description="share of an item's n-grams that a document may hold")
    max_items_a_gram: int = Field(ge=1, description="an n-gram of more items than this is the benchmark's own phrasing")


class HighQuality(Section):
    """Iterative recall of high-quality documents: seeds, a fastText classifier, places that join."""

    seed_urls: list[str] = Field(
        min_length=1, description="regular expressions; a document whose URL matches one is a seed"
    )
    sample: int = Field(ge=1, description="seeds, and as many others, a round learns from at most")
    rounds: int = Field(ge=1)
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    dimensions: int = Field(ge=1)
    word_ngrams: int = Field(ge=1)
    min_count: int = Field(ge=1)
    buckets: int = Field(ge=1, description="hashed n-grams; times dimensions times 4 bytes is the model's size")
    min_score: Share = Field(description="recalled above this")
    held_back: Share = Field(description="share of the sample that is kept out of training, to test")
    place_depth: int = Field(ge=0, description="folders of a URL that, with its host, make a place")
    min_place_documents: int = Field(ge=1, description="documents recalled for a place to join the seeds")
    min_place_share: Share = Field(description="and their share of the place's documents")
    labels: str | None = Field(
        None,
        description="JSON lines of `url` and `good`, read by people: what precision is measured on",
        json_schema_extra=NOT_IDENTITY,
    )
    seed: int


class Split(Section):
    """Held-out documents, chosen by near-duplicate cluster so that no twin of a held-out page is trained on, and by the
    runs of text that they share with what is.
    """

    share: Share = Field(description="of clusters, or pages: candidates")
    seed: int
    max_run: Annotated[dict[Lang, Annotated[int, Field(ge=1)]], BeforeValidator(without_nulls)] = Field(
        default_factory=dict,
        description=(
            "words (zh: characters): a candidate that shares a longer run with a document that is trained on is trained"
            " on too. A language that is left out has no bound"
        ),
    )
    together: list[str] = Field(
        default_factory=list,
        description=(
            "patterns of what differs between the addresses of translations: pages that are one address without it are"
            " held out together"
        ),
    )

    @field_validator("together")
    @classmethod
    def _patterns(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    def page(self, url: str | None) -> str | None:
        """What a page and its translations have in common: the address without all that ``together`` matches; None
        where nothing matches.
        """
        page = url
        for pattern in map(_compiled, self.together):
            page = pattern.sub("", page) if page else page
        return page if page != url else None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Mixture(Section):
    """One training phase's data, by language and source.

    Either in the released form, how many ``rounds`` of each language (and a factor by source), or as a target: so many
    tokens, shared out by ``weights``. A source that cannot serve what is asked of it within ``max_rounds`` stops the
    build.
    """

    rounds: Named[Annotated[float, Field(ge=0)]] = Field(default_factory=dict, description="by language")
    source_rounds: Named[Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="factor on top, by source"
    )
    recalled_rounds: Named[Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="factor on top for documents that high-quality recall found, by language"
    )
    script_rounds: Annotated[
        dict[Literal["Hans", "Hant"], Annotated[float, Field(ge=0)]], BeforeValidator(without_nulls)
    ] = Field(default_factory=dict, description="factor on top, by script of Chinese text")
    target_tokens: int | None = Field(None, ge=1)
    weights: Named[Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="share of the tokens, by language; they add up to 1"
    )
    source_weights: dict[str, Named[Annotated[float, Field(ge=0)]]] = Field(
        default_factory=dict,
        description=(
            "by language: share of its tokens by source; they add up to 1. Left out: in proportion to what each has"
        ),
    )
    bytes_per_token: Named[Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="by language, to turn tokens into bytes; `fertility` measures it"
    )
    max_rounds: float = Field(
        4.0,
        gt=0,
        description=(
            "times a document may be read at most (arXiv 2305.16264: up to four repeats are worth nearly as much as new"
            " text)"
        ),
    )
    seed: int = Field(description="which documents a fraction of a round takes")

    @model_validator(mode="after")
    def _one_form(self) -> Mixture:
        if (self.target_tokens is None) == (not self.rounds):
            raise ValueError(
                "give either rounds, or target_tokens with weights (`rounds: null` takes out inherited rounds)"
            )
        if self.target_tokens is None:
            return self
        for name in (
            "source_rounds",
            "recalled_rounds",
            "script_rounds",
        ):  # they would move what is got away from what is asked
            if getattr(self, name):
                raise ValueError(
                    f"{name} belongs to rounds; with target_tokens use source_weights (`{name}: null` takes out"
                    " inherited ones)"
                )
        for what, shares in (
            ("weights", self.weights),
            *((f"source_weights.{lang}", by_source) for lang, by_source in self.source_weights.items()),
        ):
            if abs(sum(shares.values()) - 1) > 1e-6:
                raise ValueError(f"{what} adds up to {sum(shares.values()):.6g}, not to 1")
        if missing := sorted(set(self.weights) - set(self.bytes_per_token)):
            raise ValueError(f"bytes_per_token names no {', '.join(missing)}")
        return self

    @property
    def languages(self) -> set[str]:
        return {*self.rounds, *self.weights, *self.source_weights, *self.bytes_per_token, *self.recalled_rounds}

    @property
    def sources(self) -> set[str]:
        return {*self.source_rounds, *(source for by_source in self.source_weights.values() for source in by_source)}
