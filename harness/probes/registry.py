"""Probes by name: one small pure function each, with the strengths it is usually asked at."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.registry import Registry, load_plugins

if TYPE_CHECKING:
    from harness.boxes import Boxes
    from harness.clips import Clips
    from harness.datasets.sequences import DataSet, Sequence
    from harness.methods import Preset
    from harness.probes.subjects import Subject

__all__ = ["KINDS", "ProbeCard", "Rows", "probe_cards", "register_probe"]

Picture = NDArray[np.uint8]

#: What a probe asks: about the key frame, about the use of time, about the boxes.
KINDS = ("keyframe", "time", "boxes")

#: (sequence, rows) -> a generator per row, the same whatever the batch.
Rows = Callable[["Sequence", NDArray[np.int64], NDArray[np.int64]], list[np.random.Generator]]


@dataclass(frozen=True)
class ProbeCard:
    """A probe and exactly one of the four places it may reach into.

    `picture(crop (H,W,3), subject, dose)` gives the crop of the key frame as it is shown; `frames(support, dose)` the
    offsets of the frames that are shown; `clips(clips, sequence, support, dose, rows)` the clips of a sequence;
    `boxes(boxes, dataset, dose, rows)` the boxes. `doses` are the usual strengths in `unit`, none for a probe that has
    no strength, up to `most`, whole numbers if `integral`; `part` is what it looks at unless another of `parts` is
    named; `seeded` probes draw random numbers.
    A change of what a probe does raises `version`, so that old records are not taken for answers.
    """

    name: str
    kind: str
    summary: str
    unit: str = ""
    doses: tuple[float, ...] = ()
    most: float = 1000.0
    integral: bool = False
    part: str = ""
    parts: tuple[str, ...] = ()
    seeded: bool = False
    whole: bool = False
    version: int = 1
    picture: Callable[[Picture, Subject, float], Picture] | None = None
    frames: Callable[[tuple[int, ...], float], tuple[int, ...]] | None = None
    clips: Callable[[Clips, Sequence, tuple[int, ...], float, Rows], Clips] | None = None
    boxes: Callable[[Boxes, DataSet, float, Rows], Boxes] | None = None
    fits: Callable[[Preset], str] | None = None


def _load_built_in() -> None:
    for name in ("key_frame", "support", "people"):
        importlib.import_module(f"harness.probes.{name}")


probe_cards: Registry[ProbeCard] = Registry("probe", before_lookup=_load_built_in, before_miss=load_plugins)


def register_probe(name: str, kind: str, summary: str, **given: object) -> Callable[[Callable[..., object]], object]:
    """Decorate the function of a probe: `place` says which field of the card it is, the rest are fields of the card."""
    place = str(given.pop("place"))

    def keep(function: Callable[..., object]) -> object:
        fields: Mapping[str, object] = {**given, place: function}
        probe_cards.add(name, ProbeCard(name, kind, summary, **fields))  # type: ignore[arg-type]
        return function

    return keep
