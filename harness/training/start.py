"""Starting a training from weights of another one: a backbone under a temporal head, a longer run."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.errors import WeightsError, listed
from harness.weights.checkpoints import read_checkpoint

__all__ = ["start_from"]


def start_from(module: torch.nn.Module, path: Path, *, prefix: str = "") -> None:
    """Copy every tensor of a checkpoint to `prefix` + its name; what the module holds beyond keeps its fresh values.

    Raises WeightsError for a tensor that has no place or another shape.
    """
    state, _ = read_checkpoint(path)
    own = module.state_dict()
    placed = {prefix + key: value for key, value in state.items()}
    wrong = [key for key, value in placed.items() if key not in own or own[key].shape != value.shape]
    if wrong:
        raise WeightsError(f"{path}: {len(wrong)} tensors have no place under '{prefix}': {listed(wrong)}")
    module.load_state_dict({**own, **placed})
