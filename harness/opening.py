"""Opening what a request names: data, boxes, method. Everything that is missing is found here, before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from harness.boxes import Boxes, whole_frames
from harness.datasets import DataSet, Frame, check_split, open_dataset
from harness.datasets.images import missing_images, without
from harness.errors import DataError, HarnessError, listed
from harness.inference import Ready, load_method
from harness.methods import WholeFramePreset, card_of
from harness.people import check_no_boxes, check_people, open_boxes
from harness.records import Partial
from harness.request import Request
from harness.video import Video, open_video, video_dataset

__all__ = ["Opened", "Progress", "open_request", "prepare"]

#: Called with (done, in all, of what); the clips of the run itself come without the last.
Progress = Callable[..., None]


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


def prepare(request: Request, *, scored: bool = False, progress: Progress | None = None) -> tuple[Ready, Opened]:
    """The loaded method and the opened data of a request; all that is missing is told at once, wrong names first.

    Data that are to be `scored` need labels.
    """
    preset = card_of(request.method, request.weights).preset(request.preset)[1]
    if request.probe is not None:
        request.probe.check(preset, method=request.method)
    check_split(request.dataset, request.split)
    problems: list[HarnessError] = []
    try:
        opened = open_request(
            request, needs_images=bool(preset.support), neighbours=bool(preset.box_offset or preset.recurrent),
            scored=scored, whole=isinstance(preset, WholeFramePreset), progress=progress,
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
    whole: bool = False,
    progress: Progress | None = None,
) -> Opened:
    """Open the data set and the boxes of a request, with those of frames not labelled for a method of `neighbours`.

    A method that takes `whole` frames is given these instead of boxes.
    Sequences without their images are an error, or left out when the request allows it.
    """
    if whole:
        check_no_boxes(request)
    else:
        check_people(request)
    if request.video is not None:
        video = open_video(request.video)
        dataset = video_dataset(video)
        if whole:
            return Opened(dataset, whole_frames(dataset), video=video)
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
        which = hashlib.sha256("\n".join(sorted(missing)).encode()).hexdigest()[:8]  # other ones make another run
        reasons.append(f"{len(missing)} sequences without images left out ({which})")
    if request.limit is not None and request.limit < len(dataset):
        reasons.append(f"first {request.limit} of {len(dataset)} sequences")
        dataset = replace(dataset, sequences=dataset.sequences[: request.limit])
    if scored and not any(len(sequence.truth) for sequence in dataset.sequences):
        raise DataError(
            f"{dataset.root}: nobody is labelled in the {len(dataset)} sequences to be scored; "
            "take another --split or --limit"
        )
    left_out = Partial("; ".join(reasons)) if reasons else None
    if whole:
        return Opened(dataset, whole_frames(dataset), None, left_out)
    boxes, recall = open_boxes(request, dataset, neighbours=neighbours)
    if request.probe is not None:
        boxes = request.probe.boxes(boxes, dataset)
    return Opened(dataset, boxes, recall, left_out)


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
