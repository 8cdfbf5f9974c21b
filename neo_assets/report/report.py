"""``factory_report``: one page on how a model came to be, made only from what the artifacts say of themselves.

Nothing is measured here a second time: numbers come from manifests and score rows, fates from the ledger, texts from
the documents. The page is found again, not redrawn, as long as the contents of its inputs are the same; a re-made input
with an equal content therefore shows under its older fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Store, Workspace
from neo_assets.core.words import size
from neo_assets.extract.page_text import KEPT_SHARES
from neo_assets.pages.charts import drawing
from neo_assets.pages.page import LANGUAGES, TRACED_STYLE, loads, render
from neo_assets.report.conversations import conversations_part
from neo_assets.report.fates import kept_and_dropped, whole_funnel
from neo_assets.report.funnel import Gathered, read_funnel
from neo_assets.report.opening import opening
from neo_assets.report.page import (
    FILES,
    STYLE,
    TEMPLATE,
    Block,
    Figure,
    Part,
    Pieces,
    Ref,
    of_kind,
    refs,
    table,
)
from neo_assets.report.run_lines import RunLine, measured, run_lines
from neo_assets.report.scaling import scaling_part
from neo_assets.report.scores import generated_samples, scores
from neo_assets.report.withdrawn import withdrawn_part
from neo_assets.tokenizer.probes import PROBES
from neo_assets.tokenizer.train import load_processor
from neo_assets.web.fetch_log import SAID_ABOUT_TRAINING

_SEGMENTED = {"en": "english", "zh": "chinese simplified"}


class ReportInput(Section):
    name: str
    description: str
    recipe_digest: str = Field("", description="of the resolved recipe that the page prints")
    template_digest: str = Field(
        default_factory=lambda: digest_json([digest_file(file) for file in FILES]),
        description="template and styles are no Python modules, so they count here",
    )


@dataclass(frozen=True)
class Entry:
    """An artifact in the table of all."""

    ref: Ref
    rows: int | None
    seconds: float
    cpu_seconds: float | None
    checks: str


def write_report(
    config: ReportInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    store: Store,
    recipe_text: str,
) -> Outcome:
    """The page a person reads: how this model came to be, from the first URL to its last score, on one page that needs
    no network.

    What was crawled, what was kept and dropped and why, with examples; the mixture, the tokenizer, the training run,
    scores of every checkpoint against chance, and samples. Every table and figure names the artifact it was made from.
    """
    gathered = read_funnel(inputs["funnel"], store)
    inputs = {**gathered.artifacts, **inputs}
    lines = run_lines(inputs)
    parts = [*parts_of(inputs, gathered, lines), generated_samples(inputs, lines)]
    fingerprints = {name: a.fingerprint for name, a in inputs.items()}
    digest = digest_json({"inputs": fingerprints, "recipe": recipe_text, "template": config.template_digest})
    values = {
        "name": config.name,
        "description": config.description,
        "newest": max((a.manifest.created_at for a in inputs.values()), default="none"),
        "opening": opening(inputs, lines, whole_funnel(gathered)),
        "parts": parts,
        "artifacts_page": "",
        "open_samples": False,
        "artifacts": entries(inputs.values()),
        "recipe_text": recipe_text,
        "digest": digest,
    }
    page = render(TEMPLATE, STYLE, values, styles=[TRACED_STYLE])
    out.write_text("report.html", page)
    outside = loads(page)
    blocks = sum(len(part.blocks) for part in parts)
    out.log(
        f"report.html: {size(len(page.encode()))}, {len(parts) + 1} sections; it will be"
        f" {store.root.name}/factory_report/…/report.html"
    )
    return Outcome(
        digest=digest,
        numbers={"sections": len(parts) + 1, "tables and figures": blocks, "bytes": len(page.encode())},
        checks=[
            Check(
                name="self_contained",
                passed=not outside,
                detail="; ".join(outside[:5]) or "nothing on the page loads or runs anything",
            )
        ],
    )


def parts_of(
    inputs: Mapping[str, Artifact], gathered: Gathered, lines: Sequence[RunLine], examples: bool = True
) -> list[Part]:
    """All that is told of a build but what its models write. ``examples``: with texts of what was dropped."""
    return [
        _crawled(inputs),
        kept_and_dropped(gathered, examples),
        _corpus(inputs),
        *withdrawn_part(inputs),
        _tokenizer(inputs),
        _training(inputs, lines),
        *scaling_part(inputs),
        *conversations_part(inputs),
        scores(inputs, lines),
    ]


def entries(artifacts: Iterable[Artifact]) -> list[Entry]:
    """Rows of the table of artifacts."""
    return [
        Entry(Ref(a.key, a.fingerprint), a.manifest.rows_kept, a.manifest.seconds, a.manifest.cpu_seconds, _checks(a))
        for a in artifacts
    ]


def _checks(artifact: Artifact) -> str:
    failed = [f"{c.name}: {c.detail}" for c in artifact.verdict if not c.passed]
    return "; ".join(failed) if failed else f"{len(artifact.verdict)} passed" if artifact.verdict else "none"


def _crawled(inputs: Mapping[str, Artifact]) -> Part:
    sources, crawls = of_kind(inputs, "sources"), of_kind(inputs, "raw_crawl")
    rows: list[Row] = []
    outcomes: list[Row] = []
    said: list[Row] = []
    for name in dict.fromkeys([*sources, *crawls]):
        source, crawl = sources.get(name), crawls.get(name)
        row: Row = {"source": name}
        row |= {
            field: source.manifest.numbers.get(field) if source else None for field in ("kind", "licence", "snapshot")
        }
        row |= {
            "addresses": crawl.manifest.rows_in if crawl else None,
            "pages": crawl.manifest.rows_kept if crawl else None,
            "bytes": crawl.manifest.numbers.get("bytes") if crawl else None,
        }
        rows.append(row)
        outcomes += [{"source": name, **row} for row in (crawl.manifest.tables.get("outcomes", []) if crawl else [])]
        said += [
            {"source": name, **row} for row in (crawl.manifest.tables.get(SAID_ABOUT_TRAINING, []) if crawl else [])
        ]
    blocks = [
        *table(
            "Sources, with the licence and the snapshot the recipe names, and what came of them.",
            rows,
            [*sources.values(), *crawls.values()],
        ),
        *table("What became of every address that was asked for.", outcomes, crawls.values(), folded=True),
        *table(
            "What sites say about training on their pages, and what became of the pages. Refused: not stored, because"
            " the recipe obeys the signal.",
            said,
            crawls.values(),
        ),
        *table(
            "What was kept as main content of what a reader sees of a page: pages by share, and the median.",
            _kept_shares(of_kind(inputs, "page_text")),
            of_kind(inputs, "page_text").values(),
            folded=True,
        ),
        *table(
            "Pages of documents (PDF, scans, EPUB and the like), by what read them; a page that is not trusted is in no"
            " text.",
            _pages(of_kind(inputs, "pdf_text"), "pages by engine"),
            of_kind(inputs, "pdf_text").values(),
        ),
        *table(
            "Why pages of documents were left out.",
            _pages(of_kind(inputs, "pdf_text"), "pages left out"),
            of_kind(inputs, "pdf_text").values(),
        ),
    ]
    return Part(
        "crawled",
        "What was crawled",
        "Pages are kept as they came, with a log row for every address, whatever became of it.",
        blocks,
    )


def _pages(converted: Mapping[str, Artifact], name: str) -> list[Row]:
    return [
        {"source": source, **row} for source, made in converted.items() for row in made.manifest.tables.get(name, [])
    ]


def _kept_shares(texts: Mapping[str, Artifact]) -> list[Row]:
    rows: list[Row] = []
    for source, made in texts.items():
        shares = made.manifest.tables.get(KEPT_SHARES, [])
        if shares:
            tenths = {f"{r['from']}–{r['to']}": r["pages"] for r in shares}
            rows.append({"source": source, **tenths, "median": made.manifest.numbers.get("kept_share_median")})
    return rows


def _corpus(inputs: Mapping[str, Artifact]) -> Part:
    blocks: list[Block] = []
    if (matrix := inputs.get("matrix")) is not None:
        blocks += table("The cleaned corpus.", matrix.manifest.tables.get("by language and source", []), [matrix])
    sides = [inputs[name] for name in ("train_pool", "heldout") if name in inputs]
    split: list[Row] = [{"side": a.key, "documents": a.manifest.rows_kept, **a.manifest.numbers} for a in sides]
    blocks += table(
        "The split. Whole clusters of near duplicates stay on one side; nothing trains on the held-out documents, the"
        " tokenizer included.",
        split,
        sides,
    )
    for phase, mixture in of_kind(inputs, "mixture").items():
        blocks += table(
            f"The mixture of phase '{phase}', asked against got. A round is one reading of all documents.",
            mixture.manifest.tables.get("asked against got", []),
            [mixture],
            folded=True,
        )
    return Part(
        "corpus",
        "Corpus and mixture",
        "What cleaning left, what is held out, and how often training reads the rest.",
        blocks,
    )


def _tokenizer(inputs: Mapping[str, Artifact]) -> Part:
    blocks: list[Block] = []
    if (tokenizer := inputs.get("tokenizer")) is not None:
        given = tokenizer.manifest.made_from.config.get("tokenizer", {})
        flags: list[Row] = (
            [{"flag": str(k), "value": _plain(v)} for k, v in given.items()] if isinstance(given, dict) else []
        )
        measured: list[Row] = [
            {"flag": name, "value": _plain(value)} for name, value in tokenizer.manifest.numbers.items()
        ]
        blocks += table(
            "SentencePiece's flags as the recipe sets them, and what came out.", [*flags, *measured], [tokenizer]
        )
    if (fertility := inputs.get("fertility")) is not None:
        blocks += table(
            "How much text a token holds.",
            fertility.manifest.tables.get("by language and source", []),
            [fertility],
            folded=True,
        )
    if tokenizer is not None and "tokenizer.model" in tokenizer.manifest.files:
        processor = load_processor(tokenizer)
        for lang, probe in _SEGMENTED.items():
            pieces = [str(piece).replace("▁", "␣") for piece in processor.encode(PROBES[probe], out_type=str)]
            blocks.append(
                Pieces(
                    f"{LANGUAGES[lang]}: {len(PROBES[probe])} characters in {len(pieces)} tokens; ␣ is a space, <0x…> a"
                    " single byte.",
                    lang,
                    pieces,
                    refs([tokenizer]),
                )
            )
    streams = of_kind(inputs, "token_shards")
    blocks += table(
        "The token stream of each phase.",
        [{"phase": name, **a.manifest.numbers} for name, a in streams.items()],
        streams.values(),
    )
    return Part(
        "tokenizer", "Tokenizer", "One vocabulary for all languages, trained on the training pool alone.", blocks
    )


def _plain(value: object) -> Scalar:
    return (
        value
        if isinstance(value, int | float | str | bool | None)
        else " ".join(map(str, value))
        if isinstance(value, list)
        else json.dumps(value, ensure_ascii=False)
    )


def _training(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> Part:
    charts, block = measured(list(lines))
    blocks: list[Block] = []
    if charts:
        caption = "Every step of every run, one behind the other." if block == 1 else f"Means over {block} steps each."
        blocks.append(Figure(caption, [drawing(c) for c in charts], refs(li.trained for li in lines if li.trained)))
    plans = of_kind(inputs, "run_plan")
    trained = {line.name: line.trained for line in lines if line.trained}
    for kind, caption in (
        (trained, "The runs as they went."),
        (plans, "The plans, made from the recipe alone before anything was started."),
    ):
        made = {line.name: kind[line.name] for line in lines if line.name in kind}
        names = list(dict.fromkeys(name for a in made.values() for name in a.manifest.numbers))
        rows: list[Row] = [
            {"": name, **{run: a.manifest.numbers.get(name) for run, a in made.items()}} for name in names
        ]
        blocks += table(caption, rows, made.values())
    return Part(
        "training",
        "Training",
        "Planned from the recipe alone, then run; the curves are what the jobs wrote at every step.",
        blocks,
    )
