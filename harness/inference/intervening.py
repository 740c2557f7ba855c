"""Where a probe may reach into a run: the offsets of support frames, the clips of a sequence, the crops of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from harness.boxes import Boxes
    from harness.clips import Clips
    from harness.datasets.sequences import DataSet, Sequence
    from harness.inference.loaded import Loaded
    from harness.inference.work import SequenceWork
    from harness.methods import Preset

__all__ = ["Intervention"]


class Intervention(Protocol):
    """What is changed on the way from boxes to the network; every hook gives back what it leaves alone.

    What it does to a person may depend on sequence, frame and person, never on the batch or the rank.
    """

    @property
    def label(self) -> str:
        """Everything that decides what it does; part of the request's identity."""

    def check(self, preset: Preset, *, method: str) -> None:
        """Raise UsageError where there is nothing in the method that it could change."""

    def prepared(self, method: Loaded) -> Loaded:
        """The method that runs."""

    def boxes(self, boxes: Boxes, dataset: DataSet) -> Boxes:
        """The boxes to look at."""

    def offsets(self, support: tuple[int, ...]) -> tuple[int, ...]:
        """The frames to show in place of a preset's `support`, as many of them."""

    def clips(self, clips: Clips, sequence: Sequence, support: tuple[int, ...]) -> Clips:
        """The clips of a sequence; `support` is the preset's."""

    def crops(self, work: SequenceWork, part: slice, crops: torch.Tensor) -> torch.Tensor:
        """Crops (B,T,H,W,3) uint8 of the rows `part` of a sequence, before they are normalised."""
