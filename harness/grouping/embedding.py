"""Persons out of heatmaps and tag maps: HigherHRNet's way, end to end (whole_frame.md 2.2-2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from harness.errors import UsageError
from harness.grouping.candidates import strongest
from harness.grouping.grouping import Pass, People, register_grouping
from harness.grouping.tags import TagRule, match_tags
from harness.skeletons import POSETRACK17, Skeleton

__all__ = ["VISITED", "AssociativeEmbedding", "adjusted", "completed", "mean_maps", "visiting_order"]

Floats = NDArray[np.float32]

#: Cells below each other that are looked at together or not at all.
_STRIP = 8

#: Joints are visited from the head outwards: what lies nearer to the trunk decides who there is.
VISITED = ("head_bottom", "nose", "head_top", "shoulder", "hip", "elbow", "wrist", "knee", "ankle")


def visiting_order(skeleton: Skeleton) -> list[int]:
    """Indices of the joints in the order they are grouped.

    17 places of a COCO layout are visited as they are in COCO: places 0-4 are the head's, whatever they are called.

    >>> visiting_order(POSETRACK17)
    [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]
    """
    limbs = [part for part in VISITED[3:] for _ in range(2)]
    names = [f"{side}_{part}" for part, side in zip(limbs, ("left", "right") * 6, strict=True)]
    head = [name for name in skeleton.names if name not in names]
    if len(head) == 3:
        head = [name for name in VISITED if name in head]
    return [skeleton.index(name) for name in (*head, *names)]


@dataclass(frozen=True)
class AssociativeEmbedding:
    """Outputs [heatmaps and tags (B,J+T,h,w), heatmaps (B,J,2h,2w)] -> persons.

    `rule` decides who a joint belongs to, `kernel` what a peak is; `to_input` resizes maps to the input before they
    are averaged; `complete` fills joints that a person lacks; `least_score` is what a joint needs to be shown.
    """

    order: tuple[int, ...] = tuple(visiting_order(POSETRACK17))
    least_value: float = 0.1
    tag_distance: float = 1.0
    most_people: int = 30
    kernel: int = 5
    to_input: bool = True
    complete: bool = True
    least_score: float = 0.0
    anchored: bool = field(default=False, init=False)
    mirrors: bool = field(default=True, init=False)

    @property
    def rule(self) -> TagRule:
        """When a candidate joins a person."""
        return TagRule(self.least_value, self.tag_distance, self.most_people)

    def mirror(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (B,3,H,W), left and right exchanged."""
        return frames.flip(-1)

    def people(self, passes: Sequence[Pass], size: tuple[int, int], *, flip_order: torch.Tensor) -> list[People]:
        """Persons of each frame, in px of the input at scale 1."""
        heatmaps, tags = mean_maps(passes, size if self.to_input else None, flip_order)
        poses = self.grouped(heatmaps, tags)
        zoom = np.array(size) / (heatmaps.shape[3], heatmaps.shape[2])
        return [self._people(found, scores, zoom) for found, scores in poses]

    def grouped(self, heatmaps: torch.Tensor, tags: torch.Tensor) -> list[tuple[Floats, NDArray[np.float64]]]:
        """Poses (P,J,3+T) in px of maps (B,J,h,w) and scores (P,) of persons, for each frame; tags (B,J,h,w,T)."""
        found = strongest(heatmaps, self.most_people, kernel=self.kernel, least=self.least_value)
        cells = found.cells.unsqueeze(-1).expand(*found.cells.shape, tags.shape[-1])
        values, x, y, read = (
            part.cpu().numpy() for part in (found.values, found.x, found.y, tags.flatten(2, 3).gather(2, cells))
        )
        places = np.stack([x, y], axis=-1).astype(np.float32)
        answers = []
        for frame, maps in enumerate(heatmaps):
            poses = match_tags(values[frame], places[frame], read[frame], self.order, self.rule)
            poses = adjusted(poses, maps)
            scores = poses[:, :, 2].mean(axis=1, dtype=np.float32).astype(np.float64)
            answers.append((completed(poses, maps, tags[frame]) if self.complete else poses, scores))
        return answers

    def _people(self, poses: Floats, person_scores: NDArray[np.float64], zoom: NDArray[np.float64]) -> People:
        scores = poses[:, :, 2].astype(np.float64)
        present = (scores > 0) & (scores >= self.least_score)
        return People(poses[:, :, :2].astype(np.float64) * zoom, scores, person_scores, present)


