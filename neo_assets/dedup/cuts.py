"""What the steps that cut something out of texts have in common: the edit's verdict, and the end of a document of which
hardly anything is left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core.steps import Decision

_BLANK_RUN = r"\n[ \t\r\x{a0}\x{3000}]*(?:\n[ \t\r\x{a0}\x{3000}]*){2,}"
_SPACE = r"[\s\x{a0}\x{3000}]+"


def edited(documents: pa.Table, texts: pa.Array, removed: npt.NDArray[np.int64], rule: str, min_chars: int) -> Decision:
    """Decision of a step that cut ``removed`` characters out of each text: an edit with the share that is gone, or a
    drop of what has fewer than ``min_chars`` characters left that are no white space. Of the blank lines around what
    was cut one stays.
    """
    decision = Decision.keep(documents.num_rows)
    before = pc.utf8_length(documents.column("text")).to_numpy().astype(np.float64)
    touched = removed > 0
    closed = pc.utf8_trim(pc.replace_substring_regex(texts, _BLANK_RUN, "\n\n"), "\n")
    texts = pc.if_else(pa.array(touched), closed, texts)
    gone = before - pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    left = pc.utf8_length(pc.replace_substring_regex(texts, _SPACE, "")).to_numpy(zero_copy_only=False)
    decision.rule[touched] = rule
    decision.value[touched] = np.round(gone[touched] / before[touched], 6)
    decision.dropped = touched & (left < min_chars)
    decision.rule[decision.dropped] = "min_chars"
    decision.value[decision.dropped] = left[decision.dropped]
    decision.threshold[decision.dropped] = min_chars
    decision.columns["text"] = texts
    return decision
