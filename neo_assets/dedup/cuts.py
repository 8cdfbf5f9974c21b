"""What the steps that cut something out of texts have in common: the edit's verdict, and the end of a document of which
hardly anything is left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core.steps import Decision


def edited(documents: pa.Table, texts: pa.Array, removed: npt.NDArray[np.int64], rule: str, min_chars: int) -> Decision:
    """Decision of a step that cut ``removed`` characters out of each text: an edit with the share cut, or a drop of
    what is too short now.
    """
    decision = Decision.keep(documents.num_rows)
    before = pc.utf8_length(documents.column("text")).to_numpy().astype(np.float64)
    left = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    touched = removed > 0
    decision.rule[touched] = rule
    decision.value[touched] = np.round(removed[touched] / before[touched], 6)
    decision.dropped = touched & (left < min_chars)
    decision.rule[decision.dropped] = "min_chars"
    decision.value[decision.dropped] = left[decision.dropped]
    decision.threshold[decision.dropped] = min_chars
    decision.columns["text"] = texts
    return decision
