"""The `annolist` layout of PoseTrack17 (and of what papers hand to poseval) -> Columns.

Nearly every scalar is wrapped in a list of one element; both forms are read. Source: specification of poseval, 2.1.
The fields `width`, `height`, `bbox` and `person_id` of the other layout, which conversions keep, are read as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import (
    LARGEST_PIXEL,
    NO_NUMBER,
    Columns,
    frame_number,
    image_sizes,
    integers,
    polygons,
    rows_of_numbers,
    xyxy,
)
from harness.datasets.columns import (
    numbers as one_each,
)
from harness.datasets.sequences import NO_TRACK, Polygon
from harness.errors import DataError
from harness.skeletons import POSETRACK15, POSETRACK17

__all__ = ["parse_annolist"]

Record = dict[str, Any]

_HEAD = ("x1", "y1", "x2", "y2")
_TEXTS = {"": None, "0": 0, "1": 1}


def parse_annolist(document: Record, source: str, *, predictions: bool = False) -> Columns:
    """Columns of a file with `annolist`.

    A joint is present when a point holds its id; the first point of an id wins and ids outside 0..14 are ignored.
    `predictions` lets coordinates be as large as they like. Raises DataError naming the file and the record.
    """
    entries = _objects(document["annolist"], f"{source}: annolist")
    people: list[Record] = []
    frame_of: list[int] = []
    for position, entry in enumerate(entries):
        found = _objects(entry.get("annorect") or [], f"{source}: frame {position}: annorect")
        people += found
        frame_of += [position] * len(found)

    def frame_record(row: int) -> str:
        return f"{source}: frame {row}"

    def record(row: int) -> str:
        return f"{source}: frame {frame_of[row]}: person {row - frame_of.index(frame_of[row])}"

    limit = None if predictions else LARGEST_PIXEL
    lists = [_points(person, record, row) for row, person in enumerate(people)]
    joints, third, scores, present, whole = _joints(lists, record, limit)
    names = tuple([_image_name(entry, source, position) for position, entry in enumerate(entries)])
    heads = (
        [[_scalar(person[key]) for key in _HEAD] if "x1" in person else None for person in people]
        if _complete(people, record)
        else []
    )
    person_scores = [_scalar(person.get("score")) for person in people]
    tracks = [_scalar(person.get("track_id")) for person in people]
    numbers = [_scalar(entry.get("imgnum")) for entry in entries]
    peopled = set(frame_of)
    stated = [_scalar(entry.get("is_labeled")) for entry in entries]
    flags = [position in peopled if flag is None else flag for position, flag in enumerate(stated)]
    boxes = [person.get("bbox") for person in people]
    return Columns(
        source=source,
        layout="annolist",
        images=names,
        numbers=np.fromiter(map(frame_number, names), dtype=np.int64, count=len(names)),
        image_ids=integers(numbers, missing=NO_NUMBER, what="imgnum", record=frame_record),
        labelled=np.array([bool(flag) for flag in flags], dtype=bool),
        sizes=image_sizes(entries, frame_record),
        frame=np.array(frame_of, dtype=np.int64),
        joints=joints,
        third=third,
        present=present,
        scores=scores,
        visibility=None,
        boxes=xyxy(rows_of_numbers(boxes, 4, blank=np.nan, what="bbox", record=record, limit=limit)),
        head_boxes=rows_of_numbers(heads, 4, blank=np.nan, what="head box", record=record, limit=limit),
        track_ids=integers(tracks, missing=NO_TRACK, what="track_id", record=record),
        person_ids=integers(
            [person.get("person_id") for person in people], missing=NO_TRACK, what="person_id", record=record
        ),
        person_scores=one_each(person_scores, what="score", record=record),
        has_points=np.array([points is not None for points in lists], dtype=bool),
        whole_numbers=whole,
        ignore=_ignore_regions(entries, source),
    )


def _scalar(value: Any) -> Any:
    """The value of a one-element list, or the value itself; None for an empty list."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _objects(value: Any, record: str) -> list[Record]:
    if not isinstance(value, list) or set(map(type, value)) - {dict}:
        raise DataError(f"{record}: expected a list of objects")
    return value


