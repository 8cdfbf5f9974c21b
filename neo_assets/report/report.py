"""``factory_report``: one page on how a model came to be, made only from what the artifacts say of themselves.

Nothing is measured here a second time: numbers come from manifests and score rows, fates from the ledger, texts from
the documents. The page is found again, not redrawn, as long as the contents of its inputs are the same; a re-made input
with an equal content therefore shows under its older fingerprint.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import Field

from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.scalars import is_number, real, whole
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Store, Workspace
from neo_assets.core.words import amount, number, size
from neo_assets.extract.page_text import KEPT_SHARES
from neo_assets.pages.charts import Line, curves, drawing, thinned
from neo_assets.pages.page import LANGUAGES, loads, render
from neo_assets.report.fates import kept_and_dropped
from neo_assets.report.funnel import read_funnel
from neo_assets.report.page import (
    FILES,
    STYLE,
    TEMPLATE,
    Block,
    Figure,
    Part,
    Pieces,
    Ref,
    Text,
    of_kind,
    refs,
    table,
)
from neo_assets.report.scores import generated_samples, scores, verdicts
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
class _Entry:
    ref: Ref
    rows: int | None
    seconds: float
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
    parts = [
        _crawled(inputs),
        kept_and_dropped(gathered),
        _corpus(inputs),
        _tokenizer(inputs),
        _training(inputs),
        scores(inputs),
        generated_samples(inputs),
    ]
    fingerprints = {name: a.fingerprint for name, a in inputs.items()}
    digest = digest_json({"inputs": fingerprints, "recipe": recipe_text, "template": config.template_digest})
    values = {
        "name": config.name,
        "description": config.description,
        "newest": max((a.manifest.created_at for a in inputs.values()), default="none"),
        "headline": _headline(inputs),
        "parts": parts,
        "artifacts": [
            _Entry(Ref(a.key, a.fingerprint), a.manifest.rows_kept, a.manifest.seconds, _checks(a))
            for a in inputs.values()
        ],
        "recipe_text": recipe_text,
        "digest": digest,
    }
    page = render(TEMPLATE, STYLE, values)
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


def _checks(artifact: Artifact) -> str:
    failed = [f"{c.name}: {c.detail}" for c in artifact.verdict if not c.passed]
    return "; ".join(failed) if failed else f"{len(artifact.verdict)} passed" if artifact.verdict else "none"


def _total(artifacts: Iterable[Artifact], name: str) -> int:
    return sum(whole(value) for a in artifacts if is_number(value := a.manifest.numbers.get(name)))


def _headline(inputs: Mapping[str, Artifact]) -> list[str]:
    """The story in a few plain sentences; whatever has not been built is left out."""
    sentences = []
    crawls = of_kind(inputs, "raw_crawl")
    if crawls:
        asked, pages = sum(a.manifest.rows_in or 0 for a in crawls.values()), _total(crawls.values(), "pages")
        sentences.append(
            f"{asked:,} addresses in {len(crawls)} source{'s' if len(crawls) != 1 else ''} gave {pages:,} pages"
            f" ({size(_total(crawls.values(), 'bytes'))})."
        )
    if (matrix := inputs.get("matrix")) is not None:
        languages = _listed([LANGUAGES.get(lang, lang) for lang in sorted(of_kind(inputs, "clean_docs"))])
        sentences.append(
            f"{_total([matrix], 'documents'):,} documents{' in ' + languages if languages else ''} were kept,"
            f" {size(_total([matrix], 'bytes'))} of text."
        )
    for name, run in of_kind(inputs, "pretraining").items():
        numbers = run.manifest.numbers
        plan = inputs.get(f"run_plan/{name}")
        parameters = f" of {amount(_total([plan], 'parameters'))} parameters" if plan is not None else ""
        loss = (
            f"; its loss went from {_told(numbers.get('first_tenth_loss'))} to {_told(numbers.get('last_tenth_loss'))}"
            " nats a token (means of the first and of the last tenth of the steps)"
            if "last_tenth_loss" in numbers
            else ""
        )
        sentences.append(
            f"The run '{name}' trained a model{parameters} for {_total([run], 'steps'):,} steps on"
            f" {amount(_total([run], 'trained_tokens'))} tokens{loss}."
        )
    opening = [" ".join(sentences)] if sentences else []
    return [*opening, *verdicts(inputs)]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _told(value: Scalar) -> str:
    return number(real(value)) if is_number(value) else str(value)


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
        *table("What became of every address that was asked for.", outcomes, crawls.values()),
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
            "How much text a token holds.", fertility.manifest.tables.get("by language and source", []), [fertility]
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


def _training(inputs: Mapping[str, Artifact]) -> Part:
    plans, trained = of_kind(inputs, "run_plan"), of_kind(inputs, "pretraining")
    blocks: list[Block] = []
    for name in dict.fromkeys([*plans, *trained]):
        blocks.append(Text(f"Run '{name}'", heading=True))
        for artifact, caption in (
            (plans.get(name), "The plan, made before the run was started."),
            (trained.get(name), "The run as it went."),
        ):
            if artifact is not None:
                blocks += table(
                    caption, [{"": key, "value": value} for key, value in artifact.manifest.numbers.items()], [artifact]
                )
        if (run := trained.get(name)) is not None and "metrics.parquet" in run.manifest.files:
            blocks.append(_curves(run))
    return Part(
        "training",
        "Training",
        "Planned from the recipe alone, then run; the curves are what the job wrote at every step.",
        blocks,
    )


def _curves(run: Artifact) -> Figure:
    metrics: dict[str, list[float]] = defaultdict(list)
    for row in run.table("metrics.parquet").to_pylist():
        for name, value in row.items():
            if is_number(value):
                metrics[name].append(float(value))
    drawings, block = [], 1
    for title, column in (
        ("loss, nats a token", "loss"),
        ("learning rate", "lr"),
        ("gradient norm", "grad_norm"),
        ("tokens a second", "tokens_per_s"),
    ):
        if metrics[column] and len(metrics[column]) == len(metrics["step"]):
            points, block = thinned(metrics["step"], metrics[column])
            drawings.append(drawing(curves(title, [Line(points)], "step")))
    return Figure("Every step of the run." if block == 1 else f"Means over {block} steps each.", drawings, refs([run]))
