"""Pages without a text layer: rendered, recognised (PP-OCRv6 by RapidOCR), and measured by the ink that no line holds.

The recogniser's own confidence does not tell of lines that it never saw, so the ink outside of accepted lines decides
together with it. Its classifier of upside-down lines is off: it loses whole lines of clean pages.
"""

from __future__ import annotations

import functools
import importlib.util
import resource
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium  # type: ignore[import-untyped]

from neo_assets.extract.convert.page_layout import Run

DARK = 0.62
"""Ink is darker than this share of the page's paper."""
BLANK_INK = 0.0004
"""Less ink than this share of a page is none."""

Image = npt.NDArray[np.uint8]


def available() -> bool:
    """Whether the recogniser is installed."""
    return importlib.util.find_spec("rapidocr") is not None


def rendered(page: pdfium.PdfPage, dpi: float) -> Image:
    """A page as grey levels: uint8 (height, width)."""
    bitmap = page.render(scale=dpi / 72, grayscale=True)
    try:
        return np.array(bitmap.to_numpy()).reshape(bitmap.height, bitmap.width, -1)[:, :, 0]
    finally:
        bitmap.close()


def ink(image: Image) -> npt.NDArray[np.bool_]:
    paper = float(np.percentile(image, 90))
    return image < DARK * paper


def is_blank(page: pdfium.PdfPage) -> bool:
    return float(ink(rendered(page, 50)).mean()) < BLANK_INK


@functools.cache
def _engine() -> Any:
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    import onnxruntime  # type: ignore[import-untyped]  # noqa: F401 - what runs the models counts like what calls it
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def recognised(page: pdfium.PdfPage, dpi: int) -> tuple[list[Run], float, float]:
    """(lines as runs in points, mean confidence, share of text-like ink outside of them) of a page."""
    image = rendered(page, dpi)
    found = _engine()(np.repeat(image[:, :, None], 3, axis=2))
    height = page.get_size()[1]
    scale = 72 / dpi
    runs: list[Run] = []
    inside = np.zeros(image.shape, np.uint8)
    weights, scores = [], []
    boxes = found.boxes if found.boxes is not None else []
    skew = _skew(boxes)
    for box, text, score in zip(boxes, found.txts or (), found.scores or (), strict=True):
        _fill(inside, box)
        x0, y0, x1, y1 = _upright(box, skew, image.shape)
        if text.strip():
            # A box is wider than its letters; columns are told by what lies between them.
            inset = 0.12 * (y1 - y0)
            place = ((x0 + inset) * scale, height - y1 * scale, (x1 - inset) * scale, height - y0 * scale)
            runs.append(Run(*place, text.strip()))
            weights.append(len(text))
            scores.append(float(score))
    confidence = float(np.average(scores, weights=weights)) if runs else 0.0
    return runs, confidence, _ink_outside(image, inside, [r.height / scale for r in runs])


def _skew(boxes: Sequence[npt.NDArray[np.float32]]) -> float:
    """The angle that lines stand at, in radians: the median over long ones."""
    angles = [
        float(np.arctan2(box[1][1] - box[0][1], box[1][0] - box[0][0]))
        for box in boxes
        if np.hypot(*(box[1] - box[0])) > 4 * np.hypot(*(box[3] - box[0]))
    ]
    return float(np.median(angles)) if angles else 0.0


def _upright(box: npt.NDArray[np.float32], skew: float, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a box on the page turned back about its middle: its own length and height about its
    own middle, which a slant does not stretch.
    """
    middle = np.array([shape[1] / 2, shape[0] / 2])
    x, y = box.mean(axis=0) - middle
    c, s = np.cos(-skew), np.sin(-skew)
    x, y = x * c - y * s + middle[0], x * s + y * c + middle[1]
    length = (np.hypot(*(box[1] - box[0])) + np.hypot(*(box[2] - box[3]))) / 2
    tall = (np.hypot(*(box[3] - box[0])) + np.hypot(*(box[2] - box[1]))) / 2
    return float(x - length / 2), float(y - tall / 2), float(x + length / 2), float(y + tall / 2)


def _fill(inside: Image, box: npt.NDArray[np.float32]) -> None:
    """Mark a box and a little around it."""
    import cv2

    middle = box.mean(axis=0)
    tall = float(np.hypot(*(box[3] - box[0])))
    out = box - middle
    out = middle + out * (1 + 0.5 * tall / np.maximum(np.hypot(out[:, :1], out[:, 1:]), 1))
    cv2.fillConvexPoly(inside, out.round().astype(np.int32), 1)


def _ink_outside(image: Image, inside: Image, heights: list[float]) -> float:
    """Share of the ink that looks like letters (by the size of its pieces) and lies in no line that was read."""
    import cv2

    dark = ink(image)
    letter = float(np.median(heights)) if heights else 0.02 * image.shape[0]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8), connectivity=8)
    tall, wide, area = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_AREA]
    like_letters = (
        (tall > 0.15 * letter) & (tall < 1.6 * letter) & (wide < 4 * letter) & (area > 0.01 * letter * letter)
    )
    like_letters[0] = False
    chosen = like_letters[labels]
    total = int(chosen.sum())
    return float((chosen & (inside == 0)).sum()) / total if total else 0.0
