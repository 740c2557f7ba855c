"""Persons out of a set of person queries, each with a set of joint queries: PRTR end to end (whole_frame.md 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from harness.errors import UsageError
from harness.grouping.grouping import Pass, People, register_grouping
from harness.grouping.queries import read_joints

__all__ = ["PersonSet"]


@dataclass(frozen=True)
class PersonSet:
    """Outputs with `person_logits` (layers,B,P,2), `joint_logits` (B,P,Q,J+1), "none" last, `places` (B,P,Q,2) in 0..1.

    A person query counts from a chance of `least_person` on. The score of a joint is its chance among the joints times
    the person's; that of a person the mean of them.
    """

    least_person: float = 0.05
    least_score: float = 0.0
    anchored: bool = field(default=True, init=False)
    mirrors: bool = field(default=False, init=False)

    def mirror(self, frames: torch.Tensor) -> torch.Tensor:
        """There is none: persons of two passes have no partners."""
        raise UsageError("persons of a mirrored frame have no partners in the plain one; leave out the flip test")

    def people(self, passes: Sequence[Pass], size: tuple[int, int], *, flip_order: torch.Tensor) -> list[People]:
        """Persons of each frame, the likeliest first, in px of the input."""
        if len(passes) != 1:
            raise UsageError("persons of several scales have no partners; give one scale")
        outputs: Any = passes[0].outputs
        chances = outputs.person_logits[-1].float().softmax(-1)[..., 0]
        return [
            self._people(chances[frame], outputs.joint_logits[frame], outputs.places[frame], size)
            for frame in range(len(chances))
        ]

    def _people(
        self, chances: torch.Tensor, logits: torch.Tensor, places: torch.Tensor, size: tuple[int, int]
    ) -> People:
        order = chances.argsort(descending=True, stable=True)
        kept = order[chances[order] >= self.least_person]
        read, chance = read_joints(logits[kept], places[kept], weigh="logit")
        scores = (chance * chances[kept, None]).cpu().numpy().astype(np.float64)
        joints = read.cpu().numpy().astype(np.float64) * np.array(size)
        return People(joints, scores, scores.mean(axis=1), scores >= self.least_score)


register_grouping("person set", PersonSet)
