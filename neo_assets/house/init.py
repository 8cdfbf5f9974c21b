"""`neo init`: a recipe for somebody's own text, written after a look at it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
import yaml

from neo_assets.core import records
from neo_assets.core.errors import BadInput, NeoError
from neo_assets.core.recipe import load
from neo_assets.core.recipe.load import DEFAULT_RECIPE, RECIPES
from neo_assets.core.terminal import dagster_job, program
from neo_assets.core.words import counted
from neo_assets.core.words import size as spoken_size
from neo_assets.crawl.input_files import is_remote

if TYPE_CHECKING:
    from neo_assets.house.kept import Kept
    from neo_assets.house.look import Looked

BASE = "_own"
LANGUAGES = ("en", "zh")
"""Languages that the base recipe cleans; another is a day's work (docs/howto.md)."""
WORTH = 0.05
"""Share of the text from which on a language is trained on."""
LITTLE = 0.3
"""Share of the text that the rules keep below which it is said that this is little."""
LEFT = 0.6
"""Ours: of what the rules keep, this share is left to train on by de-duplication and the held-out documents, more or
less: .43 to .8 of three texts that were built.
"""
BYTES_A_TOKEN = 3.4
BYTES_A_PIECE = 400
EPOCHS, STEPS = 3.0, (40, 350)
DECAY = 120 / 350
"""Steps of the second phase for each of the first, as in the demo."""
PIECES = {"en": (800, 6000), "zh": (3200, 6000)}
"""Least and most pieces of a tokenizer: Chinese needs its characters."""


@dataclass(frozen=True)
class Choice:
    """What is written into a recipe, and why."""

    value: int
    why: str


@dataclass(frozen=True)
class Chosen:
    """Everything that is written into a recipe. ``size``: bytes of text that there are, more or less; ``told``: how the
    languages were found; ``kept``: by language, what the rules leave.
    """

    name: str
    looked: Sequence[Looked]
    licence: str
    size: int
    languages: Sequence[str]
    told: str
    kept: Mapping[str, Kept]
    pieces: Choice
    steps: Choice


