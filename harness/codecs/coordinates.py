"""Joints written as plain numbers: regression heads, and methods that use no network at all."""

from __future__ import annotations

from typing import ClassVar

import torch

from harness.codecs.codec import Decoded, Form, Geometry, Targets, register_codec

__all__ = ["CoordinatesCodec"]


class CoordinatesCodec:
    """Outputs (B,J,3): x and y in the unit crop (0..1 from edge to edge of the looked-at area) and a score.

    >>> codec = CoordinatesCodec(size=(192, 256))
    >>> codec.decode(torch.tensor([[[0.5, 0.25, 0.9]]])).joints.tolist()
    [[[96.0, 64.0]]]
    """

    form: ClassVar[Form] = "coordinates"
    geometry: Geometry = "plain"

    def __init__(self, *, size: tuple[int, int]) -> None:
        self.size = size

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> (B,J,3) with score 1; a joint outside the crop gets weight 0."""
        joints = joints.float()
        units = (joints / self._sizes(joints)).nan_to_num(nan=-1.0)
        weights = weights.float() * ((units >= 0) & (units <= 1)).all(-1)
        values = torch.cat((units, torch.ones_like(units[..., :1])), dim=-1) * (weights > 0)[..., None]
        return Targets(values, weights)

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """(B,J,3) -> joints on a grid as large as the input, and the scores as they are."""
        outputs = outputs.float()
        return Decoded(outputs[..., :2] * self._sizes(outputs), outputs[..., 2], self.size)

    def flip_back(self, outputs: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Mirror x about the middle pixel column (x' = width - 1 - x in px) and swap the pairs."""
        swapped = outputs[:, flip_order]
        mirrored_x = 1 - 1 / self.size[0] - swapped[..., :1]
        return torch.cat((mirrored_x, swapped[..., 1:]), dim=-1)

    def merge(self, outputs: torch.Tensor, mirrored: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Mean of the coordinates and scores and the flipped-back ones."""
        return (outputs + self.flip_back(mirrored, flip_order)) * 0.5

    def _sizes(self, like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.size, dtype=like.dtype, device=like.device)


register_codec("coordinates", CoordinatesCodec)
