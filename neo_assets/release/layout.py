"""What lies where in a release, for those who write and those who verify one.

README.md                         what this is, and how it is checked with nothing but sha256sum and openssl
release.json                      run, step, artifacts by what they are here, what could not be followed
weights/                          the model as Hugging Face has them, tokenizer included
recipe/recipe.yaml                every setting that changes a result, resolved
manifests/‹key›/‹fingerprint›.json       of every artifact that it was made from: config, code, libraries, inputs
certificates/‹run›/‹step›/        certificate and loss history of the checkpoints that led to it
ledger/‹phase›/                   which document stands where in a token stream; offsets; not the tokens
                                  (‹phase›-‹fingerprint› where an earlier part of the training read it as it was then)
ledger/documents.parquet          address, source and licence of every document of the training pool; not the text; of
                                  one that was withdrawn no address, and that it was
ledger/funnel.json                what every stage kept and dropped
scores/‹run›/, scores/comparisons.json
code/                             our modules, as they were run
paper/paper.md                    MAP-Neo's statements beside this recipe's and what was measured, compiled; CC-BY-4.0
paper/statements.yaml, written.json      those statements with their sources; reasons that the recipe's own file gives
cards/, weights/README.md         data card, EU summary, openness; model card: compiled from all of the above
SHA256SUMS                        of all of these
SHA256SUMS.sig, public.pem        its signature, as `openssl dgst -sha256 -verify` takes it, and the key's other half
model.sig                         the same key over all files, as OpenSSF's `model_signing verify` takes it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

README, RELEASE, SUMS = "README.md", "release.json", "SHA256SUMS"
SIGNATURE, PUBLIC, MODEL_SIGNATURE = "SHA256SUMS.sig", "public.pem", "model.sig"
SIGNING = (SIGNATURE, PUBLIC, MODEL_SIGNATURE)
WEIGHTS, MANIFESTS, CERTIFICATES, LEDGER, SCORES = "weights", "manifests", "certificates", "ledger", "scores"
CODE = "code"
RECIPE, DOCUMENTS, FUNNEL = "recipe/recipe.yaml", "ledger/documents.parquet", "ledger/funnel.json"
COMPARISONS = "scores/comparisons.json"
OF_A_STREAM = ("stream.json", "offsets.npy", "masked.npy", "index/")
"""Files of a token stream that say which document stands where; the tokens are its text."""
OF_A_CHECKPOINT = ("certificate.json", "metrics.parquet")


def manifest_file(key: str, fingerprint: str) -> str:
    return f"{MANIFESTS}/{key}/{fingerprint}.json"


def sums_text(sums: Mapping[str, str]) -> str:
    """``SHA256SUMS`` as ``sha256sum -c`` reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def read_sums(text: str) -> dict[str, str]:
    """Raises ValueError for a line that is none."""
    found = {}
    for line in text.splitlines():
        digest, gap, name = line.partition("  ")
        if not gap or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ValueError(f"not a line of {SUMS}: {line[:80]!r}")
        found[name] = digest
    return found


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def two_digests(path: Path) -> tuple[str, str]:
    """(SHA-256 of a file, and the 128-bit BLAKE2b that manifests have), read once."""
    sha, blake = hashlib.sha256(), hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            sha.update(chunk)
            blake.update(chunk)
    return sha.hexdigest(), blake.hexdigest()