def init(
    name: Annotated[str, typer.Argument(help="of the recipe: recipes/NAME.yaml is written")],
    of_folder: Annotated[Path | None, typer.Option("--folder", help="pages, documents or rows, below a folder")] = None,
    url: Annotated[str | None, typer.Option(help="a site, which is not fetched yet")] = None,
    jsonl: Annotated[list[str] | None, typer.Option(help="JSON lines, also packed; again for more")] = None,
    parquet: Annotated[list[str] | None, typer.Option(help="Parquet; again for more")] = None,
    text_field: Annotated[
        str | None, typer.Option(help="of rows, the field that holds the text; the likeliest if left out")
    ] = None,
    warc: Annotated[list[str] | None, typer.Option(help="WARC or WET files; again for more")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="en, zh; again for both; those found if left out")] = None,
    licence: Annotated[str, typer.Option(help="whose text it is: SPDX expression or a name")] = "unknown",
) -> None:
    """Look at your text and write a recipe for it that runs; say what was chosen and why."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name):
        raise BadInput(f"'{name}' is no name of a recipe: small letters, digits, '_' and '-'")
    target = RECIPES / f"{name}.yaml"
    if target.exists():
        raise BadInput(f"{target} is there already: take another name, or remove it")
    if unknown := sorted(set(lang or ()) - set(LANGUAGES)):
        raise BadInput(f"--lang {', '.join(unknown)}: the base recipe cleans {' and '.join(LANGUAGES)} (docs/howto.md)")
    looked = _looked(of_folder, url, [*(jsonl or ()), *(parquet or ())], text_field, warc or [], name)
    chosen = _chosen(name, looked, lang, licence)
    records.write_text(target, _written(chosen))
    try:
        load(name)
    except NeoError:
        target.unlink()
        raise
    _say(target, chosen)
    if _nothing_left(chosen):
        raise BadInput(
            f"{target} is written, but its rules leave nothing of the texts that were looked at, and a build would end"
            " there: give it more text, or switch rules off under `clean` in it"
        )


def _nothing_left(chosen: Chosen) -> bool:
    """Whether the rules drop all that was looked at."""
    return bool(chosen.kept) and not any(judged.share for judged in chosen.kept.values())


def _chosen(name: str, looked: Sequence[Looked], asked: Sequence[str] | None, licence: str) -> Chosen:
    size = sum(source.text_size for source in looked)
    found: Counter[str] = Counter()
    for source in looked:
        found.update(source.languages)
    languages, told = _languages(asked, found)
    kept = _kept(looked, languages)
    left = _left(size, found, kept)
    return Chosen(name, looked, licence, size, languages, told, kept, _pieces(left, languages), _steps(left))


def _say(target: Path, chosen: Chosen) -> None:
    """What was seen, what was chosen and why, and what to type next."""
    neo = program("neo")
    print(f"{target} written.\n")
    for source in chosen.looked:
        kind = str(source.section["kind"])
        amount = (
            f"{counted(source.files, 'file')}, about {spoken_size(source.text_size)} of text"
            if source.files
            else "not fetched yet"
        )
        print(f"  {kind:12} {amount}")
        for note in source.notes:
            print(f"  {'':12} {note}")
    print(f"  {'languages':12} {', '.join(chosen.languages)}: {chosen.told}")
    for language, judged in chosen.kept.items():
        print(f"  {'rules':12} {language}: {_spoken(judged)}")
        if 0 < judged.share < LITTLE:
            print(
                f"  {'':12} that is little: after a build `{neo} sample RULE` shows what went; rules are switched"
                " off under `clean` in the recipe"
            )
    print(f"  {'vocabulary':12} {chosen.pieces.value:,}: {chosen.pieces.why}")
    print(f"  {'steps':12} {chosen.steps.value:,}: {chosen.steps.why}")
    if chosen.licence == "unknown":
        print(f"  {'licence':12} unknown: say whose text it is in the recipe; it is copied to every document")
    if _nothing_left(chosen):
        return
    print("\nNext:")
    steps = (
        (f'eval "$({neo} home {chosen.name})"', "a Dagster instance of its own for this recipe"),
        (f"{neo} plan", "what would be built, and what it takes"),
        (dagster_job("factory"), "build it"),
        (f"{neo} summary", "what the model writes, scores, gates, where the report is"),
    )
    width = max(len(command) for command, _ in steps)
    for command, meaning in steps:
        print(f"  {command:{width}}  {meaning}")


def _typed(path: str) -> str:
    """A path as somebody typed it here, as a recipe may be read from anywhere; remote ones as they are."""
    return path if is_remote(path) else str(Path(path).expanduser().absolute())


def _looked(
    of_folder: Path | None, url: str | None, files: list[str], text_field: str | None, warcs: list[str], name: str
) -> list[Looked]:
    from neo_assets.house import look  # compiles what reads pages

    base = load(DEFAULT_RECIPE)  # which takes these sections over from the same base
    given = [bool(of_folder), bool(url), bool(files), bool(warcs)]
    if sum(given) != 1:
        raise BadInput(
            "say where the text is, once: --folder DIR, --url URL, --jsonl FILE, --parquet FILE or --warc FILE"
        )
    if text_field and not files:
        raise BadInput("--text-field is of rows: it goes with --jsonl or --parquet")
    if of_folder:
        host = f"{name.replace('_', '-')}.example"
        return look.folder(of_folder.expanduser().resolve(), host, base.documents, base.extract)
    files, warcs = [_typed(path) for path in files], [_typed(path) for path in warcs]
    if files:
        return [look.records(files, base.documents, text_field=text_field)]
    if warcs:
        return [look.archives(warcs, base.documents, base.extract)]
    parts = urlsplit(str(url))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"'{url}' is no web address: https://www.example.org/")
    host = parts.hostname.removeprefix("www.")
    section: dict[str, object] = {"kind": "crawl", "seeds": [str(url)], "allowed_domains": [host], "max_pages": 2000}
    return [look.Looked(section, 0, 0)]


def _languages(asked: Sequence[str] | None, found: Counter[str]) -> tuple[list[str], str]:
    """(languages, why) of what was asked for, or of what was found."""
    whole = sum(found.values())
    shares = (
        ", ".join(f"{lang} {n / whole:.0%}" for lang, n in found.most_common(4) if n >= 0.01 * whole) if whole else ""
    )
    if asked:
        return [lang for lang in LANGUAGES if lang in asked], "as you say" + (f"; found: {shares}" if shares else "")
    if not whole:
        return list(LANGUAGES), "nothing was read yet; take one out if the text has none of it"
    chosen = [lang for lang in LANGUAGES if found[lang] >= WORTH * whole]
    if not chosen:
        raise BadInput(f"the text is neither English nor Chinese (found: {shares}); --lang says it anyhow")
    return chosen, f"found: {shares}"


def _pieces(left: int | None, languages: Sequence[str]) -> Choice:
    least, most = PIECES["zh" if "zh" in languages else "en"]
    if left is None:
        return Choice(most, "as in the demo; lower it where the tokenizer says that there is too little text")
    value = min(most, max(least, round(left / BYTES_A_PIECE, -2)))
    return Choice(
        int(value),
        f"about one piece for {BYTES_A_PIECE} bytes of what is left, at least {least:,} and at most {most:,}",
    )


def _kept(looked: Sequence[Looked], languages: Sequence[str]) -> dict[str, Kept]:
    """What the base recipe's rules would leave of the texts that were looked at, by language."""
    from neo_assets.house.kept import kept_of

    clean = load(DEFAULT_RECIPE).clean
    texts = {lang: [text for source in looked for text in source.texts.get(lang, ())] for lang in languages}
    return {lang: kept_of(those, lang, getattr(clean, lang)) for lang, those in texts.items() if those}


