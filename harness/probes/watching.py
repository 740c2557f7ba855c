"""Watching a network align: measures at joints of what its features are before and after, clip by clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cosine_similarity, grid_sample

from harness.datasets.sequences import NO_TRACK
from harness.probes.subjects import true_people
from harness.skeletons import Skeleton

if TYPE_CHECKING:
    from harness.inference.work import SequenceWork

__all__ = ["Kept", "Places", "Watch", "Watching", "measures_at_joints", "measures_of_maps", "places_of"]

Floats = NDArray[np.float64]
Maps = Mapping[str, torch.Tensor]

#: An offset this short (cells) reads where it would have without alignment.
NEAR_ZERO = 0.5

#: A joint that moved farther than this (cells) is what a split of moving and still should find.
MOVED = 1.0

#: Head size as a share of the crop's height, for people without a head box (a standing person is 8 heads, padded 1.6).
_HEAD = 1 / 13


@dataclass(frozen=True)
class Places:
    """Where joints are, in cells of the features: `key` (B,J,2), `support` (S,B,J,2), `head` (B,) head sizes; NaN where
    unknown. `names` are the joints."""

    key: Floats
    support: Floats
    head: Floats
    names: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """One clip to look at: how far its joints moved, and its crops and maps by name."""

    moved: float
    maps: dict[str, NDArray[Any]]


@dataclass
class Watch:
    """What was measured so far: per joint and support, and per clip, each with the number of its sequence."""

    joints: list[dict[str, Floats]] = field(default_factory=list)
    clips: list[dict[str, Floats]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    seen: set[tuple[str, int]] = field(default_factory=set)
    work: SequenceWork | None = None
    part: slice = field(default_factory=lambda: slice(0, 0))
    crops: torch.Tensor | None = None
    done: int = 0

    def expect(self, work: SequenceWork, part: slice, crops: torch.Tensor) -> None:
        """Say which clips the network sees next."""
        self.work, self.part, self.crops, self.done = work, part, crops, 0

    def take(self, maps: Maps, skeleton: Skeleton, support: tuple[int, ...], geometry: str) -> None:
        """Measure the maps of the next clips; those seen before (a batch computed again) are left out."""
        assert self.work is not None and self.crops is not None  # noqa: S101
        count = maps["key"].shape[0]
        start = self.done if self.done + count <= self.part.stop - self.part.start else 0
        self.done = start + count
        rows = np.arange(self.part.start + start, self.part.start + start + count)
        name = self.work.sequence.name
        new = np.array([(name, row) not in self.seen for row in rows.tolist()])
        self.seen |= {(name, row) for row in rows.tolist()}
        if not new.any():
            return
        if name not in self.sequences:
            self.sequences.append(name)
        number = float(self.sequences.index(name))
        chosen = torch.from_numpy(np.flatnonzero(new))
        maps = {key: value[:, chosen] if value.ndim >= 2 and key in _PER_SUPPORT else value[chosen]
                for key, value in maps.items() if key != "outputs"}  # fmt: skip
        places = places_of(self.work, rows[new], skeleton, support, maps["key"].shape[-2:], geometry)
        measured = measures_at_joints(maps, places)
        self.joints.append({**measured, "sequence": np.full(len(measured["moved"]), number)})
        self.clips.append({**measures_of_maps(maps, places), "sequence": np.full(int(new.sum()), number)})
        self._keep(maps, places, self.crops[start : start + count][chosen], support)

    def _keep(self, maps: Maps, places: Places, crops: torch.Tensor, support: tuple[int, ...]) -> None:
        """The clip of the batch whose joints moved most, if it is among the four of the run (of different videos)."""
        far = np.nan_to_num(np.nanmax(np.nan_to_num(_moved(places), nan=-1.0).mean(axis=2), axis=0), nan=-1.0)
        row = int(far.argmax())
        beside = int(np.nan_to_num(_moved(places), nan=-1.0).mean(axis=2)[:, row].argmax())
        others = [offset for offset in support if offset != 0]
        shown = {"crop": crops[row, support.index(0)], "support_crop": crops[row, support.index(others[beside])],
                 "key": _size(maps["key"][row]), "before": _size(maps["before"][beside, row]),
                 "after": _size(maps["after"][beside, row])}  # fmt: skip
        if "gathered" in maps:
            shown["gathered"] = _size(maps["gathered"][row])
        if "offsets" in maps:
            shown["offsets"] = maps["offsets"][beside, row]
        if "mask" in maps:
            shown["mask"] = maps["mask"][beside, row, 0]
        self.kept.append(Kept(float(far[row]), {name: value.float().cpu().numpy() for name, value in shown.items()}))
        self.kept = sorted(self.kept, key=lambda item: -item.moved)[:4]


_PER_SUPPORT = ("before", "after", "offsets", "mask", "threshold", "read_before", "read_after")


class Watching(nn.Module):
    """A network with `alignment(clips)`, doing what it does while its maps are measured."""

    def __init__(
        self, module: nn.Module, watch: Watch, skeleton: Skeleton, support: tuple[int, ...], geometry: str
    ) -> None:
        super().__init__()
        self.module = module
        self.watch, self.skeleton, self.support, self.geometry = watch, skeleton, support, geometry

    def forward(self, clips: torch.Tensor) -> Any:
        """Clips (B,T,3,H,W) -> the network's outputs."""
        maps = self.module.alignment(clips)  # type: ignore[operator]
        self.watch.take(maps, self.skeleton, self.support, self.geometry)
        return maps["outputs"]


