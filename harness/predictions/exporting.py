"""Predictions -> folders of JSON files that poseval, the PoseTrack21 kit and evaluation servers read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import frame_number
from harness.datasets.sequences import NO_TRACK, Frame, Sequence
from harness.errors import DataError, UsageError, listed
from harness.files import write_json
from harness.predictions.rows import Predictions
from harness.skeletons import POSETRACK15

__all__ = ["LAYOUTS", "UNSCORED", "export_json", "official_name"]

#: What poseval takes for a joint without score.
UNSCORED = -9999.0


def export_json(
    predictions: Predictions, sequences: tuple[Sequence, ...], folder: Path, *, layout: str = "posetrack18"
) -> list[Path]:
    """Write one file per sequence, each whole or not at all, and return their paths.

    Every frame of every sequence is there, also those without people. Read again, joints, scores and track ids are the
    same in every bit, boxes up to the rounding of x + (x2 - x). `layout` is "posetrack17" (annolist: 15 joints,
    no boxes), "posetrack18" or "posetrack21". A person without track id gets the lowest that is free in the frame.
    Where only some joints of a person have scores the others get poseval's -9999 (but in "posetrack17", which can leave
    them out). Raises UsageError for an unknown layout, DataError for predictions of other sequences or frames, for
    numbers that are not finite, and for two people of a frame with one track id.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout '{layout}'; choose from {', '.join(LAYOUTS)}")
    numbers = {name: number for number, name in enumerate(predictions.sequence_names)}
    foreign = sorted(set(numbers) - {sequence.name for sequence in sequences})
    if foreign:
        raise DataError(f"there are predictions of sequences that are not exported: {listed(foreign)}")
    for sequence in sequences:
        if "/" in sequence.name or "\0" in sequence.name:
            raise DataError(f"{sequence.source or folder}: sequence {sequence.name!r} cannot name a file; rename it")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sequence in sequences:
        rows = np.flatnonzero(predictions.sequence == numbers.get(sequence.name, -1))
        _check(predictions, rows, sequence)
        tracks = _unique_tracks(predictions, rows, sequence)
        document = LAYOUTS[layout](predictions, rows, tracks, sequence)
        paths.append(write_json(document, folder / f"{sequence.name}.json"))
    return paths


def official_name(frame: Frame) -> str:
    """The image name of the official labels, also for images that lie in the folder most code renames them to.

    >>> official_name(Frame("images_renamed/bonn/000001_bonn/00000001.jpg", 0, 1))
    'images/bonn/000001_bonn/00000001.jpg'
    """
    renamed = "images_renamed/"
    return f"images/{frame.image.removeprefix(renamed)}" if frame.image.startswith(renamed) else frame.image


def _check(predictions: Predictions, rows: NDArray[np.int64], sequence: Sequence) -> None:
    outside = rows[(predictions.frame[rows] < 0) | (predictions.frame[rows] >= len(sequence.frames))]
    if len(outside):
        frame = predictions.frame[outside[0]]
        raise DataError(f"predictions for frame {frame} of {sequence.name}, which has {len(sequence.frames)}")
    present = predictions.present[rows]
    bad = (~np.isfinite(predictions.joints[rows]).all(axis=2) | np.isinf(predictions.scores[rows])) & present
    if bad.any():
        row, joint = (int(found[0]) for found in np.nonzero(bad))
        raise DataError(
            f"{sequence.name}, frame {predictions.frame[rows[row]]}, person {predictions.person[rows[row]]}: "
            f"{predictions.skeleton.names[joint]} is not finite"
        )


def _unique_tracks(predictions: Predictions, rows: NDArray[np.int64], sequence: Sequence) -> list[int]:
    used: dict[int, set[int]] = {}
    frames, tracks = predictions.frame[rows].tolist(), predictions.track_ids[rows].tolist()
    for frame, track in zip(frames, tracks, strict=True):
        taken = used.setdefault(frame, set())
        if track in taken:
            raise DataError(f"{sequence.name}, frame {frame}: two people have the track id {track}; ids must differ")
        taken |= set() if track == NO_TRACK else {track}
    result = []
    for frame, track in zip(frames, tracks, strict=True):
        if track == NO_TRACK:
            track = next(number for number in range(len(used[frame]) + 1) if number not in used[frame])
            used[frame].add(track)
        result.append(track)
    return result


