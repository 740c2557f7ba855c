"""Smoothing maps and vectors as OpenCV's GaussianBlur does with sigma 0, and reading the cells around a peak."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Border", "blur", "blur_rows", "neighbourhood"]

#: What lies beyond the border: nothing, or the mirrored map without its edge (OpenCV's default).
Border = Literal["zero", "reflect"]


def blur(maps: torch.Tensor, kernel: int, *, border: Border) -> torch.Tensor:
    """Maps (B,J,h,w) smoothed by a Gaussian of `kernel` x `kernel` cells, kernel odd (codecs spec 4.2)."""
    down = torch.from_numpy(_smoothing(maps.shape[-2], kernel, border)).to(maps)
    return down.T @ blur_rows(maps, kernel, border=border)


def blur_rows(values: torch.Tensor, kernel: int, *, border: Border) -> torch.Tensor:
    """Values (..., n) smoothed along the last axis."""
    return values @ torch.from_numpy(_smoothing(values.shape[-1], kernel, border)).to(values)


def neighbourhood(maps: torch.Tensor, cells: torch.Tensor, *, radius: int) -> torch.Tensor:
    """(B,J,2r+1,2r+1) the values around `cells` (B,J,2) x, y; beyond the border the nearest cell's.

    >>> maps = torch.arange(6.0).view(1, 1, 2, 3)
    >>> neighbourhood(maps, torch.tensor([[[0, 1]]]), radius=1)[0, 0].tolist()
    [[0.0, 0.0, 1.0], [3.0, 3.0, 4.0], [3.0, 3.0, 4.0]]
    """
    height, width = maps.shape[-2:]
    steps = torch.arange(-radius, radius + 1, device=maps.device)
    columns = (cells[..., :1] + steps).clamp(0, width - 1)
    rows = (cells[..., 1:] + steps).clamp(0, height - 1)
    places = rows[..., :, None] * width + columns[..., None, :]
    return maps.flatten(2).gather(2, places.flatten(2)).view_as(places)


@lru_cache(maxsize=64)
def _smoothing(length: int, kernel: int, border: Border) -> NDArray[np.float64]:
    """(n,n) matrix that smooths a row of n cells: much faster than a convolution of one channel."""
    # OpenCV's own numbers: up to size 9 they are tables, not the formula
    weights = np.asarray(cv2.getGaussianKernel(kernel, 0), dtype=np.float64)[:, 0]
    matrix = np.zeros((length, length))
    for step, weight in enumerate(weights, start=-(kernel // 2)):
        targets = np.arange(length)
        sources = targets + step
        if border == "zero":
            targets = targets[(sources >= 0) & (sources < length)]
            sources = targets + step
        else:
            period = max(2 * length - 2, 1)
            sources = np.minimum(sources % period, -sources % period)
        np.add.at(matrix, (sources, targets), weight)
    return matrix
