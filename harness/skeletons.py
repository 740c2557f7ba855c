"""Joint names, orders, flip pairs and groups. The only module that knows joint indices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

__all__ = ["COCO17", "GROUPS", "OKS_SIGMAS", "POSETRACK15", "POSETRACK17", "POSETRACK21_15", "Skeleton"]


@dataclass(frozen=True)
class Skeleton:
    """Joint names in one order, with the left-right pairs and the bones to draw.

    `names` has J entries; `pairs` and `bones` hold names, so that indices appear nowhere else.
    """

    name: str
    names: tuple[str, ...]
    bones: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def index(self, joint: str) -> int:
        """Position of a joint by name."""
        try:
            return self.names.index(joint)
        except ValueError:
            raise DataError(f"skeleton {self.name} has no joint '{joint}'; it has {', '.join(self.names)}") from None

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(left, right) index pairs that swap in a mirrored image."""
        lefts = [name for name in self.names if name.startswith("left_")]
        return tuple((self.index(name), self.index("right_" + name.removeprefix("left_"))) for name in lefts)

    @cached_property
    def flip_order(self) -> NDArray[np.int64]:
        """(J,) index of the joint that takes each place after mirroring."""
        order = np.arange(len(self))
        for left, right in self.pairs:
            order[[left, right]] = right, left
        return order

    def positions_of(self, other: Skeleton) -> NDArray[np.int64]:
        """(len(other),) index here of every joint of `other`; raises DataError for a joint that is not here.

        >>> POSETRACK17.positions_of(POSETRACK15).tolist()
        [16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9, 1, 0, 2]
        """
        return np.array([self.index(name) for name in other.names], dtype=np.int64)


def _bones(*pairs: str) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, second in (pair.split("-") for pair in pairs))


BODY_BONES = _bones(
    "head_top-nose", "nose-head_bottom",
    "head_bottom-left_shoulder", "left_shoulder-left_elbow", "left_elbow-left_wrist",
    "head_bottom-right_shoulder", "right_shoulder-right_elbow", "right_elbow-right_wrist",
    "left_shoulder-left_hip", "left_hip-left_knee", "left_knee-left_ankle",
    "right_shoulder-right_hip", "right_hip-right_knee", "right_knee-right_ankle", "left_hip-right_hip",
)  # fmt: skip

_LIMBS = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

#: File order of PoseTrack18 and 21, and the channel order of every PoseTrack network. The ears are never annotated.
POSETRACK17 = Skeleton("posetrack17", ("nose", "head_bottom", "head_top", "left_ear", "right_ear", *_LIMBS), BODY_BONES)

#: Joint ids 0..14 of PoseTrack17 files and of poseval (which calls `head_bottom` the neck).
POSETRACK15 = Skeleton(
    "posetrack15",
    (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
        "head_bottom", "nose", "head_top",
    ),
    BODY_BONES,
)  # fmt: skip

#: Order of the PoseTrack21 evaluation kit: the file order without the ears.
POSETRACK21_15 = Skeleton("posetrack21_15", ("nose", "head_bottom", "head_top", *_LIMBS), BODY_BONES)

#: COCO order, for checkpoints trained on COCO.
COCO17 = Skeleton("coco17", ("nose", "left_eye", "right_eye", "left_ear", "right_ear", *_LIMBS))

#: Columns of the published tables: the plain mean of the named joints, in this summation order (poseval section 1).
GROUPS: dict[str, tuple[str, ...]] = {
    "Head": ("head_top", "head_bottom", "nose"),
    "Shoulder": ("right_shoulder", "left_shoulder"),
    "Elbow": ("right_elbow", "left_elbow"),
    "Wrist": ("right_wrist", "left_wrist"),
    "Hip": ("right_hip", "left_hip"),
    "Knee": ("right_knee", "left_knee"),
    "Ankle": ("right_ankle", "left_ankle"),
}

#: OKS sigmas by joint name: COCO's values by position, so head_bottom and head_top inherit the eyes' (oks_ap spec).
OKS_SIGMAS: dict[str, float] = {
    "nose": 0.026, "head_bottom": 0.025, "head_top": 0.025, "left_ear": 0.035, "right_ear": 0.035,
    **{f"{side}_{joint}": sigma for side in ("left", "right") for joint, sigma in (
        ("shoulder", 0.079), ("elbow", 0.072), ("wrist", 0.062), ("hip", 0.107), ("knee", 0.087), ("ankle", 0.089))},
}  # fmt: skip
