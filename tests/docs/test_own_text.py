"""README's way from somebody's own text to a report, typed as it stands there: a folder of pages, rows, a WARC file,
and English alone of a folder in two languages. Minutes each, so slow.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neo_assets.core.fingerprint import ROOT
from neo_assets.web.warc_files import Response, SegmentWriter

WORDS = re.findall(
    r"\w+",
    """
the of and to that with have be a in it is on as at by from this which was or an are were not but they one we you
all can out up other new some time these may then do first any my now such like our over man me even most made
after also did many before must through years where much way well down should because each just those people how
too little state good very make world still own see men work long get here between both life being under never
day same another know while last might us great old year off come since against go came right used take three
house small water garden river table letter window morning evening road bridge market village teacher student
book page story music picture colour summer winter rain snow wind mountain forest field farmer bread milk fruit
chair door key lamp paper pencil bottle basket train ship station harbour island castle kitchen ladder hammer
""",
)
CHINESE = (
    "我们的人在这有他中大来上个国到说地也子时道出而要于就下得可你年生自会那后能对着事"
    "其里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分"
    "此心前面又定见只主没公从"
)


def sentence(generator: random.Random, lang: str) -> str:
    if lang == "zh":
        return (
            "，".join("".join(generator.choice(CHINESE) for _ in range(generator.randint(8, 16))) for _ in range(3))
            + "。"
        )
    return " ".join(generator.choice(WORDS) for _ in range(generator.randint(7, 14))).capitalize() + "."


def paragraphs(generator: random.Random, lang: str) -> list[str]:
    gap = "" if lang == "zh" else " "
    return [gap.join(sentence(generator, lang) for _ in range(4)) for _ in range(6)]


def page(generator: random.Random, lang: str) -> str:
    body = "".join(f"<p>{text}</p>" for text in paragraphs(generator, lang))
    return f"<!doctype html><title>{sentence(generator, lang)}</title><main><article>{body}</article></main>"


def write_pages(folder: Path, lang: str, count: int) -> None:
    generator = random.Random(lang)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{lang}{i}.html").write_text(page(generator, lang), encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The tree as a clone has it, with a `.venv` that is this one's Python on that tree."""
    root = tmp_path / "clone"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    programs = root / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in (("neo", "neo_assets.cli"), ("dagster", "dagster")):
        script = f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m {module} "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    return root


def shown(asked: str) -> str:
    """README's block, with this way to name a text where it names a folder."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n([^`]*neo init mine.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert "--folder ~/texts" in block
    return str(block).replace("--folder ~/texts", asked)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "jsonl", "warc", "english"])
def test_readmes_way_from_your_text_to_a_report(clone: Path, tmp_path: Path, form: str) -> None:
    home, generator = tmp_path / "home", random.Random(form)
    write_pages(home / "texts", "en", 260)
    asked = "--folder ~/texts"
    if form in ("folder", "english"):
        write_pages(home / "texts", "zh", 200)
        asked += " --lang en" if form == "english" else ""
    elif form == "jsonl":
        rows = [{"body": "\n".join(paragraphs(generator, "en")), "link": f"http://a.example/{i}"} for i in range(260)]
        (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        asked = "--jsonl ~/rows.jsonl"
    else:
        writer = SegmentWriter(home / "crawl.warc.gz", "test")
        for i in range(260):
            html, when = page(generator, "en").encode(), "2026-01-01T00:00:00+00:00"
            writer.add(Response(f"http://a.example/{i}.html", 200, [("Content-Type", "text/html")], html, when))
        writer.finish()
        asked = "--warc ~/crawl.warc.gz"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))}
    environment |= {"HOME": str(home), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shown(asked)],
        cwd=clone, env=environment, text=True, capture_output=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = re.search(r"^Report: (\S+)$", done.stdout, re.MULTILINE)
    assert report and Path(report[1]).is_file()
    assert "main@0" in done.stdout and re.search(r"bits_per_byte_en_30 +\d", done.stdout)
    assert ("bits_per_byte_zh_30" in done.stdout) == (form == "folder")
