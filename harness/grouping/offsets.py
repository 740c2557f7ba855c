"""Persons out of centres and offsets: DEKR's way, end to end (whole_frame.md 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate, pad

from harness.grouping.candidates import strongest
from harness.grouping.grouping import Pass, People, register_grouping

__all__ = ["CentreOffsets", "aligned", "distinct", "pose_maps", "proposals"]

Floats = NDArray[np.float32]

#: Cells of the map per cell of the input's, which all maps of the method have.
_STRIDE = 4
#: How far the mirrored input is moved left, so that the network's cells lie on those of the plain one.
_MOVE = 3


@dataclass(frozen=True)
class CentreOffsets:
    """Outputs heatmaps (B,J+1,h,w), the last of centres, and offsets (B,2J,h,w) at 1/4 of the input -> persons.

    `least_centre` a centre has to exceed; two poses are of one person where more than `near_joints` joints are nearer
    than `near` times the diagonal of the one; scores of poses found at scales other than 1 are brought to the height
    of scale 1 times `decrease`; `least_score` is what a joint needs to be shown.
    """

    least_centre: float = 0.01
    near: float = 0.05
    near_joints: int = 8
    most_people: int = 30
    decrease: float = 0.9
    least_score: float = 0.0
    anchored: bool = field(default=True, init=False)
    mirrors: bool = field(default=True, init=False)

    def mirror(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (B,3,H,W), left and right exchanged and then moved; the last columns stay as they were."""
        mirrored = frames.flip(-1)
        moved = mirrored.clone()
        moved[..., :-_MOVE] = mirrored[..., _MOVE:]
        return moved

    def people(self, passes: Sequence[Pass], size: tuple[int, int], *, flip_order: torch.Tensor) -> list[People]:
        """Persons of each frame, in px of the input at scale 1."""
        maps, found = [], []
        for item in passes:
            heatmaps, places = pose_maps(item, flip_order)
            maps.append(aligned(heatmaps, _STRIDE / item.scale))
            found.append(proposals(heatmaps[:, -1:], places, self.most_people))
        mean = torch.stack(maps).mean(0) if len(maps) > 1 else maps[0]
        read = [(poses.cpu().numpy(), scores.cpu().numpy()) for poses, scores in found]
        return [
            self._people([(poses[frame], scores[frame]) for poses, scores in read], passes, mean[frame])
            for frame in range(len(mean))
        ]

    def stacked(self, found: Sequence[tuple[Floats, Floats]], scales: Sequence[float]) -> tuple[Floats, Floats]:
        """Poses (P,J,2) px of the input and centre scores (P,) of all scales, from poses in cells of each."""
        poses, scores = [], []
        highest = [own[own > self.least_centre].max(initial=0) for _, own in found]
        first = next((height for height, scale in zip(highest, scales, strict=True) if scale == 1), 0)
        for (places, own), height, scale in zip(found, highest, scales, strict=True):
            kept = own > self.least_centre
            factor = 1.0 if scale == 1 or not height or not first else first / height * self.decrease
            poses.append(places[kept] * np.float32(_STRIDE / scale))
            scores.append(own[kept] * np.float32(factor))
        return np.concatenate(poses), np.concatenate(scores)

    def _people(self, found: list[tuple[Floats, Floats]], passes: Sequence[Pass], maps: torch.Tensor) -> People:
        poses, centres = self.stacked(found, [item.scale for item in passes])
        heat = _read(maps[:-1], poses)
        kept = distinct(poses, heat.mean(axis=1), near=self.near, joints=self.near_joints)
        if len(kept) > self.most_people:
            kept = kept[np.argsort(-heat[kept].mean(axis=1), kind="stable")[: self.most_people]]
        scores = (centres[kept, None] * heat[kept]).astype(np.float64)
        shown = scores >= self.least_score if self.least_score > 0 else np.ones(scores.shape, dtype=bool)
        return People(poses[kept].astype(np.float64), scores, scores.mean(axis=1), shown)


