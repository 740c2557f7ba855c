"""Methods that are fitted rather than trained: one pass over a train split gives their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.version import __version__
from harness.weights.loading import save
from harness.weights.manifest import write_text

if TYPE_CHECKING:
    from harness.datasets.sequences import DataSet
    from harness.methods import MethodCard

__all__ = ["fit_weights"]


def fit_weights(card: MethodCard, dataset: DataSet, *, out: Path) -> dict[str, Any]:
    """Fit a method to a split, write its weights to `out` (safetensors) with the record beside it, return the record.

    Raises UsageError for a method that is trained by gradients, DataError where the split does not suffice.
    """
    if card.fit is None:
        raise UsageError(f"method '{card.name}' is trained, not fitted; give `harness train` a budget for it")
    record = {
        "method": card.name,
        "dataset": dataset.name,
        "split": dataset.split,
        "fingerprint": dataset.fingerprint,
        "sequences": len(dataset),
        "people": sum(len(sequence.truth) for sequence in dataset.sequences),
        "harness": __version__,
    }
    record["sha256"] = save(card.fit(dataset), out, about=record)
    write_text(out.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    return record
