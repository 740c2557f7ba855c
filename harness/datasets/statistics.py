"""What the labels of a split are like: how many people, how large, how crowded, how much of them is seen, how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK, DataSet, Sequence, Truth
from harness.errors import DataError
from harness.skeletons import POSETRACK15

__all__ = ["QUANTITIES", "DataStatistics", "JointShares", "data_statistics"]

Array = NDArray[np.float64]

#: Head sizes are this fraction of the diagonal of the head box (poseval).
HEAD_FRACTION = 0.6

#: Two people whose boxes overlap by more than this are close.
CLOSE = 0.1

#: Quantity -> (unit, what it is).
QUANTITIES: dict[str, tuple[str, str]] = {
    "sequence_frames": ("frames", "frames of a sequence"),
    "sequence_labelled": ("frames", "labelled frames of a sequence"),
    "sequence_people": ("tracks", "different people (track ids) of a sequence"),
    "track_frames": ("frames", "labelled frames of a person"),
    "frame_people": ("people", "people on a labelled frame"),
    "head_size": ("px", f"head size, {HEAD_FRACTION} of the head box's diagonal"),
    "box_scale": ("px", "square root of the box area; of the joints' extent where there is no box"),
    "box_height": ("of image", "height of the box as a fraction of the image's"),
    "overlap": ("IoU", "largest overlap of a person's box with another's on the frame"),
    "joints": ("of 15", "annotated joints of a person"),
    "occluded": ("of person", "fraction of a person's annotated joints that are occluded"),
}
_PERCENTS = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class JointShares:
    """Shares (0..1) of all people: the joint is visible, occluded, or annotated with nothing known; else it is not."""

    joint: str
    annotated: int
    visible: float
    occluded: float
    unknown: float


@dataclass(frozen=True)
class DataStatistics:
    """Counts, the values of every quantity of QUANTITIES that the labels tell of, and shares per joint."""

    name: str
    split: str
    fingerprint: str
    counts: Mapping[str, int]
    values: Mapping[str, Array]
    joints: tuple[JointShares, ...]

    def count_rows(self) -> list[dict[str, Any]]:
        """One row per count."""
        return [{"count": name.replace("_", " "), "number": number} for name, number in self.counts.items()]

    def quantity_rows(self) -> list[dict[str, Any]]:
        """One row per quantity: mean, percentiles and extremes of its values."""
        return [
            {
                "quantity": name, "unit": QUANTITIES[name][0], "values": len(values), "mean": float(values.mean()),
                "min": float(values.min()),
                **{f"p{percent}": float(np.percentile(values, percent)) for percent in _PERCENTS},
                "max": float(values.max()), "what": QUANTITIES[name][1],
            }
            for name, values in self.values.items() if len(values)
        ]  # fmt: skip

    def joint_rows(self) -> list[dict[str, Any]]:
        """One row per joint, then all of them."""
        people = self.counts["people"]
        total = sum(item.annotated for item in self.joints)
        means = (float(np.mean([getattr(item, key) for item in self.joints])) for key in _SHARES)
        rows = (*self.joints, JointShares("all", total, *means))
        keys = [key for key in _SHARES if key == "visible" or any(getattr(item, key) for item in self.joints)]
        return [
            {"joint": row.joint, "annotated": row.annotated} | {key: getattr(row, key) for key in keys}
            | {"missing": 1 - row.annotated / (people * (len(self.joints) if row.joint == "all" else 1))}
            for row in rows
        ]  # fmt: skip

    def as_plain(self) -> dict[str, Any]:
        """JSON-ready: counts, quantities and joints."""
        return {
            "data_set": self.name, "split": self.split, "fingerprint": self.fingerprint, "counts": dict(self.counts),
            "quantities": self.quantity_rows(), "joints": self.joint_rows(),
        }  # fmt: skip


_SHARES = ("visible", "occluded", "unknown")


def data_statistics(dataset: DataSet) -> DataStatistics:
    """Statistics of the people on labelled frames; DataError where nobody is labelled."""
    parts = [_Part(sequence) for sequence in dataset.sequences]
    people = sum(len(part.rows) for part in parts)
    if not people:
        raise DataError(
            f"{dataset.root}: nobody is labelled in {dataset.name} {dataset.split}, so there is nothing to describe"
        )
    values = {name: np.concatenate([measure(part) for part in parts]) for name, measure in _MEASURES.items()}
    joints = sum(part.annotated.sum(axis=0) for part in parts)
    counts = {
        "sequences": len(dataset),
        "frames": dataset.frame_count,
        "labelled_frames": sum(int(part.sequence.labelled.sum()) for part in parts),
        "people": people,
        "tracks": len(values["track_frames"]),
        "joints": int(np.sum(joints)),
        "head_boxes": len(values["head_size"]),
        "boxes": sum(int(np.isfinite(part.truth.boxes[part.rows]).all(axis=1).sum()) for part in parts),
        "ignore_regions": sum(len(regions) for part in parts for regions in part.truth.ignore.values()),
        "people_close": int((values["overlap"] > CLOSE).sum()),
    }
    return DataStatistics(
        dataset.name, dataset.split, dataset.fingerprint, counts,
        {name: found for name, found in values.items() if len(found)}, _joint_shares(parts, people),
    )  # fmt: skip


class _Part:
    """One sequence: the `rows` of people on labelled frames, and their 15 joints."""

    def __init__(self, sequence: Sequence) -> None:
        truth = sequence.truth
        order = sequence.skeleton.positions_of(POSETRACK15)
        self.sequence, self.truth = sequence, truth
        self.rows = np.flatnonzero(sequence.labelled[truth.frame]) if len(truth) else np.zeros(0, dtype=np.int64)
        self.frame = truth.frame[self.rows]
        self.annotated = truth.annotated[self.rows][:, order]
        self.visible = None if truth.visible is None else truth.visible[self.rows][:, order] & self.annotated
        self.boxes = _boxes(truth, truth.annotated[:, order], order)[self.rows]


def _boxes(truth: Truth, annotated: NDArray[np.bool_], order: NDArray[np.int64]) -> Array:
    """(N,4) the file's boxes, else the extent of the joints; NaN where there is neither."""
    boxes = truth.boxes.copy()
    bare = np.flatnonzero(np.isnan(boxes).any(axis=1) & annotated.any(axis=1))
    joints = np.where(annotated[bare, :, None], truth.joints[bare][:, order], np.nan)
    if len(bare):
        boxes[bare] = np.hstack([np.nanmin(joints, axis=1), np.nanmax(joints, axis=1)])
    return boxes


