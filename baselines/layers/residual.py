"""Residual blocks shared by the convolutional backbones."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["BasicBlock", "Bottleneck", "chain", "convolution"]


def convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution of odd kernel, same padding and no bias, then batch normalisation and (unless told not to) ReLU."""
    layers = [_bare(inputs, outputs, kernel=kernel, stride=stride), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `inputs` -> `width` channels.

    The shortcut is a 1x1 convolution where the shapes differ, or always with `project`.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int = 1, project: bool = False) -> None:
        super().__init__()
        self.conv1 = _bare(inputs, width, kernel=3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _bare(width, width, kernel=3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride=stride, project=project)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B,inputs,h,w) -> (B,width,h/stride,w/stride)."""
        residual = torch.relu_(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        return torch.relu_(residual + (features if self.downsample is None else self.downsample(features)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolution and a shortcut; `inputs` -> 4 x `width` channels."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = _bare(inputs, width, kernel=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _bare(width, width, kernel=3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _bare(width, outputs, kernel=1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride=stride)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B,inputs,h,w) -> (B,4 width,h/stride,w/stride)."""
        residual = torch.relu_(self.bn1(self.conv1(features)))
        residual = torch.relu_(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return torch.relu_(residual + (features if self.downsample is None else self.downsample(features)))


def chain(inputs: int, width: int, count: int) -> nn.Sequential:
    """`count` basic blocks, `inputs` -> `width` channels; the first has a 1x1 shortcut even where the widths agree."""
    return nn.Sequential(*(BasicBlock(width if place else inputs, width, project=place == 0) for place in range(count)))


def _bare(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _shortcut(inputs: int, outputs: int, *, stride: int, project: bool = False) -> nn.Sequential | None:
    if inputs == outputs and stride == 1 and not project:
        return None
    return convolution(inputs, outputs, kernel=1, stride=stride, relu=False)
