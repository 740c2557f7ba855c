"""Clips: who to look at in a sequence, and which frames to show for it, as columns for the whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK, DataSet, Frame, Sequence, check_shapes
from harness.errors import DataError, UsageError, listed

__all__ = ["END_RULES", "MISSING_POLICIES", "Clips", "cut_clips", "frames_on_disk", "support_indices"]

#: What to show where a support frame lies inside the video but has no file.
MISSING_POLICIES = ("error", "key", "nearest")


@dataclass(frozen=True)
class Clips:
    """Every person to look at in one sequence, ordered by frame and then as the boxes came.

    `frame` (N,) position of the key frame in `Sequence.frames`; `person` (N,) running number within the frame;
    `images` M paths relative to the data root in video order; `support` (N,T) index into `images`, in the method's
    order; `boxes` (N,4) xyxy px, the box that is looked at (for a method that looks at another frame's box: that
    one); `box_scores` (N,); `track_ids` (N,); `cut_as` (N,T) the row whose box cuts each crop, None where it is the
    own.
    """

    frame: NDArray[np.int64]
    person: NDArray[np.int64]
    images: tuple[str, ...]
    support: NDArray[np.int64]
    boxes: NDArray[np.float64]
    box_scores: NDArray[np.float64]
    track_ids: NDArray[np.int64]
    cut_as: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.frame)
        check_shapes(self, person=(count,), boxes=(count, 4), box_scores=(count,), track_ids=(count,))
        if self.support.ndim != 2 or len(self.support) != count:
            raise DataError(f"Clips.support has shape {self.support.shape}, expected ({count}, T)")

    def __len__(self) -> int:
        return len(self.frame)


def _clamp(key: int, offsets: tuple[int, ...], first: int, last: int) -> list[int]:
    return [min(max(key + offset, first), last) for offset in offsets]


def _repeat_key(key: int, offsets: tuple[int, ...], first: int, last: int) -> list[int]:
    return [key + offset if first <= key + offset <= last else key for offset in offsets]


def _key_beside_key(key: int, offsets: tuple[int, ...], first: int, last: int) -> list[int]:
    """Missing previous frames become the key frame in the slots next to it, missing next ones repeat the last."""
    previous = [key + offset for offset in offsets if offset < 0 and key + offset >= first]
    slots = iter(previous + [key] * sum(offset < 0 for offset in offsets))
    return [next(slots) if offset < 0 else min(key + offset, last) for offset in offsets]


#: What stands in for support frames beyond the ends of the video: the nearest existing frame; the key frame (DCPose,
#: dcpose.md 1); the released behaviour of FAMI-Pose (fami.md 1).
END_RULES: Mapping[str, Callable[[int, tuple[int, ...], int, int], list[int]]] = {
    "clamp": _clamp,
    "key": _repeat_key,
    "fami": _key_beside_key,
}


def support_indices(key: int, offsets: tuple[int, ...], *, first: int, last: int, ends: str = "clamp") -> list[int]:
    """Video indices of the frames a method sees for key frame `key` of a video that runs from `first` to `last`.

    >>> support_indices(0, (-2, -1, 1, 2), first=0, last=9)
    [0, 0, 1, 2]
    >>> support_indices(9, (0, -1, 1), first=0, last=9, ends="key")
    [9, 8, 9]
    """
    if ends not in END_RULES:
        raise UsageError(f"unknown rule '{ends}' for the ends of a video; known: {', '.join(END_RULES)}")
    return END_RULES[ends](key, offsets, first, last)


def frames_on_disk(dataset: DataSet, sequence: Sequence) -> dict[int, str]:
    """Video index -> image path of every frame that is listed or lies beside the listed ones (same name pattern)."""
    known = {frame.index: frame.image for frame in sequence.frames}
    if not sequence.frames:
        return known
    sample = PurePosixPath(sequence.frames[0].image)
    folder = dataset.image_path(sequence.frames[0]).parent
    if not sample.stem.isdigit() or not folder.is_dir():
        return known
    base = int(sample.stem) - sequence.frames[0].index
    for entry in folder.iterdir():
        if entry.suffix == sample.suffix and entry.stem.isdigit() and len(entry.stem) == len(sample.stem):
            known.setdefault(int(entry.stem) - base, str(sample.with_name(entry.name)))
    return dict(sorted(known.items()))


def cut_clips(
    dataset: DataSet,
    sequence: Sequence,
    *,
    frame: NDArray[np.int64],
    boxes: NDArray[np.float64],
    box_scores: NDArray[np.float64],
    track_ids: NDArray[np.int64],
    support: tuple[int, ...] = (0,),
    box_offset: int = 0,
    ends: str = "clamp",
    missing: str = "error",
) -> Clips:
    """The clips of one sequence from its boxes: `frame` (N,) positions, `boxes` (N,4) xyxy px, in any frame order.

    `support` holds offsets from the key frame in video time. With `box_offset` the box of the same track in another
    frame is looked at; where there is none, the current box in the current frame is. Raises DataError for a support
    frame without a file (policy `missing`: "error", "key" or "nearest") and for a box that is not a box.
    """
    order = np.argsort(frame, kind="stable")
    frame, boxes, box_scores, track_ids = frame[order], boxes[order], box_scores[order], track_ids[order]
    _check_boxes(sequence, frame, boxes)
    index_of = np.array([item.index for item in sequence.frames], dtype=np.int64)
    looked_at, found = _boxes_of_track(index_of[frame], boxes, track_ids, box_offset)
    paths, rows = _support_rows(dataset, sequence, frame, support, ends, missing)
    if box_offset:
        _, still = _support_rows(dataset, sequence, frame, (0,) * len(support), ends, missing, paths=paths)
        rows = np.where(found[:, None], rows, still)
    used = np.unique(rows)
    for index in used.tolist():
        dataset.image_path(Frame(paths[index], index, index))
    return Clips(
        frame=frame,
        person=_running_number(frame),
        images=tuple(paths[int(row)] for row in used),
        support=np.searchsorted(used, rows).astype(np.int64),
        boxes=looked_at,
        box_scores=box_scores,
        track_ids=track_ids,
    )


def _check_boxes(sequence: Sequence, frame: NDArray[np.int64], boxes: NDArray[np.float64]) -> None:
    bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        image = sequence.frames[int(frame[row])].image
        raise DataError(f"{sequence.name}, frame {image}: box {boxes[row].tolist()} is not x1 <= x2, y1 <= y2")


def _running_number(frame: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) position of each row among the rows of its frame; `frame` is sorted."""
    return np.arange(len(frame), dtype=np.int64) - np.searchsorted(frame, frame)


