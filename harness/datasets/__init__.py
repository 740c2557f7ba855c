"""Data sets: folders on disk -> DataSet of Sequences. One file per data set; `open_dataset` is the way in."""

from harness.datasets.registry import DatasetCard, check_split, datasets, open_dataset, register_dataset
from harness.datasets.sequences import NO_TRACK, DataSet, Frame, Polygon, Sequence, Truth

__all__ = [
    "NO_TRACK",
    "DataSet",
    "DatasetCard",
    "Frame",
    "Polygon",
    "Sequence",
    "Truth",
    "check_split",
    "datasets",
    "open_dataset",
    "register_dataset",
]
