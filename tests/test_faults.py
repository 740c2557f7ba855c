"""A run that is killed, at any moment and in any way, ends the same when the same command is given again."""

import os
import random
import signal
import subprocess
import sys
import time

import fault_runs
import pytest


@pytest.fixture(scope="module")
def unbroken(smoke_val, tmp_path_factory):
    """What a run leaves behind that nobody disturbed, and its seconds."""
    results = tmp_path_factory.mktemp("unbroken")
    fault_runs.finished(results)  # makes the embedded data
    again = tmp_path_factory.mktemp("unbroken")
    seconds = fault_runs.finished(again)
    expected = fault_runs.outcome(again)
    assert fault_runs.outcome(results) == expected and len(expected[1]) == 1
    assert expected[2] == [next(name for name in expected[2] if name.startswith("predictions-")), "record.json"]
    return expected, seconds


@pytest.fixture(scope="module")
def unbroken_frames(smoke_val, tmp_path_factory):
    """The same of a method that takes whole frames."""
    results = tmp_path_factory.mktemp("unbroken_frames")
    seconds = fault_runs.finished(results, command=fault_runs.FRAMES)
    return fault_runs.outcome(results), seconds


def killed_at(results, seconds, **how):
    child = fault_runs.in_child(results, **how)
    time.sleep(seconds)
    if child.is_alive():
        os.killpg(child.pid, signal.SIGKILL)
    child.join(300)


def killed_at_rename(results, number, after, **how):
    child = fault_runs.in_child(results, die_at_rename=number, after=after, **how)
    child.join(300)
    return child.exitcode == -signal.SIGKILL


def check(results, unbroken, **how):
    fault_runs.finished(results, **how)
    assert fault_runs.outcome(results) == unbroken[0]


@pytest.mark.parametrize("share", [0.5])
def test_killed_process_group(unbroken, tmp_path, share):
    killed_at(tmp_path, share * unbroken[1])
    check(tmp_path, unbroken)


@pytest.mark.parametrize(("number", "after"), [(3, False), (6, True)])
def test_killed_writer(unbroken, tmp_path, number, after):
    assert killed_at_rename(tmp_path, number, after)
    check(tmp_path, unbroken)


@pytest.mark.long
@pytest.mark.parametrize(("number", "after"), [(1, True), (4, False), (6, True)])
def test_killed_writer_of_whole_frames(unbroken_frames, tmp_path, number, after):
    assert killed_at_rename(tmp_path, number, after, command=fault_runs.FRAMES)
    check(tmp_path, unbroken_frames, command=fault_runs.FRAMES)


def test_what_a_kill_after_the_record_leaves_is_cleared(unbroken, tmp_path):
    fault_runs.finished(tmp_path)
    (folder,) = tmp_path.glob("*/*/*")
    (folder / "unfinished").mkdir()
    check(tmp_path, unbroken)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_killed_process_group_at_random(unbroken, tmp_path, seed):
    killed_at(tmp_path, random.Random(seed).uniform(0.02, 1.1) * unbroken[1])
    check(tmp_path, unbroken)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_killed_process_group_at_random_on_whole_frames(unbroken_frames, tmp_path, seed):
    command = fault_runs.FRAMES
    killed_at(tmp_path, random.Random(seed).uniform(0.02, 1.1) * unbroken_frames[1], command=command)
    check(tmp_path, unbroken_frames, command=command)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_killed_writer_at_random(unbroken, tmp_path, seed):
    generator = random.Random(seed)
    killed_at_rename(tmp_path, generator.randrange(8), generator.random() < 0.5)
    check(tmp_path, unbroken)


@pytest.mark.long
def test_killed_again_and_again(unbroken, tmp_path):
    generator = random.Random(7)
    for _ in range(5):
        killed_at(tmp_path, generator.uniform(0.1, 0.7) * unbroken[1])
    check(tmp_path, unbroken)


def test_two_identical_runs_at_once(unbroken, tmp_path):
    children = [fault_runs.in_child(tmp_path) for _ in range(2)]
    for child in children:
        child.join(300)
        assert child.exitcode == 0
    assert fault_runs.outcome(tmp_path)[:2] == unbroken[0][:2]


def test_a_live_training_that_is_cancelled_leaves_no_drawn_data(tmp_path):
    drawn, out = tmp_path / "drawn", tmp_path / "trained"
    drawn.mkdir()
    started = subprocess.Popen(
        [sys.executable, "-m", "harness", "train", "--method", "hrnet", "--dataset", "synthtrack-smoke", "--live",
         "--device", "cpu", "--steps", "100000", "-o", str(out)],
        env=os.environ | {"TMPDIR": str(drawn)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not list(out.glob("*")) and started.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    there = list(drawn.glob("synthtrack-*"))
    started.terminate()
    assert started.wait(60) == 128 + signal.SIGTERM
    assert there and not list(drawn.glob("synthtrack-*"))
