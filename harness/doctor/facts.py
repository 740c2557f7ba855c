"""The facts of an environment that known troubles show in, gathered without judging them."""

from __future__ import annotations

import json
import locale
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import harness
from harness.datasets.synthtrack.cache import cache_folder
from harness.datasets.synthtrack.presets import CARD_FILE
from harness.environment import describe_environment
from harness.results import Results
from harness.version import __version__

__all__ = ["Facts", "Loaded", "Machine", "Store", "gather"]

#: Distributions that bring the module cv2; two of them overwrite each other's files.
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


@dataclass(frozen=True)
class Loaded:
    """How importing one module went: `version` where it did, `error` the first line where it did not, neither where it
    is not installed; `details` are what was tried beyond importing."""

    version: str | None = None
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def absent(self) -> bool:
        """True where the module is not installed."""
        return self.version is None and self.error is None


@dataclass(frozen=True)
class Machine:
    """`cores` that this process may use; `threads` asked for by the environment, None where it does not say;
    `nvidia_driver` as the kernel names it, None without; `visible_gpus` is CUDA_VISIBLE_DEVICES, None where not set."""

    python: tuple[int, int]
    platform: str
    cores: int
    threads: int | None = None
    nvidia_driver: str | None = None
    visible_gpus: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Store:
    """A folder the harness writes to: whether it can, `free` bytes of its disk, and what lies there already."""

    path: Path
    writable: bool
    free: int
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Everything the rules look at. `options` are the HARNESS_ variables that are set; `unreadable` the messages of
    records that cannot be read, `versions` how many records each version of the harness made."""

    machine: Machine
    modules: Mapping[str, Loaded]
    cache: Store
    results: Store
    methods: tuple[str, ...] = ()
    plugin_error: str | None = None
    opencv: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    harness: str = __version__
    location: str = ""


def gather(results: Path) -> Facts:
    """The facts of this environment and of a results folder."""
    runs, problems = Results(results).scan()
    versions: dict[str, int] = {}
    for run in runs:
        versions[run.record.harness_version] = versions.get(run.record.harness_version, 0) + 1
    modules = _modules()
    methods, plugin_error = _methods() if modules["torch"].version else ((), None)
    names = {(found.metadata["Name"] or "").lower() for found in distributions()}
    cache = cache_folder("standard").parent
    return Facts(
        machine=_machine(), modules=modules, cache=_store(cache, held=_cached(cache)), results=_store(results),
        methods=methods, plugin_error=plugin_error, opencv=tuple(name for name in OPENCV if name in names),
        options={name: value for name, value in sorted(os.environ.items()) if name.startswith("HARNESS_")},
        unreadable=tuple(problem.message for problem in problems), versions=versions,
        location=str(Path(harness.__file__).parent),
    )  # fmt: skip


def _machine() -> Machine:
    here = describe_environment()
    driver = Path("/proc/driver/nvidia/version")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return Machine(
        python=sys.version_info[:2], platform=f"Python {here.python} on {here.platform}", cores=_cores(here.cpu_count),
        threads=int(threads) if threads.isdigit() else None,
        nvidia_driver=driver.read_text().splitlines()[0] if driver.is_file() else None,
        visible_gpus=os.environ.get("CUDA_VISIBLE_DEVICES"), encoding=locale.getpreferredencoding(False).lower(),
    )  # fmt: skip


def _cores(seen: int) -> int:
    """The cores seen, fewer where a container's quota (cgroup v2) allows fewer."""
    quota = Path("/sys/fs/cgroup/cpu.max")
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(seen, int(allowed) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return seen


def _modules() -> dict[str, Loaded]:
    done = subprocess.run([sys.executable, "-m", "harness.doctor.probe"], capture_output=True, text=True, check=False)
    found: dict[str, Loaded] = {}
    for line in filter(lambda line: line.startswith("{"), done.stdout.splitlines()):
        said = json.loads(line)
        name = said.pop("module")
        if said.pop("begun", False):  # stands unless an outcome follows
            found[name] = Loaded(error=f"it ends the process that imports it (exit code {done.returncode})")
        elif said.pop("absent", False):
            found[name] = Loaded()
        else:
            found[name] = Loaded(said.pop("version", None), said.pop("error", None), said)
    return found


def _methods() -> tuple[tuple[str, ...], str | None]:
    try:
        from harness.methods import methods

        return tuple(methods), None
    except Exception as problem:  # a plugin may fail in any way
        return (), f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"


def _store(path: Path, *, held: tuple[str, ...] = ()) -> Store:
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return Store(path, there.is_dir() and os.access(there, os.W_OK | os.X_OK), shutil.disk_usage(there).free, held)


def _cached(cache: Path) -> tuple[str, ...]:
    """`preset split` of what is complete in the cache."""
    return tuple(sorted(" ".join(card.parent.parts[-2:]) for card in cache.glob(f"*/*/{CARD_FILE}")))
