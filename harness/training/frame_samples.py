"""Whole frames to learn from: everyone in them at once, augmented together. The same step gives the same batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.boxes import people_boxes
from harness.datasets.pictures import image_bytes
from harness.datasets.sequences import DataSet, Polygon
from harness.errors import DataError
from harness.inference.crops import centre_and_scale, crop_matrices, transform, warp
from harness.methods import CropSpec
from harness.skeletons import Skeleton
from harness.training.batches import Batch
from harness.training.frame_masks import counted_px, outlines
from harness.training.recipe import Augmentation

__all__ = ["FrameSamples", "FrameStream", "collect_frames"]


@dataclass(frozen=True)
class FrameSamples:
    """N frames with people: `files` their encoded images, `joints` (P,J,2) px, `annotated` (P,J) and `areas` (P,) px2
    of the boxes of each; `ignored` polygons (K,2) px where nothing counts; `sequence` (N,) where each is from."""

    files: list[bytes]
    joints: list[NDArray[np.float64]]
    annotated: list[NDArray[np.bool_]]
    areas: list[NDArray[np.float64]]
    ignored: list[tuple[Polygon, ...]]
    sequence: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    def of(self, rows: NDArray[np.int64]) -> FrameSamples:
        """The samples of some rows."""
        chosen = rows.tolist()
        return FrameSamples(
            [self.files[row] for row in chosen], [self.joints[row] for row in chosen],
            [self.annotated[row] for row in chosen], [self.areas[row] for row in chosen],
            [self.ignored[row] for row in chosen], self.sequence[rows],
        )  # fmt: skip


def collect_frames(dataset: DataSet, *, minimum_joints: int = 1, masked: bool = False) -> FrameSamples:
    """The labelled frames of a split with people of at least `minimum_joints` annotated joints.

    If `masked`, ignore regions count for nothing, nor do the boxes, where known, of people with fewer joints. Raises
    DataError for a split without any.
    """
    files, joints, annotated, areas, ignored, sequence = [], [], [], [], [], []
    for number, item in enumerate(dataset.sequences):
        truth = item.truth
        known = (truth.boxes[:, 2:] > truth.boxes[:, :2]).all(axis=1, keepdims=True)
        boxes = np.where(known, truth.boxes, people_boxes(dataset, item))
        enough = truth.annotated.sum(axis=1) >= minimum_joints
        for position in np.unique(truth.frame[enough]).tolist():
            rows = np.flatnonzero((truth.frame == position) & enough)
            files.append(image_bytes(dataset.image_path(item.frames[position])))
            joints.append(truth.joints[rows])
            annotated.append(truth.annotated[rows])
            areas.append((boxes[rows, 2:] - boxes[rows, :2]).prod(axis=1))
            others = boxes[(truth.frame == position) & ~enough]
            ignored.append((*truth.ignore.get(position, ()), *outlines(others)) if masked else ())
            sequence.append(number)
    if not files:
        raise DataError(f"{dataset.name} {dataset.split}: no frame shows anyone; there is nothing to learn from")
    return FrameSamples(files, joints, annotated, areas, ignored, np.array(sequence, dtype=np.int64))


class _Frame(NamedTuple):
    """A picture (H,W,3), joints (P,J,2) in it, which are known, px2 of boxes (P,), px (H,W) that count (None: all)."""

    picture: NDArray[np.uint8]
    joints: NDArray[np.float64]
    known: NDArray[np.bool_]
    areas: NDArray[np.float64]
    counted: NDArray[np.bool_] | None


@dataclass(frozen=True)
class FrameStream:
    """An endless, seeded stream of batches: every frame once per epoch, in a new order each time.

    Batches hold `joints` (B,P,J,2), `weights` (B,P,J) and `areas` (B,P), padded with people who count for nothing, and
    `counted` where something is ignored. Of `ranks` processes each takes every so manieth sample of a batch.
    """

    samples: FrameSamples
    crop: CropSpec
    skeleton: Skeleton
    augmentation: Augmentation
    batch_size: int
    seed: int
    rank: int = 0
    ranks: int = 1

    def rows(self, step: int) -> NDArray[np.int64]:
        """(B,) samples of a step."""
        places, count = np.arange(step * self.batch_size, (step + 1) * self.batch_size), len(self.samples)
        epochs = places // count
        orders = {
            epoch: np.random.default_rng([self.seed, 1, epoch]).permutation(count) for epoch in set(epochs.tolist())
        }
        return np.array([orders[epoch][place % count] for epoch, place in zip(epochs.tolist(), places, strict=True)])

    def batch(self, step: int) -> Batch:
        """The batch of a step, or this process's part of it."""
        how, count = self.augmentation, self.batch_size
        draw = np.random.default_rng([self.seed, 2, step])
        factor = np.clip(1 + how.scale * draw.standard_normal(count), 1 - how.scale, 1 + how.scale)
        turns = np.clip(how.rotation * draw.standard_normal(count), -2 * how.rotation, 2 * how.rotation)
        turns *= draw.random(count) < how.rotation_probability
        offset, flipped = draw.uniform(-how.shift, how.shift, (count, 2)), draw.random(count) < how.flip
        gain = draw.uniform(1 - how.colour, 1 + how.colour, (count, 3)) ** 0.5
        gain *= draw.uniform(1 - how.colour, 1 + how.colour, (count, 1))
        bias = np.repeat(draw.uniform(-how.colour / 2, how.colour / 2, (count, 1)), 3, axis=1)
        own = np.arange(self.rank, count, self.ranks)
        made = [
            self._made(row, factor[place], turns[place], offset[place], bool(flipped[place]))
            for row, place in zip(self.rows(step)[own].tolist(), own.tolist(), strict=True)
        ]
        joints, known, areas = _padded(made)
        nowhere = np.zeros((len(own), 2), dtype=np.float32)
        return Batch(
            np.stack([frame.picture for frame in made])[:, None], joints, known, gain[own].astype(np.float32),
            bias[own].astype(np.float32), nowhere, nowhere, _together([frame.counted for frame in made]), areas,
        )  # fmt: skip

    def _made(self, row: int, factor: float, turn: float, offset: NDArray[np.float64], mirror: bool) -> _Frame:
        """A frame under one draw of the augmentation."""
        picture = cv2.imdecode(np.frombuffer(self.samples.files[row], dtype=np.uint8), cv2.IMREAD_COLOR)
        if self.crop.colour == "rgb":
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        height, width = picture.shape[:2]
        whole = np.array([[0.0, 0.0, width, height]])
        centre, scale = centre_and_scale(whole, self.crop.size, enlarge=1.0)
        centre, scale = (centre + offset * scale * 200).astype(np.float32), (scale * factor).astype(np.float32)
        matrix = crop_matrices(centre, scale, self.crop.size, rotation=turn)
        shown = warp(np.asarray(picture, dtype=np.uint8), matrix[0], self.crop.size)
        people, known = self.samples.joints[row], self.samples.annotated[row]
        joints = transform(np.nan_to_num(people).reshape(1, -1, 2), matrix).reshape(people.shape)
        regions = self.samples.ignored[row]
        counted = counted_px(regions, matrix[0], self.crop.size) if regions else None
        if mirror:
            shown = np.ascontiguousarray(shown[:, ::-1])
            counted = counted if counted is None else counted[:, ::-1]
            joints[..., 0] = self.crop.size[0] - 1 - joints[..., 0]
            joints, known = joints[:, self.skeleton.flip_order], known[:, self.skeleton.flip_order]
        known = known & ((joints >= 0) & (joints < self.crop.size)).all(axis=-1)
        return _Frame(shown, joints, known, self.samples.areas[row], counted)


def _padded(frames: list[_Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Joints (B,P,J,2), weights (B,P,J) and areas (B,P) with as many people as the fullest frame has."""
    most = max(len(frame.joints) for frame in frames)
    shape = (len(frames), most, frames[0].joints.shape[1])
    places, weights = np.zeros((*shape, 2), dtype=np.float32), np.zeros(shape, dtype=np.float32)
    areas = np.zeros(shape[:2], dtype=np.float32)
    for row, frame in enumerate(frames):
        count = len(frame.joints)
        places[row, :count], weights[row, :count], areas[row, :count] = frame.joints, frame.known, frame.areas
    return places, weights, areas


def _together(counted: list[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    """(B,H,W), all of a frame where nothing in it is ignored; None where that is so of every frame."""
    shape = next((part.shape for part in counted if part is not None), None)
    if shape is None:
        return None
    whole: NDArray[np.bool_] = np.ones(shape, dtype=bool)
    return np.stack([whole if part is None else part for part in counted])
