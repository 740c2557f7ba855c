"""Whole frames as network inputs: how large, where the picture lies in them, and back (whole_frame.md 1.1, 1.2).

"bars": the short side becomes the input's, the long one gets black bars at both ends up to a multiple of 64. "fit":
both sides are zoomed alike, up to a longest side, and nothing is added (DETR's).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.inference.crops import UNIT, crop_matrices, image_matrices
from harness.methods import FrameSpec

__all__ = ["FrameInput", "base_size", "frame_inputs", "matrix_back"]

#: Sides of padded inputs are multiples of this.
_MULTIPLE = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FrameInput:
    """An input of `size` (width, height) px at `scale`; `matrix` (2,3) maps px of the frame to px of it.

    `centre` (2,) and `sides` (2,) in units of 200 px are the region of the frame that it shows.
    """

    scale: float
    size: tuple[int, int]
    matrix: Floats
    centre: NDArray[np.float32]
    sides: Floats


def frame_inputs(size: tuple[int, int], spec: FrameSpec, *, anchored: bool) -> list[FrameInput]:
    """The inputs of a frame of `size` px, of falling scale; `anchored` sizes them by scale 1, else by the smallest.

    >>> [item.size for item in frame_inputs((640, 480), FrameSpec(512, scales=(0.5, 1, 2)), anchored=False)]
    [(1536, 1024), (768, 512), (384, 256)]
    """
    if spec.rule == "fit":
        return [_fitted(size, spec)]
    if spec.rule != "bars":
        raise UsageError(f"unknown rule '{spec.rule}' for whole frames; known: bars, fit")
    anchor = 1.0 if anchored else min(spec.scales)
    return [_barred(size, spec.short_side, scale, anchor) for scale in sorted(spec.scales, reverse=True)]


def base_size(size: tuple[int, int], spec: FrameSpec, *, anchored: bool) -> tuple[int, int]:
    """Width and height of the input at scale 1, whether or not 1 is among the scales."""
    if spec.rule == "fit":
        return _fitted(size, spec).size
    return _barred(size, spec.short_side, 1.0, 1.0 if anchored else min(spec.scales)).size


def matrix_back(inputs: list[FrameInput], grid: tuple[int, int]) -> Floats:
    """(2,3) matrix from px of a grid over the input to px of the frame, by the region of the smallest scale."""
    last = inputs[-1]
    if len(inputs) == 1 and not last.sides.any():
        zoom = np.array([last.matrix[0, 0], last.matrix[1, 1]]) * np.array(grid) / np.array(last.size)
        return np.array([[1 / zoom[0], 0.0, 0.0], [0.0, 1 / zoom[1], 0.0]])
    back: Floats = image_matrices(last.centre[None], last.sides[None], grid)[0]
    return back


def _barred(size: tuple[int, int], short_side: int, scale: float, anchor: float) -> FrameInput:
    width, height = size
    short = _multiple(anchor * short_side)
    if width < height:
        target = int(short * scale / anchor), int(_multiple(short / width * height) * scale / anchor)
        sides = width / UNIT, target[1] / target[0] * width / UNIT
    else:
        target = int(_multiple(short / height * width) * scale / anchor), int(short * scale / anchor)
        sides = target[0] / target[1] * height / UNIT, height / UNIT
    centre = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)], dtype=np.float32)
    region = np.array(sides)
    return FrameInput(scale, target, crop_matrices(centre[None], region[None], target)[0], centre, region)


def _fitted(size: tuple[int, int], spec: FrameSpec) -> FrameInput:
    zoom = spec.short_side / min(size)
    if spec.longest_side is not None:
        zoom = min(zoom, spec.longest_side / max(size))
    target = max(round(size[0] * zoom), 1), max(round(size[1] * zoom), 1)
    matrix = np.array([[target[0] / size[0], 0.0, 0.0], [0.0, target[1] / size[1], 0.0]])
    nowhere = np.zeros(2)
    return FrameInput(1.0, target, matrix, nowhere.astype(np.float32), nowhere)


def _multiple(length: float) -> int:
    return int((length + _MULTIPLE - 1) // _MULTIPLE * _MULTIPLE)
