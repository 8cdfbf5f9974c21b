"""Recall of decontamination on planted items, by how they were written, and what it throws away that was not planted.

Items: the benchmarks the recipe names, both languages, and as many held-out-like questions cut from real pages. Each is
planted once in a real page in each disguise. Speed is of the search alone, on all real pages.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable

import pyarrow as pa

from benchmarks.common import best, megabytes, row, texts
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.quality.decontaminated import build_index, overlaps
from neo_assets.text.searched import read_searched


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isdigit() else c for c in text)


def wrapped(text: str) -> str:
    return (
        "\n    ".join(textwrap.wrap(text, 30))
        if " " in text
        else "\n".join(text[i : i + 10] for i in range(0, len(text), 10))
    )


def other_marks(text: str) -> str:
    return "".join(" - " if c in ",;:，；：" else "!" if c in "?？." else c for c in text)


def one_word_changed(text: str) -> str:
    parts = text.split(" ") if " " in text else list(text)
    parts[len(parts) // 2] = "another" if " " in text else "别"
    return (" " if " " in text else "").join(parts)


DISGUISES: dict[str, Callable[[str], str]] = {
    "verbatim": lambda t: t,
    "upper case": str.upper,
    "other punctuation": other_marks,
    "full-width digits": full_width,
    "line-wrapped": wrapped,
    "one word changed": one_word_changed,
}


def main() -> None:
    recipe = load()
    benchmarks = Store(store_root()).head(recipe.name, "benchmark_items")
    for lang in ("en", "zh"):
        generator = random.Random(1)
        pages = texts(lang)
        settings = recipe.decontaminated[lang]
        shipped = [item for item in read_searched(benchmarks) if item[0].startswith(f"general_{lang}/")]
        sources = generator.sample([p for p in pages if len(p) > 600], 200)
        cut = []
        for i, page in enumerate(sources):
            sentence = max(page.replace("。", "。\n").replace(". ", ".\n").split("\n"), key=len).strip()
            cut.append((f"cut/{i}", sentence[:300], ""))
        index = build_index(shipped + cut, settings)
        looked_for = {item.name for item in index.items}
        planted = [(n, q if len(q) > 0 else a, a) for n, q, a in shipped + cut if n in looked_for]
        print(
            f"{lang}: {len(planted)} items looked for, {len(index.too_short)} too short ({settings.min_tokens} tokens)"
            " or all of shared phrases"
        )
        hosts = [p for p in pages if p not in sources]
        for name, disguise in DISGUISES.items():
            made = [
                f"{generator.choice(hosts)[:1500]}\n{disguise(q)} {a}\n{generator.choice(hosts)[:500]}"
                for _, q, a in planted
            ]
            found = overlaps(pa.array(made, pa.string()), index)
            hit = sum(share > settings.max_overlap for share, _ in found)
            right = sum(
                share > settings.max_overlap and best_name == n
                for (share, best_name), (n, *_) in zip(found, planted, strict=True)
            )
            print(f"  {name:<20} recall {hit / len(planted):.3f}   the right item named {right / len(planted):.3f}")
        only_shipped = build_index(shipped, settings)
        seconds, found = best(lambda: overlaps(pa.array(pages, pa.string()), only_shipped))  # noqa: B023
        row("search for the shipped items in all real pages", megabytes(pages), seconds, len(pages))
        print(
            "  real pages dropped though nothing was planted:"
            f" {sum(share > settings.max_overlap for share, _ in found)} of {len(pages):,}"
        )


if __name__ == "__main__":
    main()
