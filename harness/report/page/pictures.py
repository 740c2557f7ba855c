"""Frames as small pictures within a budget of bytes: WebP, as large and as good as fits."""

from __future__ import annotations

import base64
from collections.abc import Callable
from collections.abc import Sequence as Series
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.pictures import read_image

__all__ = ["BUDGET", "encode_pictures"]

#: Characters that the pictures of a page may take: what else is on a page of 1,000 failures stays below 6 MB.
BUDGET = 23_000_000

#: (longest side px, WebP quality), best first.
_RUNGS = ((640, 75), (640, 60), (512, 60), (448, 55), (384, 55), (320, 50), (256, 45), (192, 40), (128, 35), (96, 30))

#: How many pictures are tried to guess the size of all, and the share of the budget that the guess may take.
_TRIED, _SHARE = 12, 0.9

Progress = Callable[..., None]


def encode_pictures(paths: Series[Path], *, budget: int = BUDGET, progress: Progress | None = None) -> list[str | None]:
    """Base64 text of every image file, all together within `budget` characters; None for a file that is not there.

    Where a budget is met early, or even the smallest size does not fit, the last ones are None too: give the ones that
    matter first. Raises DataError for a broken image.
    """
    there = [path for path in paths if path.is_file()]
    side, quality = _fitting(there, budget)
    texts: dict[Path, str] = {}
    spent = 0
    for done, path in enumerate(there, start=1):
        text = _encoded(read_image(path), side, quality)
        spent += len(text)
        if spent > budget:
            break
        texts[path] = text
        if progress:
            progress(done, len(there), "pictures")
    return [texts.get(path) for path in paths]


def _fitting(paths: Series[Path], budget: int) -> tuple[int, int]:
    """The best rung at which all pictures are likely to fit."""
    tried = [read_image(path) for path in paths[:: max(1, len(paths) // _TRIED)]]
    for side, quality in _RUNGS:
        sizes = [len(_encoded(picture, side, quality)) for picture in tried]
        if not sizes or np.mean(sizes) * len(paths) <= _SHARE * budget:
            return side, quality
    return _RUNGS[-1]


def _encoded(picture: NDArray[np.uint8], side: int, quality: int) -> str:
    scale = side / max(picture.shape[:2])
    if scale < 1:
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    content = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return base64.b64encode(content.tobytes()).decode()
