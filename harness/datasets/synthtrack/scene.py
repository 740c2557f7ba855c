"""A scene: who is where and does what, which objects stand before them, seen by which camera. Drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.appearance import Appearance, draw_appearance
from harness.datasets.synthtrack.body import Body, draw_body, pose_points
from harness.datasets.synthtrack.camera import Camera, draw_camera
from harness.datasets.synthtrack.degrade import USUAL, Degradation, Look, draw_degradation
from harness.datasets.synthtrack.motion import SPEEDS, Motion, draw_motion, evaluate, smooth
from harness.datasets.synthtrack.presets import Difficulty

__all__ = ["Person", "Scene", "Slab", "draw_scene"]

Array = NDArray[np.float64]

_PEOPLE = (0.12, 0.20, 0.23, 0.19, 0.14, 0.08, 0.03, 0.01)
_NEAREST = 1.5


@dataclass(frozen=True)
class Person:
    """A body, its motion (and a second one it changes to at `change` s), path and looks.

    `path` (4,) is the ground position in the middle of the clip (m) and the velocity (m/s); `heading` in degrees.
    """

    body: Body
    motion: Motion
    later: Motion | None
    change: float
    path: Array
    heading: float
    appearance: Appearance

    @property
    def kind(self) -> str:
        """The motion's name, or two joined by `-`."""
        return self.motion.kind if self.later is None else f"{self.motion.kind}-{self.later.kind}"

    def points(self, times: Array, duration: float) -> Array:
        """(T, points, 3) in metres at the given times in seconds."""
        pose = evaluate(self.motion, times)
        if self.later is not None:
            weight = smooth((times - self.change + 0.2) / 0.4)
            other = evaluate(self.later, times)
            pose = {name: (1 - weight) * values + weight * other[name] for name, values in pose.items()}
        angle = np.deg2rad(self.heading)
        forward = np.array([np.cos(angle), np.sin(angle)])
        root = self.path[:2] + self.path[2:] * (times - duration / 2)[:, None] + pose["forward"][:, None] * forward
        return pose_points(self.body, pose, heading=self.heading, root=root)

    @property
    def chair(self) -> Array:
        """(2,3) the ends of the seat of someone who sits, in metres; empty (0,3) otherwise."""
        if "sit" not in self.kind:
            return np.zeros((0, 3))
        angle, size = np.deg2rad(self.heading), self.body.stature
        back = self.path[:2] - 0.24 * np.array([np.cos(angle), np.sin(angle)])
        side = 0.10 * size * np.array([-np.sin(angle), np.cos(angle)])
        height = 0.17 * size
        return np.array([[*(back + side), height], [*(back - side), height]])


@dataclass(frozen=True)
class Slab:
    """A flat upright object: place on the ground in the middle of the clip, velocity, width, from and to height (m)."""

    place: Array
    velocity: Array
    width: float
    bottom: float
    top: float
    round: bool
    colours: Array
    stripes: float

    def corners(self, times: Array, duration: float) -> Array:
        """(T,4,3) corners top-left, top-right, bottom-left, bottom-right as seen from the origin, in metres."""
        centre = self.place + self.velocity * (times - duration / 2)[:, None]
        outward = self.place / np.linalg.norm(self.place)
        right = np.array([outward[1], -outward[0]]) * self.width / 2
        corners = np.zeros((len(times), 4, 3))
        corners[:, [0, 2], :2] = (centre - right)[:, None]
        corners[:, [1, 3], :2] = (centre + right)[:, None]
        corners[:, :2, 2], corners[:, 2:, 2] = self.top, self.bottom
        return corners


@dataclass(frozen=True)
class Scene:
    """Everything of one sequence; times run from 0 to `frames / rate` seconds, `shutter` in degrees."""

    seed: int
    size: tuple[int, int]
    frames: int
    rate: float
    shutter: float
    camera: Camera
    people: tuple[Person, ...]
    slabs: tuple[Slab, ...]
    light: Array
    degradation: Degradation
    hues: tuple[float, float]

    @property
    def duration(self) -> float:
        """Length of the clip in seconds."""
        return self.frames / self.rate

    @property
    def exposure(self) -> float:
        """Seconds that the shutter is open."""
        return self.shutter / 360 / self.rate

    @property
    def label_times(self) -> Array:
        """(F,) the middle of each exposure, where the labels are valid."""
        return (np.arange(self.frames) + 0.5) / self.rate


