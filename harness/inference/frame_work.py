"""The work of a whole-frame method in one sequence: inputs of every scale, batches of frames, persons per frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK
from harness.errors import HarnessError
from harness.grouping import People
from harness.inference.crops import transform, warp
from harness.inference.frame_inputs import FrameInput, base_size, frame_inputs, matrix_back
from harness.inference.work import SequenceWork
from harness.methods import FrameSpec
from harness.predictions import Predictions
from harness.skeletons import Skeleton

__all__ = ["FrameWork", "people_of"]

Picture = NDArray[np.uint8]


@dataclass
class FrameWork(SequenceWork):
    """A sequence whose clips are its frames, one row each; batches never cross it, so all frames have one size."""

    frame: FrameSpec = field(default_factory=lambda: FrameSpec(512))
    anchored: bool = False
    found: dict[int, People] = field(default_factory=dict)
    _inputs: dict[int, list[Picture]] = field(default_factory=dict)
    _left: dict[int, int] = field(default_factory=dict)

    def take(self, image: int, picture: Picture) -> None:
        """Make the inputs of a picture (H,W,3) BGR, of every scale; safe to call from several threads."""
        height, width = picture.shape[:2]
        rgb = self.spec.colour == "rgb"
        coloured = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8) if rgb else picture
        made = [warp(coloured, item.matrix, item.size) for item in self.inputs_of((width, height))]
        for row in self.uses(image)[0].tolist():
            self._inputs[row] = made

    def frame_batches(self, image: int | None, size: tuple[int, int]) -> Iterator[tuple[slice, list[torch.Tensor]]]:
        """After an image of `size` px: rows and inputs (B,1,H,W,3) of every scale of each batch it completes.

        None stands for the end of a sequence that shows no frame, of which there is no batch.
        """
        if image is None:
            return
        rows = self.uses(image)[0]
        self._check_size(size, rows)
        for number in self._batch_of[rows].tolist():
            part = self.batches[number]
            self._left[number] = self._left.get(number, part.stop - part.start) - 1
            if self._left[number] == 0:
                of_rows = [self._inputs.pop(row) for row in range(part.start, part.stop)]
                stacked = [np.stack(of_scale)[:, None] for of_scale in zip(*of_rows, strict=True)]
                yield part, [torch.from_numpy(each) for each in stacked]

    def inputs_of(self, size: tuple[int, int]) -> list[FrameInput]:
        """The inputs of a frame of `size` px, of falling scale."""
        return frame_inputs(size, self.frame, anchored=self.anchored)

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the frames, known once one was seen."""
        if self._size is None:
            raise HarnessError(f"{self.sequence.name}: no frame was read before its size was asked for")
        return self._size

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the input at scale 1, known once a frame was seen."""
        return base_size(self.shown, self.frame, anchored=self.anchored)

    def keep_people(self, part: slice, people: list[People]) -> None:
        """Keep who was found in the frames of some rows, moved to px of the frame."""
        matrix = matrix_back(self.inputs_of(self.shown), self.size)
        for row, found in zip(range(part.start, part.stop), people, strict=True):
            joints = transform(found.joints[None].reshape(1, -1, 2), matrix[None]).reshape(found.joints.shape)
            self.found[row] = People(joints, found.scores, found.person_scores, found.present)
        self.done += part.stop - part.start


def people_of(work: FrameWork, source: Skeleton, target: Skeleton) -> Predictions:
    """Everyone in a sequence in the data set's joint order; the box of a person is the extent of the joints."""
    rows = sorted(work.found)
    found = [work.found[row] for row in rows]
    counts = np.array([len(people) for people in found], dtype=np.int64)
    count = int(counts.sum())
    joints, scores = np.full((count, len(target), 2), np.nan), np.full((count, len(target)), np.nan)
    present = np.zeros((count, len(target)), dtype=bool)
    shared = [name for name in target.names if name in source.names]
    to, of = [target.index(name) for name in shared], [source.index(name) for name in shared]
    if count:
        joints[:, to] = np.concatenate([people.joints for people in found])[:, of]
        scores[:, to] = np.concatenate([people.scores for people in found])[:, of]
        present[:, to] = np.concatenate([people.present for people in found])[:, of]
    joints[~present], scores[~present] = np.nan, np.nan
    return Predictions(
        sequence_names=(work.sequence.name,),
        sequence=np.zeros(count, dtype=np.int64),
        frame=np.repeat(work.clips.frame[rows], counts),
        person=np.concatenate([np.arange(each) for each in [*counts.tolist(), 0]]).astype(np.int64),
        track_ids=np.full(count, NO_TRACK),
        boxes=_extents(joints, present),
        box_scores=np.concatenate([people.person_scores for people in found] or [np.zeros(0)]),
        joints=joints,
        scores=scores,
        present=present,
        skeleton=target,
    )


def _extents(joints: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(P,4) xyxy px of the joints that are there; NaN where none is."""
    low = np.where(present[:, :, None], joints, np.inf).min(axis=1)
    high = np.where(present[:, :, None], joints, -np.inf).max(axis=1)
    some = present.any(axis=1)[:, None]
    return np.hstack([np.where(some, low, np.nan), np.where(some, high, np.nan)])
