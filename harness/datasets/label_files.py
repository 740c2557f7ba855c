"""Where the label files of a split lie: a folder with one file per video, or one merged file."""

from __future__ import annotations

from collections.abc import Sequence as ManyOf
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.datasets.json_files import SUFFIXES, sequence_name
from harness.datasets.layouts import read_sequence
from harness.datasets.sequences import Sequence
from harness.errors import DataError, listed

__all__ = ["LabelFiles", "find_label_files", "read_folder"]


@dataclass(frozen=True)
class LabelFiles:
    """The files of a split: `per_sequence` sorted by name, or the one `merged` file."""

    per_sequence: tuple[Path, ...] = ()
    merged: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return self.per_sequence if self.merged is None else (self.merged,)


def find_label_files(root: Path, split: str, *, folders: ManyOf[str], merged: ManyOf[str], name: str) -> LabelFiles:
    """The label files of `split` below `root`: the first of `folders` that holds any, else the first of `merged`.

    The patterns hold `{split}`; those of `merged` may hold `*` but must then fit one file. Raises DataError that lists
    what was looked for.
    """
    looked_for = [pattern.format(split=split) for pattern in (*folders, *merged)]
    for folder in looked_for[: len(folders)]:
        files = [path for path in sorted((root / folder).glob("*")) if path.name.endswith(SUFFIXES)]
        if files:
            return LabelFiles(per_sequence=_unambiguous(files))
    for pattern in looked_for[len(folders) :]:
        files = sorted(root.glob(pattern))
        if len(files) > 1:
            names = listed([path.relative_to(root).as_posix() for path in files])
            raise DataError(f"{root}: several merged label files for split '{split}': {names}; keep one")
        if files:
            return LabelFiles(merged=files[0])
    places = ", ".join([f"{folder}/*.json" for folder in looked_for[: len(folders)]] + looked_for[len(folders) :])
    raise DataError(f"{root}: no labels of {name} for split '{split}'; looked for {places}")


def read_folder(folder: Path) -> tuple[Sequence, ...]:
    """Every label file of a folder, in sorted order, whatever its layout; DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one label file per sequence in it")
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES)]
    if not files:
        raise DataError(f"{folder}: holds no {' or '.join(SUFFIXES)} label files")
    return tuple(read_sequence(path) for path in _unambiguous(files))


def _unambiguous(files: list[Path]) -> tuple[Path, ...]:
    names = [sequence_name(path) for path in files]
    for first, second in pairwise(names):
        if first == second:
            raise DataError(f"{files[0].parent}: '{first}' is there as .json and as .json.gz; keep one of them")
    return tuple(files)