def draw_scene(seed: int, *, size: tuple[int, int], frames: int, difficulty: Difficulty, look: Look = USUAL) -> Scene:
    """Draw a whole scene; each aspect has its own child generator, so that a change in one does not move the others."""
    layout, bodies, motions, camera_draws, looks, degradations, objects = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(7)
    )
    rate = float(camera_draws.uniform(12.5, 22.5)) if camera_draws.random() < 0.4 else 25.0
    shutter = float(camera_draws.uniform(*difficulty.shutter))
    duration = frames / rate
    width = size[0]
    focal = width * layout.uniform(0.9, 1.6)
    camera_height = layout.uniform(0.9, 2.4)
    kinds = _draw_kinds(motions, difficulty, count=1 + int(layout.choice(len(_PEOPLE), p=_PEOPLE)))
    places = _draw_places(layout, len(kinds), size=size, focal=focal, difficulty=difficulty)
    headings = _draw_headings(layout, kinds, places)
    sideways = layout.random() < 0.35
    people = []
    for index, (kind, place) in enumerate(zip(kinds, places, strict=True)):
        body = draw_body(bodies)
        heading = _sideways(headings[index], place, sideways and kind in SPEEDS)
        motion = draw_motion(motions, kind)
        later, change = _draw_change(motions, difficulty, kind, duration)
        speed = motions.uniform(*SPEEDS.get(kind, (0, 0))) * (motions.random() > 0.25 or kind != "walk")
        path = _safe_path(place, heading, speed, duration)
        appearance = draw_appearance(looks, patterns=difficulty.patterns)
        people.append(Person(body, motion, later, change, path, heading, appearance))
    aim = np.array([*(places[0] * layout.uniform(0.97, 1.03, 2)), layout.uniform(0.75, 1.1)])
    target = people[0].path if np.any(people[0].path[2:]) else None
    camera = draw_camera(
        camera_draws, size=size, duration=duration, rate=rate, focal=focal, height=camera_height, aim=aim, target=target
    )
    slabs = _draw_slabs(objects, difficulty, places, focal=focal, width=width)
    angle = looks.uniform(-1.2, 1.2)
    light = np.array([np.sin(angle) * 0.8, -0.65, 0.75])
    return Scene(
        seed, size, frames, rate, shutter, camera, tuple(people), slabs, light / np.linalg.norm(light),
        draw_degradation(degradations, look), difficulty.hues,
    )  # fmt: skip


def _draw_kinds(generator: np.random.Generator, difficulty: Difficulty, *, count: int) -> list[str]:
    def one() -> str:
        held_out = generator.random() < difficulty.held_out_share
        return _weighted(generator, difficulty.held_out if held_out else difficulty.motions)

    group, first = generator.random() < 0.5, one()
    return [first] + [first if group and generator.random() < 0.8 else one() for _ in range(count - 1)]


def _weighted(generator: np.random.Generator, weights: object) -> str:
    names, values = zip(*dict(weights).items(), strict=True)  # type: ignore[call-overload]
    share = np.cumsum(values) / np.sum(values)
    return str(names[int(np.searchsorted(share, generator.random()))])


def _draw_places(
    generator: np.random.Generator, count: int, *, size: tuple[int, int], focal: float, difficulty: Difficulty
) -> list[Array]:
    width, height = size
    tall = height * float(np.clip(0.50 * np.exp(generator.normal(0, 0.42)), 0.17, 1.05))
    distance = max(focal * 1.7 / tall, _NEAREST)
    view = width / focal
    places = [np.array([distance, distance * view * generator.normal(0, 0.10)])]
    for _ in range(count - 1):
        for _ in range(8):
            if generator.random() < difficulty.near:
                beside = places[int(generator.integers(len(places)))]
                away = generator.choice([-1, 1], 2) * [generator.uniform(0.2, 0.9), abs(generator.normal(0.45, 0.3))]
                place = beside + away
            else:
                far = distance * np.exp(generator.normal(0, 0.16))
                place = np.array([far, far * view * generator.normal(0, difficulty.spread)])
            close = min(float(np.linalg.norm(place - other)) for other in places)
            if close >= 0.42 and place[0] > _NEAREST:
                places.append(place)
                break
    return places


