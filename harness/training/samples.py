"""Training samples: every annotated person of a split as a small picture per frame of its clip, kept in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.boxes import people_boxes
from harness.clips import Clips, cut_clips
from harness.datasets.sequences import DataSet, Frame, Sequence
from harness.errors import DataError
from harness.inference.ahead import run_ahead
from harness.inference.crops import UNIT, centre_and_scale, warp
from harness.inference.images import read_image
from harness.methods import CropSpec, Preset
from harness.training.recipe import Augmentation

__all__ = ["REACH", "Samples", "collect", "reach_of"]

#: Sides of the kept window in units of the box: what a crop can show after mild scaling, turning and shifting.
REACH = 1.6

#: What boxes a detector might have given reach beyond the true one, two deviations of either side.
_PROPOSED = 1.5

#: Above this many bytes pictures are kept as JPEG, at a tenth of the size and some milliseconds per batch.
ROOM = 6 * 2**30

Picture = NDArray[np.uint8] | bytes


@dataclass(frozen=True)
class Samples:
    """N people. `pictures` N lists of T, each uint8 (h,w,3) in the method's channel order or the bytes of a JPEG of it.

    A picture shows image px p at (p - origin) * zoom: `origins` (N,2), `zooms` (N,). `joints` (N,J,2) image px;
    `annotated` (N,J); `boxes` (N,4) xyxy; `head_sizes` (N,) px, NaN where unknown; `sequence` (N,) place in the split.
    """

    pictures: list[list[Picture]]
    origins: NDArray[np.float64]
    zooms: NDArray[np.float64]
    joints: NDArray[np.float64]
    annotated: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    head_sizes: NDArray[np.float64]
    sequence: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pictures)

    def shown(self, row: int) -> list[NDArray[np.uint8]]:
        """The T pictures of a person, uint8 (h,w,3)."""
        return [item if isinstance(item, np.ndarray) else _unpacked(item) for item in self.pictures[row]]

    def of(self, rows: NDArray[np.int64]) -> Samples:
        """The samples of some rows."""
        return Samples(
            [self.pictures[row] for row in rows.tolist()],
            self.origins[rows], self.zooms[rows], self.joints[rows], self.annotated[rows],
            self.boxes[rows], self.head_sizes[rows], self.sequence[rows],
        )  # fmt: skip


def collect(
    dataset: DataSet,
    preset: Preset,
    *,
    minimum_joints: int = 6,
    reach: float = REACH,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """The people of a split with at least `minimum_joints` annotated joints; each frame is read once.

    Only labelled frames have people to learn from; the frames round them need no labels. Where the files have no boxes
    they are the extents of the joints, as in an evaluation. Kept is a window of `reach` times the box. `progress` is
    called with (sequences done, sequences). Raises DataError for a split without such people.
    """
    parts: list[Samples] = []
    packed = _raw_bytes(dataset, preset, reach) > ROOM

    def read(number: int) -> Samples:
        return _of_sequence(dataset, number, preset, minimum_joints, reach, packed)

    for part in run_ahead(read, range(len(dataset)), workers=workers, depth=2 * workers):
        parts.append(part)
        if progress is not None:
            progress(len(parts), len(dataset))
    if not sum(map(len, parts)):
        raise DataError(
            f"{dataset.root}: in {dataset.name} {dataset.split} nobody has a box and {minimum_joints} annotated "
            "joints; there is nothing to learn from"
        )
    columns = ("origins", "zooms", "joints", "annotated", "boxes", "head_sizes", "sequence")
    return Samples(
        [pictures for part in parts for pictures in part.pictures],
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns},
    )


def reach_of(augmentation: Augmentation, crop: CropSpec) -> float:
    """The window that crops of an augmentation need, in units of the box.

    >>> round(reach_of(Augmentation(scale=0.35, rotation=45.0), CropSpec((288, 384))), 3)
    2.784
    """
    room = _PROPOSED if augmentation.proposals else 1.0
    if augmentation.scale <= 0.12 and augmentation.rotation <= 15:
        return room * REACH
    width, height = crop.size
    return room * crop.enlarge * (1 + augmentation.scale) * (width + height) / math.sqrt(2) / min(width, height)


def _raw_bytes(dataset: DataSet, preset: Preset, reach: float) -> float:
    """Size of all pictures at their largest."""
    people = sum(len(sequence.truth) for sequence in dataset.sequences)
    return people * len(preset.support) * 3 * reach**2 * preset.crop.size[0] * preset.crop.size[1]


def _of_sequence(
    dataset: DataSet, number: int, preset: Preset, minimum_joints: int, reach: float, packed: bool
) -> Samples:
    sequence = dataset.sequences[number]
    truth = sequence.truth
    boxes = np.where(np.isfinite(truth.boxes).all(axis=1, keepdims=True), truth.boxes, people_boxes(dataset, sequence))
    known = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (truth.annotated.sum(axis=1) >= minimum_joints)
    rows = np.flatnonzero(known & sequence.labelled[truth.frame])
    rows = rows[np.argsort(truth.frame[rows], kind="stable")]
    clips = cut_clips(
        dataset, sequence, frame=truth.frame[rows], boxes=boxes[rows], box_scores=np.ones(len(rows)),
        track_ids=truth.track_ids[rows], support=preset.support, box_offset=preset.box_offset, ends=preset.ends,
    )  # fmt: skip
    size = _picture_size(dataset, sequence, clips)
    origins, ends, zooms = _windows(clips.boxes, preset.crop, size, reach)
    heads = truth.head_boxes[rows]
    return Samples(
        _pictures(dataset, clips, preset.crop, origins, ends, zooms, packed),
        origins,
        zooms,
        truth.joints[rows],
        truth.annotated[rows],
        clips.boxes,
        0.6 * np.hypot(heads[:, 2] - heads[:, 0], heads[:, 3] - heads[:, 1]),
        np.full(len(rows), number, dtype=np.int64),
    )


def _picture_size(dataset: DataSet, sequence: Sequence, clips: Clips) -> tuple[int, int]:
    """Width and height of the frames of a sequence."""
    first = sequence.frames[0] if sequence.frames else Frame("", 0, 0)
    if first.size is not None or not clips.images:
        return first.size or (1, 1)
    height, width = read_image(dataset.root / clips.images[0]).shape[:2]
    return width, height


def _windows(
    boxes: NDArray[np.float64], crop: CropSpec, size: tuple[int, int], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Top-left and bottom-right whole px of what is kept round each box, inside the frame, and the zoom."""
    centre, scale = centre_and_scale(boxes, crop.size, enlarge=reach, aspect=crop.aspect)
    half = scale.astype(np.float64) * UNIT / 2
    origins = np.clip(np.floor(centre - half), 0, np.array(size) - 1.0)
    ends = np.clip(np.ceil(centre + half), origins + 1, size)
    zooms = np.minimum(1.0, reach * max(crop.size) / np.maximum(2 * half.max(axis=1), 1.0))
    return origins, ends, zooms


