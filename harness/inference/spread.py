"""How far poses move when the same clips are computed in other batches: rounding, measured rather than promised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.datasets.sequences import DataSet
from harness.inference.engine import predict_together
from harness.inference.reading import Read
from harness.inference.settings import Asked, Settings
from harness.predictions import Predictions

__all__ = ["batch_spread"]


def batch_spread(
    asked: Asked, dataset: DataSet, found: Predictions, *, settings: Settings, batch_size: int, read: Read | None = None
) -> dict[str, Any]:
    """The shortest sequence with people once more in smaller batches, compared with what was `found`.

    Gives `clips`, the two `batch_sizes`, and the largest differences `joints_px` and `scores`; nothing where there is
    nobody to look at.
    """
    counts = np.bincount(asked.boxes.sequence, minlength=len(dataset))
    if not counts.any():
        return {}
    number = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
    smaller = max(1, min(batch_size, int(counts[number])) // 3)
    rows = asked.boxes.sequence == number
    alone = replace(
        asked.boxes, sequence=np.zeros(int(rows.sum()), dtype=np.int64),
        **{name: getattr(asked.boxes, name)[rows] for name in ("frame", "boxes", "scores", "track_ids")},
    )  # fmt: skip
    again, _ = predict_together(
        [replace(asked, boxes=alone, shards=None, within=None)],
        replace(dataset, sequences=(dataset.sequences[number],)),
        settings=replace(settings, batch_size=smaller), read=read,
    )[0]  # fmt: skip
    before = found.sequence == number
    if len(again) != int(before.sum()):  # a whole-frame method may find one person more or less
        people = [int(before.sum()), len(again)]
        return {"clips": int(counts[number]), "batch_sizes": [batch_size, smaller], "people": people}
    return {
        "clips": int(counts[number]),
        "batch_sizes": [batch_size, smaller],
        "joints_px": _largest(found.joints[before], again.joints),
        "scores": _largest(found.scores[before], again.scores),
    }


def _largest(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Largest difference, to three significant digits."""
    return float(f"{np.nanmax(np.abs(one - other), initial=0.0):.3g}")
