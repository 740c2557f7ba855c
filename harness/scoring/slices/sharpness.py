"""Sharpness of the picture of a person: needs the images.

Source: specification of slices, section 5: it depends on content and has no universal threshold, so "low sharpness",
not "blurred"; terciles of the data set. "sharpness x speed" crosses it with joint speed, since the two go together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.scoring.slices.footage import Footage
from harness.scoring.slices.registry import register_slice

__all__ = ["laplacian_variance"]

#: Crops are resized to this height before the Laplacian, px.
HEIGHT = 256


@register_slice(
    "sharpness",
    level="person",
    bins=("low", "medium", "high"),
    quantiles=True,
    title="Variance of the Laplacian on the person's crop, terciles of the data set",
    needs="images",
)
def sharpness(footage: Footage) -> NDArray[np.float64] | None:
    """Variance of the Laplacian of the grey crop of the box, 256 px high; unknown for a box outside the image."""
    if footage.images is None:
        return None
    values = np.full(len(footage), np.nan)
    for frame in np.unique(footage.frame):
        image = footage.images(footage.sequence, int(frame))
        for row in np.flatnonzero(footage.frame == frame):
            values[row] = laplacian_variance(image, footage.boxes[row])
    return values


def laplacian_variance(image: NDArray[np.uint8], box: NDArray[np.float64]) -> float:
    """Variance of the Laplacian in the part of an xyxy `box` that lies inside a grey `image`; NaN below 2x2 px."""
    import cv2

    if np.isnan(box).any():
        return np.nan
    height, width = image.shape
    x0, y0 = np.clip(np.floor(box[:2]), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(box[2:]) + 1, 0, (width, height)).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return np.nan
    size = (max(1, round((x1 - x0) * HEIGHT / (y1 - y0))), HEIGHT)
    crop = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_LINEAR)
    return float(cv2.Laplacian(crop, cv2.CV_64F).var())
