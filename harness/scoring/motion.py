"""How far joints move and how long they stay hidden in a data set: the premise of every temporal method, as numbers.

Source: specifications of slices (section 4) and of synthtrack (section 1, the tables of real and generated motion).
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Series
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import DataSet, Sequence
from harness.errors import DataError
from harness.scoring.matching import GATE
from harness.scoring.slices.footage import Footage
from harness.scoring.slices.motion import LARGEST_GAP, SPEED_EDGES, displacements
from harness.scoring.slices.occlusion import run_numbers
from harness.skeletons import POSETRACK15

__all__ = ["HeatmapScale", "JointMotion", "MotionStatistics", "OcclusionStatistics", "motion_statistics"]

#: A joint that moves this many heatmap px leaves the receptive field that plain stacking of frames can align.
FAR_PX = 3.0

#: Frames within which an occluded joint may be seen, and run lengths reported.
WITHIN = (1, 2, 3, 5)
LENGTHS = (3, 5, 10)

ALL_JOINTS = "all"


@dataclass(frozen=True)
class HeatmapScale:
    """How image px become heatmap px: network input `size` (width, height), box `enlarge`, `stride` of the heatmap."""

    size: tuple[int, int] = (288, 384)
    enlarge: float = 1.25
    stride: float = 4.0

    def per_image_px(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) heatmap px per image px for xyxy boxes that are widened to the input's aspect and then enlarged.

        >>> HeatmapScale().per_image_px(np.array([[0.0, 0.0, 10.0, 76.8]])).round(3).tolist()
        [1.0]
        """
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        crop = self.enlarge * np.maximum(width, height * self.size[0] / self.size[1])
        with np.errstate(all="ignore"):
            scale: NDArray[np.float64] = np.where(crop > 0, self.size[0] / self.stride / crop, np.nan)
        return scale


@dataclass(frozen=True, slots=True)
class JointMotion:
    """Displacement of a joint ("all" for all 15) since the labelled frame before (`gap` "1"), per frame.

    Gap "2-4" holds the joints whose last label is so many frames away.
    `pairs` of labels; median and 90th percentile in head sizes and in heatmap px; shares (fractions) of medium
    (.25-.5) and fast (> .5) motion in head sizes, and beyond 3 heatmap px. NaN without pairs.
    """

    joint: str
    gap: str
    pairs: int
    median_head: float
    p90_head: float
    share_medium: float
    share_fast: float
    median_px: float
    p90_px: float
    share_beyond_3px: float


@dataclass(frozen=True, slots=True)
class OcclusionStatistics:
    """How much and how long joints are occluded, fractions; lengths in consecutive labelled frames of a track.

    `runs_to_N`: share of runs of at most N frames; `frames_to_N`: share of occluded joint-frames in them; `seen_in_K`:
    share of occluded joint-frames visible in some frame at most K away; `copied_in_K`: whose place is hit within 0.5
    head sizes by interpolating between such frames, or copying where there is one side only (both of people with a head
    size). `median_speed_occluded` and `..._visible` in head sizes per frame.
    """

    joint: str
    labelled: int
    occluded: float
    runs: int
    median_run: float
    mean_run: float
    runs_to_3: float
    runs_to_5: float
    runs_to_10: float
    frames_to_3: float
    frames_to_5: float
    frames_to_10: float
    seen_in_1: float
    seen_in_2: float
    seen_in_3: float
    seen_in_5: float
    copied_in_1: float
    copied_in_2: float
    copied_in_3: float
    copied_in_5: float
    median_speed_occluded: float
    median_speed_visible: float


@dataclass(frozen=True)
class MotionStatistics:
    """Rows per joint and for all joints; `occlusion` is empty where the labels carry no visibility flags."""

    motion: tuple[JointMotion, ...]
    occlusion: tuple[OcclusionStatistics, ...]
    scale: HeatmapScale

    def motion_rows(self) -> list[dict[str, Any]]:
        """Rows for tables and JSON, NaN as None."""
        return _rows(self.motion)

    def occlusion_rows(self) -> list[dict[str, Any]]:
        """Rows for tables and JSON, NaN as None."""
        return _rows(self.occlusion)


def motion_statistics(
    data: DataSet | Series[Sequence], *, scale: HeatmapScale | None = None, sparse: bool = False
) -> MotionStatistics:
    """Motion and occlusion statistics of a data set's truth.

    `sparse` adds rows for labels 2 to 4 frames apart, displacement divided by the distance in frames. Raises DataError
    when nobody is tracked over two labelled frames.
    """
    sequences = data.sequences if isinstance(data, DataSet) else data
    footage = [Footage(sequence) for sequence in sequences]
    scale = scale or HeatmapScale()
    rows = [row for gaps in ((1,), range(2, LARGEST_GAP + 1))[: 1 + sparse] for row in _motion(footage, gaps, scale)]
    if not rows[-1].pairs and not any(row.pairs for row in rows):
        raise DataError(
            "no person is labelled with the same track id in two consecutive frames, so nothing can be said of motion; "
            "this data set has single frames or no track ids"
        )
    flagged = [item for item in footage if item.occluded is not None and len(item)]
    return MotionStatistics(tuple(rows), tuple(_occlusion(flagged)) if flagged else (), scale)


