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
    along_row = (-cosine[owner] * start[owner, 0] + sine[owner] * down) / length[owner]
    across_row = sine[owner] * start[owner, 0] + cosine[owner] * down
    row = np.repeat(np.arange(len(owner)), counts)
    x = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts - x_low, counts)
    capsule = owner[row]
    x32 = x.astype(np.float32)

    def per_row(values: NDArray[np.float64]) -> Floats:
        return values.astype(np.float32)[row]

    def per_capsule(values: NDArray[np.float64], of: Integers) -> Floats:
        return values.astype(np.float32)[of]

    t = per_row((cosine / length)[owner]) * x32
    t += per_row(along_row)
    clipped = np.minimum(np.maximum(t, 0), 1)
    t -= clipped
    t *= per_capsule(length, capsule)
    across = per_row(across_row)
    across -= per_row(sine[owner]) * x32
    radius = per_capsule(radii[:, 1] - radii[:, 0], capsule)
    radius *= clipped
    radius += per_capsule(radii[:, 0], capsule)
    inside = np.flatnonzero(t * t + across * across < radius * radius)
    capsule, along, radius = capsule[inside], clipped[inside], radius[inside]
    beyond, across = t[inside] / radius, across[inside] / radius
    bulge = np.sqrt(np.maximum(1 - beyond * beyond - across * across, 0))
    pixel = y[row[inside]] * width + x[inside]
    surface = per_capsule(depth[:, 1] - depth[:, 0], capsule) * along
    surface += per_capsule(depth[:, 0], capsule)
    surface -= bulge * (per_capsule(metres[:, 1] - metres[:, 0], capsule) * along + per_capsule(metres[:, 0], capsule))
    flat_buffer = depth_buffer.reshape(-1)
    np.minimum.at(flat_buffer, pixel, surface)
    front = np.flatnonzero(surface <= flat_buffer[pixel])
    return Surface(
        pixel[front], capsule[front], along[front], across[front], beyond[front], bulge[front], surface[front]
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
