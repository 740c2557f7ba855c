"""The registered data sets and the one function that opens a split of one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.sequences import DataSet
from harness.errors import DataError, UsageError, listed
from harness.registry import Registry, load_plugins

__all__ = ["DatasetCard", "check_split", "datasets", "open_dataset", "register_dataset"]


@dataclass(frozen=True)
class DatasetCard:
    """What a user needs to know of a data set before having it, and how it is read.

    `read(root, split)` returns a DataSet; `prepare(split, progress=None, root=None, seed=0)` makes an embedded data
    set and returns its root, None for one that has to be downloaded; `evaluable` are the splits with public labels.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    read: Callable[[Path, str], DataSet]
    prepare: Callable[..., Path] | None = None
    get_it: str = ""
    evaluable: tuple[str, ...] = ("train", "val")


_BUILT_IN = ("posetrack17", "posetrack18", "posetrack21", "synthtrack")


def _load_built_in() -> None:
    for name in _BUILT_IN:
        importlib.import_module(f"harness.datasets.{name}")


datasets: Registry[DatasetCard] = Registry("data set", before_lookup=_load_built_in, before_miss=load_plugins)


def register_dataset(card: DatasetCard) -> DatasetCard:
    """Make a data set available by name everywhere."""
    return datasets.add(card.name, card)


def check_split(name: str, split: str) -> DatasetCard:
    """The card of a data set that has the split; UsageError names what there is."""
    card = datasets[name]
    if split not in card.splits:
        raise UsageError(f"data set '{name}' has no split '{split}'; it has {', '.join(card.splits)}")
    return card


def open_dataset(
    name: str, split: str, *, root: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> DataSet:
    """Read one split of a registered data set.

    Embedded data sets are made on first use when no root is given; `progress` is then called with (frames done, frames
    in all). Raises UsageError for an unknown name or split, DataError for a missing root or unusable files.
    """
    card = check_split(name, split)
    if root is None:
        if card.prepare is None:
            raise DataError(f"data set '{name}' needs --data-root DIR (where its images and labels lie). {card.get_it}")
        root = card.prepare(split) if progress is None else card.prepare(split, progress=progress)
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; give --data-root the folder that holds the images and labels of {name}"
        )
    dataset = card.read(root, split)
    if not dataset.sequences:
        raise DataError(
            f"{root}: no sequences of split '{split}' found for {name}; expected {listed(list(card.splits))}"
        )
    return dataset
