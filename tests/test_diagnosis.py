"""Diagnosis: every class by hand, both orders against slow references, gains by hand, failures in time."""

import json
import math

import numpy as np
import pytest
from hand_scenes import JOINTS, predictions_of, random_run, sequence_of, standing
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scoring import score
from harness.scoring.diagnosis import REPAIRS, diagnose, diagnosis_json, repair_gains
from harness.scoring.error_classes import CLASSES, oks_classes, pckh_classes
from harness.scoring.failure_runs import KINDS, failure_runs
from harness.scoring.matched import match_run
from harness.skeletons import OKS_SIGMAS, POSETRACK15

NOSE, NECK, TOP = (POSETRACK15.index(name) for name in ("nose", "head_bottom", "head_top"))
LEFT, RIGHT = POSETRACK15.index("left_wrist"), POSETRACK15.index("right_wrist")
ANKLE = POSETRACK15.index("right_ankle")
SEEDS = st.integers(0, 10_000)


def one_of_each():
    """One person matched, one not; a stray pose. Heads are 10 px, joints of a person 20 px apart."""
    first, other = standing(0), standing(300)
    first[TOP] = np.nan
    pose = standing(0)
    pose[NOSE] += (7, 0)
    pose[NECK] = other[NECK]
    pose[LEFT] = first[RIGHT]
    pose[RIGHT] = other[LEFT] + 1
    pose[ANKLE] += (0, -40)
    pose[POSETRACK15.index("left_ankle")] = np.nan
    sequence = sequence_of([(0, 0, first), (0, 1, other)])
    return match_run((sequence,), predictions_of((0, 0, pose, 0.9), (0, 0, standing(900), 0.8)))


def test_every_class_by_hand():
    codes = pckh_classes(one_of_each())
    named = {POSETRACK15.names[joint]: CLASSES[code] for joint, code in enumerate(codes[0]) if code >= 0}
    expected = dict.fromkeys(POSETRACK15.names, "good") | {
        "nose": "jitter", "head_bottom": "swap", "left_wrist": "inversion", "right_wrist": "swap",
        "right_ankle": "miss", "left_ankle": "absent",
    }  # fmt: skip
    del expected["head_top"]
    assert named == expected
    assert [CLASSES[code] for code in codes[1]] == ["undetected"] * JOINTS


def test_the_own_opposite_joint_comes_before_another_person_and_both_before_jitter():
    first, other = standing(0), standing(300)
    first[RIGHT] = first[LEFT] + (9, 0)
    other[LEFT] = first[RIGHT] + (3, 0)
    other[NOSE] = first[NOSE] + (9, 0)
    pose = first.copy()
    pose[LEFT] = first[RIGHT] + (1, 0)
    pose[NOSE] = first[NOSE] + (8, 0)
    matched = match_run((sequence_of([(0, 0, first), (0, 1, other)]),), predictions_of((0, 0, pose, 0.9)))
    codes = pckh_classes(matched)[0]
    assert (CLASSES[codes[LEFT]], CLASSES[codes[NOSE]]) == ("inversion", "swap")


def test_rows_count_every_truth_joint_once_and_predictions_apart():
    diagnosis = diagnose(one_of_each())
    value = {row.metric: row for row in diagnosis.scores.select(joint="total").entries}
    for order in ("pckh", "oks"):
        assert sum(value[f"{order}_{name}"].value for name in CLASSES) == pytest.approx(100)
        assert sum(value[f"{order}_{name}"].n_predicted for name in CLASSES) == 29
    assert (value["pckh_swap"].n_predicted, value["pckh_jitter"].n_predicted) == (2, 1)
    assert value["background"].value == pytest.approx(100 * 15 / 29)
    assert (value["unlabelled"].n_predicted, value["unlabelled"].n_truth) == (1, 29)
    assert diagnosis.confusion.sum() == 13
    text = json.dumps(diagnosis_json(diagnosis), allow_nan=False)
    assert json.loads(text)["counts"]["pckh_undetected"]["total"] == 15


