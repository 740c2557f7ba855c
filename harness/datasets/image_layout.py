"""The `images` / `annotations` / `categories` layout of PoseTrack18 and 21 (and of COCO-style conversions) -> Columns.

Source: specification of poseval section 2.2, checked against its golden files.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    numbers,
    polygons,
    rows_of_numbers,
    xyxy,
)
from harness.datasets.sequences import NO_TRACK, Polygon
from harness.errors import DataError, listed
from harness.skeletons import POSETRACK15, POSETRACK17

__all__ = ["parse_images"]

Record = dict[str, Any]


def parse_images(document: Record, source: str, *, predictions: bool = False) -> Columns:
    """Columns of a file with `images`, `annotations` and `categories`.

    A joint is present unless x, y and the third value are all 0. Two images of one id both get the first one's record
    and people. `predictions` reads scores, and lets coordinates be as large as they like. Raises DataError naming the
    file and the record.
    """
    images, annotations = _records(document, "images", source), _records(document, "annotations", source)
    names = _joint_names(document, source)
    image_ids, original = _image_ids(images, source)
    frame, order = _places(annotations, image_ids, original, source)
    people = _People(source, [annotations[row] for row in order], order, None if predictions else LARGEST_PIXEL)
    taken = [images[position] for position in original]
    file_names = _file_names(taken, source, required=not predictions)
    labelled = _labelled(taken, frame)
    raw = people.rows("keypoints", 3 * len(names), blank=0.0)
    points = _to_skeleton(raw.reshape(len(frame), len(names), 3), names, fill=0.0)
    x, y, third = (np.ascontiguousarray(values) for values in np.moveaxis(points, 2, 0))
    heads = xyxy(people.rows("bbox_head", 4))  # DetectAndTrack's conversion has the corners instead, as head_box
    return Columns(
        source=source,
        layout="images",
        images=file_names,
        numbers=np.fromiter(map(frame_number, file_names), dtype=np.int64, count=len(images)),
        image_ids=image_ids,
        labelled=labelled,
        sizes=image_sizes(taken, lambda position: _image(source, position, taken[position])),
        frame=frame,
        joints=np.stack([x, y], axis=2),
        third=third,
        present=(x != 0) | (y != 0) | (third != 0),
        scores=_to_skeleton(people.rows("scores", len(names), when=predictions), names, fill=np.nan),
        visibility=_visibility(people, names),
        boxes=xyxy(people.rows("bbox", 4)),
        head_boxes=np.where(np.isnan(heads), people.rows("head_box", 4), heads),
        track_ids=people.integers("track_id"),
        person_ids=people.integers("person_id"),
        person_scores=numbers(people.values("score"), what="score", record=people.record),
        has_points=np.array([value is not None for value in people.values("keypoints")], dtype=bool),
        whole_numbers=_whole_numbers(raw, people.values("keypoints"), when=predictions),
        ignore=_ignore_regions(taken, source),
    )


@dataclass(frozen=True)
class _People:
    """The annotations in the order of their frames; `order` are their places in the file, for messages."""

    source: str
    annotations: list[Record]
    order: list[int]
    limit: float | None

    def record(self, row: int) -> str:
        return _annotation(self.source, self.order[row], self.annotations[row])

    def values(self, key: str) -> list[Any]:
        return [annotation.get(key) for annotation in self.annotations]

    def rows(self, key: str, width: int, *, blank: float = np.nan, when: bool = True) -> NDArray[np.float64]:
        values = self.values(key) if when else [None] * len(self.annotations)
        limit = None if key == "scores" else self.limit
        return rows_of_numbers(values, width, blank=blank, what=key, record=self.record, limit=limit)

    def integers(self, key: str) -> NDArray[np.int64]:
        return integers(self.values(key), missing=NO_TRACK, what=key, record=self.record)


def _annotation(source: str, row: int, annotation: Record) -> str:
    return f"{source}: annotation {row} (id {_short(annotation.get('id'))}, image {_short(annotation.get('image_id'))})"


def _image(source: str, position: int, image: Record) -> str:
    return f"{source}: image {position} ({_short(image.get('file_name', 'no file_name'))})"


def _short(value: Any) -> str:
    return str(value)[:80]


def _image_ids(images: list[Record], source: str) -> tuple[NDArray[np.int64], list[int]]:
    """(F,) image ids, and for every frame the place of the first image of its id, whose record it gets."""
    ids = [image.get("id") for image in images]
    if None in ids:
        position = ids.index(None)
        raise DataError(f"{_image(source, position, images[position])}: key 'id' is missing")
    image_ids = integers(ids, missing=NO_NUMBER, what="id", record=lambda at: _image(source, at, images[at]))
    first: dict[int, int] = {}
    return image_ids, [first.setdefault(number, at) for at, number in enumerate(image_ids.tolist())]


def _places(
    annotations: list[Record], image_ids: NDArray[np.int64], original: list[int], source: str
) -> tuple[NDArray[np.int64], list[int]]:
    """Frame of every person, ascending, and its annotation; people of an id that several frames share are repeated."""
    first = dict(zip(image_ids.tolist(), original, strict=True))
    ids = [annotation.get("image_id") for annotation in annotations]
    found = [first.get(number) if isinstance(number, int) else None for number in ids]
    if None in found:
        row = found.index(None)
        record = _annotation(source, row, annotations[row])
        raise DataError(f"{record}: image_id {repr(ids[row])[:40]} is not the id of any image of the file")
    frame = np.array(found, dtype=np.int64)
    if len(first) == len(original):
        order = np.argsort(frame, kind="stable")
        return frame[order], order.tolist()
    rows = [np.flatnonzero(frame == position) for position in original]
    frames = np.repeat(np.arange(len(original)), [len(people) for people in rows])
    return frames, [row for people in rows for row in people.tolist()]


def _file_names(images: list[Record], source: str, *, required: bool) -> tuple[str, ...]:
    names = tuple([image.get("file_name", "") for image in images])
    if set(map(type, names)) - {str} or (required and "" in names) or "\0" in "".join(names):
        at = next(at for at, name in enumerate(names) if not isinstance(name, str) or not name or "\0" in name)
        raise DataError(f"{_image(source, at, images[at])}: file_name is {repr(names[at])[:80]}, expected a path")
    return names


def _labelled(images: list[Record], frame: NDArray[np.int64]) -> NDArray[np.bool_]:
    """What `is_labeled` says; frames with people where it is absent."""
    peopled = np.bincount(frame, minlength=len(images)) > 0
    stated = [image.get("is_labeled") for image in images]
    given = [some if flag is None else bool(flag) for flag, some in zip(stated, peopled.tolist(), strict=True)]
    return np.array(given, dtype=bool)


def _visibility(people: _People, names: list[str]) -> NDArray[np.int8] | None:
    if not any(people.values("visibility")):
        return None
    values = _to_skeleton(people.rows("visibility", len(names), blank=0.0), names, fill=0.0)
    return values.clip(-1, 3).astype(np.int8)


def _records(document: Record, key: str, source: str) -> list[Record]:
    records = document.get(key)
    if not isinstance(records, list):
        found = "is missing" if records is None else f"is {type(records).__name__}"
        raise DataError(f"{source}: key '{key}' {found}, expected a list; is this a PoseTrack file?")
    if set(map(type, records)) - {dict}:
        row = next(row for row, value in enumerate(records) if not isinstance(value, dict))
        raise DataError(f"{source}: {key}[{row}] is {type(records[row]).__name__}, expected an object")
    return records


def _joint_names(document: Record, source: str) -> list[str]:
    categories = _records(document, "categories", source)
    if len(categories) != 1 or categories[0].get("name") != "person":
        found = listed([_short(category.get("name")) for category in categories]) or "none"
        raise DataError(f"{source}: expected exactly one category 'person', found {found}")
    names = categories[0].get("keypoints")
    if not isinstance(names, list) or set(map(type, names)) - {str} or len(set(names)) != len(names):
        raise DataError(f"{source}: categories[0].keypoints must be a list of different joint names")
    absent = [name for name in POSETRACK15.names if name not in names]
    if absent:
        raise DataError(
            f"{source}: categories[0].keypoints lacks {listed(absent)}; all 15 PoseTrack joint names are needed"
        )
    return names


def _to_skeleton(values: NDArray[np.float64], names: list[str], *, fill: float) -> NDArray[np.float64]:
    """Reorder axis 1 from the file's joint names to POSETRACK17; joints the file does not name get `fill`."""
    if tuple(names) == POSETRACK17.names:
        return values
    result = np.full((len(values), len(POSETRACK17), *values.shape[2:]), fill)
    for position, name in enumerate(names):
        if name in POSETRACK17.names:
            result[:, POSETRACK17.index(name)] = values[:, position]
    return result


