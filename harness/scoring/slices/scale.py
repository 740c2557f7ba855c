"""Scale of people and of their heads, change of scale, and truncation by the image border.

Source: specification of slices, section 5. PoseTrack has boxes only, so the area is the box's, not COCO's segment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.scoring.slices.footage import Footage
from harness.scoring.slices.registry import register_slice

__all__: list[str] = []

#: A box this close to the border, or beyond, is cut off (px).
BORDER = 2.0

#: A joint this close to the border, in head sizes, is near it.
BORDER_HEADS = 0.5

#: A person's scale changes when s_t / s_(t-1) lies outside.
STABLE_SCALE = (0.8, 1.25)

_SIZES = "image sizes"


@register_slice(
    "scale",
    level="person",
    bins=("0-32", "32-64", "64-96", "96-128", "128+"),
    edges=(32.0, 64.0, 96.0, 128.0),
    title="Square root of the person's box area, px",
)
def scale(footage: Footage) -> NDArray[np.float64]:
    """Square root of the box area, px."""
    return _scale(footage)


@register_slice(
    "head_size",
    level="person",
    bins=("small", "medium", "large"),
    quantiles=True,
    title="Head size, terciles of the data set",
)
def head_size(footage: Footage) -> NDArray[np.float64]:
    """Head size, px."""
    return footage.head


@register_slice(
    "scale_change",
    level="person",
    bins=("stable", "changing"),
    title="Person's scale against the frame before, outside [0.8, 1.25]",
    needs="track ids and consecutively labelled frames",
)
def scale_change(footage: Footage) -> NDArray[np.float64] | None:
    """0 for a person whose scale stays, 1 for one whose scale changes from the frame before."""
    before = footage.neighbour(-1)
    rows = np.flatnonzero(before >= 0)
    if not len(rows):
        return None
    values, size = np.full(len(footage), np.nan), _scale(footage)
    with np.errstate(all="ignore"):
        ratio = size[rows] / size[before[rows]]
    changing = (ratio < STABLE_SCALE[0]) | (ratio > STABLE_SCALE[1])
    values[rows] = np.where(np.isfinite(ratio), changing, np.nan)
    return values


@register_slice(
    "truncation", level="person", bins=("inside", "cut"), title="Person's box at the image border", needs=_SIZES
)
def truncation(footage: Footage) -> NDArray[np.float64] | None:
    """1 for a box within 2 px of the image border or beyond it."""
    size = footage.frame_sizes[footage.frame]
    if np.isnan(size).all():
        return None
    distance = np.minimum(footage.boxes[:, :2], size - 1 - footage.boxes[:, 2:]).min(axis=1)
    return np.where(np.isnan(distance), np.nan, distance <= BORDER)


@register_slice(
    "border", level="joint", bins=("inside", "near"), title="Joint within half a head of the image border", needs=_SIZES
)
def border(footage: Footage) -> NDArray[np.float64] | None:
    """1 for a labelled joint closer than 0.5 head sizes to the image border; joints outside are not labelled."""
    size = footage.frame_sizes[footage.frame][:, None]
    if np.isnan(size).all():
        return None
    distance = np.minimum(footage.joints, size - 1 - footage.joints).min(axis=2)
    heads = distance / footage.head[:, None]
    return np.where(np.isnan(heads), np.nan, heads < BORDER_HEADS)


def _scale(footage: Footage) -> NDArray[np.float64]:
    sides = np.clip(footage.boxes[:, 2:] - footage.boxes[:, :2], 0, None)
    scale: NDArray[np.float64] = np.sqrt(sides.prod(axis=1))
    return np.where(scale > 0, scale, np.nan)
