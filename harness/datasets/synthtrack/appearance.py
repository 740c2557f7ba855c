"""What a person wears: colours and patterns per capsule."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.body import PARTS

__all__ = ["Appearance", "draw_appearance"]

Array = NDArray[np.float32]
Colour = NDArray[np.float64]

_SKIN = ((255, 219, 188), (236, 188, 150), (205, 150, 110), (150, 100, 66), (96, 62, 42))
_HAIR = ((28, 22, 20), (70, 44, 26), (120, 78, 40), (205, 170, 100), (150, 150, 150))
_TOP_PARTS = ("trunk", "left_trunk", "right_trunk", "shoulders")
_LOWER_PARTS = ("pelvis", "left_thigh", "right_thigh", "left_shank", "right_shank")


@dataclass(frozen=True)
class Appearance:
    """Per part: `colours` (parts,3,3) RGB for the cloth, its pattern and what lies beyond `cut`.

    `rings` and `stripes` (parts,) count the bands along and across a part; `cut` (parts,) is the fraction of the part
    that is covered (2 where all of it is).
    """

    colours: Array
    rings: Array
    stripes: Array
    cut: Array


def draw_appearance(generator: np.random.Generator, *, patterns: tuple[str, ...]) -> Appearance:
    """Draw skin, hair, shirt, trousers, shoes and an emblem whose colour is far from the shirt's."""
    skin, hair = (np.array(table[int(generator.integers(5))], float) for table in (_SKIN, _HAIR))
    top, lower, shoes = _cloth(generator), _cloth(generator), _cloth(generator) * 0.6 + 30
    sleeve = (0.15, 0.62, 2.0)[int(generator.integers(3))]
    shorts = generator.random() < 0.35
    count = len(PARTS)
    colours = np.zeros((count, 3, 3))
    rings, stripes, cut = np.zeros(count), np.zeros(count), np.full(count, 2.0)

    def paint(names: tuple[str, ...], cloth: Colour | tuple[Colour, Colour], beyond: Colour | None = None) -> None:
        first, second = cloth if isinstance(cloth, tuple) else (cloth, cloth)
        for name in names:
            colours[PARTS.index(name)] = first, second, skin if beyond is None else beyond

    paint(PARTS, skin)
    paint(("hair",), hair)
    paint(("left_eye", "right_eye"), np.array([25.0, 20.0, 20.0]))
    paint(("mouth",), np.array([150.0, 50.0, 55.0]))
    paint(("nose",), skin * 0.88)
    paint(("emblem",), (top + 128) % 256)
    paint(("left_foot", "right_foot"), shoes)
    for names, cloth in ((_TOP_PARTS, top), (_LOWER_PARTS, lower)):
        pattern = str(patterns[int(generator.integers(len(patterns)))])
        paint(names, (cloth, _second(generator, cloth)))
        _set_pattern(names, pattern, rings, stripes, generator.uniform(0.75, 1.25))
    for side in ("left", "right"):
        index, fore = PARTS.index(f"{side}_upper_arm"), PARTS.index(f"{side}_forearm")
        chest, arm_cut = PARTS.index("trunk"), 2.0 if sleeve > 1 else sleeve
        for part, part_cut in ((index, arm_cut), (fore, 0.9 if sleeve > 1 else -1.0)):
            colours[part, :2], cut[part] = colours[chest, :2], part_cut
            rings[part], stripes[part] = rings[chest], stripes[chest] * 0.5
        if shorts:
            cut[PARTS.index(f"{side}_thigh")], cut[PARTS.index(f"{side}_shank")] = 0.8, -1.0
    return Appearance(*(values.astype(np.float32) for values in (colours, rings, stripes, cut)))


def _cloth(generator: np.random.Generator) -> NDArray[np.float64]:
    hue, saturation, value = generator.random(), generator.uniform(0.1, 0.85), generator.uniform(0.22, 0.98)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), float) * 255.0


def _second(generator: np.random.Generator, cloth: NDArray[np.float64]) -> NDArray[np.float64]:
    other = _cloth(generator)
    return other if np.abs(other - cloth).sum() > 120 else (cloth + 110) % 256


def _set_pattern(
    names: tuple[str, ...], pattern: str, rings: NDArray[np.float64], stripes: NDArray[np.float64], scale: float
) -> None:
    for name in names:
        index = PARTS.index(name)
        across = name in ("pelvis", "shoulders")
        along, around = (7.0 * scale, 2.5 * scale)
        rings[index] = along if pattern in ("rings", "checks") and not across else 0.0
        stripes[index] = around if pattern in ("stripes", "checks") and not across else 0.0
