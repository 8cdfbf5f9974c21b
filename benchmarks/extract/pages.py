"""Pages with the text that a careful reader would call their main content."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

from neo_assets.core.fingerprint import digest_bytes
from neo_assets.web.encoding import decode_html
from neo_assets.web.html_names import BLOCKS
from neo_assets.web.links import host_of

TRAFILATURA, TOLD = "adbar/trafilatura", "tests/evaldata.json"
ANNOTATIONS = Path(__file__).with_name("annotations.jsonl")
READABILITY, HELD_BACK = "mozilla/readability", "scrapinghub/article-extraction-benchmark"
UNSEEN = frozenset({"script", "style", "noscript", "template", "head", "title", "textarea", "select", "svg", "iframe"})
UNSEEN |= {"object", "button"}
DOCUMENTATION = (
    ("handbook", "debian-handbook/html/en-US", "body", 40),
    ("handbook", "debian-handbook/html/zh-CN", "body", 40),
    ("handbook", "debian-handbook/html/fr-FR", "body", 15),
    ("handbook", "debian-handbook/html/de-DE", "body", 15),
    ("help", "help/en-US", "#DisplayArea", 60),
    ("help", "help/zh-CN", "#DisplayArea", 60),
)
"""The demo's documentation: set, folder, the element that holds a page's content, and how many pages are taken."""
AROUND = [".docnav", ".toc", "#banner", "#title", ".relatedtopics", "script", "style"]
LINES = frozenset({*BLOCKS, "br"})


@dataclass(frozen=True)
class GoldPage:
    set: str
    site: str  # pages of one site are never on both sides of a split
    lang: str
    name: str
    html: str
    gold: str


@dataclass(frozen=True)
class TestedPage:
    """A page of which some passages are said to be content (``has``), and some not to be (``lacks``)."""

    site: str
    name: str
    html: str
    title: str
    has: tuple[str, ...]
    lacks: tuple[str, ...]

    def passed(self, text: str) -> tuple[int, int]:
        """How many of ``has`` stand in a text, and how many of ``lacks`` do; white space aside."""
        found = bare(text)
        return sum(bare(said) in found for said in self.has), sum(bare(said) in found for said in self.lacks)


def bare(text: str) -> str:
    """A text without its white space."""
    return re.sub(r"\s+", "", text)


def tested(copies: Path) -> Iterator[TestedPage]:
    """Pages of trafilatura's own evaluation that are not annotated here."""
    annotated_here = {said["path"] for said in _annotations()}
    here = {Path(path).name: path for path in _listed(copies, TRAFILATURA, "tests")}
    for url, said in json.loads(_file(copies, TRAFILATURA, TOLD) or b"{}").items():
        path = here.pop(Path(said["file"]).name, None)
        payload = _file(copies, TRAFILATURA, path) if path is not None and path not in annotated_here else None
        if path is not None and payload is not None:
            has, lacks = (tuple(filter(bare, said[key])) for key in ("with", "without"))
            html, title = decode_html(payload, "")[0], said.get("title") or ""
            yield TestedPage(_site(url, said["file"]), path, html, title, has, (*lacks, *said.get("comments", ())))


def _site(url: str, file: str) -> str:
    """One name for a site and what is below it: the last but one label of its host."""
    labels = (host_of(url) or file).split(".")
    return ".".join(labels[-2:])


def _annotations() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ANNOTATIONS.read_text(encoding="utf-8").splitlines()]


def pages(copies: Path) -> Iterator[GoldPage]:
    """Annotated pages of the repositories that are there, and Readability's own test pages."""
    for said in _annotations():
        if said["include"] and (payload := _file(copies, said["repo"], said["path"])) is not None:
            html = payload.decode(said["encoding"], "replace") if "encoding" in said else decode_html(payload, "")[0]
            yield GoldPage(said["set"], said["site"], said["lang"], said["path"], html, annotated(html, said))
    for path in _listed(copies, READABILITY, "test/test-pages"):
        if path.endswith("/source.html"):
            source, expected = (_file(copies, READABILITY, p) for p in (path, path.replace("source", "expected")))
            if source and expected:
                gold = rendered(LexborHTMLParser(expected.decode()).body)
                yield GoldPage("readability", path, "", path, decode_html(source, "")[0], gold)


