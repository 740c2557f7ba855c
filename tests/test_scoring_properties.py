"""The vectorised engine equals a slow, obvious one over generated scenes with every nastiness of the specs."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import slow_scoring as slow
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.scoring import counted, match, poseval_scene, precision_recall
from harness.scoring.hota import ALPHAS, count_hota
from harness.scoring.posetrack21 import posetrack21_scene
from harness.scoring.poseval import without_last_frames
from harness.scoring.tracking import count_tracking
from harness.skeletons import POSETRACK15

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from scenes import SceneSpec, make_scene

SPECS = st.builds(
    SceneSpec,
    sequences=st.integers(1, 3),
    frames=st.sampled_from([1, 2, 6]),
    people=st.sampled_from([(0, 0), (0, 3), (1, 6), (6, 10)]),
    labelled=st.sampled_from([0.6, 1.0]),
    copies=st.sampled_from([0.0, 0.7, 2.0]),
    noise=st.sampled_from([0.0, 0.1, 0.4]),
    missing=st.sampled_from([0.0, 0.3, 0.9]),
    grid=st.sampled_from([0.0, 0.25, 16.0]),
    score_steps=st.sampled_from([0, 2]),
    regions=st.sampled_from([0.0, 1.0]),
    unscored=st.sampled_from([0.0, 0.5]),
    area=st.sampled_from([60.0, 1000.0]),
)
SPOILS = st.sets(st.sampled_from(["twins", "no heads", "broken numbers", "no points", "negative", "all ignored"]))
SCENES = st.tuples(SPECS, st.integers(0, 2**20), SPOILS)
#: One scene takes the slow engine about as long as a thousand take the fast one.
QUICK = settings(max_examples=60, deadline=None)


def generated(spec, seed, spoils):
    sequences, predictions = make_scene(spec, seed)
    random = np.random.default_rng(seed + 1)
    sequences = tuple(
        dataclasses.replace(sequence, truth=spoiled(sequence.truth, spec, spoils, random)) for sequence in sequences
    )
    joints = predictions.joints.copy()
    if "broken numbers" in spoils:
        joints[random.random(joints.shape) < 0.05] = random.choice([np.nan, np.inf, -np.inf])
    if "negative" in spoils:
        joints = -joints
    return sequences, dataclasses.replace(predictions, joints=joints)


def spoiled(truth, spec, spoils, random):
    joints, heads, points, ignore = truth.joints.copy(), truth.head_boxes.copy(), truth.has_points, truth.ignore
    if "twins" in spoils and len(truth) > 1:
        joints[1:], heads[1:] = joints[:-1], heads[:-1]
    if "no heads" in spoils:
        flat = random.random(len(truth)) < 0.4
        heads[flat, 2:] = heads[flat, :2]
    if "no points" in spoils:
        points = random.random(len(truth)) < 0.6
    if "negative" in spoils:
        joints = -joints
    if "all ignored" in spoils:
        everything = np.array([[-1e5, -1e5], [1e5, -1e5], [1e5, 1e5], [-1e5, 1e5]])
        ignore = dict.fromkeys(range(0, spec.frames, 2), (everything,))
    return dataclasses.replace(truth, joints=joints, head_boxes=heads, has_points=points, ignore=ignore)


@QUICK
@given(SCENES)
def test_average_precision(case):
    sequences, predictions = generated(*case)
    fast = precision_recall(counted(match(poseval_scene(sequences, predictions))))
    wanted = slow.average_precision(slow.poseval_frames(sequences, predictions))
    for found, expected in zip((fast.ap, fast.precision, fast.recall), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)
    known = ~np.isnan(fast.ap)
    assert (fast.low[known] <= fast.ap[known] + 1e-9).all() and (fast.ap[known] <= fast.high[known] + 1e-9).all()


#: Coordinates on a coarse grid: several assignments cost the same, and the solver's choice shows in the switches.
TIED = SceneSpec(
    sequences=1, frames=2, people=(1, 6), labelled=0.6, copies=2.0, missing=0.0, grid=16.0, regions=0, area=60
)


@QUICK
@given(SCENES, st.booleans())
@example((dataclasses.replace(TIED, noise=0.1), 1048576, set()), False)
def test_tracking(case, official):
    sequences, predictions = generated(*case)
    scene = poseval_scene(sequences, predictions)
    counts = count_tracking(without_last_frames(scene) if official else scene, dummies=official)
    frames = slow.poseval_frames(sequences, predictions)
    wanted = slow.tracking(frames, len(sequences), last_dropped=official, dummies=official)
    for key, expected in wanted.items():
        np.testing.assert_allclose(getattr(counts, key), expected, rtol=1e-12, atol=1e-12, err_msg=key)


@QUICK
@given(SCENES, st.sampled_from(POSETRACK15.names))
def test_hota(case, joint):
    sequences, predictions = generated(*case)
    counts = count_hota(poseval_scene(sequences, predictions), compat="fixed")
    wanted = slow.hota(slow.poseval_frames(sequences, predictions), len(sequences), joint, ALPHAS)
    number = POSETRACK15.index(joint)
    positives = counts.true_positives[:, :, number]
    found = {
        "tp": positives.sum(axis=0),
        "fn": counts.false_negatives[:, :, number].sum(axis=0),
        "fp": counts.false_positives[:, :, number].sum(axis=0),
        "loca": (counts.loca[:, :, number] * positives).sum(axis=0),
        "assa": (counts.assa[:, :, number] * positives).sum(axis=0),
        "fraga": (counts.fraga[:, :, number] * positives).sum(axis=0),
    }
    for key, values in found.items():
        np.testing.assert_allclose(values, wanted[key], rtol=1e-9, atol=1e-9, err_msg=key)


@QUICK
@given(SCENES)
def test_the_other_protocol(case):
    sequences, predictions = generated(*case)
    fast = precision_recall(counted(match(posetrack21_scene(sequences, predictions))), empty_recall=0.0)
    wanted = slow.average_precision(slow.posetrack21_frames(sequences, predictions))
    for found, expected in zip((fast.ap, fast.precision, fast.recall), wanted, strict=True):
        np.testing.assert_allclose(found[:15], np.nan_to_num(expected[:15]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_crowd_of_forty(seed):
    spec = SceneSpec(sequences=1, frames=2, people=(40, 40), labelled=1.0, noise=0.2, area=300.0)
    sequences, predictions = generated(spec, seed, set())
    scene = poseval_scene(sequences, predictions)
    frames = slow.poseval_frames(sequences, predictions)
    fast = precision_recall(counted(match(scene)))
    np.testing.assert_allclose(fast.ap, slow.average_precision(frames)[0], rtol=1e-12)
    counts, wanted = count_tracking(scene), slow.tracking(frames, 1, last_dropped=False)
    for key, expected in wanted.items():
        np.testing.assert_allclose(getattr(counts, key), expected, rtol=1e-12, err_msg=key)


@QUICK
@given(SCENES)
def test_matches_are_mutual_and_unique(case):
    sequences, predictions = generated(*case)
    table = match(poseval_scene(sequences, predictions))
    matched = np.flatnonzero(table.truth_of >= 0)
    assert np.array_equal(table.predicted_of[table.truth_of[matched]], matched)
    assert len(set(table.truth_of[matched].tolist())) == len(matched)
    assert not table.hit[table.truth_of < 0].any() and not (table.hit & ~table.scene.predicted.present).any()
    events = table.events()
    assert len(events.score) == table.scene.predicted.present.sum()
    assert (np.isnan(events.distance) | (events.truth_row >= 0)).all()
