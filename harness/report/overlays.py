"""Poses drawn over pictures: one colour per part of the body, the same in every frame and method, and one per track.

Left is warm, right is blue, arms are lighter than legs, the trunk is green: the palette of Okabe and Ito, which every
kind of colour vision tells apart.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK
from harness.predictions import Predictions
from harness.skeletons import Skeleton

__all__ = ["bone_colour", "draw_people", "overlay", "track_colour"]

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

#: Red, green, blue of (left, right) arms and legs, and of what has no side.
_ARM = {"left": (230, 159, 0), "right": (86, 180, 233)}
_LEG = {"left": (213, 94, 0), "right": (0, 114, 178)}
_TRUNK = (0, 158, 115)
_LEG_JOINTS = ("hip", "knee", "ankle")


def bone_colour(first: str, second: str) -> tuple[int, int, int]:
    """Red, green, blue of the bone between two joints, by the side and the limb they belong to.

    >>> bone_colour("left_elbow", "left_wrist"), bone_colour("left_hip", "right_hip")
    ((230, 159, 0), (0, 158, 115))
    """
    sides = {name.partition("_")[0] for name in (first, second) if name.startswith(("left_", "right_"))}
    if len(sides) != 1:
        return _TRUNK
    leg = all(name.endswith(_LEG_JOINTS) for name in (first, second))
    torso = {name.partition("_")[2] for name in (first, second)} == {"shoulder", "hip"}
    return _TRUNK if torso else (_LEG if leg else _ARM)[sides.pop()]


def track_colour(track: int) -> tuple[int, int, int]:
    """Red, green, blue of a track: neighbouring ids lie far apart; grey for a person without one."""
    if track == NO_TRACK:
        return (200, 200, 200)
    red, green, blue = colorsys.hsv_to_rgb(track * 0.61803398875 % 1.0, 0.65, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def overlay(
    pictures: Iterable[Picture], predictions: Predictions, *, sequence: int = 0, minimum: float = 0.1
) -> Iterator[Picture]:
    """Every picture (H,W,3) uint8 BGR of a sequence, in the order of its frames, with the people predicted in it."""
    rows = np.flatnonzero(predictions.sequence == sequence)
    starts = np.searchsorted(predictions.frame[rows], np.arange(predictions.frame[rows].max(initial=-1) + 2))
    for number, picture in enumerate(pictures):
        mine = rows[starts[number] : starts[number + 1]] if number + 1 < len(starts) else rows[:0]
        yield draw_people(
            picture, predictions.joints[mine], predictions.present[mine] & ~(predictions.scores[mine] < minimum),
            skeleton=predictions.skeleton, boxes=predictions.boxes[mine], track_ids=predictions.track_ids[mine],
        )  # fmt: skip


def draw_people(
    picture: Picture,
    joints: Floats,
    shown: NDArray[np.bool_],
    *,
    skeleton: Skeleton,
    boxes: Floats | None = None,
    track_ids: NDArray[np.int64] | None = None,
) -> Picture:
    """A copy of a picture (H,W,3) uint8 BGR with people: `joints` (N,J,2) px, of which those `shown` (N,J) are drawn.

    `boxes` (N,4) xyxy px are drawn in the colour of their track, with its number. Lines grow with the picture.
    """
    drawn = picture.copy()
    width = max(1, round(min(picture.shape[:2]) / 240))
    for row in range(len(joints)):
        track = NO_TRACK if track_ids is None else int(track_ids[row])
        if boxes is not None and np.isfinite(boxes[row]).all():
            _box(drawn, boxes[row], track, width)
        _pose(drawn, joints[row], shown[row] & np.isfinite(joints[row]).all(axis=1), skeleton, width)
    return drawn


def _pose(drawn: Picture, joints: Floats, shown: NDArray[np.bool_], skeleton: Skeleton, width: int) -> None:
    bones = [(skeleton.index(first), skeleton.index(second)) for first, second in skeleton.bones]
    bones = [(first, second) for first, second in bones if shown[first] and shown[second]]
    for colour_of, thickness in ((None, width + 2), (skeleton, width)):  # a dark rim first, so that lines show anywhere
        for first, second in bones:
            names = skeleton.names[first], skeleton.names[second]
            colour = (0, 0, 0) if colour_of is None else bone_colour(*names)[::-1]
            cv2.line(drawn, _point(joints[first]), _point(joints[second]), colour, thickness, cv2.LINE_AA)
    boned = {name for bone in skeleton.bones for name in bone} or set(skeleton.names)
    for number, name in enumerate(skeleton.names):
        if shown[number] and name in boned:
            cv2.circle(drawn, _point(joints[number]), width + 1, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(drawn, _point(joints[number]), width, (255, 255, 255), -1, cv2.LINE_AA)


def _box(drawn: Picture, box: Floats, track: int, width: int) -> None:
    colour = track_colour(track)[::-1]
    cv2.rectangle(drawn, _point(box[:2]), _point(box[2:]), colour, max(1, width // 2), cv2.LINE_AA)
    if track != NO_TRACK:
        place = (_point(box[:2])[0] + 2, max(_point(box[:2])[1], 0) + 12 * width)
        for shade, thickness in (((0, 0, 0), width + 2), (colour, width)):
            cv2.putText(drawn, str(track), place, cv2.FONT_HERSHEY_SIMPLEX, 0.45 * width, shade, thickness, cv2.LINE_AA)


def _point(place: Floats) -> tuple[int, int]:
    """Whole px, within what OpenCV can hold."""
    x, y = np.clip(np.rint(place), -20000, 20000).astype(int).tolist()
    return x, y