def test_similarity_order_by_hand():
    # box 1 x 280 px round the person: 2 a (2 sigma)^2 with a = 280 * width
    sequence = sequence_of([(0, 0, standing(0)), (0, 1, standing(60))], boxes=[[0, 0, 40, 280], [60, 0, 100, 280]])
    pose = standing(0)

    def at(joint, similarity):
        sigma = 2 * OKS_SIGMAS[POSETRACK15.names[joint]]
        return math.sqrt(-2 * 40 * 280 * sigma**2 * math.log(similarity))

    pose[NOSE, 0] += at(NOSE, 0.86)
    pose[TOP, 0] -= at(TOP, 0.84)
    pose[NECK, 0] -= at(NECK, 0.49)
    pose[LEFT] = standing(0)[RIGHT] + 1
    pose[RIGHT] = standing(60)[RIGHT] + 1
    codes = oks_classes(match_run((sequence,), predictions_of((0, 0, pose, 1.0))))[0]
    assert [CLASSES[codes[j]] for j in (NOSE, TOP, NECK, LEFT, RIGHT)] == [
        "good",
        "jitter",
        "miss",
        "inversion",
        "swap",
    ]


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_both_orders_equal_slow_references(seed):
    matched = match_run(*random_run(seed, frames=5))
    for found, slow in ((pckh_classes(matched), slow_pckh), (oks_classes(matched), slow_oks)):
        table = matched.table
        for g in range(len(table.scene.truth)):
            for joint in range(JOINTS):
                expected = slow_class(matched, g, joint, slow)
                assert found[g, joint] == expected, (g, joint)


def slow_class(matched, g, joint, slow):
    scene, p = matched.table.scene, matched.table.predicted_of[g]
    if not scene.truth.present[g, joint]:
        return -1
    if p < 0:
        return CLASSES.index("undetected")
    if not scene.predicted.present[p, joint]:
        return CLASSES.index("absent")
    others = [
        o for o in range(len(scene.truth)) if o != g and scene.truth.frame[o] == scene.truth.frame[g]
    ]  # fmt: skip
    return CLASSES.index(slow(matched, g, p, joint, others))


def gap(matched, p, joint, g, target):
    scene = matched.table.scene
    if not scene.truth.present[g, target]:
        return math.inf
    return math.hypot(
        scene.predicted.x[p, joint] - scene.truth.x[g, target], scene.predicted.y[p, joint] - scene.truth.y[g, target]
    )


def slow_pckh(matched, g, p, joint, others):
    head, opposite = matched.table.scene.head, POSETRACK15.flip_order[joint]
    if gap(matched, p, joint, g, joint) <= 0.5 * head[g]:
        return "good"
    if opposite != joint and gap(matched, p, joint, g, opposite) <= 0.5 * head[g]:
        return "inversion"
    for other in others:
        if min(gap(matched, p, joint, other, joint), gap(matched, p, joint, other, opposite)) <= 0.5 * head[other]:
            return "swap"
    return "jitter" if gap(matched, p, joint, g, joint) <= head[g] else "miss"


def slow_oks(matched, g, p, joint, others):
    opposite = POSETRACK15.flip_order[joint]
    sigma = 2 * OKS_SIGMAS[POSETRACK15.names[joint]]

    def similarity(person, target):
        x0, y0, x1, y1 = matched.truth_boxes[person]
        area = max(x1 - x0, 1e-6) * max(y1 - y0, 1e-6)
        return math.exp(-(gap(matched, p, joint, person, target) ** 2) / (2 * area * sigma**2))

    own = similarity(g, joint)
    mirrored = similarity(g, opposite) if opposite != joint else 0.0
    rival = max((similarity(other, target) for other in others for target in (joint, opposite)), default=0.0)
    best = max(own, mirrored, rival)
    if best < 0.5:
        return "miss"
    if own == best:
        return "good" if own > 0.85 else "jitter"
    return "inversion" if mirrored == best else "swap"


def test_gains_by_hand():
    # nose: a jitter (0.9), a stray (0.8), a hit (0.7), one undetected; 3 to find
    first, second, third = standing(0), standing(300), standing(600)
    pose = first.copy()
    pose[NOSE] += (7, 0)
    sequence = sequence_of([(0, 0, first), (0, 1, second), (0, 2, third)])
    parts = [(0, 0, pose, 0.9), (0, 0, standing(1200), 0.8), (0, 0, second, 0.7)]
    matched = match_run((sequence,), predictions_of(*parts))
    gains = {name: values[NOSE] for name, values in repair_gains(matched, pckh_classes(matched)).items()}
    plain = 100 / 3 * (1 / 3)
    assert gains["jitter"] == pytest.approx(100 / 3 * (1 + 2 / 3) - plain)
    assert gains["background"] == pytest.approx(100 / 3 * (1 / 2) - plain)
    assert gains["undetected"] == pytest.approx(100 / 2 * (1 / 3) - plain)
    assert gains["score"] == pytest.approx(100 / 3 - plain)
    assert {name for name, gain in gains.items() if gain == 0} == {"inversion", "swap", "miss", "absent", "unlabelled"}


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_no_repair_loses_and_repairing_nothing_is_poseval(seed):
    run = random_run(seed, frames=6)
    matched = match_run(*run)
    gains = repair_gains(matched, pckh_classes(matched))
    assert set(gains) == set(REPAIRS)
    ap = score(*run).by_joint("ap", protocol="poseval")
    for joint, values in enumerate(zip(*gains.values(), strict=True)):
        name = [*POSETRACK15.names, "total"][joint]
        for value in values:
            assert math.isnan(value) or -1e-9 <= value <= 100 - ap[name] + 1e-9


