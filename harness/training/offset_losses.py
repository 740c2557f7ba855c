"""The loss of discs with offset maps, UDP's "combined" target (codecs.md 5.1): outputs (B,3J,h,w), three a joint."""

from __future__ import annotations

import torch

from harness.codecs import Targets
from harness.training.losses import register_loss

__all__ = ["offset_mse"]


def offset_mse(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Half the squared error of the disc over all cells, and of both offsets where the disc is; mean over the joints.

    >>> maps = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)  # one joint in one cell, half a radius to the right
    >>> offset_mse(torch.zeros(1, 3, 1, 1), Targets(maps, torch.ones(1, 1))).item()  # (1 + 0.25 + 0) / 2
    0.625
    """
    weights = targets.weights[:, :, None, None]
    disc, *offsets = (outputs[:, part::3] for part in range(3))
    true_disc, *true_offsets = (targets.values[:, part::3] for part in range(3))
    loss: torch.Tensor = ((disc - true_disc) * weights).square().mean()
    for maps, wanted in zip(offsets, true_offsets, strict=True):
        loss = loss + ((maps - wanted) * weights * true_disc).square().mean()
    return 0.5 * loss


register_loss("offset_mse", offset_mse, form="offset maps")
