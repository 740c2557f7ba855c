"""The batch size: one that the processor's cache likes, or the largest that still makes a GPU faster."""

from __future__ import annotations

from time import perf_counter

import torch

from harness.inference.loaded import Loaded, infer
from harness.inference.normalising import Normaliser

__all__ = ["CPU_BATCH", "best_batch_size", "warm_up"]

#: Clips per batch on a CPU, where larger ones gain nothing, and where every run is to be repeatable.
CPU_BATCH = 32
#: What a GPU is tried with, and the gain in clips per second that a doubling has to bring.
_SMALLEST, _LARGEST, _GAIN = 16, 512, 1.05


def best_batch_size(method: Loaded, device: torch.device, *, precision: str, flip: bool) -> int:
    """Clips per batch for a method, doubled on a GPU while that makes it faster and fits the memory."""
    if device.type != "cuda" or not method.preset.support:
        return CPU_BATCH
    best, rate, size = _SMALLEST, 0.0, _SMALLEST
    while size <= _LARGEST:
        try:
            seconds = min(warm_up(method, device, size, precision=precision, flip=flip) for _ in range(3))
        except torch.OutOfMemoryError:
            break
        if size / seconds < rate * _GAIN:
            break
        best, rate, size = size, size / seconds, size * 2
    torch.cuda.empty_cache()
    return best


def warm_up(method: Loaded, device: torch.device, size: int, *, precision: str, flip: bool) -> float:
    """Run one batch of black clips, for what a first batch has to set up; the seconds it took."""
    started = perf_counter()
    width, height = method.preset.crop.size
    crops = torch.zeros((size, len(method.preset.support), height, width, 3), dtype=torch.uint8, device=device)
    normaliser = Normaliser(method.preset.crop, device)
    method.codec.decode(infer(method, crops, device=device, precision=precision, flip=flip, normaliser=normaliser))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - started
