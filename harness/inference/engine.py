"""The engine: data set and boxes in, predictions out. Every frame is decoded once, however many people are in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from harness.clips import cut_clips
from harness.datasets.sequences import DataSet
from harness.inference.ahead import run_ahead
from harness.inference.loaded import Loaded, check_finite, choose_device, infer
from harness.inference.shards import Shards
from harness.inference.work import FrameCrops, SequenceWork
from harness.predictions import Predictions, concatenate
from harness.skeletons import Skeleton

if TYPE_CHECKING:
    from harness.boxes import Boxes

__all__ = ["SCORE_RULE", "Progress", "Timings", "predict"]

#: How the score of a joint is made; part of every record.
SCORE_RULE = "decoded score x box score"

#: Called with (clips done, clips in all).
Progress = Callable[[int, int], None]


@dataclass
class Timings:
    """Where the time went, in seconds.

    `read` and `crop` are summed over the reading threads and overlap the rest; `wait` (for crops), `forward` (upload,
    normalise, network), `decode` (outputs to image px) and `write` follow one another in the main thread and add up,
    with what is left over, to `wall`. Counts are of this run; `resumed` are the clips that were found done.
    """

    read: float = 0.0
    crop: float = 0.0
    wait: float = 0.0
    forward: float = 0.0
    decode: float = 0.0
    write: float = 0.0
    wall: float = 0.0
    sequences: int = 0
    frames: int = 0
    clips: int = 0
    resumed: int = 0


@dataclass
class _Run:
    """One call of `predict`."""

    method: Loaded
    dataset: DataSet
    boxes: Boxes
    batch_size: int
    device: torch.device
    precision: str
    flip: bool
    missing: str
    read: Callable[[Path], NDArray[np.uint8]] | None
    timings: Timings = field(default_factory=Timings)

    def work_of(self, number: int) -> SequenceWork:
        """Cut the clips of a sequence."""
        preset, mine = self.method.preset, np.flatnonzero(self.boxes.sequence == number)
        clips = cut_clips(
            self.dataset,
            self.dataset.sequences[number],
            frame=self.boxes.frame[mine],
            boxes=self.boxes.boxes[mine],
            box_scores=self.boxes.scores[mine],
            track_ids=self.boxes.track_ids[mine],
            support=preset.support,
            box_offset=preset.box_offset,
            ends=preset.ends,
            missing=self.missing,
        )
        return SequenceWork(
            number=number,
            sequence=self.dataset.sequences[number],
            clips=clips,
            root=self.dataset.root,
            spec=preset.crop,
            crop_geometry=self.method.crop_geometry,
            back_geometry=self.method.codec.geometry,
            batch_size=self.batch_size,
            joint_count=len(self.method.card.skeleton),
            read=self.read,
        )

    def jobs(self, numbers: list[int]) -> Iterator[tuple[SequenceWork, int | None]]:
        """(sequence, image) in order; image None for a sequence that needs no pixels."""
        for number in numbers:
            work = self.work_of(number)
            images = range(len(work.clips.images)) if work.clips.images else (None,)
            yield from ((work, image) for image in images)

    def advance(self, work: SequenceWork, frame: FrameCrops | None) -> None:
        """Run every batch that a frame completes."""
        for part, crops in work.full_batches(frame):
            started = perf_counter()
            outputs = infer(self.method, crops, device=self.device, precision=self.precision, flip=self.flip)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            computed = perf_counter()
            with torch.inference_mode():
                decoded = self.method.codec.decode(outputs)
                joints = decoded.joints.double().cpu().numpy()
                scores = decoded.scores.double().cpu().numpy()
            self._check(work, part, joints, scores)
            work.keep(part, joints, scores, decoded.grid)
            self.timings.forward += computed - started
            self.timings.decode += perf_counter() - computed
            self.timings.clips += len(crops)

    def _check(self, work: SequenceWork, part: slice, joints: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        finite = np.isfinite(joints).all(axis=(1, 2)) & np.isfinite(scores).all(axis=1)
        if not finite.all():
            check_finite(self.method, finite, work.where(part.start + int(np.flatnonzero(~finite)[0])))


def predict(
    method: Loaded,
    dataset: DataSet,
    boxes: Boxes,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    precision: str = "fp32",
    flip: bool | None = None,
    shards: Path | None = None,
    progress: Progress | None = None,
    workers: int = 1,
    look_ahead: int = 16,
    missing: str = "error",
    read: Callable[[Path], NDArray[np.uint8]] | None = None,
) -> tuple[Predictions, Timings]:
    """The poses of every box, ordered by sequence, frame and box.

    `flip` None takes the preset's choice. With `shards` every finished sequence is a file in that folder, and the same
    request continues from there. `workers` threads read and crop at most `look_ahead` frames ahead; `missing` says
    what stands in for a support frame without a file; `read` gives the BGR picture of an image path where the
    frames are no files. Raises DataError for unusable images or boxes, UsageError for a device, precision or shard
    folder that does not fit, HarnessError where the network gives no numbers.
    """
    started = perf_counter()
    run = _Run(
        method, dataset, boxes, batch_size, choose_device(device), precision,
        method.preset.flip_test if flip is None else flip, missing, read,
    )  # fmt: skip
    method.module.to(run.device).eval()
    store = Shards(shards, dataset, request_of(run))
    parts = store.finished()
    run.timings.resumed = sum(len(part) for part in parts.values())
    left = [number for number in range(len(dataset)) if number not in parts]
    for number, predictions in _finished(run, left, workers, look_ahead):
        begun = perf_counter()
        store.save(number, predictions)
        parts[number] = predictions
        run.timings.write += perf_counter() - begun
        run.timings.sequences += 1
        if progress is not None:
            progress(run.timings.resumed + run.timings.clips, len(boxes.frame))
    run.timings.wall = perf_counter() - started
    return concatenate([parts[number] for number in range(len(dataset))]), run.timings


def _finished(run: _Run, numbers: list[int], workers: int, look_ahead: int) -> Iterator[tuple[int, Predictions]]:
    """(sequence number, its predictions) as sequences are completed."""

    def prepare(job: tuple[SequenceWork, int | None]) -> tuple[SequenceWork, FrameCrops | None]:
        work, image = job
        return work, None if image is None else work.crops_of(image)

    asked = perf_counter()
    for work, frame in run_ahead(prepare, run.jobs(numbers), workers=workers, depth=look_ahead):
        run.timings.wait += perf_counter() - asked
        if frame is not None:
            run.timings.frames += 1
            run.timings.read += frame.read_seconds
            run.timings.crop += frame.crop_seconds
        run.advance(work, frame)
        if work.done == len(work.clips):
            yield work.number, _predictions(work, run.method.card.skeleton, run.dataset.skeleton)
        asked = perf_counter()


def request_of(run: _Run) -> dict[str, object]:
    """Everything that decides what the predictions are, rounding aside."""
    return {
        "method": run.method.card.name,
        "preset": run.method.preset_name,
        "preset_content": repr(run.method.preset),
        "weights_sha256": run.method.weights_sha256,
        "dataset": run.dataset.name,
        "split": run.dataset.split,
        "fingerprint": run.dataset.fingerprint,
        "boxes": run.boxes.sha256,
        "precision": run.precision,
        "flip": run.flip,
        "missing": run.missing,
        "score_rule": SCORE_RULE,
    }


def _predictions(work: SequenceWork, source: Skeleton, target: Skeleton) -> Predictions:
    """The poses of one sequence in the data set's joint order; joints the method does not know are absent."""
    clips, count = work.clips, len(work.clips)
    joints = np.full((count, len(target), 2), np.nan)
    scores = np.full((count, len(target)), np.nan)
    present = np.zeros((count, len(target)), dtype=bool)
    shared = [name for name in target.names if name in source.names]
    to, of = [target.index(name) for name in shared], [source.index(name) for name in shared]
    joints[:, to], scores[:, to], present[:, to] = work.joints[:, of], work.scores[:, of], True
    return Predictions(
        sequence_names=(work.sequence.name,),
        sequence=np.zeros(count, dtype=np.int64),
        frame=clips.frame,
        person=clips.person,
        track_ids=clips.track_ids,
        boxes=clips.boxes,
        box_scores=clips.box_scores,
        joints=joints,
        scores=scores,
        present=present,
        skeleton=target,
    )
