"""Who to look at: person boxes from the truth or from a detector's file, and how many people such a file finds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import integers, rows_of_numbers, xyxy
from harness.datasets.json_files import read_json
from harness.datasets.sequences import NO_TRACK, DataSet, Truth
from harness.datasets.sequences import Sequence as Video
from harness.errors import DataError
from harness.files import sha256_of

__all__ = [
    "NO_BOXES",
    "Boxes",
    "box_recall",
    "boxes_from_file",
    "boxes_from_truth",
    "enlarged",
    "overlap",
    "people_boxes",
    "revised",
    "whole_frames",
]

#: The source of a run that nobody told where people are.
NO_BOXES = "none"


@dataclass(frozen=True)
class Boxes:
    """Boxes of a data set, ordered by sequence and frame.

    `sequence` (N,) index into `DataSet.sequences`; `frame` (N,) position in `Sequence.frames`; `boxes` (N,4) xyxy px;
    `scores` (N,); `track_ids` (N,), NO_TRACK where unknown. `source` says where they are from; `sha256` is the digest
    of these columns, `file_sha256` that of the detector's file.
    """

    sequence: NDArray[np.int64]
    frame: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    track_ids: NDArray[np.int64]
    source: str
    sha256: str
    file_sha256: str | None = None

    def __len__(self) -> int:
        return len(self.frame)


def boxes_from_truth(dataset: DataSet, *, unlabelled: bool = False) -> Boxes:
    """One box of score 1 per annotated person, clipped to the image as HRNet and DCPose do (dcpose.md section 2).

    The box is the file's; where it has none, the extent of the annotated joints enlarged about its centre by 1.3, in
    PoseTrack17 by 1.2 as DetectAndTrack's conversion has it. People with neither are left out, and so are frames that
    are not labelled unless `unlabelled`.
    """
    none = np.zeros(0, dtype=np.int64)
    parts = [(none, none, np.zeros((0, 4)), none)]
    for number, sequence in enumerate(dataset.sequences):
        truth, boxes = sequence.truth, people_boxes(dataset, sequence)
        rows = np.flatnonzero(np.isfinite(boxes).all(axis=1) & (unlabelled | sequence.labelled[truth.frame]))
        parts.append((np.full(len(rows), number), truth.frame[rows], boxes[rows], truth.track_ids[rows]))
    sequences, frames, boxes, tracks = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _boxes(sequences, frames, boxes, np.ones(len(boxes)), tracks, source="truth")


def whole_frames(dataset: DataSet) -> Boxes:
    """One row per frame to look at, with an empty box: what a whole-frame method is given.

    The labelled frames, or all where none is labelled.
    """
    frames = [
        sequence.labelled if dataset.has_labels else np.ones(len(sequence.frames), dtype=bool)
        for sequence in dataset.sequences
    ]
    sequences = np.repeat(np.arange(len(frames)), [int(chosen.sum()) for chosen in frames])
    places = np.concatenate([np.zeros(0, dtype=np.int64), *(np.flatnonzero(chosen) for chosen in frames)])
    count = len(places)
    return _boxes(sequences, places, np.zeros((count, 4)), np.ones(count), np.full(count, NO_TRACK), source=NO_BOXES)


def people_boxes(dataset: DataSet, sequence: Video) -> NDArray[np.float64]:
    """(N,4) boxes of a sequence's people as `boxes_from_truth` has them; NaN where there is neither box nor joint."""
    truth = sequence.truth
    factor, margin = (1.2, 1.0) if dataset.name == "posetrack17" else (1.3, 0.0)
    boxes = _given_or_from_joints(truth, factor, margin)
    sizes = np.array([frame.size or (np.inf, np.inf) for frame in sequence.frames]).reshape(-1, 2)
    return _clipped(boxes, sizes[truth.frame])


