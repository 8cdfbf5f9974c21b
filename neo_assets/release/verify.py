"""Whether a release is what it says: everything that a stranger can recompute, and plainly what he cannot.

Needs no store, no network, and never unpickles: standard library, `cryptography`, and pyarrow for its tables. Every
claim ends as *proven* (recomputed here), *refuted* (recomputed, and it is not so), *reproducible* (with the command
that would show it) or *claimed* (nothing here shows it).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.release import layout
from neo_assets.release.claims import CLAIMED, PROVEN, REFUTED, SHOWN, Bundle, Claim
from neo_assets.release.recomputed import not_shown, recomputed

_PAYLOAD = "application/vnd.in-toto+json"


def verify_release(folder: Path, key: Path | None = None) -> list[Claim]:
    """Everything that a release claims. ``key``: its owner's public key, from elsewhere. Raises BadInput where the
    folder is no release.
    """
    if not (folder / layout.SUMS).is_file():
        raise BadInput(f"{folder} is no release: it has no {layout.SUMS}")
    bundle = _opened(folder)
    claims = [_files(bundle), *_signatures(bundle, key)]
    if claims[0].verdict == REFUTED:
        claims.append(Claim("what the files say", CLAIMED, "not looked at: they are not the files that were released"))
        return claims
    try:
        for claim in recomputed(bundle):
            claims.append(claim)
    except Exception as error:  # whatever a forged file makes a reader raise is an answer, not a crash
        if isinstance(error, KeyError) and bundle.told and "worded" not in bundle.told:
            told = f"an earlier version of NeoFoundry made it (it has no {error}): that version's `neo verify-release`"
            claims.append(Claim("what else the files say", CLAIMED, told))
        else:
            claims.append(Claim("the bundle is complete", REFUTED, f"{type(error).__name__}: {error}"))
    return [*claims, *not_shown(bundle)]


# ------------------------------------------------------------------ files and signatures


def _opened(folder: Path) -> Bundle:
    names = [name for name in _names(folder) if name not in layout.SIGNING and (folder / name).is_file()]
    digests = {n: layout.two_digests(folder / n) for n in names if not (folder / n).is_symlink()}
    return Bundle(folder, {n: d[0] for n, d in digests.items()}, {n: d[1] for n, d in digests.items()})


def _names(folder: Path) -> list[str]:
    """Every file, link and empty folder below, hidden ones too."""
    found = []
    for place, folders, files in os.walk(folder):
        here = Path(place).relative_to(folder)
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [(here / name).as_posix() for name in (*files, *links)]
        if not folders and not files:
            found.append(f"{here.as_posix()}/")
    return sorted(found)


def _files(bundle: Bundle) -> Claim:
    claim, folder = "every file is the one that was released", bundle.folder
    try:
        listed = layout.read_sums((folder / layout.SUMS).read_text(encoding="utf-8"))
    except ValueError as error:
        return Claim(claim, REFUTED, str(error))
    there = [name for name in _names(folder) if name not in (*layout.SIGNING, layout.SUMS)]
    links = [name for name in there if (folder / name).is_symlink()]
    wrong = [
        (links, "a link, which may lead anywhere"),
        ([n for n in listed if n in bundle.sums and bundle.sums[n] != listed[n]], "not what was released"),
        ([n for n in listed if n not in there], "missing"),
        ([n for n in there if n not in listed and n not in links], "not part of what was released"),
    ]
    problems = []
    for names, why in wrong:
        problems += [f"{name}{_was(listed, name, bundle.sums.get(name))}: {why}" for name in names[:SHOWN]]
        problems += [f"{len(names) - SHOWN} more, {why}"] if names[SHOWN:] else []
    if problems:
        return Claim(claim, REFUTED, "; ".join(problems))
    return Claim(claim, PROVEN, f"{len(listed)} files have the SHA-256 of {layout.SUMS}, and there are no others")


def _was(listed: Mapping[str, str], name: str, digest: str | None) -> str:
    """What a file that is not what it was has the bytes of."""
    same = [other for other, known in listed.items() if known == digest and other != name]
    return f" (the bytes of {same[0]})" if same else ""


def _signatures(bundle: Bundle, key: Path | None) -> Iterator[Claim]:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    claim = "who holds the key signed these files"
    names = [name for name in layout.SIGNING if (bundle.folder / name).is_file()]
    if not names and key is not None:
        yield Claim(claim, REFUTED, f"nobody signed it: not who holds {key}, nor anybody else")
        return
    if not names:
        yield Claim(claim, CLAIMED, "nobody signed it: anybody could have made it")
        return
    if lacking := [name for name in layout.SIGNING if name not in names]:
        yield Claim(claim, REFUTED, f"{', '.join(lacking)}: missing, though it was signed")
        return
    try:
        public = serialization.load_pem_public_key((key or bundle.folder / layout.PUBLIC).read_bytes())
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise ValueError("it is no key of an elliptic curve")
    except ValueError as error:
        yield Claim(claim, REFUTED, f"{key or layout.PUBLIC}: {error}")
        return
    how = ec.ECDSA(hashes.SHA256())
    try:
        public.verify((bundle.folder / layout.SIGNATURE).read_bytes(), (bundle.folder / layout.SUMS).read_bytes(), how)
    except InvalidSignature:
        yield Claim(claim, REFUTED, f"{layout.SIGNATURE} is not this key's signature of {layout.SUMS}")
        return
    try:
        envelope = json.loads((bundle.folder / layout.MODEL_SIGNATURE).read_text(encoding="utf-8"))["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        signed = f"DSSEv1 {len(_PAYLOAD)} {_PAYLOAD} {len(payload)} ".encode() + payload
        public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, how)
        listed = {row["name"]: row["digest"] for row in json.loads(payload)["predicate"]["resources"]}
    except (InvalidSignature, KeyError, ValueError, IndexError) as error:
        yield Claim(claim, REFUTED, f"{layout.MODEL_SIGNATURE} is not this key's ({type(error).__name__})")
        return
    beside = {name: layout.sha256(bundle.folder / name) for name in (layout.SIGNATURE, layout.PUBLIC)}
    differ = sorted(name for name, digest in {**bundle.sums, **beside}.items() if listed.get(name) != digest)
    if differ:
        yield Claim(claim, REFUTED, f"{layout.MODEL_SIGNATURE} is of other files: {', '.join(differ[:SHOWN])}")
        return
    raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key is None:
        told = (
            f"by the key that lies beside it, SHA-256 {hashlib.sha256(raw).hexdigest()}: compare it with the owner's,"
        )
        told += " or name that one (--key)"
    else:
        told = f"by the key in {key}"
    yield Claim(claim, PROVEN, told)
