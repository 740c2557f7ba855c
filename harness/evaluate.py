"""The main job as one readable pipeline: data set -> boxes -> method -> predictions -> scores -> record."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.datasets import DataSet
from harness.datasets.images import image_hashes
from harness.errors import DataError, HarnessError
from harness.inference import ALONE, STAGES, Ranks, Ready, Timings, in_use, multiply_adds_of
from harness.opening import Opened, Progress, prepare
from harness.predictions import Predictions, write_parquet
from harness.records import PredictionsFile, RunRecord
from harness.request import Request, describe
from harness.results import Results, StoredRun, file_sha256
from harness.running import run_methods
from harness.scoring.standard import score_run

__all__ = ["Evaluated", "evaluate", "evaluate_together"]

_UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Evaluated:
    """A stored run, and whether it was found in the store rather than made now."""

    run: StoredRun
    reused: bool


def evaluate(
    request: Request, results: Results, *, overwrite: str = "missing", progress: Progress | None = None
) -> Evaluated:
    """Answer a request from the store, or run it, score it and store the record with its predictions.

    A run that was interrupted continues with the sequences that are not finished. `overwrite` "missing" runs what is
    missing or damaged, "always" everything again, "never" nothing where there is a record. Raises the kinds of
    HarnessError; everything missing (weights, images, boxes) is found before the first frame is read.
    """
    return evaluate_together([request], results, overwrite=overwrite, progress=progress)[0]


def evaluate_together(
    requests: list[Request],
    results: Results,
    *,
    overwrite: str = "missing",
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> list[Evaluated]:
    """Several methods on the same data in one pass over its frames; each answer as `evaluate` gives it.

    Among several ranks the first decides what has to run, scores and stores; the others return nothing.
    """
    plans = [_Plan(request, *prepare(request, scored=True, progress=progress), results) for request in requests]
    with ExitStack() as stack:
        left = [plan for plan in plans if plan.opened_for_work(stack, overwrite, ranks)]
        for group in _of_the_same_data(left):
            _run(group, progress, ranks.named("+".join(plan.draft.id for plan in group)))
    return [Evaluated(plan.stored(), plan.made is None) for plan in plans] if ranks.first else []


def _run(plans: list[_Plan], progress: Progress | None, ranks: Ranks) -> None:
    """Run requests for the same data in one pass, score and store them."""
    answers = run_methods(
        [(plan.request, plan.ready, plan.opened, plan.unfinished) for plan in plans], progress=progress, ranks=ranks
    )
    images = _images(plans) if ranks.first else {}
    for plan, (predictions, timings, repeatability) in zip(plans, answers, strict=ranks.first):
        cost = replace(plan.draft.cost, multiply_adds=multiply_adds_of(plan.ready.method))
        data = plan.draft.dataset
        data = data if data.images_fingerprint is None else replace(data, images=images)
        draft = replace(plan.draft, dataset=data, repeatability=repeatability, cost=cost)
        record = _scored(draft, plan.opened.dataset, predictions, timings)
        plan.made = plan.results.save(record, predictions=_written(predictions, plan.unfinished))


def _images(plans: list[_Plan]) -> dict[str, str]:
    """What was in the images that runs on the same sequences have looked at; nothing where none did."""
    seeing = any(plan.draft.dataset.images_fingerprint is not None for plan in plans)
    return image_hashes(plans[0].opened.dataset) if seeing else {}


def _of_the_same_data(plans: list[_Plan]) -> list[list[_Plan]]:
    """Requests grouped by their sequences, some of which a method that needs images may have to leave out."""
    groups: dict[tuple[str, ...], list[_Plan]] = {}
    for plan in plans:
        names = tuple(sequence.name for sequence in plan.opened.dataset.sequences)
        groups.setdefault((plan.opened.dataset.fingerprint, *names), []).append(plan)
    return list(groups.values())


@dataclass
class _Plan:
    """A request that is ready to run, and the run that was made of it."""

    request: Request
    ready: Ready
    opened: Opened
    results: Results
    made: StoredRun | None = None

    @cached_property
    def draft(self) -> RunRecord:
        """The record before anything has run."""
        opened = self.opened
        return describe(
            self.request, self.ready, opened.dataset, opened.boxes, recall=opened.recall, partial=opened.partial
        )

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, split and id of the run."""
        return self.draft.dataset.name, self.draft.dataset.split, self.draft.id

    @property
    def unfinished(self) -> Path:
        """Where finished sequences are kept until the run is stored."""
        return self.results.folder(*self.place) / _UNFINISHED

    def opened_for_work(self, stack: ExitStack, overwrite: str, ranks: Ranks) -> bool:
        """Whether it has to run; if so, its folder is marked as in use until the stack is left."""
        ranks = ranks.named(self.draft.id)

        def decide() -> int:
            if overwrite != "always" and not self._missing(overwrite):
                if self.unfinished.is_dir():  # of a run that was killed after it had stored its record
                    with in_use(self.unfinished):
                        return 0
                return 0
            stack.enter_context(in_use(self.unfinished, emptied=overwrite == "always"))
            return 1

        needed = bool(ranks.decided("run", decide))
        if needed and not ranks.first:
            stack.enter_context(in_use(self.unfinished))
        return needed

    def stored(self) -> StoredRun:
        """The run that answers the request."""
        found = self.made or self.results.existing(*self.place)
        if found is None:
            raise HarnessError(f"{self.results.folder(*self.place)}: the record has gone; give the same command again")
        if self.request.label and found.record.label != self.request.label:
            found = self.results.relabel(found, self.request.label)
        return found

    def _missing(self, overwrite: str) -> bool:
        """Whether there is no record, or (for "missing") one that is damaged or has lost its predictions."""
        try:
            stored = self.results.existing(*self.place)
        except DataError:
            if overwrite == "never":
                raise
            return True
        if stored is None or overwrite == "never":
            return stored is None
        named, path = stored.record.predictions, stored.predictions_path
        return named is not None and path is not None and not (path.is_file() and file_sha256(path) == named.sha256)


def _scored(draft: RunRecord, dataset: DataSet, predictions: Predictions, timings: Timings) -> RunRecord:
    scores = score_run(dataset, predictions)
    cost = replace(
        draft.cost,
        seconds={stage: round(getattr(timings, stage), 4) for stage in STAGES},
        clips=timings.clips + timings.beside,
        frames=timings.frames,
        clips_per_second=timings.clips / timings.wall if timings.clips and not timings.beside else None,
    )
    used = draft.inference and replace(draft.inference, batch_size=timings.batch_size)
    return replace(
        draft, inference=used, cost=cost, scores=scores.entries, scoring=scores.facts,
        warnings=(*draft.warnings, *scores.warnings),
        predictions=PredictionsFile("predictions.parquet", "", len(predictions)),
    )  # fmt: skip


def _written(predictions: Predictions, folder: Path) -> Path:
    path = folder / "predictions.parquet"
    write_parquet(predictions, path)
    return path