def _draw_headings(generator: np.random.Generator, kinds: list[str], places: list[Array]) -> list[float]:
    shared: float | None = None
    headings = []
    for index in range(len(kinds)):
        place = places[min(index, len(places) - 1)]
        toward_camera = np.degrees(np.arctan2(-place[1], -place[0]))
        facing = toward_camera + np.degrees(generator.normal(0, 0.9))
        heading = generator.uniform(0, 360) if generator.random() < 0.35 else facing
        if shared is not None and kinds[index] == kinds[0]:
            heading = shared + np.degrees(generator.uniform(-0.4, 0.4))
        shared = heading if index == 0 else shared
        headings.append(float(heading))
    return headings


def _sideways(heading: float, place: Array, across: bool) -> float:
    if not across:
        return heading
    outward = np.degrees(np.arctan2(place[1], place[0]))
    side = 1 if np.sin(np.deg2rad(heading - outward)) > 0 else -1
    return float(outward + side * 90 + 0.2 * ((heading % 60) - 30))


def _draw_change(
    generator: np.random.Generator, difficulty: Difficulty, kind: str, duration: float
) -> tuple[Motion | None, float]:
    chance, when, other = generator.random(), generator.uniform(0.2, 0.8), _weighted(generator, difficulty.motions)
    later = draw_motion(generator, other)
    # Travelling starts or ends nowhere in the clip, so only motions on the spot follow each other.
    if chance > 0.18 or kind in SPEEDS or other in SPEEDS or other == kind:
        return None, 0.0
    return later, float(when * duration)


def _safe_path(place: Array, heading: float, speed: float, duration: float) -> Array:
    angle = np.deg2rad(heading)
    velocity = speed * np.array([np.cos(angle), np.sin(angle)])
    ends = place + velocity * np.array([[-0.5], [0.5]]) * duration
    if ends[:, 0].min() < _NEAREST:
        velocity = velocity * 0
    return np.concatenate([place, velocity])


def _draw_slabs(
    generator: np.random.Generator, difficulty: Difficulty, places: list[Array], *, focal: float, width: int
) -> tuple[Slab, ...]:
    slabs = []
    for _ in range(int(generator.poisson(difficulty.foreground))):
        distance = float(places[0][0]) * generator.uniform(0.35, 0.9)
        place = np.array([distance, distance * width / focal * generator.uniform(-0.5, 0.5)])
        draw = generator.random(6)
        before = places[int(generator.integers(len(places)))] * generator.uniform(0.72, 0.94)
        before = before + np.array([0, generator.normal(0, 0.15)])
        speed = generator.normal(0, 2.0) * (draw[0] < difficulty.moving)
        pole = draw[1] < 0.34
        bottom, top = (0.0, 2.0 + 2 * draw[3]) if pole else (0.0, 0.30 + 0.55 * draw[3])
        if not pole and draw[2] > 0.72:
            bottom, top = 0.4 + 1.0 * draw[4], 0.75 + 1.0 * draw[4] + 0.45 * draw[3]
        elif not pole and draw[4] < 0.65:
            place = before
        size = generator.uniform(0.05, 0.16) if pole else generator.uniform(0.2, 0.75)
        colour = generator.uniform(40, 215, 3)
        colour = 0.55 * colour + 0.45 * colour.mean()
        colours = np.stack([colour, np.clip(colour * generator.uniform(0.45, 1.3, 3), 0, 255)])
        stripes = float(generator.integers(2, 7)) * (draw[5] < 0.5)
        velocity = np.array([0.0, speed])
        slabs.append(Slab(place, velocity, float(size), float(bottom), float(top), bool(pole), colours, stripes))
    return tuple(sorted(slabs, key=lambda slab: -float(slab.place[0])))
