"""A whole-frame method in a run: frames in batches, every scale and the mirror image, persons out of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from harness.clips import cut_clips
from harness.datasets.sequences import DataSet
from harness.errors import HarnessError, UsageError
from harness.grouping import Pass, People
from harness.inference.frame_work import FrameWork, people_of
from harness.inference.loaded import Loaded, check_finite, forward
from harness.inference.task import Task, out_of_memory
from harness.inference.work import SequenceWork
from harness.methods import WholeFramePreset

__all__ = ["FRAME_BATCH", "FRAME_SCORE_RULE", "FrameTask", "check_frames"]

#: Frames per batch unless the user says otherwise: a frame is as much work as dozens of crops.
FRAME_BATCH = 4

#: How scores of whole-frame methods are made; part of every record.
FRAME_SCORE_RULE = "joint and person scores of the grouping"


def check_frames(method: Loaded, *, plain: bool) -> None:
    """Raise UsageError where a run is not a `plain` one: some settings are made for crops."""
    if not plain:
        raise UsageError(f"probes, --fold and --crop-path device are made for crops, and {_whole(method)}")


def _whole(method: Loaded) -> str:
    return f"method '{method.card.name}' ({method.preset_name}) takes whole frames"


@dataclass
class FrameTask(Task):
    """A Task whose clips are frames; `boxes` has one row per frame to look at."""

    usual_batch: ClassVar[int] = FRAME_BATCH

    def set_up(self) -> None:
        """Nothing: frames may be of any size, so that there is no first batch to try."""
        if self.compiler != "none":
            raise UsageError(f"--compile is made for crops of one size, and {_whole(self.method)}")

    def work_of(self, dataset: DataSet, number: int) -> FrameWork:
        """The frames of a sequence."""
        preset, mine = cast(WholeFramePreset, self.method.preset), np.flatnonzero(self.boxes.sequence == number)
        clips = cut_clips(
            dataset, dataset.sequences[number], frame=self.boxes.frame[mine], boxes=self.boxes.boxes[mine],
            box_scores=self.boxes.scores[mine], track_ids=self.boxes.track_ids[mine], missing=self.missing,
        )  # fmt: skip
        return FrameWork(
            number=number, sequence=dataset.sequences[number], clips=clips, spec=preset.crop, crop_geometry="plain",
            back_geometry="plain", batch_size=self.batch_size, joint_count=len(self.method.card.skeleton),
            frame=preset.frame, anchored=self.method.grouping.anchored,
        )  # fmt: skip

    def resumed(self, number: int) -> bool:
        """Take a sequence from its shard if it is done; what is counted are frames."""
        found = self.shards.load(number)
        if found is not None:
            self.parts[number] = found
            self.timings.resumed += int((self.boxes.sequence == number).sum())
        return found is not None

    def measured_size(self) -> int:
        """Frames per batch; larger ones gain little on any device."""
        return FRAME_BATCH

    def finish(self, work: SequenceWork, dataset: DataSet, *, beside: bool = False) -> None:
        """Keep the persons of a finished sequence, on the disk first."""
        started = perf_counter()
        predictions = people_of(cast(FrameWork, work), self.method.card.skeleton, dataset.skeleton)
        self.shards.save(work.number, predictions)
        self.parts[work.number] = predictions
        self.timings.sequences += 1
        self.timings.write += perf_counter() - started

    def advance(self, work: SequenceWork, image: int | None, size: tuple[int, int]) -> None:
        """Find the persons of every batch of frames that an image completes."""
        work = cast(FrameWork, work)
        for part, inputs in work.frame_batches(image, size):
            people = self._people(work, part.start, inputs)
            self._check(work, part.start, np.array([bool(np.isfinite(found.joints).all()) for found in people]))
            work.keep_people(part, people)
            self.timings.clips += part.stop - part.start

    def _check(self, work: FrameWork, first: int, finite: NDArray[np.bool_]) -> None:
        """Raise HarnessError that names the first frame, counted from `first`, that is not finite."""
        if not finite.all():
            check_finite(self.method, finite, work.where(first + int(np.flatnonzero(~finite)[0])))

    def _people(self, work: FrameWork, first: int, inputs: list[torch.Tensor]) -> list[People]:
        """Persons per frame, the first of which is number `first`, in as many pieces as the memory asks for."""
        count = len(inputs[0])
        size = min(self.limit or count, count)
        try:
            return [
                person
                for start in range(0, count, size)
                for person in self._piece(work, first + start, [each[start : start + size] for each in inputs])
            ]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if size == 1:
            raise HarnessError(
                f"method '{self.method.card.name}' ({self.method.preset_name}): one frame does not fit the memory "
                f"of {self.device}; take a smaller preset, --precision bf16 or --device cpu"
            )
        self.limit = self.timings.batch_size = -(-size // 2)
        return self._people(work, first, inputs)

    def _piece(self, work: FrameWork, first: int, inputs: list[torch.Tensor]) -> list[People]:
        started, grouping = perf_counter(), self.method.grouping
        scales = [item.scale for item in work.inputs_of(work.shown)]
        passes = [self._pass(scale, frames) for scale, frames in zip(scales, inputs, strict=True)]
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        # What is no number is told before the grouping: it would find nobody there, or search without end.
        for said in passes:
            self._check(work, first, _finite((said.outputs, said.mirrored), len(inputs[0])))
        computed = perf_counter()
        with torch.inference_mode():
            order = torch.from_numpy(self.method.card.skeleton.flip_order).to(self.device)
            people = grouping.people(passes, work.size, flip_order=order)
        self.timings.forward += computed - started
        self.timings.decode += perf_counter() - computed
        return people

    def _pass(self, scale: float, frames: torch.Tensor) -> Pass:
        """What the network says of frames (B,1,H,W,3) uint8 and, in a flip test, of their mirror images."""
        clips = self._normaliser(frames.to(self.device, non_blocking=True))
        outputs = forward(self.method, clips, device=self.device, precision=self.precision)
        if not self.flip:
            return Pass(scale, outputs)
        mirrored = self.method.grouping.mirror(clips)
        return Pass(scale, outputs, forward(self.method, mirrored, device=self.device, precision=self.precision))


def _finite(outputs: Any, count: int) -> NDArray[np.bool_]:
    """(count,) whether everything that a network said of each of so many frames is a number."""
    fine = np.ones(count, dtype=bool)
    if isinstance(outputs, torch.Tensor):
        return outputs.isfinite().flatten(1).all(1).cpu().numpy() if len(outputs) == count else fine
    for part in outputs.values() if isinstance(outputs, Mapping) else outputs or ():
        fine &= _finite(part, count)
    return fine
