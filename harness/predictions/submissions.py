"""Submissions: predictions made fit for an evaluation server, and folders checked as one would check them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import Columns
from harness.datasets.json_files import SUFFIXES, sequence_name
from harness.datasets.layouts import read_columns
from harness.datasets.sequences import NO_TRACK, Sequence
from harness.errors import DataError, listed
from harness.predictions.exporting import UNSCORED, official_name
from harness.predictions.rows import Predictions
from harness.skeletons import POSETRACK15, POSETRACK17

__all__ = ["MOST_TRACKS", "Fault", "check_submission", "submittable"]

#: Track ids of a submission are below this (the README of poseval; its code refuses 10000 and more).
MOST_TRACKS = 1000

_JOINTS = POSETRACK17.positions_of(POSETRACK15)


@dataclass(frozen=True)
class Fault:
    """What an evaluation server would refuse, or would score otherwise than meant."""

    file: str
    record: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: {self.record}: {self.found}"


def submittable(
    predictions: Predictions, sequences: tuple[Sequence, ...], *, fill_missing: bool = False
) -> Predictions:
    """The predictions with track ids below 1000; those of a sequence are counted anew where some are not.

    DataError for a sequence with more than 1000 tracks, and for sequences without predictions unless `fill_missing`,
    by which the export gets them as frames without people.
    """
    absent = sorted({sequence.name for sequence in sequences} - set(predictions.sequence_names))
    if absent and not fill_missing:
        raise DataError(
            f"{len(absent)} of {len(sequences)} sequences have no predictions: {listed(absent)}; "
            "--fill-missing writes them without people"
        )
    tracks = predictions.track_ids.copy()
    for number, name in enumerate(predictions.sequence_names):
        rows = np.flatnonzero((predictions.sequence == number) & (tracks != NO_TRACK))
        own = np.unique(tracks[rows])
        if len(own) > MOST_TRACKS:
            raise DataError(f"{name}: {len(own)} tracks, a submission may have {MOST_TRACKS}; track them again")
        if len(own) and (own[0] < 0 or own[-1] >= MOST_TRACKS):
            tracks[rows] = np.searchsorted(own, tracks[rows])
    return replace(predictions, track_ids=tracks)


def check_submission(folder: Path, sequences: tuple[Sequence, ...]) -> tuple[Fault, ...]:
    """Read a folder of either layout again and compare it with the official list of frames.

    Looked for: a file per sequence and no others, one layout, every frame once and in order with the official name and
    id, track ids that are there, below 1000 and different within a frame, a finite position and score for every joint.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one prediction file per sequence in it")
    files = {sequence_name(path): path for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES)}
    faults: list[Fault] = []
    layouts: dict[str, str] = {}
    for sequence in sequences:
        path = files.pop(sequence.name, None)
        if path is None:
            faults.append(Fault(f"{sequence.name}.json", "file", f"is missing; {len(sequence.frames)} frames expected"))
            continue
        try:
            columns = read_columns(path, predictions=True)
        except DataError as error:
            faults.append(Fault(path.name, "file", str(error)))
            continue
        layouts[columns.layout] = path.name
        faults += (Fault(path.name, *fault) for check in _CHECKS for fault in check(columns, sequence))
    faults += (Fault(path.name, "file", "is of no sequence of the split") for path in files.values())
    if len(layouts) > 1:
        faults.append(Fault(listed(list(layouts.values())), "layout", "differs; write all files in one"))
    return tuple(faults)


def _frames(columns: Columns, sequence: Sequence) -> Iterator[tuple[str, str]]:
    if len(columns.images) != len(sequence.frames):
        yield "frames", f"{len(columns.images)}, expected {len(sequence.frames)}: those of the whole video"
        return
    names, ids = columns.images, columns.image_ids.tolist()
    for position, (name, number, frame) in enumerate(zip(names, ids, sequence.frames, strict=True)):
        if name != official_name(frame):
            yield f"frame {position}", f"image name '{name}', expected '{official_name(frame)}'"
        if columns.layout == "images" and number != frame.image_id:
            yield f"frame {position}", f"image id {number}, expected {frame.image_id}"


def _tracks(columns: Columns, sequence: Sequence) -> Iterator[tuple[str, str]]:
    tracks = columns.track_ids
    for row in np.flatnonzero((tracks < 0) | (tracks >= MOST_TRACKS)).tolist():
        found = "no track_id" if tracks[row] == NO_TRACK else f"track_id {tracks[row]}"
        yield _person(columns, row), f"{found}, expected 0 to {MOST_TRACKS - 1}"
    order = np.lexsort((tracks, columns.frame))
    frame, track = columns.frame[order], tracks[order]
    same = (np.diff(frame) == 0) & (np.diff(track) == 0) & (track[1:] != NO_TRACK)
    for row in order[1:][same].tolist():
        yield _person(columns, row), f"track_id {tracks[row]} is another person's of this frame"


def _joints(columns: Columns, sequence: Sequence) -> Iterator[tuple[str, str]]:
    present = columns.present[:, _JOINTS]
    scores = columns.scores[:, _JOINTS]
    unscored = present & (np.isnan(scores) | (scores == UNSCORED))
    at_corner = present & (columns.joints[:, _JOINTS] == 0).all(axis=2)
    for where, found in ((unscored, "no score"), (at_corner, "lies at (0, 0); leave out joints that were not found")):
        for row in np.flatnonzero(where.any(axis=1)).tolist():
            yield _person(columns, row), f"{_named(where[row])}: {found}"


def _named(joints: NDArray[np.bool_]) -> str:
    return listed([POSETRACK15.names[joint] for joint in np.flatnonzero(joints).tolist()])


def _person(columns: Columns, row: int) -> str:
    frame = int(columns.frame[row])
    return f"frame {frame}, person {row - int(np.searchsorted(columns.frame, frame))}"


_CHECKS = (_frames, _tracks, _joints)
