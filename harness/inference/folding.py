"""Batch normalisation folded into the convolution before it: the same function with a third less to do on a CPU."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["folded"]

#: What a normalisation can be folded into.
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)

Pair = tuple[str, str]


def folded(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """A copy of a network in eval mode with every normalisation folded that can be; the network itself if none can.

    Which normalisation follows which convolution is seen in a run on `example` (B,T,3,H,W), so no method has to say.
    The copy is used only if it gives the same outputs, rounding aside.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    >>> folded(network, torch.rand(1, 3, 8, 8))
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(1, 1), stride=(1, 1))
      (1): Identity()
    )
    """
    with torch.no_grad():
        pairs, before = _followers(module, example)
        if not pairs:
            return module
        candidate = copy.deepcopy(module)
        for convolution, norm in pairs:
            _fold(candidate, convolution, norm)
        return candidate if _same(before, candidate(example)) else module


def _followers(module: nn.Module, example: torch.Tensor) -> tuple[list[Pair], object]:
    """(convolution, normalisation) wherever, in every call, the second was given just what the first returned."""
    made: dict[int, tuple[str, torch.Tensor]] = {}
    source: dict[str, set[str]] = {}
    handles = []

    def convolved(name: str, output: torch.Tensor) -> None:
        made[id(output)] = name, output  # kept alive, so that no other tensor gets its id

    def normalised(name: str, given: torch.Tensor) -> None:
        source.setdefault(name, set()).add(made[id(given)][0] if id(given) in made else "")

    for name, part in module.named_modules():
        if isinstance(part, CONVOLUTIONS):
            handles.append(part.register_forward_hook(lambda _, __, output, name=name: convolved(name, output)))
        elif isinstance(part, nn.BatchNorm2d) and part.track_running_stats:
            handles.append(part.register_forward_pre_hook(lambda _, given, name=name: normalised(name, given[0])))
    try:
        outputs = module(example)
    finally:
        for handle in handles:
            handle.remove()
    pairs = [(sources.pop(), norm) for norm, sources in source.items() if len(sources) == 1]
    used = [convolution for convolution, _ in pairs]
    return [pair for pair in pairs if pair[0] and used.count(pair[0]) == 1], outputs


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    conv, batch_norm = module.get_submodule(convolution), module.get_submodule(norm)
    assert isinstance(conv, CONVOLUTIONS) and isinstance(batch_norm, nn.BatchNorm2d)  # noqa: S101
    mean, variance = batch_norm.running_mean, batch_norm.running_var
    if mean is None or variance is None:
        return
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        mean,
        variance,
        batch_norm.eps,
        batch_norm.weight,
        batch_norm.bias,
        transpose=isinstance(conv, nn.ConvTranspose2d),
    )
    owner, _, leaf = norm.rpartition(".")
    setattr(module.get_submodule(owner), leaf, nn.Identity())


def _same(before: object, after: object) -> bool:
    """Whether outputs agree to a thousandth of their range, whatever they are made of."""
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        room = 1e-3 * max(float(before.abs().max()), 1e-6) if before.numel() else 0.0
        return before.shape == after.shape and bool(torch.allclose(before, after, rtol=0, atol=room))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        return len(before) == len(after) and all(map(_same, before, after))
    return before is after or bool(before == after)