def places_of(
    work: SequenceWork, rows: NDArray[np.int64], skeleton: Skeleton, support: tuple[int, ...], grid: tuple[int, ...],
    geometry: str,
) -> Places:  # fmt: skip
    """Where the joints of the people of some clips are in the key frame and in every support frame, in cells."""
    truth, own = work.sequence.truth, work.sequence.skeleton
    shared = [own.index(name) if name in own.names else -1 for name in skeleton.names]
    others = [place for place, offset in enumerate(support) if offset != 0]
    position_of = {frame.image: position for position, frame in enumerate(work.sequence.frames)}
    keys = enumerate(zip(truth.frame.tolist(), truth.track_ids.tolist(), strict=True))
    row_of = {(frame, track): row for row, (frame, track) in keys if track != NO_TRACK}
    width, height = work.spec.size
    ends = 1 if geometry == "udp" else 0
    zoom = np.array([(grid[1] - ends) / (width - ends), (grid[0] - ends) / (height - ends)])
    key = np.full((len(rows), len(skeleton), 2), np.nan)
    beside = np.full((len(others), *key.shape), np.nan)
    head = np.full(len(rows), _HEAD * grid[0])

    def cells(person: int, row: int) -> Floats:
        joints = np.where(truth.annotated[person][:, None], truth.joints[person], np.nan)
        found = (joints @ work.matrices[row][:, :2].T + work.matrices[row][:, 2]) * zoom
        return np.where(np.array(shared)[:, None] >= 0, found[shared], np.nan)

    for at, (row, person) in enumerate(
        zip(rows.tolist(), true_people(work.clips, work.sequence, rows).tolist(), strict=True)
    ):
        if person < 0:
            continue
        key[at] = cells(person, row)
        sides = truth.head_boxes[person][2:] - truth.head_boxes[person][:2]
        if np.isfinite(sides).all():
            head[at] = 0.6 * np.hypot(*sides) * np.abs(work.matrices[row][0, 0]) * zoom[0]
        for number, place in enumerate(others):
            position = position_of.get(work.clips.images[int(work.clips.support[row, place])], -1)
            same = row_of.get((position, int(truth.track_ids[person])), -1)
            if same >= 0 and position != work.clips.frame[row]:  # not where the key frame stands in
                beside[number, at] = cells(same, row)
    return Places(key, beside, head, skeleton.names)


def measures_at_joints(maps: Maps, places: Places) -> dict[str, Floats]:
    """One value per joint that is labelled in the key frame and in a support frame, inside the map in both.

    `moved` cells between the two; cosines with the key's feature at the joint of the support's feature there before
    and after alignment, and of the support's own at the joint's place in the support (what perfect alignment would
    read); `hit_...` whether the backbone's head finds the joint of the key frame in the support's feature within half
    a head (before, after) and its own (`hit_own`); `error` of the mean offset and `error_zero` of none, in cells;
    `near_zero` whether it is below half a cell; `mask` at the joint.
    """
    height, width = maps["key"].shape[-2:]
    limit = np.array([width - 1, height - 1])
    with np.errstate(invalid="ignore"):
        inside = [((side >= 0) & (side <= limit)).all(axis=-1) for side in (places.key, places.support)]
    s, b, j = np.nonzero(inside[0][None] & inside[1])
    here, there = places.key[b, j], places.support[s, b, j]
    before, after = maps["before"], maps["after"]
    key = _read(maps["key"], b, here)
    found: dict[str, Floats] = {
        "moved": np.hypot(*(there - here).T), "joint": j.astype(np.float64),
        "cosine_before": _cosine(key, _read(before.flatten(0, 1), s * before.shape[1] + b, here)),
        "cosine_after": _cosine(key, _read(after.flatten(0, 1), s * after.shape[1] + b, here)),
        "cosine_perfect": _cosine(key, _read(before.flatten(0, 1), s * before.shape[1] + b, there)),
    }  # fmt: skip
    if "read_before" in maps and "read_after" in maps:
        near = 0.5 * places.head[b]
        zoom = width / maps["read_before"].shape[-1]  # heatmaps may be finer than features
        peaks = {side: zoom * _peaks(maps[f"read_{side}"])[s, b, j] for side in ("before", "after")}
        found |= {f"hit_{side}": (np.hypot(*(peaks[side] - here).T) <= near).astype(float) for side in peaks}
        found["hit_own"] = (np.hypot(*(peaks["before"] - there).T) <= near).astype(float)
    if "offsets" in maps:
        offsets = _read(maps["offsets"].flatten(0, 1), s * before.shape[1] + b, here).numpy().astype(np.float64)
        found["error"] = np.hypot(*(offsets - (there - here)).T)
        found["error_zero"] = found["moved"]
        found["near_zero"] = (np.hypot(*offsets.T) < NEAR_ZERO).astype(float)
    if "mask" in maps:
        found["mask"] = (
            _read(maps["mask"].flatten(0, 1), s * before.shape[1] + b, here)[:, 0].numpy().astype(np.float64)
        )
    return found


