"""Where a run happens: Python, platform, the packages that shape numbers, and the commit of the code."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.records import Environment

__all__ = ["PACKAGES", "code_commit", "describe_environment"]

#: Distributions whose version can change a result.
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "opencv-python-headless", "pyarrow", "xtcocotools")


def describe_environment() -> Environment:
    """The environment of this process, for a record; reads package metadata, imports nothing."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu_count=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        packages={name: found for name in PACKAGES if (found := _installed(name))},
        commit=code_commit(),
    )


@cache
def code_commit() -> str | None:
    """Commit of the harness's own code, `-dirty` when it was changed since; None for an installed copy."""
    root = Path(__file__).resolve().parents[1]
    if _git(root, "ls-files", "--error-unmatch", "harness/version.py") is None:
        return None  # not in git, or inside the git repository of somebody else's project
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "harness", "baselines")
    return f"{commit}-dirty" if commit and changed else commit


def _git(root: Path, *arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run([git, "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
