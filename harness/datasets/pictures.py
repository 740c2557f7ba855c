"""Reading frames: one decoded BGR picture per file, with a clear error for a missing, cut short or broken file."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.images import LARGEST, stated_size
from harness.errors import DataError
from harness.files import read_plain

__all__ = ["decode_image", "image_bytes", "read_image"]

#: Pixels that a picture may have, four times those of an 8K frame: a small file can claim more than any memory holds.
MOST_PIXELS = 2**27

_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def read_image(path: Path) -> NDArray[np.uint8]:
    """The picture (H,W,3) uint8 BGR of a file, its EXIF orientation ignored; DataError names an unusable file."""
    return decode_image(image_bytes(path), name=str(path))


def image_bytes(path: Path) -> bytes:
    """The bytes of an image file; DataError for one that is missing, no plain file, or larger than any picture."""
    try:
        return read_plain(path, most=LARGEST)
    except OSError as error:
        raise DataError(f"{path}: cannot read the image ({error.strerror or error}); check --data-root") from None


def decode_image(content: bytes, *, name: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; `name` is used in messages."""
    width, height = stated_size(BytesIO(content)) or (0, 0)
    if width * height > MOST_PIXELS:
        raise DataError(f"{name}: claims {width} x {height} pixels, more than {MOST_PIXELS:,}; fetch the file again")
    if _is_cut_short(content):
        raise DataError(f"{name}: the image is cut short ({len(content)} bytes, no end marker); fetch the file again")
    try:
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), _FLAGS) if content else None
    except cv2.error:  # for a size beyond OpenCV's own limit
        image = None
    if image is None:
        raise DataError(f"{name}: not a readable image ({len(content)} bytes); fetch the file again")
    return np.asarray(image, dtype=np.uint8)


def _is_cut_short(content: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end: OpenCV fills the missing part with grey and says nothing."""
    if content.startswith(b"\xff\xd8"):
        # A thumbnail inside has an end marker too, but it lies before the start of the main scan.
        return content.rfind(b"\xff\xd9") < max(content.rfind(b"\xff\xda"), 2)
    return content.startswith(b"\x89PNG") and content.rfind(b"IEND") < 0
