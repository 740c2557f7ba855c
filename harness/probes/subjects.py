"""Who is in a crop: the true joints of the person of a clip, and how they move, in px of the crop."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.boxes import overlap
from harness.clips import Clips
from harness.datasets.sequences import NO_TRACK, Sequence, Truth
from harness.skeletons import Skeleton

if TYPE_CHECKING:
    from harness.inference.work import SequenceWork

__all__ = ["LARGEST_GAP", "Subject", "generators", "neighbour", "subjects_of", "true_people"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A box that overlaps nobody by this much shows nobody we know.
_SAME = 0.3

#: Labels farther apart than this many frames say nothing about motion.
LARGEST_GAP = 4


@dataclass(frozen=True)
class Subject:
    """What a probe may know of one clip: `joints` (J,2) px of the crop and `motion` (J,2) px per frame in the key
    frame, NaN where unknown; `random` its own generator; `part` the part of the body that is asked for."""

    joints: Floats
    motion: Floats
    skeleton: Skeleton
    random: np.random.Generator
    part: str = ""


def generators(
    seed: int, name: str, sequence: Sequence, frame: Integers, person: Integers
) -> list[np.random.Generator]:
    """A generator per row from seed, probe, sequence, frame and person: whatever the batch, the rank or the dose."""

    def one(position: int, number: int) -> np.random.Generator:
        words = f"{seed}\0{name}\0{sequence.name}\0{sequence.frames[position].index}\0{number}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little"))

    return [one(*pair) for pair in zip(frame.tolist(), person.tolist(), strict=True)]


def true_people(clips: Clips, sequence: Sequence, rows: Integers) -> Integers:
    """(n,) row of the truth that each clip of `rows` looks at, -1 where its box overlaps nobody by 0.3."""
    truth, found = sequence.truth, np.full(len(rows), -1, dtype=np.int64)
    boxes = _extents(truth)
    for place, row in enumerate(rows.tolist()):
        people = np.flatnonzero(truth.frame == clips.frame[row])
        if len(people):
            shared = overlap(clips.boxes[row][None], boxes[people])[0]
            found[place] = people[shared.argmax()] if shared.max() >= _SAME else -1
    return found


def neighbour(sequence: Sequence, row: int, step: int) -> tuple[int, int]:
    """The same person in the nearest labelled frame in the direction of `step`: (row, frames away); -1 for nobody."""
    truth = sequence.truth
    track, index = int(truth.track_ids[row]), sequence.frames[int(truth.frame[row])].index
    if track == NO_TRACK:
        return -1, 0
    for away in range(1, LARGEST_GAP + 1):
        position = sequence.position_of.get(index + step * away)
        if position is not None:
            same = np.flatnonzero((truth.frame == position) & (truth.track_ids == track))
            if len(same):
                return int(same[0]), away
    return -1, 0


def subjects_of(
    work: SequenceWork, part: slice, random: list[np.random.Generator], *, body_part: str, moving: bool
) -> list[Subject]:
    """The subject of every clip of a batch; motion is looked up only where it is wanted (`moving`)."""
    rows = np.arange(part.start, part.stop)
    truth, skeleton = work.sequence.truth, work.sequence.skeleton
    unknown = np.full((len(skeleton), 2), np.nan)
    subjects = []
    for row, person, generator in zip(rows.tolist(), true_people(work.clips, work.sequence, rows), random, strict=True):
        matrix = work.matrices[row]
        joints = motion = unknown
        if person >= 0:
            joints = _known(truth, int(person)) @ matrix[:, :2].T + matrix[:, 2]
            motion = _motion(work.sequence, int(person)) @ matrix[:, :2].T if moving else unknown
        subjects.append(Subject(joints, motion, skeleton, generator, body_part))
    return subjects


def _known(truth: Truth, row: int) -> Floats:
    return np.where(truth.annotated[row][:, None], truth.joints[row], np.nan)


def _motion(sequence: Sequence, row: int) -> Floats:
    """(J,2) image px per frame: from the labelled frame before to the one after, or to or from this one."""
    (before, back), (after, ahead) = neighbour(sequence, row, -1), neighbour(sequence, row, 1)
    here = _known(sequence.truth, row)
    first = _known(sequence.truth, before) if before >= 0 else here
    last = _known(sequence.truth, after) if after >= 0 else here
    frames = np.where(np.isnan(first[:, :1]), 0, back) + np.where(np.isnan(last[:, :1]), 0, ahead)
    first, last = np.where(np.isnan(first), here, first), np.where(np.isnan(last), here, last)
    with np.errstate(invalid="ignore", divide="ignore"):
        motion: Floats = np.where(frames > 0, (last - first) / frames, np.nan)
    return motion


def _extents(truth: Truth) -> Floats:
    """(N,4) boxes of the truth; the extent of the joints where the file gives none, 0 where there is neither."""
    boxes = truth.boxes.astype(np.float64).copy()
    for row in np.flatnonzero(np.isnan(boxes).any(axis=1)).tolist():
        joints = truth.joints[row][truth.annotated[row]]
        boxes[row] = np.concatenate([joints.min(axis=0), joints.max(axis=0)]) if len(joints) else 0.0
    return boxes
