"""Modules that were moved, and the names they are counted under: moving a file changes no artifact.

An artifact's identity holds the names and the syntax trees of the modules that make it. A module that lies elsewhere
since says the same; so it is counted under the name, and its importers' trees with the import, that it had when
artifacts were first made of it. A module that was split or rewritten is not in here: what it makes is made again. The
table is emptied whenever :data:`~neo_assets.core.fingerprint.CORE_VERSION` is raised, since everything is made again
then.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

COUNTED_AS: Mapping[str, str] = {
    "neo_assets.clean.signal_kernels": "neo_assets.clean.kernels",
    "neo_assets.dedup.minhash_kernels": "neo_assets.dedup.kernels",
    "neo_assets.evaluate.due_checkpoints": "neo_assets.evaluate.evaluation",
    "neo_assets.quality.ngram_kernels": "neo_assets.quality.kernels",
    "neo_assets.report": "neo_assets.release",
    "neo_assets.runs": "neo_assets.pretrain",
    "neo_assets.runs.found_runs": "neo_assets.pretrain.runs",
    "neo_assets.scores": "neo_assets.evaluate",
    "neo_assets.scores.paired": "neo_assets.evaluate.compare",
    "neo_assets.scores.score_page": "neo_assets.evaluate.page",
    "neo_assets.tasks": "neo_assets.evaluate",
    "neo_assets.text.text_kernels": "neo_assets.text.kernels",
    "neo_assets.web": "neo_assets.crawl",
    "training.data": "training",
    "training.data.order": "training.data_order",
    "training.data.stream_files": "training.streams",
    "training.data.token_stream": "training.batches",
}
"""Today's name of a module or package -> the name that it is counted under."""


def counted_name(name: str) -> str:
    """The name that a module, or a function of it, is counted under."""
    longest = max((m for m in COUNTED_AS if _within(name, m)), key=len, default=None)
    return name if longest is None else COUNTED_AS[longest] + name[len(longest) :]


def names_today(counted: str) -> tuple[str, ...]:
    """The modules that may be counted under a name today, itself among them."""
    moved = (name + counted[len(before) :] for name, before in COUNTED_AS.items() if _within(counted, before))
    return (counted, *moved)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def with_counted_imports(tree: ast.Module) -> bool:
    """Put the imports of modules that were moved back to what they were, in the order they had; whether there are any.

    What is undone is what a move does to an importer that is formatted as ours are: the module's name, the alias that
    keeps the old name where the new one is another, and the place among the other imports.
    """
    found = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (name := counted_name(alias.name)) != alias.name:
                    alias.name, found = name, True
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found |= _put_back(node)
    if found:
        for node in ast.walk(tree):
            for block in (getattr(node, field, None) for field in ("body", "orelse", "finalbody")):
                if isinstance(block, list):
                    block[:] = _in_order(block)
    return found


def _put_back(node: ast.ImportFrom) -> bool:
    assert node.module is not None
    wholes = [f"{node.module}.{alias.name}" for alias in node.names]
    if any(whole in COUNTED_AS for whole in wholes):  # what is imported is itself a module that was moved
        before = [counted_name(whole).rpartition(".") for whole in wholes]
        if len({package for package, _, _ in before}) > 1:
            raise SyntaxError(f"modules of {node.module} that once were in several packages are imported in one line")
        for alias, (package, _, name) in zip(node.names, before, strict=True):
            called = alias.asname or alias.name
            node.module, alias.name, alias.asname = package, name, None if called == name else called
        node.names.sort(key=lambda alias: alias.name)
        return True
    module, node.module = node.module, counted_name(node.module)
    return node.module != module


def _in_order(block: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements with each run of imports of our own modules sorted as our formatter sorts them."""
    run: list[ast.Import | ast.ImportFrom] = []
    for statement in block:
        if isinstance(statement, ast.Import | ast.ImportFrom) and _ours(statement):
            run.append(statement)
            continue
        yield from sorted(run, key=_place)
        run = []
        yield statement
    yield from sorted(run, key=_place)


def _ours(statement: ast.Import | ast.ImportFrom) -> bool:
    names = [a.name for a in statement.names] if isinstance(statement, ast.Import) else [statement.module or ""]
    return all(name.split(".")[0] in ("neo_assets", "resources", "training") for name in names)


def _place(statement: ast.Import | ast.ImportFrom) -> tuple[bool, str, str]:
    """`import` before `from`, by module; of one module, the line of plain names before those with another name."""
    if isinstance(statement, ast.Import):
        return False, statement.names[0].name, ""
    first = statement.names[0]
    return True, statement.module or "", first.name if first.asname else ""


def counted_place(path: str) -> str:
    """The place below the root that a file which a module reads is counted under."""
    folder, _, file = path.rpartition("/")
    return f"{counted_name(folder.replace('/', '.')).replace('.', '/')}/{file}"


def places_today(counted: str) -> tuple[str, ...]:
    """The places that a file which a module reads may lie at today, by the one it is counted under."""
    folder, _, file = counted.rpartition("/")
    return tuple(f"{name.replace('.', '/')}/{file}" for name in names_today(folder.replace("/", ".")))
