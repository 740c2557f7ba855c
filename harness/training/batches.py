"""Batches: step number in, augmented crops and joints out. The same step gives the same batch in every run."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.inference.crops import centre_and_scale, crop_matrices, transform, warp
from harness.methods import CropSpec
from harness.proposals import proposal
from harness.skeletons import Skeleton
from harness.training.half_body import half_body_regions
from harness.training.recipe import Augmentation
from harness.training.samples import Samples

__all__ = ["Batch", "Batches", "Stream", "plain_batch"]


@dataclass(frozen=True)
class Batch:
    """`crops` (B,T,H,W,3) uint8; `joints` (B,J,2) px of the crop; `weights` (B,J); `gain`, `bias` (B,3) of 0..1 values.

    `centre`, `scale` (B,2) say which region was cut. Of whole frames alone: `counted` (B,H,W) px that count, None for
    all of them, and `areas` (B,P) px2 of people's boxes in the image.
    """

    crops: NDArray[np.uint8]
    joints: NDArray[np.float32]
    weights: NDArray[np.float32]
    gain: NDArray[np.float32]
    bias: NDArray[np.float32]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    counted: NDArray[np.bool_] | None = None
    areas: NDArray[np.float32] | None = None


class Batches(Protocol):
    """What a trainer learns from: the same step gives the same batch."""

    @property
    def samples(self) -> Sized:
        """What batches are made of."""

    def batch(self, step: int) -> Batch:
        """The batch of a step."""


@dataclass(frozen=True)
class Stream:
    """An endless, seeded stream of batches: every sample once per epoch, in a new order each time.

    Of `ranks` processes each takes every so manieth sample of a batch, as the whole batch would have it.
    """

    samples: Samples
    crop: CropSpec
    geometry: str
    skeleton: Skeleton
    augmentation: Augmentation
    batch_size: int
    seed: int
    rank: int = 0
    ranks: int = 1

    def rows(self, step: int) -> NDArray[np.int64]:
        """(B,) samples of a step, over all processes."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        count = len(self.samples)
        epochs = places // count
        orders = {
            epoch: np.random.default_rng([self.seed, 1, epoch]).permutation(count) for epoch in set(epochs.tolist())
        }
        return np.array([orders[epoch][place % count] for epoch, place in zip(epochs.tolist(), places, strict=True)])

    def batch(self, step: int) -> Batch:
        """The batch of a step, or this process's part of it."""
        rows, how, count = self.rows(step), self.augmentation, self.batch_size
        draw = np.random.default_rng([self.seed, 2, step])
        centre, scale = self._regions(rows, step)
        factor = np.clip(1 + how.scale * draw.standard_normal(count), 1 - how.scale, 1 + how.scale)
        turns = np.clip(how.rotation * draw.standard_normal(count), -2 * how.rotation, 2 * how.rotation)
        turns *= draw.random(count) < how.rotation_probability
        offset = draw.uniform(-how.shift, how.shift, (count, 2)) * scale * 200
        flipped = draw.random(count) < how.flip
        gain = draw.uniform(1 - how.colour, 1 + how.colour, (count, 3)) ** 0.5
        gain *= draw.uniform(1 - how.colour, 1 + how.colour, (count, 1))
        bias = np.repeat(draw.uniform(-how.colour / 2, how.colour / 2, (count, 1)), 3, axis=1)
        region = (centre + offset).astype(np.float32), (scale * factor[:, None]).astype(np.float32)
        own = slice(self.rank, None, self.ranks)
        return _cut(
            self, rows[own], region[0][own], region[1][own], turns[own], flipped[own],
            gain[own].astype(np.float32), bias[own].astype(np.float32),
        )  # fmt: skip

    def _regions(self, rows: NDArray[np.int64], step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centres and scales (B,2): of the boxes, or of half a body where that is drawn."""
        centre, scale = centre_and_scale(
            self._boxes(rows, step), self.crop.size, enlarge=self.crop.enlarge, aspect=self.crop.aspect
        )
        if not self.augmentation.half_body:
            return centre, scale
        # Apart from the other draws, so that these do not depend on whether there is a half body.
        draw = np.random.default_rng([self.seed, 3, step])
        wanted = draw.random(len(rows)) < self.augmentation.half_body
        # Upstream draws from a normal distribution here, so that the upper half comes up in 69 of 100.
        upper = draw.standard_normal(len(rows)) < 0.5
        joints, annotated = self.samples.joints[rows], self.samples.annotated[rows]
        possible, *half = half_body_regions(joints, annotated, self.skeleton, self.crop.size, upper=upper)
        taken = (wanted & possible)[:, None]
        return np.where(taken, half[0], centre), np.where(taken, half[1], scale)

    def _boxes(self, rows: NDArray[np.int64], step: int) -> NDArray[np.float64]:
        """Boxes (B,4), some as a detector might have put them; samples know no image size, so none ends at one."""
        boxes = self.samples.boxes[rows]
        if not self.augmentation.proposals:
            return boxes
        draw = np.random.default_rng([self.seed, 4, step])
        drawn = np.array([proposal(box, (np.inf, np.inf), draw) for box in boxes])
        taken = (draw.random(len(rows)) < self.augmentation.proposals) & (drawn[:, 2:] > drawn[:, :2] + 2).all(axis=1)
        return np.where(taken[:, None], drawn, boxes)


def plain_batch(stream: Stream, rows: NDArray[np.int64]) -> Batch:
    """Samples as they are, without augmentation."""
    boxes, count = stream.samples.boxes[rows], len(rows)
    region = centre_and_scale(boxes, stream.crop.size, enlarge=stream.crop.enlarge, aspect=stream.crop.aspect)
    nothing = np.zeros((count, 3), dtype=np.float32)
    return _cut(stream, rows, *region, np.zeros(count), np.zeros(count, dtype=bool), nothing + 1, nothing)


def _cut(
    stream: Stream,
    rows: NDArray[np.int64],
    centre: NDArray[np.float32],
    scale: NDArray[np.float32],
    turns: NDArray[np.float64],
    flipped: NDArray[np.bool_],
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> Batch:
    samples, (width, height) = stream.samples, stream.crop.size
    matrices = crop_matrices(
        centre, scale, stream.crop.size, geometry=stream.geometry, aspect=stream.crop.aspect, rotation=turns
    )
    joints = transform(samples.joints[rows], matrices)
    weights = samples.annotated[rows]
    joints[flipped, :, 0] = width - 1 - joints[flipped, :, 0]
    joints[flipped] = joints[flipped][:, stream.skeleton.flip_order]
    weights[flipped] = weights[flipped][:, stream.skeleton.flip_order]
    weights &= ((joints >= 0) & (joints <= [width, height])).all(axis=-1)
    # Picture px = (image px - origin) * zoom, so the same map from the picture has its linear part divided by zoom.
    matrices[:, :, 2] += np.einsum("nij,nj->ni", matrices[:, :, :2], samples.origins[rows])
    matrices[:, :, :2] /= samples.zooms[rows, None, None]
    frames = len(samples.pictures[0])
    crops = np.empty((len(rows), frames, height, width, 3), dtype=np.uint8)
    for target, row, matrix, mirror in zip(crops, rows.tolist(), matrices, flipped.tolist(), strict=True):
        for place, picture in enumerate(samples.shown(row)):
            crop = warp(picture, matrix, stream.crop.size)
            target[place] = crop[:, ::-1] if mirror else crop
    return Batch(crops, joints.astype(np.float32), weights.astype(np.float32), gain, bias, centre, scale)
