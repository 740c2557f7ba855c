"""Geometry: box -> centre and scale -> affine crop -> image, in the conventions of the field (codecs.md section 1).

Three geometries exist: "plain" (HRNet, DCPose, FAMI-Pose, SimCC), "dark" (DarkPose) and "udp" (unbiased). Points are
float64 px, origin at the centre of the top-left pixel; sizes are (width, height).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

__all__ = [
    "GEOMETRIES", "UNIT", "centre_and_scale", "composed", "crop_matrices", "image_matrices", "mirrored_along_x",
    "transform", "warp",
]  # fmt: skip

GEOMETRIES = ("plain", "dark", "udp")

#: Scales are sides in units of 200 px, as in every repository that descends from MPII's.
UNIT = 200.0

Floats = NDArray[np.float64]


def centre_and_scale(
    boxes: Floats, size: tuple[int, int], *, enlarge: float = 1.25, aspect: str = "keep", skip_minus_one: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (N,2) px and scales (N,2) in units of 200 px of the regions to crop, float32, from boxes (N,4) xyxy.

    "keep" enlarges the short side to the aspect of `size`, "stretch" takes the box as it is; then both sides are
    multiplied by `enlarge`. A box of no extent is taken as one of 1 px. `skip_minus_one` keeps upstream's quirk: a box
    whose centre x is exactly -1 is not enlarged (codecs.md 1.1).

    >>> centre, scale = centre_and_scale(np.array([[100.0, 120.0, 300.0, 220.0]]), (288, 384))
    >>> centre.tolist(), scale.tolist()
    ([[200.0, 170.0]], [[1.25, 1.6666667461395264]])
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + 0.5 * sides).astype(np.float32)
    sides = np.where((sides <= 0).all(axis=1, keepdims=True), 1.0, sides)
    if aspect == "keep":
        ratio = size[0] / size[1]
        width, height = sides[:, 0], sides[:, 1]
        sides = np.stack([np.maximum(width, height * ratio), np.maximum(height, width / ratio)], axis=1)
    elif aspect == "stretch":
        sides = np.maximum(sides, 1.0)
    else:
        raise UsageError(f"unknown aspect '{aspect}' of a crop; known: keep, stretch")
    scale = (sides / UNIT).astype(np.float32)
    enlarged = centre[:, :1] != -1 if skip_minus_one else np.True_
    return centre, np.where(enlarged, scale * np.float32(enlarge), scale)


def crop_matrices(
    centre: NDArray[np.float32],
    scale: NDArray[np.floating[Any]],
    size: tuple[int, int],
    *,
    geometry: str = "plain",
    aspect: str = "keep",
    rotation: float | Floats = 0.0,
) -> Floats:
    """(N,2,3) matrices that map image px to px of a crop of `size`; `rotation` in degrees, one or N of them."""
    angles = np.broadcast_to(np.asarray(rotation, dtype=np.float64), (len(centre),))
    if aspect == "stretch":
        return _stretched(centre, scale, size, geometry)
    if geometry == "udp":
        return _udp(centre, scale, size, angles)
    source, target = _triangles(centre, scale, size, angles, inset=_inset(geometry))
    return _solve(source, np.broadcast_to(target, source.shape))


def image_matrices(
    centre: NDArray[np.float32],
    scale: NDArray[np.floating[Any]],
    size: tuple[int, int],
    *,
    geometry: str = "plain",
    aspect: str = "keep",
) -> Floats:
    """(N,2,3) matrices that map px of a crop or map of `size` to image px, unrotated.

    Built by swapping the point pairs rather than by inverting, as upstream does.
    """
    if geometry == "udp" or aspect == "stretch":
        extent = np.array(size, dtype=np.float64) - _inset(geometry)
        zoom = scale.astype(np.float64) * UNIT / extent
        return _diagonal(zoom, centre - zoom * (extent / 2))
    source, target = _triangles(centre, scale, size, np.zeros(len(centre)), inset=_inset(geometry))
    return _solve(np.broadcast_to(target, source.shape), source)


def transform(points: Floats, matrices: Floats) -> Floats:
    """Map points (N,K,2) by matrices (N,2,3), in float64."""
    mapped: Floats = points.astype(np.float64, copy=False) @ matrices[:, :, :2].transpose(0, 2, 1)
    mapped += matrices[:, None, :, 2]
    return mapped


def composed(first: Floats, second: Floats) -> Floats:
    """(N,2,3) matrices that map by `first` (N,2,3), then by `second`.

    >>> composed(np.array([[[2.0, 0, 1], [0, 2, 0]]]), np.array([[[1.0, 0, 5], [0, 1, 0]]])).tolist()
    [[[2.0, 0.0, 6.0], [0.0, 2.0, 0.0]]]
    """
    linear = second[:, :, :2] @ first[:, :, :2]
    shift = second[:, :, :2] @ first[:, :, 2:] + second[:, :, 2:]
    return np.concatenate((linear, shift), axis=2)


def mirrored_along_x(matrices: Floats, *, width: int, cells: int, geometry: str) -> Floats:
    """Matrices (N,2,3) between cells of two crops as they are once both are mirrored; `width` px, `cells` across."""
    inset = _inset(geometry)
    reach = (width - 1) * (cells - inset) / (width - inset)  # the cell that lies on the mirror image of cell 0
    turn = np.array([[[-1.0, 0.0, reach], [0.0, 1.0, 0.0]]])
    return composed(composed(turn, matrices), turn)


def warp(
    image: NDArray[np.uint8], matrix: Floats, size: tuple[int, int], *, into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The crop (H,W,3) uint8 of an image: bilinear, black beyond the border (bit-equal to upstream under OpenCV 4).

    `into` (H,W,3), contiguous, is where it is written, if given.
    """
    crop = cv2.warpAffine(image, matrix, size, dst=into, flags=cv2.INTER_LINEAR)
    return np.asarray(crop, dtype=np.uint8) if into is None else into


