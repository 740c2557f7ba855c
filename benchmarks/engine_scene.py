"""What the engine is measured on: a made video of JPEG frames with moving boxes, and the loop the field runs on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from harness.boxes import Boxes
from harness.datasets import NO_TRACK, DataSet, Frame, Sequence, Truth
from harness.inference import Loaded


@dataclass(frozen=True)
class Spec:
    """Sequences of so many frames and people; frames of `size` (width, height) px."""

    sequences: int = 2
    frames: int = 20
    people: int = 6
    size: tuple[int, int] = (1280, 720)
    quality: int = 90


def make(root: Path, spec: Spec, seed: int = 0) -> tuple[DataSet, Boxes]:
    """Write the frames and return them as a data set with boxes of every person in every frame."""
    generator = np.random.default_rng(seed)
    videos = tuple(_video(root, f"{number:04d}", spec, generator) for number in range(spec.sequences))
    places = np.indices((spec.sequences, spec.frames, spec.people)).reshape(3, -1)
    height = generator.uniform(0.35, 0.75, places.shape[1]) * spec.size[1]
    corner = generator.uniform(0, 0.6, (places.shape[1], 2)) * spec.size
    boxes = np.hstack([corner, corner + np.stack([height * 0.5, height], axis=1)])
    count = places.shape[1]
    found = Boxes(
        sequence=places[0], frame=places[1], boxes=boxes, scores=np.ones(count), track_ids=np.full(count, NO_TRACK),
        source="made", sha256=f"sha256:{seed}",
    )  # fmt: skip
    return DataSet("made", "val", root, videos, f"sha256:{spec}"), found


def _video(root: Path, name: str, spec: Spec, generator: np.random.Generator) -> Sequence:
    """Frames of smooth colour and sensor noise, whose files are as large as real ones."""
    folder = root / name
    folder.mkdir(parents=True)
    frames = []
    small = generator.integers(0, 255, (45, 80, 3), dtype=np.uint8)
    scene = cv2.resize(small, spec.size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
    for index in range(spec.frames):
        noise = generator.integers(-8, 8, scene.shape, dtype=np.int16)
        picture = np.clip(np.roll(scene, 4 * index, axis=1) + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index:06d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, spec.quality])
        frames.append(Frame(f"{name}/{index:06d}.jpg", index, index, size=spec.size))
    whole = np.zeros(0, dtype=np.int64)
    nobody = Truth(
        frame=whole, joints=np.zeros((0, 17, 2)), annotated=np.zeros((0, 17), dtype=bool), boxes=np.zeros((0, 4)),
        head_boxes=np.zeros((0, 4)), track_ids=whole, person_ids=whole, has_points=np.zeros(0, dtype=bool),
    )  # fmt: skip
    return Sequence(name, tuple(frames), nobody)


def person_clip(method: Loaded, dataset: DataSet, boxes: Boxes, row: int) -> np.ndarray[Any, Any]:
    """(T,3,H,W) float32 as a per-person loader makes it: every frame of the clip read, warped and normalised anew."""
    spec = method.preset.crop
    frames = dataset.sequences[boxes.sequence[row]].frames
    matrix = crop_matrix(boxes.boxes[row], spec.size, spec.enlarge)
    mean, std = np.array(spec.mean, dtype=np.float32), np.array(spec.std, dtype=np.float32)
    clip = []
    for offset in method.preset.support:
        place = min(max(int(boxes.frame[row]) + offset, 0), len(frames) - 1)
        path = str(dataset.root / frames[place].image)
        picture = cv2.cvtColor(cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), cv2.COLOR_BGR2RGB)
        crop = cv2.warpAffine(picture, matrix, spec.size, flags=cv2.INTER_LINEAR)
        clip.append(((crop.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1))
    return np.stack(clip)


def crop_matrix(box: np.ndarray[Any, Any], size: tuple[int, int], enlarge: float) -> np.ndarray[Any, Any]:
    """Image px to crop px from three pairs of points, as in the repositories of the field."""
    centre = ((box[:2] + box[2:]) / 2).astype(np.float32)
    sides = box[2:] - box[:2]
    width = np.float32(max(sides[0], sides[1] * size[0] / size[1]) * enlarge)
    half = np.array([0, width / 2], dtype=np.float32)
    source = np.array([centre, centre - half, centre - half[::-1] - half], dtype=np.float32)
    target = np.array(
        [[size[0] / 2, size[1] / 2], [size[0] / 2, (size[1] - size[0]) / 2], [0, (size[1] - size[0]) / 2]],
        dtype=np.float32,
    )
    return np.asarray(cv2.getAffineTransform(source, target))


def field_loop(method: Loaded, dataset: DataSet, boxes: Boxes, batch: int = 32) -> np.ndarray[Any, Any]:
    """The whole job as a loop over persons: load, stack, forward, maps to the CPU, joints one by one; (N,J,2) px."""
    found = []
    for start in range(0, len(boxes.frame), batch):
        rows = range(start, min(start + batch, len(boxes.frame)))
        clips = torch.from_numpy(np.stack([person_clip(method, dataset, boxes, row) for row in rows]))
        with torch.no_grad():
            outputs = method.module(clips)
        maps = method.codec.activated(outputs).numpy() if hasattr(method.codec, "activated") else outputs.numpy()
        found += [_joints(maps[place], boxes.boxes[row], method) for place, row in enumerate(rows)]
    return np.array(found)


def _joints(maps: np.ndarray[Any, Any], box: np.ndarray[Any, Any], method: Loaded) -> np.ndarray[Any, Any]:
    """Maxima with a quarter of a cell towards the higher neighbour, mapped to the image joint by joint."""
    spec = method.preset.crop
    back = cv2.invertAffineTransform(crop_matrix(box, spec.size, spec.enlarge))
    height, width = maps.shape[1:]
    joints = []
    for plane in maps:
        y, x = np.unravel_index(plane.argmax(), plane.shape)
        point = np.array([x, y], dtype=np.float64)
        if plane[y, x] <= 0:
            point[:] = 0
        if 1 < x < width - 1 and 1 < y < height - 1:
            point += 0.25 * np.sign([plane[y, x + 1] - plane[y, x - 1], plane[y + 1, x] - plane[y - 1, x]])
        joints.append(back @ [*(point * spec.size[0] / width), 1.0])
    return np.array(joints)
