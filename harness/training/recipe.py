"""A recipe: everything about a training that is a choice, as data that goes into its record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Augmentation", "Recipe", "learning_rate"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a sample, the same for all frames of a clip.

    `scale` s: factor clip(1 + s n, 1 - s, 1 + s); `rotation` r degrees: clip(r n, -2 r, 2 r) with
    `rotation_probability`, n being standard normal (hrnet.md 4); `shift`: uniform within this share of the crop's
    sides; `flip` probability; `colour`: gain of each channel and of all uniform within 1 +- this, brightness +- half.
    """

    scale: float = 0.12
    rotation: float = 15.0
    rotation_probability: float = 1.0
    shift: float = 0.05
    flip: float = 0.5
    colour: float = 0.2


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW, linear warm-up, cosine decay to zero.

    `frozen` are prefixes of parameter names that keep their values, with their batch norms in evaluation mode;
    `clip_norm` bounds the gradient's norm; `held_out` is the share of training sequences kept for evaluation.
    """

    loss: str = "spatial_cross_entropy"
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warm_up: int = 60
    clip_norm: float | None = None
    held_out: float = 0.05
    minimum_joints: int = 6
    frozen: tuple[str, ...] = ()
    augmentation: Augmentation = field(default_factory=Augmentation)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of a step, 0-based, of `steps`.

    >>> recipe = Recipe(learning_rate=1.0, warm_up=4)
    >>> [round(learning_rate(recipe, step, 12), 3) for step in (0, 3, 4, 8, 11)]
    [0.25, 1.0, 1.0, 0.5, 0.038]
    """
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    progress = (step - recipe.warm_up) / max(steps - recipe.warm_up, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
