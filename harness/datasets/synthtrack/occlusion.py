"""Which joints are hidden, and by whom: a rule on the id and z buffers at the label time (spec, section 5.6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.body import ATTACHED, JOINT_POINTS, PARTS
from harness.datasets.synthtrack.geometry import CHAIR, Geometry
from harness.datasets.synthtrack.render import Layers
from harness.datasets.synthtrack.scene import Scene

__all__ = ["OCCLUDERS", "Occlusion", "hidden_joints"]

#: What `Occlusion.occluder` counts: nothing, the own body, another person, an object.
OCCLUDERS = ("nothing", "self", "person", "object")

_DISC = 0.12
_TOLERANCE = 0.13
_THRESHOLD = np.array([{"nose": 0.90, "head_top": 0.85}.get(joint, 0.60) for joint in JOINT_POINTS])
_HEAD_TOP = JOINT_POINTS.index("head_top")
_FREE_PARTS = np.zeros((len(JOINT_POINTS), CHAIR + 1), dtype=bool)
for _joint, _parts in enumerate(ATTACHED.values()):
    _FREE_PARTS[_joint, [PARTS.index(part) for part in _parts]] = True


@dataclass(frozen=True)
class Occlusion:
    """(P,15) each: `hidden`; `occluder` an index into OCCLUDERS; `by` the person or object number, -1 for none."""

    hidden: NDArray[np.bool_]
    occluder: NDArray[np.int64]
    by: NDArray[np.int64]


def hidden_joints(
    scene: Scene, geometry: Geometry, time: int, layers: Layers, head_sizes: NDArray[np.float64]
) -> Occlusion:
    """Judge every joint by the disc of .12 head sizes (at least 1 px) round it.

    A pixel is free if it shows a part attached to the joint that is nearer than the joint by at most .13 of the stature
    (so one's own belly does not hide a hip, but the trunk hides the far shoulder). A joint is hidden if more than 60 %
    of its disc is not free. `head_sizes` (P,) px. Joints outside the picture come out as they may.
    """
    height, width = layers.owner.shape
    joints, joint_depth = geometry.joints[time], geometry.joint_depth[time]
    radius = np.maximum(_DISC * head_sizes, 1.0)
    reach = int(np.ceil(min(radius.max(), 12)))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    centre = np.rint(np.clip(joints, -1e4, 1e4)).astype(np.int64)
    x, y = (centre[:, :, None, axis] + offsets[:, axis] for axis in (0, 1))
    away = np.linalg.norm(np.stack([x, y], axis=-1) - joints[:, :, None], axis=-1)
    disc = (away <= radius[:, None, None]) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    owner, depth = layers.owner[y, x], layers.depth[y, x].astype(np.float64)
    free = _free(scene, geometry, owner, depth, joint_depth)
    total = np.maximum(disc.sum(axis=2), 1)
    hidden = (disc & ~free).sum(axis=2) > _THRESHOLD * total
    occluder, by = _blame(geometry, owner, depth, joint_depth, disc & ~free)
    occluder[~hidden], by[~hidden] = 0, -1
    return Occlusion(hidden, occluder, by)


def _free(
    scene: Scene,
    geometry: Geometry,
    owner: NDArray[np.int64],
    depth: NDArray[np.float64],
    joint_depth: NDArray[np.float64],
) -> NDArray[np.bool_]:
    people, joints = joint_depth.shape
    body = np.maximum(owner, 0)
    own = (owner >= 0) & (geometry.person[body] == np.arange(people)[:, None, None])
    attached = _FREE_PARTS[np.arange(joints)[:, None], geometry.part[body]]
    stature = np.array([person.body.stature for person in scene.people])
    nearer = joint_depth[:, :, None] - depth
    free = own & attached & (nearer <= _TOLERANCE * stature[:, None, None])
    # The top of the head lies on the outline: what is beside or behind it does not hide it.
    free[:, _HEAD_TOP] |= nearer[:, _HEAD_TOP] < 0
    return np.asarray(free)


def _blame(
    geometry: Geometry, owner: NDArray[np.int64], depth: NDArray[np.float64], joint_depth: NDArray[np.float64],
    blocking: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """The most frequent kind of blocking pixel, and its nearest owner of that kind."""
    body = np.maximum(owner, 0)
    person = geometry.person[body]
    thing = (owner < -1) | ((owner >= 0) & (geometry.part[body] == CHAIR))
    own = (owner >= 0) & ~thing & (person == np.arange(len(joint_depth))[:, None, None])
    kinds = np.where(thing, 3, np.where(own, 1, np.where(owner >= 0, 2, 0)))
    # Bare background round a joint means a thin limb seen edge-on: counted as hidden by the own body.
    kinds = np.where(kinds == 0, 1, kinds)
    counts = np.stack([(blocking & (kinds == kind)).sum(axis=2) for kind in range(4)], axis=-1)
    occluder = counts.argmax(axis=-1)
    number = np.where(owner < -1, -2 - owner, person)
    chosen = blocking & (kinds == occluder[..., None])
    nearest = np.where(chosen, depth, np.inf).argmin(axis=2)
    by = np.take_along_axis(number, nearest[..., None], axis=2)[..., 0]
    by[occluder == 1] = np.broadcast_to(np.arange(len(joint_depth))[:, None], by.shape)[occluder == 1]
    return occluder, by
