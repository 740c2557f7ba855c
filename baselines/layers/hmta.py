"""The network of HMTA up to its heatmaps (hmta spec 2, 3): a backbone, and what it gains from aligned neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import conv2d

from baselines.layers.hrnet import HRNet
from baselines.layers.motion_split import MotionSplit, Split
from baselines.layers.residual import chain
from baselines.layers.split_alignment import Aggregate, Gathering, SplitAlignment
from harness.weights import KeyMap

__all__ = ["HmtaNetwork", "HmtaStates"]


class HmtaStates(NamedTuple):
    """What training and analysis look at; S supports, maps in cells of the features.

    `backbone` (B,J,h,w) the key frame's own heatmaps, `key` (B,C,h,w); `supports`, `aligned` (S,B,C,h,w);
    `mask` (S,B,1,h,w), `threshold` (S,B); `offsets` of the alignment's steps, each (S,B,18*groups,h,w); `gathered`
    (B,C,h,w) the aligned supports as one map. `read_aligned`, `read_supports` (S,B,J,h,w) are there where states were
    asked for: what the backbone's head, held as it is, makes of supports after and before alignment.
    """

    heatmaps: torch.Tensor
    backbone: torch.Tensor
    key: torch.Tensor
    supports: torch.Tensor
    aligned: torch.Tensor
    mask: torch.Tensor
    threshold: torch.Tensor
    offsets: tuple[torch.Tensor, ...]
    gathered: torch.Tensor
    read_aligned: torch.Tensor | None = None
    read_supports: torch.Tensor | None = None


class HmtaNetwork(nn.Module):
    """Clips (B,1+S,3,H,W), key frame first -> heatmaps (B,joints,H/4,W/4).

    `backbone` are HRNet's options, `alignment` those of SplitAlignment. `channels` reduces features for the alignment
    (None: does not). With `residual` what the neighbours say is added with a gain that starts at 0, so that the network
    starts as its backbone; without, it takes the place of the key's feature.
    """

    key_sources = (KeyMap("our names"),)

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        supports: int = 4,
        channels: int | None = None,
        split: Split = "learned",
        gathering: Gathering = "similarity",
        residual: bool = True,
        alignment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = HRNet(**backbone)
        width, joints = self.backbone.final_layer.in_channels, self.backbone.final_layer.out_channels
        inner = channels or width
        self.reduce = nn.Conv2d(width, inner, 1) if channels else nn.Identity()
        self.restore = nn.Conv2d(inner, width, 1) if channels else nn.Identity()
        self.split = MotionSplit(inner, split=split)
        options = dict(alignment or {})
        if split == "none":
            options["plain"] = "identity"  # nothing is plain, and a path for it would never learn
        self.align = SplitAlignment(inner, **options)
        self.gather = Aggregate(width, supports=supports, gathering=gathering)
        self.refine = chain(2 * width, width, 3)
        self.gain = nn.Parameter(torch.zeros(())) if residual else None
        # beside the backbone's own head, whatever weights that one gets later
        self.head = nn.Conv2d(width, joints, 3, padding=1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor | HmtaStates:
        """(B,1+S,3,H,W) -> heatmaps (B,joints,H/4,W/4), or all the states."""
        features = _split(self.backbone.features(clips.transpose(0, 1).flatten(0, 1)), clips.shape[1])
        found = self.from_features(features[0], features[1:])
        if not states:
            return found.heatmaps
        with torch.no_grad():
            before = self._read(found.supports)
        return found._replace(read_aligned=self._read(found.aligned), read_supports=before)

    def alignment(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        """How support features come to lie on the key's, for the alignment probe.

        `key`, `gathered` (B,C,h,w); `before`, `after` (S,B,C,h,w); `offsets` (S,B,2,h,w) where each cell is read on
        average, x and y in cells, both steps of what moves added; `mask` (S,B,1,h,w), `threshold` (S,B); `read_before`,
        `read_after` (S,B,J,h,w) what the backbone's head makes of the features; `outputs`.
        """
        found: HmtaStates = self(clips, states=True)
        steps = [maps.unflatten(2, (-1, 2)).mean(2).flip(2) for maps in found.offsets]
        salient = sum(steps[1 : 1 + (self.align.appearance_step is not None)], steps[0])
        plain = steps[-1] if self.align.plain_step is not None else torch.zeros_like(salient)
        assert found.read_supports is not None and found.read_aligned is not None  # noqa: S101
        return {
            "key": found.key, "before": found.supports, "after": found.aligned, "gathered": found.gathered,
            "offsets": found.mask * salient + (1 - found.mask) * plain, "mask": found.mask,
            "threshold": found.threshold, "read_before": found.read_supports, "read_after": found.read_aligned,
            "outputs": found.heatmaps,
        }  # fmt: skip

    def from_features(self, key: torch.Tensor, supports: torch.Tensor) -> HmtaStates:
        """What leads to the heatmaps, from backbone features of the key frame (B,C,h,w) and of supports (S,B,C,h,w)."""
        flat = self.reduce(supports.flatten(0, 1))
        beside = self.reduce(key).repeat(len(supports), 1, 1, 1)
        mask, threshold = self.split((flat - beside).abs())
        found = self.align(flat, beside, mask)
        aligned = _split(self.restore(found.maps), len(supports))
        gathered = self.gather(aligned, key)
        refined = self.refine(torch.cat((key, gathered), dim=1))
        features = refined if self.gain is None else key + self.gain * refined
        return HmtaStates(
            self.backbone.final_layer(features) + self.head(features), self.backbone.final_layer(key), key, supports,
            aligned, _split(mask, len(supports)), _split(threshold[:, 0], len(supports)),
            tuple(_split(offsets, len(supports)) for offsets in found.offsets), gathered,
        )  # fmt: skip

    def _read(self, features: torch.Tensor) -> torch.Tensor:
        """(S,B,C,h,w) -> (S,B,J,h,w) by the backbone's head, which learns nothing from it."""
        layer = self.backbone.final_layer
        bias = None if layer.bias is None else layer.bias.detach()
        return _split(conv2d(features.flatten(0, 1), layer.weight.detach(), bias), len(features))


def _split(maps: torch.Tensor, frames: int) -> torch.Tensor:
    """(frames*B,...) -> (frames,B,...)."""
    return maps.reshape(frames, -1, *maps.shape[1:])
