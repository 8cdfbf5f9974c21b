"""Every signal once more, from its definition, in plain Python: slow, with regular expressions and sets, and written
without the kernels.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from neo_assets.text.characters import BULLETS


def folded(text: str) -> str:
    out = []
    for c in text:
        if unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f":  # not seen, so it never counts
            out.append("\0")
            continue
        compatible = unicodedata.normalize("NFKC", c)
        lower = (compatible if len(compatible) == 1 else c).lower()
        out.append("'" if c == "’" else lower if len(lower) == 1 else c)
    return "".join(out)


def is_word(c: str) -> bool:
    return (
        ord(c) < 0x40000
        and unicodedata.category(c) not in ("Cn", "Co", "Cs")
        and (c.isalnum() or unicodedata.category(c)[0] == "M")
    ) or 0x20000 <= ord(c) < 0x40000


def is_letter(c: str) -> bool:
    return is_word(c) and (c.isalpha() or unicodedata.category(c)[0] == "M" or ord(c) >= 0x20000)


def is_ideograph(c: str) -> bool:
    code = ord(c)
    ranges = (
        (0x3400, 0x4DC0),
        (0x4E00, 0xA000),
        (0xF900, 0xFB00),
        (0x2E80, 0x2FE0),
        (0x20000, 0x40000),
        (0x3040, 0x3100),
        (0x31F0, 0x3200),
        (0x3005, 0x3006),
    )
    return is_word(c) and any(a <= code < b for a, b in ranges)


def tokens(text: str) -> list[tuple[int, int]]:
    """(begin, end) of every token."""
    plain, out, i = folded(text), [], 0
    while i < len(text):
        if not is_word(text[i]):
            i += 1
            continue
        j = i + 1
        while not is_ideograph(text[i]) and j < len(text):
            inside = plain[j] == "'" and j + 1 < len(text) and is_word(text[j + 1]) and not is_ideograph(text[j + 1])
            if not (inside or (is_word(text[j]) and not is_ideograph(text[j]))):
                break
            j += 1
        out.append((i, j))
        i = j
    return out


def ends_sentence(text: str, i: int, semicolons: bool) -> bool:
    if text[i] in "!?。！？…｡" or (semicolons and text[i] in ";；"):
        return True
    if folded(text[i]) != ".":
        return False
    following = text[i + 1] if i + 1 < len(text) else " "
    return following.isspace() or following in "\"'”’»)]}）】」』》〉."


def sentences(text: str, semicolons: bool) -> list[tuple[int, int]]:
    """(begin, end) of every piece between sentence ends that holds a token, its end mark included."""
    starts = [b for b, _ in tokens(text)]
    out, begin = [], 0
    for i in range(len(text)):
        if ends_sentence(text, i, semicolons) and any(begin <= b <= i for b in starts):
            out.append((begin, i + 1))
            begin = i + 1
    if any(b >= begin for b in starts):
        out.append((begin, len(text)))
    return out


def stripped_lines(text: str) -> list[str]:
    return [s for line in text.split("\n") if (s := line.strip())]


def paragraphs(text: str) -> list[list[str]]:
    """Stripped lines between blank lines."""
    out: list[list[str]] = []
    blank = True
    for line in text.split("\n"):
        if not line.strip():
            blank = True
            continue
        if blank:
            out.append([])
        out[-1].append(line.strip())
        blank = False
    return out


def copies(elements: Sequence[object], lengths: Sequence[int]) -> tuple[int, int]:
    seen: set[object] = set()
    count = chars = 0
    for element, length in zip(elements, lengths, strict=True):
        if element in seen:
            count, chars = count + 1, chars + length
        seen.add(element)
    return count, chars


def top(words: list[str], n: int) -> int:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, times = Counter(grams).most_common(1)[0]
    return (sum(map(len, gram)) + n - 1) * times if times > 1 else 0


def seen_before(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    found = i = 0
    while i < len(words) - n + 1:
        gram = tuple(words[i : i + n])
        if gram in seen:
            found += sum(map(len, gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return found


def entropy(items: Sequence[str]) -> float:
    return -math.fsum(c / len(items) * math.log(c / len(items)) for c in Counter(items).values()) if items else 0.0


def ratio(part: float, of: float) -> float:
    return part / of if of else 0.0


def occurrences(words: list[str], phrase: list[str]) -> int:
    return sum(words[i : i + len(phrase)] == phrase for i in range(len(words) - len(phrase) + 1))


def measure(text: str, lang: str, stop_words: Sequence[str], bad_words: Sequence[str]) -> dict[str, float]:
    plain = folded(text)
    spans = tokens(text)
    words = [plain[a:b] for a, b in spans]
    lines = stripped_lines(text)
    pieces = sentences(text, lang == "zh")
    chars = [c for c in text if not c.isspace()]
    of_category = [unicodedata.category(c) if ord(c) < 0x40000 else "Cn" for c in chars]
    punctuation = sum(c[0] == "P" for c in of_category)
    spoken = len(chars) - punctuation
    letters = sum(map(is_letter, chars))
    digits = sum(k == "Nd" for k in of_category)
    of_line = [[folded(line)[a:b] for a, b in tokens(line)] for line in lines]
    more = sum(
        (bool(w) and (w[-1] == "readmore" or w[-2:] in (["read", "more"], ["展", "开"], ["更", "多"])))
        or line.endswith("。。。")
        for w, line in zip(of_line, lines, strict=True)
    )
    within = [tuple(words[k] for k, (b, _) in enumerate(spans) if begin <= b < end) for begin, end in pieces]
    para = paragraphs(text)
    out = {
        "chars": len(chars),
        "lines": len(lines),
        "sentences": len(pieces),
        "words": len(words),
        "bullet_lines": ratio(sum(line[0] in BULLETS for line in lines), len(lines)),
        "ellipsis_lines": ratio(sum(folded(line).endswith("...") or line.endswith("…") for line in lines), len(lines)),
        "read_more_lines": ratio(more, len(lines)),
        "punctuation": punctuation,
        "digits": ratio(digits, spoken),
        "bad_words": sum(occurrences(words, [folded(p)[a:b] for a, b in tokens(p)]) for p in set(bad_words)),
    }
    for n, name in zip((2, 3, 4), ("top_2gram", "top_3gram", "top_4gram"), strict=True):
        out[name] = ratio(top(words, n), len(text))
    for n in range(5, 11):
        out[f"duplicate_{n}grams"] = ratio(seen_before(words, n), len(text))
    for unit, elements, lengths in (
        ("line", lines, [len(line) for line in lines]),
        ("paragraph", [tuple(p) for p in para], [sum(map(len, p)) + len(p) - 1 for p in para]),
        ("sentence", within, [b - a for a, b in pieces]),
    ):
        count, length = copies(elements, lengths)
        out[f"duplicate_{unit}s"], out[f"duplicate_{unit}_chars"] = (
            ratio(count, len(elements)),
            ratio(length, len(text)),
        )
    hash_runs = len(re.findall("#+", plain))
    ellipsis_runs = len(re.findall(r"\.{3,}|…+|。{3,}", plain))
    if lang == "zh":
        return out | {
            "bracketed": ratio(sum(map(len, re.findall(r"【([^【】]*)】", text))), len(chars)),
            "hash_runs": ratio(hash_runs, len(chars)),
            "ellipsis_runs": ratio(ellipsis_runs, len(chars)),
            "distinct_chars": ratio(len(set(chars)), len(chars)),
            "char_entropy": entropy(chars),
        }
    symbols = plain.count("#") + plain.count("…") + len(re.findall(r"\.{3}", plain))
    cased = [[c for c in text[a:b] if c.isupper() or c.islower()] for a, b in spans]
    return out | {
        "mean_word_length": ratio(sum(map(len, words)), len(words)),
        "letterless_words": ratio(sum(not any(map(is_letter, text[a:b])) for a, b in spans), len(words)),
        "stop_word_share": ratio(sum(w in stop_words for w in words), len(words)),
        "stop_words": len({w for w in words if w in stop_words}),
        "symbols_per_word": symbols / max(1, len(words)),
        "curly_braces": ratio(text.count("{") + text.count("}"), len(text)),
        "lorem_ipsum": ratio(occurrences(words, ["lorem", "ipsum"]), len(text)),
        "caps_words": ratio(sum(bool(c) and all(x.isupper() for x in c) for c in cased), len(words)),
        "unique_words": ratio(len(set(words)), len(words)),
        "unigram_entropy": entropy(words),
        "read_more_sentences": ratio(_read_more_ends(text, words, spans, pieces), len(pieces)),
        "hash_runs_per_word": hash_runs / max(1, len(words)),
        "ellipsis_runs_per_word": ellipsis_runs / max(1, len(words)),
        "non_alphabetic": ratio(spoken - letters, spoken),
    }


def _read_more_ends(text: str, words: list[str], spans: list[tuple[int, int]], pieces: list[tuple[int, int]]) -> int:
    """Places where "read more" is the last thing of a sentence, or of a line that has both words."""
    found = 0
    for k in range(1, len(words)):
        if words[k - 1 : k + 1] != ["read", "more"]:
            continue
        following = spans[k + 1][0] if k + 1 < len(words) else len(text)
        ends = any(spans[k][1] < end <= following and ends_sentence(text, end - 1, False) for _, end in pieces)
        rest = text[spans[k][1] : following]
        same_line = "\n" not in text[spans[k - 1][0] : spans[k][1]]
        found += ends or (same_line and ("\n" in rest or k + 1 == len(words)))
    return found
