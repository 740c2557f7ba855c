"""Frame, Truth, Sequence and DataSet: what every reader makes and everything else takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.skeletons import POSETRACK17, Skeleton

__all__ = ["NO_TRACK", "DataSet", "Frame", "Polygon", "Sequence", "Truth", "check_shapes"]

#: Stands for "no track id"; negative ids are legal in files, so a value that no file holds.
NO_TRACK = int(np.iinfo(np.int64).min)

Polygon = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a sequence.

    `image` is the path relative to the data root, `index` the 0-based number in the video, `image_id` the number the
    file gives it, `labelled` whether it is annotated, `size` (width, height) where the file states it.
    """

    image: str
    index: int
    image_id: int
    labelled: bool = True
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Truth:
    """All annotated people of a sequence, by frame and in file order within one.

    `frame` (N,) position in `Sequence.frames`; `joints` (N,J,2) px; `annotated` (N,J) bool: the joint has a position;
    `visible` (N,J) bool, or None where the labels do not say (never guessed); `boxes` and `head_boxes` (N,4) xyxy px,
    NaN where absent; `track_ids` and `person_ids` (N,) int64, NO_TRACK where absent; `has_points` (N,) bool: the file
    holds a point list for the person, be it empty (poseval drops people without one);
    `ignore` maps a frame position to its polygons, each (K,2) px.
    """

    frame: NDArray[np.int64]
    joints: NDArray[np.float64]
    annotated: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    head_boxes: NDArray[np.float64]
    track_ids: NDArray[np.int64]
    person_ids: NDArray[np.int64]
    has_points: NDArray[np.bool_]
    visible: NDArray[np.bool_] | None = None
    ignore: Mapping[int, tuple[Polygon, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count, joint_count = self.joints.shape[:2]
        check_shapes(
            self,
            frame=(count,), joints=(count, joint_count, 2), annotated=(count, joint_count), boxes=(count, 4),
            head_boxes=(count, 4), track_ids=(count,), person_ids=(count,), has_points=(count,),
        )  # fmt: skip
        if self.visible is not None:
            check_shapes(self, visible=(count, joint_count))

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Sequence:
    """A video: its frames in file order and its truth. `source` is the label file, for messages."""

    name: str
    frames: tuple[Frame, ...]
    truth: Truth
    source: str = ""
    skeleton: Skeleton = POSETRACK17

    @cached_property
    def position_of(self) -> dict[int, int]:
        """Frame index in the video -> position in `frames`."""
        return {frame.index: position for position, frame in enumerate(self.frames)}

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(F,) which frames are annotated."""
        return np.array([frame.labelled for frame in self.frames], dtype=bool)


@dataclass(frozen=True)
class DataSet:
    """A split of a data set on disk.

    `name` is the registered name, `protocol` the scoring protocol of its published tables, `fingerprint` the sha256 of
    its label files (`sha256:...`), `root` the folder that `Frame.image` is relative to.
    """

    name: str
    split: str
    root: Path
    sequences: tuple[Sequence, ...]
    fingerprint: str
    protocol: str = "poseval"
    skeleton: Skeleton = POSETRACK17

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def frame_count(self) -> int:
        """Frames over all sequences."""
        return sum(len(sequence.frames) for sequence in self.sequences)

    @property
    def has_labels(self) -> bool:
        """Whether any frame is labelled; a split without can be predicted and exported, not scored."""
        return any(frame.labelled for sequence in self.sequences for frame in sequence.frames)

    def image_path(self, frame: Frame) -> Path:
        """The image file of a frame; refuses a name that leaves the data root (links inside it may lead anywhere)."""
        name = os.path.normpath(frame.image)
        if name.startswith(("..", "/")) or Path(name).is_absolute():
            raise DataError(f"{frame.image}: the image path leaves the data root {self.root}; correct the label file")
        return self.root / name


def check_shapes(owner: object, **expected: tuple[int, ...]) -> None:
    """Raise DataError unless every named array attribute has the expected shape."""
    for name, shape in expected.items():
        actual = getattr(owner, name).shape
        if actual != shape:
            raise DataError(f"{type(owner).__name__}.{name} has shape {actual}, expected {shape}")
