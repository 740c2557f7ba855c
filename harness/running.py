"""Running requests: the poses they ask for, what it took, and how far the settings let them vary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.inference import (
    ALONE,
    Asked,
    Ranks,
    Ready,
    Settings,
    Timings,
    batch_spread,
    in_use_by_all,
    predict_together,
)
from harness.methods import WholeFramePreset
from harness.opening import Opened, Progress, prepare
from harness.people import afterwards
from harness.predictions import Predictions, export_json, write_parquet
from harness.request import Request
from harness.video import VideoFrames

__all__ = ["Plan", "predict_into", "run_methods"]

#: What is asked, the method and the data for it, and where finished sequences are kept.
Plan = tuple[Request, Ready, Opened, Path | None]


def predict_into(
    request: Request,
    folder: Path,
    *,
    layout: str,
    emptied: bool = False,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Predictions, Opened] | None:
    """Predict as a request says and write predictions.parquet and the JSON files of `layout` into a folder.

    Finished sequences are kept below it until then, and taken from there unless it is to be `emptied`. JSON files of
    that layout which an earlier prediction left are removed. Among several ranks the first writes and answers; the
    others return None.
    """
    ready, opened = prepare(request, progress=progress)
    unfinished, ranks = folder / "unfinished", ranks.named("predict")
    with in_use_by_all(unfinished, ranks, emptied=emptied):
        plans: list[Plan] = [(request, ready, opened, unfinished)]
        answers = run_methods(plans, progress=progress, ranks=ranks, measured=False)
        if not ranks.first:
            return None
        predictions = answers[0][0]
        again = (folder / "predictions.parquet").is_file()
        write_parquet(predictions, folder / "predictions.parquet")
        written = export_json(predictions, opened.dataset.sequences, folder / layout, layout=layout)
        if again:  # otherwise no JSON file there is of this verb
            _remove_others(folder / layout, written)
    return predictions, opened


def _remove_others(folder: Path, written: list[Path]) -> None:
    """Remove the JSON files of a folder, not of folders in it, that are not among those written."""
    for path in set(folder.glob("*.json")) - set(written):
        if path.is_file():
            path.unlink()


def _asked(request: Request, ready: Ready, opened: Opened, shards: Path | None) -> Asked:
    method = ready.method if request.probe is None else request.probe.prepared(ready.method)
    return Asked(method, opened.boxes, request.flip, shards, request.probe)


def _method_of(number: int, plans: list[Plan]) -> int | None:
    """The place of the method whose control a plan is; None for one that is none."""
    request = plans[number][0]
    whole = [place for place, plan in enumerate(plans) if plan[0] == replace(request, outputs="method")]
    return whole[0] if request.outputs != "method" and whole else None


def run_methods(
    plans: list[Plan], *, progress: Progress | None = None, ranks: Ranks = ALONE, measured: bool = True
) -> list[tuple[Predictions, Timings, dict[str, Any]]]:
    """Poses, timings and repeatability of requests for the same data; nothing on any rank but the first.

    The spread between batch sizes, for which a sequence is run once more, is `measured` or left out.
    """
    request, _, opened, _ = plans[0]
    settings = Settings(
        batch_size=request.batch_size, device=request.device, precision=request.precision, crop_path=request.crop_path,
        fold=request.fold, compiler=request.compiler, deterministic=request.deterministic,
        keep_going=request.keep_going,
    )  # fmt: skip
    asked = [_asked(request, ready, opened, shards) for request, ready, opened, shards in plans]
    asked = [replace(item, within=_method_of(number, plans)) for number, item in enumerate(asked)]
    read = VideoFrames(opened.video.path) if opened.video else None
    found = predict_together(asked, opened.dataset, settings=settings, progress=progress, read=read, ranks=ranks)
    answers = []
    for item, (request, ready, opened, _), (predictions, timings) in zip(asked, plans, found, strict=ranks.first):
        size = timings.batch_size
        spread = (
            batch_spread(item, opened.dataset, predictions, settings=settings, batch_size=size, read=read)
            if measured else {}
        )  # fmt: skip
        preset = ready.method.preset
        whole = isinstance(preset, WholeFramePreset)
        final = afterwards(request, predictions, opened.dataset, crop=preset.crop, whole=whole)
        repeatability = {
            "deterministic": settings.deterministic, "folded": settings.fold, "compiled": settings.compiler,
            "spread": spread,
        }  # fmt: skip
        answers.append((final, timings, repeatability))
    return answers
