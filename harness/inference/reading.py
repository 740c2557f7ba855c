"""Frames from the disk into the batches of all methods that want them: decoded once, cropped once where crops agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.inference.crops import warp
from harness.inference.frame_work import FrameWork
from harness.inference.sampling import sample
from harness.inference.work import SequenceWork

__all__ = ["CROP_PATHS", "Arrival", "Job", "Read", "cut", "cut_on_device", "fetch", "image_order"]

#: "reference" is OpenCV's warp in the reading threads, "device" the same rule on the device of the network.
CROP_PATHS = ("reference", "device")

Picture = NDArray[np.uint8]
Read = Callable[[Path], Picture]


@dataclass(frozen=True)
class Job:
    """One image (None: there are none) of sequence `number` and the works that want it; or why there is no job.

    `owners` say whose works they are, by the place of the method in the run.
    """

    number: int
    owners: tuple[int, ...]
    works: tuple[SequenceWork, ...] = ()
    image: str | None = None
    failure: HarnessError | None = None


@dataclass(frozen=True)
class Arrival:
    """A job whose image is read. `picture` (H,W,3) BGR is kept only where crops are made on the device.

    It then lies where a GPU can fetch it while both go on with other things.
    """

    job: Job
    size: tuple[int, int] = (0, 0)
    picture: torch.Tensor | None = None
    read_seconds: float = 0.0
    crop_seconds: float = 0.0
    failure: HarnessError | None = None


def image_order(works: list[SequenceWork]) -> list[str]:
    """The images that any of the works wants, in video order."""
    wanted = {path for work in works for path in work.images}
    return list(works[0].images) if len(works) == 1 else sorted(wanted, key=lambda path: (len(path), path))


def fetch(job: Job, root: Path, read: Read, *, crop_path: str, pinned: bool = False) -> Arrival:
    """Read the image of a job and, on the reference path, put its crops in place; failures are told, not raised."""
    if job.failure is not None or job.image is None or all(work.failed for work in job.works):
        return Arrival(job, failure=job.failure)
    started = perf_counter()
    try:
        picture = read(root / job.image)
    except HarnessError as failure:
        return Arrival(job, failure=failure)
    height, width = picture.shape[:2]
    done = perf_counter()
    for work in job.works:
        if isinstance(work, FrameWork) and job.image in work.images:
            work.take(work.images[job.image], picture)
    if crop_path == "device":
        kept = torch.from_numpy(picture)
        return Arrival(job, (width, height), kept.pin_memory() if pinned else kept, done - started)
    cut(picture, job)
    return Arrival(job, (width, height), None, done - started, perf_counter() - done)


def cut(picture: Picture, job: Job) -> None:
    """Warp every crop of a picture straight to its place; one that is wanted twice is warped once and copied."""
    made: dict[tuple[object, ...], Picture] = {}
    wanting = _wanting(job)
    asking = [(work, image) for work, image in wanting if work.spec.colour == "rgb"]
    area = sum(work.spec.size[0] * work.spec.size[1] * len(work.uses(image)[0]) for work, image in asking)
    # Colours are exchanged where there are fewer pixels: in the picture, or in its crops.
    rgb = None if area < picture.shape[0] * picture.shape[1] else _exchanged(picture)
    for work, image in wanting:
        rows, places = work.uses(image)
        sources = work.sources(rows, places)
        for row, place, source in zip(rows.tolist(), places.tolist(), sources.tolist(), strict=True):
            slot, key = work.slot(row, place), (work.crop_key, source)
            if key in made:
                slot[:] = made[key]
                continue
            wants_rgb = work.spec.colour == "rgb"
            made[key] = warp(
                picture if rgb is None or not wants_rgb else rgb, work.matrices[source], work.spec.size, into=slot
            )  # fmt: skip
            if wants_rgb and rgb is None:
                _exchanged(slot, into=slot)


def _exchanged(picture: Picture, *, into: Picture | None = None) -> Picture:
    """BGR as RGB, or the other way."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=into), dtype=np.uint8)


def cut_on_device(picture: torch.Tensor, job: Job, device: torch.device) -> None:
    """Upload a picture once and sample all its crops there, those that several methods share once."""
    uploaded = picture.to(device, non_blocking=True)
    made: dict[tuple[object, ...], torch.Tensor] = {}
    for work, image in _wanting(job):
        rows, places = work.uses(image)
        distinct, back = np.unique(work.sources(rows, places), return_inverse=True)
        key = (work.crop_key, distinct.tobytes())
        if key not in made:
            crops = sample(uploaded, work.matrices[distinct], work.spec.size)
            made[key] = crops.flip(-1) if work.spec.colour == "rgb" else crops
        work.fill(rows, places, made[key][torch.from_numpy(back).to(device)])


def _wanting(job: Job) -> list[tuple[SequenceWork, int]]:
    """The works that show crops of the image of a job, with its number in their clips."""
    cropping = [work for work in job.works if not isinstance(work, FrameWork)]
    found = [(work, work.images.get(job.image or "")) for work in cropping]
    return [(work, image) for work, image in found if image is not None]
