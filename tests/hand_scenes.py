"""Scenes small enough to reckon by hand, and seeded random ones with every label slices and diagnosis can ask for."""

from dataclasses import replace

import numpy as np

from harness.datasets.sequences import NO_TRACK, Frame, Sequence, Truth
from harness.predictions import Predictions, person_numbers
from harness.skeletons import POSETRACK15

JOINTS = len(POSETRACK15)

#: The side of a square head box whose head size is 10 px.
HEAD_SIDE = 10 / (0.6 * np.sqrt(2))


def standing(x=0.0, y=0.0):
    """(15,2) a pose whose joints are 20 px apart on a column, so that no joint comes near another."""
    return np.stack([np.full(JOINTS, float(x)), y + 20.0 * np.arange(JOINTS)], axis=1)


def truth_of(people, *, visible=None, boxes=None, ignore=None):
    """Truth of (frame, track, joints (15,2) with NaN for unlabelled) tuples; heads of size 10 px."""
    people = sorted(people, key=lambda person: person[0])
    joints = np.array([joints for *_, joints in people]).reshape(-1, JOINTS, 2)
    head = np.tile([0.0, 0.0, HEAD_SIDE, HEAD_SIDE], (len(people), 1))
    return Truth(
        frame=np.array([frame for frame, *_ in people], dtype=np.int64),
        joints=np.nan_to_num(joints),
        annotated=~np.isnan(joints).any(axis=2),
        boxes=np.full((len(people), 4), np.nan) if boxes is None else np.array(boxes, dtype=float),
        head_boxes=head,
        track_ids=np.array([track for _, track, _ in people], dtype=np.int64),
        person_ids=np.full(len(people), NO_TRACK),
        has_points=np.ones(len(people), dtype=bool),
        visible=visible,
        ignore=ignore or {},
    )


def sequence_of(people, *, name="clip", frames=None, indices=None, size=(640, 480), **truth):
    """A sequence of those people; frames numbered from 0 unless `indices` says otherwise."""
    count = frames or max((frame for frame, *_ in people), default=0) + 1
    numbers = range(count) if indices is None else indices
    listed = tuple(Frame(f"images/{name}/{number:06d}.jpg", number, number, size=size) for number in numbers)
    return Sequence(name, listed, truth_of(people, **truth), skeleton=POSETRACK15)


def predictions_of(*parts, names=("clip",), boxes=None):
    """Predictions of (sequence number, frame, joints (15,2) with NaN for absent, score) tuples."""
    parts = sorted(parts, key=lambda part: part[:2])
    joints = np.array([joints for _, _, joints, _ in parts]).reshape(-1, JOINTS, 2)
    sequence = np.array([number for number, *_ in parts], dtype=np.int64)
    frame = np.array([frame for _, frame, *_ in parts], dtype=np.int64)
    scores = np.array([np.broadcast_to(score, JOINTS) for *_, score in parts], dtype=float).reshape(-1, JOINTS)
    return Predictions(
        sequence_names=names,
        sequence=sequence,
        frame=frame,
        person=person_numbers(sequence, frame),
        track_ids=np.arange(len(parts), dtype=np.int64),
        boxes=np.full((len(parts), 4), np.nan) if boxes is None else np.array(boxes, dtype=float),
        box_scores=np.ones(len(parts)),
        joints=np.nan_to_num(joints),
        scores=scores,
        present=~np.isnan(joints).any(axis=2),
        skeleton=POSETRACK15,
    )


def with_flags(sequence, seed=0, share=0.3):
    """The sequence with occlusion flags that stay for some frames."""
    random = np.random.default_rng(seed)
    truth = sequence.truth
    phase = random.integers(0, 20, (int(truth.track_ids.max(initial=0)) + 1, truth.annotated.shape[1]))
    hidden = (phase[truth.track_ids] + truth.frame[:, None]) % 20 < 20 * share
    return replace(sequence, truth=replace(truth, visible=truth.annotated & ~hidden))


def random_run(seed, *, sequences=3, frames=12, people=(1, 4), noise=0.35, flags=True):
    """(sequences, predictions): moving people with gaps, missing joints, misses, duplicates, strays; with flags."""
    random = np.random.default_rng(seed)
    found, parts = [], []
    for number in range(sequences):
        truth = []
        for track in range(int(random.integers(people[0], people[1] + 1))):
            pose = random.normal(0, 25, (JOINTS, 2)) + random.uniform(50, 400, 2)
            drift = np.cumsum(random.normal(0, 3, (frames, 1, 2)) + random.normal(0, 2, (frames, JOINTS, 2)), axis=0)
            for frame in np.flatnonzero(random.random(frames) < 0.85).tolist():
                joints = np.where(random.random((JOINTS, 1)) < 0.12, np.nan, pose + drift[frame])
                truth.append((frame, track, joints))
                for _ in range(random.poisson(1.1)):
                    shift = 300.0 if random.random() < 0.15 else 0.0
                    guess = pose + drift[frame] + random.standard_t(3, (JOINTS, 2)) * noise * 10 + shift
                    guess = np.where(random.random((JOINTS, 1)) < 0.08, np.nan, guess)
                    parts.append((number, frame, guess, random.random(JOINTS)))
        name = f"clip{number}"
        sequence = sequence_of(truth, name=name, frames=frames)
        found.append(with_flags(sequence, seed + number) if flags else sequence)
    return tuple(found), predictions_of(*parts, names=tuple(sequence.name for sequence in found))
