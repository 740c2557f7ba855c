"""The still world behind the people: one large picture per sequence that the camera moves over (spec, section 5.5)."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.scene import Scene

__all__ = ["CANVAS", "canvas_centre", "draw_background"]

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

#: Canvas size as multiples of the picture's.
CANVAS = (2.2, 1.8)

_SKINS = ((236, 188, 150), (205, 150, 110), (150, 100, 66), (96, 62, 42))


def canvas_centre(size: tuple[int, int]) -> Array:
    """The pixel of the canvas that the reference camera looks at."""
    return np.asarray((np.floor(np.array(size) * CANVAS) - 1) / 2)


def draw_background(scene: Scene) -> tuple[Picture, Array]:
    """(H,W,3) RGB canvas and the outline (K,2) canvas px of a distant crowd, (0,2) where there is none."""
    generator = np.random.default_rng(np.random.SeedSequence(scene.seed, spawn_key=(99,)))
    width, height = (int(side) for side in np.floor(np.array(scene.size) * CANVAS))
    centre = canvas_centre(scene.size)
    horizon = centre[1] + scene.camera.focal * np.tan(scene.camera.pitch)
    wall, ground = (_colour(generator, scene.hues) for _ in range(2))
    canvas = _gradients(generator, width, height, float(np.clip(horizon, 0.12 * height, 0.9 * height)), wall, ground)
    unit = scene.size[1] / 216
    if generator.random() < 0.45:
        _floor_lines(canvas, generator, scene, centre, ground)
    for _ in range(int(generator.integers(6, 26))):
        _clutter(canvas, generator, horizon, wall, scene.hues, unit)
    outline = np.zeros((0, 2))
    if generator.random() < 0.10:
        outline = _crowd(canvas, generator, horizon, unit)
    _grain(canvas, generator)
    return canvas, outline


def _colour(generator: np.random.Generator, hues: tuple[float, float], strong: float = 0.42) -> Array:
    hue = generator.uniform(*hues)
    return 255.0 * np.asarray(
        colorsys.hsv_to_rgb(hue, generator.uniform(0.05, strong), generator.uniform(0.28, 0.9)), float
    )


def _gradients(
    generator: np.random.Generator, width: int, height: int, horizon: float, wall: Array, ground: Array
) -> Picture:
    y = np.arange(height)[:, None]
    above = wall * (1 + generator.uniform(-0.3, 0.3) * (1 - y / max(horizon, 1)))
    below = ground * (1 + generator.uniform(-0.1, 0.4) * (y - horizon) / max(height - horizon, 1))
    column = np.clip(np.where(y < horizon, above, below), 0, 230).astype(np.float32)
    tilt = 1 + generator.uniform(-0.2, 0.2) * (np.arange(width) / width - 0.5)
    return (column[:, None] * tilt.astype(np.float32)[:, None]).astype(np.uint8)


def _floor_lines(canvas: Picture, generator: np.random.Generator, scene: Scene, centre: Array, ground: Array) -> None:
    view, step = scene.camera.reference(), generator.uniform(0.6, 1.6)
    far = float(scene.people[0].path[0]) * 3 + 6
    reach = np.arange(-10, 11) * step
    nearest = 0.7
    along = [((nearest, y), (far, y)) for y in reach]
    across = [((x, -far), (x, far)) for x in np.arange(nearest, far, step)[:16]] if generator.random() < 0.7 else []
    lines = np.array([[(*first, 0.0), (*second, 0.0)] for first, second in along + across]).reshape(1, -1, 3)
    pixels, depth = view.project(lines)
    shade = np.clip(ground * generator.uniform(0.72, 0.9), 0, 255)
    seen = depth.reshape(-1, 2).min(axis=1) > 0.1
    for line in np.clip((pixels[0] - scene.camera.centre + centre).reshape(-1, 2, 2)[seen], -20_000, 20_000):
        cv2.line(canvas, _point(line[0]), _point(line[1]), shade.tolist(), 1, cv2.LINE_AA)


def _point(place: Array) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))


def _clutter(
    canvas: Picture, generator: np.random.Generator, horizon: float, wall: Array, hues: tuple[float, float], unit: float
) -> None:
    height, width = canvas.shape[:2]
    draw, colour = generator.random(4), _colour(generator, hues, 0.75)
    if draw[0] < 0.5:
        colour = np.clip(wall * generator.uniform(0.55, 1.35), 0, 255)
    size = generator.uniform([12, 14], [90, 80]) * unit
    place = np.array([generator.uniform(0, width), generator.uniform(0.05 * height, min(horizon + 40 * unit, height))])
    low, high = _point(place - size / 2), _point(place + size / 2)
    half = np.array([0, size[1] / 2])
    if draw[1] < 0.42:
        cv2.rectangle(canvas, low, high, colour.tolist(), -1)
        cv2.rectangle(canvas, low, high, (colour * 0.6).tolist(), max(1, int(2 * unit)))
        if draw[2] < 0.4:
            cv2.line(canvas, _point(place - half), _point(place + half), (colour * 0.6).tolist(), 1)
    elif draw[1] < 0.58:
        cv2.ellipse(
            canvas, _point(place), _point(size / 2), generator.uniform(0, 180), 0, 360, colour.tolist(), -1, cv2.LINE_AA
        )
    elif draw[1] < 0.72:
        for x in np.arange(low[0], high[0], 5 * unit):
            cv2.line(canvas, (int(x), low[1]), (int(x), high[1]), (colour * 0.8).tolist(), max(1, int(1.5 * unit)))
    else:
        _limb(canvas, generator, place, colour, unit, head=draw[3] < 0.5)


def _limb(
    canvas: Picture, generator: np.random.Generator, place: Array, colour: Array, unit: float, *, head: bool
) -> None:
    """A two-segment stroke that could be an arm: what a detector must not take for one."""
    if generator.random() < 0.6:
        colour = np.array(_SKINS[int(generator.integers(len(_SKINS)))], float)
    angle, thick = generator.uniform(0, 2 * np.pi), generator.uniform(2, 7) * unit
    for shrink in (1.0, 0.75):
        step = generator.uniform(10, 30) * unit * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(canvas, _point(place), _point(place + step), colour.tolist(), max(1, int(thick * shrink)), cv2.LINE_AA)
        place, angle = place + step, angle + generator.uniform(-1.2, 1.2)
    if head:
        cv2.circle(canvas, _point(place), int(1.3 * thick) + 1, (colour * 0.95).tolist(), -1, cv2.LINE_AA)


def _crowd(canvas: Picture, generator: np.random.Generator, horizon: float, unit: float) -> Array:
    height, width = canvas.shape[:2]
    tall = generator.uniform(14, 26) * unit
    left, span = generator.uniform(0.2, 0.6) * width, generator.uniform(0.12, 0.25) * width
    foot = float(np.clip(horizon + 0.35 * tall, tall * 1.3, height - 2))
    for x in np.sort(generator.uniform(left, left + span, int(span / tall * 2.2))):
        size = tall * generator.uniform(0.85, 1.1)
        shirt, skin = _colour(generator, (0, 1), 0.8), np.array(_SKINS[int(generator.integers(4))], float)
        legs = _colour(generator, (0, 1), 0.4) * 0.6
        wide = max(1, int(0.16 * size))
        for side in (-0.07, 0.07):
            hip = np.array([x + side * size, foot - 0.48 * size])
            cv2.line(
                canvas,
                _point(hip),
                _point(hip + np.array([side * size * 0.5, 0.48 * size])),
                legs.tolist(),
                max(1, wide // 2),
                cv2.LINE_AA,
            )
        cv2.line(
            canvas,
            _point(np.array([x, foot - 0.52 * size])),
            _point(np.array([x, foot - 0.78 * size])),
            shirt.tolist(),
            wide,
            cv2.LINE_AA,
        )
        cv2.circle(
            canvas, _point(np.array([x, foot - 0.92 * size])), max(1, int(0.075 * size)), skin.tolist(), -1, cv2.LINE_AA
        )
    margin = 0.2 * tall
    low, high = (left - margin, foot - 1.15 * tall), (left + span + margin, foot + margin)
    return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def _grain(canvas: Picture, generator: np.random.Generator) -> None:
    """Four octaves of noise, added in place."""
    height, width = canvas.shape[:2]
    total = np.zeros((height, width), np.float32)
    for octave in range(4):
        rows, columns = 4 * 3**octave, 7 * 3**octave
        rough = generator.normal(0, 9 / 1.25**octave, (rows, columns)).astype(np.float32)
        total += cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR)
    grain = np.clip(total, -60, 60).astype(np.int8)
    cv2.add(canvas, cv2.merge([grain] * 3), dst=canvas, dtype=cv2.CV_8U)
