"""Training: one trainer, its losses, and recipes as data.

Methods register losses and recipes of their own, so importing this package loads no trainer (and no inference) before
it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.training import bin_losses as _bin_losses  # noqa: F401  (registers its losses)
from harness.training import coordinate_losses as _coordinate_losses  # noqa: F401  (registers its losses)
from harness.training import offset_losses as _offset_losses  # noqa: F401  (registers its losses)
from harness.training.losses import Loss, StatesLoss, losses, register_loss
from harness.training.recipe import Adaptation, Augmentation, Recipe
from harness.training.recipes import about_recipe, open_recipe, recipes, register_recipes

if TYPE_CHECKING:
    from harness.training.keeper import Trained
    from harness.training.loop import Report, train

__all__ = [
    "Adaptation",
    "Augmentation",
    "Loss",
    "Recipe",
    "Report",
    "StatesLoss",
    "Trained",
    "about_recipe",
    "losses",
    "open_recipe",
    "recipes",
    "register_loss",
    "register_recipes",
    "train",
]

_LATER = {"Report": "loop", "Trained": "keeper", "train": "loop"}


def __getattr__(name: str) -> Any:
    """Import the trainer on first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"harness.training.{_LATER[name]}"), name)
