"""Optimal transport between two feature maps, by Sinkhorn's iteration (hmta spec 4.1). Training only."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d, normalize

__all__ = ["feature_cost", "sinkhorn", "transport_loss"]


def sinkhorn(
    cost: torch.Tensor,
    *,
    epsilon: float = 0.05,
    iterations: int = 50,
    rows: torch.Tensor | None = None,
    columns: torch.Tensor | None = None,
) -> torch.Tensor:
    """Entropic plan (B,N,M) for costs (B,N,M), with marginals `rows` (B,N) and `columns` (B,M), uniform by default.

    In the log domain, from potentials of 0: each iteration fits the rows, then the columns, so that after few of them
    only the columns hold.

    >>> plan = sinkhorn(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
    >>> plan.round(decimals=3).tolist()
    [[[0.5, 0.0], [0.0, 0.5]]]
    """
    count, height, width = cost.shape
    rows = cost.new_full((count, height), 1 / height) if rows is None else rows
    columns = cost.new_full((count, width), 1 / width) if columns is None else columns
    log_rows, log_columns = rows.log()[:, :, None], columns.log()[:, None]
    kernel = -cost / epsilon
    of_columns = torch.zeros_like(log_columns)
    of_rows = torch.zeros_like(log_rows)
    for _ in range(iterations):
        of_rows = log_rows - torch.logsumexp(kernel + of_columns, dim=2, keepdim=True)
        of_columns = log_columns - torch.logsumexp(kernel + of_rows, dim=1, keepdim=True)
    return torch.exp(kernel + of_rows + of_columns)


def feature_cost(one: torch.Tensor, other: torch.Tensor, *, position: float = 1.0) -> torch.Tensor:
    """Maps (B,C,h,w) -> (B,hw,hw): 1 - cosine of the features plus `position` x squared distance of their places.

    Places are 0..1 on both axes. Without the position term a map may be shuffled at will and costs nothing more.
    """
    height, width = one.shape[-2:]
    first, second = (normalize(maps.flatten(2), dim=1) for maps in (one, other))
    y, x = (torch.linspace(0, 1, length, device=one.device, dtype=one.dtype) for length in (height, width))
    places = torch.stack((y[:, None].expand(height, width), x.expand(height, width)), dim=-1).flatten(0, 1)
    apart = (places[:, None] - places).square().sum(-1)
    return 1 - first.mT @ second + position * apart


def transport_loss(
    aligned: torch.Tensor,
    key: torch.Tensor,
    *,
    epsilon: float = 0.05,
    iterations: int = 50,
    position: float = 1.0,
    salient: torch.Tensor | None = None,
    pool: int = 4,
) -> torch.Tensor:
    """What it costs to turn aligned maps (B,C,h,w) into the key's, mean over the batch, in float32.

    Maps are pooled by `pool` first; `salient` (B,1,h,w) weighs the cells of both. The gradient goes through the costs,
    with the plan held, and does not reach the key.
    """
    one, other = (avg_pool2d(maps.float(), pool) for maps in (aligned, key.detach()))
    cost = feature_cost(one, other, position=position)
    with torch.no_grad():
        marginal = None
        if salient is not None:
            weight = avg_pool2d(salient.float(), pool).flatten(1) + 1e-6
            marginal = weight / weight.sum(1, keepdim=True)
        plan = sinkhorn(cost, epsilon=epsilon, iterations=iterations, rows=marginal, columns=marginal)
    return (plan * cost).sum((1, 2)).mean()
