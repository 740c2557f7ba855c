"""Running jobs a little ahead of whoever consumes their results, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["run_ahead"]

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_ahead(work: Callable[[Job], Result], jobs: Iterable[Job], *, workers: int, depth: int) -> Iterator[Result]:
    """Results of `work(job)` in the order of `jobs`, at most `depth` of them finished or running ahead.

    Jobs are drawn lazily. With `workers=0` everything runs in the calling thread. An exception of a job is raised
    where its result would have come, and the jobs after it are dropped.

    >>> list(run_ahead(str.upper, "abc", workers=2, depth=2))
    ['A', 'B', 'C']
    """
    if workers <= 0:
        yield from map(work, jobs)
        return
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) >= max(depth, 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
