"""Checks of one label file: frames, people, joints and ignore regions that are there but make no sense."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import NO_NUMBER, Columns
from harness.datasets.findings import Finding
from harness.datasets.sequences import NO_TRACK, Polygon
from harness.skeletons import POSETRACK17

__all__ = ["check_labels"]

_FOLDER = re.compile(r"\d+_(mpii|bonn|mpiinew)")
_EARS = [POSETRACK17.index(name) for name in ("left_ear", "right_ear")]


def check_labels(columns: Columns, document: dict[str, Any], file: str, *, name: str, base: int) -> Iterator[Finding]:
    """All findings of a file that could be parsed; `name` is the video's, `base` the number of its first frame."""
    yield from _frames(columns, file, name, base)
    yield from _people(columns, file)
    yield from _boxes(columns, file)
    yield from _joints(columns, file)
    yield from _regions(columns, file)
    if columns.layout == "images":
        yield from _records(document, columns, file)


def _frames(columns: Columns, file: str, name: str, base: int) -> Iterator[Finding]:
    if not columns.images:
        yield Finding("no-frames", file, "images", "0 frames")
        return
    folders = [image.rpartition("/")[0] for image in columns.images]
    for position in _repeats(columns.image_ids.tolist(), NO_NUMBER):
        yield Finding("image-id-repeated", file, f"frame {position}", f"image id {columns.image_ids[position]}")
    for position in _repeats(list(columns.images), ""):
        yield Finding("image-repeated", file, f"frame {position}", columns.images[position])
    if len(set(folders)) > 1:
        position = next(at for at, folder in enumerate(folders) if folder != folders[0])
        yield Finding("several-videos", file, f"frame {position}", f"{folders[position]} after {folders[0]}")
    video = folders[0].rpartition("/")[2]
    if columns.layout == "images" and not _FOLDER.match(video):
        yield Finding("folder-name", file, "frame 0", f"folder '{video}'")
    if video != name:
        yield Finding("file-name", file, "frame 0", f"folder '{video}'")
    numbers = columns.numbers
    for position in np.flatnonzero((numbers < 0) | (numbers > 9999)).tolist():
        yield Finding("frame-number", file, f"frame {position}", columns.images[position])
    steps = np.diff(numbers)
    for position in np.flatnonzero(steps < 0).tolist():
        yield Finding(
            "frame-order", file, f"frame {position + 1}", f"{numbers[position + 1]} after {numbers[position]}"
        )
    for position in np.flatnonzero(steps > 1).tolist():
        yield Finding("frame-gap", file, f"frame {position + 1}", f"{numbers[position + 1]} after {numbers[position]}")
    if numbers[0] != base:
        yield Finding("frame-first", file, "frame 0", f"{numbers[0]}, expected {base}")
    sizes = {size for size in columns.sizes if size is not None}
    if len(sizes) > 1:
        yield Finding("sizes-differ", file, "images", f"{len(sizes)} sizes")
    if not columns.labelled.any():
        yield Finding("sequence-unlabelled", file, "images", f"0 of {len(columns.images)} frames")


def _people(columns: Columns, file: str) -> Iterator[Finding]:
    record = _person_record(columns)
    people = np.bincount(columns.frame, minlength=len(columns.images))
    for position in np.flatnonzero(~columns.labelled & (people > 0)).tolist():
        yield Finding("people-unlabelled", file, f"frame {position}", f"{people[position]} people")
    for position in np.flatnonzero(columns.labelled & (people == 0)).tolist():
        yield Finding("labelled-empty", file, f"frame {position}", "0 people")
    for row in np.flatnonzero(columns.track_ids == NO_TRACK).tolist():
        yield Finding("track-missing", file, record(row), "no track_id")
    for row in np.flatnonzero(columns.track_ids >= 10_000).tolist():
        yield Finding("track-range", file, record(row), f"track_id {columns.track_ids[row]}")
    keys = list(zip(columns.frame.tolist(), columns.track_ids.tolist(), strict=True))
    for row in _repeats([key if key[1] != NO_TRACK else None for key in keys], None):
        yield Finding("track-repeated", file, record(row), f"track_id {columns.track_ids[row]}")
    poses = [
        (frame, joints.tobytes()) if some else None
        for frame, joints, some in zip(
            columns.frame.tolist(), columns.joints, columns.present.any(axis=1).tolist(), strict=True
        )
    ]
    for row in _repeats(poses, None):
        yield Finding("person-repeated", file, record(row), "the joints of an earlier person of the frame")
    for row in np.flatnonzero(~columns.has_points).tolist():
        yield Finding("points-missing", file, record(row), "no keypoints")
    for row in np.flatnonzero(columns.has_points & ~columns.present.any(axis=1)).tolist():
        yield Finding("points-empty", file, record(row), "0 joints")