def mean_maps(
    passes: Sequence[Pass], size: tuple[int, int] | None, flip_order: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Heatmaps (B,J,h,w) averaged over levels, flip and scales, and tags (B,J,h,w,T) of scale 1.

    T is 2 with mirrored outputs. `size` (width, height) is what every map is resized to, None the size of the first's.
    """
    alone = len(passes) == 1
    if not alone and all(item.scale != 1 for item in passes):
        raise UsageError("tags are read at scale 1; put 1 among the scales")
    total, tags = torch.empty(0), torch.empty(0)
    for number, item in enumerate(passes):
        both = [_levels(item.outputs, flip_order, mirrored=False)]
        if item.mirrored is not None:
            both.append(_levels(item.mirrored, flip_order, mirrored=True))
        target = (size[1], size[0]) if size else total.shape[2:] if number else both[0][0].shape[2:]
        both = [(_resized(maps, target), _resized(read, target)) for maps, read in both]
        mean = reduce(torch.Tensor.add, [maps for maps, _ in both]) / len(both)
        total = mean if number == 0 else total + mean
        if alone or item.scale == 1:
            # one map after the other in memory, whatever the order of the axes
            tags = torch.stack([read for _, read in both], dim=2).movedim(2, -1)
    return total / len(passes), tags


def _levels(
    outputs: Sequence[torch.Tensor], flip_order: torch.Tensor, *, mirrored: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Heatmaps, the mean of both levels, and tags, at the size of the finer one and in the frame as it was."""
    coarse, fine = (part.float() for part in outputs)
    joints = fine.shape[1]
    coarse = interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
    maps, tags = (coarse[:, :joints] + fine) / 2, coarse[:, joints:]
    if tags.shape[1] == 1:
        tags = tags.expand(-1, joints, -1, -1)
    return (maps.flip(-1)[:, flip_order], tags.flip(-1)[:, flip_order]) if mirrored else (maps, tags)


def _resized(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def adjusted(poses: Floats, maps: torch.Tensor) -> Floats:
    """Found joints a quarter px towards their higher neighbour (an equal one counts as lower), then half a px on.

    Poses (P,J,3+T) at whole px of maps (J,h,w).
    """
    person, joint = np.nonzero(poses[:, :, 2] > 0)
    moved = poses.copy()
    moved[person, joint, :2] = _quarter(poses[person, joint, :2], joint, maps)
    return moved


def _quarter(places: Floats, joint: NDArray[np.int64], maps: torch.Tensor) -> Floats:
    """(N,2) px of the maps of `joint` (N,), moved."""
    height, width = maps.shape[1:]
    x, y = places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)
    near = np.stack([
        np.stack([joint, y, np.minimum(x + 1, width - 1)]), np.stack([joint, y, np.maximum(x - 1, 0)]),
        np.stack([joint, np.minimum(y + 1, height - 1), x]), np.stack([joint, np.maximum(y - 1, 0), x]),
    ])  # fmt: skip
    index = torch.from_numpy(near).to(maps.device)
    right, left, below, above = maps[index[:, 0], index[:, 1], index[:, 2]].cpu().numpy()
    step = np.stack([np.where(right > left, 0.25, -0.25), np.where(below > above, 0.25, -0.25)], axis=1)
    result: Floats = (places + step.astype(np.float32)) + np.float32(0.5)
    return result


def completed(poses: Floats, maps: torch.Tensor, tags: torch.Tensor) -> Floats:
    """Poses with the joints they lack, where their tags and the map agree most; maps (J,h,w), tags (J,h,w,T).

    Only the missing joints are looked for: those found would not be moved (whole_frame.md 2.8).
    """
    lacking = poses[:, :, 2] == 0
    if not lacking.any():
        return poses
    own = torch.from_numpy(_mean_tags(poses, tags)).to(maps.device)
    filled, width = poses.copy(), maps.shape[2]
    for joint in np.flatnonzero(lacking.any(axis=0)).tolist():
        people = np.flatnonzero(lacking[:, joint])
        cells, values = _best_cells(maps[joint], tags[joint], own[people])
        places = np.stack([cells % width, cells // width], axis=1).astype(np.float32)
        moved = _quarter(places, np.full(len(people), joint), maps)
        good = values > 0
        filled[people[good], joint, :2], filled[people[good], joint, 2] = moved[good], values[good]
    return filled


def _mean_tags(poses: Floats, tags: torch.Tensor) -> Floats:
    """(P,T) mean of the tags at the joints that each person has."""
    person, joint = np.nonzero(poses[:, :, 2] > 0)
    x, y = (torch.from_numpy(poses[person, joint, axis].astype(np.int64)).to(tags.device) for axis in (0, 1))
    read = tags[torch.from_numpy(joint).to(tags.device), y, x].cpu().numpy()
    return np.stack([read[person == number].mean(axis=0) for number in range(len(poses))])


def _best_cells(maps: torch.Tensor, tags: torch.Tensor, own: torch.Tensor) -> tuple[NDArray[np.int64], Floats]:
    """For each person the first cell where the map (h,w) less the rounded tag distance is highest, and its value."""
    if maps.device.type == "cpu" and len(maps) % _STRIP == 0:
        return _best_in_strips(maps.numpy(), tags.numpy(), own.numpy())
    values = maps.flatten()
    # channel by channel: a sum over an axis of two is many times slower than an addition
    channels = tags.flatten(0, 1).T
    squares = [(channel[None] - mine[:, None]).square_() for channel, mine in zip(channels, own.T, strict=True)]
    score = values[None] - reduce(torch.Tensor.add_, squares).sqrt_().round_()
    # of several maxima the first, which argmax promises in numpy alone
    best = score.max(dim=1, keepdim=True).values
    first = (score == best).to(torch.int8).argmax(dim=1)
    return first.cpu().numpy(), values[first].cpu().numpy()


def _best_in_strips(values: Floats, tags: Floats, own: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The same cells, looked for only in strips whose highest value and whose range of tags leave room for them.

    What bounds a strip is computed by the same steps as a cell, each of which keeps order when it is rounded.
    """
    width = values.shape[1]
    strips = values.reshape(-1, _STRIP, width)
    highest = strips.max(axis=1)
    channels = [tags[..., channel].reshape(strips.shape) for channel in range(tags.shape[2])]
    ranges = [(channel.min(axis=1), channel.max(axis=1)) for channel in channels]
    first = np.zeros(len(own), dtype=np.int64)
    for person, mine in enumerate(own):
        gaps = [np.maximum(np.maximum(low - tag, tag - high), 0) for (low, high), tag in zip(ranges, mine, strict=True)]
        bound = highest - np.round(np.sqrt(reduce(np.add, [gap * gap for gap in gaps])))
        likely = np.unravel_index(np.argmax(bound), bound.shape)
        strip, column = np.nonzero(bound >= _score(strips, channels, mine, *likely).max())
        score = _score(strips, channels, mine, strip, column)
        if score.size:  # nothing is as good as anything only where tags are no numbers
            place, row = np.nonzero(score == score.max())
            first[person] = ((strip[place] * _STRIP + row) * width + column[place]).min()
    return first, values.reshape(-1)[first]


def _score(strips: Floats, channels: Sequence[Floats], mine: Floats, strip: Any, column: Any) -> Floats:
    """(N,8) values less rounded tag distances in N strips."""
    squares = [(channel[strip, :, column] - tag) ** 2 for channel, tag in zip(channels, mine, strict=True)]
    score: Floats = strips[strip, :, column] - np.round(np.sqrt(reduce(np.add, squares)))
    return score


register_grouping("associative embedding", AssociativeEmbedding)
