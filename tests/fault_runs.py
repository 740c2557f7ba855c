"""Runs of `harness eval` that are killed, and what they leave behind."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from harness.cli import run

#: Eight batches or so in four sequences: short, and with something to write all the time.
_SHORT = ("--dataset", "synthtrack-smoke", "--split", "train", "--batch-size", "4", "--no-plots", "--no-floor")
COMMAND = ("eval", "--method", "hrnet", "--weights", "random", *_SHORT)
#: The same of whole frames; the shipped weights find two people a frame, random ones as many as are asked for.
FRAMES = ("eval", "--method", "higher_hrnet", *_SHORT)


def outcome(results: Path) -> tuple[dict, list[bytes], list[str]]:
    """The one record without times, its predictions, and the names of all that lies beside it."""
    (folder,) = {path.parent for path in results.glob("*/*/*/record.json")}
    record = json.loads((folder / "record.json").read_text())
    for name in ("created", "command", "cost", "digest"):
        del record[name]
    del record["environment"]["commit"]  # somebody may commit while the tests run
    names = sorted(path.name for path in folder.iterdir())
    return record, [path.read_bytes() for path in sorted(folder.glob("predictions-*"))], names


#: Children start from a process that has imported everything and run nothing: quick, and free of other threads.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch", "harness.evaluate", "harness.cli.eval", "harness.report", "baselines"])


def in_child(
    results: Path, *, command: tuple[str, ...] = COMMAND, die_at_rename: int | None = None, after: bool = False
) -> BaseProcess:
    """Start a command in a process of its own; it may kill itself at its n-th rename, before or after it."""
    asked = (*command, "--results", str(results))
    child = SERVER.Process(target=_body, args=(asked, die_at_rename, after, os.environ["HARNESS_CACHE"]))
    child.start()
    return child


def _body(asked: tuple[str, ...], die_at_rename: int | None, after: bool, cache: str) -> None:
    os.setsid()
    os.environ["HARNESS_CACHE"] = cache
    torch.set_num_threads(1)
    rename, renamed = Path.replace, []

    def dying(path: Path, target: Path) -> Path:
        renamed.append(path)
        last = len(renamed) - 1 == die_at_rename
        if last and not after:
            os.killpg(0, signal.SIGKILL)
        found = rename(path, target)
        if last:
            os.killpg(0, signal.SIGKILL)
        return found

    Path.replace = dying
    os._exit(run(list(asked)))


def finished(results: Path, *, command: tuple[str, ...] = COMMAND) -> float:
    """Run a command to its end in a child; the seconds it took."""
    started = time.perf_counter()
    child = in_child(results, command=command)
    child.join(300)
    assert child.exitcode == 0
    return time.perf_counter() - started


def ranks(results: Path, count: int = 2, restarts: int = 2, *, command: tuple[str, ...] = COMMAND) -> subprocess.Popen:
    """Start a command under torchrun."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count),
         "--max-restarts", str(restarts), "-m", "harness", *command, "--results", str(results)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def descendants(process: int) -> list[int]:
    """Processes below one, nearest first."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found.append(int(status.parent.name))
    return found + [below for child in found for below in descendants(child)]
