"""Contact sheets: what the frames and their labels look like."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.body import JOINT_POINTS
from harness.datasets.synthtrack.labels import Labels, label_scene
from harness.datasets.synthtrack.render import Renderer
from harness.datasets.synthtrack.scene import Scene
from harness.skeletons import BODY_BONES

__all__ = ["contact_sheet", "overlay"]

Picture = NDArray[np.uint8]

_SEEN, _HIDDEN, _HEAD, _IGNORED = (60, 220, 60), (235, 50, 50), (250, 220, 40), (200, 80, 220)
_SCALE = 2


def overlay(picture: Picture, labels: Labels, frame: int) -> Picture:
    """The picture, twice as large, with joints (red where hidden), bones, head boxes and ignore regions."""
    drawn = cv2.resize(picture, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_CUBIC)

    def at(place: NDArray[np.float64]) -> tuple[int, int]:
        x, y = np.rint((place + 0.5) * _SCALE - 0.5).astype(int)
        return int(x), int(y)

    for region in labels.regions[frame]:
        cv2.polylines(drawn, [np.array([at(corner) for corner in region])], True, _IGNORED, 1, cv2.LINE_AA)
    for person in np.flatnonzero(labels.annotated[frame]):
        joints, inside = labels.joints[frame, person], labels.inside[frame, person]
        for first, second in ((JOINT_POINTS.index(a), JOINT_POINTS.index(b)) for a, b in BODY_BONES):
            if inside[first] and inside[second]:
                cv2.line(drawn, at(joints[first]), at(joints[second]), (235, 235, 235), 1, cv2.LINE_AA)
        for joint in np.flatnonzero(inside):
            colour = _HIDDEN if labels.hidden[frame, person, joint] else _SEEN
            cv2.circle(drawn, at(joints[joint]), 3, colour, -1, cv2.LINE_AA)
        head = labels.head_boxes[frame, person]
        cv2.rectangle(drawn, at(head[:2]), at(head[2:]), _HEAD, 1)
    return np.asarray(drawn, np.uint8)


def contact_sheet(scenes: list[Scene], *, columns: int = 2, apart: int = 4, scale: float = 1.0) -> Picture:
    """A row per scene: a frame, the same with its labels, and the frame `apart` frames later; (H,W,3) RGB."""
    rows = []
    for scene in scenes:
        renderer = Renderer(scene)
        frames = list(renderer.frames())
        labels = label_scene(scene, crowd=renderer.crowd)
        plain = [
            cv2.resize(frames[index], None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_CUBIC) for index in (0, apart)
        ]
        strip = np.hstack([plain[0], overlay(frames[0], labels, 0), plain[1]])
        rows.append(cv2.resize(strip, None, fx=scale / _SCALE, fy=scale / _SCALE, interpolation=cv2.INTER_AREA))
    blocks = [np.hstack(rows[index : index + columns]) for index in range(0, len(rows) // columns * columns, columns)]
    return np.asarray(np.vstack(blocks), np.uint8)
