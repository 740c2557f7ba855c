"""DSNT's losses (Nibali et al. 2018): where the mean of a map lies, and what the map looks like round it.

Maps (B,J,h,w) of logits become distributions by a softmax over the cells; coordinates run from -1 to 1 between the
outer edges of the map (seed002_rest.md 2). Everything is per joint, (B,J), until it is averaged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from harness.codecs import Targets
from harness.codecs.dsnt import expected_cells
from harness.errors import UsageError
from harness.training.losses import register_loss

__all__ = ["coordinate_loss", "distance", "js_divergence", "kl_divergence", "normalised", "variance", "variance_error"]

#: Distributions and the Gaussians they should be -> (B,J).
Regulariser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_LEAST = 1e-24


def normalised(cells: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Cells (...,2) of a grid (width, height) in -1..1 from edge to edge.

    >>> normalised(torch.tensor([0.0, 1.5]), (2, 4)).tolist()
    [-0.5, 0.0]
    """
    return (2 * cells + 1) / cells.new_tensor(grid) - 1


def distance(cells: torch.Tensor, wanted: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """(B,J) Euclidean distance, not squared, of cells (B,J,2) in normalised units."""
    apart: torch.Tensor = torch.linalg.vector_norm(normalised(cells, grid) - normalised(wanted, grid), dim=-1)
    return apart


def kl_divergence(maps: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(B,J) Kullback-Leibler divergence of distributions (B,J,h,w) from those they should be."""
    return (maps * ((maps + _LEAST).log() - (wanted + _LEAST).log())).sum((-2, -1))


def js_divergence(maps: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(B,J) Jensen-Shannon divergence, 0..log 2.

    >>> ends = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    >>> round(js_divergence(*ends).item(), 4)
    0.6931
    """
    middle = (maps + wanted) / 2
    return (kl_divergence(maps, middle) + kl_divergence(wanted, middle)) / 2


def variance(maps: torch.Tensor) -> torch.Tensor:
    """(B,J,2) variance of distributions (B,J,h,w) along x and y, in cells squared."""
    mean = expected_cells(maps)
    along = []
    for axis, marginal in ((0, maps.sum(-2)), (1, maps.sum(-1))):
        steps = torch.arange(marginal.shape[-1], dtype=maps.dtype, device=maps.device)
        along.append((marginal * (steps - mean[..., axis, None]) ** 2).sum(-1))
    return torch.stack(along, dim=-1)


def variance_error(maps: torch.Tensor, wanted: torch.Tensor | float) -> torch.Tensor:
    """(B,J) squared error of the variances, x and y added; `wanted` in cells squared, (B,J,2) or one for all."""
    return (variance(maps) - wanted).square().sum(-1)


def coordinate_loss(
    outputs: torch.Tensor, targets: Targets, *, regulariser: Regulariser | None, factor: float = 1.0
) -> torch.Tensor:
    """Distance of the mean place and `factor` times a regulariser of the map, mean over the joints that count.

    Raises UsageError for targets without places: the codec has to be dsnt.
    """
    if targets.places is None:
        raise UsageError(
            "DSNT's losses compare places, which targets of codec 'dsnt' alone have; train with it (--codec)"
        )
    maps = outputs.flatten(2).softmax(-1).view_as(outputs)
    weights, grid = targets.weights, (outputs.shape[-1], outputs.shape[-2])
    loss = distance(expected_cells(maps), targets.places, grid)
    if regulariser is not None:
        loss = loss + factor * regulariser(maps, targets.values)
    return (loss * weights).sum() / weights.sum().clamp_min(1)


def _like_target(maps: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The variance of the target itself, which is sigma squared but for the cells it is made of."""
    return variance_error(maps, variance(wanted))


_REGULARISERS: dict[str, Regulariser | None] = {
    "dsnt": None,
    "dsnt_js": js_divergence,
    "dsnt_kl": kl_divergence,
    "dsnt_variance": _like_target,
}
for _name, _regulariser in _REGULARISERS.items():
    register_loss(_name, partial(coordinate_loss, regulariser=_regulariser), form="maps")
