"""What is known of a converted page, and of a document's conversion as a whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from neo_assets.core.recipe.base import Section

WINDOW = 50
"""Pages that are read together; its borders are the same wherever a conversion begins again."""


class Trust(Section):
    """When a page is believed, and what may be spent on one."""

    min_agreement: float
    max_broken: float
    min_confidence: float
    max_ink_outside: float
    ocr: bool
    ocr_dpi: int
    page_seconds: float
    ocr_page_seconds: float
    max_memory_mb: int
    ocr_memory_mb: int


@dataclass
class ConvertedPage:
    """One page: its text, and by what it is trusted.

    ``engine``: text (the page's own text), ocr, blank, or the reader of another kind of file. ``agreement``: share of
    the text that another reader has in the same order. ``confidence``: mean of the recogniser's. ``ink_outside``: share
    of the ink that is no part of any line that was read. ``broken``: share of characters that cannot be what was meant.
    ``left_out``: lines that run along on every page. ``reason``: why it is not trusted, "" where it is.
    """

    page: int
    text: str = ""
    engine: str = "text"
    columns: int = 1
    agreement: float | None = None
    confidence: float | None = None
    ink_outside: float | None = None
    broken: float = 0.0
    left_out: list[str] = field(default_factory=list)
    hyphens_joined: int = 0
    formulas: int = 0
    open: bool = False
    reason: str = ""

    def row(self) -> dict[str, object]:
        return asdict(self)
