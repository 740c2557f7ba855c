"""Studies: which runs answer a question, and what came of them against the untouched runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from harness.errors import UsageError
from harness.evaluate import evaluate_together
from harness.grouping import build_grouping
from harness.methods import Preset, WholeFramePreset, card_of
from harness.opening import Progress
from harness.probes.changes import Judge, with_rows
from harness.probes.probe import Probe, probe_named
from harness.probes.registry import probe_cards
from harness.report.probe_rows import rows_of
from harness.request import Request
from harness.results import Results, StoredRun

__all__ = ["Answer", "Cell", "protocol_cells", "run_cells", "study_cells", "subject_named"]

CONTROL = "copy_previous"


@dataclass(frozen=True)
class Cell:
    """One run of a study: what is asked, and its name in tables; the untouched run has the name ""."""

    request: Request
    name: str = ""


@dataclass(frozen=True)
class Answer:
    """A cell that was run, with its untouched run and the rows of what changed."""

    cell: Cell
    run: StoredRun
    untouched: StoredRun

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """What changed against the untouched run."""
        return tuple(
            row for row in rows_of(self.run.record) if row["what"] == "change" and row["against"] == self.untouched.id
        )


def subject_named(text: str, shared: Request) -> Request:
    """The request for `NAME`, `NAME:PRESET` or `NAME:PRESET=WEIGHTS` (also `NAME=WEIGHTS`).

    >>> found = subject_named("dual_stream:tiny-token=mine.safetensors", Request("", split="val"))
    >>> found.method, found.preset, found.weights
    ('dual_stream', 'tiny-token', 'mine.safetensors')
    """
    named, _, weights = text.partition("=")
    name, _, preset = named.partition(":")
    return replace(shared, method=name, preset=preset or shared.preset, weights=weights or shared.weights)


def study_cells(
    kind: str,
    subject: Request,
    *,
    asked: Sequence[str] = (),
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Cell]:
    """The untouched run of a method and its probed ones: those `asked` for, else all of the kind at their usual doses.

    A method that never sees the key frame, or only where it stands in at the ends of a video, is probed at the
    strongest dose that leaves nothing of it: what it then loses it had from there. `tell` hears what is left out; where
    that is everything, the method is not run at all.
    """
    preset = _preset(subject)
    probes = [probe_named(text, seed=seed) for text in asked] or list(_usual(kind, preset, seed))
    cells = [Cell(replace(subject, probe=probe), str(probe)) for probe in _fitting(probes, subject, preset, tell)]
    return [Cell(subject), *cells] if cells else []


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
    """
    factors = [levels for name, levels in _factors(subject, boxes, seed, tell).items() if not only or name in only]
    cells = [Cell(subject)]
    chosen = product(*factors) if cross else ([level] for levels in factors for level in levels[1:])
    for levels in chosen:
        request, names = subject, [name for name, _ in levels if name]
        for _, change in levels:
            request = change(request)
        if names:
            cells.append(Cell(request, ", ".join(names)))
    return cells


def run_cells(
    cells: Sequence[Cell],
    store: Results,
    judge: Judge,
    *,
    together: bool = True,
    overwrite: str = "missing",
    progress: Progress | None = None,
) -> Iterator[Answer]:
    """Run all cells, then compare each with the untouched run of its method, which comes before it.

    `together` is one pass over the frames for all; cells of different settings (precision, crop path) need their own.
    """
    requests = [cell.request for cell in cells]
    passes = [requests] if together else [[request] for request in requests]
    done = [
        answer for some in passes for answer in evaluate_together(some, store, overwrite=overwrite, progress=progress)
    ]
    untouched: StoredRun | None = None
    for cell, answer in zip(cells, done, strict=True):
        if not cell.name:
            untouched = answer.run
            continue
        assert untouched is not None  # noqa: S101
        rows = judge.changed(untouched, answer.run, what="change")
        yield Answer(cell, with_rows(store, answer.run, rows, facts={"cell": cell.name}), untouched)


Change = Callable[[Request], Request]


def _factors(
    subject: Request, boxes: str | None, seed: int, tell: Callable[[str], None]
) -> dict[str, list[tuple[str, Change]]]:
    """Factor -> its levels, (name, what it changes), the method's own first and without a name."""
    own: tuple[str, Change] = ("", lambda request: request)
    preset = _preset(subject)

    def setting(name: str, **values: object) -> tuple[str, Change]:
        return name, lambda request: replace(request, **values)

    whole = isinstance(preset, WholeFramePreset)
    asked = [probe_named(text, seed=seed) for text in ("boxes_jitter=0.05", "boxes_proposal=1", "boxes_detector=1")]
    people = [setting(str(probe), probe=probe) for probe in _fitting(asked, subject, preset, tell)]
    if boxes is not None and not whole:
        people.append(setting("detector boxes", boxes=boxes))
    flip = preset.flip_test if subject.flip is None else subject.flip
    decoders = [] if whole else [setting(f"codec {name}", codec=name) for name in _other_codecs(preset, subject.codec)]
    flips = [setting("no flip" if flip else "flip", flip=not flip)]
    if isinstance(preset, WholeFramePreset) and not build_grouping(preset.codec, preset.codec_options).mirrors:
        tell(f"method '{subject.method}': its persons have no partners in a mirrored frame: no flip test")
        flips = []
    if not decoders and not whole:
        tell(f"method '{subject.method}': codec '{preset.codec}' is the only one that reads its outputs")
    return {
        "boxes": [own, *people],
        "flip": [own, *flips],
        "decoder": [own, *decoders],
        "crops": [own] if whole else [own, setting("device crops", crop_path="device")],
        "precision": [own, setting("bf16", precision="bf16")],
    }


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


def _fitting(probes: Iterable[Probe], subject: Request, preset: Preset, tell: Callable[[str], None]) -> Iterator[Probe]:
    """Those that have something to change in a method; `tell` hears of each kind of the others once, and why."""
    told = set()
    for probe in probes:
        try:
            probe.check(preset, method=subject.method)
        except UsageError as reason:
            if str(reason) not in told:
                tell(str(reason))
            told.add(str(reason))
            continue
        yield probe


def _usual(kind: str, preset: Preset, seed: int) -> Iterator[Probe]:
    blind = 0 not in preset.support
    for name in probe_cards:
        card = probe_cards[name]
        if card.kind != kind or (blind and card.picture is not None and not card.whole):
            continue
        doses = card.doses[-1:] if blind and card.picture is not None else card.doses or (0.0,)
        yield from (Probe(card, dose, card.part, seed) for dose in doses)


def _preset(subject: Request) -> Preset:
    return card_of(subject.method, subject.weights).preset(subject.preset)[1]