def _points(person: Record, record: Callable[[int], str], row: int) -> list[Record] | None:
    """The point list of a person; None where the file has no container for one (poseval drops such people)."""
    container = _scalar(person.get("annopoints"))
    if not container or (isinstance(container, dict) and "point" not in container):
        return None
    if not isinstance(container, dict):
        raise DataError(f"{record(row)}: annopoints holds {type(container).__name__}, expected an object with 'point'")
    return _objects(container["point"], f"{record(row)}: point")


def _complete(people: list[Record], record: Callable[[int], str]) -> bool:
    for row, person in enumerate(people):
        absent = [key for key in _HEAD if key not in person]
        if absent and len(absent) < len(_HEAD):
            raise DataError(f"{record(row)}: head box lacks {', '.join(absent)}")
    return True


def _joints(
    lists: list[list[Record] | None], record: Callable[[int], str], limit: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Joints (N,17,2), is_visible (N,17), scores (N,17), present (N,17) and whole_numbers (N,) of N point lists."""
    count, joint_count = len(lists), len(POSETRACK17)
    points = [point for person in lists if person for point in person]
    owner = np.repeat(np.arange(count), [len(person or ()) for person in lists])

    def point_record(row: int) -> str:
        return f"{record(int(owner[row]))}: point {row - int(np.searchsorted(owner, owner[row]))}"

    try:
        raw = [[point["x"][0], point["y"][0]] for point in points]
        ids = [point["id"][0] for point in points]
    except (KeyError, TypeError, IndexError):
        raw = [[_scalar(point.get("x")), _scalar(point.get("y"))] for point in points]
        ids = [_scalar(point.get("id")) for point in points]
    xy = rows_of_numbers(raw, 2, blank=np.nan, what="x, y", record=point_record, limit=limit)
    joint_ids = integers(ids, missing=NO_NUMBER, what="id", record=point_record)
    scores = _column(points, "score", point_record)
    seen = _column(points, "is_visible", point_record)

    known = np.flatnonzero((joint_ids >= 0) & (joint_ids < len(POSETRACK15)))
    _, first = np.unique(owner[known] * len(POSETRACK15) + joint_ids[known], return_index=True)
    kept = known[first]
    to = (owner[kept], POSETRACK17.positions_of(POSETRACK15)[joint_ids[kept]])
    joints, present = np.zeros((count, joint_count, 2)), np.zeros((count, joint_count), dtype=bool)
    third, joint_scores = np.full((count, joint_count), np.nan), np.full((count, joint_count), np.nan)
    joints[to], present[to], third[to], joint_scores[to] = xy[kept], True, seen[kept], scores[kept]
    fractional = [row for row, pair in zip(owner.tolist(), raw, strict=True) if set(map(type, pair)) - {int}]
    whole = np.ones(count, dtype=bool)
    whole[fractional] = False
    return joints, third, joint_scores, present, whole


def _column(points: list[Record], key: str, record: Callable[[int], str]) -> NDArray[np.float64]:
    """(N,) an optional scalar of every point, NaN where absent."""
    values = [_scalar(point.get(key)) for point in points]
    if set(map(type, values)) == {type(None)}:
        return np.full(len(points), np.nan)
    # some conversions write is_visible as the text "0" or "1"
    return one_each(
        [_TEXTS.get(value, value) if type(value) is str else value for value in values], what=key, record=record
    )


def _image_name(entry: Record, source: str, position: int) -> str:
    image = _scalar(entry.get("image"))
    name = _scalar(image.get("name")) if isinstance(image, dict) else image
    if name is not None and (not isinstance(name, str) or "\0" in name):
        raise DataError(f"{source}: frame {position}: image name is {repr(name)[:80]}, expected a path")
    return name or ""


def _ignore_regions(entries: list[Record], source: str) -> dict[int, tuple[Polygon, ...]]:
    regions: dict[int, tuple[Polygon, ...]] = {}
    for position, entry in enumerate(entries):
        record = f"{source}: frame {position}: ignore region"
        outlines = []
        for number, region in enumerate(_objects(entry.get("ignore_regions") or [], record)):
            points = _objects(region.get("point") or [], f"{record} {number}")
            xs, ys = [_scalar(point.get("x")) for point in points], [_scalar(point.get("y")) for point in points]
            outlines.append((xs, ys))
        if outlines:
            regions[position] = tuple(polygons(outlines, lambda row, record=record: f"{record} {row}"))  # type: ignore[misc]
    return regions