def _per_frame(part: _Part) -> Array:
    people = np.bincount(part.frame, minlength=len(part.sequence.frames))
    return people[part.sequence.labelled].astype(float)


def _tracks(part: _Part) -> NDArray[np.int64]:
    tracks = part.truth.track_ids[part.rows]
    return np.asarray(tracks[tracks != NO_TRACK])


def _heads(part: _Part) -> Array:
    boxes = part.truth.head_boxes[part.rows]
    size = HEAD_FRACTION * np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return np.asarray(size[size > 0])


def _scales(part: _Part) -> Array:
    area = np.clip(part.boxes[:, 2:] - part.boxes[:, :2], 0, None).prod(axis=1)
    return np.asarray(np.sqrt(area[area > 0]))


def _heights(part: _Part) -> Array:
    image = np.array([frame.size[1] if frame.size else np.nan for frame in part.sequence.frames], dtype=float)
    height = (part.boxes[:, 3] - part.boxes[:, 1]) / image[part.frame] if len(part.rows) else np.zeros(0)
    return np.asarray(height[np.isfinite(height)])


def _overlaps(part: _Part) -> Array:
    """Largest box IoU of every person with another of the frame, 0 for one who is alone."""
    largest = np.zeros(len(part.rows))
    starts = np.searchsorted(part.frame, part.frame)
    most = int(np.bincount(part.frame).max()) if len(part.frame) else 0
    rows = np.arange(len(part.rows))
    for step in range(most):  # the step-th person of everybody's frame
        other = starts + step
        there = np.flatnonzero((other < len(rows)) & (other != rows))
        there = there[part.frame[other[there]] == part.frame[there]]
        largest[there] = np.fmax(largest[there], _iou(part.boxes[there], part.boxes[other[there]]))
    return largest


def _iou(first: Array, second: Array) -> Array:
    shared = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    inner = np.clip(shared, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    with np.errstate(all="ignore"):
        return np.asarray(inner / (areas[0] + areas[1] - inner))


def _hidden(part: _Part) -> Array:
    """Occluded fraction of every person with joints; nothing where the labels do not say."""
    count = part.annotated.sum(axis=1)
    if part.visible is None:
        return np.zeros(0)
    return np.asarray(1 - part.visible.sum(axis=1)[count > 0] / count[count > 0])


_MEASURES: dict[str, Callable[[_Part], Array]] = {
    "sequence_frames": lambda part: np.array([len(part.sequence.frames)], dtype=float),
    "sequence_labelled": lambda part: np.array([part.sequence.labelled.sum()], dtype=float),
    "sequence_people": lambda part: np.array([len(np.unique(_tracks(part)))], dtype=float),
    "track_frames": lambda part: np.unique(_tracks(part), return_counts=True)[1].astype(float),
    "frame_people": _per_frame,
    "head_size": _heads,
    "box_scale": _scales,
    "box_height": _heights,
    "overlap": _overlaps,
    "joints": lambda part: part.annotated.sum(axis=1).astype(float),
    "occluded": _hidden,
}


def _joint_shares(parts: list[_Part], people: int) -> tuple[JointShares, ...]:
    annotated = np.sum([part.annotated.sum(axis=0) for part in parts], axis=0)
    told = np.sum([part.annotated.sum(axis=0) for part in parts if part.visible is not None], axis=0)
    seen = np.sum([part.visible.sum(axis=0) for part in parts if part.visible is not None], axis=0)
    columns = np.broadcast_arrays(annotated, seen, told - seen, annotated - told)
    rows = zip(POSETRACK15.names, *(column.tolist() for column in columns), strict=True)
    return tuple(JointShares(name, int(count), *(share / people for share in shares)) for name, count, *shares in rows)
