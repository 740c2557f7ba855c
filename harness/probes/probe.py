"""A probe as it is asked for: a card with a dose, a part and a seed, which the engine lets intervene."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UsageError
from harness.methods import WholeFramePreset
from harness.probes.registry import ProbeCard, probe_cards
from harness.probes.subjects import generators, subjects_of

if TYPE_CHECKING:
    import torch

    from harness.boxes import Boxes
    from harness.clips import Clips
    from harness.datasets.sequences import DataSet, Sequence
    from harness.inference.loaded import Loaded
    from harness.inference.work import SequenceWork
    from harness.methods import Preset
    from harness.probes.registry import Rows

__all__ = ["Probe", "key_places", "probe_named"]

_TEXT = re.compile(r"(?P<name>[a-z_0-9]+)(@(?P<part>[a-z_]+))?(=(?P<dose>[^=@\s]+))?")


@dataclass(frozen=True)
class Probe:
    """One intervention. `dose` is 0 for a card without doses.

    >>> str(probe_named("key_cutout=0.1")), probe_named("key_noise=40", seed=3).label
    ('key_cutout@wrist=0.1', 'key_noise=40 seed 3')
    """

    card: ProbeCard
    dose: float = 0.0
    part: str = ""
    seed: int = 0

    def __str__(self) -> str:
        part = f"@{self.part}" if self.part else ""
        dose = repr(self.dose).removesuffix(".0")  # every digit: another dose is another probe
        return f"{self.card.name}{part}={dose}" if self.card.doses else f"{self.card.name}{part}"

    @property
    def title(self) -> str:
        """Its name in tables, in which the first seed, 0, goes without saying."""
        return f"{self} seed {self.seed}" if self.card.seeded and self.seed else str(self)

    @property
    def label(self) -> str:
        """Everything that decides what it does."""
        seed = f" seed {self.seed}" if self.card.seeded else ""
        return f"{self}{seed}" + (f" version {self.card.version}" if self.card.version > 1 else "")

    def check(self, preset: Preset, *, method: str) -> None:
        """Raise UsageError where there is nothing in a method that the probe could change."""
        reason = self.card.fits(preset) if self.card.fits else ""
        if self.card.picture and not preset.support:
            reason = "it looks at no frame"
        if preset.recurrent:
            reason = "it carries what it saw along tracks, so that there is no clip to probe; take another preset"
        if isinstance(preset, WholeFramePreset):
            reason = "it takes whole frames, and probes change crops and boxes"
        if reason:
            raise UsageError(f"probe '{self.card.name}' has nothing to change for method '{method}': {reason}")

    def prepared(self, method: Loaded) -> Loaded:
        """The method as it is."""
        return method

    def boxes(self, boxes: Boxes, dataset: DataSet) -> Boxes:
        """The boxes to look at."""
        return self.card.boxes(boxes, dataset, self.dose, self._rows) if self.card.boxes else boxes

    def offsets(self, support: tuple[int, ...]) -> tuple[int, ...]:
        """The frames to show."""
        return self.card.frames(support, self.dose) if self.card.frames else support

    def clips(self, clips: Clips, sequence: Sequence, support: tuple[int, ...]) -> Clips:
        """The clips to show."""
        return self.card.clips(clips, sequence, support, self.dose, self._rows) if self.card.clips else clips

    def crops(self, work: SequenceWork, part: slice, crops: torch.Tensor) -> torch.Tensor:
        """The crops of a batch, those of the key frame changed."""
        shown = key_places(work.clips, work.sequence)[part]
        if self.card.picture is None or not shown.any():
            return crops
        import torch

        pictures = crops.cpu().numpy()
        random = self._rows(work.sequence, work.clips.frame[part], work.clips.person[part])
        moving = self.card.name == "key_motion_blur"
        subjects = subjects_of(work, part, random, body_part=self.part, moving=moving)
        for row, subject in enumerate(subjects):
            places = np.flatnonzero(shown[row])
            if len(places):
                pictures[row, places] = self.card.picture(pictures[row, places[0]], subject, self.dose)
        return torch.from_numpy(pictures).to(crops.device)

    @property
    def _rows(self) -> Rows:
        return partial(generators, self.seed, self.card.name)


def key_places(clips: Clips, sequence: Sequence) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(N,T) where a clip shows its key frame, be it in the place of a frame beyond the ends of the video."""
    number = {path: place for place, path in enumerate(clips.images)}
    key = np.array([number.get(sequence.frames[frame].image, -1) for frame in clips.frame.tolist()], dtype=np.int64)
    shown: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = clips.support == key[:, None]
    return shown


def probe_named(text: str, *, seed: int = 0) -> Probe:
    """The probe that a text names: `name`, `name=dose` or `name@part=dose`; the middle dose where none is given.

    Raises UsageError for an unknown name or part, and for a dose that is none.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"'{text}' names no probe; write name, name=strength or name@part=strength: key_blur=4")
    card = probe_cards[found["name"]]
    part = found["part"] or card.part
    if part and part not in card.parts:
        known = ", ".join(card.parts) or "no parts"
        raise UsageError(f"probe '{card.name}' has no part '{part}'; it has {known}")
    return Probe(card, _dose(card, found["dose"], text), part, seed)


def _dose(card: ProbeCard, given: str | None, text: str) -> float:
    if not card.doses:
        if given is not None:
            raise UsageError(f"probe '{card.name}' has no strength; write '{card.name}' alone")
        return 0.0
    try:
        dose = card.doses[len(card.doses) // 2] if given is None else float(given)
    except ValueError:
        dose = -1.0
    if not 0 < dose <= card.most or (card.integral and not dose.is_integer()):
        kind = "whole number" if card.integral else "strength"
        raise UsageError(f"probe '{text}': expected a {kind} above 0 and at most {card.most:g}, in {card.unit}")
    return dose
