"""One person's proportions and the forward kinematics: joint angles -> points in metres (specification, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATTACHED", "CAPSULES", "JOINT_POINTS", "PARTS", "POINTS", "Body", "draw_body", "pose_points"]

Array = NDArray[np.float64]
Pose = dict[str, Array]

_SIDES = ("left", "right")
_SIDED = (
    "hip",
    "knee",
    "ankle",
    "heel",
    "toe",
    "shoulder",
    "elbow",
    "wrist",
    "hand",
    "trunk_low",
    "trunk_high",
    "eye",
    "lip",
)
_SINGLE = (
    "pelvis", "trunk_end", "belly", "head_bottom", "head_top", "head_low", "head_high", "hair_low", "hair_high",
    "nose", "nose_root", "emblem",
)  # fmt: skip
POINTS: dict[str, int] = {
    name: index for index, name in enumerate((*_SINGLE, *(f"{side}_{name}" for side in _SIDES for name in _SIDED)))
}

#: part: (first point, second point, radius at the first, at the second), radii in fractions of stature.
_LIMB_CAPSULES = {
    "upper_arm": ("shoulder", "elbow", 0.034, 0.025),
    "forearm": ("elbow", "wrist", 0.025, 0.018),
    "hand": ("wrist", "hand", 0.018, 0.015),
    "thigh": ("hip", "knee", 0.050, 0.036),
    "shank": ("knee", "ankle", 0.035, 0.022),
    "foot": ("heel", "toe", 0.022, 0.017),
}
CAPSULES: dict[str, tuple[str, str, float, float]] = {
    "pelvis": ("left_hip", "right_hip", 0.047, 0.047),
    "trunk": ("belly", "trunk_end", 0.062, 0.064),
    "left_trunk": ("left_trunk_low", "left_trunk_high", 0.046, 0.050),
    "right_trunk": ("right_trunk_low", "right_trunk_high", 0.046, 0.050),
    "shoulders": ("left_shoulder", "right_shoulder", 0.036, 0.036),
    "neck": ("trunk_end", "head_low", 0.033, 0.031),
    "head": ("head_low", "head_high", 0.046, 0.055),
    "hair": ("hair_low", "hair_high", 0.050, 0.055),
    "nose": ("nose_root", "nose", 0.013, 0.010),
    "left_eye": ("left_eye", "left_eye", 0.0095, 0.0095),
    "right_eye": ("right_eye", "right_eye", 0.0095, 0.0095),
    "mouth": ("left_lip", "right_lip", 0.007, 0.007),
    "emblem": ("emblem", "emblem", 0.034, 0.034),
    **{
        f"{side}_{part}": (f"{side}_{first}", f"{side}_{second}", radius, end_radius)
        for side in _SIDES
        for part, (first, second, radius, end_radius) in _LIMB_CAPSULES.items()
    },
}
PARTS: tuple[str, ...] = tuple(CAPSULES)

#: joint: parts whose surface may lie in front of it without hiding it.
ATTACHED: dict[str, tuple[str, ...]] = {
    "nose": ("nose", "left_eye", "right_eye", "mouth"),
    "head_bottom": ("neck", "head", "trunk", "shoulders", "mouth"),
    "head_top": ("head", "hair"),
}
for _side in _SIDES:
    ATTACHED |= {
        f"{_side}_shoulder": (f"{_side}_upper_arm", "shoulders", f"{_side}_trunk", "trunk", "neck", "emblem"),
        f"{_side}_elbow": (f"{_side}_upper_arm", f"{_side}_forearm"),
        f"{_side}_wrist": (f"{_side}_forearm", f"{_side}_hand"),
        f"{_side}_hip": (f"{_side}_thigh", "pelvis", "trunk", f"{_side}_trunk"),
        f"{_side}_knee": (f"{_side}_thigh", f"{_side}_shank"),
        f"{_side}_ankle": (f"{_side}_shank", f"{_side}_foot"),
    }
JOINT_POINTS: tuple[str, ...] = tuple(ATTACHED)

#: Points that can touch the ground, with the thickness below them (fractions of stature).
_CONTACT = {
    **{f"{side}_{point}": depth for side in _SIDES for point, depth in (
        ("toe", 0.017), ("heel", 0.022), ("knee", 0.036), ("hand", 0.015), ("elbow", 0.025), ("hip", 0.056),
        ("shoulder", 0.036))},
    "head_high": 0.055, "head_low": 0.046,
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """Lengths of one person in metres; `build` scales all radii."""

    stature: float
    build: float
    thigh: float
    shank: float
    upper_arm: float
    forearm: float
    hip_half: float
    trunk: float
    shoulder_half: float
    head: float
    head_half: float

    @property
    def radii(self) -> Array:
        """(parts, 2) capsule radii in metres."""
        radii = np.array([CAPSULES[part][2:] for part in PARTS]) * self.stature
        heads = [PARTS.index(part) for part in ("head", "hair", "nose", "left_eye", "right_eye", "mouth")]
        scale = np.full(len(PARTS), self.build)
        scale[heads] = self.head_half / (0.055 * self.stature)
        scale[PARTS.index("emblem")] = 1.0
        return np.asarray(radii * scale[:, None])


def draw_body(generator: np.random.Generator) -> Body:
    """Draw a person: 94 % adults of N(1.70, .09) m, 6 % children with larger heads."""
    stature = float(np.clip(generator.normal(1.70, 0.09), 1.45, 1.95))
    spread = np.exp(generator.normal(0, [0.10, 0.03, 0.03, 0.03, 0.03, 0.06, 0.03, 0.05, 0.03, 0.04]))
    head_scale = 1.0
    if generator.random() < 0.06:
        stature, head_scale = stature * 0.78, 1.15
    lengths = np.array([0.245, 0.246, 0.186, 0.146, 0.060, 0.288, 0.107, 0.142 * head_scale, 0.055 * head_scale])
    return Body(stature, float(spread[0]), *(lengths * spread[1:] * stature).tolist())


def rotation(axis: int, degrees: Array) -> Array:
    """(T,3,3) right-handed rotations about axis 0 x, 1 y, 2 z.

    >>> rotation(2, np.array([90.0])).round(3)[0].tolist()
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    angle = np.deg2rad(degrees)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, axis, axis] = 1.0
    matrix[:, first, first] = matrix[:, second, second] = np.cos(angle)
    matrix[:, second, first] = np.sin(angle)
    matrix[:, first, second] = -matrix[:, second, first]
    return matrix


