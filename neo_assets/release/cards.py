"""The cards of a release, compiled from its own files: model card, data card, the EU's public summary of training
content, and what the Model Openness Framework asks for.

They are a function of the files beside them, so who verifies a release compiles them again and compares.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.manifest import Manifest, parsed_manifest
from neo_assets.pages.sourced import FILE as SOURCED
from neo_assets.pages.sourced import Sourced, compiled, name
from neo_assets.release import layout
from neo_assets.release.eu import eu_values
from neo_assets.release.eval_results import FOLDER as EVAL_RESULTS
from neo_assets.release.eval_results import eval_results
from neo_assets.release.paper_card import paper_card, worded_by
from neo_assets.runs.checkpoint_card import parameters
from neo_assets.web.fetch_log import SAID_ABOUT_TRAINING

PAGES = Path(__file__).with_name("pages")
MODEL_CARD, EU_SUMMARY, OPENNESS = f"{layout.WEIGHTS}/README.md", "cards/eu_summary.md", "cards/mof.yml"
DATA_CARD, DATASHEET = "cards/croissant.json", "cards/datasheet.md"
TEMPLATES = {
    MODEL_CARD: "model_card.md.j2",
    EU_SUMMARY: "eu_summary.md.j2",
    DATASHEET: "datasheet.md.j2",
    OPENNESS: "mof.yml.j2",
}
TOP_SHARE = 0.1
"""Of the domains, by documents, that the EU's summary asks for."""
CLEANING = (
    "clean_docs", "exact_dedup", "near_dedup", "line_dedup", "substring_dedup", "pii_masked", "decontaminated",
)  # fmt: skip
_LANGUAGES = {"en": "English", "zh": "Chinese"}


class Release:
    """The files of a release, as the cards read them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: dict[str, Any] = json.loads((folder / layout.RELEASE).read_text(encoding="utf-8"))
        self.recipe: dict[str, Any] = yaml.safe_load((folder / layout.RECIPE).read_text(encoding="utf-8"))
        self.documents: pa.Table = pq.read_table(folder / layout.DOCUMENTS)

    @functools.cached_property
    def scores(self) -> tuple[list[dict[str, Any]], str]:
        """Scores of the released run as the evaluation wrote them, and their file."""
        file = f"{layout.SCORES}/{self.told['run']}/scores.json"
        return json.loads((self.folder / file).read_text(encoding="utf-8")), file

    def manifest(self, key: str, fingerprint: str) -> tuple[Manifest, str]:
        file = layout.manifest_file(key, fingerprint)
        return parsed_manifest((self.folder / file).read_bytes(), file), file

    def all_of(self, kind: str) -> Iterator[tuple[str, Manifest, str]]:
        """Every manifest of a kind of artifact, by what follows its name, and its file."""
        for path in sorted((self.folder / layout.MANIFESTS / kind).rglob("*.json")):
            file = path.relative_to(self.folder).as_posix()
            made = parsed_manifest(path.read_bytes(), file)
            yield made.key.partition("/")[2], made, file


def cards(folder: Path) -> dict[str, str]:
    """Every card by its name in the release. Raises NotTraced for a number without a source."""
    release = Release(folder)
    languages = sorted(set(release.documents.column("lang").to_pylist()))
    taken, of_sources, of_parts, of_streams = steps(release), sources(release), parts(release), streams(release)
    values = {
        "release": typed_fields(release.recipe["release"]),
        "languages": languages,
        "language_names": [called(lang) for lang in languages],
        "step": Sourced(release.told["step"], layout.RELEASE),
        "run": name(release.told["run"]),
        "parameters": Sourced(parameters(folder / layout.WEIGHTS), f"{layout.WEIGHTS}/model.safetensors"),
        "sources": of_sources,
        "domains": domains(release.documents),
        "number_of_domains": Sourced(len(_by_domain(release.documents)), layout.DOCUMENTS),
        "documents": Sourced(release.documents.num_rows, layout.DOCUMENTS),
        "withdrawn": Sourced(sum(release.documents.column("withdrawn").to_pylist()), layout.DOCUMENTS),
        "text": text_amounts(release),
        "streams": of_streams,
        "parts": of_parts,
        "scores": scores(release),
        "steps": taken,
        "masked": [row for row in taken if row["step"] == "pii_masked"],
        "certified": certified(release),
        "pool_file": layout.DOCUMENTS,
    }
    values |= eu_values(release, of_sources, of_parts, of_streams)
    made = {card: compiled(PAGES / page, values, card) for card, page in TEMPLATES.items()}
    hub = eval_results(headline_scores(release), release.recipe["evaluation"]["benchmarks"])
    return made | hub | paper_card(release) | {DATA_CARD: croissant(release)}


def typed(text: object) -> Sourced:
    """What somebody typed into the recipe."""
    return Sourced(text, layout.RECIPE)


def called(lang: str) -> str:
    """A language's name."""
    return _LANGUAGES.get(lang, lang)


