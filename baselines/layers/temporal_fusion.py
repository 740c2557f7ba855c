"""What DCPose does with the heatmaps of three frames before it deforms anything (dcpose spec 4).

Two chains of residual-steps blocks read them joint by joint: `support` where a joint may be, `motion` how it moved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["ResidualSteps", "TemporalFusion", "released_block_names", "steps_chain"]

_BRANCHES = 4


class ResidualSteps(nn.Module):
    """Residual steps block of RSN: four groups of channels, each refined by what the ones before it found.

    `inputs` -> `outputs` channels, through 26/64 of `inputs` per group; `project` puts a convolution in the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, *, project: bool) -> None:
        super().__init__()
        width = inputs * 26 // 64
        self.reduce = _unit(inputs, _BRANCHES * width, kernel=1)
        # row by row: one step for the first group, two for the second ...
        self.steps = nn.ModuleList(_unit(width, width) for _ in range(_BRANCHES * (_BRANCHES + 1) // 2))
        self.merge = _unit(_BRANCHES * width, outputs, kernel=1, relu=False)
        self.shortcut = _unit(inputs, outputs, kernel=1, relu=False) if project else None

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B,inputs,h,w) -> (B,outputs,h,w), not negative."""
        steps = iter(self.steps)
        above: list[torch.Tensor] = []
        last = []
        for group in self.reduce(maps).chunk(_BRANCHES, dim=1):
            row: list[torch.Tensor] = []
            for place in range(len(above) + 1):
                step_input = row[-1] if row else group
                row.append(next(steps)(step_input + above[place] if place < len(above) else step_input))
            last.append(row[-1])
            above = row
        merged = self.merge(torch.cat(last, dim=1))
        return torch.relu(merged + (maps if self.shortcut is None else self.shortcut(maps)))


def steps_chain(inputs: int, outputs: int, count: int) -> nn.Sequential:
    """`count` residual-steps blocks, `inputs` -> `outputs` channels; only the first has a convolved shortcut."""
    return nn.Sequential(
        *(ResidualSteps(outputs if place else inputs, outputs, project=place == 0) for place in range(count))
    )


class TemporalFusion(nn.Module):
    """Heatmaps of the current, previous and next frame -> motion (B,2J,h,w) and support (B,J,h,w) maps."""

    def __init__(self, joints: int, *, motion_blocks: int = 2, support_blocks: int = 1) -> None:
        super().__init__()
        self.motion = steps_chain(4 * joints, 2 * joints, motion_blocks)
        self.support = steps_chain(3 * joints, joints, support_blocks)

    def forward(
        self,
        current: torch.Tensor,
        previous: torch.Tensor,
        following: torch.Tensor,
        *,
        margin: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Three heatmaps (B,J,h,w) -> (motion, support); `margin` (B,2) frames to the previous and the next one.

        The nearer frame weighs more; without `margin` both are as near.
        """
        margin = current.new_ones(len(current), 2) if margin is None else margin.to(current)
        shares = margin / margin.sum(dim=1, keepdim=True)
        # the distance of the one is the weight of the other
        of_previous, of_next = shares[:, 1, None, None, None], shares[:, 0, None, None, None]
        to_previous, to_next = current - previous, current - following
        moved = (to_previous, to_previous * of_previous, to_next, to_next * of_next)
        seen = (current, previous * of_previous, following * of_next)
        # joint by joint: all maps of the first joint, then all of the second
        return self.motion(torch.stack(moved, dim=2).flatten(1, 2)), self.support(
            torch.stack(seen, dim=2).flatten(1, 2)
        )


def released_block_names(theirs: str, ours: str, count: int) -> Iterator[tuple[str, str]]:
    """Prefixes of a chain of `count` blocks as the release of DCPose calls them, and as they are called here."""
    steps = [(row, place) for row in range(1, _BRANCHES + 1) for place in range(1, row + 1)]
    for block in range(count):
        start, own = f"{theirs}layers.{block}.", f"{ours}{block}."
        yield f"{start}conv_bn_relu1.", f"{own}reduce."
        for number, (row, place) in enumerate(steps):
            yield f"{start}conv_bn_relu2_{row}_{place}.", f"{own}steps.{number}."
        yield f"{start}conv_bn_relu3.", f"{own}merge."
        if block == 0:
            yield f"{start}downsample.", f"{own}shortcut."


def _unit(inputs: int, outputs: int, *, kernel: int = 3, relu: bool = True) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), bn=nn.BatchNorm2d(outputs)
    )
    if relu:
        layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)
