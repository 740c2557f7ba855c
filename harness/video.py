"""A user's video: its frames as a data set of one sequence, decoded on the fly, and pictures put together to a video.

Needs PyAV (the extra `video`). Frames are numbered from 0 in the order they are shown, as OpenCV numbers them, and
turned upright as the file says, as players and most detectors do (OpenCV 4.11 alone does not unless it is told to).
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.boxes import Boxes, boxes_from_file
from harness.datasets.sequences import DataSet, Frame, Sequence, Truth
from harness.errors import DataError, HarnessError
from harness.files import sha256_of
from harness.skeletons import POSETRACK17

__all__ = ["Video", "VideoFrames", "decoded", "open_video", "video_boxes", "video_dataset", "write_video"]

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Video:
    """A video that was decoded once from end to end: `frames` in all, `size` (width, height) px, `rate` per second."""

    path: Path
    frames: int
    size: tuple[int, int]
    rate: Fraction


def open_video(path: Path) -> Video:
    """Look through a video; DataError for a file that is missing, no video, broken, cut short or without frames."""
    count, size = 0, (0, 0)
    for picture in decoded(path):
        count += 1
        here = (picture.shape[1], picture.shape[0])
        if count > 1 and here != size:
            raise DataError(f"{path}: frame {count - 1} is of {here} px, those before of {size}; convert the video")
        size = here
    with _container(path) as container:
        stream = container.streams.video[0]
        packets = sum(packet.size > 0 for packet in container.demux(stream))
        if packets < stream.frames:
            raise DataError(f"{path}: cut short: {packets} of the {stream.frames} frames it announces are there")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    if not count:
        raise DataError(f"{path}: the video has no frames that can be decoded")
    return Video(path, count, size, Fraction(rate))


def decoded(path: Path) -> Iterator[Picture]:
    """The frames (H,W,3) uint8 BGR of a video in order; DataError names the first that cannot be decoded."""
    failure, number = _av().FFmpegError, 0
    with _container(path) as container:
        try:
            for frame in container.decode(container.streams.video[0]):
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="bgr24"), frame.rotation // 90))
                number += 1
        except failure as problem:
            raise DataError(f"{path}: frame {number} cannot be decoded ({problem.strerror}); mend the video") from None


def video_dataset(video: Video) -> DataSet:
    """The video as a data set of one sequence without truth; its images exist for `VideoFrames` only."""
    name, joints = video.path.stem, len(POSETRACK17)
    frames = tuple(Frame(f"{name}/{number:06d}.jpg", number, number, size=video.size) for number in range(video.frames))
    whole = np.zeros(0, dtype=np.int64)
    nobody = Truth(
        frame=whole, joints=np.zeros((0, joints, 2)), annotated=np.zeros((0, joints), dtype=bool),
        boxes=np.zeros((0, 4)), head_boxes=np.zeros((0, 4)), track_ids=whole, person_ids=whole,
        has_points=np.zeros(0, dtype=bool),
    )  # fmt: skip
    sequence = Sequence(name, frames, nobody, source=str(video.path))
    return DataSet("video", name, video.path, (sequence,), f"sha256:{sha256_of(video.path)}")


def video_boxes(path: Path, dataset: DataSet, *, minimum_score: float = 0.2) -> Boxes:
    """The boxes of a detector's file for a video: as `boxes_from_file`, frames by 0-based `frame_id` or `image_id`.

    Raises DataError for a box of a frame that the video does not have, and for a file without a box that counts.
    """
    boxes = boxes_from_file(path, dataset, minimum_score=minimum_score, numbered_by=("frame_id", "image_id"))
    if not len(boxes):
        raise DataError(f"{path}: no box of category 1 scores {minimum_score:g} or more, so there is nobody to look at")
    return boxes


class VideoFrames:
    """Reads the images of a `video_dataset`, by paths that end in the frame number.

    Frames are decoded one after another and the last few are kept, since threads overtake one another; asking for one
    before those starts from the beginning.
    """

    def __init__(self, path: Path, *, kept: int = 8) -> None:
        self.path = path
        self._next = 0
        self._frames: Iterator[Picture] = iter(())
        self._last: deque[Picture] = deque(maxlen=kept)
        self._lock = Lock()

    def __call__(self, image: Path) -> Picture:
        """The picture (H,W,3) uint8 BGR of a frame; DataError where the video has no such frame."""
        wanted = int(image.stem)
        with self._lock:
            if self._next == 0 or wanted < self._next - len(self._last):
                self._frames, self._next = decoded(self.path), 0
                self._last.clear()
            while self._next <= wanted and (picture := next(self._frames, None)) is not None:
                self._last.append(picture)
                self._next += 1
            if wanted < self._next:
                return self._last[wanted - self._next]
        raise DataError(f"{self.path}: has no frame {wanted}")


def write_video(path: Path, pictures: Iterable[Picture], *, rate: Fraction) -> int:
    """Write pictures (H,W,3) uint8 BGR of one size as an MP4 file, whole or not at all; the number of pictures.

    Sides of odd length lose their last line, which the format cannot hold. Raises HarnessError where nothing can be
    written.
    """
    av = _av()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".mp4", dir=path.parent)
    os.close(descriptor)
    count = 0
    try:
        with av.open(temporary, "w") as container:
            stream: Any = None
            for picture in pictures:
                even = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
                stream = stream or _stream(container, even, rate)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="bgr24")))
                count += 1
            if stream is not None:
                container.mux(stream.encode(None))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except (OSError, av.FFmpegError) as problem:
        raise HarnessError(f"{path}: cannot write the video ({problem.strerror or problem})") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count


def _stream(container: Any, picture: Picture, rate: Fraction) -> Any:
    codec = "libx264" if "libx264" in _av().codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "20"} if codec == "libx264" else {"qscale": "3"}
    return stream


def _container(path: Path) -> Any:
    """The opened file, which has a video stream; DataError otherwise."""
    av = _av()
    if not path.is_file():
        raise DataError(f"{path}: no such video file")
    try:
        container = av.open(str(path))
    except av.FFmpegError as problem:
        raise DataError(f"{path}: not a readable video ({problem.strerror}); give a file that plays") from None
    if not container.streams.video:
        container.close()
        raise DataError(f"{path}: has no pictures, only sound or other data")
    container.streams.video[0].thread_type = "AUTO"
    return container


def _av() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as problem:
        raise HarnessError(f"videos need PyAV ({problem}); pip install 'vidpose-harness[video]'") from None