def typed_fields(section: Mapping[str, object]) -> dict[str, Sourced]:
    """What the recipe says of a release."""
    return {key: typed(value) for key, value in section.items() if isinstance(value, str)}


def sources(release: Release) -> list[dict[str, object]]:
    """A row a source: what the recipe says of it, and what came of it."""
    crawls = {source: (made, file) for source, made, file in release.all_of("raw_crawl")}
    held = Counter(release.documents.column("source").to_pylist())
    rows: list[dict[str, object]] = []
    for source, made, file in release.all_of("sources"):
        crawl, crawl_file = crawls[source]
        rows.append(
            {
                "source": Sourced(source, file),
                "kind": Sourced(made.numbers["kind"], file),
                "licence": Sourced(made.numbers["licence"], file),
                "snapshot": Sourced(made.numbers["snapshot"], file),
                "acquired": Sourced(crawl.created_at[:10], crawl_file),
                "pages": Sourced(crawl.rows_kept or 0, crawl_file),
                "documents": Sourced(held.get(source, 0), layout.DOCUMENTS),
                "said": [
                    {key: Sourced(value, crawl_file) for key, value in row.items()}
                    for row in crawl.tables.get(SAID_ABOUT_TRAINING, [])
                ],
            }
        )
    return rows


def _by_domain(documents: pa.Table) -> Counter[str]:
    hosts = (urlsplit(url or "").hostname for url in documents.column("url").to_pylist())
    return Counter(host for host in hosts if host)


def domains(documents: pa.Table) -> list[tuple[Sourced, Sourced]]:
    """The tenth of the domains with most documents, one at least."""
    counted = _by_domain(documents)
    named = sorted(((n, host) for host, n in counted.items()), key=lambda pair: (-pair[0], pair[1]))
    most = max(1, round(len(named) * TOP_SHARE))
    return [(Sourced(host, layout.DOCUMENTS), Sourced(n, layout.DOCUMENTS)) for n, host in named[:most]]


def text_amounts(release: Release) -> list[tuple[str, Sourced]]:
    """(language, documents) of the pool."""
    counted = Counter(release.documents.column("lang").to_pylist())
    return [(called(lang), Sourced(n, layout.DOCUMENTS)) for lang, n in sorted(counted.items())]


def streams(release: Release) -> list[dict[str, object]]:
    """A row a token stream: tokens in all and by language."""
    rows: list[dict[str, object]] = []
    for phase, at in sorted(release.told["streams"].items()):
        made, file = release.manifest(*at)
        by_language = [
            (called(key.removeprefix("tokens_")), Sourced(value, file))
            for key, value in made.numbers.items()
            if key.startswith("tokens_")
        ]
        rows.append({"phase": name(phase), "tokens": Sourced(made.numbers["tokens"], file), "languages": by_language})
    return rows


def parts(release: Release) -> list[dict[str, object]]:
    """A row a part of the training, the first first."""
    rows: list[dict[str, object]] = []
    before = 0  # tokens that a part which goes on had been trained on
    for part in reversed(release.told["parts"]):
        folder = f"{layout.CERTIFICATES}/{part['run']}/{part['last']}"
        certificate = json.loads((release.folder / folder / "certificate.json").read_text(encoding="utf-8"))
        losses = pq.read_table(release.folder / folder / "metrics.parquet", columns=["loss"]).column("loss")
        file = f"{folder}/certificate.json"
        rows.append(
            {
                "run": name(part["run"]),
                "steps": Sourced(part["last"] - part["first"], layout.RELEASE),
                "tokens": Sourced(certificate["trained_tokens"] - (before if part["goes_on"] else 0), file),
                "loss": Sourced(losses[-1].as_py(), f"{folder}/metrics.parquet"),
                "device": Sourced(certificate["machine"]["device"], file),
                "ranks": Sourced(certificate["machine"]["world_size"], file),
                "precision": Sourced(certificate["precision"], file),
            }
        )
        before = certificate["trained_tokens"]
    return rows


def headline_scores(release: Release) -> list[dict[str, Any]]:
    """Headline scores of the released step."""
    rows, step = release.scores[0], release.told["step"]
    return [r for r in rows if r["step"] == step and r["headline"] and r["main"] and r["attempt"] == 1]