def pose_maps(item: Pass, flip_order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Heatmaps (B,J+1,h,w) and the places (B,J,2,h,w) in cells that every cell says its joints have; flip averaged."""
    heatmaps, places = _placed(item.outputs)
    if item.mirrored is None:
        return heatmaps, places
    with_centre = torch.cat([flip_order, flip_order.new_tensor([len(flip_order)])])
    other, turned = _placed(item.mirrored)
    turned = turned[:, flip_order].flip(-1)
    turned = torch.stack([heatmaps.shape[-1] - turned[:, :, 0] - 1, turned[:, :, 1]], dim=2)
    return (heatmaps + other.flip(-1)[:, with_centre]) / 2, (places + turned) / 2


def _placed(outputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    heatmaps, offsets = (part.float() for part in outputs)
    count, channels, height, width = offsets.shape
    x = torch.arange(width, device=offsets.device, dtype=offsets.dtype).expand(height, width)
    y = torch.arange(height, device=offsets.device, dtype=offsets.dtype)[:, None].expand(height, width)
    return heatmaps, torch.stack([x, y]) - offsets.view(count, channels // 2, 2, height, width)


def aligned(maps: torch.Tensor, factor: float) -> torch.Tensor:
    """Maps (B,J,h,w) enlarged so that cell i lies exactly at pixel q i, q being the whole factor; the rest repeats.

    >>> aligned(torch.tensor([[[[0.0, 4.0]]]]), 4).tolist()[0][0][0]
    [0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0]
    """
    height, width = maps.shape[2:]
    target = int(factor * height), int(factor * width)
    steps = target[0] // height, target[1] // width
    inner = target[0] - steps[0] + 1, target[1] - steps[1] + 1
    enlarged = interpolate(maps, size=inner, mode="bilinear", align_corners=True)
    return pad(enlarged, (0, steps[1] - 1, 0, steps[0] - 1), mode="replicate")


def proposals(centres: torch.Tensor, places: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The poses (B,M,J,2) in cells at the `count` highest centres, and their scores (B,M); the larger map, the wider
    a peak has to rule."""
    extent = (centres.shape[2] + centres.shape[3]) / 2
    found = strongest(centres, count, kernel=7 if extent > 300 else 5 if extent > 200 else 3)
    cells = found.cells[:, 0]
    flat = places.flatten(3)
    index = cells[:, None, None, :].expand(-1, flat.shape[1], 2, -1)
    return flat.gather(3, index).permute(0, 3, 1, 2), found.values[:, 0]


def distinct(poses: Floats, heat: Floats, *, near: float, joints: int) -> NDArray[np.int64]:
    """Rows of poses (P,J,2) that are left when poses of one person are told apart; `heat` (P,) says which is best.

    The best of a group may come later in the list, and may have been passed over already: then none of it is kept.
    A pose without extent is nobody.
    """
    extent = poses.max(axis=1, initial=-np.inf) - poses.min(axis=1, initial=np.inf)
    reach = near * np.sqrt((extent**2).sum(axis=1)) if len(poses) else np.zeros(0)
    distance = np.sqrt(((poses[:, None] - poses[None]) ** 2).sum(axis=-1))
    similar = (distance < reach[:, None, None]).sum(axis=-1) > joints
    passed, kept = np.zeros(len(poses), dtype=bool), []
    for row in range(len(poses)):
        group = np.flatnonzero(similar[row])
        if passed[row] or not len(group):
            continue
        best = int(group[np.argmax(heat[group])])
        if not passed[best]:
            kept.append(best)
            passed[group] = True
    return np.array(kept, dtype=np.int64)


def _read(maps: torch.Tensor, poses: Floats) -> Floats:
    """(P,J) values of maps (J,H,W) at the whole px of poses (P,J,2), those outside at the border."""
    height, width = maps.shape[1:]
    x = np.clip(np.floor(poses[:, :, 0]), 0, width - 1).astype(np.int64)
    y = np.clip(np.floor(poses[:, :, 1]), 0, height - 1).astype(np.int64)
    joint = np.broadcast_to(np.arange(poses.shape[1]), x.shape)
    index = [torch.from_numpy(part.copy()).to(maps.device) for part in (joint, y, x)]
    read: Floats = maps[index[0], index[1], index[2]].cpu().numpy()
    return read


register_grouping("centre offsets", CentreOffsets)
