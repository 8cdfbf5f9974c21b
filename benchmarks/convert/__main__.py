"""Documents whose text is known, read by ours and by others: ``python -m benchmarks.convert FONTS BOOKS [--ocr N]``.

Rendered pages (handbook prose of the built recipe; one to three columns; drawn in order, row by row, shuffled): what is
lost to a wrong order (bag of words less longest common subsequence), running lines that leak, words that are missing.
``FONTS``: a folder with a Chinese font; ``BOOKS``: a folder of PDFs beside HTML twins, ``‹name›.pdf`` and ``‹name›/``.
With ``--ocr`` so many rendered pages of each language are turned into scans, clean and bad, and recognised. pdftotext,
tesseract and docling-parse stand beside it where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium  # type: ignore[import-untyped]
from PIL import Image
from rapidfuzz.distance import LCSseq, Levenshtein
from selectolax.lexbor import LexborHTMLParser

from benchmarks.common import documents
from benchmarks.convert.rendered import FOOTER, HEADER, Rendered, redrawn, render
from neo_assets.core.recipe.data import Convert
from neo_assets.extract.convert.pages import ConvertedPage, Trust
from neo_assets.extract.convert.pdf import convert

TRUST = Trust(**Convert.model_validate({}).model_dump(include=set(Trust.model_fields)))
_TOKEN = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]|[A-Za-z0-9]+|[^\sA-Za-z0-9]")


def ours(path: Path, trust: Trust = TRUST) -> list[ConvertedPage]:
    return list(convert(path, trust, 0, set(), lambda _: None))


def by_pdftotext(path: Path) -> str:
    return subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True).stdout


def by_pdf_oxide(path: Path) -> str:
    import pdf_oxide

    document = pdf_oxide.PdfDocument(str(path))
    return "\n".join(str(document.extract_text(i)) for i in range(document.page_count()))


def by_pdfium(path: Path) -> str:
    document = pdfium.PdfDocument(path)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def by_docling_parse(path: Path) -> str:
    """Lines in the order in which they are drawn; docling's own order needs models that no package has."""
    from docling_core.types.doc.page import TextCellUnit  # type: ignore[import-not-found]
    from docling_parse.pdf_parser import DoclingPdfParser  # type: ignore[import-not-found]

    pages = DoclingPdfParser(loglevel="fatal").load(str(path)).iterate_pages()
    return "\n".join(cell.text for _, page in pages for cell in page.iterate_cells(unit_type=TextCellUnit.LINE))


READERS: dict[str, Callable[[Path], str]] = {
    "ours": lambda path: "\n".join(page.text for page in ours(path)),
    **({"pdftotext": by_pdftotext} if shutil.which("pdftotext") else {}),
    **({"docling-parse": by_docling_parse} if importlib.util.find_spec("docling_parse") else {}),
    "pdf-oxide": by_pdf_oxide,
    "pdfium": by_pdfium,
}


def tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def scored(paragraphs: list[str], text: str) -> str:
    """Order loss and missing words, as shares of the true text's words, and running lines that leak."""
    true, found = tokens(" ".join(paragraphs)), tokens(text)
    bag = sum((Counter(true) & Counter(found)).values())
    loss = (bag - LCSseq.similarity(true, found)) / len(true)
    leaks = text.count(HEADER[:14]) + text.count(FOOTER[:12])
    return f"order loss {loss:.4f}  missing {1 - bag / len(true):.4f}  leaks {leaks}"


def prose(lang: str) -> list[str]:
    least = 200 if lang == "en" else 80
    found = [
        line
        for text in documents(lang).column("text").to_pylist()
        for line in text.split("\n")
        if len(line) > least and "\t" not in line and line.isprintable()
    ]
    random.Random(11).shuffle(found)
    return found


