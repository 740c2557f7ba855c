"""Deformable convolution (Dai et al. 2017, Zhu et al. 2019): every tap of every output pixel reads where it is told.

The semantics are those of torchvision's `deform_conv2d`, which is used where its compiled operators load; elsewhere
plain torch does the same (dcpose spec 4). Both are tested against one set of numbers, gradients included.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import util

import torch
from torch import nn
from torch.nn.functional import grid_sample

__all__ = ["DeformableConvolution", "deform_conv2d", "deform_conv2d_in_torch"]


def deform_conv2d(
    features: torch.Tensor,
    offset: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> torch.Tensor:
    """Features (N,C,H,W) -> (N,O,h,w), sampled at offset places.

    `offset` (N,2*D*K,h,w) in px: for each of D groups of channels and K taps in row-major order, y then x; `mask`
    (N,D*K,h,w) multiplies the samples as it is, without sigmoid. `weight` (O,C/groups,kh,kw), `bias` (O,). Samples are
    bilinear, and pixels beyond the border are 0.

    >>> ones = torch.ones(1, 1, 3, 3)
    >>> deform_conv2d(ones, torch.full((1, 2, 3, 3), 0.5), torch.ones(1, 1, 1, 1))[0, 0].tolist()
    [[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 0.25]]
    """
    if _compiled is not None and not features.is_meta:  # where products are only counted, ours shows them
        return _compiled(features, offset, weight, bias, stride, padding, dilation, mask)
    return deform_conv2d_in_torch(
        features, offset, weight, bias, mask=mask, stride=stride, padding=padding, dilation=dilation
    )


def deform_conv2d_in_torch(
    features: torch.Tensor,
    offset: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> torch.Tensor:
    """The same in plain torch: one call samples all taps and groups, one matrix product sums them."""
    count, channels, height, width = features.shape
    outputs, group_channels, kernel_height, kernel_width = weight.shape
    taps, rows, columns = kernel_height * kernel_width, offset.shape[-2], offset.shape[-1]
    groups, offset_groups = channels // group_channels, offset.shape[1] // (2 * taps)
    # places are found in float32 whatever the precision: bfloat16 would round 100.25 to 100
    base, scale = _places(
        (kernel_height, kernel_width), (rows, columns), (height, width),
        stride=stride, padding=padding, dilation=dilation, device=offset.device,
    )  # fmt: skip
    shifts = offset.float().reshape(count * offset_groups, taps, 2, rows, columns).transpose(1, 2).contiguous()
    grid = torch.addcmul(base, shifts, scale).view(-1, 2, taps * rows, columns).permute(0, 2, 3, 1)
    # y comes first in the offsets, so the map is turned instead of the grid
    turned = features.float().reshape(count * offset_groups, channels // offset_groups, height, width).mT
    sampled = grid_sample(turned, grid, padding_mode="zeros", align_corners=False)
    if mask is not None:
        sampled = sampled * mask.float().reshape(count * offset_groups, 1, taps * rows, columns)
    per_group = sampled.reshape(count, groups, group_channels * taps, rows * columns).to(weight.dtype)
    summed = weight.reshape(groups, outputs // groups, group_channels * taps) @ per_group
    result = summed.view(count, outputs, rows, columns)
    return result if bias is None else result + bias.view(1, -1, 1, 1).to(result.dtype)


def _places(
    kernel: tuple[int, int],
    grid: tuple[int, int],
    size: tuple[int, int],
    *,
    stride: int,
    padding: int,
    dilation: int,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the taps (2,K,h,w) read without offsets, y then x, edges at -1 and 1; and (2,1,1,1) the size of a px."""
    steps = [torch.arange(length, device=device, dtype=torch.float32) * stride - padding for length in grid]
    taps = [torch.arange(length, device=device, dtype=torch.float32) * dilation for length in kernel]
    y = (taps[0][:, None, None, None] + steps[0][:, None]).expand(*kernel, *grid).flatten(0, 1)
    x = (taps[1][:, None, None] + steps[1]).expand(*kernel, *grid).flatten(0, 1)
    scale = 2 / torch.tensor(size, device=device, dtype=torch.float32).view(2, 1, 1, 1)
    return (torch.stack((y, x)) + 0.5) * scale - 1, scale


class DeformableConvolution(nn.Module):
    """3x3 deformable convolution at stride 1 that keeps the size; offsets and masks come from outside."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        identity: bool = False,
    ) -> None:
        """`identity` starts it as a plain copy of its input, where `inputs` and `outputs` agree."""
        super().__init__()
        self.dilation = dilation
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        if identity:
            nn.init.dirac_(self.weight, groups=groups)
        else:
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, features: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(N,inputs,H,W), offsets (N,18*D,H,W) and masks (N,9*D,H,W) -> (N,outputs,H,W)."""
        return deform_conv2d(
            features, offset, self.weight, self.bias, mask=mask, padding=self.dilation, dilation=self.dilation
        )


def _find_compiled() -> Callable[..., torch.Tensor] | None:
    """torchvision's function, or None where it is absent or its operators do not fit this torch."""
    if util.find_spec("torchvision") is None:
        return None
    try:
        from torchvision.ops import deform_conv2d as compiled  # type: ignore[import-not-found, unused-ignore]

        one = torch.ones(1, 1, 1, 1)
        compiled(one, torch.zeros(1, 2, 1, 1), one)
    except Exception:  # a mismatched build fails in many ways, and plain torch does as well
        return None
    found: Callable[..., torch.Tensor] = compiled
    return found


_compiled = _find_compiled()
