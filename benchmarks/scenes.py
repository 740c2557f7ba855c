"""Seeded scenes for benchmarks and property tests: people, predictions with every fault, as harness types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.datasets.sequences import NO_TRACK, Frame, Sequence, Truth
from harness.predictions import Predictions, person_numbers
from harness.skeletons import POSETRACK17

EARS = [POSETRACK17.index("left_ear"), POSETRACK17.index("right_ear")]
BODY = np.setdiff1d(np.arange(len(POSETRACK17)), EARS)


@dataclass(frozen=True)
class SceneSpec:
    """How many of what; the defaults resemble the validation sets of PoseTrack.

    `frames` per sequence, `people` (low, high) tracks in one, `labelled` share of labelled frames, `copies` predictions
    per person on average, `noise` of a joint in head sizes, `grid` px to which every coordinate is rounded (0: none),
    `score_steps` distinct scores (0: continuous).
    """

    sequences: int = 20
    frames: int = 100
    people: tuple[int, int] = (3, 8)
    labelled: float = 0.76
    copies: float = 1.1
    noise: float = 0.15
    missing: float = 0.1
    grid: float = 0.25
    score_steps: int = 0
    regions: float = 0.2
    unscored: float = 0.0
    area: float = 1200.0


def make_scene(spec: SceneSpec, seed: int) -> tuple[tuple[Sequence, ...], Predictions]:
    """Sequences with truth, and predictions for them."""
    random = np.random.default_rng(seed)
    pairs = [_sequence(spec, number, random) for number in range(spec.sequences)]
    return tuple(sequence for sequence, _ in pairs), _joined([parts for _, parts in pairs], pairs)


def write_scene(root: Path, sequences: tuple[Sequence, ...], predictions: Predictions) -> None:
    """Write `truth/NAME.json` and `predictions/NAME.json` below `root`, in the layout of PoseTrack18 and 21."""
    for side in ("truth", "predictions"):
        (root / side).mkdir(parents=True, exist_ok=True)
    for number, sequence in enumerate(sequences):
        truth = sequence.truth
        boxes = np.concatenate([truth.boxes[:, :2], truth.boxes[:, 2:] - truth.boxes[:, :2]], axis=1)
        heads = np.concatenate([truth.head_boxes[:, :2], truth.head_boxes[:, 2:] - truth.head_boxes[:, :2]], axis=1)
        people = [
            {**person, "bbox": box, "bbox_head": head, "scores": []}
            for person, box, head in zip(
                _people(truth.frame, truth.track_ids, truth.joints, truth.annotated), boxes.tolist(), heads.tolist(),
                strict=True,
            )
        ]  # fmt: skip
        _write(root / "truth" / f"{sequence.name}.json", sequence, people)
        own = np.flatnonzero(predictions.sequence == number)
        columns = (predictions.frame, predictions.track_ids, predictions.joints, predictions.present)
        scores = np.nan_to_num(predictions.scores[own]).tolist()
        found = [
            {**person, "scores": values}
            for person, values in zip(_people(*(column[own] for column in columns)), scores, strict=True)
        ]
        _write(root / "predictions" / f"{sequence.name}.json", sequence, found)


def _people(frame: np.ndarray, tracks: np.ndarray, joints: np.ndarray, present: np.ndarray) -> list[dict[str, Any]]:
    keypoints = np.concatenate([np.where(present[..., None], joints, 0.0), present[..., None]], axis=2)
    columns = zip(frame.tolist(), tracks.tolist(), keypoints.reshape(len(frame), -1).tolist(), strict=True)
    return [
        {"image_id": 10**7 + position, "id": number, "category_id": 1, "track_id": track, "keypoints": points}
        for number, (position, track, points) in enumerate(columns)
    ]


def _write(path: Path, sequence: Sequence, people: list[dict[str, Any]]) -> None:
    images = []
    for position, frame in enumerate(sequence.frames):
        polygons = sequence.truth.ignore.get(position, ())
        images.append(
            {
                "id": frame.image_id,
                "file_name": frame.image,
                "is_labeled": frame.labelled,
                "ignore_regions_x": [polygon[:, 0].tolist() for polygon in polygons],
                "ignore_regions_y": [polygon[:, 1].tolist() for polygon in polygons],
            }
        )
    category = {"id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}
    path.write_bytes(orjson.dumps({"images": images, "annotations": people, "categories": [category]}))


def _sequence(spec: SceneSpec, number: int, random: np.random.Generator) -> tuple[Sequence, dict[str, np.ndarray]]:
    name = f"{number:06d}_mpii_test"
    count = int(random.integers(spec.people[0], spec.people[1] + 1))
    head = random.uniform(20, 60, count)
    start = random.uniform(0, spec.area, (count, 1, 2))
    drift = random.normal(0, 4, (count, 1, 2)) * np.arange(spec.frames)[None, :, None]
    pose = random.normal(0, 1.5, (count, 1, 17, 2)) * head[:, None, None, None]
    sway = np.cumsum(random.normal(0, 0.05, (count, spec.frames, 17, 2)), axis=1) * head[:, None, None, None]
    joints = _rounded(start[:, :, None] + drift[:, :, None] + pose + sway, spec.grid)
    labelled = random.random(spec.frames) < spec.labelled
    there = (random.random((count, spec.frames)) < 0.9) & labelled
    frame, person = np.nonzero(there.T)
    annotated = random.random((len(frame), 17)) >= spec.missing
    annotated[:, EARS] = False
    points = np.where(annotated[..., None], joints[person, frame], 0.0)
    corner = _rounded(joints[person, frame, 2], spec.grid)
    heads = np.concatenate([corner, corner + _rounded(np.stack([head, head], 1)[person], spec.grid)], axis=1)
    truth = Truth(
        frame=frame, joints=points, annotated=annotated, boxes=_extent(joints[person, frame]), head_boxes=heads,
        track_ids=person.astype(np.int64), person_ids=np.full(len(frame), NO_TRACK),
        has_points=np.ones(len(frame), dtype=bool), ignore=_regions(spec, random),
    )  # fmt: skip
    frames = tuple(
        Frame(
            image=f"images/val/{name}/{index:06d}.jpg",
            index=index,
            image_id=10**7 + index,
            labelled=bool(labelled[index]),
        )
        for index in range(spec.frames)
    )
    return Sequence(name=name, frames=frames, truth=truth), _predict(spec, joints, head, random)


def _predict(
    spec: SceneSpec, joints: np.ndarray, head: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    count, frames = joints.shape[:2]
    copies = random.poisson(spec.copies, (frames, count))
    frame, person = np.nonzero(copies)
    repeat = copies[frame, person]
    frame, person = np.repeat(frame, repeat), np.repeat(person, repeat)
    noise = random.standard_t(3, (len(frame), 17, 2)) * spec.noise * head[person, None, None]
    strays = random.random(len(frame)) < 0.1
    points = joints[person, frame] + noise + np.where(strays, 500.0, 0.0)[:, None, None]
    present = random.random((len(frame), 17)) >= spec.missing / 2
    present[:, EARS] = False
    scores = random.random((len(frame), 17))
    if spec.score_steps:
        scores = np.round(scores * spec.score_steps) / spec.score_steps
    scores[random.random(len(frame)) < spec.unscored] = np.nan
    copy = person_numbers(frame, person)
    swapped = random.random(len(frame)) < 0.02
    return {
        "frame": frame,
        "joints": np.where(present[..., None], _rounded(points, spec.grid), 0.0),
        "scores": scores,
        "present": present,
        "track_ids": person + 100 * copy + 5000 * swapped,
    }


def _joined(parts: list[dict[str, np.ndarray]], pairs: list[tuple[Sequence, dict[str, np.ndarray]]]) -> Predictions:
    lengths = [len(part["frame"]) for part in parts]
    column = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    sequence = np.repeat(np.arange(len(parts)), lengths)
    return Predictions(
        sequence_names=tuple(sequence.name for sequence, _ in pairs),
        sequence=sequence,
        person=person_numbers(sequence, column["frame"]),
        boxes=np.full((len(sequence), 4), np.nan),
        box_scores=np.nanmean(np.where(np.isnan(column["scores"]), 0.0, column["scores"]), axis=1),
        **column,
    )


def _regions(spec: SceneSpec, random: np.random.Generator) -> dict[int, tuple[np.ndarray, ...]]:
    if random.random() >= spec.regions:
        return {}
    centre = random.uniform(0, spec.area, 2)
    polygon = np.round(centre + random.uniform(-150, 150, (int(random.integers(3, 7)), 2)))
    return dict.fromkeys(range(spec.frames), (polygon,))


def _extent(joints: np.ndarray) -> np.ndarray:
    return np.concatenate([joints[:, BODY].min(axis=1), joints[:, BODY].max(axis=1)], axis=1)


def _rounded(values: np.ndarray, grid: float) -> np.ndarray:
    return np.round(values / grid) * grid if grid else values