def columns(folder: Path, fonts: list[str], paragraphs: int) -> None:
    for lang in ("en", "zh"):
        some = prose(lang)[:paragraphs]
        for count in (1, 2, 3):
            made = render(folder, f"{lang}{count}", lang, some, count, fonts)
            versions: dict[str, Rendered] = {"in order": made}
            versions |= {how: redrawn(folder, made, lang, how, fonts) for how in ("rows", "shuffled")}
            for how, version in versions.items():
                print(f"{lang}, {count} columns, {how}")
                for name, reader in READERS.items():
                    print(f"  {name:13} {scored(version.paragraphs, reader(version.path))}")


def books(folder: Path) -> None:
    """Words shared with a book's twin in HTML, whatever their order."""
    for path in sorted(folder.glob("*.pdf")):
        pages = sorted((folder / path.stem).rglob("*.html"))
        html = "\n".join(LexborHTMLParser(page.read_text(errors="replace")).body.text(separator=" ") for page in pages)
        true = tokens(html)
        print(f"{path.name}, {len(pages)} pages of HTML")
        for name, reader in READERS.items():
            begin = time.process_time()
            found = tokens(reader(path))
            took = time.process_time() - begin
            bag = sum((Counter(true) & Counter(found)).values())
            rate = len(pdfium.PdfDocument(path)) / took
            shares = f"bag recall {bag / len(true):.3f}  precision {bag / len(found):.3f}"
            print(f"  {name:13} {shares}  {rate:.0f} pages/CPU s")


def scanned(image: Image.Image, bad: bool) -> Image.Image:
    """A page as a scanner gives it; a bad one stands askew, with noise, pressed hard."""
    if not bad:
        return image
    turned = np.asarray(image.rotate(2.5, resample=Image.Resampling.BICUBIC, fillcolor=255)).astype(np.float32)
    noisy = np.clip(turned + np.random.default_rng(1).normal(0, 18, turned.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=25)
    return Image.open(stream).convert("L")


def by_tesseract(image: Image.Image, lang: str) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    command = ["tesseract", "-", "-", "-l", "chi_sim" if lang == "zh" else "eng"]
    return subprocess.run(command, input=stream.getvalue(), capture_output=True, check=True).stdout.decode()


def recognition(folder: Path, fonts: list[str], count: int) -> None:
    for lang in ("en", "zh"):
        some = prose(lang)
        made = render(folder, f"ocr-{lang}", lang, some[: count * (14 if lang == "en" else 20)], 1, fonts)
        document = pdfium.PdfDocument(made.path)
        number = min(count, len(document))
        for bad in (False, True):
            images = [scanned(document[i].render(scale=200 / 72, grayscale=True).to_pil(), bad) for i in range(number)]
            path = folder / f"ocr-{lang}-{int(bad)}.pdf"
            images[0].save(path, save_all=True, append_images=images[1:], resolution=200)
            begin = time.process_time()
            read = ours(path)
            took = (time.process_time() - begin) / number
            true = ours(made.path)[:number]
            errors = letters = 0
            for a, b in zip(true, read, strict=True):
                left, right = ("".join(page.text.split()) for page in (a, b))
                errors += Levenshtein.distance(left, right)
                letters += len(left)
            kept = sum(not page.reason for page in read)
            outside = max(page.ink_outside or 0 for page in read)
            if shutil.which("tesseract"):
                wrong = sum(
                    Levenshtein.distance("".join(a.text.split()), "".join(by_tesseract(image, lang).split()))
                    for a, image in zip(true, images, strict=True)
                )
                print(f"  tesseract CER {wrong / letters:.4f} (headers and footers are in its text)")
            what = "badly scanned" if bad else "at 200 dpi"
            told = f"CER {errors / letters:.4f}, {took:.1f} CPU s a page, {kept} trusted"
            print(f"{lang}, {number} pages {what}: {told}, most ink outside {outside:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fonts")
    parser.add_argument("books", type=Path)
    parser.add_argument("--ocr", type=int, default=0)
    parser.add_argument("--paragraphs", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        columns(Path(scratch), [arguments.fonts], arguments.paragraphs)
        books(arguments.books)
        if arguments.ocr:
            recognition(Path(scratch), [arguments.fonts], arguments.ocr)


if __name__ == "__main__":
    main()
