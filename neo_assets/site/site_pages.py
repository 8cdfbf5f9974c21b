"""The pages of the site: what the report tells, in pieces, with the paper and the cards; their links lead to files of
the folder alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from neo_assets.core.store import Artifact, Row, Workspace
from neo_assets.core.words import at
from neo_assets.pages import page
from neo_assets.paper.paper import PAPER
from neo_assets.release.cards import DATA_CARD, DATASHEET, EU_SUMMARY, MODEL_CARD, OPENNESS
from neo_assets.report.fates import whole_funnel
from neo_assets.report.funnel import Gathered
from neo_assets.report.opening import opening
from neo_assets.report.page import BLOCKS, Block, Part, Samples, table
from neo_assets.report.page import STYLE as REPORT_STYLE
from neo_assets.report.report import entries, parts_of
from neo_assets.report.run_lines import run_lines
from neo_assets.report.scores import generated_samples
from neo_assets.runs.found_runs import FoundRun
from neo_assets.site.documents import Documents

PAGES = Path(__file__).with_name("pages")
FILES = (*sorted(PAGES.iterdir()), BLOCKS, REPORT_STYLE, *page.FILES)
"""What pages are made of besides modules."""
MENU = (
    ("index.html", "Overview"),
    ("documents.html", "Documents"),
    ("data.html", "Data"),
    ("training.html", "Training"),
    ("scores.html", "Scores"),
    ("generations.html", "Generations"),
    ("paper.html", "Paper"),
    ("cards.html", "Cards"),
    ("artifacts.html", "Artifacts"),
)
ABOUT = {
    "documents.html": "search everything that was read, kept or dropped, and see what each step did to it",
    "data.html": "what was crawled, kept, dropped and why; the corpus and its mixtures",
    "training.html": "the tokenizer, the plans, the curves and every checkpoint",
    "scores.html": "what every checkpoint scored, against chance",
    "generations.html": "what every checkpoint writes, and where it stands in the training text",
    "paper.html": "every number of MAP-Neo beside ours",
    "cards.html": "model card, public summary of training content, data card, openness",
    "artifacts.html": "the recipe, and all that was made with it, by fingerprint",
}
DATA = ("crawled", "fates", "corpus", "withdrawn")
_STORE_LINK = re.compile(r'href="\.\./\.\./([\w./-]+)/([0-9a-f]+)/[\w.-]+"')
_OWN_LINK = re.compile(r'href="([^"#:]+)(#[^"]*)?"')
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


@dataclass(frozen=True)
class Told:
    """What pages tell of: a build's artifacts, documents, runs, and the recipe as it is resolved. ``masked``: whether
    personal data was looked for.
    """

    name: str
    description: str
    licences: Sequence[str]
    masked: bool
    made: Mapping[str, Artifact]
    gathered: Gathered
    documents: Documents
    runs: Sequence[FoundRun]
    recipe_text: str


def pages(told: Told, out: Workspace) -> Iterable[tuple[str, str]]:
    """(file, text) of every page; the cards, as files, are written into ``out``."""
    made = told.made
    lines = run_lines(made)
    parts = {part.name: part for part in parts_of(made, told.gathered, lines, examples=False)}
    texts = {"paper.html": _paper(made), "cards.html": _cards(made, out)}
    menu = [(file, name) for file, name in MENU if texts.get(file, True)]

    def written(template: str, file: str, styles: Sequence[str] = (), **values: object) -> tuple[str, str]:
        common: dict[str, object] = {"name": told.name, "menu": menu, "here": file, "artifacts_page": "artifacts.html"}
        common |= {"open_samples": True}
        html = page.render(
            PAGES / template,
            PAGES / "site.css",
            {"title": dict(MENU)[file], **common, **values},
            styles=[page.TRACED_STYLE, REPORT_STYLE, *(PAGES / style for style in styles)],
            folders=[BLOCKS.parent],
            beside=file == "documents.html",
        )
        return file, _with_own_links(html, out.path)

    yield written(
        "index.html.j2",
        "index.html",
        description=told.description,
        opening=opening(made, lines, whole_funnel(told.gathered)),
        doors=[(file, name, ABOUT[file]) for file, name in menu if file in ABOUT],
        newest=max((a.manifest.created_at for a in made.values()), default=""),
    )
    yield written(
        "documents.html.j2",
        "documents.html",
        ["documents.css"],
        count=len(told.documents.shown),
        not_drawn=told.documents.not_drawn,
        masked=told.masked,
        withdrawn=told.documents.withdrawn,
        without_text=sum(one.text is None for one in told.documents.shown),
    )
    yield written("parts.html.j2", "data.html", parts=[parts[name] for name in DATA if name in parts])
    training = [part for name, part in parts.items() if name not in (*DATA, "scores")]
    yield written("parts.html.j2", "training.html", parts=[*training, _checkpoints(told.runs)])
    yield written("parts.html.j2", "scores.html", parts=[parts["scores"]])
    samples = _without_withheld(generated_samples(made, lines), told.documents, told.licences)
    yield written("parts.html.j2", "generations.html", parts=[samples])
    for file, shown in texts.items():
        if shown:
            yield written("text.html.j2", file, texts=shown)
    yield written("artifacts.html.j2", "artifacts.html", artifacts=entries(made.values()), recipe_text=told.recipe_text)


def _checkpoints(runs: Sequence[FoundRun]) -> Part:
    """A row a checkpoint of every run, with what its certificate says."""
    rows: list[Row] = []
    for run in runs:
        whole = run.whole_checkpoints()
        for step, folder in run.checkpoints().items():
            certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
            rows.append(
                {
                    "checkpoint": at(run.name, folder.name),
                    "trained tokens": certificate["trained_tokens"],
                    "losses so far": str(certificate["history_digest"])[:12],
                    "stream": str(certificate["stream"])[:12],
                    "device": certificate["machine"]["device"],
                    "ranks": certificate["machine"]["world_size"],
                    "kept whole": step in whole,
                }
            )
    blocks: list[Block] = table(
        "Checkpoints as their certificates have them: digests of all losses before, and of the stream that was read.",
        rows,
        [],
        folded=False,
    )
    return Part(
        "checkpoints",
        "Checkpoints",
        "Each has a certificate from which its training can be checked again, step by step (`neo prove`).",
        blocks,
    )


def _without_withheld(part: Part, told: Documents, licences: Iterable[str]) -> Part:
    """Samples whose passages lead to the documents of this site, and show none of a text that may not be shown."""
    known = {one.doc_id for one in told.shown}
    allowed = set(licences)

    def of(document: Mapping[str, object]) -> dict[str, object]:
        out = dict(document)
        if str(document["doc_id"]) in known:
            out["page"] = f"documents.html#d={str(document['doc_id'])[:12]}"
        if document["licence"] not in allowed:
            out |= {"before": "", "after": ""}
        return out

    blocks: list[Block] = []
    for block in part.blocks:
        if isinstance(block, Samples):
            continuations = [
                type(said)(
                    said.checkpoint,
                    said.id,
                    said.segments,
                    [{**p, "documents": [of(d) for d in p["documents"]]} for p in said.passages],  # type: ignore[attr-defined]
                )
                for said in block.continuations
            ]
            block = Samples(block.caption, block.lang, block.prompt, continuations, block.refs)
        blocks.append(block)
    return Part(part.name, part.title, part.intro, blocks)


_CARDS = (
    ("model", "", MODEL_CARD),
    ("datasheet", "", DATASHEET),
    ("eu", "", EU_SUMMARY),
    ("mof", "Openness", OPENNESS),
)
_Texts = list[tuple[str, str, Markup]]


def _paper(made: Mapping[str, Artifact]) -> _Texts:
    if "paper" not in made:
        return []
    text = made["paper"].file(PAPER).read_text(encoding="utf-8")
    return [("paper", "", Markup(page.from_markdown(text)))]


def _cards(made: Mapping[str, Artifact], out: Workspace) -> _Texts:
    """The cards of the release, which lie beside the pages as well; nothing where the recipe releases nothing."""
    release = made.get("release")
    if release is None:
        return []
    texts: _Texts = []
    for name, title, file in _CARDS:
        text = release.file(file).read_text(encoding="utf-8")
        out.write_text(f"cards/{_name_of(file)}", text)
        body = Markup("<pre>{}</pre>").format(text)
        if file.endswith(".md"):
            body = Markup(page.from_markdown(_FRONT_MATTER.sub("", text)))
        texts.append((name, title, body))
    out.write_text(f"cards/{_name_of(DATA_CARD)}", release.file(DATA_CARD).read_text(encoding="utf-8"))
    links = [_name_of(file) for file in (*(file for _, _, file in _CARDS), DATA_CARD)]
    listed = Markup("<p>{}</p>").format(
        Markup(", ").join(Markup('<a href="cards/{}">{}</a>').format(name, name) for name in links)
    )
    said = Markup("<p>As the release has them, where every number links to the file that it stands in.</p>")
    return [("files", "Cards", said + listed), *texts]


def _name_of(file: str) -> str:
    return "model_card.md" if file == MODEL_CARD else Path(file).name


def _with_own_links(html: str, folder: Path) -> str:
    """A page whose links to files of the store, or of a release, lead to this folder's, or nowhere."""
    html = _STORE_LINK.sub(lambda m: f'href="manifests/{m[1]}/{m[2]}.json"', html)

    def own(match: re.Match[str]) -> str:
        name, fragment = match[1].removeprefix("../"), match[2] or ""
        if name in dict(MENU) or (folder / name).is_file():
            return f'href="{name}{fragment}"'
        if name in ("recipe.yaml", "recipe/recipe.yaml"):
            return 'href="artifacts.html#recipe"'
        if name == PAPER:
            return 'href="paper.html"'
        return 'class="unlinked"'

    return _OWN_LINK.sub(own, html)


def lost_links(html: str, folder: Path) -> list[str]:
    """Links of a page that have no file in the folder, and are no page that is still to be written."""
    return [m[1] for m in _OWN_LINK.finditer(html) if not (folder / m[1]).is_file() and m[1] not in dict(MENU)]
