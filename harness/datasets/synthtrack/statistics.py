"""What a labelled split is like: crowding, sizes, occlusion, speed, and how much of the occlusion time could repair.

Works on any DataSet whose truth has head boxes, track ids and visibility, so that synthtrack and real video stand side
by side. Speeds are in head sizes per frame (0.6 x head-box diagonal), from the previous frame to this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import DataSet, Sequence
from harness.datasets.synthtrack.labels import run_lengths

__all__ = ["Tracks", "dense_tracks", "headroom", "statistics"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_GROUPS = {
    "nose": "nose", "head_bottom": "head_bottom", "head_top": "head_top", "shoulder": "shoulder", "elbow": "elbow",
    "wrist": "wrist", "hip": "hip", "knee": "knee", "ankle": "ankle",
}  # fmt: skip


@dataclass(frozen=True)
class Tracks:
    """One sequence as dense arrays over F labelled frames and P tracks.

    `joints` (F,P,J,2) px; `annotated` and `visible` (F,P,J); `heads` (F,P) head sizes px; `boxes` (F,P,4);
    `present` (F,P).
    """

    joints: Array
    annotated: Flags
    visible: Flags
    heads: Array
    boxes: Array
    present: Flags


def dense_tracks(sequence: Sequence) -> Tracks:
    """The truth of a sequence by (frame, track); absent people are all False and NaN."""
    truth = sequence.truth
    tracks, column = np.unique(truth.track_ids, return_inverse=True)
    shape = (len(sequence.frames), len(tracks))
    joint_count = truth.joints.shape[1]

    def dense(values: NDArray[np.generic], fill: float | bool) -> NDArray[np.generic]:
        table = np.full((*shape, *values.shape[1:]), fill, dtype=values.dtype)
        table[truth.frame, column] = values
        return table

    diagonal = 0.6 * np.hypot(*(truth.head_boxes[:, 2:] - truth.head_boxes[:, :2]).T)
    visible = truth.annotated if truth.visible is None else truth.visible & truth.annotated
    assert truth.annotated.shape[1] == joint_count  # noqa: S101
    return Tracks(
        np.asarray(dense(truth.joints, np.nan), np.float64), np.asarray(dense(truth.annotated, False), np.bool_),
        np.asarray(dense(visible, False), np.bool_), np.asarray(dense(diagonal, np.nan), np.float64),
        np.asarray(dense(truth.boxes, np.nan), np.float64),
        np.asarray(dense(np.ones(len(truth), dtype=bool), False), np.bool_),
    )  # fmt: skip


def statistics(dataset: DataSet) -> dict[str, float]:
    """Quantity -> value over a split; shares are fractions. Names follow the table of the data card."""
    names = np.array(dataset.skeleton.names)
    joints = {group: np.array([name.endswith(end) for name in names]) for group, end in _GROUPS.items()}
    ears = np.array([name.endswith("ear") for name in names])
    people, values = [], _Columns()
    for sequence in dataset.sequences:
        tracks = dense_tracks(sequence)
        people.append(tracks.present[sequence.labelled].sum(axis=1))
        values.extend(tracks, ears)
    table: dict[str, float] = {}
    _spread(table, "people", np.concatenate(people), (5, 50, 95))
    table["people mean"] = float(np.concatenate(people).mean())
    _spread(table, "extent", values.get("extent"), (5, 25, 50, 75, 95))
    _spread(table, "head", values.get("head"), (5, 50, 95))
    _spread(table, "extent / head", values.get("ratio"), (5, 50, 95))
    for bound in (0.0, 0.1, 0.5, 0.75):
        table[f"overlap > {bound:g}"] = float((values.get("overlap") > bound).mean())
    annotated, hidden, speed = values.get("annotated"), values.get("hidden"), values.get("speed")
    table["occluded"] = float(hidden.sum() / annotated.sum())
    table["unlabelled"] = float(1 - annotated[:, ~ears].mean())
    known = np.isfinite(speed)
    for group, mask in joints.items():
        table[f"occluded {group}"] = float(hidden[:, mask].sum() / max(annotated[:, mask].sum(), 1))
        table[f"fast {group}"] = (
            float((speed[:, mask][known[:, mask]] > 0.5).mean()) if known[:, mask].any() else np.nan
        )
    table["unlabelled ankle"] = float(1 - annotated[:, joints["ankle"]].mean())
    fraction = hidden.sum(axis=1) / np.maximum(annotated.sum(axis=1), 1)
    for name, low, high in (("0", -1, 0), ("(0,.25]", 0, 0.25), ("(.25,.5]", 0.25, 0.5), ("> .5", 0.5, 1)):
        table[f"persons occluded {name}"] = float(((fraction > low) & (fraction <= high)).mean())
    table["speed median"], table["speed p90"] = (float(value) for value in np.percentile(speed[known], (50, 90)))
    table["medium"] = float(((speed[known] > 0.25) & (speed[known] <= 0.5)).mean())
    table["fast"] = float((speed[known] > 0.5).mean())
    table["speed of occluded"] = float(np.median(speed[known & (hidden > 0)]))
    table["speed of visible"] = float(np.median(speed[known & (hidden == 0)]))
    runs, lengths = values.get("runs"), values.get("lengths")
    table["run median"], table["run mean"] = float(np.median(runs)), float(runs.mean())
    for bound in (3, 5, 10):
        table[f"runs <= {bound}"] = float((runs <= bound).mean())
        table[f"occluded in runs <= {bound}"] = float((lengths <= bound).mean())
    return table


def headroom(dataset: DataSet, *, reach: tuple[int, ...] = (1, 2, 3, 5)) -> dict[int, tuple[float, float]]:
    """Per reach k: share of hidden joints visible within +-k frames, and share hit within 0.5 h by copying from there.

    The copy is the nearer visible neighbour, or the linear interpolation where both sides have one.
    """
    totals = {k: np.zeros(3) for k in reach}
    for sequence in dataset.sequences:
        tracks = dense_tracks(sequence)
        hidden = tracks.annotated & ~tracks.visible
        for k in reach:
            guess, known = _from_neighbours(tracks, k)
            away = np.linalg.norm(guess - tracks.joints, axis=-1) / tracks.heads[..., None]
            totals[k] += [hidden.sum(), (hidden & known).sum(), (hidden & known & (away <= 0.5)).sum()]
    return {k: (float(seen / count), float(hit / count)) for k, (count, seen, hit) in totals.items()}


class _Columns:
    """Lists of arrays by name."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {}

    def extend(self, tracks: Tracks, ears: Flags) -> None:
        present = tracks.present
        hidden = tracks.annotated & ~tracks.visible
        count = tracks.annotated.sum(axis=2)
        y = np.where(tracks.annotated, tracks.joints[..., 1], np.nan)
        usable = present & (count >= 2)
        extent = np.full(present.shape, np.nan)
        extent[usable] = np.nanmax(y[usable], axis=1) - np.nanmin(y[usable], axis=1)
        whole = present & (count >= 12)
        step = np.full(tracks.annotated.shape, np.nan)
        both = tracks.annotated[1:] & tracks.annotated[:-1]
        moved = np.linalg.norm(np.diff(tracks.joints, axis=0), axis=-1) / tracks.heads[1:, :, None]
        step[1:] = np.where(both, moved, np.nan)
        lengths = run_lengths(hidden)
        starts = hidden & ~np.concatenate([np.zeros_like(hidden[:1]), hidden[:-1]])
        for name, value in {
            "extent": extent[usable], "head": tracks.heads[present], "ratio": (extent / tracks.heads)[whole],
            "overlap": _overlaps(tracks), "annotated": tracks.annotated[present], "hidden": hidden[present],
            "speed": step[present], "runs": lengths[starts], "lengths": lengths[hidden],
        }.items():  # fmt: skip
            self._parts.setdefault(name, []).append(value.astype(np.float64))
        assert not tracks.annotated[..., ears].any()  # noqa: S101

    def get(self, name: str) -> Array:
        return np.concatenate(self._parts[name])


