"""HRNet: branches at 1/4, 1/8, 1/16 and 1/32 of the input that run side by side and keep exchanging (hrnet spec 1).

Names of parameters are those of the official release, so that its checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from baselines.layers.residual import BasicBlock, Bottleneck, convolution
from harness.weights.sources import KeyMap

__all__ = ["TINY", "HRNet", "HRNetBranches", "HRNetPose"]

#: Three branches and two exchange modules: an HRNet in 0.46 M parameters, for inputs of 128x96 (synthtrack spec 7).
TINY: dict[str, Any] = {"width": 16, "stem": 16, "bottlenecks": 0, "blocks": 2, "modules": (0, 2)}


def _without_head(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if not key.startswith("final_layer.")}


_HEADLESS = KeyMap("HRNet with a head of heatmaps", wrapper="", unpack=_without_head)


class HRNetBranches(nn.Module):
    """HRNet without a head: images (B,3,H,W) -> branches at 1/4, 1/8 ... of the input, all or the first alone.

    `width` C gives branches of C, 2C, 4C and 8C channels; `stem` channels after the two stride-2 convolutions, then
    `bottlenecks` blocks of stage 1; `modules` exchange modules in each later stage, every one with one branch more, and
    `blocks` residual blocks per branch in each module. The defaults are the paper's; fewer stages make smaller nets.
    H and W are multiples of 2 ** (len(modules) + 2).
    """

    def __init__(
        self,
        width: int,
        *,
        stem: int = 64,
        bottlenecks: int = 4,
        blocks: int = 4,
        modules: tuple[int, ...] = (1, 4, 3),
        only_first: bool = True,
    ) -> None:
        super().__init__()
        self.stages = len(modules)
        self.conv1 = nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = nn.Conv2d(stem, stem, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(stem)
        outputs = [stem * Bottleneck.expansion if bottlenecks else stem]
        self.layer1 = nn.Sequential(
            *(Bottleneck(outputs[0] if index else stem, stem) for index in range(bottlenecks)),
        )
        for stage, count in enumerate(modules):
            widths = [width * 2**branch for branch in range(stage + 2)]
            last = stage + 1 == len(modules)
            self.add_module(f"transition{stage + 1}", _transition(outputs, widths))
            self.add_module(f"stage{stage + 2}", _stage(widths, count, blocks=blocks, only_first=last and only_first))
            outputs = widths
        self.widths = outputs[:1] if only_first else outputs

    @property
    def start_sources(self) -> tuple[KeyMap, ...]:
        """What training may start from: also an HRNet for crops, whose head is left out by networks of other heads."""
        return () if hasattr(self, "final_layer") else (_HEADLESS,)

    def branches(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(B,3,H,W) -> the branches that the last exchange leaves, of falling resolution and `widths` channels."""
        stem = torch.relu_(self.bn1(self.conv1(images)))
        stem = torch.relu_(self.bn2(self.conv2(stem)))
        branches: list[torch.Tensor] = [self.layer1(stem)]
        for stage in range(1, self.stages + 1):
            transition = getattr(self, f"transition{stage}")
            # a new branch grows from the lowest one; branches without a transition pass through
            inputs = branches + branches[-1:] * (len(transition) - len(branches))
            branches = [step(branch) for step, branch in zip(transition, inputs, strict=True)]
            branches = getattr(self, f"stage{stage + 1}")(branches)
        return branches


class HRNet(HRNetBranches):
    """Images (B,3,H,W) -> heatmaps (B,joints,H/4,W/4); no activation at the end. Sizes are those of HRNetBranches."""

    def __init__(
        self,
        width: int,
        *,
        joints: int = 17,
        stem: int = 64,
        bottlenecks: int = 4,
        blocks: int = 4,
        modules: tuple[int, ...] = (1, 4, 3),
    ) -> None:
        super().__init__(width, stem=stem, bottlenecks=bottlenecks, blocks=blocks, modules=modules)
        self.final_layer = nn.Conv2d(width, joints, 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,H,W) -> the highest-resolution branch (B,C,H/4,W/4), which the head and the video methods read."""
        return self.branches(images)[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,H,W) -> heatmaps (B,joints,H/4,W/4)."""
        heatmaps: torch.Tensor = self.final_layer(self.features(images))
        return heatmaps


class HRNetPose(HRNet):
    """HRNet on the only frame of a clip; its parameters are named as in the official release."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> heatmaps (B,J,H/4,W/4)."""
        return super().forward(clips[:, 0])


class Exchange(nn.Module):
    """Residual blocks on every branch, then each output sums all branches at its own resolution."""

    def __init__(self, widths: list[int], *, blocks: int, only_first: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse(widths, source, target) for source in range(len(widths)))
            for target in range(1 if only_first else len(widths))
        )

    def forward(self, branches: list[torch.Tensor]) -> list[torch.Tensor]:
        """Branches of falling resolution -> as many, or the first alone."""
        branches = [blocks(branch) for blocks, branch in zip(self.branches, branches, strict=True)]
        fused = []
        for target, fuse in enumerate(self.fuse_layers):
            addends = [fit(branch) for fit, branch in zip(fuse.children(), branches, strict=True)]
            total = addends[0]
            for source, addend in enumerate(addends[1:], start=1):
                if source > target:
                    addend = interpolate(addend, scale_factor=2.0 ** (source - target), mode="nearest")
                total = total + addend
            fused.append(torch.relu(total))
        return fused


def _fuse(widths: list[int], source: int, target: int) -> nn.Module:
    """Bring branch `source` to the width of `target`, and to its resolution where that is lower."""
    if source == target:
        return nn.Identity()
    if source > target:
        return convolution(widths[source], widths[target], kernel=1, relu=False)
    steps = target - source
    halve = [convolution(widths[source], widths[source], stride=2) for _ in range(steps - 1)]
    return nn.Sequential(*halve, convolution(widths[source], widths[target], stride=2, relu=False))


def _transition(inputs: list[int], widths: list[int]) -> nn.ModuleList:
    """Fit the branches of one stage to the widths of the next, which has one branch more."""
    steps: list[nn.Module] = [
        nn.Identity() if before == after else convolution(before, after)
        for before, after in zip(inputs, widths, strict=False)
    ]
    return nn.ModuleList([*steps, nn.Sequential(convolution(inputs[-1], widths[-1], stride=2))])


def _stage(widths: list[int], count: int, *, blocks: int, only_first: bool) -> nn.Sequential:
    return nn.Sequential(
        *(Exchange(widths, blocks=blocks, only_first=only_first and index + 1 == count) for index in range(count))
    )
