"""What people do: every motion is a closed function of time, so that sub-frames can be sampled (spec, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["ANGLES", "FREQUENCIES", "SPEEDS", "Motion", "draw_motion", "evaluate", "smooth"]

Array = NDArray[np.float64]
Pose = dict[str, Array]

_SIDES = ("left", "right")
_SIDED = ("shoulder_abduction", "shoulder_flexion", "shoulder_axial", "elbow", "hip_abduction", "hip_flexion", "knee")
ANGLES: tuple[str, ...] = (
    "turn", "pitch", "roll", "twist", "side", "lean", "head_yaw", "nod",
    *(f"{side}_{name}" for side in _SIDES for name in _SIDED),
)  # fmt: skip
_SWAYED = ("lean", "side", "head_yaw", "nod", "left_shoulder_abduction", "right_shoulder_abduction")

#: Cycles per second of each motion.
FREQUENCIES = {
    "walk": (0.80, 1.08), "run": (1.30, 1.65), "jump": (0.60, 0.95), "jack": (0.7, 1.2), "wave": (1.1, 2.0),
    "punch": (0.9, 1.5), "kick": (0.6, 0.95), "throw": (0.5, 0.8), "squat": (0.35, 0.6), "sit": (0.2, 0.35),
    "fall": (0.3, 0.5), "dance": (0.7, 1.3), "key_poses": (1.2, 2.2), "stand": (0.1, 0.3),
}  # fmt: skip
#: Travelling speed in m/s; every other motion stays where it is.
SPEEDS = {"walk": (1.0, 1.6), "run": (2.4, 4.2)}

#: Largest swing (degrees) of the random motions, by the end of the angle's name, and the range of their offsets.
_DANCE_SWING = {"abduction": 30, "shoulder_flexion": 50, "axial": 35, "elbow": 50, "hip_flexion": 25, "knee": 30,
                "turn": 25, "head_yaw": 25, "twist": 12, "side": 12, "lean": 12, "hip_abduction": 8}  # fmt: skip
_RANGES = {
    "turn": (-30, 30), "twist": (-25, 25), "side": (-15, 15), "lean": (-8, 35), "head_yaw": (-50, 50), "nod": (-15, 20),
    "shoulder_abduction": (5, 110), "shoulder_flexion": (-30, 120), "shoulder_axial": (-60, 60), "elbow": (5, 125),
    "hip_abduction": (0, 22), "hip_flexion": (-10, 70), "knee": (0, 90),
}  # fmt: skip


@dataclass(frozen=True)
class Motion:
    """One person's motion: kind, frequency in 1/s, phase, amplitude factor, side that leads, and what was drawn for it.

    `sway` (3, angles) holds size (degrees), frequency and phase of the slow sway; `extra` the parameters of the kind.
    """

    kind: str
    frequency: float
    phase: float
    amplitude: float
    lead: str
    sway: Array
    extra: dict[str, Array] = field(default_factory=dict)


def smooth(x: Array) -> Array:
    """Quintic smooth step on [0, 1].

    >>> smooth(np.array([-1.0, 0.5, 2.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (x * (6 * x - 15) + 10)


def draw_motion(generator: np.random.Generator, kind: str) -> Motion:
    """Draw the parameters of a motion of the given kind; the number of draws does not depend on anything else."""
    sway = np.stack(
        [
            generator.uniform(0.5, 3, len(_SWAYED)),
            generator.uniform(0.1, 0.4, len(_SWAYED)),
            generator.random(len(_SWAYED)),
        ]
    )
    frequency = generator.uniform(*FREQUENCIES[kind])
    phase, amplitude = generator.random(), generator.uniform(0.8, 1.2)
    lead = _SIDES[int(generator.random() < 0.6)]
    poses = np.stack([_random_pose(generator) for _ in range(12)])
    extra = {
        "poses": poses,
        "swing": generator.uniform(0.2, 1.0, len(ANGLES)) * np.array([_swing(name) for name in ANGLES]),
        "harmonic": generator.choice([1.0, 1.0, 2.0], len(ANGLES)),
        "offset_phase": generator.random(len(ANGLES)),
        "numbers": generator.random(6),
    }
    return Motion(kind, frequency, phase, amplitude, lead, sway, extra)


def evaluate(motion: Motion, times: Array) -> Pose:
    """Angles in degrees and `hop`, `forward` in metres, each (T,), at the given times in seconds."""
    pose = {name: np.zeros(len(times)) for name in (*ANGLES, "hop", "forward")}
    for side in _SIDES:
        pose[f"{side}_shoulder_abduction"] += 8.0
        pose[f"{side}_elbow"] += 12.0
        pose[f"{side}_hip_abduction"] += 3.0
    _KINDS[motion.kind](motion, motion.frequency * times + motion.phase, pose)
    size, frequency, phase = motion.sway
    for index, name in enumerate(_SWAYED):
        pose[name] = pose[name] + size[index] * np.sin(2 * np.pi * (frequency[index] * times + phase[index]))
    for side in _SIDES:
        pose[f"{side}_knee"] = np.clip(pose[f"{side}_knee"], 0, 135)
        pose[f"{side}_elbow"] = np.clip(pose[f"{side}_elbow"], 0, 145)
    return pose


def _swing(name: str) -> float:
    return float(next((size for end, size in _DANCE_SWING.items() if name.endswith(end)), 0.0))


def _random_pose(generator: np.random.Generator) -> Array:
    draw = generator.random(len(ANGLES))
    # Squared draws keep most joints near their relaxed end and leave the extremes rare.
    pose = np.zeros(len(ANGLES))
    for index, name in enumerate(ANGLES):
        low, high = _RANGES.get(name.removeprefix("left_").removeprefix("right_"), (0, 0))
        pose[index] = low + (high - low) * (draw[index] ** 1.6 if low > -20 else draw[index])
    return pose


def _other(side: str) -> str:
    return _SIDES[1 - _SIDES.index(side)]


def _series(p: Array, mean: float, *pairs: tuple[float, float]) -> Array:
    total = np.full(len(p), mean)
    for order, (cosine, sine) in enumerate(pairs, start=1):
        total += cosine * np.cos(2 * np.pi * order * p) + sine * np.sin(2 * np.pi * order * p)
    return total


def _gait(p: Array, running: bool) -> tuple[Array, Array]:
    if running:
        hip = _series(p, 21.40, (18.48, -23.64), (-2.96, 3.56), (-0.98, 1.73))
        return hip, _series(p, 47.10, (-11.30, -29.05), (-14.73, 18.71), (-1.90, 1.92), (-0.87, 0.78))
    hip = _series(p, 8.20, (15.20, -3.89), (-3.39, -2.37), (0.00, 1.36))
    return hip, np.maximum(_series(p, 23.40, (-3.50, -20.00), (-14.94, 6.64), (-0.60, 4.21), (0.04, -0.10)), 0)


def _walk(motion: Motion, p: Array, pose: Pose) -> None:
    for side, shift in (("left", 0.0), ("right", 0.5)):
        swing = np.cos(2 * np.pi * (p + shift - 0.02))
        pose[f"{side}_hip_flexion"], pose[f"{side}_knee"] = _gait(p + shift, running=False)
        # The arm swings against the leg of its own side.
        pose[f"{side}_shoulder_flexion"] = 2 - 20 * motion.amplitude * swing
        pose[f"{side}_elbow"] = 22 - 10 * motion.amplitude * swing
    pose["twist"] = 6 * np.cos(2 * np.pi * p)
    pose["lean"] = pose["lean"] + 3


def _run(motion: Motion, p: Array, pose: Pose) -> None:
    for side, shift in (("left", 0.0), ("right", 0.5)):
        swing = np.cos(2 * np.pi * (p + shift - 0.02))
        pose[f"{side}_hip_flexion"], pose[f"{side}_knee"] = _gait(p + shift, running=True)
        pose[f"{side}_shoulder_flexion"] = -2 - 38 * motion.amplitude * swing
        pose[f"{side}_elbow"] = 90 - 18 * motion.amplitude * swing
        pose[f"{side}_shoulder_axial"] = pose[f"{side}_shoulder_axial"] + 15
    pose["twist"] = 8 * np.cos(2 * np.pi * p)
    pose["lean"] = pose["lean"] + 11
    pose["hop"] = 0.035 * np.maximum(0, np.cos(4 * np.pi * (p - 0.42)))


def _crouch_and_flight(motion: Motion, p: Array, pose: Pose) -> tuple[Array, Array]:
    phi: Array = p % 1.0
    crouch: Array = smooth(phi / 0.25) * (1 - smooth((phi - 0.25) / 0.13))
    crouch = crouch + 0.7 * smooth((phi - 0.68) / 0.08) * (1 - smooth((phi - 0.78) / 0.2))
    flight: Array = np.clip((phi - 0.36) / 0.34, 0, 1)
    arch: Array = 4 * flight * (1 - flight)
    for side in _SIDES:
        pose[f"{side}_hip_flexion"], pose[f"{side}_knee"] = 80 * crouch, 100 * crouch
    pose["lean"] = 4 + 32 * crouch
    pose["hop"] = 0.20 * motion.amplitude * arch
    return crouch, arch


def _jump(motion: Motion, p: Array, pose: Pose) -> None:
    crouch, _ = _crouch_and_flight(motion, p, pose)
    phi: Array = p % 1.0
    arms: Array = -35 * crouch + 140 * smooth((phi - 0.15) / 0.25) * (1 - smooth((phi - 0.6) / 0.25))
    for side in _SIDES:
        pose[f"{side}_shoulder_flexion"] = arms


def _jack(motion: Motion, p: Array, pose: Pose) -> None:
    crouch, arch = _crouch_and_flight(motion, p, pose)
    for side in _SIDES:
        pose[f"{side}_hip_flexion"], pose[f"{side}_knee"] = 30 * crouch, 40 * crouch
        pose[f"{side}_shoulder_abduction"] = 10 + 140 * arch
        pose[f"{side}_hip_abduction"] = 3 + 22 * arch
    pose["lean"] = 4 + 8 * crouch


def _wave(motion: Motion, p: Array, pose: Pose) -> None:
    side, draw = motion.lead, motion.extra["numbers"]
    pose[f"{side}_shoulder_abduction"] = np.full(len(p), 75 + 50 * draw[0])
    pose[f"{side}_elbow"] = 70 + 35 * motion.amplitude * np.sin(2 * np.pi * p)
    pose[f"{side}_shoulder_axial"] = np.full(len(p), 90.0 if draw[1] < 0.5 else -90.0)


def _punch(motion: Motion, p: Array, pose: Pose) -> None:
    for side, shift, sign in (("left", 0.0, -1.0), ("right", 0.5, 1.0)):
        q: Array = (p + shift) % 1.0
        reach: Array = smooth(q / 0.14) * (1 - smooth((q - 0.17) / 0.2))
        pose[f"{side}_shoulder_flexion"] = 25 + 62 * reach
        pose[f"{side}_elbow"] = 130 - 122 * reach
        pose["twist"] = pose["twist"] + sign * 28 * reach
        front = side == motion.lead
        pose[f"{side}_hip_flexion"] = np.full(len(p), 25.0 if front else -12.0)
        pose[f"{side}_knee"] = np.full(len(p), 25.0 if front else 18.0)


def _kick(motion: Motion, p: Array, pose: Pose) -> None:
    side = motion.lead
    phi: Array = p % 1.0
    cock: Array = smooth(phi / 0.14) * (1 - smooth((phi - 0.14) / 0.16))
    extend: Array = smooth((phi - 0.1) / 0.16) * (1 - smooth((phi - 0.3) / 0.25))
    pose[f"{side}_hip_flexion"] = 2 - 30 * cock + 95 * motion.amplitude * extend
    pose[f"{side}_knee"] = 4 + 90 * cock + 10 * extend
    pose[f"{_other(side)}_knee"] = 8 + 10 * extend
    pose["lean"] = 4 - 22 * extend
    for arm in _SIDES:
        pose[f"{arm}_shoulder_abduction"] = pose[f"{arm}_shoulder_abduction"] + 35 * extend
        pose[f"{arm}_elbow"] = pose[f"{arm}_elbow"] + 30


def _throw(motion: Motion, p: Array, pose: Pose) -> None:
    side = motion.lead
    phi: Array = p % 1.0
    wind: Array = smooth(phi / 0.3) * (1 - smooth((phi - 0.34) / 0.12))
    release: Array = smooth((phi - 0.34) / 0.12) * (1 - smooth((phi - 0.5) / 0.35))
    sign = -1.0 if side == "right" else 1.0
    pose[f"{side}_shoulder_abduction"] = 20 + 75 * wind + 20 * release
    pose[f"{side}_shoulder_flexion"] = -20 * wind + 110 * release
    pose[f"{side}_elbow"] = 20 + 90 * wind
    pose["twist"] = sign * (28 * wind - 30 * release)
    pose["lean"] = 2 - 6 * wind + 22 * release
    pose[f"{_other(side)}_hip_flexion"] = 15 + 15 * release
    pose[f"{_other(side)}_knee"] = 12 + 15 * release


def _squat(motion: Motion, p: Array, pose: Pose) -> None:
    crouch: Array = (1 - np.cos(2 * np.pi * p)) / 2
    for side in _SIDES:
        pose[f"{side}_hip_flexion"], pose[f"{side}_knee"] = 88 * crouch, 108 * crouch
        pose[f"{side}_shoulder_flexion"] = 80 * crouch
        pose[f"{side}_hip_abduction"] = 3 + 10 * crouch
    pose["lean"] = 4 + 26 * crouch


def _sit(motion: Motion, p: Array, pose: Pose) -> None:
    crouch: Array = smooth(1.6 * (1 - np.cos(2 * np.pi * p)) / 2 - 0.2)
    for side in _SIDES:
        pose[f"{side}_hip_flexion"], pose[f"{side}_knee"] = 88 * crouch, 92 * crouch
        pose[f"{side}_shoulder_flexion"] = 35 * crouch
        pose[f"{side}_elbow"] = pose[f"{side}_elbow"] + 40 * crouch
    pose["lean"] = 4 + 90 * crouch * (1 - crouch) + 6 * motion.extra["numbers"][0] * crouch
    pose["forward"] = -0.2 * crouch


def _fall(motion: Motion, p: Array, pose: Pose) -> None:
    fall: Array = smooth(1.3 * (1 - np.cos(2 * np.pi * p)) / 2 - 0.1)
    sign = 1.0 if motion.extra["numbers"][0] < 0.6 else -1.0
    pose["pitch"] = sign * 82 * fall
    pose["roll"] = 20 * (motion.extra["numbers"][1] - 0.5) * fall
    pose[f"{motion.lead}_knee"] = 60 * fall
    for side in _SIDES:
        pose[f"{side}_shoulder_flexion"] = 100 * fall * (1.0 if sign > 0 else 0.4)


def _dance(motion: Motion, p: Array, pose: Pose) -> None:
    offset = motion.extra["poses"][0] * 0.55
    for index, name in enumerate(ANGLES):
        wave = np.sin(2 * np.pi * (motion.extra["harmonic"][index] * p / 2 + motion.extra["offset_phase"][index]))
        pose[name] = offset[index] + motion.extra["swing"][index] * motion.amplitude * wave
    for side in _SIDES:
        pose[f"{side}_hip_abduction"] = np.maximum(pose[f"{side}_hip_abduction"], 0)


def _key_poses(motion: Motion, p: Array, pose: Pose) -> None:
    poses = motion.extra["poses"]
    first = np.floor(p).astype(int) % len(poses)
    weight = smooth((p % 1) / 0.8)[:, None]
    values = poses[first] * (1 - weight) + poses[(first + 1) % len(poses)] * weight
    for index, name in enumerate(ANGLES):
        pose[name] = values[:, index]


#: Standing arms as (abduction, flexion, axial, elbow): hanging, hands on hips, crossed, behind, one hand at the head.
_STANDING = ((7, 2, 0, 12), (38, -18, 55, 98), (12, 32, 62, 104), (12, -28, 40, 70), (70, 60, 60, 130))


def _stand(motion: Motion, p: Array, pose: Pose) -> None:
    draw = motion.extra["numbers"]
    chosen = int(draw[0] * len(_STANDING))
    for side in _SIDES:
        which = 0 if chosen == 4 and side != motion.lead else chosen
        for name, value in zip(
            ("shoulder_abduction", "shoulder_flexion", "shoulder_axial", "elbow"), _STANDING[which], strict=True
        ):
            pose[f"{side}_{name}"] = np.full(len(p), float(value))
    pose["head_yaw"] = 40 * motion.amplitude * np.sin(2 * np.pi * p)
    pose["nod"] = np.full(len(p), 14 * draw[1])
    pose["lean"] = np.full(len(p), -3 + 8 * draw[2])
    pose[f"{motion.lead}_hip_flexion"] = np.full(len(p), 10 * draw[3])
    pose[f"{motion.lead}_knee"] = np.full(len(p), 15 * draw[3])


_KINDS: dict[str, Callable[[Motion, Array, Pose], None]] = {
    "walk": _walk, "run": _run, "jump": _jump, "jack": _jack, "wave": _wave, "punch": _punch, "kick": _kick,
    "throw": _throw, "squat": _squat, "sit": _sit, "fall": _fall, "dance": _dance, "key_poses": _key_poses,
    "stand": _stand,
}  # fmt: skip
