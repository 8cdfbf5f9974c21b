"""What an artifact *is*: digests of content, fingerprints of what makes it, and the code that counts.

Two words, kept apart everywhere:

* a **digest** is a hash of content (a file, a table, a configuration);
* a **fingerprint** is a hash of everything that makes an artifact, and is the name of its folder.

Code counts by its syntax tree with docstrings dropped, so a comment or a reworded docstring makes nothing stale. Only modules
reachable by imports from the stage's own function count: a changed Chinese rule leaves English artifacts alone. The schema and io
modules in ``neo_assets.core`` are left out of that walk and count by :data:`CORE_VERSION` instead; raise it when a change there
alters what stages write. The price of this choice is that somebody must remember to raise it; a new recipe field, on the
other hand, does not throw away every artifact on disk.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import xxhash

CORE_VERSION = 2
"""Version of the record formats and of the store; part of every fingerprint."""

ROOT = Path(__file__).resolve().parents[2]
COUNTED_PACKAGES = ("neo_assets", "training")
COUNTED_BY_VERSION = ("neo_assets.core", "neo_assets.declare")
_CHUNK = 1 << 20


def digest_bytes(data: bytes) -> str:
    """128-bit BLAKE2b of ``data`` as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_json(value: object) -> str:
    """Digest of a JSON-able value in canonical form (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_bytes(text.encode())


def digest_file(path: Path) -> str:
    """128-bit BLAKE2b of a file's bytes, read in 1 MiB chunks."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


class MultisetDigest:
    """Digest of a collection of records that does not depend on their order or on how they are cut into shards.

    Each record contributes its 128-bit xxh3 hash, added modulo 2**128; the count and the sum together are hashed. It guards
    against accidents, not against an adversary who may choose records freely.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, record: bytes) -> None:
        self.count += 1
        self._sum = (self._sum + xxhash.xxh3_128_intdigest(record)) % (1 << 128)

    def add_row(self, values: Iterable[object]) -> None:
        """Add one record given as values; ``None`` and the empty string stay apart, and no separator can be forged."""
        parts = [b"\x00" if v is None else b"\x01" + str(v).encode("utf-8", "surrogatepass") for v in values]
        self.add(b"".join(len(p).to_bytes(8, "little") + p for p in parts))

    def add_many(self, data: memoryview, begins: Sequence[int]) -> None:
        """Add the records ``data[begins[i] : begins[i + 1]]``."""
        hashed = xxhash.xxh3_128_intdigest
        self._sum = (self._sum + sum(hashed(data[a:b]) for a, b in pairwise(begins))) % (1 << 128)
        self.count += len(begins) - 1

    def add_sum(self, count: int, total: int) -> None:
        """Add what another digest counted: its ``count`` and ``total``."""
        self.count += count
        self._sum = (self._sum + total) % (1 << 128)

    @property
    def total(self) -> int:
        return self._sum

    def hexdigest(self) -> str:
        return digest_json([self.count, self._sum])


# ------------------------------------------------------------------ code


def _module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    if base.with_suffix(".py").is_file():
        return base.with_suffix(".py")
    if (base / "__init__.py").is_file():
        return base / "__init__.py"
    return None


def _is_ours(name: str) -> bool:
    return name.split(".")[0] in COUNTED_PACKAGES


def _counts_by_version(name: str) -> bool:
    return any(name == p or name.startswith(p + ".") for p in COUNTED_BY_VERSION)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        kept = [
            statement for statement in node.body if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str))
        ]
        node.body = kept or [ast.Pass()]
    return tree


@functools.cache
def _module_facts(name: str) -> tuple[str, tuple[str, ...]]:
    """(digest of the module's syntax tree, names of our modules it imports)."""
    path = _module_file(name)
    if path is None:
        raise ModuleNotFoundError(f"no source file for {name} under {ROOT}")
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imported: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            imported.add(base)
            imported.update(f"{base}.{alias.name}" for alias in node.names)
    ours = sorted(m for m in imported if _is_ours(m) and _module_file(m) is not None)
    return digest_bytes(ast.dump(_without_docstrings(tree)).encode()), tuple(ours)


def code_reachable_from(roots: Iterable[str]) -> dict[str, str]:
    """Digest per module of ours that can be reached by imports from the modules named in ``roots``.

    Modules of :data:`COUNTED_BY_VERSION` are neither listed nor entered.
    """
    found: dict[str, str] = {}
    waiting = sorted(set(roots))
    while waiting:
        name = waiting.pop()
        if name in found or _counts_by_version(name):
            continue
        found[name], imports = _module_facts(name)
        waiting.extend(imports)
    return dict(sorted(found.items()))


def code_of(function: Callable[..., object]) -> dict[str, str]:
    """Code behind a stage function: the modules it can reach, and its own name, since a module may hold two stages."""
    return {**code_reachable_from([function.__module__]), "stage": f"{function.__module__}.{function.__qualname__}"}


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of the distributions that can change a result. Raises ``PackageNotFoundError`` if one is missing."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in sorted(names)}


def code_version(config: Mapping[str, object], code: Mapping[str, str], libraries: Mapping[str, str]) -> str:
    """Dagster's ``code_version``: everything about an artifact that is known before its inputs are."""
    return digest_json({"core": CORE_VERSION, "config": config, "code": code, "libraries": libraries})[:16]


def artifact_fingerprint(version: str, inputs: Mapping[str, str]) -> str:
    """Folder name of an artifact: its code version and the content digests of what it read."""
    return digest_json({"code_version": version, "inputs": inputs})