def pose_points(body: Body, pose: Pose, *, heading: float, root: Array) -> Array:
    """Points of a posed body standing on the ground.

    `pose` maps angle names (degrees, each (T,)) and `hop` (m); `heading` in degrees; `root` (T,2) ground position in m.
    Returns (T, points, 3) in metres, z up. The lowest point touches the ground, whatever it is.
    """
    count = len(root)
    points = np.zeros((count, len(POINTS), 3))

    def place(names: tuple[str, ...], frame: Array, base: str, local: list[tuple[float, float, float]]) -> None:
        positions = np.array(local) @ frame.transpose(0, 2, 1) + points[:, POINTS[base], None]
        points[:, [POINTS[name] for name in names]] = positions

    pelvis = rotation(2, pose["turn"] + heading) @ rotation(1, pose["pitch"]) @ rotation(0, pose["roll"])
    trunk = pelvis @ rotation(2, pose["twist"]) @ rotation(0, -pose["side"]) @ rotation(1, pose["lean"])
    head = trunk @ rotation(2, pose["head_yaw"]) @ rotation(1, pose["nod"] - 0.7 * pose["lean"])
    _place_trunk(body, place, pelvis, trunk, head)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _place_arm(body, place, pose, trunk, side, sign)
        _place_leg(body, place, pose, pelvis, side, sign)
    floor = np.array(list(_CONTACT.values())) * body.stature
    lowest = (points[:, [POINTS[name] for name in _CONTACT], 2] - floor).min(axis=1)
    points[:, :, 2] += (pose["hop"] - lowest)[:, None]
    points[:, :, :2] += root[:, None]
    return points


