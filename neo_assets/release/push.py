"""A release on the Hugging Face hub: the model at the root of the repository, as everybody loads it; the whole bundle
in ``release/``, as it was signed; and a revision for each checkpoint that led to it.

What was sent is read back: the hub's own digest of every file has to be that of ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.errors import NeoError
from neo_assets.release import layout
from neo_assets.release.cards import MODEL_CARD

if TYPE_CHECKING:
    from huggingface_hub import HfApi

BUNDLE = "release"


class NotPushed(NeoError):
    """The hub does not have what was sent."""


def push(
    folder: Path,
    repository: str,
    revisions: Mapping[str, Path],
    public: bool,
    log: Callable[[str], None],
    api: HfApi | None = None,
) -> str:
    """Send a release, and a checkpoint's folder for each name in ``revisions``; returns the repository's address. What
    an earlier release had, and this one has not, is taken out of the newest revision, not of the history.

    Raises:
        NotPushed: what the hub has afterwards is not what was sent.
    """
    from huggingface_hub import HfApi

    api = api or HfApi()
    address = str(api.create_repo(repository, private=not public, exist_ok=True))
    files: dict[str, Path | bytes] = {
        f"{BUNDLE}/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    weights = folder / layout.WEIGHTS
    files |= {path.relative_to(weights).as_posix(): path for path in sorted(weights.rglob("*")) if path.is_file()}
    card = (folder / MODEL_CARD).read_text(encoding="utf-8")
    files["README.md"] = _at_the_root(card, repository).encode()
    licence = next((line for line in card.splitlines() if line.startswith("license: ")), "")
    _send(api, repository, files, None, f"Release {folder.name}", log)
    for name, place in revisions.items():
        api.create_branch(repository, branch=name, exist_ok=True)
        held: dict[str, Path | bytes] = {
            path.relative_to(place).as_posix(): path
            for path in sorted(place.rglob("*"))
            if path.is_file() and path.name not in ("manifest.json", "verdict.json")
        }
        if (own := place / "README.md").is_file() and licence:
            held["README.md"] = own.read_text(encoding="utf-8").replace("---\n", f"---\n{licence}\n", 1).encode()
        _send(api, repository, held, name, f"Checkpoint {name}", log)
    return address


def _at_the_root(card: str, repository: str) -> str:
    """The model card as it is at the root of the repository: its links, and what it says, lead into the bundle."""
    card = card.replace("](../", f"]({BUNDLE}/").replace(
        '"text-generation", "weights"', f'"text-generation", "{repository}"'
    )
    return card.replace("`README.md` beside this folder", f"`{BUNDLE}/README.md`")


def _send(
    api: HfApi,
    repository: str,
    files: Mapping[str, Path | bytes],
    revision: str | None,
    message: str,
    log: Callable[[str], None],
) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    there = [name for name in api.list_repo_files(repository, revision=revision) if name != ".gitattributes"]
    adding = [CommitOperationAdd(name, str(held) if isinstance(held, Path) else held) for name, held in files.items()]
    # What lies in two places is sent once: the hub has the first before it is asked for the second.
    api.preupload_lfs_files(repository, [one for one in adding if one.path_in_repo.startswith(f"{BUNDLE}/")])
    deleting = [CommitOperationDelete(name) for name in there if name not in files]
    api.create_commit(repository, [*adding, *deleting], commit_message=message, revision=revision)
    log(f"{revision or 'main'}: {len(files)} files; reading them back")
    _compare(api, repository, files, revision)


def _compare(api: HfApi, repository: str, files: Mapping[str, Path | bytes], revision: str | None) -> None:
    from huggingface_hub.hf_api import RepoFile

    there = {
        entry.path: (entry.lfs.sha256 if entry.lfs else "", entry.blob_id)
        for entry in api.list_repo_tree(repository, recursive=True, revision=revision)
        if isinstance(entry, RepoFile) and entry.path != ".gitattributes"
    }
    wrong = [name for name, held in files.items() if name not in there or not _is(held, *there[name])]
    wrong += [name for name in there if name not in files]
    if wrong:
        raise NotPushed(
            f"{repository} ({revision or 'main'}) does not have what was sent: {', '.join(sorted(wrong)[:5])}"
            + (f" and {len(wrong) - 5} more" if wrong[5:] else "")
        )


def _is(held: Path | bytes, sha256: str, blob: str) -> bool:
    """Whether a file is the one with this SHA-256, or, of a small one, with this digest of git's."""
    data = held.read_bytes() if isinstance(held, Path) and not sha256 else held
    if sha256:
        return (layout.sha256(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest()) == sha256
    assert isinstance(data, bytes)
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == blob
