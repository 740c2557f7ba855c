"""Losses of whole-frame methods: outputs and everyone in the frames in, one number out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import smooth_l1_loss

from harness.registry import Registry, load_plugins
from harness.training.frame_targets import FrameTargets, gaussians, heatmaps_of_all, offset_targets

__all__ = [
    "FrameLoss", "centre_offset_loss", "embedding_loss", "frame_losses", "heatmap_loss", "heatmap_weights",
    "offset_loss", "pull_push", "register_frame_loss",
]  # fmt: skip

#: outputs of the network, everyone in the frames -> scalar.
FrameLoss = Callable[[Any, FrameTargets], torch.Tensor]

frame_losses: Registry[FrameLoss] = Registry("loss of whole frames", before_lookup=load_plugins)


def register_frame_loss(name: str, loss: FrameLoss) -> FrameLoss:
    """Make a loss available by name to recipes of whole-frame methods."""
    return frame_losses.add(name, loss)


def pull_push(tags: torch.Tensor, known: torch.Tensor, *, kind: str = "exp") -> tuple[torch.Tensor, torch.Tensor]:
    """(B,) pull and push of tags (B,P,J): a person's agree, two persons' differ (whole_frame.md 2.9).

    `kind` of the push is "exp", of the squared difference of the mean tags, or "max", of 1 less their difference.
    """
    count = known.sum(-1)
    there = count > 0
    mean = (tags * known).sum(-1) / count.clamp_min(1)
    deviation = ((tags - mean[..., None]) ** 2 * known).sum(-1) / count.clamp_min(1)
    people = there.sum(-1)
    pull = (deviation * there).sum(-1) / people.clamp_min(1)
    apart = mean[:, :, None] - mean[:, None, :]
    near = torch.exp(-(apart**2)) if kind == "exp" else (1 - apart.abs()).clamp_min(0)
    pairs = there[:, :, None] & there[:, None, :]
    push = 0.5 * ((near * pairs).sum((1, 2)) - people) / (people * (people - 1)).clamp_min(1)
    return pull, push * (people > 1)


def heatmap_weights(wanted: torch.Tensor, counted: torch.Tensor | None, *, background: float) -> torch.Tensor:
    """(B,J,h,w) what cells count: 1 near a joint, `background` elsewhere, 0 where not `counted` (B,1,h,w)."""
    weights = torch.where(wanted > 0, 1.0, background)
    return weights if counted is None else weights * counted


def heatmap_loss(maps: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Squared error times the weights, its mean over all cells, of no weight too (whole_frame.md 2.9)."""
    return ((maps - wanted).square() * weights).mean()


def embedding_loss(
    outputs: Any, targets: FrameTargets, *, factor: float = 1e-3, sigma: float = 2.0, background: float = 1.0
) -> torch.Tensor:
    """HigherHRNet's: squared error of the heatmaps of both levels, and pull and push of the coarse one's tags.

    Cells where there is no joint count as much as `background` says, ignored ones for nothing; tags count everywhere.
    """
    total: torch.Tensor = outputs[0].new_zeros(())
    joints = outputs[1].shape[1]
    for maps in outputs:
        grid = maps.shape[3], maps.shape[2]
        cells, _ = targets.on_grid(grid)
        wanted = heatmaps_of_all(cells, targets.known, grid, sigma=sigma)
        weights = heatmap_weights(wanted, targets.counted_on(grid), background=background)
        total = total + heatmap_loss(maps[:, :joints], wanted, weights)
    coarse = outputs[0]
    cells, known = targets.on_grid((coarse.shape[3], coarse.shape[2]))
    place = torch.where(known[..., None], cells, 0).long()
    index = place[..., 1] * coarse.shape[3] + place[..., 0]
    tags = coarse[:, joints:].flatten(2)[:, None].expand(-1, index.shape[1], -1, -1)
    read = tags.gather(3, index[..., None])[..., 0]
    pull, push = pull_push(read, known)
    return total + factor * (pull + push).mean()


def offset_loss(offsets: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Smooth L1 (beta 1/9) times the weights, summed, over the number of positive weights (whole_frame.md 3.4)."""
    each = smooth_l1_loss(offsets, wanted, reduction="none", beta=1 / 9) * weights
    return each.sum() / (weights > 0).sum().clamp_min(1)


def centre_offset_loss(
    outputs: Any, targets: FrameTargets, *, factor: float = 0.03, background: float = 0.1, least_area: float = 0.0
) -> torch.Tensor:
    """DEKR's: squared error of the heatmaps of joints and centres, background counting less, and of the offsets.

    A centre is the mean of the known joints; people whose box in the image is below `least_area` px2 have none, and so
    no offsets. What is ignored counts for nothing in the heatmaps; offsets, which only people have, count everywhere.
    """
    heatmaps, offsets = outputs
    grid = heatmaps.shape[3], heatmaps.shape[2]
    cells, inside = targets.on_grid(grid)
    known = targets.known[..., None]
    count = targets.known.sum(-1)
    centre = torch.where(known, cells, 0).sum(2) / count.clamp_min(1)[..., None]
    low = torch.where(known, cells, torch.inf).amin(2)
    extent = torch.where(known, cells, -torch.inf).amax(2) - low
    extent = torch.where(count[..., None] > 0, extent, 0)
    area = extent.square().sum(-1)
    whole = area > 0
    if least_area and targets.areas is not None:
        whole = whole & (targets.areas.nan_to_num() >= least_area)
    sigma = torch.cat([cells.new_full((cells.shape[2],), 2.0), cells.new_full((1,), 4.0)])
    everything = torch.cat([cells, centre[:, :, None]], dim=2)
    shown = torch.cat([targets.known, whole[..., None]], dim=2)
    wanted = gaussians(everything, shown, grid, sigma=sigma)
    error = heatmap_loss(heatmaps, wanted, heatmap_weights(wanted, targets.counted_on(grid), background=background))
    people = (cells, inside, centre, torch.where(whole, area, 0))
    made = [
        offset_targets(joints, there, middles, areas, grid)
        for joints, there, middles, areas in zip(*(part.cpu().numpy() for part in people), strict=True)
    ]
    fields, weights = (torch.from_numpy(np.stack(parts)).to(offsets.device) for parts in zip(*made, strict=True))
    return error + factor * offset_loss(offsets, fields, weights)


register_frame_loss("associative_embedding", embedding_loss)
#: Ours, for minutes of training: maps that are nearly empty everywhere stay so where every cell counts alike.
register_frame_loss("associative_embedding_quick", partial(embedding_loss, factor=1e-2, background=0.05))
register_frame_loss("centre_offsets", centre_offset_loss)
#: The release's on COCO, where people below 32 x 32 px have no centre; here the box stands for the person's area.
register_frame_loss("centre_offsets_coco", partial(centre_offset_loss, least_area=32.0**2))
