"""Methods that carry maps along a track: the people of a frame together, frame after frame, each with their past."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.clips import Clips
from harness.datasets.sequences import NO_TRACK, Sequence
from harness.methods import Preset, Recurrent

if TYPE_CHECKING:
    from harness.inference.loaded import Loaded
    from harness.inference.normalising import Normaliser
    from harness.inference.work import SequenceWork

__all__ = ["Past", "Standing", "in_full_swing", "rows_before", "step_places"]

Integers = NDArray[np.int64]


def rows_before(clips: Clips, sequence: Sequence) -> Integers:
    """(N,) the row of the same track one video frame earlier, -1 where there is none."""
    index = [sequence.frames[position].index for position in clips.frame.tolist()]
    keys = list(zip(index, clips.track_ids.tolist(), strict=True))
    row_of = {key: row for row, key in enumerate(keys) if key[1] != NO_TRACK}
    return np.array([row_of.get((frame - 1, track), -1) for frame, track in keys], dtype=np.int64)


def step_places(support: tuple[int, ...], recurrent: tuple[int, ...]) -> list[int]:
    """Where in a clip the frames lie that a step looks at."""
    return [support.index(offset) for offset in recurrent]


class Standing(nn.Module):
    """A step along a track whose past is at hand: what a frame costs once the track has begun."""

    def __init__(self, module: nn.Module, preset: Preset, clips: torch.Tensor) -> None:
        super().__init__()
        self.module = module
        self.places = step_places(preset.support, preset.recurrent)
        with torch.inference_mode():
            self.state = cast(Recurrent, module).begin(clips)

    def forward(self, clips: torch.Tensor) -> Any:
        """Clips (B,T,3,H,W), of which only the frames of a step are looked at -> outputs."""
        return cast(Recurrent, self.module).step(clips[:, self.places], self.state)[0]


def in_full_swing(module: nn.Module, preset: Preset, clips: torch.Tensor) -> nn.Module:
    """What runs for clips like these most of the time: the network itself, or a step of one that has a past."""
    return Standing(module, preset, clips) if preset.recurrent else module


@dataclass
class Past:
    """What is known of the people of one sequence from the frame before, in the crops they had there.

    States are kept row by row and replaced by none: a batch that is computed again, in smaller pieces, finds the same.
    """

    work: SequenceWork
    _states: dict[tuple[bool, int], torch.Tensor] = field(default_factory=dict)

    def step(self, method: Loaded, part: slice, crops: torch.Tensor, *, mirrored: bool, normaliser: Normaliser) -> Any:
        """Outputs for rows of one frame, whose crops (B,T,H,W,3) are grey levels on the device of the network."""
        rows, module = np.arange(part.start, part.stop), cast(Recurrent, method.module)
        known = self.work.before[rows] >= 0
        old, new = (torch.from_numpy(np.flatnonzero(which)) for which in (known, ~known))

        def seen(grey: torch.Tensor) -> torch.Tensor:
            clips = normaliser(grey)
            return clips.flip(-1) if mirrored else clips

        parts = []
        if len(old):
            parts.append(self._carried(method, rows[known], mirrored=mirrored))
        if len(new):
            parts.append(module.begin(seen(crops[new])))
        state = torch.cat(parts)[torch.argsort(torch.cat((old, new)))]
        places = step_places(method.preset.support, method.preset.recurrent)
        outputs, states = module.step(seen(crops[:, places]), state)
        self._remember(rows, states, mirrored=mirrored)
        return outputs

    def _carried(self, method: Loaded, rows: Integers, *, mirrored: bool) -> torch.Tensor:
        """The states of people who were there in the frame before, in the crops of this one."""
        before = self.work.before[rows]
        state = torch.stack([self._states[mirrored, row] for row in before.tolist()])
        moved = self.work.moved(rows, before, (state.shape[-1], state.shape[-2]), mirrored=mirrored)
        other = np.flatnonzero((self.work.matrices[rows] != self.work.matrices[before]).any(axis=(1, 2)))
        if len(other):
            carried = cast(Recurrent, method.module).carry(state[other], torch.from_numpy(moved[other]).to(state))
            state[other] = carried
        return state

    def _remember(self, rows: Integers, states: torch.Tensor, *, mirrored: bool) -> None:
        frame = self.work.clips.frame
        for key in [key for key in self._states if frame[key[1]] < frame[rows[0]] - 1]:
            del self._states[key]
        self._states.update({(mirrored, row): state for row, state in zip(rows.tolist(), states, strict=True)})
