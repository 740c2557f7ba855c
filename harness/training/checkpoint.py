"""Checkpoints that a training continues from as if it had never stopped, and the curves it leaves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from harness.errors import UsageError, WeightsError, listed
from harness.files import write_whole
from harness.training.recipe import Recipe, plain_recipe

__all__ = ["LOG_COLUMNS", "Progress", "Stateful", "restore", "save_checkpoint", "write_log"]

LOG_COLUMNS = ("step", "seconds", "learning_rate", "loss", "held_out_pckh", "held_out_ap")

#: What descriptions of presets did not say when the first checkpoints were written, as it stands at its default.
_LATER = (", recurrent=()",)


class Stateful(Protocol):
    """A part of a training that a checkpoint holds: network, optimiser, loss scaler, average."""

    def state_dict(self) -> dict[str, Any]:
        """Everything it depends on."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Put it back."""


@dataclass
class Progress:
    """What has happened so far: `log` rows as in LOG_COLUMNS, `best` held-out PCKh, seconds spent training."""

    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    best: float = -1.0
    log: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(path: Path, parts: Mapping[str, Stateful], progress: Progress, identity: Mapping[str, Any]) -> None:
    """Write everything that the next step depends on."""
    buffer = io.BytesIO()
    states = {name: part.state_dict() for name, part in parts.items()}
    torch.save({**states, "progress": vars(progress), "identity": dict(identity)}, buffer)
    write_whole(path, buffer.getvalue())


def restore(path: Path, parts: Mapping[str, Stateful], identity: Mapping[str, Any]) -> Progress:
    """Put a checkpoint back; UsageError if it is of another training, WeightsError if it cannot be read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = {"budget": identity.get("budget"), **_as_now(state["identity"])}  # older ones do not tell it
    except Exception as error:
        raise WeightsError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); delete it to start anew"
        ) from None
    wanted = _as_now(identity)
    different = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if different:
        raise UsageError(
            f"{path}: is of another training ({listed(different)} differ); "
            "choose another output folder or do not resume"
        )
    for name, part in parts.items():
        if name in state:  # checkpoints from before mixed precision have no scaler
            part.load_state_dict(state[name])
    return Progress(**state["progress"])


def _as_now(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as it would be written today: choices that did not exist stand at their defaults."""
    known, recipe = plain_recipe(Recipe()), identity.get("recipe") or {}
    augmentation = {**known["augmentation"], **recipe.get("augmentation", {})}
    content = str(identity.get("preset_content"))
    for later in _LATER:
        content = content.replace(later, "")
    return {**identity, "preset_content": content, "recipe": {**known, **recipe, "augmentation": augmentation}}


def write_log(path: Path, progress: Progress) -> None:
    """The curves so far as CSV; written whole, so that a resumed run leaves no doubled rows."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(progress.log)
    write_whole(path, text.getvalue().encode())
