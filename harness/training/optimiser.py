"""The optimiser of a recipe, and which parts of a network learn how fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from harness.errors import UsageError
from harness.training.recipe import Recipe

__all__ = ["LayerOf", "make_optimiser", "set_rate", "set_training"]

#: Name of a parameter -> its layer from the input, 0 first; None above the last layer.
LayerOf = Callable[[str], int | None]


def make_optimiser(module: torch.nn.Module, recipe: Recipe, layer_of: LayerOf | None = None) -> torch.optim.Optimizer:
    """Adam or AdamW over what is not frozen; vectors (biases, norms) are not decayed.

    Every group has a `scale` of the learning rate. UsageError where nothing is called as what is to be frozen, or
    where layers are to be told apart and the method does not say which is which.
    """
    _freeze(module, recipe.frozen)
    scales = _scales(module, recipe, layer_of)
    groups: list[dict[str, Any]] = []
    for scale in sorted(set(scales.values()), reverse=True):
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad and scales[name] == scale]
        decayed = [p.ndim > 1 and not set(recipe.undecayed) & set(name.split(".")) for name, p in named]
        for wanted, weight_decay in ((True, recipe.weight_decay), (False, 0.0)):
            chosen = [p for (_, p), is_decayed in zip(named, decayed, strict=True) if is_decayed is wanted]
            groups.append({"params": chosen, "weight_decay": weight_decay, "scale": scale})
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step, for every group in its scale."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)  # groups of older checkpoints have none


def set_training(module: torch.nn.Module, frozen: tuple[str, ...], *, moving_norms: bool = False) -> None:
    """Training mode, but for frozen parts, whose batch norms keep their statistics unless `moving_norms`."""
    module.train()
    for name, child in module.named_modules():
        if frozen and f"{name}.".startswith(frozen) and not moving_norms:
            child.eval()


def _freeze(module: torch.nn.Module, frozen: tuple[str, ...]) -> None:
    names = [name for name, _ in module.named_parameters()]
    unknown = [prefix for prefix in frozen if not any(name.startswith(prefix) for name in names)]
    if unknown:
        parts = sorted({f"{name.split('.')[0]}." for name in names})
        raise UsageError(f"nothing to freeze is called '{unknown[0]}...'; parts are {', '.join(parts)}")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen) if frozen else True)


def _scales(module: torch.nn.Module, recipe: Recipe, layer_of: LayerOf | None) -> dict[str, float]:
    """Name of each parameter that learns -> factor on its learning rate."""
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    if recipe.layer_decay is None:
        return dict.fromkeys(names, 1.0)
    layers = {name: layer_of(name) for name, _ in module.named_parameters()} if layer_of else {}
    known = [layer for layer in layers.values() if layer is not None]
    if not known:
        raise UsageError(
            f"layer_decay {recipe.layer_decay} of the recipe needs to know the layers of {type(module).__name__}, "
            "and its card does not say them (layer_of); take a recipe without layer_decay"
        )
    top = max(known) + 1
    found = ((name, layers[name]) for name in names)
    return {name: recipe.layer_decay ** (top - (top if layer is None else layer)) for name, layer in found}
