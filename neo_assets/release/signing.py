"""The two signatures of a release, by one key: of its list of sums, for openssl; of all files, for OpenSSF's tool."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.errors import BadInput
from neo_assets.release import layout

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


def sign(folder: Path, key: Path) -> None:
    """Write ``SHA256SUMS.sig``, ``public.pem`` and ``model.sig``. Raises BadInput for a key of another kind."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = private_key(key)
    sums = (folder / layout.SUMS).read_bytes()
    (folder / layout.SIGNATURE).write_bytes(private.sign(sums, ec.ECDSA(hashes.SHA256())))
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / layout.PUBLIC).write_bytes(public)
    from model_signing import hashing, signing

    target = folder / layout.MODEL_SIGNATURE
    hashed = hashing.Config().set_ignored_paths(paths=[target], ignore_git_paths=False)
    signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(hashed).sign(folder, target)


def private_key(key: Path) -> EllipticCurvePrivateKey:
    """The key that a file holds. Raises BadInput where it is of another kind, or what signs is not installed."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if importlib.util.find_spec("model_signing") is None:
        raise BadInput("signing a release needs the extra: pip install -e '.[release]'")
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{key}: no private key in PEM that can be read ({error})") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise BadInput(f"{key}: not a key of the curve P-256, which model signing takes")
    return private
