"""The image files of a data set: where labels and disk name them differently, and which are missing."""

from __future__ import annotations

import os
from collections.abc import Collection
from collections.abc import Sequence as ManyOf
from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.datasets.sequences import DataSet, Frame, Sequence
from harness.errors import UsageError, listed

__all__ = ["missing_images", "relocated", "without"]


def relocated(sequence: Sequence, root: Path, prefixes: ManyOf[tuple[str, str]]) -> Sequence:
    """The sequence with image names that are relative to `root`.

    Each of `prefixes` is (what a name starts with, what stands there instead). The first under which the first image
    exists is taken; where there is none, the first that applies, so that the missing images are named sensibly.
    """
    if not sequence.frames:
        return sequence
    first = sequence.frames[0].image
    applying = [(old, new) for old, new in prefixes if first.startswith(old)]
    if not applying:
        return sequence
    found = [(old, new) for old, new in applying if (root / (new + first.removeprefix(old))).is_file()]
    old, new = (found or applying)[0]
    if old == new:
        return sequence
    frames = [replace(frame, image=new + frame.image.removeprefix(old)) for frame in sequence.frames]
    return replace(sequence, frames=tuple(frames))


def missing_images(dataset: DataSet) -> dict[str, list[Frame]]:
    """Sequence name -> its frames that have no image file, for sequences that miss any; one look into each folder."""

    @cache
    def present(folder: str) -> frozenset[str]:
        try:
            with os.scandir(dataset.root / folder) as entries:
                return frozenset([entry.name for entry in entries])
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()

    def exists(frame: Frame) -> bool:
        folder, _, name = frame.image.rpartition("/")
        return name in present(folder)

    missing = {}
    for sequence in dataset.sequences:
        absent = [frame for frame in sequence.frames if not exists(frame)]
        if absent:
            missing[sequence.name] = absent
    return missing


def without(dataset: DataSet, names: Collection[str]) -> DataSet:
    """The data set without some sequences, its fingerprint unchanged; UsageError for a name it does not have."""
    unknown = sorted(set(names) - {sequence.name for sequence in dataset.sequences})
    if unknown:
        raise UsageError(f"data set '{dataset.name}' ({dataset.split}) has no sequence {listed(unknown)}")
    kept = tuple(sequence for sequence in dataset.sequences if sequence.name not in names)
    return replace(dataset, sequences=kept)
