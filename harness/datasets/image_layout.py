"""The `images` / `annotations` / `categories` layout of PoseTrack18 and 21 (and of COCO-style conversions) -> Columns.

Source: specification of poseval section 2.2, checked against its golden files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import (
    LARGEST_PIXEL,
    NO_NUMBER,
    Columns,
    frame_number,
    integers,
    polygons,
    rows_of_numbers,
    xyxy,
)
from harness.datasets.columns import (
    numbers as one_each,
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

    def image_record(row: int) -> str:
        return f"{source}: image {row} ({images[row].get('file_name', 'no file_name')})"

    def record(row: int) -> str:
        return f"{source}: annotation {row} (id {annotations[row].get('id')}, image {annotations[row].get('image_id')})"

    ids = [image.get("id") for image in images]
    if None in ids:
        raise DataError(f"{image_record(ids.index(None))}: key 'id' is missing")
    image_ids = integers(ids, missing=NO_NUMBER, what="id", record=image_record)
    first: dict[int, int] = {}
    for position, number in enumerate(image_ids.tolist()):
        first.setdefault(number, position)
    frame = _positions(annotations, first, record)
    original = [first[number] for number in image_ids.tolist()]
    file_names = tuple([images[position].get("file_name", "") for position in original])
    if set(map(type, file_names)) - {str} or (not predictions and "" in file_names) or "\0" in "".join(file_names):
        row = next(row for row, name in enumerate(file_names) if not isinstance(name, str) or not name or "\0" in name)
        raise DataError(f"{image_record(row)}: file_name is {file_names[row]!r}, expected a path")

    width = 3 * len(names)
    lists = [annotation.get("keypoints") for annotation in annotations]
    limit = None if predictions else LARGEST_PIXEL
    raw = rows_of_numbers(lists, width, blank=0.0, what="keypoints", record=record, limit=limit)
    points = _to_skeleton(raw.reshape(len(annotations), len(names), 3), names, fill=0.0)
    joints, third = np.ascontiguousarray(points[:, :, :2]), np.ascontiguousarray(points[:, :, 2])
    present = points.any(axis=2)
    peopled = set(frame.tolist())
    rows = np.argsort(frame, kind="stable")
    if len(first) < len(images):
        rows, frame = _repeated(frame, original)
    else:
        frame = frame[rows]

    def numbers(key: str, count: int, blank: float, maximum: float | None = None) -> NDArray[np.float64]:
        values = [annotation.get(key) for annotation in annotations]
        return rows_of_numbers(values, count, blank=blank, what=key, record=record, limit=maximum)[rows]

    def whole(key: str) -> NDArray[np.int64]:
        values = [annotation.get(key) for annotation in annotations]
        return integers(values, missing=NO_TRACK, what=key, record=record)[rows]

    scores = np.full((len(rows), len(POSETRACK17)), np.nan)
    if predictions and any(annotation.get("scores") for annotation in annotations):
        scores = _to_skeleton(numbers("scores", len(names), np.nan), names, fill=np.nan)
    visibility = None
    if any("visibility" in annotation for annotation in annotations):
        visibility = _to_skeleton(numbers("visibility", len(names), 0.0), names, fill=0.0).clip(-1, 3).astype(np.int8)
    heads = xyxy(numbers("bbox_head", 4, np.nan, limit))  # DetectAndTrack's conversion has the corners as head_box
    person_scores = [annotation.get("score") for annotation in annotations]
    return Columns(
        source=source,
        layout="images",
        images=file_names,
        numbers=np.fromiter(map(frame_number, file_names), dtype=np.int64, count=len(images)),
        image_ids=image_ids,
        labelled=np.array([bool(images[at].get("is_labeled", at in peopled)) for at in original], dtype=bool),
        sizes=tuple([_size(images[position], image_record, position) for position in original]),
        frame=frame,
        joints=joints[rows],
        third=third[rows],
        present=present[rows],
        scores=scores,
        visibility=visibility,
        boxes=xyxy(numbers("bbox", 4, np.nan, limit)),
        head_boxes=np.where(np.isnan(heads), numbers("head_box", 4, np.nan, limit), heads),
        track_ids=whole("track_id"),
        person_ids=whole("person_id"),
        person_scores=one_each(person_scores, what="score", record=record)[rows],
        has_points=np.array([value is not None for value in lists], dtype=bool)[rows],
        whole_numbers=_whole_numbers(raw, lists)[rows] if predictions else np.zeros(len(rows), dtype=bool),
        ignore=_ignore_regions(images, original, image_record),
    )


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
        found = listed([str(category.get("name")) for category in categories]) or "none"
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


def _positions(annotations: list[Record], first: dict[int, int], record: Any) -> NDArray[np.int64]:
    ids = [annotation.get("image_id") for annotation in annotations]
    found = [first.get(number) if isinstance(number, int) else None for number in ids]
    if None in found:
        row = found.index(None)
        raise DataError(f"{record(row)}: image_id {ids[row]!r} is not the id of any image of the file")
    return np.array(found, dtype=np.int64)


def _repeated(frame: NDArray[np.int64], original: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and frames when several frames share the people of one image id."""
    rows = [np.flatnonzero(frame == position) for position in original]
    frames = np.repeat(np.arange(len(original)), [len(found) for found in rows])
    return np.concatenate([*rows, np.zeros(0, dtype=np.int64)]).astype(np.int64), frames


def _to_skeleton(values: NDArray[np.float64], names: list[str], *, fill: float) -> NDArray[np.float64]:
    """Reorder axis 1 from the file's joint names to POSETRACK17; joints the file does not name get `fill`."""
    if tuple(names) == POSETRACK17.names:
        return values
    result = np.full((len(values), len(POSETRACK17), *values.shape[2:]), fill)
    for position, name in enumerate(names):
        if name in POSETRACK17.names:
            result[:, POSETRACK17.index(name)] = values[:, position]
    return result


def _whole_numbers(raw: NDArray[np.float64], lists: list[Any]) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = (raw == np.floor(raw)).all(axis=1)
    for row in np.flatnonzero(whole).tolist():
        whole[row] = not set(map(type, lists[row] or ())) - {int}
    return whole


def _size(image: Record, record: Any, position: int) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if width is None or height is None:
        return None
    if type(width) is int and type(height) is int and 0 < width < LARGEST_PIXEL and 0 < height < LARGEST_PIXEL:
        return width, height
    raise DataError(f"{record(position)}: width and height are {width!r} and {height!r}, expected pixels")


def _ignore_regions(images: list[Record], original: list[int], record: Any) -> dict[int, tuple[Polygon, ...]]:
    outlines: list[tuple[Any, Any]] = []
    owners: list[tuple[int, int]] = []
    for position, source in enumerate(original):
        xs, ys = images[source].get("ignore_regions_x"), images[source].get("ignore_regions_y")
        if xs is None or ys is None:
            continue
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
            raise DataError(f"{record(source)}: ignore_regions_x and ignore_regions_y must be lists of one length")
        outlines += zip(xs, ys, strict=True)
        owners += [(position, number) for number in range(len(xs))]

    def region_record(row: int) -> str:
        return f"{record(original[owners[row][0]])}: ignore region {owners[row][1]}"

    found: dict[int, list[Polygon]] = {}
    for (position, _), polygon in zip(owners, polygons(outlines, region_record), strict=True):
        found.setdefault(position, []).append(polygon)
    return {position: tuple(regions) for position, regions in found.items()}
