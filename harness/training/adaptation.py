"""RegDA's parts (Jiang et al., CVPR 2021): a second head goes astray where nothing is labelled; the features undo it.

On target pictures the adversary is told to point at the joints that the main head did not choose; the features are then
told to bring it back, so that both heads agree there (seed002_rest.md 3). Maps (B,J,h,w) are logits over the cells.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import kl_div, log_softmax

__all__ = [
    "Adversary", "disparity", "map_divergence", "pseudo_false", "pseudo_truth", "scale_gradient", "scale_of",
]  # fmt: skip

#: The Gaussian of a pseudo label: sigma and half its window, in cells.
_SIGMA, _REACH = 2.0, 6

#: What is added to a pseudo label, so that a map of zeros is a distribution too.
_LEAST = 1e-7


def map_divergence(
    logits: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None = None, *, least: float = 0.0
) -> torch.Tensor:
    """Divergence of the softmax from maps brought to sum 1, times weights (B,J), mean over all samples and joints.

    Joints of weight 0 stay in the divisor. Where a map is all zeros and `least` is 0, the release has 0 / 0, which no
    weight takes back; such joints teach nothing here.
    """
    wanted = wanted.flatten(2) + least
    total = wanted.sum(-1, keepdim=True)
    some = total[..., 0] > 0
    share = wanted / torch.where(some[..., None], total, 1.0)
    each = kl_div(log_softmax(logits.flatten(2), dim=-1), share, reduction="none").sum(-1) * some
    return each.mean() if weights is None else (each * weights).mean()


def pseudo_truth(maps: torch.Tensor) -> torch.Tensor:
    """Gaussians of peak 1 at the highest cell of each map, cut 6 cells away; at (0, 0) where nothing is positive."""
    height, width = maps.shape[-2:]
    values, cells = maps.detach().flatten(2).max(dim=-1)
    cells = torch.where(values > 0, cells, 0)
    along = []
    for length, middle in ((width, cells % width), (height, torch.div(cells, width, rounding_mode="floor"))):
        steps = torch.arange(length, device=maps.device) - middle[..., None]
        along.append(torch.exp(-(steps.float() ** 2) / (2 * _SIGMA**2)) * (steps.abs() <= _REACH))
    return along[1][..., :, None] * along[0][..., None, :]


def pseudo_false(truth: torch.Tensor) -> torch.Tensor:
    """Where a joint is not: the pseudo labels of all the others together, at most 1.

    >>> pseudo_false(torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1)).flatten().tolist()
    [0.5, 1.0, 1.0]
    """
    return (truth.sum(dim=1, keepdim=True) - truth).clamp(0, 1)


def disparity(
    maps: torch.Tensor,
    adversary: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    astray: bool = False,
    least: float = _LEAST,
) -> torch.Tensor:
    """How far the adversary's maps are from what the main head's `maps` say or, `astray`, from what they do not say."""
    truth = pseudo_truth(maps)
    return map_divergence(adversary, pseudo_false(truth) if astray else truth, weights, least=least)


def scale_of(iteration: int, *, high: float = 0.1, alpha: float = 1.0, horizon: int = 1000) -> float:
    """The factor on gradients that reach the features through the adversary: 0 at first, `high` in the end.

    >>> [round(scale_of(iteration), 4) for iteration in (0, 1000, 15000)]
    [0.0, 0.0462, 0.1]
    """
    return 2 * high / (1 + math.exp(-alpha * iteration / horizon)) - high


def scale_gradient(features: torch.Tensor, factor: float) -> torch.Tensor:
    """The features as they are, with `factor` on what flows back; positive, for the losses have the sign already."""
    scaled: torch.Tensor = _Scaled.apply(features, factor)  # type: ignore[no-untyped-call]
    return scaled


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: torch.Tensor, factor: float) -> torch.Tensor:
        context.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * context.factor, None


class Adversary(nn.Sequential):
    """A head of the release's form: features (B,C,h,w) -> maps (B,joints,h,w), `layers` convolutions."""

    def __init__(self, channels: int, joints: int, *, layers: int = 2) -> None:
        inner: list[nn.Module] = []
        for _ in range(layers - 1):
            inner += [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        super().__init__(*inner, nn.Conv2d(channels, joints, 1))
        for part in self:
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, std=1e-3)
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
