"""``pii_masked/‹lang›``: e-mail addresses, IP addresses, phone and identity numbers replaced by placeholders.

A number is masked only when it is one: identity and card numbers by their check digits, IP addresses when they are
public, e-mail addresses when their domain is not one that documentation may use freely (RFC 2606). Full-width digits
and letters are found like half-width ones. What this costs in missed numbers and gains in intact text is measured in
``benchmarks/pii.py``.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.recipe.data import PersonalData
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import Decision, run_step
from neo_assets.core.store import Artifact, Outcome, Workspace

_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Full-width forms to half-width ones, character by character, so that places in both texts agree."""

_WORTH_A_LOOK = r"[@＠]|[0-9０-９](?:[^\n]{0,2}[0-9０-９]){6}|:[0-9A-Fa-f]{0,4}:"
"""RE2: a text without an at sign, seven digits close together or an IPv6 colon pair has nothing to mask."""

_RESERVED = re.compile(
    r"(?:^|[.@])(?:example\.(?:com|net|org)|[a-z0-9-]+\.(?:example|invalid|test|localhost)|example|localhost)$",
    re.IGNORECASE,
)
_ID_WEIGHTS, _ID_CHECK = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), "10X98765432"


def is_personal_email(found: str) -> bool:
    return not _RESERVED.search(found.rsplit("@", 1)[1])


def is_public_address(found: str) -> bool:
    """A public address. A quad of small numbers (8.2.4.1) is a section or a version: in technical text nineteen of
    twenty are.
    """
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    return address.is_global and (address.version == 6 or max(address.packed) >= 32)


def is_chinese_identity(found: str) -> bool:
    """18 digits of a resident identity card: province, birth date, check digit (GB 11643)."""
    digits = found.upper()
    month, day, year = int(digits[10:12]), int(digits[12:14]), int(digits[6:10])
    dated = 1900 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31 and 11 <= int(digits[:2]) <= 91
    return (
        dated and _ID_CHECK[sum(w * int(d) for w, d in zip(_ID_WEIGHTS, digits[:17], strict=True)) % 11] == digits[17]
    )


def is_social_security(found: str) -> bool:
    area, group, serial = found.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_card(found: str) -> bool:
    """Payment card numbers pass the Luhn check and are not one digit again and again."""
    digits = [int(c) for c in found if c.isdigit()]
    total = sum(d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits)))
    return total % 10 == 0 and len(set(digits)) > 1


def is_phone(found: str) -> bool:
    digits = [c for c in found if c.isdigit()]
    return 8 <= len(digits) <= 15 and len(set(digits)) > 2


# A number inside something else is no number of anybody's: a decimal (3.14159265358), a hash, a price, a path, an
# identifier (A-13812345678).
_BEFORE = r"(?<![0-9A-Za-z_#$\u00a5\uffe5\u20ac\u00a3])(?<![0-9][.:])(?<![0-9A-Za-z][/-])"
_AFTER = r"(?![0-9A-Za-z_])(?!\.[0-9])(?![/-][0-9A-Za-z])"
_NO_DOMAINS = "png|jpe?g|gif|svg|webp|ico|css|js|ts|json|xml|html?|txt|service|socket|target|timer|mount|device"
"""What stands after an at sign in names of files (icon@2x.png) and of units (getty@tty1.service), and is no domain."""

KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        "email",
        # git@host:path is an address of a repository, ssh://git@host one of a machine.
        re.compile(
            r"(?<![\w.+/-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+"
            rf"(?!(?:{_NO_DOMAINS})(?![\w.-]))[A-Za-z]{{2,24}}(?![\w-])(?!:[\w~/])",
            re.ASCII,
        ),
        is_personal_email,
    ),
    (
        "identity",
        re.compile(r"(?<![0-9A-Za-z_.-])[1-9][0-9]{16}[0-9Xx](?![0-9A-Za-z_])(?!\.[0-9])"),
        is_chinese_identity,
    ),
    ("identity", re.compile(r"(?<![0-9A-Za-z_-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![0-9A-Za-z_-])"), is_social_security),
    (
        "card",
        re.compile(
            r"(?<![0-9A-Za-z_.-])(?:3[47][0-9]{13}|[3-6][0-9]{15}|[3-6][0-9]{3}(?:[ -][0-9]{4}){3})"
            r"(?![0-9A-Za-z_-])(?!\.[0-9])"
        ),
        is_card,
    ),
    (
        "phone",
        re.compile(_BEFORE + r"(?<!\+)(?:(?:\+|00)?86[- ]?)?1[3-9][0-9](?:[- ]?[0-9]{4}){2}" + _AFTER),
        is_phone,
    ),
    ("phone", re.compile(_BEFORE + r"(?<!-)(?:\(0[0-9]{2,3}\) ?|0[0-9]{2,3}[- ])[0-9]{7,8}" + _AFTER), is_phone),
    (
        "phone",
        re.compile(
            r"(?<![0-9A-Za-z_+)\]=])\+[1-9][0-9]{0,2}[-. ]?(?:\([0-9]{1,4}\)[-. ]?)?[0-9]{1,4}(?:[-. ]?[0-9]{2,4}){1,4}"
            + _AFTER
        ),
        is_phone,
    ),
    (
        "phone",
        re.compile(_BEFORE + r"(?<!-)(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}-)[2-9][0-9]{2}-[0-9]{4}" + _AFTER),
        is_phone,
    ),
    ("ip", re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*[0-9])", re.ASCII), is_public_address),
    (
        "ip",
        re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,7}(?![\w:])", re.ASCII),
        is_public_address,
    ),
)
"""What is looked for, in this order: a place that one kind has taken is not another's."""


def masked(text: str, placeholders: Mapping[str, str]) -> tuple[str, Counter[str]]:
    """The text with personal data replaced, and how many of each kind."""
    plain = text.translate(_HALF_WIDTH)
    spans: list[tuple[int, int, str]] = []
    for kind, pattern, confirmed in KINDS:
        if kind not in placeholders:
            continue
        for match in pattern.finditer(plain):
            begin, end = match.span()
            if confirmed(match[0]) and not any(a < end and begin < b for a, b, _ in spans):
                spans.append((begin, end, kind))
    out, at = [], 0
    for begin, end, kind in sorted(spans):
        out += [text[at:begin], placeholders[kind]]
        at = end
    return "".join([*out, text[at:]]), Counter(kind for *_, kind in spans)


def mask_personal_data(config: StepInput[PersonalData], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents with e-mail addresses, IP addresses, phone, card and identity numbers masked, Chinese forms included.

    Every masked document has an *edit* verdict with the number of places and their kinds; nothing is dropped, and no
    verdict repeats what was masked.
    """
    (before,) = inputs.values()
    return run_step(
        f"pii_masked/{config.lang}",
        before.files(records.PART),
        partial(_mask, config.settings),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def _mask(settings: PersonalData, documents: pa.Table, shard: Path) -> Decision:
    decision = Decision.keep(documents.num_rows)
    suspects = np.flatnonzero(pc.match_substring_regex(documents.column("text"), _WORTH_A_LOOK).to_numpy())
    texts = documents.column("text").to_pylist() if len(suspects) else []
    detail = [""] * documents.num_rows
    for i in suspects:
        text, found = masked(texts[i], {str(kind): sign for kind, sign in settings.placeholders.items()})
        if found:
            texts[i] = text
            decision.rule[i], decision.value[i] = "personal_data", found.total()
            detail[i] = ", ".join(f"{kind} {n}" for kind, n in sorted(found.items()))
    if len(suspects):
        decision.columns["text"] = pa.array(texts, pa.string())
    decision.detail = detail
    return decision


STEP = Step("personal data masked", mask_personal_data)
