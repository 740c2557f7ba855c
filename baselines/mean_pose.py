"""mean_pose: the average pose of a train split, placed in the box; it looks at no pixel and is every table's floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.datasets.sequences import DataSet
from harness.errors import DataError
from harness.methods import CropSpec, MethodCard, Preset, register_method
from harness.skeletons import POSETRACK17, POSETRACK21_15

__all__ = ["MeanPose", "card", "fit"]


class MeanPose(nn.Module):
    """Gives every box the same `pose` (J,3): x and y in the unit box, and a score."""

    pose: torch.Tensor

    def __init__(self, joints: int = len(POSETRACK17)) -> None:
        super().__init__()
        self.register_buffer("pose", torch.full((joints, 3), 0.5))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,0,3,H,W) -> (B,J,3)."""
        return self.pose.expand(len(clips), -1, -1)


def fit(dataset: DataSet) -> dict[str, torch.Tensor]:
    """The state of MeanPose learned from the true boxes and joints of a split.

    Positions are means over all annotated joints of people with a box. A joint's score is the share of them within a
    tenth of the box's diagonal of the mean: joints that keep their place come first. The ears, which PoseTrack never
    annotates, are put on the nose with score 0. Raises DataError where an evaluated joint has no sample.
    """
    units, sides, known = _samples(dataset)
    counts = known.sum(0)
    empty = [name for name in POSETRACK21_15.names if not counts[dataset.skeleton.index(name)]]
    if empty:
        raise DataError(
            f"{dataset.name} {dataset.split}: no {empty[0]} is annotated, so there is no mean pose to learn"
        )
    with np.errstate(invalid="ignore"):
        mean = np.where(known[..., None], units, 0).sum(0) / counts[:, None]
        distances = np.linalg.norm((units - mean) * sides[:, None], axis=-1)
        near = distances < 0.1 * np.linalg.norm(sides, axis=-1)[:, None]
        scores = (near & known).sum(0) / counts
    mean[counts == 0] = mean[dataset.skeleton.index("nose")]
    scores[counts == 0] = 0
    return {"pose": torch.from_numpy(np.column_stack((mean, scores)).astype(np.float32))}


def _samples(dataset: DataSet) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Joints in the unit box (N,J,2), box sides (N,2) px and which joints are known (N,J), of all people with a box."""
    truths = [sequence.truth for sequence in dataset.sequences]
    boxes = np.concatenate([truth.boxes for truth in truths])
    joints = np.concatenate([truth.joints for truth in truths])
    known = np.concatenate([truth.annotated for truth in truths])
    sides = boxes[:, 2:] - boxes[:, :2]
    usable = (sides > 0).all(1)
    units = (joints[usable] - boxes[usable, None, :2]) / sides[usable, None]
    return units, sides[usable], known[usable]


def _build(options: Mapping[str, Any]) -> MeanPose:
    return MeanPose()


card = register_method(
    MethodCard(
        name="mean_pose",
        title="Mean pose",
        summary="The mean pose of a train split in every box, without looking at the picture: the honest floor.",
        presets={
            "tiny": Preset(
                crop=CropSpec(size=(96, 128), enlarge=1.0, aspect="stretch"),
                codec="coordinates",
                support=(),
                weights="mean_pose",
            )
        },
        build=_build,
        licence="Apache-2.0",
        notes="A joint's score says how often it keeps near its mean. True boxes flatter it: they enclose the pose.",
        fit=fit,
    )
)
