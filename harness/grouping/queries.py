"""Joints out of a set of queries, each of which says what it is and where: PRTR's way (seed002_rest.md 4.3)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

__all__ = ["best_queries", "read_joints"]


def best_queries(weights: torch.Tensor) -> torch.Tensor:
    """(N,J) the query that each joint takes, none twice, the sum of weights (N,Q,J) being highest.

    Where every joint's best query is its own there is nothing to solve, and the weights stay on their device.

    >>> best_queries(torch.tensor([[[0.9, 0.8], [0.5, 0.1]]])).tolist()  # both want query 0; 0.5 + 0.8 is more
    [[1, 0]]
    """
    best = weights.argmax(dim=1)
    ordered = best.sort(dim=1).values
    contested = (ordered[:, 1:] == ordered[:, :-1]).any(dim=1)
    for row in contested.nonzero().flatten().tolist():
        queries, joints = linear_sum_assignment(weights[row].cpu().numpy(), maximize=True)
        best[row, torch.from_numpy(joints)] = torch.from_numpy(np.asarray(queries)).to(best)
    return best


def read_joints(
    logits: torch.Tensor, places: torch.Tensor, *, weigh: str = "probability"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (N,J,2) and probabilities (N,J) of the joints from logits (N,Q,J+1), "none" last, and places (N,Q,2).

    Queries are chosen by "probability" among the joints, or by raw "logit" as the end-to-end form does.
    """
    of_joints = logits[..., :-1].float()
    chances = of_joints.softmax(dim=-1)
    queries = best_queries(chances if weigh == "probability" else of_joints)
    scores = chances.gather(1, queries[:, None, :])[:, 0]
    return places.float().gather(1, queries[..., None].expand(-1, -1, 2)), scores
