"""Where the label files of a split lie: a folder with one file per video, or one merged file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.datasets.json_files import SUFFIXES, sequence_name
from harness.datasets.layouts import Visibility, read_sequence
from harness.datasets.sequences import Sequence
from harness.errors import DataError, listed

__all__ = ["PLACES", "LabelFiles", "Places", "find_label_files", "labels_below", "read_folder"]


@dataclass(frozen=True)
class LabelFiles:
    """The files of a split: `per_sequence` sorted by name, or the one `merged` file."""

    per_sequence: tuple[Path, ...] = ()
    merged: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return self.per_sequence if self.merged is None else (self.merged,)


@dataclass(frozen=True)
class Places:
    """Where labels of a data set are looked for, below its root: `{split}` is the split, `*` anything."""

    folders: tuple[str, ...]
    merged: tuple[str, ...]


#: Data set -> the folders with a file per video, in order of preference, then the merged files.
PLACES = {
    "posetrack17": Places(
        folders=("annotations/{split}", "posetrack_data/annotations/{split}", "jsons/{split}"),
        merged=(
            "posetrack_{split}.json",
            "annotations/posetrack_{split}.json",
            "annotations/posetrack17_{split}.json",
            "jsons/posetrack_{split}.json",
        ),
    ),
    "posetrack18": Places(
        folders=("annotations/{split}", "posetrack_data/annotations/{split}", "jsons/{split}"),
        merged=(
            "annotations/*posetrack18_{split}.json",
            "posetrack18_{split}.json",
            "posetrack_{split}.json",
            "annotations/posetrack_{split}.json",
            "jsons/posetrack_{split}.json",
        ),
    ),
    "posetrack21": Places(
        folders=("posetrack_data/{split}", "annotations/{split}"),
        merged=("annotations/*posetrack21_{split}.json", "posetrack21_{split}.json", "posetrack_{split}.json"),
    ),
}


def find_label_files(name: str, root: Path, split: str) -> LabelFiles:
    """The label files of a split of data set `name` below `root`: a file per video if there are any, else a merged one.

    Raises DataError that lists what was looked for, or that names files between which there is no choice.
    """
    folders = [pattern.format(split=split) for pattern in PLACES[name].folders]
    merged = [pattern.format(split=split) for pattern in PLACES[name].merged]
    for folder in folders:
        files = [path for path in sorted((root / folder).glob("*")) if path.name.endswith(SUFFIXES)]
        if files:
            return LabelFiles(per_sequence=_unambiguous(files))
    for pattern in merged:
        files = sorted(root.glob(pattern))
        if len(files) > 1:
            names = listed([path.relative_to(root).as_posix() for path in files])
            raise DataError(f"{root}: several merged label files for split '{split}': {names}; keep one")
        if files:
            return LabelFiles(merged=files[0])
    looked_for = ", ".join([f"{folder}/*.json" for folder in folders] + merged)
    raise DataError(f"{root}: no labels of {name} for split '{split}'; looked for {looked_for}")


def labels_below(name: str, root: Path, splits: Iterable[str]) -> frozenset[Path]:
    """What lies in the first filled place for labels of each of the splits, sound or not; nothing raises."""
    found: set[Path] = set()
    for split in splits:
        patterns = [f"{folder}/*" for folder in PLACES[name].folders] + list(PLACES[name].merged)
        filled = (
            [path for path in root.glob(pattern.format(split=split)) if path.name.endswith(SUFFIXES)]
            for pattern in patterns
        )
        found.update(next((files for files in filled if files), []))
    return frozenset(found)


def read_folder(folder: Path, *, visibility: Visibility = "is_visible") -> tuple[Sequence, ...]:
    """Every label file of a folder, in sorted order, whatever its layout; DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one label file per sequence in it")
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES)]
    if not files:
        raise DataError(f"{folder}: holds no {' or '.join(SUFFIXES)} label files")
    return tuple(read_sequence(path, visibility=visibility) for path in _unambiguous(files))


def _unambiguous(files: list[Path]) -> tuple[Path, ...]:
    names = [sequence_name(path) for path in files]
    for first, second in pairwise(names):
        if first == second:
            raise DataError(f"{files[0].parent}: '{first}' is there as .json and as .json.gz; keep one of them")
    return tuple(files)