def _boxes_of_track(
    index: NDArray[np.int64], boxes: NDArray[np.float64], track_ids: NDArray[np.int64], offset: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The box of the same track `offset` frames away, and (N,) whether there is one (else the own box)."""
    if offset == 0:
        return boxes, np.ones(len(boxes), dtype=bool)
    row_of = {key: row for row, key in enumerate(zip(index.tolist(), track_ids.tolist(), strict=True))}
    wanted = zip((index + offset).tolist(), track_ids.tolist(), strict=True)
    other = np.array([row_of.get(key, -1) if key[1] != NO_TRACK else -1 for key in wanted], dtype=np.int64)
    found = other >= 0
    return np.where(found[:, None], boxes[other], boxes), found


def _support_rows(
    dataset: DataSet,
    sequence: Sequence,
    frame: NDArray[np.int64],
    support: tuple[int, ...],
    ends: str,
    missing: str,
    *,
    paths: dict[int, str] | None = None,
) -> tuple[dict[int, str], NDArray[np.int64]]:
    """Image paths by video index, and (N,T) video indices of the support frames."""
    if not support or len(frame) == 0:
        return {}, np.empty((len(frame), len(support)), dtype=np.int64)
    if paths is None:
        listed_only = {item.index: item.image for item in sequence.frames}
        paths = listed_only if not any(support) else frames_on_disk(dataset, sequence)
    first, last = min(paths), max(paths)
    positions, back = np.unique(frame, return_inverse=True)
    keys = [sequence.frames[position].index for position in positions.tolist()]
    per_frame = [support_indices(key, support, first=first, last=last, ends=ends) for key in keys]
    for key, chosen in zip(keys, per_frame, strict=True):
        chosen[:] = [_existing(index, key, paths, missing, sequence) for index in chosen]
    return paths, np.array(per_frame, dtype=np.int64)[back]


def _existing(index: int, key: int, paths: Mapping[int, str], missing: str, sequence: Sequence) -> int:
    if index in paths:
        return index
    if missing == "key":
        return key
    if missing == "nearest":
        return min(paths, key=lambda other: (abs(other - index), other))
    near = listed([Path(paths[other]).name for other in sorted(paths, key=lambda other: abs(other - index))[:2]])
    raise DataError(
        f"{sequence.name}: frame {index} (support of frame {key}) has no image, neighbours are {near}; "
        "complete the images or choose what stands in for missing frames"
    )