def _place_trunk(body: Body, place, pelvis: Array, trunk: Array, head: Array) -> None:  # type: ignore[no-untyped-def]
    H, hip, shoulder, end = body.stature, body.hip_half, body.shoulder_half, body.trunk
    place(("left_hip", "right_hip"), pelvis, "pelvis", [(0, hip, 0), (0, -hip, 0)])
    place(
        ("belly", "trunk_end", "head_bottom", "left_shoulder", "right_shoulder", "emblem",
         "left_trunk_low", "right_trunk_low", "left_trunk_high", "right_trunk_high"),
        trunk, "pelvis",
        [(0, 0, 0.25 * end), (0, 0, end - 0.02 * H), (0, 0, end + 0.045 * H), (0, shoulder, end - 0.012 * H),
         (0, -shoulder, end - 0.012 * H), (0.040 * H, 0, 0.70 * end),
         (0, 0.55 * hip, 0.15 * end), (0, -0.55 * hip, 0.15 * end),
         (0, 0.52 * shoulder, 0.80 * end), (0, -0.52 * shoulder, 0.80 * end)],
    )  # fmt: skip
    tall, half = body.head, body.head_half
    place(
        ("head_top", "head_low", "head_high", "hair_low", "hair_high", "nose", "nose_root",
         "left_eye", "right_eye", "left_lip", "right_lip"),
        head, "head_bottom",
        [(0, 0, tall), (0.12 * half, 0, 0.84 * half), (0, 0, tall - half), (-0.40 * half, 0, 0.52 * tall),
         (-0.14 * half, 0, tall - 0.90 * half), (half + 0.016 * H, 0, 0.40 * tall), (0.88 * half, 0, 0.46 * tall),
         (0.90 * half, 0.40 * half, 0.56 * tall), (0.90 * half, -0.40 * half, 0.56 * tall),
         (0.92 * half, 0.28 * half, 0.20 * tall), (0.92 * half, -0.28 * half, 0.20 * tall)],
    )  # fmt: skip


def _place_arm(body: Body, place, pose: Pose, trunk: Array, side: str, sign: float) -> None:  # type: ignore[no-untyped-def]
    upper = trunk @ rotation(0, sign * pose[f"{side}_shoulder_abduction"])
    upper = upper @ rotation(1, -pose[f"{side}_shoulder_flexion"]) @ rotation(2, -sign * pose[f"{side}_shoulder_axial"])
    lower = upper @ rotation(1, -pose[f"{side}_elbow"])
    place((f"{side}_elbow",), upper, f"{side}_shoulder", [(0, 0, -body.upper_arm)])
    place(
        (f"{side}_wrist", f"{side}_hand"), lower, f"{side}_elbow",
        [(0, 0, -body.forearm), (0, 0, -body.forearm - 0.060 * body.stature)],
    )  # fmt: skip


def _place_leg(body: Body, place, pose: Pose, pelvis: Array, side: str, sign: float) -> None:  # type: ignore[no-untyped-def]
    flexion, knee, H = pose[f"{side}_hip_flexion"], pose[f"{side}_knee"], body.stature
    thigh = pelvis @ rotation(0, sign * pose[f"{side}_hip_abduction"]) @ rotation(1, -flexion)
    shank = thigh @ rotation(1, knee)
    # The ankle gives way so that the sole stays near the ground.
    foot = shank @ rotation(1, -0.7 * np.clip(knee - flexion, -30, 40))
    place((f"{side}_knee",), thigh, f"{side}_hip", [(0, 0, -body.thigh)])
    place((f"{side}_ankle",), shank, f"{side}_knee", [(0, 0, -body.shank)])
    place(
        (f"{side}_toe", f"{side}_heel"), foot, f"{side}_ankle",
        [(0.110 * H, sign * 0.012 * H, -0.025 * H), (-0.022 * H, 0, -0.020 * H)],
    )  # fmt: skip
