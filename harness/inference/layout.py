"""How a process uses the processors it was given, and how exactly it repeats itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

__all__ = ["deterministic", "reading_threads", "threads_laid_out"]


@contextmanager
def threads_laid_out(ranks_here: int) -> Iterator[None]:
    """Computing threads for this process's share of the processors, and none of OpenCV's own; put back at the end.

    Reading threads come on top: they wait for the disk or fill what computing leaves idle, and each warps alone, since
    OpenCV's own threads would take processors from the network. torchrun sets OMP_NUM_THREADS=1 where nobody else
    did, which would leave processors idle; a number that a user set for one process is kept.
    """
    before = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(1)
    if ranks_here > 1:
        torch.set_num_threads(max(1, _processors() // ranks_here))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def reading_threads(device: torch.device) -> int:
    """Threads that read and crop: one beside a network on the same processors, most of them beside a GPU."""
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return 1 if device.type == "cpu" else max(1, min(12, _processors() // ranks_here - 1))


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Only algorithms that repeat themselves bit for bit; slower on a GPU. An operation without one is an error."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
