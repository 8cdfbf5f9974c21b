"""Pages whose text is known, rendered by typst: one to three columns, with header, footer and page number, in the order
that a typesetter draws them, row by row, or shuffled.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pypdfium2 as pdfium
import typst

from neo_assets.extract.convert.pdf_text_layer import text_layer

HEADER, FOOTER = "Running header of the whole book", "A footer that says nothing new"
PAGE = {"en": ("a4", 10), "zh": ("a4", 10)}

_FIT = """
#let fit(width, body) = context box(width: 1000pt,
  scale(x: width / measure(body).width * 100%, origin: left, reflow: false, body))
"""
"""A piece of a line as wide as it was: it neither breaks nor runs into the next column. Boxes of no width at its ends
keep its punctuation as wide as it is within a line.
"""


@dataclass(frozen=True)
class Rendered:
    """A PDF and the paragraphs that are in it, in order; ``running``: words that are no part of the text."""

    name: str
    path: Path
    paragraphs: list[str]
    running: tuple[str, ...] = (HEADER, FOOTER)


def escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\#*_`$<>@[]=-+/~'\"" else c for c in text)


def render(folder: Path, name: str, lang: str, paragraphs: list[str], columns: int, fonts: list[str]) -> Rendered:
    """Typeset paragraphs."""
    font = '"Libertinus Serif"' if lang == "en" else '"WenQuanYi Micro Hei"'
    body = "\n\n".join(map(escaped, paragraphs))
    source = f"""
#set page(paper: "a4", columns: {columns}, margin: (x: 2cm, y: 2.4cm), header: [{HEADER} #h(1fr) Part One],
  footer: context [{FOOTER} #h(1fr) #counter(page).display()])
#set text(font: {font}, size: 10pt, lang: "{lang}")
#set par(justify: true, first-line-indent: {"2em" if lang == "zh" else "1.2em"})
{body}
"""
    path = folder / f"{name}.pdf"
    (folder / f"{name}.typ").write_text(source, encoding="utf-8")
    typst.compile(str(folder / f"{name}.typ"), output=str(path), font_paths=fonts)
    return Rendered(name, path, paragraphs)


def redrawn(folder: Path, made: Rendered, lang: str, how: str, fonts: list[str]) -> Rendered:
    """The same pages with their pieces of lines drawn in another order: ``rows``, as they stand across the page, or
    ``shuffled``.
    """
    generator = random.Random(5)
    font = '"Libertinus Serif"' if lang == "en" else '"WenQuanYi Micro Hei"'
    document = pdfium.PdfDocument(made.path)
    parts = [f'#set page(paper: "a4", margin: 0pt)\n#set text(font: {font}, size: 10pt, lang: "{lang}")\n{_FIT}']
    for number in range(len(document)):
        layer = text_layer(document[number])
        runs = list(layer.runs)
        if how == "rows":
            runs.sort(key=lambda r: (-round(r.y0), r.x0))
        else:
            generator.shuffle(runs)
        placed = [
            f"#place(top + left, dx: {run.x0:.2f}pt, dy: {layer.height - run.y1:.2f}pt,"
            f" fit({run.x1 - run.x0:.2f}pt)[#box(width: 0pt);{escaped(run.text)}#box(width: 0pt)])"
            for run in runs
        ]
        parts.append("\n".join(placed) + ("\n#pagebreak()\n" if number + 1 < len(document) else ""))
    source = folder / f"{made.name}-{how}.typ"
    source.write_text("".join(parts), encoding="utf-8")
    path = source.with_suffix(".pdf")
    typst.compile(str(source), output=str(path), font_paths=fonts)
    return Rendered(source.stem, path, made.paragraphs)