def scores(release: Release) -> list[dict[str, object]]:
    """The table of scores."""
    file = release.scores[1]
    return [
        {
            "task": Sourced(row["task"], file),
            "metric": row["metric"],
            "value": Sourced(row["value"], file),
            "stderr": Sourced(row["stderr"], file) if row["stderr"] is not None else "–",
            "asked": Sourced(row["n"], file),
            "chance": Sourced(row["chance"], file) if row["chance"] is not None else "–",
        }
        for row in headline_scores(release)
    ]


def steps(release: Release) -> list[dict[str, object]]:
    """A row a step of the cleaning, by language: documents in and kept."""
    rows: list[dict[str, object]] = []
    for kind in CLEANING:
        for lang, made, file in release.all_of(kind):
            if made.rows_in is not None and made.rows_kept is not None:
                rows.append(
                    {
                        "step": kind,
                        "lang": called(lang),
                        "seen": Sourced(made.rows_in, file),
                        "kept": Sourced(made.rows_kept, file),
                        "edited": Sourced(made.numbers.get("edited", 0), file),
                    }
                )
    return rows


def certified(release: Release) -> Sourced:
    """Checkpoints with a certificate in the release."""
    return Sourced(sum(len(part["certified"]) for part in release.told["parts"]), layout.RELEASE)


# ------------------------------------------------------------------ data card


def croissant(release: Release) -> str:
    """The list of documents as a Croissant 1.1 data set: the file with its SHA-256, and its columns."""
    kinds = {"string": "sc:Text", "bool": "sc:Boolean", "int64": "sc:Integer"}
    licences = sorted(set(release.documents.column("licence").to_pylist()))
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"documents/{column.name}",
            "name": column.name,
            "description": _COLUMNS[column.name],
            "dataType": kinds[str(column.type)],
            "source": {"fileObject": {"@id": "documents.parquet"}, "extract": {"column": column.name}},
        }
        for column in release.documents.schema
    ]
    card: dict[str, object] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"documents_of_{release.recipe['name']}",
        "description": "Every document of the training pool: where it came from, and under which licence. No text.",
        "license": licences,
        "url": str(release.recipe["release"].get("url") or "https://example.org/"),
        "version": f"1.0.0+{digest_json(release.told['pool'])[:12]}",
        "citeAs": f"{release.recipe['release']['producer']}: {release.recipe['release']['title']}",
        "datePublished": max(str(row["acquired"]) for row in sources(release)),
        "isLiveDataset": False,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "documents.parquet",
                "name": "documents.parquet",
                "contentUrl": "../ledger/documents.parquet",
                "encodingFormat": "application/x-parquet",
                "sha256": layout.sha256(release.folder / layout.DOCUMENTS),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "documents",
                "name": "documents",
                "key": {"@id": "documents/doc_id"},
                "field": fields,
            }
        ],
    }
    return json.dumps(card, indent=1, ensure_ascii=False) + "\n"


_COLUMNS = {
    "doc_id": "128-bit hex: canonical address and payload",
    "url": "address that it was read from",
    "title": "as the page has it",
    "source": "of the recipe's sources",
    "licence": "of the source, as the recipe has it",
    "lang": "ISO 639-1",
    "may_be_passed_on": "whether the recipe says that its licence lets the text be passed on",
    "withdrawn": "whether it was taken out: of such a document nothing was learnt, and no address is told",
}
_CONTEXT: dict[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def worded() -> str:
    """Digest of everything that words the cards and the first page, in this version of the software."""
    here = Path(__file__)
    files = [
        *(PAGES / name for name in TEMPLATES.values()),
        here,
        here.with_name("readme.py"),
        here.with_name("eval_results.py"),
        SOURCED,
        *worded_by(),
    ]
    return digest_json({file.name: digest_file(file) for file in files})


def differing(folder: Path) -> list[str]:
    """Cards that are not what the files beside them say, each with its first line that is another."""
    told = cards(folder)
    more = sorted(path.relative_to(folder).as_posix() for path in (folder / EVAL_RESULTS).glob("*"))
    out = [f"{name}: no score of this release" for name in more if name not in told]
    for card, text in told.items():
        path = folder / card
        there: Sequence[str] = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        wanted = text.splitlines()
        if list(there) != wanted:
            at = next(
                (i for i, (a, b) in enumerate(zip(there, wanted, strict=False)) if a != b), min(len(there), len(wanted))
            )
            said, says = (lines[at][:100] if at < len(lines) else "nothing" for lines in (there, wanted))
            out.append(f"{card}:{at + 1} says {said!r}, the files say {says!r}")
    return out
