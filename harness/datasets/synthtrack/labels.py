"""The truth of a scene: PoseTrack21-style annotations and what lies beside them in the extras."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.background import canvas_centre
from harness.datasets.synthtrack.body import JOINT_POINTS, POINTS
from harness.datasets.synthtrack.camera import homography
from harness.datasets.synthtrack.geometry import CHAIR, Geometry, head_boxes, project_scene
from harness.datasets.synthtrack.occlusion import hidden_joints
from harness.datasets.synthtrack.render import Layers, exposure_motion, label_layers
from harness.datasets.synthtrack.scene import Scene

__all__ = ["Labels", "label_scene", "run_lengths"]

Array = NDArray[np.float64]
Regions = tuple[Array, ...]

#: Fewer visible joints than this and the person is not annotated but ignored.
_FEWEST_VISIBLE = 4
_SMALLEST_REGION = 6.0


@dataclass(frozen=True)
class Labels:
    """F frames, P people, 15 joints in the order of `JOINT_POINTS`.

    `joints` (F,P,15,2) px; `inside` the joint lies in the picture; `hidden`, `occluder`, `by` as `Occlusion`;
    `annotated` (F,P); `head_boxes` (F,P,4) xyxy px; `regions` per frame the ignore polygons (K,2) px;
    `blur` (F,P,15,2) px moved during the exposure; `metres` (F,P,15,3) right, down, forward of the camera;
    `camera` (F,4) yaw, pitch, roll in rad and the focal length in px.
    """

    joints: Array
    inside: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    occluder: NDArray[np.int64]
    by: NDArray[np.int64]
    annotated: NDArray[np.bool_]
    head_boxes: Array
    regions: tuple[Regions, ...]
    blur: Array
    metres: Array
    camera: Array


def label_scene(scene: Scene, *, crowd: Array) -> Labels:
    """Label every frame at the middle of its exposure; `crowd` (K,2) is the outline of the painted crowd, canvas px."""
    geometry = project_scene(scene, scene.label_times)
    boxes = np.round(head_boxes(scene, geometry), 2)
    sizes = 0.6 * np.hypot(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
    joints = np.round(geometry.joints, 2)
    # PoseTrack21 takes a joint for missing unless x > 0 and y > 0.
    inside = ((joints > 0) & (joints < np.array(scene.size) - 0.5)).all(axis=-1) & (geometry.joint_depth > 0.15)
    crowds = _crowd_regions(scene, geometry, crowd)
    judged, regions, annotated = [], [], np.zeros(joints.shape[:2], dtype=bool)
    for frame in range(scene.frames):
        layers = label_layers(scene, geometry, frame)
        judged.append(hidden_joints(scene, geometry, frame, layers, sizes[frame]))
        visible = inside[frame] & ~judged[-1].hidden
        annotated[frame] = visible.sum(axis=1) >= _FEWEST_VISIBLE
        regions.append((*crowds[frame], *_person_regions(geometry, layers, np.flatnonzero(~annotated[frame]))))
    hidden, occluder, by = (np.stack([getattr(one, name) for one in judged]) for name in ("hidden", "occluder", "by"))
    points = geometry.points[:, :, [POINTS[name] for name in JOINT_POINTS]]
    metres = geometry.view.camera_points(points.reshape(scene.frames, -1, 3)).reshape(points.shape)
    camera = np.column_stack([geometry.view.angles, geometry.view.focal])
    return Labels(
        joints, inside, hidden, occluder, by, annotated, boxes, tuple(regions), exposure_motion(scene), metres, camera
    )


def run_lengths(hidden: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of the run of hidden frames that each entry lies in, 0 where it is visible; time is the first axis.

    >>> run_lengths(np.array([True, True, False, True])).tolist()
    [2, 2, 0, 1]
    """
    forward, backward = np.zeros(hidden.shape, np.int64), np.zeros(hidden.shape, np.int64)
    for time in range(len(hidden)):
        forward[time] = (forward[time - 1] + 1) * hidden[time] if time else hidden[time]
        last = len(hidden) - 1 - time
        backward[last] = (backward[last + 1] + 1) * hidden[last] if time else hidden[last]
    return np.asarray(np.maximum(forward + backward - 1, 0) * hidden, np.int64)


def _person_regions(geometry: Geometry, layers: Layers, people: NDArray[np.int64]) -> Regions:
    """Outlines of what can be seen of people who are not annotated; nobody else's visible joint lies inside."""
    regions = []
    body = np.maximum(layers.owner, 0)
    flesh = (layers.owner >= 0) & (geometry.part[body] != CHAIR)
    for person in people:
        mask = (flesh & (geometry.person[body] == person)).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for outline in outlines:
            simple = cv2.approxPolyDP(outline, 1.0, True)[:, 0].astype(np.float64)
            if len(simple) >= 3 and cv2.contourArea(outline) >= _SMALLEST_REGION:
                regions.append(simple)
    return tuple(regions)


def _crowd_regions(scene: Scene, geometry: Geometry, crowd: Array) -> list[Regions]:
    if not len(crowd):
        return [()] * scene.frames
    maps = homography(
        geometry.view,
        scene.camera.reference(),
        canvas_centre=canvas_centre(scene.size),
        shift=np.zeros((scene.frames, 2)),
    )
    corners = np.column_stack([crowd, np.ones(len(crowd))]) @ maps.transpose(0, 2, 1)
    corners = np.round(corners[..., :2] / corners[..., 2:], 2)
    clipped = np.clip(corners, 0, np.array(scene.size) - 1)
    area = np.ptp(clipped, axis=1).min(axis=1)
    return [(outline,) if size > 2 else () for outline, size in zip(clipped, area, strict=True)]
