"""Losses of coordinates that are choices among bins: outputs (B,J,X+Y), the bins of x and then those of y (simcc.md 4).

The released ones differ in what they average over, and so in scale; label smoothing is the codec's (its style "simdr").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch.nn.functional import log_softmax

from harness.codecs import Targets
from harness.training.losses import register_loss

__all__ = ["bin_cross_entropy", "bin_divergence", "divergences", "summed_bin_divergence"]

#: Logits and labels (B,J,bins), weights (B,J) -> scalar, for one axis.
AxisLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def divergences(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,J) sums over the bins of label (log label - log p), p the softmax of the logits, 0 where a label is 0.

    >>> divergences(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])).item() == torch.tensor(2.0).log().item()
    True
    """
    divergence: torch.Tensor = torch.xlogy(labels, labels) - labels * log_softmax(logits, dim=-1)
    return divergence.sum(-1)


def bin_divergence(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """For one axis: mean over bins, samples and joints: KLDiscretLoss, and NMTNORMCritierion where labels are smoothed.

    >>> round(bin_divergence(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1)).item(), 4)
    0.3466
    """
    return (divergences(logits, labels) * weights).mean() / logits.shape[-1]


def summed_bin_divergence(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, per: Literal["sample", "joint"] = "sample"
) -> torch.Tensor:
    """For one axis: sum over bins, samples and joints by the samples: NMTCritierion of SimDR.

    Per joint: mean over bins, sum over the rest by the joints: mmpose's KLDiscretLoss.
    """
    total = (divergences(logits, labels) * weights).sum()
    return total / len(logits) if per == "sample" else total / logits.shape[-1] / logits.shape[1]


def sharp_bin_divergence(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """mmpose's KLDiscretLoss as RTMPose sets it: logits times 10, labels the softmax of 10 labels."""
    return summed_bin_divergence(10 * logits, (10 * labels).softmax(-1), weights, per="joint")


def bin_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """For one axis: cross-entropy with the labels brought to sum 1, mean over the known joints.

    The divergence proper: its size depends neither on the number of bins nor on how many joints are known.

    >>> labels = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]])
    >>> round(bin_cross_entropy(torch.zeros(1, 2, 2), labels, torch.tensor([[1.0, 0.0]])).item(), 4)
    0.6931
    """
    wanted = labels / labels.sum(-1, keepdim=True).clamp_min(1e-12)
    per_joint: torch.Tensor = -(wanted * log_softmax(logits, dim=-1)).sum(-1)
    return (per_joint * weights).sum() / weights.sum().clamp_min(1e-12)


def _both_axes(axis_loss: AxisLoss, outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    first = targets.sections[0]
    x, y = outputs[..., :first], outputs[..., first:]
    labels_x, labels_y = targets.values[..., :first], targets.values[..., first:]
    return axis_loss(x, labels_x, targets.weights) + axis_loss(y, labels_y, targets.weights)


_LOSSES: dict[str, AxisLoss] = {
    "bin_cross_entropy": bin_cross_entropy,
    "simcc_kl": bin_divergence,
    "simcc_kl_mmpose": partial(summed_bin_divergence, per="joint"),
    "simcc_kl_rtmpose": sharp_bin_divergence,
    "simcc_nmt": summed_bin_divergence,
}
for _name, _loss in _LOSSES.items():
    register_loss(_name, partial(_both_axes, _loss), form="vectors")