def boxes_from_file(
    path: Path,
    dataset: DataSet,
    *,
    minimum_score: float = 0.2,
    unlabelled: bool = False,
    ignore_other_frames: bool = False,
    numbered_by: tuple[str, ...] = ("image_id",),
) -> Boxes:
    """Boxes a detector found, not clipped: those of category 1 whose score reaches `minimum_score`.

    The file is a JSON list of {bbox [x, y, w, h], score, category_id} with `image_name` (PoseWarper, DCPose) or
    `image_id` (mmpose), and optionally `track_id`. Frames that are not labelled are left out unless `unlabelled`.
    Raises DataError for a malformed file, and for boxes that belong to no frame of the data set
    (`ignore_other_frames` leaves those out, unless they are all). `numbered_by` are the keys that may hold the id of
    the frame, the first that is there counting.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or set(map(type, entries)) - {dict}:
        keys = " or ".join(("image_name", *numbered_by))
        raise DataError(f"{path}: expected a list of objects with bbox, score and {keys}")

    def record(row: int) -> str:
        return f"{path}: box {row} ({entries[row].get('image_name', _number(entries[row], numbered_by))})"

    scores = _required(entries, "score", 1, record)[:, 0]
    xywh = _required(entries, "bbox", 4, record)
    negative = np.flatnonzero((xywh[:, 2:] < 0).any(axis=1))
    if len(negative):
        raise DataError(f"{record(int(negative[0]))}: bbox {xywh[negative[0]].tolist()} has a negative width or height")
    tracks = integers([entry.get("track_id") for entry in entries], missing=NO_TRACK, what="track_id", record=record)
    person = np.array([entry.get("category_id", 1) == 1 for entry in entries], dtype=bool)
    rows = np.flatnonzero(person & (scores >= minimum_score))
    places = _places(entries, rows, dataset, record, numbered_by)
    if (places[:, 0] < 0).any():
        lost = rows[places[:, 0] < 0]
        if not ignore_other_frames or len(lost) == len(rows):
            raise DataError(
                f"{record(int(lost[0]))}: belongs to no frame of {dataset.name} {dataset.split} ({len(lost)} of "
                f"{len(rows)} boxes do not); is it the box file of another data set or split?"
            )
    labelled = [sequence.labelled for sequence in dataset.sequences]
    wanted = np.array([at >= 0 and (unlabelled or labelled[at][frame]) for at, frame in places.tolist()], dtype=bool)
    rows, places = rows[wanted], places[wanted]
    order = np.lexsort((places[:, 1], places[:, 0]))
    rows, places = rows[order], places[order]
    return _boxes(
        places[:, 0], places[:, 1], xyxy(xywh[rows]), scores[rows], tracks[rows],
        source=f"{path.name} (score >= {minimum_score:g})", file_sha256=sha256_of(path),
    )  # fmt: skip


def box_recall(boxes: Boxes, dataset: DataSet, *, threshold: float = 0.5) -> float:
    """Share (0..1) of the people of `boxes_from_truth` that a box finds; NaN where there are none.

    Boxes are taken by falling score; each finds the person it overlaps most that is not found yet, if their
    intersection over union reaches `threshold`.
    """
    truth = boxes_from_truth(dataset)
    found = 0
    starts = _frame_starts(dataset)
    true_frame, frame = starts[truth.sequence] + truth.frame, starts[boxes.sequence] + boxes.frame
    order = np.lexsort((-boxes.scores, frame))
    frame = frame[order]
    for number in np.unique(true_frame).tolist():
        people = truth.boxes[slice(*np.searchsorted(true_frame, (number, number + 1)))]
        candidates = boxes.boxes[order[slice(*np.searchsorted(frame, (number, number + 1)))]]
        overlaps = overlap(candidates, people)
        for row in range(len(candidates)):
            best = int(overlaps[row].argmax())
            if overlaps[row, best] >= threshold:
                overlaps[:, best] = -1.0
                found += 1
    return found / len(truth) if len(truth) else float("nan")


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,M) intersection over union of (N,4) and (M,4) xyxy boxes; 0 where both are empty.

    >>> overlap(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 2, 1], [1, 1, 3, 3]])).round(3).tolist()
    [[0.5, 0.143]]
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - inside
    result: NDArray[np.float64] = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return result


def revised(
    boxes: Boxes,
    *,
    note: str,
    rows: NDArray[np.int64] | None = None,
    corners: NDArray[np.float64] | None = None,
    track_ids: NDArray[np.int64] | None = None,
    scores: NDArray[np.float64] | None = None,
) -> Boxes:
    """Some `rows` of the boxes, with other `corners` (N,4) xyxy, `track_ids`, `scores` (N,); `note` joins `source`."""
    chosen = np.arange(len(boxes)) if rows is None else rows
    tracks = boxes.track_ids if track_ids is None else track_ids
    return _boxes(
        boxes.sequence[chosen], boxes.frame[chosen], (boxes.boxes if corners is None else corners)[chosen],
        (boxes.scores if scores is None else scores)[chosen], tracks[chosen],
        source=f"{boxes.source}, {note}" if note else boxes.source, file_sha256=boxes.file_sha256,
    )  # fmt: skip


def enlarged(boxes: Boxes, factor: float) -> Boxes:
    """The boxes with their sides multiplied by `factor`, about their centres and not clipped.

    >>> one = Boxes(*[np.zeros(1, dtype=np.int64)] * 2, np.array([[0.0, 0, 10, 20]]), np.ones(1), np.zeros(1), "x", "")
    >>> enlarged(one, 1.5).boxes.tolist()
    [[-2.5, -5.0, 12.5, 25.0]]
    """
    low, high = boxes.boxes[:, :2], boxes.boxes[:, 2:]
    centre, half = (low + high) / 2, (high - low) / 2 * factor
    return revised(boxes, note=f"enlarged by {factor:g}", corners=np.hstack([centre - half, centre + half]))


def _given_or_from_joints(truth: Truth, factor: float, margin: float) -> NDArray[np.float64]:
    joints = np.where(truth.annotated[:, :, None], truth.joints, np.nan)
    extents = np.full((len(truth), 4), np.nan)
    some = truth.annotated.any(axis=1)
    extents[some, :2] = np.nanmin(joints[some], axis=1)
    extents[some, 2:] = np.nanmax(joints[some], axis=1) + margin
    centre, half = (extents[:, :2] + extents[:, 2:]) / 2, (extents[:, 2:] - extents[:, :2]) / 2 * factor
    given = (truth.boxes[:, 2:] > truth.boxes[:, :2]).all(axis=1)
    return np.where(given[:, None], truth.boxes, np.hstack([centre - half, centre + half]))


def _clipped(boxes: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """HRNet's clipping, the width being counted from the clipped corner; NaN for boxes of which nothing is left."""
    sides = np.maximum(0, boxes[:, 2:] - boxes[:, :2] - 1)
    low = np.maximum(0, boxes[:, :2])
    high = np.minimum(sizes - 1, low + sides)
    kept = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) > 0) & (high >= low).all(axis=1)
    return np.where(kept[:, None], np.hstack([low, high]), np.nan)