def _pictures(
    dataset: DataSet,
    clips: Clips,
    crop: CropSpec,
    origins: NDArray[np.float64],
    ends: NDArray[np.float64],
    zooms: NDArray[np.float64],
    packed: bool,
) -> list[list[Picture]]:
    pictures: list[list[Picture]] = [[b""] * clips.support.shape[1] for _ in range(len(clips))]
    for image, path in enumerate(clips.images):
        frame = read_image(dataset.root / path)
        if crop.colour == "rgb":
            frame = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        for row, place in np.argwhere(clips.support == image).tolist():
            window = _window(frame, origins[row], ends[row], float(zooms[row]))
            pictures[row][place] = _packed(window) if packed else window
    return pictures


def _window(
    frame: NDArray[np.uint8], origin: NDArray[np.float64], end: NDArray[np.float64], zoom: float
) -> NDArray[np.uint8]:
    left, top, right, bottom = (int(value) for value in (*origin, *end))
    if zoom >= 1:
        return frame[top:bottom, left:right].copy()
    size = max(round((right - left) * zoom), 1), max(round((bottom - top) * zoom), 1)
    matrix = np.array([[zoom, 0, -zoom * left], [0, zoom, -zoom * top]])
    return warp(frame, matrix, size)


def _packed(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())


def _unpacked(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)
