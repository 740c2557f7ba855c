"""The command under torchrun: the same record from any number of ranks, also where one of them dies."""

import io
import os
import random
import signal
import time

import fault_runs
import pandas as pd
import pytest
from torch.distributed import TCPStore

from harness.inference import join_ranks


@pytest.fixture(scope="module")
def alone(smoke_val, tmp_path_factory):
    results = tmp_path_factory.mktemp("alone")
    fault_runs.finished(results)
    return fault_runs.outcome(results)


@pytest.fixture(scope="module")
def frames_alone(smoke_val, tmp_path_factory):
    """The same of a method that takes whole frames."""
    results = tmp_path_factory.mktemp("frames_alone")
    fault_runs.finished(results, command=fault_runs.FRAMES)
    return fault_runs.outcome(results)


def ended(started):
    _, said = started.communicate(timeout=500)
    assert started.returncode == 0, said
    return said


def killed_rank(results, rank, delay, *, at_work=False, command=fault_runs.COMMAND):
    """Start two ranks and kill one; -1 kills all of them with torchrun itself, and the command is given again.

    It dies `delay` seconds after both have begun, or, `at_work`, after sequences began to be handed out.
    """
    started = fault_runs.ranks(results, command=command)
    until = time.monotonic() + 120
    while len(fault_runs.descendants(started.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    while at_work and not list(results.rglob("request.json")) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(delay)
    workers = fault_runs.descendants(started.pid)
    for process in [started.pid, *workers] if rank < 0 else workers[rank : rank + 1]:
        os.kill(process, signal.SIGKILL)
    if rank < 0:
        started.communicate()
        started = fault_runs.ranks(results, command=command)
    ended(started)


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_rank_that_dies_at_work_is_replaced(alone, tmp_path, rank):
    killed_rank(tmp_path, rank, delay=0.3, at_work=True)
    assert fault_runs.outcome(tmp_path) == alone


def test_a_restart_counts_from_the_beginning(monkeypatch):
    """torchrun keeps the store, and what is in it, over its restarts; what a dead rank had taken is given out again."""
    kept = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {
        "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(kept.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for attempt in range(3):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(attempt))
        join_ranks.cache_clear()
        assert list(join_ranks().named("job").shared([[2], [0], [1]])) == [2, 0, 1]
        assert not list(join_ranks().named("job").shared([[2], [0], [1]]))
    join_ranks.cache_clear()


def test_two_ranks_go_on_with_whole_frames_where_one_process_was_killed(frames_alone, tmp_path):
    """Both in one test, as starting processes is what takes time; each alone is among the long ones."""
    record, (predictions,), _ = frames_alone
    assert record["boxes"]["source"] == "none" and len(pd.read_parquet(io.BytesIO(predictions))) > 24  # persons
    child = fault_runs.in_child(tmp_path, command=fault_runs.FRAMES, die_at_rename=3)
    child.join(300)
    assert child.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("unfinished/0*.parquet"))) == 2  # of four sequences
    ended(fault_runs.ranks(tmp_path, command=fault_runs.FRAMES))
    assert fault_runs.outcome(tmp_path) == frames_alone


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2])
def test_any_number_of_ranks_finds_the_same_in_whole_frames(frames_alone, tmp_path, count):
    ended(fault_runs.ranks(tmp_path, count, command=fault_runs.FRAMES))
    assert fault_runs.outcome(tmp_path) == frames_alone


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1, -1])
def test_a_rank_that_dies_at_work_on_whole_frames_is_replaced(frames_alone, tmp_path, rank):
    killed_rank(tmp_path, rank, delay=0.3, at_work=True, command=fault_runs.FRAMES)
    assert fault_runs.outcome(tmp_path) == frames_alone


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
