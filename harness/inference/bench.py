"""What a method costs: operations, the bound its network sets, how near a whole run comes to it, and what limits it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from harness.datasets.sequences import DataSet
from harness.errors import DataError
from harness.inference.compiling import check_compiler, compiled, explained
from harness.inference.engine import predict
from harness.inference.flops import multiply_adds, multiply_adds_of_layers
from harness.inference.frame_task import FRAME_BATCH
from harness.inference.layout import threads_laid_out
from harness.inference.loaded import Loaded, choose_device, forward
from harness.inference.loading import Ready
from harness.inference.recurrence import in_full_swing
from harness.inference.settings import Settings
from harness.inference.sizing import CPU_BATCH
from harness.inference.task import placed
from harness.inference.timings import Timings
from harness.methods import WholeFramePreset

if TYPE_CHECKING:
    from harness.boxes import Boxes

__all__ = ["Measured", "measure"]

#: A stage is worth a remark from this share of the whole on.
_WORTH = 0.1


@dataclass(frozen=True)
class Measured:
    """The cost of one method on one machine. Rates are clips per second, operations those of one clip.

    Of a whole-frame method the clip is a frame.
    Of a recurrent preset the clip is a step along a track that has begun.
    `multiply_adds` counts convolution and linear layers, as published tables do, `all_multiply_adds` every product;
    `forward_only` is the rate of the network on input that lies ready, `end_to_end` that of a whole run from files to
    poses, `ratio` the second over the first; `compile_seconds` are in neither; `latency` seconds of one clip alone;
    `stages` seconds per clip of the main thread, which add up; `peak_memory` bytes of the process (of the GPU where
    there is one).
    """

    method: str
    preset: str
    device: str
    precision: str
    batch_size: int
    threads: int
    parameters: int
    multiply_adds: int
    all_multiply_adds: int
    forward_only: float
    end_to_end: float
    ratio: float
    latency: float
    peak_memory: int
    clips: int
    compile_seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    reading: dict[str, float] = field(default_factory=dict)
    limit: str = ""
    advice: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def measure(ready: Ready, dataset: DataSet, boxes: Boxes, *, settings: Settings, repeat: int = 3) -> Measured:
    """Measure a method: its network alone and a whole run, in turns, best of `repeat`; warm-up is left out.

    Raises DataError where there is nobody to look at.
    """
    if not len(boxes):
        raise DataError("nobody to look at in these sequences; take another --split or --limit")
    device = choose_device(settings.device)
    check_compiler(settings.compiler, device)
    method = placed(ready.method, device, fold=settings.fold)
    size = settings.batch_size or (FRAME_BATCH if isinstance(method.preset, WholeFramePreset) else CPU_BATCH)
    if method.preset.recurrent:  # a batch is the people of one frame
        size = min(size, max(1, round(len(boxes) / len(set(zip(boxes.sequence, boxes.frame, strict=True))))))
    ready.method.module.to(device).eval()
    one_clip = _clips(method, 1, device)
    counted = in_full_swing(ready.method.module, method.preset, one_clip), one_clip
    seeing = bool(method.preset.support)

    def network(count: int) -> Callable[[], Any]:
        clips = _clips(method, count, device)
        flip = method.preset.flip_test
        running = replace(method, module=in_full_swing(method.module, method.preset, clips))
        running = compiled(running, settings.compiler)
        return lambda: forward(running, clips, device=device, precision=settings.precision, flip=flip)

    with threads_laid_out(1):
        batch, one = network(size), network(1)
        with explained(method):
            first = _seconds(batch, device)
            _seconds(one, device)
        alone, runs = [], []
        for _ in range(repeat):
            alone.append(_seconds(batch, device) / size)
            runs.append(predict(ready.method, dataset, boxes, settings=replace(settings, batch_size=size))[1])
        latency = median(_seconds(one, device) for _ in range(max(5, repeat)))
    best = min(runs, key=lambda timings: timings.wall)
    stages = _stages(best)
    limit, advice = _limiting(stages, min(alone), settings, device)
    return Measured(
        method=method.card.name, preset=method.preset_name, device=_device_name(device), precision=settings.precision,
        batch_size=size, threads=torch.get_num_threads(), parameters=ready.parameters,
        multiply_adds=multiply_adds_of_layers(*counted) if seeing else 0,
        all_multiply_adds=multiply_adds(*counted) if seeing else 0,
        forward_only=1 / min(alone), end_to_end=best.clips / best.wall, ratio=min(alone) * best.clips / best.wall,
        latency=latency, peak_memory=_peak_memory(device), clips=best.clips, stages=stages,
        compile_seconds=max(0.0, first - size * min(alone)) if settings.compiler != "none" else 0.0,
        reading={name: getattr(best, name) / max(best.clips, 1) for name in ("read", "crop")},
        limit=limit, advice=advice,
    )  # fmt: skip


def _clips(method: Loaded, count: int, device: torch.device) -> torch.Tensor:
    """Seeded noise as the engine lays clips out in memory."""
    width, height = method.preset.crop.size
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(count, len(method.preset.support), height, width, 3, generator=generator)
    return clips.permute(0, 1, 4, 2, 3).to(device)


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    started = perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - started


def _stages(timings: Timings) -> dict[str, float]:
    """Seconds per clip of the stages that follow one another, and of what is between them."""
    names = ("wait", "sample", "forward", "decode", "write")
    stages = {name: getattr(timings, name) / max(timings.clips, 1) for name in names}
    return {**stages, "rest": timings.wall / max(timings.clips, 1) - sum(stages.values())}


def _limiting(stages: dict[str, float], alone: float, settings: Settings, device: torch.device) -> tuple[str, str]:
    """The stage that limits a run, and the option expected to help."""
    total = sum(stages.values())
    others = {name: seconds for name, seconds in stages.items() if name != "forward"}
    worst = max(others, key=lambda name: others[name])
    if others[worst] > _WORTH * total and others[worst] > 0.25 * alone:
        return worst, {
            "wait": "more processes (torchrun --nproc-per-node), as reading and cropping cannot keep up"
            if device.type == "cpu" else "--crop-path device, which leaves only decoding to the processors",
            "sample": "--crop-path reference",
            "write": "--results on a faster disk",
        }.get(worst, "a larger --batch-size")  # fmt: skip
    if not settings.fold:
        return "forward", "--fold"
    if device.type == "cuda" and settings.precision == "fp32":
        return "forward", "--precision bf16"
    return "forward", "more processes (torchrun --nproc-per-node), or a GPU" if device.type == "cpu" else "more GPUs"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
