"""Repair of text whose encoding went wrong on its way: mojibake, control and invisible characters, composed forms, line
endings.

Only damage is repaired. Full-width characters, curly quotes and ligatures are what their author wrote and stay: a
Chinese text with half-width punctuation would be another text.
"""

from __future__ import annotations

import re
import unicodedata

import ftfy
from ftfy.chardata import UTF8_CLUES

from neo_assets.text.invisible import without_invisible

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n|[\r\x0c\x85\u2028\u2029]")
_LEAD = UTF8_CLUES["utf8_first_of_2"] + UTF8_CLUES["utf8_first_of_3"] + UTF8_CLUES["utf8_first_of_4"]
# ftfy's own test costs a second a megabyte; without such a pair there is nothing that it could decode.
_MAYBE_MOJIBAKE = re.compile(f"[{_LEAD}][{UTF8_CLUES['utf8_continuation']}]")
# decode_inconsistent_utf8 guesses inside otherwise sound text: it turned the GBK example of a manual into other
# characters.
_CONFIG = ftfy.TextFixerConfig(decode_inconsistent_utf8=False, fix_c1_controls=False, explain=False)


def repaired(text: str) -> str:
    """``text`` without mojibake, control characters, invisible ones that mean nothing and lone surrogates, in NFC, with
    ``\\n`` line ends.
    """
    if not text.isascii():
        # Line by line, as each may have gone another way; and before the control characters go, which are bytes of
        # mojibake.
        if _MAYBE_MOJIBAKE.search(text):
            # Not ftfy.fix_text: version 6.3.1 does not hand its options on to this function.
            text = "\n".join(
                ftfy.fix_encoding(line, _CONFIG) if _MAYBE_MOJIBAKE.search(line) else line for line in text.split("\n")
            )
        text = without_invisible(unicodedata.normalize("NFC", text))
    return _CONTROL.sub("", _LINE_END.sub("\n", text))
