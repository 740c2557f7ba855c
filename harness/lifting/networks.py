"""Anatomy-aware lifting (Chen et al., 2021), small, and the plain network it is compared with (seed002_rest.md 5).

All take features (B,T,FEATURES) and which frames count (B,T), and give joints in metres from the pelvis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from harness.lifting.body import BONE_OF, JOINT_OF, ROOTED
from harness.lifting.tracks import FEATURES

__all__ = ["Anatomy", "Direct", "Lifted", "MeanPose", "Parts", "laid_end_to_end", "lengths_of", "times"]

BONE_COUNT, JOINTS = BONE_OF.shape
DROPOUT = 0.1


@dataclass(frozen=True)
class Parts:
    """What the anatomy network found on its way to the joints.

    `by_frame` (B,T,15,3) the joints that lengths were taken from, `lengths` (B,bones) of the whole track, `directions`
    and `first_directions` (B,T,bones,3) unit vectors of the second and of the first sub-network.
    """

    by_frame: Tensor
    lengths: Tensor
    directions: Tensor
    first_directions: Tensor


#: Joints (B,T,15,3) in metres, and the parts of the anatomy network.
Lifted = tuple[Tensor, Parts | None]


class Layer(nn.Module):
    """A layer over the channels of each frame, or of three frames `step` apart, the first and last frame repeated."""

    def __init__(self, channels: int, width: int, *, step: int = 0) -> None:
        super().__init__()
        self.step = step
        self.mix = nn.Linear((3 if step else 1) * channels, width)  # on a CPU faster than nn.Conv1d over few frames
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,channels) -> (B,T,width)."""
        if self.step:
            frames, more = x.shape[1], self.step
            longer = torch.cat([x[:, :1].expand(-1, more, -1), x, x[:, -1:].expand(-1, more, -1)], dim=1)
            x = torch.cat([longer[:, start : start + frames] for start in (0, more, 2 * more)], dim=-1)
        mixed: Tensor = self.mix(x)
        return torch.dropout(torch.relu(self.norm(mixed.flatten(0, 1)).view_as(mixed)), DROPOUT, self.training)


class Trunk(nn.Module):
    """The temporal convolution: widths 3, 3 (9 frames), the first layer gated by which joints are known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Layer(FEATURES, width, step=1)
        self.gate = nn.Linear(JOINTS, width)
        self.residual = nn.Sequential(Layer(width, width, step=3), Layer(width, width))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B,T,FEATURES) -> features (B,T,width) of every depth."""
        low = self.first(x) * torch.sigmoid(self.gate(x[..., 2 * JOINTS : 3 * JOINTS]))
        return [low, low + self.residual(low)]


class Direct(nn.Module):
    """The control: the same temporal convolution, joints read from its last features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = Trunk(width)
        self.residual = Layer(width, width)
        self.out = nn.Linear(width, 3 * JOINTS)

    def forward(self, x: Tensor, present: Tensor) -> Lifted:
        """What the features of each frame and its neighbours say."""
        top = self.trunk(x)[-1]
        return _rooted(self.out(top + self.residual(top))), None


class MeanPose(nn.Module):
    """The mean of all poses learned from."""

    pose: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pose", torch.zeros(JOINTS, 3))

    def forward(self, x: Tensor, present: Tensor) -> Lifted:
        """The same joints, whatever is seen."""
        return self.pose.expand(*present.shape, -1, -1), None


class Lengths(nn.Module):
    """Bone lengths of a track: a lifter of single frames, whose lengths are weighed by an attention over the frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Layer(FEATURES, width)
        self.residual = nn.Sequential(Layer(width, width), Layer(width, width))
        self.out = nn.Linear(width, 3 * JOINTS)
        self.attention = nn.Linear(6 * JOINTS, BONE_COUNT)

    def forward(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Joints of each frame (B,T,15,3) and lengths of the track (B,bones)."""
        low = self.first(x)
        joints = _rooted(self.out(low + self.residual(low)))
        fixed = joints.detach()  # the lengths teach the attention, not the lifter
        said = 10 * self.attention(torch.cat([fixed, fixed.abs()], dim=-1).flatten(2))
        weight = said.masked_fill(~present[..., None], -torch.inf).softmax(dim=1)
        return joints, (weight * lengths_of(fixed)).sum(dim=1)


class Anatomy(nn.Module):
    """Lengths of the track times directions of each frame, fused by what was learned rather than summed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lengths = Lengths(width)
        self.trunk = Trunk(width)
        self.first_out = nn.Linear(width, 3 * BONE_COUNT)
        self.again = Layer(2 * width, width)
        self.residual = Layer(width, width)
        self.second_out = nn.Linear(width, 3 * BONE_COUNT)
        self.of_directions = nn.Linear(3 * BONE_COUNT, width)
        self.of_lengths = nn.Linear(BONE_COUNT, width)
        self.fuse = nn.Linear(width, 3 * JOINTS)

    def forward(self, x: Tensor, present: Tensor) -> Lifted:
        """The joints and the parts they were made of; the second sub-network reads the features of all depths again."""
        by_frame, lengths = self.lengths(x, present)
        depths = self.trunk(x)
        low = self.again(torch.cat(depths, dim=-1))
        first = normalize(_triples(self.first_out(depths[-1])), dim=-1)
        second = normalize(_triples(self.second_out(low + self.residual(low))), dim=-1)
        joints = self.fuse(self.of_directions(second.flatten(2)) * self.of_lengths(lengths)[:, None])
        return _rooted(joints), Parts(by_frame, lengths, second, first)


def laid_end_to_end(lengths: Tensor, directions: Tensor) -> Tensor:
    """(B,T,15,3) joints as sums of bones: lengths (B,T or 1,bones), directions (B,T,bones,3)."""
    return times(JOINT_OF, lengths[..., None] * directions)


def lengths_of(joints: Tensor) -> Tensor:
    """(...,15,3) -> (...,bones)."""
    lengths: Tensor = torch.linalg.vector_norm(times(BONE_OF, joints), dim=-1)
    return lengths


def times(matrix: NDArray[np.float64], columns: Tensor) -> Tensor:
    """A matrix of the body times (...,15,3)."""
    result: Tensor = torch.as_tensor(matrix, dtype=columns.dtype) @ columns
    return result


def _rooted(flat: Tensor) -> Tensor:
    return times(ROOTED, _triples(flat))


def _triples(flat: Tensor) -> Tensor:
    return flat.view(*flat.shape[:-1], -1, 3)
