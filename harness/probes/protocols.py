"""Protocols: a method as it is run, and as it might have been, one factor at a time or all of them crossed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from harness.errors import UsageError
from harness.grouping import build_grouping
from harness.methods import Preset, WholeFramePreset
from harness.probes.probe import probe_named
from harness.probes.studies import Cell, fitting, preset_of
from harness.request import Request

__all__ = ["FACTORS", "protocol_cells"]

#: One level of a factor: its name ("" for the method's own) and what it changes.
Level = tuple[str, Callable[[Request], Request]]


def protocol_cells(
    subject: Request,
    *,
    boxes: str | None = None,
    seed: int = 0,
    cross: bool = False,
    only: Collection[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> list[Cell]:
    """The untouched run and those under other protocols: boxes, flip test, decoder, crop path, precision.

    One factor at a time, or all of them crossed; of `only` these factors where some are named. `boxes` is a detector's
    file, if there is one. A method of whole frames is given no boxes, cuts no crops and has no codec: it has the rest.
    `tell` hears what is left out.
    """
    others = _Others(subject, preset_of(subject), boxes, seed, tell)
    own: Level = ("", lambda request: request)
    factors = [[own, *levels(others)] for name, levels in FACTORS.items() if not only or name in only]
    cells = [Cell(subject)]
    chosen = product(*factors) if cross else ([level] for levels in factors for level in levels[1:])
    for levels in chosen:
        request, names = subject, [name for name, _ in levels if name]
        for _, change in levels:
            request = change(request)
        if names:
            cells.append(Cell(request, ", ".join(names)))
    return cells


@dataclass(frozen=True)
class _Others:
    """What a subject might have been run with instead, by factor."""

    subject: Request
    preset: Preset
    detections: str | None
    seed: int
    tell: Callable[[str], None]

    def boxes(self) -> Iterator[Level]:
        names = ("boxes_jitter=0.05", "boxes_proposal=1", "boxes_detector=1")
        asked = [probe_named(text, seed=self.seed) for text in names]
        for probe in fitting(asked, self.subject, self.preset, self.tell):
            yield probe.title, _asking(probe=probe)
        if self.detections is not None and not isinstance(self.preset, WholeFramePreset):
            yield "detector boxes", _asking(boxes=self.detections)

    def flip(self) -> Iterator[Level]:
        preset, asked = self.preset, self.subject.flip
        if isinstance(preset, WholeFramePreset) and not build_grouping(preset.codec, preset.codec_options).mirrors:
            self.tell(f"method '{self.subject.method}': its persons have no partners in a mirrored frame: no flip test")
            return
        flip = preset.flip_test if asked is None else asked
        yield "no flip" if flip else "flip", _asking(flip=not flip)

    def decoder(self) -> Iterator[Level]:
        if isinstance(self.preset, WholeFramePreset):
            self.tell(f"method '{self.subject.method}': it has no decoder of crops")
            return
        names = _other_codecs(self.preset, self.subject.codec)
        if not names:
            self.tell(
                f"method '{self.subject.method}': codec '{self.preset.codec}' is the only one that reads its outputs"
            )
        for name in names:
            yield f"codec {name}", _asking(codec=name)

    def crops(self) -> Iterator[Level]:
        if isinstance(self.preset, WholeFramePreset):
            self.tell(f"method '{self.subject.method}': it cuts no crops")
            return
        other = "reference" if self.subject.crop_path == "device" else "device"
        yield f"{other} crops", _asking(crop_path=other)

    def precision(self) -> Iterator[Level]:
        other = "fp32" if self.subject.precision == "bf16" else "bf16"
        yield other, _asking(precision=other)


#: What of a protocol can be changed, and to what.
FACTORS: dict[str, Callable[[_Others], Iterator[Level]]] = {
    "boxes": _Others.boxes, "flip": _Others.flip, "decoder": _Others.decoder, "crops": _Others.crops,
    "precision": _Others.precision,
}  # fmt: skip


def _asking(**values: Any) -> Callable[[Request], Request]:
    return lambda request: replace(request, **values)


def _other_codecs(preset: Preset, chosen: str | None) -> list[str]:
    from harness.codecs import read_as

    found = []
    for name in ("heatmap", "dark", "udp"):
        try:
            read_as(preset, name)
        except UsageError:
            continue
        if name != (chosen or preset.codec):
            found.append(name)
    return found
