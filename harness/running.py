"""Running requests: the poses they ask for, what it took, and how far the settings let them vary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.inference import ALONE, Asked, Ranks, Ready, Settings, Timings, batch_spread, predict_together
from harness.opening import Opened, Progress
from harness.people import afterwards
from harness.predictions import Predictions
from harness.request import Request
from harness.video import VideoFrames

__all__ = ["run_method", "run_methods"]


def run_method(
    request: Request, ready: Ready, opened: Opened, *, shards: Path | None, progress: Progress | None = None
) -> tuple[Predictions, Timings]:
    """Predict as the request says; finished sequences are kept in `shards`, as they were found."""
    return run_methods([(request, ready, opened, shards)], progress=progress)[0][:2]


def _asked(request: Request, ready: Ready, opened: Opened, shards: Path | None) -> Asked:
    method = ready.method if request.probe is None else request.probe.prepared(ready.method)
    return Asked(method, opened.boxes, request.flip, shards, request.probe)


def run_methods(
    plans: list[tuple[Request, Ready, Opened, Path | None]], *, progress: Progress | None = None, ranks: Ranks = ALONE
) -> list[tuple[Predictions, Timings, dict[str, Any]]]:
    """Poses, timings and repeatability of requests for the same data; nothing on any rank but the first."""
    request, _, opened, _ = plans[0]
    settings = Settings(
        batch_size=request.batch_size, device=request.device, precision=request.precision, crop_path=request.crop_path,
        fold=request.fold, deterministic=request.deterministic, keep_going=request.keep_going,
    )  # fmt: skip
    asked = [_asked(request, ready, opened, shards) for request, ready, opened, shards in plans]
    read = VideoFrames(opened.video.path) if opened.video else None
    found = predict_together(asked, opened.dataset, settings=settings, progress=progress, read=read, ranks=ranks)
    answers = []
    for item, (request, ready, opened, _), (predictions, timings) in zip(asked, plans, found, strict=ranks.first):
        spread = batch_spread(
            item, opened.dataset, predictions, settings=settings, batch_size=timings.batch_size, read=read
        )
        final = afterwards(request, predictions, opened.dataset, crop=ready.method.preset.crop)
        repeatability = {"deterministic": settings.deterministic, "folded": settings.fold, "spread": spread}
        answers.append((final, timings, repeatability))
    return answers
