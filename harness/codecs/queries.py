"""A set of queries, each saying which joint it is and where: what a transformer that is trained by matching gives."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch

from harness.codecs.codec import Decoded, Form, Geometry, Targets, register_codec
from harness.grouping.queries import read_joints

__all__ = ["QueriesCodec", "ReadOut"]


class ReadOut(NamedTuple):
    """Joints that were read already: places (B,J,2) in 0..1 of the input and scores (B,J)."""

    places: torch.Tensor
    scores: torch.Tensor


class QueriesCodec:
    """Outputs (B,Q,J+3): logits of J joints and of "none", then x and y in 0..1 of the input.

    A read-out gives every joint a query of its own (seed002_rest.md 4.3). Two passes of a flip test are read first and
    averaged then, since query 7 of the one need not be query 7 of the other.
    """

    form: ClassVar[Form] = "queries"
    geometry: Geometry = "plain"

    def __init__(self, *, size: tuple[int, int]) -> None:
        self.size = size

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """(B,J,2) px of the input -> 0..1 of it; a joint outside, or without a place, gets weight 0."""
        values = joints / joints.new_tensor(self.size)
        inside = ((values >= 0) & (values <= 1)).all(dim=-1)
        return Targets(values.nan_to_num(), weights * inside)

    def decode(self, outputs: Any) -> Decoded:
        """(B,Q,J+3), or what `merge` read of two of them."""
        read = outputs if isinstance(outputs, ReadOut) else self._read(outputs)
        return Decoded(read.places * read.places.new_tensor(self.size), read.scores, self.size)

    def flip_back(self, outputs: torch.Tensor, flip_order: torch.Tensor) -> ReadOut:
        """Joints of the mirrored input, read and mirrored back."""
        places, scores = self._read(outputs)
        places = torch.stack([1 - places[..., 0], places[..., 1]], dim=-1)
        return ReadOut(places[:, flip_order], scores[:, flip_order])

    def merge(self, outputs: torch.Tensor, mirrored: torch.Tensor, flip_order: torch.Tensor) -> ReadOut:
        """The mean of the joints read of both."""
        plain, back = self._read(outputs), self.flip_back(mirrored, flip_order)
        return ReadOut((plain.places + back.places) / 2, (plain.scores + back.scores) / 2)

    def _read(self, outputs: torch.Tensor) -> ReadOut:
        return ReadOut(*read_joints(outputs[..., :-2], outputs[..., -2:]))


register_codec("queries", QueriesCodec)