def _annolist(
    predictions: Predictions, rows: NDArray[np.int64], tracks: list[int], sequence: Sequence
) -> dict[str, Any]:
    order = predictions.skeleton.positions_of(POSETRACK15)
    frames: list[dict[str, Any]] = [
        {"image": [{"name": official_name(frame)}], "imgnum": [frame_number(frame.image)], "annorect": []}
        for frame in sequence.frames
    ]
    for row, track in zip(rows.tolist(), tracks, strict=True):
        joints, scores = predictions.joints[row][order].tolist(), predictions.scores[row][order].tolist()
        points = []
        for number in np.flatnonzero(predictions.present[row][order]).tolist():
            point = {"id": [number], "x": [joints[number][0]], "y": [joints[number][1]]}
            points.append(point if np.isnan(scores[number]) else point | {"score": [scores[number]]})
        person: dict[str, Any] = {"track_id": [track], "annopoints": [{"point": points}]}
        if np.isfinite(predictions.box_scores[row]):
            person["score"] = [float(predictions.box_scores[row])]
        frames[predictions.frame[row]]["annorect"].append(person)
    return {"annolist": frames}


def _images(predictions: Predictions, rows: NDArray[np.int64], tracks: list[int], sequence: Sequence) -> dict[str, Any]:
    predictions.skeleton.positions_of(POSETRACK15)
    images = [
        {
            "file_name": official_name(frame),
            "id": frame.image_id,
            "frame_id": frame.image_id,
            "vid_id": sequence.name.partition("_")[0],
            "nframes": len(sequence.frames),
            "is_labeled": frame.labelled,
        }
        for frame in sequence.frames
    ]
    keypoints, scores = _keypoints(predictions, rows), _scores(predictions, rows)
    boxes = np.hstack([predictions.boxes[rows, :2], predictions.boxes[rows, 2:] - predictions.boxes[rows, :2]])
    annotations = []
    for at, (row, track) in enumerate(zip(rows.tolist(), tracks, strict=True)):
        frame = sequence.frames[predictions.frame[row]]
        person: dict[str, Any] = {"id": at, "image_id": frame.image_id, "category_id": 1, "track_id": track}
        person["keypoints"] = keypoints[at].tolist()
        if not np.isnan(scores[at]).all():
            person["scores"] = scores[at].tolist()
        if np.isfinite(boxes[at]).all():
            person["bbox"] = boxes[at].tolist()
        if np.isfinite(predictions.box_scores[row]):
            person["score"] = float(predictions.box_scores[row])
        annotations.append(person)
    category = {"supercategory": "person", "id": 1, "name": "person", "keypoints": predictions.skeleton.names}
    return {"images": images, "annotations": annotations, "categories": [category]}


def _images_with_person_ids(
    predictions: Predictions, rows: NDArray[np.int64], tracks: list[int], sequence: Sequence
) -> dict[str, Any]:
    document = _images(predictions, rows, tracks, sequence)
    for person in document["annotations"]:
        person["person_id"] = person["track_id"]
    return document


#: Layout name -> the content of one file.
LAYOUTS: dict[str, Callable[[Predictions, NDArray[np.int64], list[int], Sequence], dict[str, Any]]] = {
    "posetrack17": _annolist,
    "posetrack18": _images,
    "posetrack21": _images_with_person_ids,
}


def _keypoints(predictions: Predictions, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(R, 3J) x, y and score; (0, 0, 0) for an absent joint only."""
    joints, scores, present = predictions.joints[rows], predictions.scores[rows], predictions.present[rows]
    third = np.where(np.isnan(scores) | ((joints == 0).all(axis=2) & (scores == 0)), 1.0, scores)
    values = np.concatenate([joints, third[:, :, None]], axis=2)
    return np.where(present[:, :, None], values, 0.0).reshape(len(rows), 3 * present.shape[1])


def _scores(predictions: Predictions, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(R, J) 0 for absent joints; all NaN for people none of whose joints has a score."""
    scores, present = predictions.scores[rows], predictions.present[rows]
    scored = (present & ~np.isnan(scores)).any(axis=1)
    filled = np.where(present, np.where(np.isnan(scores), UNSCORED, scores), 0.0)
    return np.where(scored[:, None], filled, np.nan)
