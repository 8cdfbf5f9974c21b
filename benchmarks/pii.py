"""Masking of personal data: recall on planted forms in real pages, what is masked in pages where nothing was planted,
and speed.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.common import best, megabytes, row, texts
from neo_assets.core.recipe import load
from neo_assets.quality.pii_masked import _ID_CHECK, _ID_WEIGHTS, _WORTH_A_LOOK, masked

FULL = {ord(c): ord(c) + 0xFEE0 for c in "0123456789@.-+abcdefghijklmnopqrstuvwxyzX"}


def identity(generator: random.Random) -> str:
    place, born = (
        f"{generator.randrange(11, 66)}0{generator.randrange(100, 999)}",
        f"19{generator.randrange(50, 99)}{generator.randrange(1, 13):02}{generator.randrange(1, 29):02}",
    )
    first = f"{place}{born}{generator.randrange(1000):03}"
    return first + _ID_CHECK[sum(w * int(d) for w, d in zip(_ID_WEIGHTS, first, strict=True)) % 11]


def card(generator: random.Random) -> str:
    digits = [4, *(generator.randrange(10) for _ in range(14))]
    total = sum(d if i % 2 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits)))
    text = "".join(map(str, [*digits, -total % 10]))
    return " ".join(text[i : i + 4] for i in range(0, 16, 4))


FORMS = {
    "e-mail": lambda g: f"{g.choice('abcdefgh')}{g.randrange(10**6)}@mail{g.randrange(99)}.net",
    "e-mail, full width": lambda g: f"user{g.randrange(10**6)}@mail{g.randrange(99)}.net".translate(FULL),
    "mobile, China": lambda g: f"1{g.choice('3456789')}{g.randrange(10**9):09}",
    "mobile, China, spaced": lambda g: (
        f"+86 1{g.choice('3456789')}{g.randrange(10)} {g.randrange(10**4):04} {g.randrange(10**4):04}"
    ),
    "mobile, China, full width": lambda g: f"1{g.choice('3456789')}{g.randrange(10**9):09}".translate(FULL),
    "landline, China": lambda g: f"0{g.randrange(10, 999)}-{g.randrange(2 * 10**6, 9 * 10**7)}",
    "phone, international": lambda g: f"+44 20 {g.randrange(1000, 9999)} {g.randrange(1000, 9999)}",
    "phone, North America": lambda g: f"({g.randrange(201, 989)}) {g.randrange(201, 989)}-{g.randrange(1000, 9999)}",
    "identity card, China": identity,
    "identity card, full width": lambda g: identity(g).translate(FULL),
    "payment card": card,
    "IPv4": lambda g: f"{g.randrange(60, 90)}.{g.randrange(256)}.{g.randrange(256)}.{g.randrange(1, 255)}",
}


def main() -> None:
    signs = {str(kind): sign for kind, sign in load().pii_masked["en"].placeholders.items()}
    for lang in ("en", "zh"):
        pages, generator = texts(lang), random.Random(1)
        print(f"{lang}: {len(pages):,} real pages")
        for name, make in FORMS.items():
            secrets = [make(generator) for _ in range(300)]
            gone = 0
            for secret in secrets:
                page = generator.choice(pages)[:2000]
                place = generator.randrange(len(page) + 1)
                while (
                    0 < place < len(page)
                    and (page[place - 1].isalnum() or page[place].isalnum())
                    and page[place - 1].isascii()
                ):
                    place -= 1
                gap = "，" if lang == "zh" else " "
                gone += secret not in masked(f"{page[:place]}{gap}{secret}{gap}{page[place:]}", signs)[0]
            print(f"  {name:<28} recall {gone / len(secrets):.3f}")
        array = pa.array(pages, pa.string())

        def run() -> Counter[str]:
            found: Counter[str] = Counter()
            worth_a_look = pc.match_substring_regex(array, _WORTH_A_LOOK)  # noqa: B023
            for i in np.flatnonzero(worth_a_look.to_numpy(zero_copy_only=False)):
                found += masked(pages[i], signs)[1]  # noqa: B023
            return found

        seconds, found = best(run)
        row("masking, pre-filter included", megabytes(pages), seconds, len(pages))
        print(f"  masked where nothing was planted: {dict(found)}")


if __name__ == "__main__":
    main()