def _required(
    entries: Sequence[dict[str, Any]], key: str, width: int, record: Callable[[int], str]
) -> NDArray[np.float64]:
    for row, entry in enumerate(entries):
        if entry.get(key) is None or entry[key] == []:
            raise DataError(f"{record(row)}: key '{key}' is missing")
    values = [[entry[key]] if width == 1 else entry[key] for entry in entries]
    return rows_of_numbers(values, width, blank=0.0, what=key, record=record)


def _places(
    entries: Sequence[dict[str, Any]],
    rows: NDArray[np.int64],
    dataset: DataSet,
    record: Callable[[int], str],
    numbered_by: tuple[str, ...],
) -> NDArray[np.int64]:
    """(R,2) sequence and frame of the boxes in `rows`; -1, -1 where no frame has the name or id."""
    by_name, by_id = _frame_names(dataset)
    places = []
    for row in rows.tolist():
        entry = entries[row]
        if isinstance(entry.get("image_name"), str):
            parts = entry["image_name"].split("/")
            place = by_name.get("/".join(parts[-3:])) or by_name.get("/".join(parts[-2:]), (-1, -1))
        else:
            number = _number(entry, numbered_by)
            place = by_id.get(number, (-1, -1)) if isinstance(number, int) else (-1, -1)
        if place is None:
            raise DataError(f"{record(row)}: several frames have this name or id; name images with their whole path")
        places.append(place)
    return np.array(places, dtype=np.int64).reshape(-1, 2)


def _number(entry: dict[str, Any], keys: tuple[str, ...]) -> object:
    """What the first of the keys that is there holds."""
    return next((entry[key] for key in keys if key in entry), None)


def _frame_names(dataset: DataSet) -> tuple[dict[str, tuple[int, int] | None], dict[int, tuple[int, int] | None]]:
    """Last three and last two parts of the image names, and image ids -> (sequence, frame); None where ambiguous."""
    by_name: dict[str, tuple[int, int] | None] = {}
    by_id: dict[int, tuple[int, int] | None] = {}
    for number, sequence in enumerate(dataset.sequences):
        for position, frame in enumerate(sequence.frames):
            parts = frame.image.split("/")
            for name in {"/".join(parts[-3:]), "/".join(parts[-2:])}:
                by_name[name] = None if name in by_name else (number, position)
            by_id[frame.image_id] = None if frame.image_id in by_id else (number, position)
    return by_name, by_id


def _frame_starts(dataset: DataSet) -> NDArray[np.int64]:
    """(S,) number of frames before each sequence."""
    counts = [len(sequence.frames) for sequence in dataset.sequences]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _boxes(
    sequence: NDArray[np.int64],
    frame: NDArray[np.int64],
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    tracks: NDArray[np.int64],
    *,
    source: str,
    file_sha256: str | None = None,
) -> Boxes:
    columns = [
        sequence.astype("<i8"),
        frame.astype("<i8"),
        boxes.astype("<f8"),
        scores.astype("<f8"),
        tracks.astype("<i8"),
    ]
    digest = hashlib.sha256(b"".join([np.ascontiguousarray(column).tobytes() for column in columns])).hexdigest()
    return Boxes(sequence, frame, boxes, scores, tracks, source, digest, file_sha256)
