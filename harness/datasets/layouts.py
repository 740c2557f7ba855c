"""Label files of both PoseTrack layouts -> Sequence. The rules of a data set (numbering, visibility) are arguments."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.datasets.annolist import parse_annolist
from harness.datasets.columns import Columns
from harness.datasets.image_layout import parse_images
from harness.datasets.json_files import read_json, sequence_name
from harness.datasets.sequences import Sequence, Truth
from harness.errors import DataError

__all__ = ["Visibility", "audited", "parse", "read_columns", "read_merged", "read_sequence"]

#: How a file tells visible joints: "none" not at all; "is_visible" PoseTrack17's flag, unless all are set; "zero" third
#: value 0 with coordinates is occluded (PoseTrack21); "two" third value 2 visible, 1 occluded (COCO, synthtrack).
Visibility = Literal["none", "is_visible", "zero", "two"]

#: Number of the first image of a video in each layout, unless the caller knows better.
_BASES = {"annolist": 1, "images": 0}


def read_columns(path: Path, *, predictions: bool = False) -> Columns:
    """Parse one file of either layout, `.json` or `.json.gz`; DataError naming file and record if it is malformed."""
    with _uncollected():
        return parse(read_json(path), str(path), predictions=predictions)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cycle collector: parsed JSON holds no cycles, and walking it takes a seventh of the reading."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def parse(document: Any, source: str, *, predictions: bool = False) -> Columns:
    """The columns of the parsed JSON of one file of either layout; `source` names it in messages."""
    if not isinstance(document, dict):
        raise DataError(f"{source}: the file holds {type(document).__name__}, expected an object of a PoseTrack layout")
    if "annolist" in document:
        return parse_annolist(document, source, predictions=predictions)
    return parse_images(document, source, predictions=predictions)


def read_sequence(
    path: Path, *, name: str | None = None, base: int | None = None, visibility: Visibility = "is_visible"
) -> Sequence:
    """Read the label file of one video, frames and people in file order, exactly as poseval would see it.

    `base` is the number of a video's first image (1 in PoseTrack17, 0 in 18 and 21; by layout when not given), so that
    `Frame.index` counts from 0. An own `visibility` list of an annotation (2 visible, 1 occluded, 0 unlabelled; an
    extension) is always honoured; otherwise `visibility` names the rule. Raises DataError naming file and record.
    """
    columns = read_columns(path)
    return _sequence(columns, name or sequence_name(path), base, visibility)


def read_merged(path: Path, *, base: int | None = None, visibility: Visibility = "none") -> tuple[Sequence, ...]:
    """Read a file that holds many videos (COCO-style conversions), one Sequence per image folder, sorted by name."""
    columns = read_columns(path)
    folders = [image.rpartition("/")[0] for image in columns.images]
    names, group = np.unique(np.array(folders, dtype=object).astype(str), return_inverse=True)
    short = [name.rpartition("/")[2] for name in names.tolist()]
    if len(set(short)) < len(short):
        twice = next(name for name in short if short.count(name) > 1)
        raise DataError(f"{path}: two image folders are named '{twice}'; sequences need different names")
    parts = [_sequence(_part(columns, group == number), name, base, visibility) for number, name in enumerate(short)]
    return tuple(sorted(parts, key=lambda sequence: sequence.name))


def _sequence(columns: Columns, name: str, base: int | None, visibility: Visibility) -> Sequence:
    truth = Truth(
        frame=columns.frame,
        joints=columns.joints,
        annotated=columns.present,
        boxes=columns.boxes,
        head_boxes=columns.head_boxes,
        track_ids=columns.track_ids,
        person_ids=columns.person_ids,
        has_points=columns.has_points,
        visible=visible_joints(columns, visibility),
        ignore=columns.ignore,
    )
    frames = columns.frames(_BASES[columns.layout] if base is None else base)
    return Sequence(name=name, frames=frames, truth=truth, source=columns.source)


def visible_joints(columns: Columns, rule: Visibility) -> NDArray[np.bool_] | None:
    """(N,17) which present joints are visible, or None where the file does not tell (never guessed)."""
    seen: NDArray[np.bool_]
    if columns.visibility is not None:
        seen = columns.visibility == 2
    elif rule == "is_visible" and columns.layout == "annolist" and (columns.third == 0).any():
        seen = columns.third != 0
    elif rule == "zero":
        seen = columns.third > 0
    elif rule == "two":
        seen = columns.third == 2
    else:
        return None
    return columns.present & seen


def audited(sequences: tuple[Sequence, ...]) -> tuple[Sequence, ...]:
    """Visibility for the whole split or for none of it: unknown everywhere unless some joint of it is occluded."""
    flagged = [sequence.truth.visible for sequence in sequences if sequence.truth.visible is not None]
    annotated = [sequence.truth.annotated for sequence in sequences if sequence.truth.visible is not None]
    occluded = any((joints & ~seen).any() for joints, seen in zip(annotated, flagged, strict=True))
    result = []
    for sequence in sequences:
        known = sequence.truth.annotated if sequence.truth.visible is None else sequence.truth.visible
        visible = known if occluded else None
        result.append(replace(sequence, truth=replace(sequence.truth, visible=visible)))
    return tuple(result)


def _part(columns: Columns, frames: NDArray[np.bool_]) -> Columns:
    """The columns of some frames only, renumbered."""
    rows = frames[columns.frame]
    new_position = np.cumsum(frames) - 1
    changes: dict[str, object] = {}
    for item in fields(columns):
        value = getattr(columns, item.name)
        if item.name in ("images", "sizes"):
            changes[item.name] = tuple(compress(value, frames.tolist()))
        elif item.name in ("numbers", "image_ids", "labelled"):
            changes[item.name] = value[frames]
        elif isinstance(value, np.ndarray):
            changes[item.name] = value[rows]
    changes["frame"] = new_position[columns.frame[rows]]
    changes["ignore"] = {int(new_position[at]): regions for at, regions in columns.ignore.items() if frames[at]}
    return replace(columns, **changes)  # type: ignore[arg-type]
