"""Scenes of a handful of people, made by hand for arithmetic a reader can follow."""

import numpy as np

from harness.datasets.sequences import NO_TRACK, Frame, Sequence, Truth
from harness.predictions import Predictions, person_numbers
from harness.skeletons import POSETRACK15, POSETRACK17

#: Places of the fifteen joints that count among the seventeen of the files.
BODY = POSETRACK17.positions_of(POSETRACK15)

#: A head box of 60 x 80 px: its diagonal is 100, so the head size is 60 and half of it 30 px.
HEAD = (0.0, 0.0, 60.0, 80.0)


def pose(x, y):
    """A (17,2) pose around (x, y), every joint at its own place, 10 px apart."""
    joints = np.zeros((17, 2))
    joints[BODY] = np.array([x, y]) + 10.0 * np.stack([np.arange(15), np.arange(15) % 4], axis=1)
    return joints


def sequence(people, *, name="000001_mpii_test", frames=None, ignore=None, absent=(), heads=None):
    """A sequence from [(frame, track, (17,2) pose), ...]; `absent` lists (row, joint name) not annotated."""
    people = sorted(people, key=lambda person: person[0])
    count = len(people)
    annotated = np.zeros((count, 17), dtype=bool)
    annotated[:, BODY] = True
    for row, joint in absent:
        annotated[row, POSETRACK17.index(joint)] = False
    length = frames or 1 + max((frame for frame, *_ in people), default=0)
    return Sequence(
        name=name,
        frames=tuple(Frame(f"images/{name}/{index:06d}.jpg", index, index) for index in range(length)),
        truth=Truth(
            frame=np.array([frame for frame, *_ in people], dtype=np.int64),
            joints=np.array([joints for *_, joints in people], dtype=float).reshape(count, 17, 2),
            annotated=annotated,
            boxes=np.tile([0.0, 0.0, 200.0, 200.0], (count, 1)),
            head_boxes=np.tile(HEAD, (count, 1)) if heads is None else np.array(heads, dtype=float).reshape(count, 4),
            track_ids=np.array([track for _, track, _ in people], dtype=np.int64),
            person_ids=np.full(count, NO_TRACK),
            has_points=np.ones(count, dtype=bool),
            ignore=ignore or {},
        ),
    )


def predictions(people, sequences, *, absent=(), scores=None):
    """Predictions for one sequence from [(frame, track, (17,2) pose), ...], each scored by its row unless given."""
    count = len(people)
    present = np.zeros((count, 17), dtype=bool)
    present[:, BODY] = True
    for row, joint in absent:
        present[row, POSETRACK17.index(joint)] = False
    values = np.arange(count, 0, -1) / 10 if scores is None else np.array(scores, dtype=float)
    frame = np.array([person[0] for person in people], dtype=np.int64)
    zeros = np.zeros(count, dtype=np.int64)
    return Predictions(
        sequence_names=tuple(item.name for item in sequences),
        sequence=zeros,
        frame=frame,
        person=person_numbers(zeros, frame),
        track_ids=np.array([person[1] for person in people], dtype=np.int64),
        boxes=np.full((count, 4), np.nan),
        box_scores=np.ones(count),
        joints=np.array([person[2] for person in people], dtype=float).reshape(count, 17, 2),
        scores=np.repeat(values[:, None], 17, axis=1),
        present=present,
    )
