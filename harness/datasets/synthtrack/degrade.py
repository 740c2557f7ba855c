"""From a clean picture to a camera's: gain, white balance, soft focus, gamma, noise, JPEG (spec, section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["NIGHT", "USUAL", "Degradation", "Look", "degrade", "draw_degradation", "encode"]

Picture = NDArray[np.uint8]

#: Quantiles of the normal distribution: bytes looked up here are noise, ten times cheaper than drawing it.
_QUANTILES = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])


@dataclass(frozen=True)
class Look:
    """What a camera's faults are drawn from: ranges of gain, soft focus (px), gamma, noise (grey levels), JPEG quality.

    `low_light` is the share of sequences that are darker and noisier still; `grey` cameras see no colours.
    """

    gain: tuple[float, float] = (0.75, 1.2)
    softness: tuple[float, float] = (0.0, 0.7)
    gamma: tuple[float, float] = (0.8, 1.25)
    noise: tuple[float, float] = (1.0, 5.0)
    quality: tuple[int, int] = (45, 93)
    low_light: float = 1 / 12
    grey: bool = False


USUAL = Look()

#: A surveillance camera after dark: another look for the same kind of scenes, to adapt to.
NIGHT = Look(gain=(0.35, 0.55), softness=(0.6, 1.3), noise=(6.0, 12.0), quality=(25, 45), low_light=0.0, grey=True)


@dataclass(frozen=True)
class Degradation:
    """Constant over a sequence: `gain` (3,) per RGB channel, focus and noise in px and grey levels."""

    gain: NDArray[np.float64]
    softness: float
    gamma: float
    noise: float
    quality: int
    grey: bool = False


def draw_degradation(generator: np.random.Generator, look: Look = USUAL) -> Degradation:
    """Draw a camera's faults."""
    gain = generator.uniform(*look.gain) * generator.uniform(0.9, 1.1, 3)
    softness, gamma, noise = (generator.uniform(*each) for each in (look.softness, look.gamma, look.noise))
    quality = int(generator.integers(*look.quality))
    if generator.random() < look.low_light:
        gain, noise = gain * generator.uniform(0.5, 0.7), noise + 3
    if look.grey:
        gain = np.full(3, gain.mean())
    return Degradation(gain, float(softness), float(gamma), float(noise), quality, look.grey)


def degrade(picture: Picture, degradation: Degradation, *, seed: int, frame: int) -> Picture:
    """(H,W,3) RGB -> the same as the camera delivers it; the noise depends on (seed, frame) only."""
    if degradation.softness >= 0.25:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), degradation.softness), np.uint8)
    if degradation.grey:
        picture = np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    levels = np.arange(256)[:, None] / 255 * degradation.gain
    table = (255 * np.clip(levels, 0, 1) ** degradation.gamma + 0.5).astype(np.uint8)
    picture = np.asarray(cv2.LUT(picture, table[None]), np.uint8)
    raw = np.random.default_rng((seed, frame)).integers(0, 2**64, picture.size // 8 + 1, dtype=np.uint64)
    random = raw.astype("<u8", copy=False).view(np.uint8)[: picture.size].reshape(len(picture), -1)
    grain = np.rint(_QUANTILES * degradation.noise)
    # Two saturating passes on bytes: lighter grains, then darker ones.
    lighter, darker = (cv2.LUT(random, np.maximum(sign * grain, 0).astype(np.uint8)) for sign in (1, -1))
    picture = np.asarray(cv2.add(picture, lighter.reshape(picture.shape)), np.uint8)
    return np.asarray(cv2.subtract(picture, darker.reshape(picture.shape)), np.uint8)


def encode(picture: Picture, quality: int) -> bytes:
    """RGB picture -> JPEG bytes."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV always encodes a uint8 picture"  # noqa: S101
    return bytes(data)