def documentation(data: Path) -> Iterator[GoldPage]:
    """Pages of the demo's documentation in both languages, every so many of a folder."""
    for set_, folder, element, count in DOCUMENTATION:
        files = sorted((data / folder).rglob("*.html"))
        for file in files[:: max(1, len(files) // count)][:count]:
            html = file.read_text(encoding="utf-8")
            gold = annotated(html, {"include": [element], "exclude": AROUND})
            if gold:
                yield GoldPage(set_, set_, folder[-5:-3], str(file.relative_to(data)), html, gold)


def held_back(copies: Path) -> Iterator[GoldPage]:
    """English articles of a public benchmark that nothing is fitted or tuned on; its texts leave headlines out."""
    truth = _file(copies, HELD_BACK, "ground-truth.json")
    for name, said in json.loads(truth or b"{}").items():
        payload = _file(copies, HELD_BACK, f"html/{name}.html.gz")
        if payload is not None:
            html = decode_html(gzip.decompress(payload), "text/html; charset=utf-8")[0]
            yield GoldPage("held back", name, "en", name, html, said["articleBody"])


def annotated(html: str, said: dict[str, Any]) -> str:
    """The text of the elements that an annotation includes, without those it excludes."""
    tree = LexborHTMLParser(html)
    out = {node.mem_id: node for selector in said["exclude"] for node in tree.css(selector)}

    def within(node: LexborNode) -> bool:
        up = node.parent
        while up is not None:
            if up.mem_id in out:
                return True
            up = up.parent
        return False

    for node in [node for node in out.values() if not within(node)]:
        node.decompose()
    found = {node.mem_id: node for selector in said["include"] for node in tree.css(selector)}
    lines = "\n".join(rendered(node) for node in found.values()).split("\n")
    dropped = set(said.get("drop", ()))
    return "\n".join(line for line in lines if line.strip() and digest_bytes(line.strip().encode())[:12] not in dropped)


def rendered(root: LexborNode | None) -> str:
    """An element's text, with line ends where blocks begin and end; another way than the product's."""
    parts: list[str] = []

    def walk(node: LexborNode, kept: bool) -> None:
        child = node.first_child
        while child is not None:
            tag = child.tag or "-"
            if tag == "-text":
                text = child.text_content or ""
                parts.append(text if kept else re.sub(r"[ \t\r\n\f\u200b\ufeff]+", " ", text))
            elif not tag.startswith(("-", "!")) and tag not in UNSEEN and not hidden(child):
                edge = "\n" if tag in LINES else "\t" if tag in ("td", "th") else ""
                parts.append(edge)
                walk(child, kept or tag == "pre")
                parts.append(edge)
            child = child.next

    if root is not None:
        walk(root, root.tag == "pre")
    lines = (line.strip(" \t\xa0") for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def hidden(node: LexborNode) -> bool:
    """Whether no reader sees an element, unless a script shows it."""
    said = node.attributes
    if "hidden" in said:
        return said["hidden"] != "until-found"
    return bool(re.search(r"(?i)(?:^|;)\s*display\s*:\s*none\s*(?:!\s*important\s*)?(?:;|$)", said.get("style") or ""))


def _folder(copies: Path, repo: str) -> Path:
    bare = copies / repo.replace("/", "+") / "repo"
    return bare if bare.is_dir() else copies / repo


def _file(copies: Path, repo: str, path: str) -> bytes | None:
    done = subprocess.run(
        ["git", "-C", str(_folder(copies, repo)), "show", f"HEAD:{path}"], capture_output=True, check=False
    ) if _folder(copies, repo).is_dir() else None  # fmt: skip
    return done.stdout if done and done.returncode == 0 else None


def _listed(copies: Path, repo: str, under: str) -> list[str]:
    if not _folder(copies, repo).is_dir():
        return []
    command = ["git", "-C", str(_folder(copies, repo)), "ls-tree", "-r", "--name-only", "HEAD", under]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
