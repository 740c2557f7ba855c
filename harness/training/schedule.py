"""Learning rates over a training."""

from __future__ import annotations

import math

from harness.training.recipe import Recipe

__all__ = ["learning_rate"]


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of a step, 0-based, of `steps`.

    >>> recipe = Recipe(learning_rate=1.0, warm_up=4)
    >>> [round(learning_rate(recipe, step, 12), 3) for step in (0, 3, 4, 8, 11)]
    [0.25, 1.0, 1.0, 0.5, 0.038]
    >>> recipe = Recipe(learning_rate=1.0, warm_up=0, schedule="steps", milestones=(2, 3), epochs=4)
    >>> [round(learning_rate(recipe, step, 8), 3) for step in range(8)]
    [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    >>> recipe = Recipe(learning_rate=1.0, schedule="power")
    >>> [round(learning_rate(recipe, step, 30000), 4) for step in (0, 500, 15000)]
    [1.0, 0.9641, 0.503]
    """
    if recipe.schedule == "power":
        return float(recipe.learning_rate * (1 + 1e-4 * step) ** -0.75)
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    progress = min((step - recipe.warm_up) / max(steps - recipe.warm_up, 1), 1.0)
    if recipe.schedule == "cosine":
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    if recipe.schedule == "linear":
        return recipe.learning_rate * (1 - progress)
    # Milestones count from the first step, warm-up included; multiplied out, so that no epoch is missed by rounding.
    passed = sum(step * (recipe.epochs or 0) >= epoch * steps for epoch in recipe.milestones)
    return float(recipe.learning_rate * recipe.decay**passed)
