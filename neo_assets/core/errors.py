"""The few errors a user of the factory meets; each message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeoError(Exception):
    """Base of every error that is the user's to solve; command lines print it without a traceback."""


class RecipeError(NeoError):
    """A recipe that cannot be used: names the file, the line and the field."""


class BadInput(NeoError):
    """Input data that cannot be used: names the file, the record and the reason."""


class Unreachable(NeoError):
    """A site that did not answer: nothing is wrong with the recipe, and what was fetched before is kept."""


class MissingUpstream(NeoError):
    """An artifact was asked for before what it is made from exists."""


class RefusedArtifact(NeoError):
    """An artifact did not pass its own blocking checks; nothing may be made from it."""


class DamagedArtifact(NeoError):
    """Files on disk do not agree with their manifest."""


class JobFailed(NeoError):
    """A job ended without success, after all its attempts."""


class ChangedCode(NeoError):
    """Code, libraries or Python are not those that something was asked with."""


class MachineLacks(NeoError):
    """Something this machine does not have (a program, a right, a device), and what to do about it."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known words, with a space before it; or nothing."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""
