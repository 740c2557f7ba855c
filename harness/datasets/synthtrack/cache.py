"""Where the embedded data set lies, and making it there on first use, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import orjson

from harness.datasets.synthtrack.presets import CARD_FILE, VERSION, Progress, preset_named
from harness.errors import DataError, UsageError

__all__ = ["cache_folder", "make", "prepare"]


def cache_folder(preset: str) -> Path:
    """The folder of a preset: below HARNESS_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("HARNESS_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vidpose-harness" / "synthtrack" / VERSION / preset


def prepare(
    preset: str,
    split: str,
    *,
    root: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int = 2,
) -> Path:
    """The root of a split, by default in the cache, generated if it is not there; DataError if it cannot be written."""
    return make(preset, split, root or cache_folder(preset) / split, seed=seed, progress=progress, workers=workers)


def make(
    preset: str, split: str, root: Path, *, seed: int = 0, progress: Progress | None = None, workers: int = 2
) -> Path:
    """Generate a split at `root` unless it is complete there; safe against a kill and against a second process.

    The files are written to a temporary folder beside `root` that is renamed when complete.
    """
    chosen = preset_named(preset)
    if split not in chosen.splits:
        raise UsageError(f"synthtrack preset '{preset}' has no split '{split}'; it has {', '.join(chosen.splits)}")
    if not (root / CARD_FILE).is_file():
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            with (root.parent / f".{root.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (root / CARD_FILE).is_file():
                    _make_locked(chosen.name, split, root, seed=seed, progress=progress, workers=workers)
        except OSError as problem:
            raise DataError(
                f"{root}: cannot write the embedded data set ({problem.strerror or problem}); "
                "set HARNESS_CACHE to a folder with room that can be written"
            ) from problem
    # Here and not above: who held the lock before us may have made other clips.
    _check_seed(root, chosen.name, seed)
    return root


def _check_seed(root: Path, preset: str, seed: int) -> None:
    """Refuse to take clips of another preset or seed for those that were asked for."""
    try:
        card = dict(orjson.loads((root / CARD_FILE).read_bytes()))
    except (orjson.JSONDecodeError, TypeError, ValueError):
        raise DataError(f"{root / CARD_FILE}: is damaged; remove the folder, and it is made anew") from None
    if (card.get("preset"), card.get("seed")) != (preset, seed):
        found = f"preset '{card.get('preset')}' with seed {card.get('seed')}"
        raise UsageError(f"{root}: holds {found}, not '{preset}' with seed {seed}; choose another folder or remove it")


def _make_locked(preset: str, split: str, root: Path, *, seed: int, progress: Progress | None, workers: int) -> None:
    # Here and not above: who only reads or lists data sets need not wait for the generator and OpenCV.
    from harness.datasets.synthtrack.generate import write_split

    prefix = f".{root.name}.partial-"
    # Whoever left these was killed: we hold the lock.
    for stale in root.parent.glob(prefix + "*"):
        shutil.rmtree(stale, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
    try:
        write_split(partial, preset_named(preset), split, seed=seed, workers=workers, progress=progress)
        partial.chmod(0o755)
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
