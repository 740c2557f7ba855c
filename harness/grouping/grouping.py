"""What a grouping is: outputs for whole frames in, persons out; and the registry of groupings.

As a codec does, it knows the form of the outputs and nothing of files: its joints are px of the network input at
scale 1. The engine maps them to the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from harness.registry import Registry, load_plugins

__all__ = ["Grouping", "Pass", "People", "build_grouping", "groupings", "register_grouping"]


@dataclass(frozen=True)
class People:
    """Persons found in one frame: `joints` (P,J,2) px of the input at scale 1, `scores` (P,J), one `person_scores`.

    `present` (P,J) tells joints that were found; a grouping that finds all says so.
    """

    joints: NDArray[np.float64]
    scores: NDArray[np.float64]
    person_scores: NDArray[np.float64]
    present: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.person_scores)


@dataclass(frozen=True)
class Pass:
    """What a network said of the same frames at one `scale`, and of their mirror images where it was asked."""

    scale: float
    outputs: Any
    mirrored: Any = None


class Grouping(Protocol):
    """One way of making persons of outputs; inputs are sized by scale 1 (`anchored`) or by the smallest of a list."""

    @property
    def anchored(self) -> bool:
        """Whether the input at scale 1, not that of the smallest scale, says how large the others are."""

    @property
    def mirrors(self) -> bool:
        """Whether persons can be made of a frame and its mirror image."""

    def mirror(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (B,3,H,W) as the network has to see them for `Pass.mirrored`."""

    def people(self, passes: Sequence[Pass], size: tuple[int, int], *, flip_order: torch.Tensor) -> list[People]:
        """Persons of each of B frames from passes of falling scale; `size` (width, height) is the input at scale 1.

        `flip_order` as in Skeleton.
        """


#: A grouping class, called with its own options by keyword.
GroupingFactory = Callable[..., Grouping]

groupings: Registry[GroupingFactory] = Registry("grouping", before_lookup=load_plugins)


def register_grouping(name: str, factory: GroupingFactory) -> GroupingFactory:
    """Make a grouping available by name to presets."""
    return groupings.add(name, factory)


def build_grouping(name: str, options: Mapping[str, Any]) -> Grouping:
    """The grouping of that name with its options."""
    return groupings[name](**options)
