"""Sequences written by several processes at once; run as a module, this file is one of them.

Plain processes and not a multiprocessing pool: a pool would run the caller's script a second time in every worker, and
a forked one would copy the threads of torch or a progress bar half-way.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from harness.errors import HarnessError

__all__ = ["run_workers"]


def run_workers(tasks: list[list[str]]) -> Iterator[int]:
    """Run one worker per task and yield the frames of every sequence as it is finished.

    A task is root, preset, split, seed and the sequence numbers. Raises HarnessError with the last line of a worker
    that failed.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__]
    processes = [
        subprocess.Popen([*command, *task], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)  # noqa: S603
        for task in tasks
    ]
    finished: queue.Queue[int] = queue.Queue()
    with ThreadPoolExecutor(2 * len(processes)) as pool:
        errors = [pool.submit(_last_line, process.stderr) for process in processes]
        readers = [pool.submit(_forward, process.stdout, finished) for process in processes]
        try:
            while not all(reader.done() for reader in readers) or not finished.empty():
                try:
                    yield finished.get(timeout=0.1)
                except queue.Empty:
                    continue
            for process, error in zip(processes, errors, strict=True):
                if process.wait():
                    raise HarnessError(f"synthtrack: a worker stopped with code {process.returncode}: {error.result()}")
        finally:
            # Before the pool waits for its readers, which read until the workers end.
            for process in processes:
                process.terminate()


def _forward(lines: IO[str] | None, finished: queue.Queue[int]) -> None:
    for line in lines or ():
        finished.put(int(line))


def _last_line(lines: IO[str] | None) -> str:
    return ([line.strip() for line in lines or () if line.strip()] or ["no message"])[-1]


def _work(root: str, preset: str, split: str, seed: str, *numbers: str) -> None:
    import cv2

    from harness.datasets.synthtrack.generate import write_sequence
    from harness.datasets.synthtrack.presets import preset_named

    cv2.setNumThreads(1)
    for number in numbers:
        frames = write_sequence(Path(root), preset_named(preset), split, int(number), seed=int(seed))
        # A parent that is gone closes the pipe, which ends this process too.
        sys.stdout.write(f"{frames}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _work(*sys.argv[1:])
