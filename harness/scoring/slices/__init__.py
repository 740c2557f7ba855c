"""Slices: average precision where people are hidden, crowded, fast, small, cut off or unsharp.

    matched = match_run(sequences, predictions)
    score_slices(matched, ["visibility", "speed", "sharpness x speed"])
    score_slices(matched)                                    # every registered slice

A slice is one small registered function; see `registry.py` for how to add one.
"""

from harness.scoring.slices.bins import Assigned, assign, assign_all, footage_of
from harness.scoring.slices.footage import Footage, GreyImages
from harness.scoring.slices.registry import Slice, register_slice, slice_named, slices
from harness.scoring.slices.scoring import count_slices, score_slices

__all__ = [
    "Assigned",
    "Footage",
    "GreyImages",
    "Slice",
    "assign",
    "assign_all",
    "count_slices",
    "footage_of",
    "register_slice",
    "score_slices",
    "slice_named",
    "slices",
]
