"""PDFs made by hand: text at given places, so that what is in them is known to the letter."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Page:
    """Pieces of text, (x, y, text), in the order in which they are drawn, in points from the lower left corner."""

    pieces: Sequence[tuple[float, float, str]]
    size: float = 10
    rotate: int = 0


def pdf(pages: Sequence[Page], extra: Sequence[bytes] = ()) -> bytes:
    """A PDF in Helvetica, and in a Chinese font that is not embedded where a piece is not ASCII."""
    objects: list[bytes] = [b"", b""]
    fonts = [
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        b"<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[5 0 R]>>",
        b"<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>/DW 1000/FontDescriptor 6 0 R>>",
        b"<</Type/FontDescriptor/FontName/STSong-Light/Flags 6/FontBBox[-25 -254 1000 880]/ItalicAngle 0/Ascent 880"
        b"/Descent -120/CapHeight 880/StemV 93>>",
    ]
    objects += fonts
    kids = []
    for page in pages:
        drawn = []
        for x, y, text in page.pieces:
            if text.isascii():
                escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
                drawn.append(f"BT /F {page.size} Tf {x} {y} Td ({escaped}) Tj ET")
            else:
                drawn.append(f"BT /C {page.size} Tf {x} {y} Td <{text.encode('utf-16-be').hex()}> Tj ET")
        body = zlib.compress("\n".join(drawn).encode())
        objects.append(b"<</Length %d/Filter/FlateDecode>>stream\n" % len(body) + body + b"\nendstream")
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Rotate %d/Contents %d 0 R"
            b"/Resources<</Font<</F 3 0 R/C 4 0 R>>>>>>" % (page.rotate, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[0] = b"<</Type/Catalog/Pages 2 0 R>>"
    objects[1] = b"<</Type/Pages/Kids[" + b" ".join(kids) + b"]/Count %d>>" % len(kids)
    return written(objects)


def written(objects: Sequence[bytes]) -> bytes:
    """A file of these objects; the first is its catalog."""
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + head + table + tail


def bomb(size: int = 300_000_000) -> bytes:
    """A small file whose page unpacks to so many bytes of drawing."""
    piece = b"(a) Tj 1 0 Td "
    body = zlib.compress(b"BT /F 10 Tf " + piece * (size // len(piece)) + b"ET", 9)
    return written(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
            b"<</Length %d/Filter/FlateDecode>>stream\n" % len(body) + body + b"\nendstream",
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        ]
    )
