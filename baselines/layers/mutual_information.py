"""The "mutual information" terms of FAMI-Pose, as released and as a true divergence (fami spec 3.2, 3.4).

Training only. The released estimator feeds a library's KL routine a probability where it expects a log-probability,
so it is no divergence; `kl` is what it was probably meant to be. Distributions are over the cells of one map.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch.nn.functional import log_softmax

__all__ = ["Estimator", "Evidence", "estimate", "information_loss", "information_terms", "weighted_terms"]

Estimator = Literal["released", "kl"]

TEMPERATURE = 0.05

#: Factor of each of the six terms; terms 2 and 6 are the same number.
_FACTORS = (-1.0, 1.0, 1.0, -1.0, 1.0, -1.0)
#: Terms 1 and 2 speak of what the refined feature adds, and weigh less.
_COMPLEMENTARY = (0, 1)


class Evidence(NamedTuple):
    """What the terms compare: maps (B,C,h,w) of features and (B,J,h,w) of joints.

    `heatmaps` y, as predicted; features `refined` (z~), `support` (z_t+d) and `key` (z_t), and what the frozen
    label head makes of each of them.
    """

    heatmaps: torch.Tensor
    refined: torch.Tensor
    support: torch.Tensor
    key: torch.Tensor
    refined_labels: torch.Tensor
    support_labels: torch.Tensor
    key_labels: torch.Tensor


def estimate(known: torch.Tensor, learned: torch.Tensor, *, estimator: Estimator = "released") -> torch.Tensor:
    """How much `learned` (B,C,h,w) is taken to say about `known`; gradient reaches `learned` alone.

    With q and p the softmax of each map of `learned` and `known`: "released" is the mean over all elements of
    q (log q - p); "kl" is minus the mean over maps of KL(q || p). Through log-softmax, so the gradient is finite where
    the released form gives NaN.

    >>> flat = torch.zeros(1, 1, 1, 2)
    >>> round(estimate(flat, flat).item(), 4), estimate(flat, flat, estimator="kl").item() == 0
    (-0.5966, True)
    """
    log_q = log_softmax(learned.float().flatten(2) / TEMPERATURE, dim=-1)
    log_p = log_softmax(known.detach().float().flatten(2) / TEMPERATURE, dim=-1)
    if estimator == "kl":
        return -(log_q.exp() * (log_q - log_p)).sum(-1).mean()
    return (log_q.exp() * (log_q - log_p.exp())).mean()


def information_terms(evidence: Evidence, *, estimator: Estimator = "released") -> torch.Tensor:
    """(6,) the terms in the order of the release: I(y;z~), I(z_t;z~), I(y;z_t+d), I(z_t+d;z~), I(y;z_t), I(z_t;z~)."""
    of_key = estimate(evidence.key, evidence.refined, estimator=estimator)
    of_support = estimate(evidence.support, evidence.refined, estimator=estimator)
    labels = (evidence.refined_labels, evidence.support_labels, evidence.key_labels)
    refined, support, key = (estimate(label, evidence.heatmaps, estimator=estimator) for label in labels)
    return torch.stack((refined, of_key, support, of_support, key, of_key))


def information_loss(evidence: Evidence, *, estimator: Estimator = "released") -> torch.Tensor:
    """What is added to the loss: the weighted terms, as means over cells like the heatmap term and the released ones.

    A divergence is a sum over cells. Weighed as one it outdoes the heatmap term a thousandfold, and since the terms of
    y pay for being far from what the label head sees, it drives heatmaps away from the people.
    """
    terms = information_terms(evidence, estimator=estimator)
    return weighted_terms(terms / evidence.heatmaps[0, 0].numel() if estimator == "kl" else terms)


def weighted_terms(terms: torch.Tensor, *, weight: float = 0.5, complementary: float = 0.1) -> torch.Tensor:
    """The weighted sum of the terms (6,); both weights are literals of the released training routine.

    >>> round(weighted_terms(torch.tensor([0.11, 0.23, 0.37, 0.53, 0.71, 0.97])).item(), 6)
    -0.204
    """
    factors = [complementary * sign if place in _COMPLEMENTARY else sign for place, sign in enumerate(_FACTORS)]
    return weight * (terms * terms.new_tensor(factors)).sum()
