"""Key-frame probes: the crop of the key frame made worse, everything else left as it is.

They reach every place of a clip that shows the key frame, so also those where it stands in at the ends of a video.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.probes.registry import Picture, register_probe
from harness.probes.subjects import Floats, Subject
from harness.skeletons import GROUPS, POSETRACK15

__all__ = ["blurred", "covered", "covered_half", "grey", "moved", "noisy"]

_GREY = 128

#: Steps of a motion blur: one per px of the longest path, within these bounds.
_STEPS = (5, 33)

_PARTS = (*(name.lower() for name in GROUPS), *POSETRACK15.names)
_SIDES = ("lower", "upper", "left", "right")


@register_probe("key_grey", "keyframe", "key frame faded to grey; at 1 nothing of it is left", place="picture",
                unit="share of grey", doses=(0.5, 0.9, 1.0), most=1.0, whole=True)  # fmt: skip
def grey(crop: Picture, subject: Subject, dose: float) -> Picture:
    """A mixture of the crop and even grey.

    >>> grey(np.full((1, 1, 3), 28, np.uint8), None, 0.5).ravel().tolist()
    [78, 78, 78]
    """
    return _rounded(crop * (1 - dose) + _GREY * dose)


@register_probe("key_noise", "keyframe", "Gaussian noise on the key frame", place="picture", unit="grey levels (sd)",
                doses=(40.0, 80.0, 160.0), seeded=True)  # fmt: skip
def noisy(crop: Picture, subject: Subject, dose: float) -> Picture:
    """Independent noise in every channel of every px; the same at every dose but for its size."""
    return _rounded(crop + dose * subject.random.standard_normal(crop.shape))


@register_probe("key_blur", "keyframe", "key frame out of focus", place="picture", unit="px of the crop (sigma)",
                doses=(2.0, 4.0, 8.0), most=100.0)  # fmt: skip
def blurred(crop: Picture, subject: Subject, dose: float) -> Picture:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), dose, borderType=cv2.BORDER_REFLECT_101), dtype=np.uint8)


@register_probe("key_motion_blur", "keyframe", "key frame blurred along the true motion of the joints",
                place="picture", unit="frames of exposure", doses=(1.0, 2.0, 4.0), most=100.0)  # fmt: skip
def moved(crop: Picture, subject: Subject, dose: float) -> Picture:
    """The mean of what passes a px while the shutter is open; still people, and those of unknown motion, stay sharp."""
    field = _motion_field(crop.shape[:2], subject.joints, subject.motion)
    if field is None:
        return crop
    path = dose * field
    steps = int(np.clip(np.ceil(np.hypot(path[..., 0], path[..., 1]).max()), *_STEPS))
    rows, columns = np.indices(crop.shape[:2], dtype=np.float32)
    total = np.zeros(crop.shape, dtype=np.float32)
    for at in np.linspace(-0.5, 0.5, steps):
        x, y = columns - at * path[..., 0], rows - at * path[..., 1]
        total += cv2.remap(crop, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return _rounded(total / steps)


@register_probe("key_cutout", "keyframe", "a grey disc over joints of one kind in the key frame", place="picture",
                unit="radius, share of the crop's height", doses=(0.05, 0.1, 0.2), most=1.0, part="wrist",
                parts=_PARTS)  # fmt: skip
def covered(crop: Picture, subject: Subject, dose: float) -> Picture:
    """Discs over the labelled joints of the part, seen or not."""
    names = next((joints for name, joints in GROUPS.items() if name.lower() == subject.part), (subject.part,))
    out = crop.copy()
    for name in names:
        x, y = subject.joints[subject.skeleton.index(name)]
        if np.isfinite(x + y):
            cv2.circle(out, (round(x), round(y)), max(1, round(dose * len(crop))), (_GREY,) * 3, thickness=-1)
    return out


@register_probe("key_half", "keyframe", "one side of the person in the key frame covered by grey", place="picture",
                unit="share of the person", doses=(0.25, 0.5, 0.75), most=1.0, part="lower", parts=_SIDES)  # fmt: skip
def covered_half(crop: Picture, subject: Subject, dose: float) -> Picture:
    """Everything on that side of a line through the extent of the joints (of the crop where they are unknown)."""
    height, width = crop.shape[:2]
    known = subject.joints[np.isfinite(subject.joints).all(axis=1)]
    low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (np.zeros(2), np.array([width, height]))
    axis = 0 if subject.part in ("left", "right") else 1
    share = dose if subject.part in ("left", "upper") else 1 - dose
    line = int(np.clip(round(low[axis] + share * (high[axis] - low[axis])), 0, crop.shape[1 - axis]))
    side = slice(None, line) if subject.part in ("left", "upper") else slice(line, None)
    out = crop.copy()
    out[(slice(None), side) if axis == 0 else side] = _GREY
    return out


def _motion_field(shape: tuple[int, ...], joints: Floats, motion: Floats) -> NDArray[np.float32] | None:
    """(H,W,2) px per frame: the motion of the joints, the nearer ones weighing more; None where nothing is known."""
    known = np.isfinite(joints).all(axis=1) & np.isfinite(motion).all(axis=1)
    if not known.any():
        return None
    coarse = (max(2, shape[0] // 4), max(2, shape[1] // 4))
    rows, columns = np.indices(coarse, dtype=np.float64)
    places = np.stack([columns * (shape[1] - 1) / (coarse[1] - 1), rows * (shape[0] - 1) / (coarse[0] - 1)], axis=-1)
    apart = ((places[:, :, None] - joints[known]) ** 2).sum(axis=-1)
    weights = 1 / (apart + 1.0)
    field = (weights[..., None] * motion[known]).sum(axis=2) / weights.sum(axis=2)[..., None]
    return np.asarray(cv2.resize(field.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _rounded(values: NDArray[np.floating]) -> Picture:  # type: ignore[type-arg]
    rounded: Picture = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
