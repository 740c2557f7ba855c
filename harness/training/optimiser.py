"""The optimiser of a recipe, and which parts of a network learn."""

from __future__ import annotations

import torch

from harness.errors import UsageError
from harness.training.recipe import Recipe

__all__ = ["make_optimiser", "set_training"]


def make_optimiser(module: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over what is not frozen; vectors (biases, norms) are not decayed. UsageError where nothing is so called."""
    names = [name for name, _ in module.named_parameters()]
    unknown = [prefix for prefix in recipe.frozen if not any(name.startswith(prefix) for name in names)]
    if unknown:
        parts = sorted({f"{name.split('.')[0]}." for name in names})
        raise UsageError(f"nothing to freeze is called '{unknown[0]}...'; parts are {', '.join(parts)}")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(recipe.frozen) if recipe.frozen else True)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def set_training(module: torch.nn.Module, frozen: tuple[str, ...]) -> None:
    """Training mode, but for frozen parts, whose batch norms keep their statistics."""
    module.train()
    for name, child in module.named_modules():
        if frozen and f"{name}.".startswith(frozen):
            child.eval()
