"""The engine: data set and boxes in, predictions out. Every frame is decoded once, however many people and methods."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from harness.datasets.sequences import DataSet
from harness.errors import UsageError
from harness.inference.compiling import check_compiler
from harness.inference.control import hands_out_backbone
from harness.inference.frame_task import FRAME_SCORE_RULE, FrameTask, check_frames
from harness.inference.layout import deterministic, threads_laid_out
from harness.inference.loaded import check_precision, choose_device
from harness.inference.merging import merged, share_out
from harness.inference.ranks import ALONE, Ranks
from harness.inference.reading import CROP_PATHS, Read
from harness.inference.settings import USUAL, Asked, Settings
from harness.inference.shards import Shards, sequences_together
from harness.inference.task import Task, placed
from harness.inference.timings import Timings
from harness.inference.walk import Progress, Walk
from harness.methods import WholeFramePreset
from harness.predictions import Predictions

if TYPE_CHECKING:
    from harness.boxes import Boxes
    from harness.inference.loaded import Loaded

__all__ = ["SCORE_RULE", "predict", "predict_together"]

#: How the score of a joint is made; part of every record.
SCORE_RULE = "decoded score x box score"


def predict(
    method: Loaded,
    dataset: DataSet,
    boxes: Boxes,
    *,
    flip: bool | None = None,
    shards: Path | None = None,
    settings: Settings = USUAL,
    progress: Progress | None = None,
    read: Read | None = None,
) -> tuple[Predictions, Timings]:
    """The poses of every box, ordered by sequence, frame and box.

    `flip` None takes the preset's choice. With `shards` every finished sequence is a file in that folder, and the same
    request continues from there. `read` gives the BGR picture of an image path where the frames are no files. Raises
    DataError for unusable images or boxes, UsageError for a device, precision or shard folder that does not fit,
    HarnessError where the network gives no numbers.
    """
    asked = Asked(method, boxes, flip, shards)
    return predict_together([asked], dataset, settings=settings, progress=progress, read=read)[0]


def predict_together(
    asked: list[Asked],
    dataset: DataSet,
    *,
    settings: Settings = USUAL,
    progress: Progress | None = None,
    read: Read | None = None,
    ranks: Ranks = ALONE,
) -> list[tuple[Predictions, Timings]]:
    """Several methods in one pass over the frames: the poses and timings of each, as `predict` gives them.

    Frames are decoded once, and crops that agree are cut once. Among several ranks each takes the next sequence as it
    is done with one, and the first returns all poses; the others return nothing.
    """
    if ranks.size > 1 and any(item.shards is None for item in asked):
        raise UsageError("several ranks need a folder for finished sequences, which each can see")
    with threads_laid_out(ranks.here), deterministic(settings.deterministic):
        tasks = [_task(item, dataset, settings, ranks.named(str(number))) for number, item in enumerate(asked)]
        controls = _controls(asked, tasks)
        for task in tasks:
            task.set_up()
        started = perf_counter()
        try:
            Walk(tasks, dataset, settings, read, progress, controls).run(ranks.shared(_order(tasks, dataset, ranks)))
        finally:
            for task in (*(tasks[place] for place in controls.values()), *tasks):  # a control first, as everywhere
                task.shards.flush()
        share_out(tasks, perf_counter() - started)
    return merged(tasks, dataset, ranks)


def _task(asked: Asked, dataset: DataSet, settings: Settings, ranks: Ranks) -> Task:
    """The method on its device, with a batch size that every rank and every resumed run shares."""
    device = choose_device(settings.device)
    check_precision(settings.precision, device)
    check_compiler(settings.compiler, device)
    if settings.crop_path not in CROP_PATHS:
        raise UsageError(f"unknown crop path '{settings.crop_path}'; known: {', '.join(CROP_PATHS)}")
    if asked.probe is not None and asked.method.preset.recurrent:
        raise UsageError(
            f"preset '{asked.method.preset_name}' of method '{asked.method.card.name}' carries what it saw along "
            "tracks, so that there is no clip to probe; take the preset without recurrence"
        )
    method = placed(asked.method, device, fold=settings.fold)
    kind = Task
    if isinstance(method.preset, WholeFramePreset):
        check_frames(method, plain=asked.probe is None and not settings.fold and settings.crop_path == CROP_PATHS[0])
        kind = FrameTask
    task = kind(
        method, asked.boxes, Shards(None, dataset, {}), device, settings.batch_size or kind.usual_batch,
        precision=settings.precision, flip=method.preset.flip_test if asked.flip is None else asked.flip,
        missing=settings.missing, crop_path=settings.crop_path, probe=asked.probe,
        compiler=settings.compiler,
    )  # fmt: skip
    task.shards = Shards(asked.shards, dataset, request_of(task, dataset, fold=settings.fold))
    if settings.batch_size is None and device.type == "cuda":
        task.batch_size = ranks.decided("batch size", lambda: task.shards.remembered("batch_size", task.measured_size))
    task.timings.batch_size = task.batch_size
    return task


def _controls(asked: list[Asked], tasks: list[Task]) -> dict[int, int]:
    """Place of a method -> place of its control, for those that come out of one pass of its network."""
    found = {}
    for place, (item, task) in enumerate(zip(asked, tasks, strict=True)):
        if item.within is None or item.within in found:
            continue
        other, main = asked[item.within], tasks[item.within]
        same = (item.boxes.sha256, task.flip) == (other.boxes.sha256, main.flip)
        if same and item.probe is None and other.probe is None and hands_out_backbone(main.method):
            main.control = task.method
            found[item.within] = place
    return found


def _order(tasks: list[Task], dataset: DataSet, ranks: Ranks) -> list[list[int]]:
    """All sequences, those together that share a file.

    Longest first where several ranks share them, so that none is left alone with a long one.
    """
    numbers, together = list(range(len(dataset))), sequences_together(len(dataset))
    groups = [numbers[start : start + together] for start in range(0, len(numbers), together)]
    if ranks.size == 1:
        return groups
    clips = np.bincount(np.concatenate([task.boxes.sequence for task in tasks]), minlength=len(dataset))
    return sorted(groups, key=lambda group: (-int(clips[group].sum()), group))


def request_of(task: Task, dataset: DataSet, *, fold: bool = False) -> dict[str, object]:
    """Everything that decides what the predictions are, and another arithmetic: one run is not pieced of two."""
    unusual: dict[str, object] = {} if task.probe is None else {"probe": task.probe.label}
    if fold:
        unusual["fold"] = True
    if task.compiler != "none":
        unusual["compiler"] = task.compiler
    return unusual | {
        "method": task.method.card.name,
        "preset": task.method.preset_name,
        "preset_content": repr(task.method.preset),
        "weights_sha256": task.method.weights_sha256,
        "dataset": dataset.name,
        "split": dataset.split,
        "fingerprint": dataset.fingerprint,
        "boxes": task.boxes.sha256,
        "precision": task.precision,
        "crop_path": task.crop_path,
        "flip": task.flip,
        "missing": task.missing,
        "score_rule": FRAME_SCORE_RULE if isinstance(task, FrameTask) else SCORE_RULE,
    }
