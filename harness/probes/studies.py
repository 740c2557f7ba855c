"""Studies: which runs answer a question, and what came of them against the untouched runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UsageError
from harness.evaluate import evaluate, evaluate_together
from harness.methods import Preset, card_of
from harness.opening import Progress
from harness.probes.changes import Judge, with_rows
from harness.probes.probe import Probe, probe_named
from harness.probes.registry import probe_cards
from harness.report.probe_rows import rows_of
from harness.request import Request
from harness.results import Results, StoredRun

__all__ = [
    "Answer", "Cell", "compared", "fitting", "preset_of", "run_cells", "study_cells", "subject_named",
    "with_predictions",
]  # fmt: skip

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
    preset = preset_of(subject)
    probes = [probe_named(text, seed=seed) for text in asked] or list(_usual(kind, preset, seed))
    for probe in probes:
        if kind and probe.card.kind != kind:
            raise UsageError(f"probe '{probe}' asks about {probe.card.kind}, not about {kind}; leave out --kind {kind}")
    cells = [Cell(replace(subject, probe=probe), probe.title) for probe in fitting(probes, subject, preset, tell)]
    return [Cell(subject), *cells] if cells else []


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
        asked = Answer(cell, answer.run, untouched)
        if overwrite != "never" and not judge.known(untouched, asked.run, what="change"):
            asked = with_predictions(asked, store, judge)
        yield compared(asked, store, judge)


def compared(answer: Answer, store: Results, judge: Judge) -> Answer:
    """An answer whose record holds what changed against the untouched run."""
    rows = judge.changed(answer.untouched, answer.run, what="change")
    return replace(answer, run=with_rows(store, answer.run, rows, facts={"cell": answer.cell.name}))


def with_predictions(answer: Answer, store: Results, judge: Judge) -> Answer:
    """The answer with the predictions of its run, which are made again where they were dropped.

    The record keeps its label, and what was found of it if the poses are the same; of others that is found anew.
    """
    old = answer.run.record
    if old.predictions is None or old.predictions.kept:
        return answer
    again = evaluate(answer.cell.request, store, overwrite="always").run
    same = again.record.predictions == replace(old.predictions, kept=True)
    findings = old.findings if same else {}
    run = store.amend(again, lambda record: replace(record, findings=findings, label=old.label))
    return compared(replace(answer, run=run), store, judge)


def fitting(probes: Iterable[Probe], subject: Request, preset: Preset, tell: Callable[[str], None]) -> Iterator[Probe]:
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


def preset_of(subject: Request) -> Preset:
    """The preset that a request asks for."""
    return card_of(subject.method, subject.weights).preset(subject.preset)[1]
