"""The people of a request: who is looked at, and who is left when poses found twice are gone and tracks are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.boxes import NO_BOXES, Boxes, box_recall, boxes_from_file, boxes_from_truth, enlarged, revised
from harness.datasets import NO_TRACK, DataSet
from harness.errors import DataError, UsageError
from harness.inference.crops import UNIT, centre_and_scale
from harness.predictions import Predictions, only
from harness.suppression import suppress
from harness.tracks import track_boxes, track_predictions
from harness.video import video_boxes

if TYPE_CHECKING:
    from harness.methods import CropSpec
    from harness.request import Request

__all__ = ["afterwards", "check_no_boxes", "check_people", "open_boxes"]


def check_people(request: Request) -> None:
    """Raise UsageError for options that need another one, or exclude it."""
    if request.nms == "none" and request.nms_threshold is not None:
        raise UsageError("--nms-threshold is the threshold of --nms: name the suppression, or leave it out")
    if request.boxes == NO_BOXES:
        raise UsageError(f"method '{request.method}' looks at boxes: give --boxes truth or a detector's file")
    if request.video is not None and request.boxes == "truth":
        raise UsageError(f"{request.video}: a video has no labels; say with --boxes FILE where the people are")
    _check_source(request)


def check_no_boxes(request: Request) -> None:
    """Raise UsageError for options about boxes, which a method that takes whole frames is not given."""
    given = {
        f"--boxes {request.boxes}": request.boxes not in ("truth", NO_BOXES),
        "--box-enlarge": request.box_enlarge != 1,
        "--track iou (--track oks follows poses)": request.track == "iou",
    }
    for option, said in given.items():
        if said:
            raise UsageError(f"method '{request.method}' takes whole frames, finds people itself; leave out {option}")
    if request.nms == "none" and request.nms_threshold is not None:
        raise UsageError("--nms-threshold is the threshold of --nms: name the suppression, or leave it out")
    _check_source(request)


def _check_source(request: Request) -> None:
    if request.video is None:
        return
    given = {
        "--data-root": request.data_root is not None,
        "--limit": request.limit is not None,
        "--allow-missing-frames": request.allow_missing_frames,
    }
    for option, said in given.items():
        if said:
            raise UsageError(f"--video and {option} exclude one another: a video is the whole data set")


def open_boxes(request: Request, dataset: DataSet, *, neighbours: bool) -> tuple[Boxes, float | None]:
    """The boxes a request looks at, and their recall against the truth (before `box_enlarge`) where a file gave them.

    They are tracked over all frames; those of frames that are not labelled then go, but for a method that looks at
    `neighbours`. In a split without labels all stay; DataError for its truth.
    """
    tracked = request.track == "iou"
    if request.boxes == "truth" and not dataset.has_labels:
        raise DataError(
            f"{dataset.root}: {dataset.name} {dataset.split} has no public labels that say where the people are; "
            "give a detector's boxes with --boxes FILE"
        )
    if request.boxes == "truth":
        boxes = boxes_from_truth(dataset, unlabelled=tracked or neighbours)
    elif request.video is not None:
        boxes = video_boxes(Path(request.boxes), dataset, minimum_score=request.min_box_score)
    else:
        boxes = boxes_from_file(
            Path(request.boxes), dataset, minimum_score=request.min_box_score,
            unlabelled=tracked or neighbours or not dataset.has_labels,
        )  # fmt: skip
    boxes = track_boxes(boxes, dataset) if tracked else boxes
    if request.track == "none" and request.boxes != "truth":
        _check_track_ids(boxes, dataset, request.boxes)
    labelled = _labelled(dataset, boxes)
    scored = boxes if labelled.all() else revised(boxes, note="", rows=np.flatnonzero(labelled))
    known = request.boxes != "truth" and request.video is None and dataset.has_labels
    recall = box_recall(scored, dataset) if known else None
    boxes = boxes if neighbours else scored
    return boxes if request.box_enlarge == 1 else enlarged(boxes, request.box_enlarge), recall


def afterwards(
    request: Request, predictions: Predictions, dataset: DataSet, *, crop: CropSpec, whole: bool = False
) -> Predictions:
    """The poses of labelled frames, suppressed and tracked as the request says.

    OKS-NMS takes the area of the padded crop, as upstream does (hrnet.md section 5). Persons of `whole` frames have no
    crop, so that of their joints is taken, and scores of their own.
    """
    labelled = _labelled(dataset, predictions)
    left = predictions if labelled.all() else only(predictions, np.flatnonzero(labelled))
    if request.nms != "none" and whole:
        left = only(left, np.flatnonzero(left.present.any(axis=1)))  # of other joints than these labels have
        left = suppress(left, request.nms, threshold=request.nms_threshold, own_scores=True)
    elif request.nms != "none":
        _, scale = centre_and_scale(left.boxes, crop.size, enlarge=crop.enlarge, aspect=crop.aspect)
        areas = (scale.astype(np.float64) * UNIT).prod(axis=1)
        left = suppress(left, request.nms, threshold=request.nms_threshold, areas=areas)
    return track_predictions(left, dataset) if request.track == "oks" else left


def _check_track_ids(boxes: Boxes, dataset: DataSet, file: str) -> None:
    """Raise DataError where two boxes of a frame have one track id, which nothing after could tell apart."""
    keys = np.stack([boxes.sequence, boxes.frame, boxes.track_ids], axis=1)[boxes.track_ids != NO_TRACK]
    unique, counts = np.unique(keys, axis=0, return_counts=True)
    if (counts > 1).any():
        sequence, frame, track = unique[counts > 1][0].tolist()
        image = dataset.sequences[sequence].frames[frame].image
        raise DataError(
            f"{file}: {int(counts.max())} boxes of {image} have the track id {track}; ids must differ within a frame, "
            "or be left out or given anew with --track"
        )


def _labelled(dataset: DataSet, rows: Boxes | Predictions) -> NDArray[np.bool_]:
    """(N,) whether the frame of each row is labelled; all are wanted where none is."""
    if not dataset.has_labels:
        return np.ones(len(rows), dtype=bool)
    by_sequence = [sequence.labelled.tolist() for sequence in dataset.sequences]
    places = zip(rows.sequence.tolist(), rows.frame.tolist(), strict=True)
    return np.array([by_sequence[sequence][frame] for sequence, frame in places], dtype=bool)
