"""Deformable convolution: ours in plain torch against a convolution, a loop over taps, and torchvision where it loads.

    python benchmarks/deformable.py [--device cuda] [--threads N]

Prints one line per shape and direction: seconds of ours, and each other as a ratio to it, all timed in one run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn.functional import conv2d, grid_sample

from baselines.layers import deformable
from baselines.layers.deformable import deform_conv2d_in_torch

#: Name -> clips, channels, height, width, offset groups, dilation.
SHAPES = {
    "dcpose, one of its five": (4, 17, 96, 72, 17, 15),
    "dcpose tiny, one of its three": (16, 17, 32, 24, 17, 3),
    "fami, one of its four": (4, 48, 96, 72, 12, 3),
}


def loop_over_taps(
    features: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, mask: torch.Tensor, *, dilation: int
) -> torch.Tensor:
    """The obvious form: for each of nine taps sample, weigh, and add a 1x1 convolution."""
    count, _, height, width = features.shape
    groups = offset.shape[1] // 18
    down, right = torch.meshgrid(
        torch.arange(height, device=features.device), torch.arange(width, device=features.device), indexing="ij"
    )
    shifts, masks = offset.unflatten(1, (groups, 9, 2)), mask.unflatten(1, (groups, 9))
    result = features.new_zeros(count, len(weight), height, width)
    for tap in range(9):
        y = shifts[:, :, tap, 0] + down + (tap // 3 - 1) * dilation
        x = shifts[:, :, tap, 1] + right + (tap % 3 - 1) * dilation
        grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1).flatten(0, 1)
        samples = grid_sample(features.reshape(count * groups, -1, height, width), grid, align_corners=False)
        samples = samples.view(count, groups, -1, height, width) * masks[:, :, tap, None]
        result = result + conv2d(samples.flatten(1, 2), weight[:, :, tap // 3, tap % 3, None, None])
    return result


def seconds(work: Callable[[], object], *, device: str, least: float = 1.0) -> float:
    """Median time of a call, over at least 5 of them and `least` seconds.

    On the CPU processor time, which hardly feels a neighbour's load.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: list[float] = []
    work()
    while len(times) < 5 or sum(times) < least:
        if device != "cpu":
            torch.cuda.synchronize()
        start = clock()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return sorted(times)[len(times) // 2]


def measure(shape: tuple[int, int, int, int, int, int], *, device: str, backward: bool) -> dict[str, float]:
    """Seconds of each implementation on one shape."""
    count, channels, height, width, groups, dilation = shape
    torch.manual_seed(0)
    features = torch.randn(count, channels, height, width, device=device, requires_grad=backward)
    offset = torch.randn(count, 18 * groups, height, width, device=device).mul(3).requires_grad_(backward)
    mask = torch.rand(count, 9 * groups, height, width, device=device, requires_grad=backward)
    weight = torch.randn(channels, channels, 3, 3, device=device, requires_grad=backward)
    calls = {
        "ours": lambda: deform_conv2d_in_torch(
            features, offset, weight, mask=mask, padding=dilation, dilation=dilation
        ),
        "plain convolution": lambda: conv2d(features, weight, padding=dilation, dilation=dilation),
        "loop over taps": lambda: loop_over_taps(features, offset, weight, mask, dilation=dilation),
    }
    if deformable._compiled is not None:
        compiled = deformable._compiled
        calls["torchvision"] = lambda: compiled(features, offset, weight, None, 1, dilation, dilation, mask)
    torch.testing.assert_close(calls["ours"](), calls["loop over taps"](), rtol=1e-3, atol=1e-3)
    if not backward:
        with torch.inference_mode():
            return {name: seconds(call, device=device) for name, call in calls.items()}
    return {name: seconds(lambda call=call: call().sum().backward(), device=device) for name, call in calls.items()}


def main() -> None:
    """Measure every shape, forward and with gradients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for name, shape in SHAPES.items():
        for backward in (False, True):
            took = measure(shape, device=asked.device, backward=backward)
            own = took.pop("ours")
            ratios = ", ".join(f"{other} x {value / own:.2f}" for other, value in took.items())
            kind = "forward and backward" if backward else "forward"
            print(f"{name}, {kind}: {own / shape[0] * 1e3:.2f} ms a clip; {ratios}")


if __name__ == "__main__":
    main()