def _left(size: int, found: Counter[str], kept: Mapping[str, Kept]) -> int | None:
    """Bytes that are left to train on, more or less; None where nothing was read."""
    whole = sum(found.values())
    if not whole:
        return None
    return int(size * sum(found[lang] / whole * judged.share for lang, judged in kept.items()) * LEFT)


def _spoken(judged: Kept) -> str:
    told = f"{judged.share:.0%} of the text passes"
    if judged.drop:
        told += "; most of the others go by " + ", ".join(f"{r} ({n:.0%})" for r, n in list(judged.drop.items())[:3])
    if judged.lifted:
        told += f"; {', '.join(judged.lifted)} are off: {judged.short:.0%} of these texts are too short for them"
    return told


def _steps(left: int | None) -> Choice:
    if left is None:
        return Choice(STEPS[1], "as in the demo, some minutes on two cores")
    if left == 0:
        return Choice(STEPS[0], "the least there is: the rules leave nothing of the texts that were looked at")
    tokens = left / BYTES_A_TOKEN
    wanted = math.ceil(EPOCHS * tokens / 4096)
    value = min(STEPS[1], max(STEPS[0], wanted))
    why = f"{value * 4096 / tokens:.1f} times through some {tokens / 1e6:.2f} million tokens"
    return Choice(value, why + ("; more steps learn more" if wanted > value else ""))


def _written(chosen: Chosen) -> str:
    """The recipe, with what was seen beside what was chosen."""
    name, looked, languages = chosen.name, chosen.looked, chosen.languages
    pieces, steps, size = chosen.pieces, chosen.steps, chosen.size
    sources = {
        ("ours" if len(looked) == 1 else f"ours_{source.section['kind']}"): source.section
        | {"licence": chosen.licence, "snapshot": "1"}
        for source in looked
    }
    gone = [lang for lang in LANGUAGES if lang not in languages]
    decay = max(20, round(steps.value * DECAY))
    out = [
        f"# Written by `neo init {name}`: what it saw stands beside what it chose. All other settings, with their",
        f"# sources, are in {BASE}.yaml.",
        f"extends: {BASE}",
        f"name: {name.replace('-', '_')}",
        f"description: our own text, about {spoken_size(size)}" if size else "description: our own site",
        f"languages: [{', '.join(languages)}]".ljust(32) + f"  # {chosen.told}",
        "",
        _yaml({"sources": sources}) + "  # write another `snapshot` to have it read, or fetched, again",
        "",
        "tokenizer:",
        f"  vocab_size: {pieces.value}".ljust(32) + f"  # {pieces.why}",
        "",
        "runs:",
        "  main:",
        f"    steps: {steps.value}".ljust(32) + f"  # {steps.why}",
        f"    checkpoint_every: {max(1, math.ceil(steps.value / 5))}",
        "  decay:",
        f"    steps: {decay}".ljust(32) + "  # a third of the first phase, about",
        f"    checkpoint_every: {decay}",
        f"    schedule: {{half_life_steps: {max(1, decay // 5)}}}".ljust(32) + "  # a fifth, so that the rate ends low",
    ]
    out += _clean(chosen.kept)
    if gone:
        nulls = ", ".join(f"{lang}: null" for lang in gone)
        out += [
            "",
            "mixture:".ljust(32) + f"  # without {', '.join(gone)}; their tasks and gates are left out by themselves",
            f"  fundamental: {{rounds: {{{nulls}}}}}",
            f"  decay: {{rounds: {{{nulls}}}}}",
        ]
    return "\n".join(out) + "\n"


def _clean(kept: Mapping[str, Kept]) -> list[str]:
    """The section of rules: those that are off, and where little passes, how those that drop most would be."""
    out, hints = [], []
    for lang, judged in kept.items():
        off = ", ".join(f"{rule}: null" for rule in judged.lifted)
        most = ", ".join(f"{rule}: null" for rule in list(judged.drop)[:2])
        if off:
            out.append(f"  {lang}: {{{off}}}  # {judged.short:.0%} of the texts looked at are too short for them")
        if judged.share < LITTLE and most:
            both = f"{off}, {most}" if off else most
            hints.append(f"#  {lang}: {{{both}}}")
    section = ["", "clean:", *out] if out else []
    if hints:
        begin = "# In place of the section above" if out else "# Without the # before these lines"
        section += ["", f"{begin}, more would pass: these rules drop most of what is dropped.", "#clean:", *hints]
    return section


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=160).rstrip()
