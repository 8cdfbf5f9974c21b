"""Why an artifact is stale: what changed between what it was made from and what it would be made from now, in words."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from neo_assets.core.code import module_file
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.moved import names_today
from neo_assets.core.store import MadeFrom


def differences(before: MadeFrom, after: MadeFrom) -> list[str]:
    """One line for every config field, module, library or input that differs; empty when nothing does."""
    out = [
        f"recipe: {name}: {_told(old, new)}"
        for name, (old, new) in changed(flat(before.config), flat(after.config)).items()
    ]
    for module, (old, new) in changed(before.code, after.code).items():
        out.append(
            f"code: {name_today(module)} "
            + ("is new" if old is None else "is no longer used" if new is None else "changed")
        )
    out += [
        f"library: {name}: {old} -> {new}" for name, (old, new) in changed(before.libraries, after.libraries).items()
    ]
    if before.core_version != after.core_version:
        out.append(f"record formats: version {before.core_version} -> {after.core_version}")
    old_inputs = {name: ref.digest for name, ref in before.inputs.items()}
    new_inputs = {name: ref.digest for name, ref in after.inputs.items()}
    for name, (old, new) in changed(old_inputs, new_inputs).items():
        out.append(
            f"input: {name} "
            + (
                "is new"
                if old is None
                else "is no longer read"
                if new is None
                else f"has other content ({str(old)[:12]} -> {str(new)[:12]})"
            )
        )
    return out


_LONG = 200
"""Characters of a value that is told whole."""


def _told(old: object, new: object) -> str:
    return " -> ".join(told_values(old, new))


def told_values(old: object, new: object) -> tuple[str, str]:
    """Two values as they are told beside each other: of texts of many lines, the first that differs; of another long
    value, its beginning.
    """
    lines, others = (value.splitlines() if isinstance(value, str) else [] for value in (old, new))
    if max(len(lines), len(others)) > 1:
        pairs = enumerate(zip_longest(lines, others, fillvalue=""), 1)
        number, (before, after) = next(((n, p) for n, p in pairs if p[0] != p[1]), (len(lines), ("", "")))
        return f"line {number}: {_short(before.strip())}", _short(after.strip())
    return _short(old), _short(new)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def name_today(counted: str) -> str:
    """The name by which people find a module that is counted under another (``moved.py``)."""
    return next((name for name in names_today(counted) if module_file(name, ROOT)), counted)


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """What is not the same under a name, or is under it on one side alone."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


def flat(value: object, prefix: str = "") -> dict[str, object]:
    """Nested settings by their places: ``run.schedule.peak_lr``."""
    if isinstance(value, Mapping) and value:
        return {
            path: leaf
            for name, inner in value.items()
            for path, leaf in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
        }
    return {prefix: value}
