"""A moving average of a network's weights, evaluated and shipped in place of the last ones where a recipe says so."""

from __future__ import annotations

import copy

import torch

__all__ = ["averaged", "follow"]


def averaged(module: torch.nn.Module) -> torch.nn.Module:
    """A copy to hold the average, which no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False).eval()


@torch.no_grad()
def follow(average: torch.nn.Module, module: torch.nn.Module, *, decay: float, step: int) -> None:
    """Move every number of `average` towards `module` by 1 - decay, faster in the first steps; counters are copied.

    The decay of step s (0-based) is min(decay, (1 + s) / (10 + s)), so that the start is soon forgotten.

    >>> one, other = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.zeros_(one.weight), torch.nn.init.ones_(other.weight)
    >>> follow(one, other, decay=0.75, step=1000)
    >>> one.weight.item()
    0.25
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for mean, now in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, weight)
        else:
            mean.copy_(now)
