"""Occlusion flags against an independent test: a ray from the camera to the joint through the 3D bodies."""

import numpy as np
import pytest

from harness.datasets.synthtrack.body import ATTACHED, CAPSULES, JOINT_POINTS, PARTS, POINTS
from harness.datasets.synthtrack.generate import scene_of
from harness.datasets.synthtrack.geometry import project_scene
from harness.datasets.synthtrack.labels import label_scene
from harness.datasets.synthtrack.presets import PRESETS


def crossing(eye, target, first, second, radii):
    """Distance from the target at which the ray eye -> target is inside a tapered capsule; 0 where it never is."""
    steps = np.linspace(0, 1, 600)[:, None]
    on_ray = eye + (target - eye) * steps
    axis = second - first
    along = np.clip((on_ray - first) @ axis / max(axis @ axis, 1e-12), 0, 1)
    gap = np.linalg.norm(on_ray - first - along[:, None] * axis, axis=1)
    inside = gap < radii[0] + along * (radii[1] - radii[0])
    return float(np.linalg.norm(on_ray[inside] - target, axis=1).max(initial=0.0))


def blocked(scene, geometry, time, person, joint):
    """Whether the straight line to the joint is blocked, by the rule of the data card."""
    eye = scene.camera.position
    target = geometry.points[time, person, POINTS[JOINT_POINTS[joint]]]
    for other, who in enumerate(scene.people):
        radii = who.body.radii
        for index, part in enumerate(PARTS):
            own = other == person and part in ATTACHED[JOINT_POINTS[joint]]
            ends = (geometry.points[time, other, POINTS[name]] for name in CAPSULES[part][:2])
            reach = crossing(eye, target, *ends, radii[index])
            tolerance = 0.13 * who.body.stature if own else 0.02
            if reach > tolerance:
                return True
        seat = who.chair
        pieces = [] if not len(seat) else [seat, *(np.stack([end, end * [1, 1, 0]]) for end in seat)]
        if any(crossing(eye, target, *piece, (0.045, 0.045)) > 0.02 for piece in pieces):
            return True
    pixel, depth = geometry.joints[time, person, joint], geometry.joint_depth[time, person, joint]
    for corners, far in zip(geometry.slabs[time], geometry.slab_depth[time], strict=True):
        across, down = corners[1] - corners[0], corners[2] - corners[0]
        place = np.linalg.solve(np.stack([across, down], axis=1), pixel - corners[0])
        if far < depth and ((place > 0) & (place < 1)).all():
            return True
    return False


@pytest.mark.parametrize("split", ["train", "val"])
def test_flags_agree_with_rays(split):
    generator = np.random.default_rng(5)
    agree, flags = [], []
    for index in range(12):
        scene = scene_of(PRESETS["mini"], split, index)
        labels = label_scene(scene, crowd=np.zeros((0, 2)))
        geometry = project_scene(scene, scene.label_times)
        frames, people, joints = np.nonzero(labels.inside & labels.annotated[..., None])
        for row in generator.choice(len(frames), min(12, len(frames)), replace=False):
            time, person, joint = int(frames[row]), int(people[row]), int(joints[row])
            flags.append(bool(labels.hidden[time, person, joint]))
            agree.append(blocked(scene, geometry, time, person, joint) == flags[-1])
    assert np.mean(agree) > 0.88
    assert 0.1 < np.mean(flags) < 0.4
    # A constant answer would not pass.
    assert np.mean(agree) > max(np.mean(flags), 1 - np.mean(flags)) + 0.05
