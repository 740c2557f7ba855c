"""Reading frames, as the engine's readers name it; the reading itself needs no torch and lies with the data sets."""

from harness.datasets.pictures import decode_image, read_image

__all__ = ["decode_image", "read_image"]
