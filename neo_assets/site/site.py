"""``site``: what a reader opens: a folder of pages that needs no server and asks no other machine for anything.

The pages tell what the report tells, without texts of which the licence is not known to allow it. Documents lie in
scripts, since a page that is opened from a disk may load a script and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Artifact, Check, Outcome, Store, Workspace
from neo_assets.core.tombstones import Scope, Target
from neo_assets.report.funnel import Fates, read_funnel
from neo_assets.runs.found_runs import FoundRun
from neo_assets.site.documents import Asked, documents
from neo_assets.site.scripts import scripts
from neo_assets.site.site_pages import FILES, PAGES, Told, lost_links, pages
from neo_assets.trace.reads import reader_of


class SiteInput(Section):
    name: str
    description: str
    licences: list[str] = Field(description="under which texts may be shown")
    documents: int
    steps: list[str] = Field(description="artifacts that have texts, in order")
    placeholders: dict[str, str]
    recipe_digest: str
    tombstones: str = Field(default="", description="digest of those in force; of what is only known when it is made")
    files_digest: str = Field(
        default_factory=lambda: digest_json([digest_file(file) for file in FILES]),
        description="templates, styles and scripts are no Python modules, so they count here",
    )


@dataclass(frozen=True)
class Around:
    """What a site is made with besides its inputs."""

    store: Store
    ledger: Fates
    tombstones: Mapping[Scope, Sequence[Target]]
    runs: Sequence[FoundRun]
    recipe_text: str


def make_site(config: SiteInput, inputs: Mapping[str, Artifact], out: Workspace, *, around: Around) -> Outcome:
    """Pages for readers, in a folder that opens from a disk and on a phone: the factory's story, search over documents
    kept and dropped with what each step changed, checkpoints, scores, generations with traces, cards, and the paper.
    """
    gathered = read_funnel(inputs["funnel"], around.store)
    made = {**gathered.artifacts, **inputs}
    deciding = [name for name in gathered.labels if name not in gathered.divides]
    asked = Asked(frozenset(config.licences), config.documents, config.steps, deciding, config.placeholders)
    reading = [reader for run in around.runs if (reader := reader_of(around.store, run)) is not None]
    told = documents(asked, made, around.ledger, around.tombstones, reading)
    size = 0
    for name, text in scripts(told.shown, gathered.labels):
        out.write_text(name, text)
        size += len(text.encode())
    out.write_text("search.js", (PAGES / "search.js").read_text(encoding="utf-8"))
    for artifact in made.values():
        out.write_text(f"manifests/{artifact.key}/{artifact.fingerprint}.json", artifact.manifest.sealed())
    story = Told(
        name=config.name,
        description=config.description,
        licences=config.licences,
        masked=bool(config.placeholders),
        made=made,
        gathered=gathered,
        documents=told,
        runs=around.runs,
        recipe_text=around.recipe_text,
    )
    written = dict(pages(story, out))
    for name, text in written.items():
        out.write_text(name, text)
    lost = sorted({f"{name}: {link}" for name, text in written.items() for link in lost_links(text, out.path)})
    shown = [one for one in told.shown if one.text is not None]
    return Outcome(
        digest=folder_digest(out.path),
        numbers={
            "pages": len(written),
            "documents": len(told.shown),
            "with their text": len(shown),
            "withdrawn, not shown": told.withdrawn,
            "bytes of scripts": size,
        },
        checks=[
            Check(
                name="links_lead_somewhere",
                passed=not lost,
                detail=", ".join(lost[:5]) or f"every link of {len(written)} pages has its file",
            ),
            Check(
                name="licences_obeyed",
                passed=all(one.licence in config.licences for one in shown),
                detail=f"{len(shown):,} of {len(told.shown):,} documents are shown with their text",
            ),
        ],
    )


def folder_digest(folder: Path) -> str:
    """Digest of all files of a site."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})
