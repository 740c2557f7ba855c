"""The engine: data set and boxes in, predictions out. Every frame is decoded once, however many people and methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING

import numpy as np

from harness import errors
from harness.datasets.sequences import DataSet
from harness.errors import HarnessError, UsageError
from harness.inference.ahead import run_ahead
from harness.inference.compiling import check_compiler
from harness.inference.control import hands_out_backbone
from harness.inference.frame_task import FRAME_SCORE_RULE, FrameTask, check_frames
from harness.inference.images import read_image
from harness.inference.intervening import Intervention
from harness.inference.layout import deterministic, reading_threads, threads_laid_out
from harness.inference.loaded import Loaded, check_precision, choose_device
from harness.inference.ranks import ALONE, Ranks
from harness.inference.reading import CROP_PATHS, Arrival, Job, Read, cut_on_device, fetch, image_order
from harness.inference.shards import Shards, sequences_together
from harness.inference.task import Task, placed
from harness.inference.timings import Timings, summed
from harness.inference.work import SequenceWork
from harness.methods import WholeFramePreset
from harness.predictions import Predictions, concatenate

if TYPE_CHECKING:
    from harness.boxes import Boxes

__all__ = ["SCORE_RULE", "USUAL", "Asked", "Progress", "Settings", "predict", "predict_together"]

#: How the score of a joint is made; part of every record.
SCORE_RULE = "decoded score x box score"

#: Called with (clips done, clips in all).
Progress = Callable[[int, int], None]

#: Seconds a sequence that another machine finished may take to appear on a shared disk.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Settings:
    """How a run is run. What is marked * changes rounding and nothing else.

    `batch_size`* None is automatic; `crop_path` "reference" or "device"; `fold`* normalisation into convolutions;
    `compiler`* "none", "default" (torch.compile) or "graphs" (with CUDA graphs);
    `deterministic`* repeats itself bit for bit; `workers` threads (None: as the device needs) read and crop at most
    `look_ahead` frames ahead;
    `missing` says what stands in for a support frame without a file; `keep_going` leaves out sequences that fail and
    tells of them at the end.
    """

    batch_size: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    crop_path: str = "reference"
    fold: bool = False
    compiler: str = "none"
    deterministic: bool = False
    workers: int | None = None
    look_ahead: int = 16
    missing: str = "error"
    keep_going: bool = False


@dataclass(frozen=True)
class Asked:
    """One method of a pass: what it looks at, its flip test (None: the preset's choice), where its shards go.

    `probe` changes what the network is shown. A control names by `within` the place in the pass of its method, out of
    whose outputs it comes where the network hands out its backbone's.
    """

    method: Loaded
    boxes: Boxes
    flip: bool | None = None
    shards: Path | None = None
    probe: Intervention | None = None
    within: int | None = None


#: The settings of a run that says nothing of them.
USUAL = Settings()


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
            _Pass(tasks, dataset, settings, read, progress, controls).run(ranks.shared(_order(tasks, dataset, ranks)))
        finally:
            for task in (*(tasks[place] for place in controls.values()), *tasks):  # a control first, as everywhere
                task.shards.flush()
        _share_out(tasks, perf_counter() - started)
    return _merged(tasks, dataset, ranks)


@dataclass
class _Pass:
    """One walk over the frames for all tasks."""

    tasks: list[Task]
    dataset: DataSet
    settings: Settings
    read: Read | None
    progress: Progress | None
    controls: dict[int, int]

    def run(self, numbers: Iterable[int]) -> None:
        """Work through the sequences of those numbers; raise what fails, unless the settings say to keep going."""
        read = self.read or read_image

        def fetched(job: Job) -> Arrival:
            pinned = device.type == "cuda"
            return fetch(job, self.dataset.root, read, crop_path=self.settings.crop_path, pinned=pinned)

        device = self.tasks[0].device
        workers = reading_threads(device) if self.settings.workers is None else self.settings.workers
        depth = max(self.settings.look_ahead, 2 * workers)
        shared, asked = self.tasks[0].timings, perf_counter()
        for arrival in run_ahead(fetched, self._jobs(numbers), workers=workers, depth=depth):
            shared.wait += perf_counter() - asked
            shared.frames += arrival.job.image is not None
            shared.read += arrival.read_seconds
            shared.crop += arrival.crop_seconds
            self._treat(arrival)
            asked = perf_counter()

    def _jobs(self, numbers: Iterable[int]) -> Iterator[Job]:
        """The images of the sequences in order; methods without pixels get a job without an image."""
        for number in numbers:
            works: dict[int, SequenceWork] = {}
            for owner, task in enumerate(self.tasks):
                try:
                    if not task.resumed(number):
                        works[owner] = task.work_of(self.dataset, number)
                except HarnessError as failure:
                    yield Job(number, (owner,), failure=failure)
            for owner, control in self.controls.items():
                if owner in works and control in works:
                    works[owner].control = works.pop(control)
            blind = [pair for pair in works.items() if not pair[1].images]
            seeing = [pair for pair in works.items() if pair[1].images]
            if blind:
                yield _job(number, blind, None)
            for image in image_order([work for _, work in seeing]):
                yield _job(number, seeing, image)

    def _treat(self, arrival: Arrival) -> None:
        job = arrival.job
        if arrival.failure is not None:
            for owner in job.owners:
                self._fail(owner, job.number, arrival.failure)
            for owner, work in zip(job.owners, job.works, strict=False):
                work.failed = True
                if work.control is not None:
                    self._fail(self.controls[owner], job.number, arrival.failure)
        elif arrival.picture is not None:
            started = perf_counter()
            cut_on_device(arrival.picture, job, self.tasks[0].device)
            self.tasks[0].timings.sample += perf_counter() - started
        for owner, work in zip(job.owners, job.works, strict=False):
            if not work.failed and (job.image is None or job.image in work.images):
                self._advance(owner, work, arrival)

    def _advance(self, owner: int, work: SequenceWork, arrival: Arrival) -> None:
        task, image = self.tasks[owner], arrival.job.image
        try:
            task.advance(work, None if image is None else work.images[image], arrival.size)
        except HarnessError as failure:
            work.failed = True
            self._fail(owner, work.number, failure)
            if work.control is not None:
                self._fail(self.controls[owner], work.number, failure)
            return
        if work.done == len(work.clips):
            if work.control is not None:  # first, so that where it is missing its method is, too
                control = self.tasks[self.controls[owner]]
                control.finish(work.control, self.dataset)
                control.timings.beside += len(work.control.clips)
            task.finish(work, self.dataset)
            if self.progress is not None:
                self.progress(
                    sum(task.timings.resumed + task.timings.clips + task.timings.beside for task in self.tasks),
                    sum(len(task.boxes.frame) for task in self.tasks),
                )

    def _fail(self, owner: int, number: int, failure: HarnessError) -> None:
        if not self.settings.keep_going:
            raise failure
        self.tasks[owner].drop()
        self.tasks[owner].failures.setdefault(number, failure)


def _job(number: int, works: list[tuple[int, SequenceWork]], image: str | None) -> Job:
    return Job(number, tuple(owner for owner, _ in works), tuple(work for _, work in works), image)


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
        check_frames(method, plain=asked.probe is None and not settings.fold)
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


def _share_out(tasks: list[Task], wall: float) -> None:
    """Divide evenly what was done once for all: reading, cropping, waiting, and the time that no stage has."""
    shared = tasks[0].timings
    working = [task for task in tasks if task.timings.clips or not task.timings.beside] or tasks
    common = {name: getattr(shared, name) / len(working) for name in ("read", "crop", "wait", "sample")}
    rest = (wall - sum(task.timings.own for task in tasks)) / len(working)
    frames = shared.frames
    for task in working:
        for name, seconds in common.items():
            setattr(task.timings, name, seconds)
        task.timings.frames, task.timings.wall = frames, rest + task.timings.own


def _merged(tasks: list[Task], dataset: DataSet, ranks: Ranks) -> list[tuple[Predictions, Timings]]:
    """Everything from all ranks in the order of the sequences, for the first; raises what failed anywhere."""
    facts = ranks.gathered({
        "timings": [task.timings.facts for task in tasks],
        "failures": [
            [number, str(failure), type(failure).__name__]
            for task in tasks for number, failure in task.failures.items()
        ],
    })  # fmt: skip
    if failures := sorted({tuple(failure) for part in facts for failure in part["failures"]}):
        kind = getattr(errors, failures[0][2], HarnessError)
        count = len({number for number, _, _ in failures})
        raise kind(
            f"{count} sequences failed, all others are kept; mend these and give the same command again:\n  "
            + "\n  ".join(dict.fromkeys(text for _, text, _ in failures))
        )
    if not facts:
        return []
    answers = []
    for place, task in enumerate(tasks):
        parts = [
            task.parts[number] if number in task.parts else _arrived(task, number) for number in range(len(dataset))
        ]
        answers.append((concatenate(parts), summed([part["timings"][place] for part in facts])))
    return answers


def _arrived(task: Task, number: int) -> Predictions:
    """A sequence that another rank finished; a shared disk may show it a little later."""
    until = perf_counter() + _PATIENCE
    while (found := task.shards.load(number)) is None:
        if perf_counter() > until:
            raise HarnessError(
                f"{task.shards.folder}: sequence {number} was finished by another rank but is not there; "
                "give every rank the same --results on a shared disk"
            )
        sleep(0.1)
    return found


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
