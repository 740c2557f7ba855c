"""A method ready to run: its card, the chosen preset, the built module and the codec that reads its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from harness.codecs import Codec
from harness.errors import HarnessError, UsageError
from harness.grouping import Grouping
from harness.inference.normalising import Normaliser
from harness.inference.recurrence import Past
from harness.methods import MethodCard, Preset, WholeFramePreset

__all__ = [
    "PRECISIONS", "Loaded", "check_finite", "check_precision", "choose_device", "forward", "infer",
    "infer_step",
]  # fmt: skip

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


@dataclass(frozen=True)
class Loaded:
    """What the engine runs. `weights_sha256` is None for a method without weights or with random ones."""

    card: MethodCard
    preset_name: str
    preset: Preset
    module: torch.nn.Module
    reads: Codec | Grouping
    weights_sha256: str | None = None

    @property
    def codec(self) -> Codec:
        """What reads the outputs for crops; UsageError where the method takes whole frames."""
        if isinstance(self.preset, WholeFramePreset):
            raise UsageError(
                f"method '{self.card.name}' ({self.preset_name}) takes whole frames, and this works on crops; "
                "run it with harness eval or harness predict"
            )
        return cast(Codec, self.reads)

    @property
    def grouping(self) -> Grouping:
        """What makes persons of the outputs for whole frames."""
        return cast(Grouping, self.reads)

    @property
    def crop_geometry(self) -> str:
        """Geometry of the crop: the preset's, else the codec's."""
        return self.preset.crop.geometry or self.codec.geometry


def choose_device(name: str) -> torch.device:
    """The torch device of a name such as "cpu", "cuda" or "auto"; UsageError where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device '{name}' cannot be used here ({reason}); try --device cpu") from None
    return device


def infer(
    method: Loaded,
    crops: NDArray[np.uint8] | torch.Tensor,
    *,
    device: torch.device,
    precision: str = "fp32",
    flip: bool = False,
    normaliser: Normaliser | None = None,
) -> Any:
    """Outputs of the method for crops (B,T,H,W,3) uint8 in the preset's channel order."""
    grey = torch.from_numpy(crops) if isinstance(crops, np.ndarray) else crops
    normaliser = normaliser or Normaliser(method.preset.crop, device)
    return forward(
        method, normaliser(grey.to(device, non_blocking=True)), device=device, precision=precision, flip=flip
    )


def infer_step(
    method: Loaded,
    crops: torch.Tensor,
    past: Past,
    part: slice,
    *,
    device: torch.device,
    precision: str = "fp32",
    flip: bool = False,
    normaliser: Normaliser,
) -> Any:
    """Outputs of a method that carries a state along tracks, for the rows `part` of one frame of a sequence."""
    grey = crops.to(device, non_blocking=True)
    with _computing(device, precision):
        outputs = past.step(method, part, grey, mirrored=False, normaliser=normaliser)
        if flip:
            mirrored = past.step(method, part, grey, mirrored=True, normaliser=normaliser)
            outputs = method.codec.merge(outputs, mirrored, _flip_order(method, device))
    return outputs


def forward(
    method: Loaded, clips: torch.Tensor, *, device: torch.device, precision: str = "fp32", flip: bool = False
) -> Any:
    """Outputs of the method for normalised clips (B,T,3,H,W) on the device."""
    with _computing(device, precision):
        outputs = method.module(clips)
        if flip:
            outputs = method.codec.merge(outputs, method.module(clips.flip(-1)), _flip_order(method, device))
    return outputs


def _flip_order(method: Loaded, device: torch.device) -> torch.Tensor:
    return _on_device(tuple(method.card.skeleton.flip_order.tolist()), device)


@lru_cache(maxsize=8)
def _on_device(order: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Uploaded once: every upload of a constant would halt a GPU."""
    return torch.tensor(order, device=device)


def check_precision(precision: str, device: torch.device) -> None:
    """Raise UsageError for a precision that does not exist or that the device cannot compute in."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'; known: {', '.join(PRECISIONS)}")
    if device.type == "cpu" and precision == "fp16":
        raise UsageError("precision fp16 needs a GPU; on the CPU take fp32 or bf16")


@contextmanager
def _computing(device: torch.device, precision: str) -> Iterator[None]:
    check_precision(precision, device)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if device.type == "cuda":
            stack.enter_context(_tf32(precision == "tf32"))
        if precision in ("bf16", "fp16"):
            dtype = torch.bfloat16 if precision == "bf16" else torch.float16
            stack.enter_context(torch.autocast(device.type, dtype=dtype))
        yield


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in matrix products and convolutions, and put back what was set before."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def check_finite(method: Loaded, finite: NDArray[np.bool_], where: str) -> None:
    """Raise HarnessError unless all of `finite` holds; `where` names sequence and frame."""
    if not finite.all():
        raise HarnessError(
            f"method '{method.card.name}' ({method.preset_name}) gave a joint that is not a number in {where}; "
            "check its weights, or run with --precision fp32"
        )
