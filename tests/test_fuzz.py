"""Spoiled files: every reader returns or raises a HarnessError of few lines that names the file, soon, in little room.

The bounds are per file in seconds of this process, and in memory over all files of a format.
"""

import random
import resource
import signal
import time
from contextlib import contextmanager

import pytest
from spoiled_files import FORMATS, VIDEO

from harness.errors import HarnessError

#: Seconds of processor time for a file of a few kilobytes, and MiB that the process may grow by.
SECONDS, GROWTH = 5.0, 256

#: Formats of which lightly spoiled files are mostly read, so that more than the first check is met.
LIGHT = [name for name in FORMATS if name.endswith("lightly")]


@contextmanager
def interrupted(seconds):
    """Raise TimeoutError in a reader that goes on after so many seconds of processor time."""

    def stop(*_):
        raise TimeoutError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def tried(name, count, folder):
    """How many of `count` spoiled files were refused, and the most seconds of one; anything else that happens fails."""
    own = FORMATS[name]
    sound = own.make(folder)
    refused, slowest, faults = 0, 0.0, {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(count):
        place = folder / f"{seed % 8}"
        place.mkdir(exist_ok=True)
        data = own.spoiled(sound, random.Random(f"{name} {seed}"))
        started = time.process_time()
        try:
            with interrupted(SECONDS):
                own.read(place, data)
        except HarnessError as error:
            refused += 1
            named = name == "names of probes" or any(part in str(error) for part in (str(place), VIDEO))
            if str(error).count("\n") > 2 or not named:
                faults[f"seed {seed}"] = f"does not name the file: {error}"
        except Exception as error:
            faults.setdefault(f"{type(error).__name__}", f"seed {seed}: {error!r:.300}")
        slowest = max(slowest, time.process_time() - started)
    assert not faults, faults
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < GROWTH * 1024
    return refused, slowest


@pytest.mark.parametrize("name", FORMATS)
def test_a_spoiled_file_is_refused_in_a_line_or_read(name, tmp_path):
    refused, _ = tried(name, 20, tmp_path)
    assert refused > 0
    assert name not in LIGHT or refused < 15


@pytest.mark.parametrize("name", FORMATS)
def test_the_sound_file_is_read(name, tmp_path):
    own = FORMATS[name]
    own.read(tmp_path, own.plain(own.make(tmp_path)))


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
def test_spoiled_files_in_number(name, tmp_path):
    count = 10_000 // len(FORMATS) + 1
    refused, slowest = tried(name, count, tmp_path)
    print(f"{name}: {count} tried, {refused} refused, slowest {slowest:.2f} s")