def _boxes(columns: Columns, file: str) -> Iterator[Finding]:
    record = _person_record(columns)
    joints = columns.present.any(axis=1)
    heads, boxes = columns.head_boxes, columns.boxes
    for row in np.flatnonzero(joints & np.isnan(heads).any(axis=1)).tolist():
        yield Finding("head-missing", file, record(row), "no head box")
    for row in np.flatnonzero((heads[:, 2:] <= heads[:, :2]).any(axis=1)).tolist():
        yield Finding("head-empty", file, record(row), f"head box {heads[row].tolist()}")
    if columns.layout == "images":
        for row in np.flatnonzero(joints & np.isnan(boxes).any(axis=1)).tolist():
            yield Finding("box-missing", file, record(row), "no bbox")
    for row in np.flatnonzero(joints & (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)).tolist():
        yield Finding("box-empty", file, record(row), f"box {boxes[row].tolist()}")
    sizes = _sizes(columns)
    outside = (boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, :2] >= sizes).any(axis=1)
    for row in np.flatnonzero(outside & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)).tolist():
        yield Finding("box-outside", file, record(row), f"box {boxes[row].tolist()}")


def _joints(columns: Columns, file: str) -> Iterator[Finding]:
    record, names = _person_record(columns), POSETRACK17.names
    joints, present, third = columns.joints, columns.present, columns.third
    sizes = _sizes(columns)[:, None]
    far = (joints < -0.1 * sizes) | (joints > 1.1 * sizes)
    far &= np.isfinite(sizes)
    kinds = {
        "joint-outside": present & far.any(axis=2),
        "joint-at-corner": present & (joints == 0).all(axis=2) & (columns.layout == "images"),
        "joint-on-axis": present & (joints <= 0).any(axis=2) & ~(joints == 0).all(axis=2),
        "third-value": ~np.isnan(third) & ~np.isin(third, (0, 1, 2)),
        "ear-annotated": present & np.isin(np.arange(len(names)), _EARS),
    }
    for kind, where in kinds.items():
        for row, joint in np.argwhere(where).tolist():
            x, y = joints[row, joint].tolist()
            yield Finding(kind, file, f"{record(row)}, {names[joint]}", f"({x:g}, {y:g}, {third[row, joint]:g})")


def _regions(columns: Columns, file: str) -> Iterator[Finding]:
    for position, regions in columns.ignore.items():
        for number, polygon in enumerate(regions):
            record = f"frame {position}, ignore region {number}"
            size = np.array(columns.sizes[position] or (np.inf, np.inf))
            if len(polygon) < 3:
                yield Finding("region-corners", file, record, f"{len(polygon)} corners")
            elif _area(polygon) == 0:
                yield Finding("region-flat", file, record, f"{len(polygon)} corners")
            elif (polygon.max(axis=0) <= 0).any() or (polygon.min(axis=0) >= size).any():
                yield Finding("region-outside", file, record, f"first corner {polygon[0].tolist()}")


def _records(document: dict[str, Any], columns: Columns, file: str) -> Iterator[Finding]:
    """What the columns do not keep: annotation ids, categories and counts as the file states them."""
    images, annotations = document["images"], document["annotations"]
    stated = images[0].get("nframes") if images else None
    if stated is not None and stated != len(images) and len({str(image.get("vid_id")) for image in images}) == 1:
        yield Finding("frames-listed", file, "images", f"{len(images)} listed, nframes {stated}")
    for row in _repeats([_plain(annotation.get("id")) for annotation in annotations], None):
        yield Finding("annotation-id-repeated", file, f"annotation {row}", f"id {annotations[row]['id']}")
    for row, annotation in enumerate(annotations):
        record = f"annotation {row} (id {annotation.get('id')})"
        if annotation.get("category_id", 1) != 1:
            yield Finding("category-other", file, record, f"category_id {annotation['category_id']}")
        points = annotation.get("keypoints") or []
        joints = sum(any(points[at : at + 3]) for at in range(0, len(points), 3))
        # DetectAndTrack's conversion states 17 for everybody
        if annotation.get("num_keypoints", joints) not in (joints, 17):
            yield Finding(
                "count-differs", file, record, f"num_keypoints {annotation['num_keypoints']}, joints {joints}"
            )


def _person_record(columns: Columns) -> Any:
    starts = np.searchsorted(columns.frame, columns.frame)

    def record(row: int) -> str:
        return f"frame {columns.frame[row]}, person {row - starts[row]}"

    return record


def _sizes(columns: Columns) -> NDArray[np.float64]:
    """(N,2) width and height of each person's image, infinite where unknown."""
    sizes = np.array([size or (np.inf, np.inf) for size in columns.sizes], dtype=np.float64).reshape(-1, 2)
    return np.asarray(sizes[columns.frame])


def _area(polygon: Polygon) -> float:
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _plain(value: Any) -> int | str | None:
    """A value that can be compared; None for the nonsense a file may hold instead."""
    return value if isinstance(value, int | str) else None


def _repeats(values: list[Any], nothing: Any) -> list[int]:
    """Positions of values that came before; `nothing` may repeat."""
    seen: set[Any] = set()
    repeats = []
    for position, value in enumerate(values):
        if value == nothing:
            continue
        if value in seen:
            repeats.append(position)
        seen.add(value)
    return repeats
