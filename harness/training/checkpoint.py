"""Checkpoints that a training continues from as if it had never stopped, and the files it leaves."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.errors import UsageError, WeightsError, listed

__all__ = ["LOG_COLUMNS", "Progress", "restore", "save_checkpoint", "write_log"]

LOG_COLUMNS = ("step", "seconds", "learning_rate", "loss", "held_out_pckh")


@dataclass
class Progress:
    """What has happened so far: `log` rows as in LOG_COLUMNS, `best` held-out PCKh, seconds spent training."""

    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    best: float = -1.0
    log: list[dict[str, Any]] = field(default_factory=list)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def save_checkpoint(
    path: Path,
    module: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    identity: Mapping[str, Any],
) -> None:
    """Write everything that the next step depends on."""
    buffer = io.BytesIO()
    state = {"module": module.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**state, "progress": vars(progress), "identity": dict(identity)}, buffer)
    write_atomically(path, buffer.getvalue())


def restore(
    path: Path, module: torch.nn.Module, optimiser: torch.optim.Optimizer, identity: Mapping[str, Any]
) -> Progress:
    """Put a checkpoint back; UsageError if it is of another training, WeightsError if it cannot be read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except Exception as error:
        raise WeightsError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); delete it to start anew"
        ) from None
    different = sorted(key for key in identity.keys() | found.keys() if identity.get(key) != found.get(key))
    if different:
        raise UsageError(
            f"{path}: is of another training ({listed(different)} differ); "
            "choose another output folder or do not resume"
        )
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    return Progress(**state["progress"])


def write_log(path: Path, progress: Progress) -> None:
    """The curves so far as CSV; written whole, so that a resumed run leaves no doubled rows."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(progress.log)
    write_atomically(path, text.getvalue().encode())