def _spread(table: dict[str, float], name: str, values: Array, percents: tuple[int, ...]) -> None:
    for percent, value in zip(percents, np.nanpercentile(values, percents), strict=True):
        table[f"{name} p{percent}"] = float(value)


def _overlaps(tracks: Tracks) -> Array:
    """Largest box IoU of every present person with another one of the frame."""
    boxes = np.where(tracks.present[..., None], tracks.boxes, 0.0)
    first, second = boxes[:, :, None], boxes[:, None]
    shared = np.clip(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0, None)
    area = np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
    inner = shared.prod(axis=-1)
    union = area[:, :, None] + area[:, None] - inner
    ratio = inner / np.maximum(union, 1e-9)
    ratio[:, np.arange(boxes.shape[1]), np.arange(boxes.shape[1])] = 0
    return np.asarray(ratio.max(axis=2)[tracks.present])


def _from_neighbours(tracks: Tracks, reach: int) -> tuple[Array, Flags]:
    count = len(tracks.joints)
    before, after = (np.full(tracks.visible.shape, np.inf) for _ in range(2))
    earlier, later = np.zeros_like(tracks.joints), np.zeros_like(tracks.joints)
    for shift in range(min(reach, count - 1), 0, -1):
        seen = tracks.visible[:-shift]
        before[shift:][seen], earlier[shift:][seen] = shift, tracks.joints[:-shift][seen]
        seen = tracks.visible[shift:]
        after[:-shift][seen], later[:-shift][seen] = shift, tracks.joints[shift:][seen]
    known = np.isfinite(before) | np.isfinite(after)
    both = np.isfinite(before) & np.isfinite(after)
    share = np.where(
        both, np.where(both, before, 0) / np.where(both, before + after, 1), np.where(np.isfinite(before), 0, 1)
    )
    return earlier + share[..., None] * (later - earlier), known
