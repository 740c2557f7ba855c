"""The held-out part of a training split, and how good a network is on it: by the engine and scorer of every run."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from harness.boxes import boxes_from_truth
from harness.datasets.sequences import DataSet
from harness.inference import Settings, predict
from harness.inference.crops import image_matrices, transform
from harness.inference.loaded import Loaded, infer
from harness.predictions import only
from harness.scoring.protocols import score
from harness.training.batches import Stream, plain_batch

__all__ = ["average_precision", "held_out_sequences", "percent_correct"]


def held_out_sequences(count: int, share: float) -> NDArray[np.int64]:
    """Places of the sequences that are not trained on, evenly spread: whole sequences, as neighbours look alike.

    >>> held_out_sequences(40, 0.05).tolist()
    [10, 30]
    """
    number = min(max(round(count * share), 1), count - 1) if share > 0 else 0
    return ((np.arange(number) + 0.5) * count / max(number, 1)).astype(np.int64)


def average_precision(method: Loaded, dataset: DataSet, *, device: torch.device) -> float:
    """poseval's AP (0..1) on true boxes, as `harness eval` would have it without flip test."""
    neighbours = bool(method.preset.box_offset or method.preset.recurrent)
    boxes = boxes_from_truth(dataset, unlabelled=neighbours)
    settings = Settings(batch_size=64, device=str(device))
    found, _ = predict(method, dataset, boxes, flip=False, settings=settings)
    labelled = [sequence.labelled for sequence in dataset.sequences]
    places = zip(found.sequence.tolist(), found.frame.tolist(), strict=True)
    kept = np.flatnonzero([labelled[number][frame] for number, frame in places])
    return score(dataset, only(found, kept), tracking=False).value("ap") / 100


def percent_correct(method: Loaded, stream: Stream, *, device: torch.device, limit: int = 1500) -> float:
    """PCKh@0.5 (0..1) over the annotated joints of at most `limit` evenly spread samples, without augmentation.

    Where a head has no box, a tenth of the person's box diagonal stands for half its size.
    """
    count = len(stream.samples)
    rows = np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))
    hits = total = 0
    for part in np.array_split(rows, -(-len(rows) // 64)):
        batch, samples = plain_batch(stream, part), stream.samples.of(part)
        with torch.inference_mode():
            decoded = method.codec.decode(infer(method, batch.crops, device=device))
        back = image_matrices(
            batch.centre, batch.scale, decoded.grid,
            geometry=method.codec.geometry, aspect=stream.crop.aspect,
        )  # fmt: skip
        joints = transform(decoded.joints.double().cpu().numpy(), back)
        sides = samples.boxes[:, 2:] - samples.boxes[:, :2]
        reach = np.where(np.isfinite(samples.head_sizes), 0.5 * samples.head_sizes, 0.1 * np.hypot(*sides.T))
        near = np.linalg.norm(joints - samples.joints, axis=-1) <= reach[:, None]
        hits += int((near & samples.annotated).sum())
        total += int(samples.annotated.sum())
    return hits / max(total, 1)
