"""Sequences -> label documents of both PoseTrack layouts.

A document keeps what its layout has no place for: fields it does not know stand beside the others under their own
names, and values that could not be recovered from what is written stand in `original`, with the data set they are of.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK, Polygon, Sequence, Truth
from harness.skeletons import POSETRACK15, POSETRACK17

__all__ = ["ENCODINGS", "Video", "annolist_document", "encoded", "images_document", "side"]

Record = dict[str, Any]
Array = NDArray[np.float64]

#: Third keypoint value of (a joint that is visible or of which nothing is known, an occluded one).
ENCODINGS: dict[str, tuple[int, int]] = {"one": (1, 1), "zero": (1, 0), "two": (2, 1), "labelled two": (2, 2)}

_CATEGORY = {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}


@dataclass(frozen=True)
class Video:
    """What a label file is written from.

    `images` (F) names and `image_ids` (F,) of the frames; `seen` (N,17) 1 visible, 0 occluded, NaN unknown, and whether
    that is `believed`; `scores` (N,17) and `person_scores` (N,), NaN where there are none; `frames` (F) and `people`
    (N) hold the fields that are carried over as they are, `top` those of the whole file. `encoding` is a key of
    ENCODINGS. `completed` is False for labels on their way back, which had all their fields before.
    """

    sequence: Sequence
    images: list[str]
    image_ids: list[int]
    seen: Array
    believed: bool
    scores: Array
    person_scores: Array
    frames: list[Record]
    people: list[Record]
    top: Record
    encoding: str = "one"
    completed: bool = True


def annolist_document(video: Video) -> Record:
    """The PoseTrack17 form: 15 joints, a point for each annotated one; unknown frames and joints have no entry."""
    truth, frames = video.sequence.truth, []
    for position, (frame, name) in enumerate(zip(video.sequence.frames, video.images, strict=True)):
        record: Record = {"image": [{"name": name}], "is_labeled": [int(frame.labelled)]}
        if video.completed:
            record["imgnum"] = [frame.index + 1]
        if regions := truth.ignore.get(position):
            record["ignore_regions"] = [_outline(region) for region in regions]
        frames.append({**record, "annorect": [], **video.frames[position]})
    points = _points(video)
    heads = truth.head_boxes.tolist()
    for row, position in enumerate(truth.frame.tolist()):
        person: Record = {}
        if np.isfinite(truth.head_boxes[row]).all():
            person |= {key: [value] for key, value in zip(("x1", "y1", "x2", "y2"), heads[row], strict=True)}
        if truth.track_ids[row] != NO_TRACK:
            person["track_id"] = [int(truth.track_ids[row])]
        if np.isfinite(video.person_scores[row]):
            person["score"] = [float(video.person_scores[row])]
        if truth.has_points[row]:
            person["annopoints"] = [{"point": points[row]}]
        frames[position]["annorect"].append(person | video.people[row])
    return {"annolist": frames, **video.top}


def images_document(video: Video) -> Record:
    """The form of PoseTrack18 and 21: 17 joints as x, y and a third value, (0, 0, 0) for those without annotation."""
    truth, sequence = video.sequence.truth, video.sequence
    images = []
    for position, frame in enumerate(sequence.frames):
        number = video.image_ids[position]
        record: Record = {"file_name": video.images[position], "id": number, "is_labeled": frame.labelled}
        if video.completed:
            vid_id = sequence.name.partition("_")[0]
            record |= {"frame_id": number, "vid_id": vid_id, "nframes": len(sequence.frames)}
        if regions := truth.ignore.get(position):
            record["ignore_regions_x"] = [region[:, 0].tolist() for region in regions]
            record["ignore_regions_y"] = [region[:, 1].tolist() for region in regions]
        images.append(record | video.frames[position])
    annotations = [_annotation(video, row, *values) for row, values in enumerate(_columns(video))]
    return {"images": images, "annotations": annotations, "categories": [_CATEGORY], **video.top}


def encoded(joints: Array, annotated: NDArray[np.bool_], seen: Array, encoding: str) -> Array:
    """(N,17,3) keypoints: x, y and the third value of the encoding; zeros where not annotated."""
    visible, occluded = ENCODINGS[encoding]
    third = np.where(seen == 0, occluded, visible)
    return np.where(annotated[..., None], np.concatenate([joints, third[..., None]], axis=2), 0.0)


def side(low: float, high: float) -> float:
    """The shortest width for which low + width is `high` in every bit; the nearest one if there is none.

    >>> side(0.1, 0.1 + 0.2), 0.1 + 0.2 - 0.1
    (0.2, 0.20000000000000004)
    """
    width = high - low
    for digits in range(17):
        if low + round(width, digits) == high:
            return round(width, digits)
    near = (np.nextafter(width, -np.inf), np.nextafter(width, np.inf))
    return next((float(value) for value in near if low + value == high), width)


def _outline(region: Polygon) -> Record:
    return {"point": [{"x": [x], "y": [y]} for x, y in region.tolist()]}


def _points(video: Video) -> list[list[Record]]:
    """The points of every person, in the order of POSETRACK15."""
    truth = video.sequence.truth
    order = POSETRACK17.positions_of(POSETRACK15)
    annotated = truth.annotated[:, order]
    rows, ids = np.nonzero(annotated)
    xy, seen, scores = (values[:, order][annotated] for values in (truth.joints, video.seen, video.scores))
    points = []
    for number, (x, y), flag, score in zip(ids.tolist(), xy.tolist(), seen.tolist(), scores.tolist(), strict=True):
        point: Record = {"id": [number], "x": [x], "y": [y]}
        if flag == flag:  # not NaN
            point["is_visible"] = [int(flag)]
        if score == score:
            point["score"] = [score]
        points.append(point)
    ends = np.searchsorted(rows, np.arange(len(truth) + 1)).tolist()
    return [points[start:end] for start, end in pairwise(ends)]


def _columns(video: Video) -> Any:
    truth = video.sequence.truth
    keypoints = encoded(truth.joints, truth.annotated, video.seen, video.encoding)
    flags = np.where(truth.annotated, np.where(np.isnan(video.seen), 0, video.seen), 0)
    visibility = np.where(truth.annotated, flags + 1, 0)
    persons = np.arange(len(truth)) - np.searchsorted(truth.frame, truth.frame)
    flat = keypoints.reshape(len(truth), 3 * len(POSETRACK17))
    columns = (flat, visibility.astype(int), flags.astype(int), truth.frame, persons)
    return zip(*[column.tolist() for column in columns], strict=True)


def _annotation(
    video: Video, row: int, keypoints: list[float], visibility: list[int], flags: list[int], frame: int, person: int
) -> Record:
    truth, image_id = video.sequence.truth, video.image_ids[frame]
    record: Record = {"image_id": image_id}
    if video.completed:
        record |= {"id": image_id * 100 + person, "category_id": 1}
    if truth.track_ids[row] != NO_TRACK:
        record["track_id"] = int(truth.track_ids[row])
    if truth.has_points[row]:
        record["keypoints"] = keypoints
    if video.believed:
        record["visibility"] = visibility
    elif np.isfinite(video.seen[row]).any():
        record["is_visible"] = flags
    record |= _head(truth, row)
    scores = video.scores[row]
    record["scores"] = np.where(truth.annotated[row], np.nan_to_num(scores), 0.0).tolist() if _some(scores) else []
    if np.isfinite(video.person_scores[row]):
        record["score"] = float(video.person_scores[row])
    return record | video.people[row]


def _head(truth: Truth, row: int) -> Record:
    x1, y1, x2, y2 = truth.head_boxes[row].tolist()
    return {"bbox_head": [x1, y1, side(x1, x2), side(y1, y2)]} if x1 == x1 else {}


def _some(values: Array) -> bool:
    return bool(np.isfinite(values).any())
