"""Floating point operations of a network, counted while it runs: what tables call FLOPs are multiply-adds."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.inference.loaded import Loaded
from harness.inference.recurrence import in_full_swing
from harness.methods import MethodCard, Preset
from harness.weights import parameter_count

__all__ = ["multiply_adds", "multiply_adds_of", "multiply_adds_of_layers", "sizes"]


def multiply_adds(module: nn.Module, clips: torch.Tensor) -> int:
    """Multiply-adds of all convolutions and matrix products for clips (B,T,3,H,W), wherever they are made."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(clips)
    return int(counter.get_total_flops() // 2)


def multiply_adds_of(method: Loaded) -> int | None:
    """Multiply-adds of one clip, or of a step along a track, by shapes alone; None where those do not suffice."""
    preset = method.preset
    if not preset.support:
        return 0
    if method.card.file:
        return None
    width, height = preset.crop.size
    # without gradients: the counter stumbles over views of parameters that ask for some
    module = copy.deepcopy(method.module).to("meta").requires_grad_(False)
    try:
        with torch.device("meta"):
            clips = torch.zeros(1, len(preset.support), 3, height, width)
            return multiply_adds(in_full_swing(module, preset, clips), clips)
    except RuntimeError:  # a network that looks at values on its way, which shapes do not have
        return None


def multiply_adds_of_layers(module: nn.Module, clips: torch.Tensor) -> int:
    """Multiply-adds of convolution and linear layers only, as published tables count them (hrnet.md 6).

    >>> multiply_adds_of_layers(nn.Conv2d(2, 3, 3, padding=1), torch.zeros(1, 2, 4, 5))  # 3 x 3 x 2 x 3 x 20
    1080
    """
    total = 0

    def count(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)  # noqa: S101
        if isinstance(layer, nn.ConvTranspose2d):
            # Every input cell meets the whole kernel; the output has as many more cells as the stride says.
            stride = layer.stride[0] * layer.stride[1]
            total += output.numel() // output.shape[1] // stride * weight.numel()
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features
        else:
            total += output.numel() * weight[0].numel()

    counted = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    handles = [part.register_forward_hook(count) for part in module.modules() if isinstance(part, counted)]
    try:
        with torch.no_grad():
            module(clips)
    finally:
        for handle in handles:
            handle.remove()
    return total


def sizes(card: MethodCard) -> dict[str, tuple[int, int]]:
    """Parameters, and multiply-adds of one clip, of every preset; nothing is computed, so that large ones are quick.

    Sampling, normalisation and activations do not count; deformable convolutions do, by their products. Networks that
    differ in neither options, input nor frames are counted once. Of a recurrent preset it is a step along a track.
    """
    counted: dict[str, tuple[int, int]] = {}
    found = {}
    for name, preset in card.presets.items():
        same = repr((preset.options, preset.crop.size, preset.support, preset.recurrent))
        if same not in counted:
            counted[same] = _size(card, preset)
        found[name] = counted[same]
    return found


def _size(card: MethodCard, preset: Preset) -> tuple[int, int]:
    width, height = preset.crop.size
    with torch.device("meta"):
        module = card.build(preset.options).eval()
        parameters = parameter_count(module)  # of those that ask for gradients, so before none does
        module.requires_grad_(False)
        clips = torch.zeros(1, len(preset.support), 3, height, width)
        counted = multiply_adds(in_full_swing(module, preset, clips), clips) if preset.support else 0
    return parameters, counted