def _whole_numbers(raw: NDArray[np.float64], lists: list[Any], *, when: bool) -> NDArray[np.bool_]:
    if not when:
        return np.zeros(len(raw), dtype=bool)
    whole: NDArray[np.bool_] = (raw == np.floor(raw)).all(axis=1)
    for row in np.flatnonzero(whole).tolist():
        whole[row] = not set(map(type, lists[row] or ())) - {int}
    return whole


def _ignore_regions(images: list[Record], source: str) -> dict[int, tuple[Polygon, ...]]:
    outlines: list[tuple[Any, Any]] = []
    owners: list[tuple[int, int]] = []
    for position, image in enumerate(images):
        xs, ys = image.get("ignore_regions_x"), image.get("ignore_regions_y")
        if xs is None or ys is None:
            continue
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
            record = _image(source, position, image)
            raise DataError(f"{record}: ignore_regions_x and ignore_regions_y must be lists of one length")
        outlines += zip(xs, ys, strict=True)
        owners += [(position, number) for number in range(len(xs))]

    def record_of(row: int) -> str:
        position, number = owners[row]
        return f"{_image(source, position, images[position])}: ignore region {number}"

    found: dict[int, list[Polygon]] = {}
    for (position, _), polygon in zip(owners, polygons(outlines, record_of), strict=True):
        found.setdefault(position, []).append(polygon)
    return {position: tuple(regions) for position, regions in found.items()}
