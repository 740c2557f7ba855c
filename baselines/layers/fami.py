"""The network of FAMI-Pose, up to its heatmaps (fami spec 2); its SimCC variant stands on the same one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from baselines.layers.calibration import Calibration, LocalStep
from baselines.layers.hrnet import TINY as TINY_HRNET
from baselines.layers.hrnet import HRNet
from baselines.layers.motion import Motion, displaced, move
from baselines.layers.mutual_information import Evidence
from baselines.layers.residual import chain
from harness.weights import KeyMap

__all__ = ["PAPER", "SUPPORT", "TINY", "FamiNetwork", "FamiStates"]

#: The key frame, then the supports in the order of the release.
SUPPORT = (0, -2, -1, 1, 2)

PAPER: dict[str, Any] = {"backbone": {"width": 48}, "grid": (96, 72)}

#: On HRNet-tiny at 128x96. Modulation starts at 1: from the released start, where it is 0, nothing flows for long.
TINY: dict[str, Any] = {
    "backbone": TINY_HRNET, "grid": (32, 24), "motion": {"width": 16, "halvings": 3, "hidden": 32},
    "offset_groups": 4, "modulation": 1.0,
}  # fmt: skip


def _released_names(halvings: int) -> tuple[tuple[str, str], ...]:
    """Prefixes of the release and of ours; in its global step, layers are counted through, one without weights too."""
    motion, halves, steps = "feat_global_offset_layers.", range(halvings), range(4)
    return (
        ("hrnet.", "backbone."),
        (f"{motion}0.layers.", "motion.block."),
        *((f"{motion}{n + 1}.conv.", f"motion.halve.{n}.0.") for n in halves),
        *((f"{motion}{n + 1}.bn.", f"motion.halve.{n}.1.") for n in halves),
        *((f"{motion}{n + halvings + 2}.", f"motion.linear.{n}.") for n in range(3)),
        ("sup_agg_block.layers.", "gather."),
        ("combined_feat_layers.layers.", "compare."),
        *((f"dcn_offset_{n + 1}.conv.", f"local.steps.{n}.offsets.") for n in steps),
        *((f"dcn_mask_{n + 1}.conv.", f"local.steps.{n}.modulation.") for n in steps),
        *((f"dcn_{n + 1}.", f"local.steps.{n}.deformable.") for n in steps),
        ("init_feature_agg_block.layers.", "refine."),
        ("agg_final_layer.", "head."),
    )


class FamiStates(NamedTuple):
    """What training and analysis look at: the outputs, the key frame's own heatmaps, motions (4,B,2 or 6) in cells."""

    heatmaps: torch.Tensor
    backbone: torch.Tensor
    motions: torch.Tensor
    evidence: Evidence


class FamiNetwork(nn.Module):
    """Clips (B,5,3,H,W), key frame first -> heatmaps (B,joints,H/4,W/4).

    `backbone` are HRNet's options, `grid` (h,w) the size of its maps, `motion` options of the global step, `affine` its
    full form. `modulation` is the bias that the local step's modulation starts from; the release has 0.
    """

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        grid: tuple[int, int],
        motion: Mapping[str, Any] | None = None,
        affine: bool = False,
        offset_groups: int = 12,
        modulation: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = HRNet(**backbone)
        channels, joints = self.backbone.final_layer.in_channels, self.backbone.final_layer.out_channels
        self.motion = Motion(channels, grid=grid, affine=affine, **(motion or {}))
        self.gather = chain((len(SUPPORT) - 1) * channels, channels, 2)
        self.compare = chain(2 * channels, channels, 1)
        self.local = LocalStep(channels, offset_groups=offset_groups)
        self.refine = chain(2 * channels, channels, 3)
        self.head = nn.Conv2d(channels, joints, 3, padding=1)
        self._reset(modulation)

    @property
    def key_sources(self) -> tuple[KeyMap, ...]:
        """The names of the release: everything of ours has its place there."""
        return KeyMap("FAMI-Pose release", _released_names(len(self.motion.halve))), KeyMap("our names")

    def _reset(self, modulation: float) -> None:
        """Start as the release does: convolutions near 0, so offsets, modulation and heatmaps are too."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith("backbone."):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.motion.reset()
        for step in self.local.steps:
            assert isinstance(step, Calibration) and step.modulation.bias is not None  # noqa: S101
            nn.init.constant_(step.modulation.bias, modulation)

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor | FamiStates:
        """(B,5,3,H,W) -> heatmaps (B,joints,H/4,W/4), or all the states."""
        if states:
            return self.states(clips)
        heatmaps: torch.Tensor = self.head(self._features(clips)[0])
        return heatmaps

    def with_backbone(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The heatmaps, and those of the backbone for the key frame, from one pass."""
        refined, _, key, _ = self._features(clips)
        return self.head(refined), self.backbone.final_layer(key)

    def states(self, clips: torch.Tensor) -> FamiStates:
        """The same heatmaps with what leads to them."""
        refined, support, key, motions = self._features(clips)
        heatmaps, backbone = self.head(refined), self.backbone.final_layer(key)
        with torch.no_grad():
            labels = self.backbone.final_layer(refined), self.backbone.final_layer(support), backbone.detach()
        return FamiStates(heatmaps, backbone, motions, Evidence(heatmaps, refined, support, key, *labels))

    def alignment(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        """How support features come to lie on the key's by the global step, for the alignment probe.

        `key`, `gathered` (B,C,h,w); `before`, `after` (S,B,C,h,w); `offsets` (S,B,2,h,w) where each cell is read, x and
        y in cells; `read_before`, `read_after` (S,B,J,h,w) what the backbone's head makes of the features; `outputs`.
        """
        count = len(clips)
        key, *supports = torch.split(self.backbone.features(clips.transpose(0, 1).flatten(0, 1)), count)
        motions = self.motion(torch.cat([maps - key for maps in supports]))
        moved = move(torch.cat(supports), motions)
        support = self.gather(torch.cat(torch.split(moved, count), dim=1))
        gathered = self.local(support, self.compare(torch.cat((support, key), dim=1)))
        before, after = torch.stack(supports), torch.unflatten(moved, 0, (len(supports), count))
        return {
            "key": key, "before": before, "after": after, "gathered": gathered,
            "offsets": torch.unflatten(displaced(motions, moved.shape[-2:]), 0, (len(supports), count)),
            "read_before": self.backbone.final_layer(before.flatten(0, 1)).unflatten(0, (len(supports), count)),
            "read_after": self.backbone.final_layer(moved).unflatten(0, (len(supports), count)),
            "outputs": self.head(self.refine(torch.cat((key, gathered), dim=1))),
        }  # fmt: skip

    def _features(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Refined, gathered support and key features (B,C,h,w), and the motions of the supports (4,B,2 or 6)."""
        count, frames = clips.shape[:2]
        # frame after frame, as the release stacks them
        key, *supports = torch.split(self.backbone.features(clips.transpose(0, 1).flatten(0, 1)), count)
        motions = self.motion(torch.cat([maps - key for maps in supports]))
        moved = move(torch.cat(supports), motions)
        support = self.gather(torch.cat(torch.split(moved, count), dim=1))
        aligned = self.local(support, self.compare(torch.cat((support, key), dim=1)))
        refined: torch.Tensor = self.refine(torch.cat((key, aligned), dim=1))
        return refined, support, key, motions.reshape(frames - 1, count, -1)
