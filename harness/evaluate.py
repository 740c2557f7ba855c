"""The main job as one readable pipeline: data set -> boxes -> method -> predictions -> scores -> record."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.boxes import Boxes
from harness.datasets import DataSet, Frame, check_split, open_dataset
from harness.datasets.images import missing_images, without
from harness.errors import DataError, HarnessError, listed
from harness.inference import Ready, Settings, Timings, load_method, predict
from harness.methods import methods
from harness.people import afterwards, check_people, open_boxes
from harness.predictions import Predictions, write_parquet
from harness.records import Partial, PredictionsFile, RunRecord
from harness.request import Request, describe
from harness.results import Results, StoredRun
from harness.scoring.standard import score_run
from harness.video import Video, VideoFrames, open_video, video_dataset

__all__ = ["Evaluated", "Opened", "evaluate", "open_request", "prepare", "run_method"]

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
    request: Request, results: Results, *, overwrite: bool = False, progress: Progress | None = None
) -> Evaluated:
    """Answer a request from the store, or run it, score it and store the record with its predictions.

    A run that was interrupted continues with the sequences that are not finished. Raises the kinds of HarnessError;
    everything missing (weights, images, boxes) is found before the first frame is read.
    """
    ready, opened = prepare(request, scored=True, progress=progress)
    draft = describe(request, ready, opened.dataset, opened.boxes, recall=opened.recall, partial=opened.partial)
    place = (draft.dataset.name, draft.dataset.split, draft.id)
    if not overwrite and (stored := results.existing(*place)) is not None:
        return Evaluated(stored, reused=True)
    unfinished = results.folder(*place) / _UNFINISHED
    if overwrite:
        shutil.rmtree(unfinished, ignore_errors=True)
    predictions, timings = run_method(request, ready, opened, shards=unfinished, progress=progress)
    run = results.save(
        _scored(draft, opened.dataset, predictions, timings), predictions=_written(predictions, unfinished)
    )
    shutil.rmtree(unfinished, ignore_errors=True)
    return Evaluated(run, reused=False)


def prepare(request: Request, *, scored: bool = False, progress: Progress | None = None) -> tuple[Ready, Opened]:
    """The loaded method and the opened data of a request; all that is missing is told at once, wrong names first.

    Data that are to be `scored` need labels.
    """
    preset = methods[request.method].preset(request.preset)[1]
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
        ready = load_method(request.method, preset=request.preset, weights=request.weights, codec=request.codec)
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
    if needs_images and (missing := missing_images(dataset)):
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
    predictions, timings = predict(
        ready.method, opened.dataset, opened.boxes, flip=request.flip, shards=shards, progress=progress,
        settings=Settings(batch_size=request.batch_size, device=request.device, precision=request.precision),
        read=VideoFrames(opened.video.path) if opened.video else None,
    )  # fmt: skip
    return afterwards(request, predictions, opened.dataset, crop=ready.method.preset.crop), timings


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
    stages = ("read", "crop", "wait", "forward", "decode", "write", "wall")
    cost = replace(
        draft.cost,
        seconds={stage: round(getattr(timings, stage), 4) for stage in stages},
        clips=timings.clips,
        frames=timings.frames,
        clips_per_second=timings.clips / timings.wall if timings.clips else None,
    )
    return replace(
        draft, cost=cost, scores=scores.entries, scoring=scores.facts,
        warnings=(*draft.warnings, *scores.warnings),
        predictions=PredictionsFile("predictions.parquet", "", len(predictions)),
    )  # fmt: skip


def _written(predictions: Predictions, folder: Path) -> Path:
    path = folder / "predictions.parquet"
    write_parquet(predictions, path)
    return path
