"""torch.compile around a network: one shape of batch, so that it compiles once, and a clear word where it cannot."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from harness.errors import HarnessError, UsageError
from harness.inference.loaded import Loaded

__all__ = ["COMPILERS", "check_compiler", "compiled", "explained", "filled_up"]

#: "graphs" also records what is launched on a GPU, and launches it at once from then on.
COMPILERS = ("none", "default", "graphs")

_MODES = {"default": None, "graphs": "reduce-overhead"}


def check_compiler(name: str, device: torch.device) -> None:
    """Raise UsageError for what does not exist, or lacks on this machine what it needs."""
    if name not in COMPILERS:
        raise UsageError(f"unknown compiler '{name}'; known: {', '.join(COMPILERS)}")
    if name == "none":
        return
    if device.type != "cuda" and name == "graphs":
        raise UsageError("--compile graphs needs a GPU; on the CPU take --compile default, or leave it out")
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UsageError("--compile needs triton, which is not installed here; install it or leave --compile out")
    program = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(program) is None:
        raise UsageError(
            f"--compile needs a C++ compiler, and there is no '{program}' here; install one, name it in CXX, "
            "or leave --compile out"
        )


def compiled(method: Loaded, name: str) -> Loaded:
    """The method with its network compiled at the first call; recurrent presets, which take no batches, are refused."""
    if name == "none" or not method.preset.support:
        return method
    if method.preset.recurrent:
        raise UsageError(
            f"preset '{method.preset_name}' of method '{method.card.name}' is run step by step and is not compiled; "
            "leave --compile out"
        )
    module: Any = torch.compile(method.module, dynamic=False, mode=_MODES[name])
    return replace(method, module=_Copied(module) if name == "graphs" else module)


class _Copied(nn.Module):
    """A recorded network writes each answer over the last one; copies last."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, clips: torch.Tensor) -> Any:
        return tree_map_only(torch.Tensor, torch.clone, self.module(clips))


@contextmanager
def explained(method: Loaded) -> Iterator[None]:
    """Say in a line what torch.compile could not do."""
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as problem:
        reason = next((line for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
        raise HarnessError(
            f"method '{method.card.name}' ({method.preset_name}) cannot be compiled here ({reason[:200]}); "
            "leave --compile out"
        ) from None


def filled_up(crops: torch.Tensor, size: int) -> torch.Tensor:
    """Crops (B,T,H,W,3), B at most `size`, with black clips up to that number; a compiled network knows one shape.

    >>> filled_up(torch.ones(2, 1, 1, 1, 3, dtype=torch.uint8), 3)[:, 0, 0, 0].tolist()
    [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    """
    missing = size - len(crops)
    return torch.cat((crops, crops.new_zeros(missing, *crops.shape[1:]))) if missing else crops
