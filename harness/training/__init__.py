"""Training: one trainer, its losses, and recipes as data."""

from harness.training.keeper import Trained
from harness.training.losses import Loss, StatesLoss, losses, register_loss
from harness.training.recipe import Augmentation, Recipe
from harness.training.trainer import Report, train

__all__ = ["Augmentation", "Loss", "Recipe", "Report", "StatesLoss", "Trained", "losses", "register_loss", "train"]
