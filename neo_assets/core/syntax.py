"""What the text of a module says: its digest, what it imports, which files it names. A pure function of the text.

Texts are told by their syntax trees, which takes 10 ms a module; definitions rest on 150 modules. What a text says is
therefore remembered by the digest of its bytes (``remembered.py``). Whoever holds a process to its code (``frozen.py``)
reads the trees themselves.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.fingerprint import digest_bytes, digest_json
from neo_assets.core.moved import with_counted_imports
from neo_assets.core.remembered import keep_of_code, recall_of_code

_IMPORTERS = ("find_spec", "import_module", "_installed")
"""Functions that import, or look for, what a string names."""


_TELLING = ("Step", "Claim", "SourceKind", "BenchmarkKind")
"""Classes whose objects say something to people about a stage (``stage.py``)."""
_WORDS = (ast.Name, ast.Attribute, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.keyword, ast.expr_context)


@dataclass(frozen=True)
class Text:
    """What a module's text says."""

    digest: str  # of the syntax tree without docstrings
    counted: str  # the same without what STEP says of the stage, and as if no module that it imports had been moved
    named: tuple[
        str, ...
    ]  # full names that it imports or looks for when it runs; what only a type checker sees is left out
    beside: tuple[str, ...]  # what may name a file beside it: strings of a module that knows its own place


def read_text(source: bytes, package: str) -> Text:
    """Read a module that lies in ``package``, from its syntax tree. Raises SyntaxError."""
    tree = ast.parse(source.decode("utf-8"))
    named, beside = sorted(set(_imported(tree, package))), sorted(set(_names_of_files(tree)))
    tree = _without_docstrings(tree)
    digest = counted = digest_bytes(ast.dump(tree).encode())
    if _drop_what_is_told(tree) | with_counted_imports(tree):
        counted = digest_bytes(ast.dump(tree).encode())
    return Text(digest, counted, tuple(named), tuple(beside))


def remembered_text(source: bytes, package: str) -> Text:
    """:func:`read_text`, of which a store remembers what it gave."""
    identity = digest_json(["text", _method(), package, digest_bytes(source)])
    if (known := recall_of_code(identity)) is not None:
        digest, counted, named, beside = json.loads(known)
        return Text(digest, counted, tuple(named), tuple(beside))
    text = read_text(source, package)
    keep_of_code(identity, json.dumps([text.digest, text.counted, text.named, text.beside]))
    return text


@functools.cache
def _method() -> str:
    """What else decides what a text says: this module, the modules that were moved, and the version of Python whose
    trees it reads.
    """
    here = Path(__file__)
    return digest_json([sys.version, *(digest_bytes(f.read_bytes()) for f in (here, here.with_name("moved.py")))])


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in _IMPORTERS:
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for statement in child.orelse:
                yield statement
                yield from _executed(statement)
        else:
            yield from _executed(child)


def _called(node: ast.Call) -> str:
    return (
        node.func.attr
        if isinstance(node.func, ast.Attribute)
        else node.func.id
        if isinstance(node.func, ast.Name)
        else ""
    )


def _names_of_files(tree: ast.Module) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.Name) and node.id == "__file__" for node in nodes):
        strings = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
        yield from (string for string in strings if re.fullmatch(r"[\w][\w./-]*", string))


def _drop_what_is_told(tree: ast.Module) -> bool:
    """Take out what a module says of its stage to people (``STEP``, and claims): a claim in better words makes nothing
    stale. What it says of code, settings and inputs is in the identity by itself.
    """
    kept = [s for s in tree.body if not _tells(s)]
    told = len(kept) < len(tree.body)
    tree.body = kept or [ast.Pass()]
    return told


def _tells(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call) and _only_names(statement.value)


def _only_names(told: ast.expr) -> bool:
    """Whether all that is told are words, names and claims: a lambda or a computed value would be code, and counts."""
    return all(
        node.func.id in _TELLING
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        else isinstance(node, _WORDS)
        for node in ast.walk(told)
    )


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        kept = [
            s
            for s in node.body
            if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) and isinstance(s.value.value, str))
        ]
        node.body = kept or [ast.Pass()]
    return tree
