"""Benchmark and evaluation harness for video-based 2D human pose estimation.

Conventions, stated once. Pixels: x right, y down, origin at the centre of the top-left pixel. Boxes are xyxy, joints
(..., J, 2), frames 0-based, images RGB uint8. Lengths are px unless a name ends in `_head` (head sizes, 0.6 x the
diagonal of the head box). Fractions inside, percent only when printed. Letters: N persons, J joints, T frames of a
clip, B batch. Joints are named everywhere but in `harness.skeletons`. `truth` and `predictions` are what they say.
"""

from harness.version import __version__

__all__ = ["__version__"]
