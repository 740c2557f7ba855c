"""Tapered capsules -> fragments -> the nearest one per pixel.

All capsules of a picture are rasterised together: every capsule becomes a ragged list of row spans, every span a ragged
list of pixels, and each formula is evaluated once over all pixels. The z-buffer is one `np.minimum.at`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Surface", "nearest_surface"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_SMALLEST = 0.6


@dataclass(frozen=True)
class Surface:
    """The visible capsule pixels of a picture, M of them, each pixel at most once but for ties.

    `pixel` (M,) flat index; `capsule` (M,); `along` (M,) position on the axis in [0, 1]; `across` and `beyond` (M,)
    offset across the axis and past its ends in radii; `bulge` (M,) height of the surface towards the camera in radii;
    `depth` (M,) m.
    """

    pixel: Integers
    capsule: Integers
    along: Floats
    across: Floats
    beyond: Floats
    bulge: Floats
    depth: Floats


def nearest_surface(
    ends: NDArray[np.float64], radii: NDArray[np.float64], depth: NDArray[np.float64], metres: NDArray[np.float64], *,
    depth_buffer: Floats,
) -> Surface:  # fmt: skip
    """Rasterise C capsules against a z-buffer (H,W), which is updated in place.

    `ends` (C,2,2) px, `radii` (C,2) px (at least .6 px is drawn), `depth` (C,2) and `metres` (C,2) radii in m.
    A pixel's depth is that of the axis less the bulge of the surface, so limbs that cross are sorted correctly.
    """
    height, width = depth_buffer.shape
    radii = np.maximum(radii, _SMALLEST)
    start, vector = ends[:, 0], ends[:, 1] - ends[:, 0]
    length = np.maximum(np.hypot(vector[:, 0], vector[:, 1]), 1e-3)
    cosine, sine = vector[:, 0] / length, vector[:, 1] / length
    flat = length <= 1e-3
    cosine[flat], sine[flat] = 1.0, 0.0
    owner, y, x_low, counts = _spans(
        ends, radii, cosine, sine, width=width, height=height, visible=depth.min(axis=1) > 0.15
    )
    down = y - start[owner, 1]
    # Along the axis and across it, in fractions of its length and in px, both linear in x.
    first = start[owner, 0] - x_low
    along_start = (sine[owner] * down - cosine[owner] * first) / length[owner]
    across_start = cosine[owner] * down + sine[owner] * first
    rows = np.stack(
        [along_start, (cosine / length)[owner], length[owner], across_start, -sine[owner],
         radii[owner, 0], (radii[:, 1] - radii[:, 0])[owner]]
    ).astype(np.float32)  # fmt: skip
    along, along_step, length_there, across, across_step, radius, taper = np.repeat(rows, counts, axis=1)
    row = np.repeat(np.arange(len(owner)), counts)
    step = (np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.float32)
    along += along_step * step
    across += across_step * step
    clipped = np.minimum(np.maximum(along, 0), 1)
    along -= clipped
    along *= length_there
    radius += taper * clipped
    inside = np.flatnonzero(along * along + across * across < radius * radius)
    row, radius = row[inside], radius[inside]
    capsule, position = owner[row], clipped[inside]
    beyond, across = along[inside] / radius, across[inside] / radius
    bulge = np.sqrt(np.maximum(1 - beyond * beyond - across * across, 0))
    pixel = (y * width + x_low)[row] + step[inside].astype(np.int64)
    solid = np.stack([depth[:, 0], depth[:, 1] - depth[:, 0], metres[:, 0], metres[:, 1] - metres[:, 0]])
    near, slope, thick, thicker = solid.astype(np.float32).take(capsule, axis=1)
    surface = near + slope * position - bulge * (thick + thicker * position)
    buffer = depth_buffer.reshape(-1)
    np.minimum.at(buffer, pixel, surface)
    front = np.flatnonzero(surface <= buffer[pixel])
    return Surface(
        pixel[front], capsule[front], position[front], across[front], beyond[front], bulge[front], surface[front]
    )


def _spans(
    ends: NDArray[np.float64], radii: NDArray[np.float64], cosine: NDArray[np.float64], sine: NDArray[np.float64], *,
    width: int, height: int, visible: NDArray[np.bool_],
) -> tuple[Integers, Integers, Integers, Integers]:  # fmt: skip
    """Row spans that cover the capsules: (capsule, y, first x, number of pixels) per span."""
    low, high = (ends - radii[..., None]).min(axis=1), (ends + radii[..., None]).max(axis=1)
    low = np.clip(np.ceil(low), 0, [width, height])
    high = np.clip(np.floor(high), -1, [width - 1, height - 1])
    rows = np.where(visible, np.maximum(high[:, 1] - low[:, 1] + 1, 0), 0).astype(np.int64)
    owner = np.repeat(np.arange(len(ends)), rows)
    y = np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows - low[:, 1].astype(np.int64), rows)
    # The strip of the widest radius round the axis cuts the corners off the bounding rectangle.
    slope = np.where(np.abs(sine) < 1e-6, 1e-6, sine)[owner]
    middle = ends[owner, 0, 0] + cosine[owner] * (y - ends[owner, 0, 1]) / slope
    reach = np.abs(radii.max(axis=1)[owner] / slope)
    first = np.ceil(np.maximum(low[owner, 0], middle - reach))
    last = np.floor(np.minimum(high[owner, 0], middle + reach))
    counts = np.maximum(last - first + 1, 0).astype(np.int64)
    return owner, y, np.where(counts > 0, first, 0).astype(np.int64), counts