def _motion(footage: list[Footage], gaps: Iterable[int], scale: HeatmapScale) -> list[JointMotion]:
    gaps = tuple(gaps)
    heads, pixels = [np.zeros((0, 15))], [np.zeros((0, 15))]
    for item in footage:
        found = np.full(item.labelled.shape, np.nan)
        for gap in reversed(gaps):
            moved = displacements(item, -gap) / gap
            found = np.where(np.isnan(moved), found, moved)
        if 1 not in gaps:
            found[~np.isnan(displacements(item, -1))] = np.nan
        heads.append(found / item.head[:, None])
        pixels.append(found * scale.per_image_px(item.boxes)[:, None])
    name = str(gaps[0]) if len(gaps) == 1 else f"{gaps[0]}-{gaps[-1]}"
    head, pixel = np.concatenate(heads), np.concatenate(pixels)
    joints = [(joint, head[:, place], pixel[:, place]) for place, joint in enumerate(POSETRACK15.names)]
    return [_joint_motion(joint, name, *values) for joint, *values in (*joints, (ALL_JOINTS, head, pixel))]


def _joint_motion(joint: str, gap: str, head: NDArray[np.float64], pixel: NDArray[np.float64]) -> JointMotion:
    head, pixel = head[~np.isnan(head)], pixel[~np.isnan(pixel)]
    medium, fast = SPEED_EDGES
    return JointMotion(
        joint, gap, len(head), _quantile(head, 0.5), _quantile(head, 0.9),
        _share((head > medium) & (head <= fast)), _share(head > fast),
        _quantile(pixel, 0.5), _quantile(pixel, 0.9), _share(pixel > FAR_PX),
    )  # fmt: skip


def _occlusion(footage: list[Footage]) -> list[OcclusionStatistics]:
    parts = [_occlusion_cells(item) for item in footage]
    labelled, hidden, speed = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:3])
    sized = np.concatenate([~np.isnan(item.head) for item in footage])
    seen, copied = (np.concatenate([part[place] for part in parts], axis=1) for place in (3, 4))
    lengths = [np.concatenate([part[5][joint] for part in parts]) for joint in range(15)]
    rows = []
    for place, joint in enumerate((*POSETRACK15.names, ALL_JOINTS)):
        columns = slice(None) if joint == ALL_JOINTS else slice(place, place + 1)
        length = np.concatenate(lengths[columns])
        own = hidden[:, columns]
        moving = speed[:, columns]
        known = ~np.isnan(moving)
        numbers = [
            _quantile(length, 0.5),
            float(length.mean()) if len(length) else np.nan,
            *(_share(length <= most) for most in LENGTHS),
            *(float(length[length <= most].sum() / length.sum()) if len(length) else np.nan for most in LENGTHS),
            *(_share(values[:, columns][own & sized[:, None]]) for values in (*seen, *copied)),
            _quantile(moving[known & own], 0.5),
            _quantile(moving[known & labelled[:, columns] & ~own], 0.5),
        ]
        count, share = int(labelled[:, columns].sum()), _share(own[labelled[:, columns]])
        rows.append(OcclusionStatistics(joint, count, share, len(length), *numbers))
    return rows


def _occlusion_cells(item: Footage) -> tuple[Any, ...]:
    """(labelled, occluded, speed, seen (K,N,15), copied (K,N,15), run lengths per joint) of one sequence."""
    hidden = item.labelled & ~_visible(item)
    numbers = run_numbers(item, hidden)
    lengths = [np.unique(column[column >= 0], return_counts=True)[1] for column in numbers.T]
    speed = displacements(item, -1) / item.head[:, None]
    before, after = (_nearest_seen(item, direction) for direction in (-1, 1))
    seen, copied = [], []
    for most in WITHIN:
        guess = _guessed(before, after, most)
        apart = np.hypot(*np.moveaxis(guess - item.joints, -1, 0))
        seen.append((before[0] <= most) | (after[0] <= most))
        with np.errstate(invalid="ignore"):
            copied.append(seen[-1] & (apart <= GATE * item.head[:, None]))
    return item.labelled, hidden, speed, np.stack(seen), np.stack(copied), lengths


Seen = tuple[NDArray[np.float64], NDArray[np.float64]]


def _guessed(before: Seen, after: Seen, most: int) -> NDArray[np.float64]:
    """(N,15,2) px interpolated between the two sides, or copied from the only one within `most` frames, or NaN."""
    near = [side[0] <= most for side in (before, after)]
    with np.errstate(invalid="ignore"):
        share = (before[0] / (before[0] + after[0]))[..., None]
        between = before[1] + share * (after[1] - before[1])
    one_side = np.where(near[0][..., None], before[1], np.where(near[1][..., None], after[1], np.nan))
    return np.where((near[0] & near[1])[..., None], between, one_side)


def _visible(item: Footage) -> NDArray[np.bool_]:
    return item.labelled if item.visible is None else item.visible & item.labelled


def _nearest_seen(item: Footage, direction: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((N,15) frames to the nearest visible label on that side, inf for none in reach; (N,15,2) its place)."""
    distance = np.full(item.labelled.shape, np.inf)
    place = np.full(item.joints.shape, np.nan)
    visible = _visible(item)
    for step in range(max(WITHIN), 0, -1):
        other = item.neighbour(direction * step)
        there = (other >= 0)[:, None] & visible[other]
        distance[there] = step
        place[there] = item.joints[other][there]
    return distance, place


def _quantile(values: NDArray[Any], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else np.nan


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if mask.size else np.nan


def _rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [{key: None if value != value else value for key, value in asdict(row).items()} for row in rows]