def _inset(geometry: str) -> int:
    if geometry not in GEOMETRIES:
        raise UsageError(f"unknown geometry '{geometry}'; known: {', '.join(GEOMETRIES)}")
    return 0 if geometry == "plain" else 1


def _turned(difference: NDArray[Any]) -> NDArray[Any]:
    return np.stack([-difference[..., 1], difference[..., 0]], axis=-1)


def _triangles(
    centre: NDArray[np.float32], scale: NDArray[np.floating[Any]], size: tuple[int, int], angles: Floats, *, inset: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Three float32 points per region in the image (N,3,2) and in the crop (3,2)."""
    reach = (scale[:, 0] * np.float32(UNIT) - inset).astype(np.float64) * -0.5
    radians = np.deg2rad(angles)
    upward = np.stack([-reach * np.sin(radians), reach * np.cos(radians)], axis=1)
    source = np.empty((len(centre), 3, 2), dtype=np.float32)
    source[:, 0] = centre
    source[:, 1] = centre + upward
    source[:, 2] = source[:, 1] + _turned(source[:, 0] - source[:, 1])
    target = np.empty((3, 2), dtype=np.float32)
    target[0] = (size[0] - inset) * 0.5, (size[1] - inset) * 0.5
    target[1] = target[0] + np.array([0.0, (size[0] - inset) * -0.5], dtype=np.float32)
    target[2] = target[1] + _turned(target[0] - target[1])
    return source, target


def _solve(source: NDArray[np.float32], target: NDArray[np.float32]) -> Floats:
    matrices = np.empty((len(source), 2, 3))
    for row, (three, others) in enumerate(zip(source, target, strict=True)):
        matrices[row] = cv2.getAffineTransform(np.ascontiguousarray(three), np.ascontiguousarray(others))
    return matrices


def _udp(
    centre: NDArray[np.float32], scale: NDArray[np.floating[Any]], size: tuple[int, int], angles: Floats
) -> Floats:
    """Independent zooms, corner pixels on corners; positive angles turn the other way (codecs.md 1.4)."""
    sides = scale.astype(np.float64) * UNIT
    zoom = (np.array(size, dtype=np.float64) - 1) / sides
    cos, sin = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    turn = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
    linear = turn * zoom[:, :, None]
    # The translation uses the sine with the signs of upstream: rows (-c_x cos + c_y sin), (-c_x sin - c_y cos).
    shift = zoom * (sides / 2) - np.einsum("nij,nj->ni", linear, centre.astype(np.float64))
    matrices: Floats = np.concatenate([linear, shift[:, :, None]], axis=2)
    return matrices.astype(np.float32).astype(np.float64)


def _stretched(
    centre: NDArray[np.float32], scale: NDArray[np.floating[Any]], size: tuple[int, int], geometry: str
) -> Floats:
    if geometry == "udp":
        return _udp(centre, scale, size, np.zeros(len(centre)))
    extent = np.array(size, dtype=np.float64) - _inset(geometry)
    zoom = extent / (scale.astype(np.float64) * UNIT)
    return _diagonal(zoom, extent / 2 - zoom * centre)


def _diagonal(zoom: Floats, shift: Floats) -> Floats:
    matrices = np.zeros((len(zoom), 2, 3))
    matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, :, 2] = zoom[:, 0], zoom[:, 1], shift
    return matrices