def timeline(states, *, shift=0.0):
    """One person over len(states) frames whose nose is: . found, x 30 px off, i on nothing near, - not predicted."""
    truth, parts = [], []
    for frame, state in enumerate(states):
        pose = standing(shift * frame)
        truth.append((frame, 5, pose))
        guess = pose.copy()
        if state == "x":
            guess[NOSE] += (0, 200 + 13 * frame)
        elif state == "-":
            guess[NOSE] = np.nan
        elif state == "l":
            guess[NOSE] = standing(shift * (frame - 1))[NOSE]
        parts.append((0, frame, guess, 0.5))
    return match_run((sequence_of(truth),), predictions_of(*parts))


def kinds_of(matched):
    runs = failure_runs(matched, pckh_classes(matched))
    order = np.argsort(runs.first, kind="stable")
    return [
        (KINDS[runs.kind[place]], int(runs.first[place]), int(runs.last[place]))
        for place in order
        if runs.joint[place] == NOSE
    ]


@pytest.mark.parametrize(
    ("states", "kinds"),
    [
        ("..x......", [("isolated", 2, 2)]),
        ("..xxx....", [("short", 2, 4)]),
        ("..xxxxx..", [("long", 2, 6)]),
        ("..x.x....", [("flicker", 2, 2), ("flicker", 4, 4)]),
        ("x...x....", [("flicker", 0, 0), ("flicker", 4, 4)]),
        ("x....x...", [("isolated", 0, 0), ("isolated", 5, 5)]),
        ("..--x....", [("dropout", 2, 4)]),
        ("..-......", [("dropout", 2, 2)]),
        (".........", []),
    ],
)
def test_kinds_of_failure_runs(states, kinds):
    assert kinds_of(timeline(states)) == kinds


def test_lag_points_to_where_the_joint_was():
    assert kinds_of(timeline("..ll....", shift=8.0)) == [("lag", 2, 3)]
    assert kinds_of(timeline("..ll....", shift=2.0)) == []


def test_swaps_and_inversions_that_last():
    truth, parts = [], []
    for frame in range(6):
        first, other = standing(0), standing(100)
        truth += [(frame, 1, first), (frame, 2, other)]
        guess = first.copy()
        if frame in (1, 2, 3):
            guess[NOSE] = other[NOSE]
        if frame in (3, 4):
            guess[[LEFT, RIGHT]] = guess[[RIGHT, LEFT]]
        parts += [(0, frame, guess, 0.5), (0, frame, other, 0.4)]
    matched = match_run((sequence_of(truth),), predictions_of(*parts))
    runs = failure_runs(matched, pckh_classes(matched))
    found = {(POSETRACK15.names[j], KINDS[k], n) for j, k, n in zip(runs.joint, runs.kind, runs.length, strict=True)}
    assert found == {("nose", "swap", 3), ("left_wrist", "inversion", 2), ("right_wrist", "inversion", 2)}
    assert set(runs.track.tolist()) == {1}
    assert runs.judged.tolist() == [12] * JOINTS


def test_frames_without_labelled_neighbour_are_not_judged():
    truth = [(0, 1, standing()), (1, 1, standing())]
    sequence = sequence_of(truth, indices=[0, 4])
    matched = match_run((sequence,), predictions_of((0, 0, standing(3), 0.5)))
    runs = failure_runs(matched, pckh_classes(matched))
    assert (len(runs), runs.judged.sum()) == (0, 0)


def test_rows_of_runs_are_shares_of_judged_frames():
    scores = diagnose(timeline("..xxx..-.")).scores
    short = scores.select(metric="runs_short", joint="nose").entries[0]
    assert (short.value, short.n_truth, short.n_predicted) == (pytest.approx(100 * 3 / 9), 9, 1)
    assert scores.value("runs_dropout", joint="nose") == pytest.approx(100 / 9)