def measures_of_maps(maps: Maps, places: Places) -> dict[str, Floats]:
    """One value per clip: how much of the map hardly moves, the split, and the features' brightness and grain.

    `exposure` is the mean size of the gathered feature over the key's ("over-exposed" above 2), `contrast` the same of
    their standard deviations; `grain_...` the correlation of neighbouring cells (a mosaic has none).
    """
    found: dict[str, torch.Tensor] = {}
    if "offsets" in maps:
        found["near_zero_share"] = (maps["offsets"].norm(dim=2) < NEAR_ZERO).float().mean(dim=(0, 2, 3))
        found["offset_length"] = maps["offsets"].norm(dim=2).mean(dim=(0, 2, 3))
    if "mask" in maps:
        found["mask_mean"] = maps["mask"].mean(dim=(0, 2, 3, 4))
    if "threshold" in maps:
        found["threshold"] = maps["threshold"].mean(dim=0)
    key = maps["key"]
    sides = {"key": key, "before": maps["before"].mean(0), "after": maps["after"].mean(0)}
    if "gathered" in maps:
        sides["gathered"] = maps["gathered"]
        found["exposure"] = sides["gathered"].abs().mean(dim=(1, 2, 3)) / key.abs().mean(dim=(1, 2, 3))
        found["contrast"] = sides["gathered"].std(dim=(1, 2, 3)) / key.std(dim=(1, 2, 3))
    found |= {f"grain_{name}": _neighbours_agree(side) for name, side in sides.items()}
    return {name: value.double().cpu().numpy() for name, value in found.items()}


def _moved(places: Places) -> Floats:
    """(S,B,J) cells."""
    apart = places.support - places.key[None]
    moved: Floats = np.hypot(apart[..., 0], apart[..., 1])
    return moved


def _read(maps: torch.Tensor, which: NDArray[np.int64], places: Floats) -> torch.Tensor:
    """(n,C) bilinear values of maps (N,C,h,w): of map `which` at `places` (n,2) in cells."""
    height, width = maps.shape[-2:]
    out = torch.empty((len(which), maps.shape[1]))
    reach = np.array([max(width - 1, 1), max(height - 1, 1)])
    for number in np.unique(which).tolist():
        mine = np.flatnonzero(which == number)
        grid = torch.from_numpy(places[mine] / reach * 2 - 1).float().view(1, 1, -1, 2)
        found = grid_sample(maps[number][None].float().cpu(), grid, align_corners=True)
        out[torch.from_numpy(mine)] = found[0, :, 0].T
    return out


def _cosine(one: torch.Tensor, other: torch.Tensor) -> Floats:
    return cosine_similarity(one, other, dim=1).numpy().astype(np.float64)


def _peaks(maps: torch.Tensor) -> Floats:
    """(...,h,w) -> (...,2) cell of the largest value, x and y."""
    best = maps.flatten(-2).argmax(-1).cpu().numpy()
    places: Floats = np.stack([best % maps.shape[-1], best // maps.shape[-1]], axis=-1).astype(np.float64)
    return places


def _neighbours_agree(maps: torch.Tensor) -> torch.Tensor:
    """(B,) mean over channels of the correlation between horizontally neighbouring cells."""
    one, other = maps[..., :-1].flatten(2).float(), maps[..., 1:].flatten(2).float()
    one, other = one - one.mean(-1, keepdim=True), other - other.mean(-1, keepdim=True)
    spread = one.norm(dim=-1) * other.norm(dim=-1)
    return torch.where(spread > 0, (one * other).sum(-1) / spread.clamp_min(1e-12), 0.0).mean(1)


def _size(maps: torch.Tensor) -> torch.Tensor:
    """(C,h,w) -> (h,w): root mean square over channels."""
    return maps.float().square().mean(0).sqrt()
