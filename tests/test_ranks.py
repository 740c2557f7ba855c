"""The command under torchrun: the same record from any number of ranks, also where one of them dies."""

import os
import random
import signal
import time

import fault_runs
import pytest


@pytest.fixture(scope="module")
def alone(smoke_val, tmp_path_factory):
    results = tmp_path_factory.mktemp("alone")
    fault_runs.finished(results)
    return fault_runs.outcome(results)


def ended(started):
    _, said = started.communicate(timeout=500)
    assert started.returncode == 0, said
    return said


def killed_rank(results, rank, delay):
    """Start two ranks and kill one; -1 kills all of them with torchrun itself, and the command is given again."""
    started = fault_runs.ranks(results)
    until = time.monotonic() + 120
    while len(fault_runs.descendants(started.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(delay)
    workers = fault_runs.descendants(started.pid)
    for process in [started.pid, *workers] if rank < 0 else workers[rank : rank + 1]:
        os.kill(process, signal.SIGKILL)
    if rank < 0:
        started.communicate()
        started = fault_runs.ranks(results)
    ended(started)


def test_a_rank_that_dies_is_replaced(alone, tmp_path):
    killed_rank(tmp_path, 1, delay=3.0)
    assert fault_runs.outcome(tmp_path) == alone


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_ranks_gives_the_same(alone, tmp_path, count):
    ended(fault_runs.ranks(tmp_path, count))
    assert fault_runs.outcome(tmp_path) == alone


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_ranks_killed_at_random(alone, tmp_path, seed):
    generator = random.Random(seed)
    killed_rank(tmp_path, generator.choice([0, 1, -1]), delay=generator.uniform(0.5, 6))
    assert fault_runs.outcome(tmp_path) == alone
