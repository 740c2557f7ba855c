"""The work of one method in one sequence: which crops it owes, which batches they fill, and the poses that come back.

Batches never cross a sequence, so that a resumed run computes with the same batches, bit for bit, as an unbroken one;
they are of nearly equal size, so that none is nearly empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from harness.clips import Clips
from harness.datasets.sequences import Sequence
from harness.errors import DataError
from harness.inference.crops import centre_and_scale, composed, crop_matrices, image_matrices, mirrored_along_x
from harness.inference.recurrence import Past, rows_before
from harness.methods import CropSpec

__all__ = ["SequenceWork", "balanced"]

Integers = NDArray[np.int64]


@dataclass
class _Batch:
    """Clips of consecutive rows while their crops come in; `owed` crops are still missing."""

    part: slice
    crops: torch.Tensor
    owed: int

    @cached_property
    def array(self) -> NDArray[np.uint8]:
        """The crops as an array over the same memory."""
        array: NDArray[np.uint8] = self.crops.numpy()
        return array


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
    """A sequence while it is worked on. `number` is its place in the data set; `device` is where batches are filled.

    `step` are the places in a clip that a person with a past is looked at in; None where nobody has one. `control` is
    the work, of the same rows, that the backbone's heatmaps of the same pass are for. `whole` batches are as
    large as may be, but for the last; `pinned` ones are uploaded without waiting.
    """

    number: int
    sequence: Sequence
    clips: Clips
    spec: CropSpec
    crop_geometry: str
    back_geometry: str
    batch_size: int
    joint_count: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    step: list[int] | None = None
    control: SequenceWork | None = None
    whole: bool = False
    pinned: bool = False
    done: int = 0
    failed: bool = False
    _size: tuple[int, int] | None = None
    _open: dict[int, _Batch] = field(default_factory=dict)
    _full: dict[int, _Batch] = field(default_factory=dict)
    _next: int = 0
    _lock: Lock = field(default_factory=Lock)

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
        """Clip rows of every batch; none has people of two frames where they have a past."""
        if self.whole:
            count, size = len(self.clips), self.batch_size
            return [slice(start, min(start + size, count)) for start in range(0, count, size)]
        if self.step is None:
            return balanced(len(self.clips), self.batch_size)
        edges = [*np.flatnonzero(np.diff(self.clips.frame, prepend=-1)).tolist(), len(self.clips)]
        return [
            slice(start + part.start, start + part.stop)
            for start, stop in pairwise(edges)
            for part in balanced(stop - start, self.batch_size)
        ]

    @cached_property
    def before(self) -> Integers:
        """(N,) the row of the same track in the frame before, -1 where there is none."""
        return rows_before(self.clips, self.sequence)

    @cached_property
    def past(self) -> Past | None:
        """What is carried along the tracks of the sequence."""
        return None if self.step is None else Past(self)

    @cached_property
    def matrices(self) -> NDArray[np.float64]:
        """(N,2,3) matrices from image px to px of the crop."""
        return crop_matrices(*self._regions, self.spec.size, geometry=self.crop_geometry, aspect=self.spec.aspect)

    @cached_property
    def images(self) -> dict[str, int]:
        """Path of every image -> its number in the clips."""
        return {path: number for number, path in enumerate(self.clips.images)}

    @cached_property
    def crop_key(self) -> tuple[object, ...]:
        """Equal for two methods whose crops of a row are equal."""
        return self.spec.size, self.spec.colour, self.matrices.tobytes()

    def uses(self, image: int) -> tuple[Integers, Integers]:
        """(rows, places) of the clips that show an image."""
        return self._uses[image]

    def sources(self, rows: Integers, places: Integers) -> Integers:
        """The row whose box cuts the crop of each row and place: its own, unless the clips say otherwise."""
        given = self.clips.cut_as
        return rows if given is None else given[rows, places]

    def slot(self, row: int, place: int) -> NDArray[np.uint8]:
        """Where the crop (H,W,3) of a clip belongs; safe to call from several threads."""
        batch = self._batch(int(self._batch_of[row]))
        slot: NDArray[np.uint8] = batch.array[row - batch.part.start, place]
        return slot

    def fill(self, rows: Integers, places: Integers, crops: torch.Tensor) -> None:
        """Put crops (K,H,W,3) that were made on the device in their batches."""
        for number in np.unique(self._batch_of[rows]).tolist():
            batch, mine = self._batch(number), self._batch_of[rows] == number
            inside = torch.from_numpy(rows[mine] - batch.part.start).to(self.device, non_blocking=True)
            at = torch.from_numpy(places[mine]).to(self.device, non_blocking=True)
            batch.crops[inside, at] = crops[torch.from_numpy(np.flatnonzero(mine)).to(self.device, non_blocking=True)]

    def full_batches(self, image: int | None, size: tuple[int, int]) -> Iterator[tuple[slice, torch.Tensor]]:
        """After the crops of an image of `size` px are in place: rows and crops (B,T,H,W,3) of each complete batch.

        A method that sees no pixels has no images: None hands out all batches, with T = 0.
        """
        if image is None:
            for part in self.batches:
                yield part, self._empty(part.stop - part.start)
            return
        rows, _ = self.uses(image)
        if not len(rows):
            return
        self._check_size(size, rows)
        numbers, counts = np.unique(self._batch_of[rows], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            batch = self._open[number]
            batch.owed -= count
            if batch.owed == 0:
                self._full[number] = self._open.pop(number)
        for number in sorted(self._full):
            if self.step is not None and number != self._next:
                return
            batch = self._full.pop(number)
            self._next = number + 1
            yield batch.part, batch.crops

    def back(self, part: slice, grid: tuple[int, int]) -> NDArray[np.float64]:
        """(B,2,3) matrices from a grid of `grid` cells to image px for some rows."""
        centre, scale = self._regions
        return image_matrices(centre[part], scale[part], grid, geometry=self.back_geometry, aspect=self.spec.aspect)

    def moved(self, rows: Integers, before: Integers, grid: tuple[int, int], *, mirrored: bool) -> NDArray[np.float64]:
        """(K,2,3) matrices from cells of the crops of `rows` to cells of the crops of the rows `before`."""
        centre, scale = self._regions
        back = image_matrices(centre[rows], scale[rows], grid, geometry=self.back_geometry, aspect=self.spec.aspect)
        there = crop_matrices(
            centre[before], scale[before], grid, geometry=self.back_geometry, aspect=self.spec.aspect
        )  # fmt: skip
        found = composed(back, there)
        if not mirrored:
            return found
        return mirrored_along_x(found, width=self.spec.size[0], cells=grid[0], geometry=self.back_geometry)

    def keep(self, part: slice, joints: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        """Keep what was found for some rows: joints (B,J,2) in image px, scores (B,J)."""
        self.joints[part] = joints
        # Joint score = decoded score x box score, for every joint (dcpose.md 6.5).
        self.scores[part] = scores * self.clips.box_scores[part, None]
        self.done += part.stop - part.start

    def where(self, row: int) -> str:
        """Sequence and frame of a clip row, for messages."""
        return f"{self.sequence.name}, frame {self.sequence.frames[int(self.clips.frame[row])].image}"

    @cached_property
    def _regions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centres and scales of all boxes."""
        return centre_and_scale(self.clips.boxes, self.spec.size, enlarge=self.spec.enlarge, aspect=self.spec.aspect)

    @cached_property
    def _uses(self) -> list[tuple[Integers, Integers]]:
        flat = self.clips.support.ravel()
        order = np.argsort(flat, kind="stable")
        order = order[self._wanted.ravel()[order]]
        parts = np.split(order, np.searchsorted(flat[order], np.arange(1, len(self.clips.images))))
        width = max(self.clips.support.shape[1], 1)
        return [(part // width, part % width) for part in parts]

    @cached_property
    def _wanted(self) -> NDArray[np.bool_]:
        """(N,T) which crops are looked at: all, but for people with a past."""
        wanted = np.ones(self.clips.support.shape, dtype=bool)
        if self.step is not None:
            wanted[self.before >= 0] = np.isin(np.arange(wanted.shape[1]), self.step)
        return wanted

    @cached_property
    def _batch_of(self) -> Integers:
        lengths = np.array([part.stop - part.start for part in self.batches], dtype=np.int64)
        return np.repeat(np.arange(len(lengths)), lengths)

    def _batch(self, number: int) -> _Batch:
        with self._lock:
            if number not in self._open:
                part = self.batches[number]
                crops = self._empty(part.stop - part.start)
                self._open[number] = _Batch(part, crops, int(self._wanted[part].sum()))
            return self._open[number]

    def _empty(self, count: int) -> torch.Tensor:
        shape = (count, self.clips.support.shape[1], self.spec.size[1], self.spec.size[0], 3)
        return torch.empty(shape, dtype=torch.uint8, device=self.device, pin_memory=self.pinned)

    def _check_size(self, size: tuple[int, int], rows: Integers) -> None:
        self._size = self._size or size
        if size != self._size:
            raise DataError(
                f"{self.where(int(rows[0]))}: shows a picture of {size} px, those before have {self._size}; "
                "mend the images"
            )
