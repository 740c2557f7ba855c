"""Sizes, splits and seeds: the parameters that define synthtrack and everything in which val differs from train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.datasets.synthtrack.degrade import NIGHT, USUAL, Look
from harness.errors import UsageError

__all__ = [
    "CARD_FILE",
    "PRESETS",
    "VERSION",
    "Difficulty",
    "Preset",
    "Progress",
    "difficulty_of",
    "preset_named",
    "sequence_seed",
    "video_name",
]

#: Part of the cache path; changes whenever a pixel or a label changes.
VERSION = "1.0"

#: Called with (frames done, frames in all).
Progress = Callable[[int, int], None]

#: Names preset, split and seed at the root of a complete split.
CARD_FILE = "synthtrack.json"

_SEED_BASES = {"train": 10_000_000, "val": 20_000_000, "test": 30_000_000}
_SMOKE_BASE = 40_000_000
_NIGHT_TRAIN_BASE = 50_000_000
_NUMBER_BASES = {"train": 0, "val": 100_000, "test": 200_000}

#: Share of people per motion; kick, throw and jack are held out of train.
_MOTIONS = {
    "walk": 0.18, "run": 0.075, "jump": 0.05, "wave": 0.07, "punch": 0.08, "squat": 0.05, "sit": 0.07, "fall": 0.06,
    "dance": 0.15, "key_poses": 0.09, "stand": 0.07,
}  # fmt: skip
_HELD_OUT = {"kick": 0.05, "throw": 0.04, "jack": 0.10}
_FASTER = {"run": 3.2, "punch": 1.8, "jump": 2.0}


@dataclass(frozen=True)
class Preset:
    """A picture size in px, per split (sequences, frames of each), and the look of its camera."""

    name: str
    width: int
    height: int
    splits: Mapping[str, tuple[int, int]]
    look: Look = USUAL


@dataclass(frozen=True)
class Difficulty:
    """What makes one split harder than another.

    `held_out_share` of the people draw from `held_out` motions; `near` is the chance that somebody stands beside
    another person, `spread` how far apart people stand otherwise (view widths); `foreground` the mean number of
    foreground objects, `moving` the share that moves; `shutter` in degrees of the frame interval; `hues` the range of
    background hues as fractions of the circle.
    """

    motions: Mapping[str, float]
    held_out: Mapping[str, float]
    held_out_share: float
    near: float
    spread: float
    foreground: float
    moving: float
    shutter: tuple[float, float]
    patterns: tuple[str, ...]
    hues: tuple[float, float]


_EASY = Difficulty(
    _MOTIONS, {}, 0.0, 0.32, 0.22, 1.1, 0.6, (120, 300), ("plain", "plain", "rings", "stripes"), (0.0, 0.62)
)
_HARD = Difficulty(
    {name: weight * _FASTER.get(name, 1.0) for name, weight in _MOTIONS.items()}, _HELD_OUT, 0.3,
    0.46, 0.16, 1.9, 0.75, (180, 330), ("plain", "rings", "stripes", "checks"), (0.0, 1.0),
)  # fmt: skip

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("smoke", 192, 108, {"train": (4, 6), "val": (2, 6)}),
        Preset("mini", 384, 216, {"train": (60, 8), "val": (20, 12)}),
        Preset("standard", 384, 216, {"train": (600, 8), "val": (100, 16), "test": (100, 16)}),
        Preset("large", 640, 360, {"train": (3000, 12), "val": (200, 24), "test": (200, 24)}),
        Preset("night", 384, 216, {"train": (300, 8), "val": (100, 16)}, look=NIGHT),
    )
}


def preset_named(name: str) -> Preset:
    """The preset, or a UsageError that lists the names."""
    if name not in PRESETS:
        raise UsageError(f"unknown synthtrack preset '{name}'; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def difficulty_of(split: str) -> Difficulty:
    """Train settings, or the harder ones that val and test share."""
    return _EASY if split == "train" else _HARD


def sequence_seed(preset: Preset, split: str, index: int, *, seed: int = 0) -> int:
    """The seed of one sequence; seeds, not files, define a split.

    The night's val shows the standard one's scenes, so that what a look costs can be seen scene by scene; its train
    does not, for who adapts has no pictures of the same scene in both looks.

    >>> sequence_seed(PRESETS["mini"], "val", 3)
    20000003
    """
    base = _SEED_BASES[split]
    if preset.name == "smoke":
        base = _SMOKE_BASE + base // 100
    elif preset.name == "night" and split == "train":
        base = _NIGHT_TRAIN_BASE
    return base + index + seed * 100_000_000


def video_name(split: str, index: int) -> str:
    """A file name that follows PoseTrack's naming rule (its validation videos end in `_test` too).

    >>> video_name("val", 0)
    '100001_mpii_test'
    """
    number = _NUMBER_BASES[split] + index + 1
    return f"{number:06d}_mpii_{'train' if split == 'train' else 'test'}"
