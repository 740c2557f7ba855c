"""ResNet trunk and the three transposed convolutions of SimpleBaseline, under the official names (hrnet spec 2)."""

from __future__ import annotations

import torch
from torch import nn

from baselines.layers.residual import BasicBlock, Bottleneck

__all__ = ["BLOCKS", "DeconvolutionHead", "ResNet"]

#: Depth -> the kind of block and how many there are in each of the four stages.
BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Images (B,3,H,W) -> features (B,C,H/32,W/32), C = 8 `width` (x 4 for depths of 50 and more).

    `width` is 64 in every paper; narrower ones make small nets.
    """

    def __init__(self, depth: int, *, width: int = 64) -> None:
        super().__init__()
        block, counts = BLOCKS[depth]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = width
        for stage, count in enumerate(counts):
            planes = width * 2**stage
            blocks = [block(inputs, planes, stride=1 if stage == 0 else 2)]
            inputs = planes * block.expansion
            blocks += [block(inputs, planes) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.channels = inputs

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,H,W) -> (B,C,H/32,W/32)."""
        features: torch.Tensor = self.maxpool(torch.relu_(self.bn1(self.conv1(images))))
        for stage in range(1, 5):
            features = getattr(self, f"layer{stage}")(features)
        return features


class DeconvolutionHead(nn.Sequential):
    """(B,inputs,h,w) -> (B,width,8h,8w): three times a transposed convolution of kernel 4, normalisation and ReLU."""

    def __init__(self, inputs: int, *, width: int = 256) -> None:
        layers: list[nn.Module] = []
        for step in range(3):
            deconvolution = nn.ConvTranspose2d(width if step else inputs, width, 4, stride=2, padding=1, bias=False)
            layers += [deconvolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        super().__init__(*layers)
