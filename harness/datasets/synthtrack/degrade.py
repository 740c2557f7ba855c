"""From a clean picture to a camera's: gain, white balance, soft focus, gamma, noise, JPEG (spec, section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Degradation", "degrade", "draw_degradation", "encode"]

Picture = NDArray[np.uint8]

#: Quantiles of the normal distribution: bytes looked up here are noise, ten times cheaper than drawing it.
_QUANTILES = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])


@dataclass(frozen=True)
class Degradation:
    """Constant over a sequence: `gain` (3,) per RGB channel, focus and noise in px and grey levels."""

    gain: NDArray[np.float64]
    softness: float
    gamma: float
    noise: float
    quality: int


def draw_degradation(generator: np.random.Generator) -> Degradation:
    """Draw a camera's faults; one sequence in twelve is shot in low light (darker, noisier)."""
    gain = generator.uniform(0.75, 1.2) * generator.uniform(0.9, 1.1, 3)
    softness, gamma, noise = generator.uniform(0, 0.7), generator.uniform(0.8, 1.25), generator.uniform(1, 5)
    quality = int(generator.integers(45, 93))
    if generator.random() < 1 / 12:
        gain, noise = gain * generator.uniform(0.5, 0.7), noise + 3
    return Degradation(gain, float(softness), float(gamma), float(noise), quality)


def degrade(picture: Picture, degradation: Degradation, *, seed: int, frame: int) -> Picture:
    """(H,W,3) RGB -> the same as the camera delivers it; the noise depends on (seed, frame) only."""
    if degradation.softness >= 0.25:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), degradation.softness), np.uint8)
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
