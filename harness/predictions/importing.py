"""Folders of prediction files, one per sequence and in either PoseTrack layout -> Predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import NO_NUMBER, Columns, frame_number
from harness.datasets.json_files import SUFFIXES, sequence_name
from harness.datasets.layouts import read_columns
from harness.datasets.sequences import Frame, Sequence
from harness.errors import DataError, UsageError, listed
from harness.predictions.rows import Predictions, person_numbers

__all__ = ["Pairing", "import_json"]

#: How the frames of a prediction file find those of the truth: by place, as poseval does, or by image id and name.
Pairing = Literal["position", "id"]


def import_json(path: Path, sequences: tuple[Sequence, ...], *, pairing: Pairing = "position") -> Predictions:
    """Read the predictions for `sequences` from the folder `path`.

    Every sequence needs a file of its name, or of its truth file's (`.json` or `.json.gz`); the layout may differ from
    the truth's. A joint is present unless x, y and the third value are 0 (or, in the annolist layout, no point has its
    id); its score is its entry of `scores`, NaN where there is none. Raises DataError for missing or malformed files,
    for frame counts that differ (when pairing by position), and where no frame has an id or name of the truth.
    """
    if pairing not in ("position", "id"):
        raise UsageError(f"pairing '{pairing}' does not exist; choose 'position' or 'id'")
    if not sequences:
        raise DataError(f"{path}: the truth has no sequences to read predictions for")
    files = _files(path, sequences)
    tables = [read_columns(file, predictions=True) for file in files]
    if pairing == "id":
        places = [_by_id(table, sequence) for table, sequence in zip(tables, sequences, strict=True)]
    else:
        places = [_by_position(table, sequence) for table, sequence in zip(tables, sequences, strict=True)]
        _check_any_match(path, tables, sequences)
    return _joined(tables, places, sequences)


def _files(path: Path, sequences: tuple[Sequence, ...]) -> list[Path]:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected one prediction file per sequence in it")
    present = {
        sequence_name(file): file for file in sorted(path.iterdir(), reverse=True) if file.name.endswith(SUFFIXES)
    }
    found = [
        next((present[name] for name in (sequence.name, sequence_name(Path(sequence.source))) if name in present), None)
        for sequence in sequences
    ]
    absent = [sequence.name for sequence, file in zip(sequences, found, strict=True) if file is None]
    if absent:
        names = listed([f"{name}.json" for name in absent])
        others = f"; it holds {listed([file.name for file in present.values()])}" if present else "; it holds no .json"
        raise DataError(f"{path}: no predictions for {len(absent)} of {len(sequences)} sequences: {names}{others}")
    return [file for file in found if file is not None]


def _by_position(table: Columns, sequence: Sequence) -> NDArray[np.int64]:
    if len(table.images) != len(sequence.frames):
        raise DataError(
            f"{table.source}: {len(table.images)} frames, but sequence {sequence.name} has {len(sequence.frames)}; "
            "write every frame of the video, also those without people, or pair by id"
        )
    return np.arange(len(table.images))


def _by_id(table: Columns, sequence: Sequence) -> NDArray[np.int64]:
    """(F,) position in the truth of every frame of the file, -1 for an unknown frame without people."""
    by_id = {frame.image_id: position for position, frame in reversed(list(enumerate(sequence.frames)))}
    by_name = {_folder_and_number(frame.image): position for position, frame in enumerate(sequence.frames)}
    by_number = {name[1]: position for name, position in by_name.items()}
    places = np.full(len(table.images), -1)
    peopled = set(table.frame.tolist())
    for position, (image, number) in enumerate(zip(table.images, table.image_ids.tolist(), strict=True)):
        folder, in_file = _folder_and_number(image)
        named = by_name.get((folder, in_file), -1) if folder else by_number.get(in_file, -1)
        places[position] = by_id.get(number, named) if table.layout == "images" else named
        if places[position] < 0 and position in peopled:
            raise DataError(
                f"{table.source}: frame {position} ({image or number}) is no frame of sequence {sequence.name}; its "
                f"first is {sequence.frames[0].image} (id {sequence.frames[0].image_id})"
            )
    known = places[places >= 0]
    if len(set(known.tolist())) < len(known):
        twice = int(np.flatnonzero(np.bincount(known) > 1)[0])
        raise DataError(f"{table.source}: several frames are {sequence.frames[twice].image}; expected each frame once")
    return places


def _folder_and_number(image: str) -> tuple[str, int]:
    """Last folder and frame number of an image path: what layouts, renamed roots and zero fills keep."""
    return image.rpartition("/")[0].rpartition("/")[2], frame_number(image)


def _check_any_match(path: Path, tables: list[Columns], sequences: tuple[Sequence, ...]) -> None:
    pairs = [
        (table, sequence)
        for table, sequence in zip(tables, sequences, strict=True)
        if len(table.frame) and _says_which_frame(table)
    ]
    if pairs and not any(_matches(table, sequence.frames) for table, sequence in pairs):
        table, sequence = pairs[0]
        theirs = f"{table.images[0] or 'no name'}, id {table.image_ids[0]}"
        ours = f"{sequence.frames[0].image}, id {sequence.frames[0].image_id}"
        raise DataError(
            f"{path}: no frame of the predictions is a frame of the truth ({theirs} stands where {ours} is expected); "
            "keep the image ids or file names of the truth"
        )


def _says_which_frame(table: Columns) -> bool:
    return table.layout == "images" or any(table.images) or bool((table.image_ids != NO_NUMBER).any())


def _matches(table: Columns, frames: tuple[Frame, ...]) -> bool:
    """Whether any frame has the id or the name of the truth's frame at its place."""
    for image, number, frame in zip(table.images, table.image_ids.tolist(), frames, strict=True):
        folder, in_file = _folder_and_number(image)
        true_folder, true_number = _folder_and_number(frame.image)
        if table.layout == "images" and number == frame.image_id:
            return True
        if image and in_file == true_number and folder in ("", true_folder):
            return True
        if not image and number in (frame.image_id, frame.index, frame.index + 1):
            return True
    return False


def _joined(tables: list[Columns], places: list[NDArray[np.int64]], sequences: tuple[Sequence, ...]) -> Predictions:
    """All people that have a point list (poseval drops the others first), by sequence and true frame."""
    frames = [place[table.frame] for table, place in zip(tables, places, strict=True)]
    orders = [np.argsort(frame, kind="stable") for frame in frames]
    rows = [order[table.has_points[order]] for table, order in zip(tables, orders, strict=True)]

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(table, name)[kept] for table, kept in zip(tables, rows, strict=True)])

    sequence = np.repeat(np.arange(len(tables)), [len(kept) for kept in rows])
    frame = np.concatenate([frame[kept] for frame, kept in zip(frames, rows, strict=True)])
    return Predictions(
        sequence_names=tuple(item.name for item in sequences),
        sequence=sequence,
        frame=frame,
        person=person_numbers(sequence, frame),
        track_ids=column("track_ids"),
        boxes=column("boxes"),
        box_scores=column("person_scores"),
        joints=column("joints"),
        scores=np.where(column("present"), column("scores"), np.nan),
        present=column("present"),
        whole_numbers=column("whole_numbers"),
    )
