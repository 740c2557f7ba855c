"""The people of one label or prediction file as columns, and the conversion of JSON lists to checked arrays."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK, Frame, Polygon
from harness.errors import DataError

__all__ = [
    "NO_NUMBER",
    "Columns",
    "frame_number",
    "image_sizes",
    "integers",
    "numbers",
    "polygons",
    "rows_of_numbers",
    "xyxy",
]

#: Stands for "no number": image ids and frame numbers a file does not give.
NO_NUMBER = -1

#: Larger than any picture; a label beyond it is a broken file rather than a person far outside the image.
LARGEST_PIXEL = 1_000_000.0

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Columns:
    """What one file of either PoseTrack layout says, before any rule of a data set is applied.

    Frames, in file order: `images` (F) names, `numbers` (F,) the number in the file name, `image_ids` (F,), `labelled`
    (F,), `sizes` (F) (width, height) or None. People, by frame and in file order within one: `frame` (N,), `joints`
    (N,17,2) px, `third` (N,17) third value or `is_visible` (NaN where absent), `present` (N,17), `scores` (N,17) NaN
    where absent, `visibility` (N,17) int8 of the optional `visibility` field or None, `boxes` and `head_boxes` (N,4)
    xyxy px, `track_ids`, `person_ids`, `person_scores` (N,), `has_points` (N,), `whole_numbers` (N,): every keypoint
    number was written as an integer. `layout` is "annolist" or "images".
    """

    source: str
    layout: str
    images: tuple[str, ...]
    numbers: NDArray[np.int64]
    image_ids: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    sizes: tuple[tuple[int, int] | None, ...]
    frame: NDArray[np.int64]
    joints: NDArray[np.float64]
    third: NDArray[np.float64]
    present: NDArray[np.bool_]
    scores: NDArray[np.float64]
    visibility: NDArray[np.int8] | None
    boxes: NDArray[np.float64]
    head_boxes: NDArray[np.float64]
    track_ids: NDArray[np.int64]
    person_ids: NDArray[np.int64]
    person_scores: NDArray[np.float64]
    has_points: NDArray[np.bool_]
    whole_numbers: NDArray[np.bool_]
    ignore: Mapping[int, tuple[Polygon, ...]]

    def frames(self, base: int) -> tuple[Frame, ...]:
        """The frames, `base` being the number of the first image of a video; DataError for a name without number."""
        nameless = np.flatnonzero(self.numbers == NO_NUMBER)
        if len(nameless):
            position = int(nameless[0])
            raise DataError(
                f"{self.source}: frame {position}: image name '{self.images[position]}' holds no frame number; "
                "expected names like 000000.jpg"
            )
        ids = np.where(self.image_ids == NO_NUMBER, self.numbers, self.image_ids)
        columns = (self.images, (self.numbers - base).tolist(), ids.tolist(), self.labelled.tolist(), self.sizes)
        return tuple(map(Frame, *columns))


def frame_number(image: str) -> int:
    """The integer before the first `_` or `.` of an image name, NO_NUMBER where there is none.

    >>> frame_number("images/val/000342_mpii_test/000012.jpg"), frame_number("0007_crop.jpg"), frame_number("a.jpg")
    (12, 7, -1)
    """
    found = _NUMBER.match(image, image.rfind("/") + 1)
    digits = found.group() if found else ""
    return int(digits) if 0 < len(digits) <= 18 else NO_NUMBER


def rows_of_numbers(
    values: list[Any], width: int, *, blank: float, what: str, record: Callable[[int], str], limit: float | None = None
) -> NDArray[np.float64]:
    """(N, width) float64 of N lists of numbers; a missing or empty list becomes a row of `blank`.

    Raises DataError naming `record(row)` for a list of another length, a value that is no number or not finite, or one
    beyond `limit`.
    """
    if not any(values):
        return np.full((len(values), width), blank)
    pack = struct.Struct(f"={width}d").pack
    empty = pack(*[blank] * width)
    try:
        array = np.frombuffer(b"".join([pack(*value) if value else empty for value in values]), dtype=np.float64)
    except (struct.error, TypeError, OverflowError):
        row = next(row for row, value in enumerate(values) if _fault(value, width))
        raise DataError(f"{record(row)}: {what} {_fault(values[row], width)}") from None
    array = array.reshape(len(values), width)
    sane = np.isfinite(array) if limit is None else np.abs(array) <= limit
    if not sane.all():
        given = np.fromiter(map(bool, values), dtype=bool, count=len(values))
        bad = np.flatnonzero(given & ~sane.all(axis=1))
        if len(bad):
            row = int(bad[0])
            value = array[row][~sane[row]][0]
            why = f"no picture reaches {limit:.0f} px" if np.isfinite(value) else "expected finite numbers"
            raise DataError(f"{record(row)}: {what} holds {value:g}; {why}")
    return array


def _fault(value: Any, width: int) -> str:
    if not value:
        return ""
    if not isinstance(value, list):
        return f"is {type(value).__name__}, expected a list of {width} numbers"
    wrong = [item for item in value if type(item) not in (int, float)]
    if wrong:
        return f"holds {repr(wrong[0])[:40]}, expected {width} numbers"
    if len(value) != width:
        return f"has {len(value)} numbers, expected {width}"
    return "" if all(abs(item) < 1e308 for item in value) else "holds a number too large"


def numbers(values: list[Any], *, what: str, record: Callable[[int], str]) -> NDArray[np.float64]:
    """(N,) float64 of N numbers, NaN for None. Raises DataError naming `record(row)` for anything else."""
    kinds = set(map(type, values))
    if kinds == {type(None)}:
        return np.full(len(values), np.nan)
    if kinds <= {float, int}:
        try:
            array = np.array(values, dtype=np.float64)
        except OverflowError:
            array = np.full(len(values), np.inf)
        if np.isfinite(array).all():
            return array
    rows = [None if value is None else [value] for value in values]
    return rows_of_numbers(rows, 1, blank=np.nan, what=what, record=record)[:, 0]


def integers(values: list[Any], *, missing: int, what: str, record: Callable[[int], str]) -> NDArray[np.int64]:
    """(N,) int64 of N whole numbers; None becomes `missing`. Raises DataError naming `record(row)` otherwise."""
    if set(map(type, values)) - {int}:
        values = [missing if value is None else _whole(value, what, record, row) for row, value in enumerate(values)]
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        row = next(row for row, value in enumerate(values) if not NO_TRACK <= value < -NO_TRACK)
        raise DataError(f"{record(row)}: {what} {repr(values[row])[:40]} does not fit 64 bits") from None


def _whole(value: Any, what: str, record: Callable[[int], str], row: int) -> int:
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise DataError(f"{record(row)}: {what} is {repr(value)[:40]}, expected a whole number")


def polygons(outlines: list[tuple[Any, Any]], record: Callable[[int], str]) -> list[Polygon]:
    """(K,2) px of each pair of x and y lists; DataError naming `record(row)` unless both are K finite numbers."""
    for row, (x, y) in enumerate(outlines):
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            raise DataError(f"{record(row)}: expected x and y lists of one length")
    lengths = [len(x) for x, _ in outlines]
    owner = np.repeat(np.arange(len(lengths)), lengths).tolist()
    flat = [numbers(list(chain.from_iterable(axis)), what="ignore region", record=lambda at: record(owner[at]))
            for axis in zip(*outlines, strict=True)]  # fmt: skip
    points = np.stack(flat, axis=1) if flat else np.zeros((0, 2))
    return [points[start:stop] for start, stop in pairwise(accumulate(lengths, initial=0))]


def xyxy(xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,4) boxes x, y, width, height -> x1, y1, x2 = x + width, y2 = y + height."""
    boxes = xywh.copy()
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def image_sizes(images: list[dict[str, Any]], record: Callable[[int], str]) -> tuple[tuple[int, int] | None, ...]:
    """(width, height) px that each frame's record states, None where it does not; DataError naming `record(row)`."""
    return tuple([_size(image, record, row) for row, image in enumerate(images)])


def _size(image: dict[str, Any], record: Callable[[int], str], row: int) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if width is None or height is None:
        return None
    if type(width) is int and type(height) is int and 0 < width < LARGEST_PIXEL and 0 < height < LARGEST_PIXEL:
        return width, height
    raise DataError(f"{record(row)}: width and height are {repr(width)[:40]} and {repr(height)[:40]}, expected pixels")
