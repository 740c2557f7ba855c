"""Time probes: other frames in place of the neighbours, the key frame left as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.clips import Clips
from harness.datasets.sequences import NO_TRACK, Sequence
from harness.methods import Preset
from harness.probes.registry import Rows, register_probe

__all__ = ["frozen", "future_only", "past_only", "reversed_order", "shuffled", "strided"]

#: Without another person, a clip takes its neighbours from a time this many frames away, if there is one.
_FAR = 8


def _needs_neighbours(preset: Preset) -> str:
    if not any(preset.support):
        return "it looks at no frame but the key frame"
    return "it looks at another frame's box" if preset.box_offset else ""


def _needs_both(preset: Preset) -> str:
    return _needs_neighbours(preset) or ("" if 0 in preset.support else "it never sees the key frame")


@register_probe("support_frozen", "time", "every neighbour is the key frame", place="frames", fits=_needs_both)
def frozen(support: tuple[int, ...], dose: float) -> tuple[int, ...]:
    """Nothing but the key frame: what is lost is owed to other frames.

    >>> frozen((0, -2, -1, 1, 2), 0.0)
    (0, 0, 0, 0, 0)
    """
    return (0,) * len(support)


@register_probe("support_reversed", "time", "neighbours in reversed order", place="frames", fits=_needs_neighbours)
def reversed_order(support: tuple[int, ...], dose: float) -> tuple[int, ...]:
    """What came before comes after: a method that knows the order of time should mind.

    >>> reversed_order((0, -2, -1, 1, 2), 0.0)
    (0, 2, 1, -1, -2)
    """
    return tuple(-offset for offset in support)


@register_probe("support_stride", "time", "neighbours so many times as far away", place="frames", unit="times",
                doses=(2.0, 4.0, 8.0), whole=True, integral=True, fits=_needs_neighbours)  # fmt: skip
def strided(support: tuple[int, ...], dose: float) -> tuple[int, ...]:
    """As a video of a lower frame rate.

    >>> strided((0, -1, 1), 4.0)
    (0, -4, 4)
    """
    return tuple(round(offset * dose) for offset in support)


@register_probe("support_past", "time", "earlier neighbours only, in place of later ones", place="frames",
                fits=_needs_neighbours)  # fmt: skip
def past_only(support: tuple[int, ...], dose: float) -> tuple[int, ...]:
    """Later frames give way to the earlier ones as far away.

    >>> past_only((0, -2, -1, 1, 2), 0.0)
    (0, -2, -1, -1, -2)
    """
    return tuple(-abs(offset) for offset in support)


@register_probe("support_future", "time", "later neighbours only, in place of earlier ones", place="frames",
                fits=_needs_neighbours)  # fmt: skip
def future_only(support: tuple[int, ...], dose: float) -> tuple[int, ...]:
    """Earlier frames give way to the later ones as far away."""
    return tuple(abs(offset) for offset in support)


@register_probe("support_shuffled", "time", "neighbours of another clip of the same video", place="clips", seeded=True,
                fits=_needs_neighbours)  # fmt: skip
def shuffled(clips: Clips, sequence: Sequence, support: tuple[int, ...], dose: float, rows: Rows) -> Clips:
    """Another person's neighbours, cut at that person's box; of another time where there is nobody else."""
    if not len(clips):
        return clips
    index = np.array([frame.index for frame in sequence.frames])[clips.frame]
    random = rows(sequence, clips.frame, clips.person)
    donors = np.array([_donor(row, clips, index, random[row]) for row in range(len(clips))], dtype=np.int64)
    own = np.broadcast_to(np.arange(len(clips))[:, None], clips.support.shape)
    taken = np.broadcast_to(np.array(support) != 0, clips.support.shape)
    return replace(
        clips,
        support=np.where(taken, clips.support[donors], clips.support),
        cut_as=np.where(taken, donors[:, None], own),
    )


def _donor(row: int, clips: Clips, index: NDArray[np.int64], random: np.random.Generator) -> int:
    track = clips.track_ids[row]
    others = np.arange(len(clips)) != row
    somebody_else = others & (clips.track_ids != track) if track != NO_TRACK else others & (index != index[row])
    for wanted in (somebody_else, others & (abs(index - index[row]) >= _FAR), others):
        if wanted.any():
            return int(random.choice(np.flatnonzero(wanted)))
    return row
