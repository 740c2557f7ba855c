"""synthtrack, the embedded data set: clips of articulated people with perfect truth, as PoseTrack21 has it.

`synthtrack` is the standard preset; `synthtrack-smoke`, `-mini` and `-large` are the others. The files are made on
first use below the user's cache folder. Numbers on synthtrack say how methods compare on synthtrack; they are never
PoseTrack results.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.datasets.posetrack21 import read_posetrack21
from harness.datasets.registry import DatasetCard, register_dataset
from harness.datasets.sequences import DataSet
from harness.datasets.synthtrack.cache import cache_folder, make, prepare
from harness.datasets.synthtrack.presets import PRESETS, VERSION, Preset, Progress

__all__ = [
    "PRESETS",
    "VERSION",
    "Preset",
    "Progress",
    "cache_folder",
    "make",
    "prepare",
    "read_synthtrack",
]


def read_synthtrack(root: Path, split: str, *, name: str = "synthtrack") -> DataSet:
    """Read a split with the PoseTrack21 reader; a keypoint's third value is 2 visible, 1 hidden, 0 not annotated."""
    return read_posetrack21(root, split, name=name, visibility="two", protocol="poseval")


for _preset in PRESETS.values():
    _name = "synthtrack" if _preset.name == "standard" else f"synthtrack-{_preset.name}"
    register_dataset(
        DatasetCard(
            name=_name,
            title=f"synthtrack, preset {_preset.name}",
            splits=tuple(_preset.splits),
            read=partial(read_synthtrack, name=_name),
            prepare=partial(prepare, _preset.name),
            get_it="It is generated on first use.",
            evaluable=tuple(_preset.splits),
        )
    )
