"""What the networks are taught by (seed002_rest.md 5): errors of joints, lengths, directions and joint shifts.

`truth` is (B,T,15,3) metres; only frames that are `present` (B,T) count.
"""

from __future__ import annotations

from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize

from harness.lifting.body import BONE_OF, SHIFT_OF
from harness.lifting.networks import Parts, laid_end_to_end, lengths_of, times

__all__ = ["direction_loss", "length_loss", "parts_loss", "position_loss", "shift_loss"]


def position_loss(joints: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """MPJPE in metres."""
    return _mean(vector_norm(joints - truth, dim=-1), present)


def length_loss(lengths: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Mean squared error of a track's lengths (B,bones) against those of each frame, square metres."""
    return _mean((lengths[:, None] - lengths_of(truth)) ** 2, present)


def direction_loss(directions: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Mean over bones of the squared difference of unit vectors: 2 - 2 cos of the angle between them."""
    return _mean(((directions - normalize(times(BONE_OF, truth), dim=-1)) ** 2).sum(dim=-1), present)


def shift_loss(joints: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """MPJPE of the vectors between points that no bone joins, metres: errors that add up along a limb show here."""
    return _mean(vector_norm(times(SHIFT_OF, joints - truth), dim=-1), present)


def parts_loss(parts: Parts, truth: Tensor, present: Tensor) -> Tensor:
    """What the published loss has beside the error of the joints.

    For the shifts, the directions of each sub-network are laid end to end with the true lengths.
    """
    lengths = lengths_of(truth)
    loss = position_loss(parts.by_frame, truth, present) + 100 * length_loss(parts.lengths, truth, present)
    for share, directions in ((1.0, parts.directions), (0.5, parts.first_directions)):
        joints = laid_end_to_end(lengths, directions)
        loss = loss + share * (
            0.3 * direction_loss(directions, truth, present) + 2 * shift_loss(joints, truth, present)
        )
    return loss


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """Mean of (B,T,K) over the frames that are present."""
    return (values.mean(dim=-1) * present).sum() / present.sum()
