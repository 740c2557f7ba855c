"""A scene at given times as the camera sees it: points, capsules and slabs in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.body import CAPSULES, JOINT_POINTS, PARTS, POINTS
from harness.datasets.synthtrack.camera import View
from harness.datasets.synthtrack.scene import Scene

__all__ = ["CHAIR", "Geometry", "head_boxes", "project_scene"]

Array = NDArray[np.float64]

#: The part number of a chair, which belongs to nobody's body.
CHAIR = len(PARTS)

_FIRST = np.array([POINTS[CAPSULES[part][0]] for part in PARTS])
_SECOND = np.array([POINTS[CAPSULES[part][1]] for part in PARTS])
_JOINTS = np.array([POINTS[name] for name in JOINT_POINTS])
_CHAIR_RADIUS = 0.045


@dataclass(frozen=True)
class Geometry:
    """T times, P people, C capsules (a person's parts together, chairs last), S slabs.

    `view` the camera; `points` (T,P,K,3) m; `ends` (T,C,2,2) px, `depth` (T,C,2) m, `radii` (T,C,2) px and
    `metres` (C,2) the same in m; `person` and `part` (C,); `joints` (T,P,15,2) px and `joint_depth` (T,P,15) m in the
    order of `JOINT_POINTS`; `slabs` (T,S,4,2) px and `slab_depth` (T,S) m.
    """

    view: View
    points: Array
    ends: Array
    depth: Array
    radii: Array
    metres: Array
    person: NDArray[np.int64]
    part: NDArray[np.int64]
    joints: Array
    joint_depth: Array
    slabs: Array
    slab_depth: Array


def project_scene(scene: Scene, times: Array) -> Geometry:
    """Pose every person and project everything at the given times (T,) in seconds."""
    view = scene.camera.view(times)
    count, people = len(times), len(scene.people)
    points = np.stack([person.points(times, scene.duration) for person in scene.people], axis=1)
    pixels, depth = view.project(points.reshape(count, -1, 3))
    pixels, depth = pixels.reshape(count, people, -1, 2), depth.reshape(count, people, -1)
    ends = np.stack([pixels[:, :, _FIRST], pixels[:, :, _SECOND]], axis=3).reshape(count, -1, 2, 2)
    depths = np.stack([depth[:, :, _FIRST], depth[:, :, _SECOND]], axis=3).reshape(count, -1, 2)
    metres = np.concatenate([person.body.radii for person in scene.people])
    person = np.repeat(np.arange(people), len(PARTS))
    part = np.tile(np.arange(len(PARTS)), people)
    chairs, owners = _chairs(scene)
    if len(owners):
        chair_pixels, chair_depth = view.project(
            np.broadcast_to(chairs.reshape(1, -1, 3), (count, chairs.size // 3, 3))
        )
        ends = np.concatenate([ends, chair_pixels.reshape(count, -1, 2, 2)], axis=1)
        depths = np.concatenate([depths, chair_depth.reshape(count, -1, 2)], axis=1)
        metres = np.concatenate([metres, np.full((len(owners), 2), _CHAIR_RADIUS)])
        person, part = np.concatenate([person, owners]), np.concatenate([part, np.full(len(owners), CHAIR)])
    radii = metres * view.focal[:, None, None] / np.maximum(depths, 0.05)
    slabs, slab_depth = _slabs(scene, view, times)
    return Geometry(
        view, points, ends, depths, radii, metres, person, part, pixels[:, :, _JOINTS], depth[:, :, _JOINTS],
        slabs, slab_depth,
    )  # fmt: skip


def head_boxes(scene: Scene, geometry: Geometry) -> Array:
    """(T,P,4) xyxy px: the head widened by its half width, each half side at least .42 of its height, x 1.05."""
    top, bottom = (geometry.joints[:, :, JOINT_POINTS.index(name)] for name in ("head_top", "head_bottom"))
    depth = geometry.joint_depth[:, :, JOINT_POINTS.index("head_bottom")]
    half_width = np.array([person.body.head_half for person in scene.people])
    wide = half_width * geometry.view.focal[:, None] / np.maximum(depth, 0.05)
    tall = np.linalg.norm(top - bottom, axis=-1)
    half = np.maximum(np.abs(top - bottom) / 2, np.maximum(wide, 0.42 * tall)[..., None]) * 1.05
    centre = (top + bottom) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def _chairs(scene: Scene) -> tuple[Array, NDArray[np.int64]]:
    pieces, owners = [], []
    for index, person in enumerate(scene.people):
        if len(seat := person.chair):
            floor = seat * [1, 1, 0]
            pieces += [seat, np.stack([seat[0], floor[0]]), np.stack([seat[1], floor[1]])]
            owners += [index] * 3
    return np.array(pieces).reshape(-1, 2, 3), np.array(owners, dtype=np.int64)


def _slabs(scene: Scene, view: View, times: Array) -> tuple[Array, Array]:
    if not scene.slabs:
        return np.zeros((len(times), 0, 4, 2)), np.zeros((len(times), 0))
    corners = np.stack([slab.corners(times, scene.duration) for slab in scene.slabs], axis=1)
    pixels, depth = view.project(corners.reshape(len(times), -1, 3))
    shape = (len(times), len(scene.slabs), 4)
    return pixels.reshape(*shape, 2), depth.reshape(shape).mean(axis=2)
