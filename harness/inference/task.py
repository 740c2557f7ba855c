"""One method in a run: its network as it is run, the works it cuts, and poses out of batches of crops."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from harness.clips import cut_clips
from harness.codecs import Decoded
from harness.datasets.sequences import DataSet
from harness.errors import HarnessError
from harness.inference.compiling import compiled, explained, filled_up
from harness.inference.control import together
from harness.inference.folding import folded
from harness.inference.intervening import Intervention
from harness.inference.loaded import Loaded, check_finite, infer, infer_step
from harness.inference.normalising import Normaliser
from harness.inference.recurrence import step_places
from harness.inference.shards import Shards
from harness.inference.sizing import CPU_BATCH, best_batch_size, warm_up
from harness.inference.timings import Timings
from harness.inference.work import SequenceWork
from harness.predictions import Predictions
from harness.skeletons import Skeleton

if TYPE_CHECKING:
    from harness.boxes import Boxes

__all__ = ["Task", "out_of_memory", "placed", "predictions_of"]

#: Batches whose poses are still on their way from a GPU while the next is launched.
_IN_FLIGHT = 2


#: Joints (B,J,2) image px and decoded scores (B,J), both float64.
Poses = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class _Launched:
    """A batch whose poses may still be computed: one for each of the works that the outputs answer for."""

    works: list[SequenceWork]
    part: slice
    poses: list[Poses]
    arrived: torch.cuda.Event | None


@dataclass
class Task:
    """A method, the boxes it looks at, and where its finished sequences go; `limit` is the batch that fits memory."""

    usual_batch: ClassVar[int] = CPU_BATCH

    method: Loaded
    boxes: Boxes
    shards: Shards
    device: torch.device
    batch_size: int
    precision: str = "fp32"
    flip: bool = False
    missing: str = "error"
    crop_path: str = "reference"
    probe: Intervention | None = None
    limit: int | None = None
    control: Loaded | None = None
    compiler: str = "none"
    parts: dict[int, Predictions] = field(default_factory=dict)
    failures: dict[int, HarnessError] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    _launched: deque[_Launched] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._normaliser = Normaliser(self.method.preset.crop, self.device)

    @cached_property
    def _alone(self) -> Loaded:
        """The method as it is run."""
        return compiled(self.method, self.compiler)

    @cached_property
    def _both(self) -> Loaded:
        """The method with its control, as both are run in one pass."""
        return self._alone if self.control is None else compiled(together(self.method, self.control), self.compiler)

    def set_up(self) -> None:
        """Compile, and run a first batch on a GPU; neither is part of a run's time."""
        if not self.method.preset.support:
            return
        how: dict[str, Any] = {"precision": self.precision, "flip": self.flip}
        if self.compiler != "none":
            with explained(self.method):
                self.timings.compile = warm_up(self._both, self.device, self.batch_size, **how)
        if self.device.type == "cuda":
            self.timings.warm_up = warm_up(self._both, self.device, self.batch_size, **how)

    def work_of(self, dataset: DataSet, number: int) -> SequenceWork:
        """Cut the clips of a sequence."""
        preset, mine = self.method.preset, np.flatnonzero(self.boxes.sequence == number)
        clips = cut_clips(
            dataset,
            dataset.sequences[number],
            frame=self.boxes.frame[mine],
            boxes=self.boxes.boxes[mine],
            box_scores=self.boxes.scores[mine],
            track_ids=self.boxes.track_ids[mine],
            support=preset.support if self.probe is None else self.probe.offsets(preset.support),
            box_offset=preset.box_offset,
            ends=preset.ends,
            missing=self.missing,
        )
        if self.probe is not None:
            clips = self.probe.clips(clips, dataset.sequences[number], preset.support)
        return SequenceWork(
            number=number,
            sequence=dataset.sequences[number],
            clips=clips,
            spec=preset.crop,
            crop_geometry=self.method.crop_geometry,
            back_geometry=self.method.codec.geometry,
            batch_size=self.batch_size,
            joint_count=len(self.method.card.skeleton),
            device=self.device if self.crop_path == "device" else torch.device("cpu"),
            step=step_places(preset.support, preset.recurrent) if preset.recurrent else None,
            whole=self.compiler != "none",
            pinned=self.device.type == "cuda" and self.crop_path == "reference",
        )

    def resumed(self, number: int) -> bool:
        """Take a sequence from its shard if it is done."""
        found = self.shards.load(number)
        if found is not None:
            self.parts[number] = found
            self.timings.resumed += len(found)
        return found is not None

    def measured_size(self) -> int:
        """The batch size that suits the device."""
        return best_batch_size(self.method, self.device, precision=self.precision, flip=self.flip)

    def finish(self, work: SequenceWork, dataset: DataSet) -> None:
        """Keep the poses of a finished sequence, on the disk first."""
        started = perf_counter()
        predictions = predictions_of(work, self.method.card.skeleton, dataset.skeleton)
        self.shards.save(work.number, predictions)
        self.parts[work.number] = predictions
        self.timings.sequences += 1
        self.timings.write += perf_counter() - started

    def advance(self, work: SequenceWork, image: int | None, size: tuple[int, int]) -> None:
        """Run every batch that an image completes; when the sequence has no more to come, collect all poses."""
        for part, crops in work.full_batches(image, size):
            if self.probe is not None:
                crops = self.probe.crops(work, part, crops)
            self._launched.append(self._launch(work, part, crops))
            self.timings.clips += len(crops)
            while len(self._launched) > (_IN_FLIGHT if self.device.type == "cuda" else 0):
                self._collect()
        if work.done + sum(item.part.stop - item.part.start for item in self._launched) == len(work.clips):
            while self._launched:
                self._collect()

    def drop(self) -> None:
        """Forget batches of a sequence that failed."""
        self._launched.clear()

    def _launch(self, work: SequenceWork, part: slice, crops: torch.Tensor) -> _Launched:
        """Compute the poses of a batch, and start their way back where that takes one."""
        works = [work] if work.control is None else [work, work.control]
        poses = self._poses(works, part, crops)
        if self.device.type != "cuda":
            return _Launched(works, part, poses, None)
        # Copied in the order of the stream, so that a batch can be collected while the next ones are computed.
        back = [(joints.to("cpu", non_blocking=True), scores.to("cpu", non_blocking=True)) for joints, scores in poses]
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(torch.cuda.current_stream(self.device))
        return _Launched(works, part, back, arrived)

    def _poses(self, works: list[SequenceWork], part: slice, crops: torch.Tensor) -> list[Poses]:
        """The poses of every work that shares the batch."""
        size = min(self.limit or len(crops), len(crops))
        found = self._pieces(works, part, crops, size)
        if found is None:
            if size == 1:
                raise HarnessError(
                    f"method '{self.method.card.name}' ({self.method.preset_name}): one clip does not fit the memory "
                    f"of {self.device}; take a smaller preset, --precision bf16 or --device cpu"
                )
            self.limit = self.timings.batch_size = -(-size // 2)
            return self._poses(works, part, crops)
        return [
            (torch.cat([piece[place][0] for piece in found]), torch.cat([piece[place][1] for piece in found]))
            for place in range(len(works))
        ]

    def _pieces(
        self, works: list[SequenceWork], part: slice, crops: torch.Tensor, size: int
    ) -> list[list[Poses]] | None:
        """Poses of at most `size` clips at a time; None where the memory does not suffice."""
        starts = range(0, len(crops), size)
        try:
            return [
                self._computed(
                    works, slice(part.start + start, min(part.start + start + size, part.stop)),
                    crops[start : start + size],
                )
                for start in starts
            ]  # fmt: skip
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _computed(self, works: list[SequenceWork], part: slice, crops: torch.Tensor) -> list[Poses]:
        started = perf_counter()
        method, past = self._alone if len(works) == 1 else self._both, works[0].past
        count = len(crops)
        if self.compiler != "none" and crops.shape[1]:
            crops = filled_up(crops.to(self.device, non_blocking=True), self.limit or self.batch_size)
        how: dict[str, Any] = {
            "device": self.device, "precision": self.precision, "flip": self.flip, "normaliser": self._normaliser,
        }  # fmt: skip
        outputs = infer(method, crops, **how) if past is None else infer_step(method, crops, past, part, **how)
        computed = perf_counter()
        with torch.inference_mode():
            decoded = method.codec.decode(outputs)
            each = zip(works, decoded if isinstance(decoded, tuple) else (decoded,), strict=True)
            poses = [self._in_image(work, part, found, count) for work, found in each]
        self.timings.forward += computed - started
        self.timings.decode += perf_counter() - computed
        return poses

    def _in_image(self, work: SequenceWork, part: slice, decoded: Decoded, count: int) -> Poses:
        """What was decoded for the first `count` clips, which are the rows `part`."""
        back = torch.from_numpy(work.back(part, decoded.grid)).to(self.device, non_blocking=True)
        joints = torch.baddbmm(back[:, None, :, 2], decoded.joints[:count].double(), back[:, :, :2].mT)
        return joints, decoded.scores[:count].double()

    def _collect(self) -> None:
        """Wait for the oldest batch, check its poses and keep them."""
        started = perf_counter()
        item = self._launched.popleft()
        if item.arrived is not None:
            item.arrived.synchronize()
        waited = perf_counter()
        for work, poses in zip(item.works, item.poses, strict=True):
            joints, scores = (part.numpy() for part in poses)
            finite = np.isfinite(joints).all(axis=(1, 2)) & np.isfinite(scores).all(axis=1)
            if not finite.all():
                check_finite(self.method, finite, work.where(item.part.start + int(np.flatnonzero(~finite)[0])))
            work.keep(item.part, joints, scores)
        # On a GPU the network runs until its poses are here; launching it takes next to no time.
        self.timings.forward += waited - started
        self.timings.decode += perf_counter() - waited


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or beside it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def placed(method: Loaded, device: torch.device, *, fold: bool) -> Loaded:
    """The method with its network on the device in eval mode, normalisation folded where that leaves it the same."""
    method.module.to(device).eval()
    if not fold or not method.preset.support or not list(method.module.parameters()):
        return method
    try:
        return replace(method, module=folded(method.module, _example(method, device)))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return method  # a copy may be too much where the network itself is not


def _example(method: Loaded, device: torch.device) -> torch.Tensor:
    """A clip of seeded noise that drives a network as pictures do."""
    width, height = method.preset.crop.size
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, len(method.preset.support), 3, height, width, generator=generator).to(device)


def predictions_of(work: SequenceWork, source: Skeleton, target: Skeleton) -> Predictions:
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
