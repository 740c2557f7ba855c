"""One walk over the frames for all methods: read ahead, cut crops, hand them on, keep what is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

from harness.datasets.sequences import DataSet
from harness.errors import HarnessError
from harness.inference.ahead import run_ahead
from harness.inference.images import read_image
from harness.inference.layout import reading_threads
from harness.inference.reading import Arrival, Job, Read, cut_on_device, fetch, image_order
from harness.inference.settings import Settings
from harness.inference.task import Task
from harness.inference.work import SequenceWork

__all__ = ["Progress", "Walk"]

#: Called with (clips done, clips in all).
Progress = Callable[[int, int], None]


@dataclass
class Walk:
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
