"""The network of HMTA up to its heatmaps (hmta spec 2, 3): a backbone, and what it gains from aligned neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import adaptive_avg_pool2d

from baselines.layers.hrnet import HRNet
from baselines.layers.motion_split import MotionSplit, Split
from baselines.layers.residual import chain
from baselines.layers.split_alignment import Aggregate, Gathering, SplitAlignment
from baselines.layers.vitpose import VitposeNetwork
from harness.weights import KeyMap

__all__ = ["Difference", "HmtaNetwork", "HmtaStates", "Network"]

Network = Literal["hrnet", "vitpose"]
Difference = Literal["feature", "image"]


class HmtaStates(NamedTuple):
    """What training and analysis look at; S supports, maps in cells of the features.

    `backbone` (B,J,H,W) the key frame's own heatmaps, `key` (B,C,h,w); `supports`, `aligned` (S,B,C,h,w);
    `mask` (S,B,1,h,w), `threshold` (S,B); `offsets` of the alignment's steps, each (S,B,18*groups,h,w); `gathered`
    (B,C,h,w) the aligned supports as one map. `read_aligned`, `read_supports` (S,B,J,H,W) are there where states were
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

    `backbone` are the options of HRNet or, where `network` says so, of ViTPose with its classic decoder; `alignment`
    those of SplitAlignment. `channels` reduces features for the alignment (None: does not). `difference` says of what
    the split is made: features, or pictures made as small as those. With `residual` what the neighbours say is added
    with a gain that starts at 0, so that the network starts as its backbone; without, it takes the place of the key's
    feature.
    """

    key_sources = (KeyMap("our names"),)
    start_part: ClassVar[str] = "backbone."

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        network: Network = "hrnet",
        supports: int = 4,
        channels: int | None = None,
        split: Split = "learned",
        difference: Difference = "feature",
        gathering: Gathering = "similarity",
        residual: bool = True,
        alignment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = HRNet(**backbone) if network == "hrnet" else VitposeNetwork(**backbone)
        last = _last_layer(self.backbone)
        width = last.in_channels if isinstance(self.backbone, HRNet) else self.backbone.backbone.width
        inner = channels or width
        self.reduce = nn.Conv2d(width, inner, 1) if channels else nn.Identity()
        self.restore = nn.Conv2d(inner, width, 1) if channels else nn.Identity()
        in_pictures = difference == "image" and split != "none"
        self.look = nn.Conv2d(3, inner, 3, padding=1, bias=False) if in_pictures else None
        self.split = MotionSplit(inner, split=split)
        options = dict(alignment or {})
        if split == "none":
            options["plain"] = "identity"  # nothing is plain, and a path for it would never learn
        self.align = SplitAlignment(inner, **options)
        self.gather = Aggregate(width, supports=supports, gathering=gathering)
        self.refine = chain(2 * width, width, 3)
        self.gain = nn.Parameter(torch.zeros(())) if residual else None
        # beside the backbone's own last layer, whatever weights that one gets later
        self.head = nn.Conv2d(last.in_channels, last.out_channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.head.weight)

    @property
    def start_sources(self) -> tuple[KeyMap, ...]:
        """Checkpoints that fill the backbone (`start_part`) beside those under its own names."""
        return () if isinstance(self.backbone, HRNet) else self.backbone.start_sources

    def forward(
        self, clips: torch.Tensor, *, states: bool = False, mask: torch.Tensor | None = None
    ) -> torch.Tensor | HmtaStates:
        """(B,1+S,3,H,W) -> heatmaps (B,joints,H/4,W/4), or all the states.

        `mask` (S,B,1,h,w) takes the place of the split, as `oracle_mask` makes it; only analyses give one.
        """
        found = self._found(clips, mask)
        if not states:
            return found.heatmaps
        with torch.no_grad():
            before = self._held(found.supports)
        return found._replace(read_aligned=self._held(found.aligned), read_supports=before)

    def with_backbone(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The heatmaps, and those of the backbone for the key frame, from one pass."""
        found = self._found(clips, None)
        return found.heatmaps, found.backbone

    def alignment(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        """How support features come to lie on the key's, for the alignment probe.

        `key`, `gathered` (B,C,h,w); `before`, `after` (S,B,C,h,w); `offsets` (S,B,2,h,w) where each cell is read on
        average, x and y in cells, both steps of what moves added; `mask` (S,B,1,h,w), `threshold` (S,B); `read_before`,
        `read_after` (S,B,J,h,w) what the backbone's head makes of the features; `outputs`.
        """
        found: HmtaStates = self(clips, states=True)
        steps = [torch.unflatten(maps, 2, (-1, 2)).mean(2).flip(2) for maps in found.offsets]
        salient = sum(steps[1 : 1 + (self.align.appearance_step is not None)], steps[0])
        plain = steps[-1] if self.align.plain_step is not None else torch.zeros_like(salient)
        assert found.read_supports is not None and found.read_aligned is not None  # noqa: S101
        return {
            "key": found.key, "before": found.supports, "after": found.aligned, "gathered": found.gathered,
            "offsets": found.mask * salient + (1 - found.mask) * plain, "mask": found.mask,
            "threshold": found.threshold, "read_before": found.read_supports, "read_after": found.read_aligned,
            "outputs": found.heatmaps,
        }  # fmt: skip

    def _found(self, clips: torch.Tensor, mask: torch.Tensor | None) -> HmtaStates:
        features = _split(self.backbone.features(clips.transpose(0, 1).flatten(0, 1)), clips.shape[1])
        return self.from_features(features[0], features[1:], clips=clips, mask=mask)

    def from_features(
        self, key: torch.Tensor, supports: torch.Tensor, *, clips: torch.Tensor, mask: torch.Tensor | None = None
    ) -> HmtaStates:
        """What leads to the heatmaps, from backbone features of the key frame (B,C,h,w) and of supports (S,B,C,h,w)."""
        count = len(supports)
        flat, beside = self.reduce(supports.flatten(0, 1)), self.reduce(key).repeat(count, 1, 1, 1)
        salient, threshold = self.split(self._difference(clips, flat, beside))
        salient = salient if mask is None else mask.flatten(0, 1).to(flat)
        found = self.align(flat, beside, salient)
        aligned = _split(self.restore(found.maps), count)
        gathered = self.gather(aligned, key)
        refined = self.refine(torch.cat((key, gathered), dim=1))
        large = self._enlarged(refined if self.gain is None else key + self.gain * refined)
        last = _last_layer(self.backbone)
        return HmtaStates(
            last(large) + self.head(large), last(self._enlarged(key)), key, supports, aligned,
            _split(salient, count), _split(threshold[:, 0], count),
            tuple(_split(offsets, count) for offsets in found.offsets), gathered,
        )  # fmt: skip

    def _difference(self, clips: torch.Tensor, supports: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """How far supports are from the key frame, (S*B,C,h,w), nothing below 0."""
        if self.look is None:
            return (supports - key).abs()
        frames = clips.transpose(0, 1)
        apart = (frames[1:] - frames[0]).flatten(0, 1)
        height, width = supports.shape[-2:]
        seen: torch.Tensor = self.look(adaptive_avg_pool2d(apart, (height, width)))
        return seen.abs()

    def _enlarged(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B,C,h,w) as the backbone's last layer reads them."""
        if isinstance(self.backbone, HRNet):
            return features
        large: torch.Tensor = self.backbone.keypoint_head.deconv_layers(features)  # type: ignore[operator]
        return large

    def _held(self, features: torch.Tensor) -> torch.Tensor:
        """(S,B,C,h,w) -> (S,B,J,H,W) by the backbone's head, which learns nothing from it."""
        head = self.backbone.final_layer if isinstance(self.backbone, HRNet) else self.backbone.keypoint_head
        tensors = {name: value.detach().clone() for name, value in head.state_dict().items()}
        heatmaps: torch.Tensor = functional_call(head, tensors, (features.flatten(0, 1),))
        return _split(heatmaps, len(features))


def _last_layer(backbone: HRNet | VitposeNetwork) -> nn.Conv2d:
    return backbone.final_layer if isinstance(backbone, HRNet) else backbone.keypoint_head.final_layer


def _split(maps: torch.Tensor, frames: int) -> torch.Tensor:
    """(frames*B,...) -> (frames,B,...)."""
    return maps.reshape(frames, -1, *maps.shape[1:])
