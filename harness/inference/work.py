"""The work of one sequence: which crops each frame owes, which batches they fill, and the poses that come back.

Batches never cross a sequence, so that a resumed run computes with the same batches, bit for bit, as an unbroken one;
they are of nearly equal size, so that none is nearly empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.clips import Clips
from harness.datasets.sequences import Sequence
from harness.errors import DataError
from harness.inference.crops import centre_and_scale, crop_matrices, image_matrices, transform, warp
from harness.inference.images import read_image
from harness.methods import CropSpec

__all__ = ["FrameCrops", "SequenceWork", "balanced"]


@dataclass(frozen=True)
class FrameCrops:
    """All crops a frame owes: `crops` (K,H,W,3) uint8 for clip rows `rows` (K,), at `places` (K,) in the clip."""

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    crops: NDArray[np.uint8]
    size: tuple[int, int]
    read_seconds: float
    crop_seconds: float


def balanced(count: int, batch_size: int) -> list[slice]:
    """Slices of nearly equal length, at most `batch_size`, that cover `count` rows.

    >>> [part.stop - part.start for part in balanced(50, 32)]
    [25, 25]
    """
    parts = -(-count // batch_size)
    edges = [count * part // parts for part in range(parts + 1)] if parts else [0]
    return [slice(start, stop) for start, stop in pairwise(edges)]


@dataclass
class SequenceWork:
    """A sequence while it is worked on. `number` is its place in the data set, `root` where image paths start."""

    number: int
    sequence: Sequence
    clips: Clips
    root: Path
    spec: CropSpec
    crop_geometry: str
    back_geometry: str
    batch_size: int
    joint_count: int
    read: Callable[[Path], NDArray[np.uint8]] | None = None
    done: int = 0
    _size: tuple[int, int] | None = None
    _filling: dict[int, tuple[NDArray[np.uint8], int]] = field(default_factory=dict)

    @cached_property
    def joints(self) -> NDArray[np.float64]:
        """(N,J,2) px in the image, filled batch by batch."""
        return np.full((len(self.clips), self.joint_count, 2), np.nan)

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(N,J) filled batch by batch."""
        return np.full((len(self.clips), self.joint_count), np.nan)

    @cached_property
    def batches(self) -> list[slice]:
        """Clip rows of every batch."""
        return balanced(len(self.clips), self.batch_size)

    @cached_property
    def regions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centres and scales of all boxes."""
        return centre_and_scale(self.clips.boxes, self.spec.size, enlarge=self.spec.enlarge, aspect=self.spec.aspect)

    @cached_property
    def _matrices(self) -> NDArray[np.float64]:
        return crop_matrices(*self.regions, self.spec.size, geometry=self.crop_geometry, aspect=self.spec.aspect)

    @cached_property
    def _uses(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For every image the (rows, places) that show it."""
        flat = self.clips.support.ravel()
        order = np.argsort(flat, kind="stable")
        parts = np.split(order, np.searchsorted(flat[order], np.arange(1, len(self.clips.images))))
        width = max(self.clips.support.shape[1], 1)
        return [(part // width, part % width) for part in parts]

    def crops_of(self, image: int) -> FrameCrops:
        """Read one image and cut everything it owes; safe to call from several threads."""
        rows, places = self._uses[image]
        started = perf_counter()
        picture = (self.read or read_image)(self.root / self.clips.images[image])
        cut = perf_counter()
        size = self.spec.size
        crops = np.empty((len(rows), size[1], size[0], 3), dtype=np.uint8)
        for target, row in zip(crops, rows.tolist(), strict=True):
            crop = warp(picture, self._matrices[row], size)
            if self.spec.colour == "rgb":
                cv2.cvtColor(crop, cv2.COLOR_BGR2RGB, dst=target)
            else:
                target[:] = crop
        height, width = picture.shape[:2]
        return FrameCrops(rows, places, crops, (width, height), cut - started, perf_counter() - cut)

    def full_batches(self, frame: FrameCrops | None) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Put the crops of a frame in their batches and hand out those that are complete: rows, (B,T,H,W,3).

        A method that sees no pixels has no frames: None hands out all batches, with T = 0.
        """
        height, width = self.spec.size[1], self.spec.size[0]
        if frame is None:
            for part in self.batches:
                yield part, np.empty((part.stop - part.start, 0, height, width, 3), dtype=np.uint8)
            return
        self._check_size(frame)
        starts = np.array([part.start for part in self.batches])
        batch_of = np.searchsorted(starts, frame.rows, side="right") - 1
        for number in np.unique(batch_of).tolist():
            part, mine = self.batches[number], batch_of == number
            if number not in self._filling:
                shape = (part.stop - part.start, self.clips.support.shape[1], height, width, 3)
                self._filling[number] = np.empty(shape, dtype=np.uint8), shape[0] * shape[1]
            crops, owed = self._filling.pop(number)
            crops[frame.rows[mine] - part.start, frame.places[mine]] = frame.crops[mine]
            if owed > mine.sum():
                self._filling[number] = crops, owed - int(mine.sum())
            else:
                yield part, crops

    def keep(
        self, part: slice, decoded: NDArray[np.float64], scores: NDArray[np.float64], grid: tuple[int, int]
    ) -> None:
        """Keep what was decoded for some rows: joints (B,J,2) on a grid of `grid` cells, scores (B,J)."""
        centre, scale = self.regions
        back = image_matrices(centre[part], scale[part], grid, geometry=self.back_geometry, aspect=self.spec.aspect)
        self.joints[part] = transform(decoded, back)
        # Joint score = decoded score x box score, for every joint (dcpose.md 6.5).
        self.scores[part] = scores * self.clips.box_scores[part, None]
        self.done += part.stop - part.start

    def where(self, row: int) -> str:
        """Sequence and frame of a clip row, for messages."""
        return f"{self.sequence.name}, frame {self.sequence.frames[int(self.clips.frame[row])].image}"

    def _check_size(self, frame: FrameCrops) -> None:
        self._size = self._size or frame.size
        if frame.size != self._size:
            place = self.where(int(frame.rows[0]))
            raise DataError(
                f"{place}: shows a picture of {frame.size} px, those before have {self._size}; mend the images"
            )
