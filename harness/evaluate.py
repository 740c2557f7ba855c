"""The main job as one readable pipeline: data set -> boxes -> method -> predictions -> scores -> record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from harness.boxes import Boxes
from harness.datasets import DataSet, Frame, check_split, open_dataset
from harness.datasets.images import missing_images, without
from harness.errors import DataError, HarnessError, listed
from harness.inference import (
    ALONE,
    STAGES,
    Asked,
    Ranks,
    Ready,
    Settings,
    Timings,
    batch_spread,
    in_use,
    load_method,
    predict_together,
)
from harness.methods import card_of
from harness.people import afterwards, check_people, open_boxes
from harness.predictions import Predictions, write_parquet
from harness.records import Partial, PredictionsFile, RunRecord
from harness.request import Request, describe
from harness.results import Results, StoredRun, file_sha256
from harness.scoring.standard import score_run
from harness.video import Video, VideoFrames, open_video, video_dataset

__all__ = ["Evaluated", "Opened", "evaluate", "evaluate_together", "open_request", "prepare", "run_method"]

#: Called with (done, in all, of what); the clips of the run itself come without the last.
Progress = Callable[..., None]

_UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Opened:
    """The data and boxes of a request; `recall` of the boxes against the truth, `partial` why not all of the split.

    `video` is what the frames come from where they are no files.
    """

    dataset: DataSet
    boxes: Boxes
    recall: float | None = None
    partial: Partial | None = None
    video: Video | None = None


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
    plans = [_Plan(request, *prepare(request, progress=progress), results) for request in requests]
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
    for plan, (predictions, timings, repeatability) in zip(plans, answers, strict=ranks.first):
        draft = replace(plan.draft, repeatability=repeatability)
        record = _scored(draft, plan.opened.dataset, predictions, timings)
        plan.made = plan.results.save(record, predictions=_written(predictions, plan.unfinished))


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


def prepare(request: Request, *, scored: bool = False, progress: Progress | None = None) -> tuple[Ready, Opened]:
    """The loaded method and the opened data of a request; all that is missing is told at once, wrong names first.

    Data that are to be `scored` need labels.
    """
    preset = card_of(request.method, request.weights).preset(request.preset)[1]
    check_split(request.dataset, request.split)
    problems: list[HarnessError] = []
    try:
        opened = open_request(
            request, needs_images=bool(preset.support), neighbours=bool(preset.box_offset), scored=scored,
            progress=progress,
        )  # fmt: skip
    except HarnessError as problem:
        problems.append(problem)
    try:
        ready = load_method(
            request.method, preset=request.preset, weights=request.weights, codec=request.codec,
            outputs=request.outputs,
        )  # fmt: skip
    except HarnessError as problem:
        problems.append(problem)
    if problems:
        raise type(problems[0])("\n         ".join(str(problem) for problem in problems)) from None
    return ready, opened


def open_request(
    request: Request,
    *,
    needs_images: bool,
    neighbours: bool = False,
    scored: bool = False,
    progress: Progress | None = None,
) -> Opened:
    """Open the data set and the boxes of a request, with those of frames not labelled for a method of `neighbours`.

    Sequences without their images are an error, or left out when the request allows it.
    """
    check_people(request)
    if request.video is not None:
        video = open_video(request.video)
        dataset = video_dataset(video)
        return Opened(dataset, open_boxes(request, dataset, neighbours=neighbours)[0], video=video)
    drawing = partial(progress, detail="frames of the embedded data drawn") if progress else None
    dataset = open_dataset(request.dataset, request.split, root=request.data_root, progress=drawing)
    if scored and not dataset.has_labels:
        raise DataError(
            f"{dataset.root}: {dataset.name} {dataset.split} has no public labels and cannot be scored here; "
            "export a submission instead: harness predict --boxes FILE, then harness export --predictions"
        )
    reasons = []
    if (needs_images or request.allow_missing_frames) and (missing := missing_images(dataset)):
        dataset = _without_missing(request, dataset, missing)
        reasons.append(f"{len(missing)} sequences without images left out")
    if request.limit is not None and request.limit < len(dataset):
        reasons.append(f"first {request.limit} of {len(dataset)} sequences")
        dataset = replace(dataset, sequences=dataset.sequences[: request.limit])
    left_out = Partial("; ".join(reasons)) if reasons else None
    boxes, recall = open_boxes(request, dataset, neighbours=neighbours)
    return Opened(dataset, boxes, recall, left_out)


def run_method(
    request: Request, ready: Ready, opened: Opened, *, shards: Path | None, progress: Progress | None = None
) -> tuple[Predictions, Timings]:
    """Predict as the request says; finished sequences are kept in `shards`, as they were found."""
    return run_methods([(request, ready, opened, shards)], progress=progress)[0][:2]


def run_methods(
    plans: list[tuple[Request, Ready, Opened, Path | None]], *, progress: Progress | None = None, ranks: Ranks = ALONE
) -> list[tuple[Predictions, Timings, dict[str, Any]]]:
    """Poses, timings and repeatability of requests for the same data; nothing on any rank but the first."""
    request, _, opened, _ = plans[0]
    settings = Settings(
        batch_size=request.batch_size, device=request.device, precision=request.precision, crop_path=request.crop_path,
        fold=request.fold, deterministic=request.deterministic, keep_going=request.keep_going,
    )  # fmt: skip
    asked = [Asked(ready.method, opened.boxes, request.flip, shards) for request, ready, opened, shards in plans]
    read = VideoFrames(opened.video.path) if opened.video else None
    found = predict_together(asked, opened.dataset, settings=settings, progress=progress, read=read, ranks=ranks)
    answers = []
    for item, (request, ready, opened, _), (predictions, timings) in zip(asked, plans, found, strict=ranks.first):
        spread = batch_spread(
            item, opened.dataset, predictions, settings=settings, batch_size=timings.batch_size, read=read
        )
        final = afterwards(request, predictions, opened.dataset, crop=ready.method.preset.crop)
        repeatability = {"deterministic": settings.deterministic, "folded": settings.fold, "spread": spread}
        answers.append((final, timings, repeatability))
    return answers


def _without_missing(request: Request, dataset: DataSet, missing: dict[str, list[Frame]]) -> DataSet:
    names = listed([f"{name} ({len(frames)} of its frames)" for name, frames in missing.items()])
    if not request.allow_missing_frames:
        raise DataError(
            f"{dataset.root}: {len(missing)} of {len(dataset)} sequences lack images: {names}; "
            "complete them, or leave these sequences out with --allow-missing-frames"
        )
    if len(missing) == len(dataset):
        raise DataError(f"{dataset.root}: no sequence of {dataset.name} {dataset.split} has its images: {names}")
    return without(dataset, missing)


def _scored(draft: RunRecord, dataset: DataSet, predictions: Predictions, timings: Timings) -> RunRecord:
    scores = score_run(dataset, predictions)
    cost = replace(
        draft.cost,
        seconds={stage: round(getattr(timings, stage), 4) for stage in STAGES},
        clips=timings.clips,
        frames=timings.frames,
        clips_per_second=timings.clips / timings.wall if timings.clips else None,
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
