"""A sequence as a video: the truth and one or two runs side by side, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.pictures import read_image
from harness.errors import HarnessError
from harness.report.opened import Opened
from harness.report.panels import View, captioned, letters_of, run_panel, truth_panel
from harness.video import write_video

__all__ = ["WIDTH", "side_by_side", "write_side_by_side"]

#: Width of one panel, px: three of them are a full HD picture.
WIDTH = 640

Picture = NDArray[np.uint8]


def side_by_side(opened: Opened, number: int, *, width: int = WIDTH) -> Iterator[Picture]:
    """Every frame of sequence `number` as (H,W,3) uint8 BGR: truth, then the runs, each panel `width` px wide.

    A panel's right corner tells how many of the frame's true joints are found. Frames without label are shown too.
    Raises DataError for an image that is missing or broken.
    """
    scene = opened.matched[0].table.scene
    own = np.flatnonzero(scene.frame_sequence == number)
    scene_frame = dict(zip(scene.frame_position[own].tolist(), own.tolist(), strict=True))
    size: tuple[int, int] | None = None
    for position, frame in enumerate(opened.dataset.sequences[number].frames):
        picture = read_image(opened.dataset.image_path(frame))
        size = size or (picture.shape[1], picture.shape[0])  # a video has one size, whatever its images have
        view = View(0, 0, *size, scale=width / size[0])
        yield _panels(opened, picture, scene_frame.get(position, -1), view, f"frame {frame.index}")


def write_side_by_side(opened: Opened, number: int, path: Path, *, rate: Fraction, width: int = WIDTH) -> int:
    """Write a sequence's video (MP4), whole or not at all; the number of frames.

    Raises HarnessError without PyAV or where nothing can be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"{path}: cannot write the video ({error.strerror or error}); choose another -o") from None
    return write_video(path, side_by_side(opened, number, width=width), rate=rate)


def _panels(opened: Opened, picture: Picture, frame: int, view: View, title: str) -> Picture:
    panels = [captioned(truth_panel(opened, picture, frame, view), "Truth", right=title)]
    for matched, name, run in zip(opened.matched[:2], opened.names, letters_of(opened), strict=False):
        drawn, found, total = run_panel(matched, picture, frame, view)
        panels.append(captioned(drawn, name, run=run, right=f"{found} of {total}" if total else "not labelled"))
    return np.hstack(panels)
