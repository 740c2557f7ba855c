"""What is left when all sequences are done: time divided among methods, poses gathered from all ranks."""

from __future__ import annotations

from time import perf_counter, sleep

from harness import errors
from harness.datasets.sequences import DataSet
from harness.errors import HarnessError
from harness.inference.ranks import Ranks
from harness.inference.task import Task
from harness.inference.timings import Timings, summed
from harness.predictions import Predictions, concatenate

__all__ = ["merged", "share_out"]

#: Seconds a sequence that another machine finished may take to appear on a shared disk.
_PATIENCE = 60.0


def share_out(tasks: list[Task], wall: float) -> None:
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


def merged(tasks: list[Task], dataset: DataSet, ranks: Ranks) -> list[tuple[Predictions, Timings]]:
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
