"""Suppression against the goldens of both parametric variants and against arithmetic by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import NO_TRACK
from harness.errors import DataError, UsageError
from harness.predictions import Predictions, person_numbers
from harness.similarity import joint_distances, keypoint_similarity, oks_sigmas
from harness.skeletons import POSETRACK15, POSETRACK17
from harness.suppression import RULES, instance_scores, merge_poses, merge_poses_original, suppress, threshold_of
from harness.suppression.oks import oks_suppression, soft_oks_suppression
from harness.suppression.parametric import pose_matches, pose_similarity

GOLDEN = np.load(Path(__file__).parent / "data" / "pose_nms.npz")
CURRENT = ("duplicates", "small_people", "area_threshold", "single", "zero_scores", "k15")
ORIGINAL = ("rmpe16", "rmpe16_small")


def inputs(case, *names):
    return [GOLDEN[f"{case}/{name}"].astype(np.float64) for name in names]


@pytest.mark.parametrize("case", CURRENT)
def test_current_variant_equals_golden(case):
    poses, scores, boxes, box_scores = inputs(case, "poses", "scores", "boxes", "box_scores")
    area = 40 * 40.5 if case == "area_threshold" else 0.0
    merged = merge_poses(poses, scores, boxes, box_scores, minimum_area=area)
    assert merged.picked.tolist() == GOLDEN[f"{case}/alphapose_pick"].tolist()
    assert [list(rows) for rows in merged.members] == json.loads(str(GOLDEN[f"{case}/alphapose_merged_ids"]))
    np.testing.assert_allclose(merged.joints, GOLDEN[f"{case}/alphapose_poses"], atol=1e-4)
    np.testing.assert_allclose(merged.scores, GOLDEN[f"{case}/alphapose_scores"], atol=1e-6)
    np.testing.assert_allclose(merged.instance_scores, GOLDEN[f"{case}/alphapose_instance_score"], atol=1e-6)


@pytest.mark.parametrize("case", CURRENT)
def test_similarity_and_matches_equal_golden(case):
    poses, scores, boxes = inputs(case, "poses", "scores", "boxes")
    distances = joint_distances(poses, poses)
    scores = np.where(scores <= 0, 1e-5, scores)
    similarity = pose_similarity(distances, scores, confidence=1, weight=1.7, spread=2.65)
    np.testing.assert_allclose(similarity[0], GOLDEN[f"{case}/alphapose_similarity_to_0"], atol=1e-4)
    reach = 0.1 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert pose_matches(distances, reach)[0].tolist() == GOLDEN[f"{case}/alphapose_match_count_to_0"].tolist()


@pytest.mark.parametrize("case", ORIGINAL)
def test_original_variant_equals_golden(case):
    poses, scores, boxes = inputs(case, "poses", "scores", "boxes")
    merged = merge_poses_original(poses, scores, boxes, may_miss=(0, 5))
    np.testing.assert_allclose(merged.joints, GOLDEN[f"{case}/out_poses"], atol=1e-9)
    np.testing.assert_allclose(merged.scores, GOLDEN[f"{case}/out_scores"], atol=1e-12)


def test_original_variant_leaves_low_ankles_out_of_the_mean():
    poses, boxes = np.zeros((1, 16, 2)), np.array([[0.0, 0, 100, 100]])
    scores = np.full((1, 16), 0.21)
    scores[0, 5] = 0.01  # mean 0.1975 with it, 0.21 without
    assert len(merge_poses_original(poses, scores, boxes).picked) == 0
    assert len(merge_poses_original(poses, scores, boxes, may_miss=(0, 5)).picked) == 1


def test_absent_joints_are_merged_from_those_who_have_them():
    poses, scores = np.zeros((2, 17, 2)), np.full((2, 17), 0.9)
    poses[1] += 2.0
    poses[0, 3], poses[:, 4] = np.nan, np.nan
    scores[0, 3], scores[:, 4] = 0.0, 0.0
    scores[1] *= 0.5
    merged = merge_poses(poses, scores, np.array([[0.0, 0, 100, 100]] * 2), np.ones(2))
    assert merged.members == ((0, 1),)
    # weights 0.9 and 0.45: a third of the way; nobody near the picked pose has joint 3 or 4
    np.testing.assert_allclose(merged.joints[0, 0], [2 / 3, 2 / 3])
    assert np.isnan(merged.joints[0, 3:5]).all()


def test_oks_by_hand():
    first, sigmas = np.zeros((1, 17, 2)), oks_sigmas(POSETRACK17)
    second = first.copy()
    second[0, :, 0] = 10.0
    expected = np.exp(-100 / (2 * sigmas) ** 2 / 2000 / 2).mean()
    found = keypoint_similarity(first, second, np.array([1000.0]), np.array([3000.0]), sigmas=sigmas)
    np.testing.assert_allclose(found, [[expected]])


def test_oks_counts_shared_joints_only():
    first, second = np.zeros((1, 15, 2)), np.zeros((2, 15, 2))
    first[0, :5], second[0, 5:10], second[1] = np.nan, 1e6, np.nan
    found = keypoint_similarity(first, second, np.ones(1), np.ones(2), sigmas=oks_sigmas(POSETRACK15))
    assert found.tolist() == [[0.5, 0.0]]


def test_instance_score_is_zero_without_a_confident_joint():
    assert instance_scores(np.array([[0.2, 0.2]]), np.array([1.0])).tolist() == [0.0]


def three_poses():
    """0 and 1 are 4 px apart (OKS 0.92 at 100 x 100 px), 2 is elsewhere."""
    poses = np.tile(np.random.default_rng(0).uniform(0, 100, (1, 17, 2)), (3, 1, 1))
    poses[1] += [4.0, 0.0]
    poses[2] += 500.0
    return poses


def test_oks_suppression_keeps_the_best():
    arguments = (three_poses(), np.array([0.5, 0.6, 0.1]), np.full(3, 1e4))
    sigmas = oks_sigmas(POSETRACK17)
    assert oks_suppression(*arguments, sigmas=sigmas, threshold=0.9).tolist() == [1, 2]
    assert oks_suppression(*arguments, sigmas=sigmas, threshold=0.95).tolist() == [1, 0, 2]


def test_oks_suppression_of_equal_scores_keeps_the_first():
    kept = oks_suppression(three_poses(), np.ones(3), np.full(3, 1e4), sigmas=oks_sigmas(POSETRACK17), threshold=0.7)
    assert kept.tolist() == [0, 2]


def test_soft_suppression_marks_down():
    poses, sigmas, areas = three_poses(), oks_sigmas(POSETRACK17), np.full(3, 1e4)
    similarity = keypoint_similarity(poses[:1], poses[1:2], areas[:1], areas[1:2], sigmas=sigmas)[0, 0]
    rows, scores = soft_oks_suppression(poses, np.array([0.5, 0.6, 0.4]), areas, sigmas=sigmas, threshold=0.9)
    assert rows.tolist() == [1, 2, 0]
    np.testing.assert_allclose(scores, [0.6, 0.4, 0.5 * np.exp(-(similarity**2) / 0.9)])
    assert len(soft_oks_suppression(poses, np.ones(3), areas, sigmas=sigmas, limit=2)[0]) == 2


def predictions(joints, confidences, box_scores, frames):
    count, sequence = len(joints), np.zeros(len(joints), dtype=np.int64)
    low, high = joints.min(axis=1), joints.max(axis=1)
    return Predictions(
        sequence_names=("a",), sequence=sequence, frame=np.array(frames), person=person_numbers(sequence, frames),
        track_ids=np.arange(count) + 10, boxes=np.hstack([low, high]), box_scores=np.array(box_scores),
        joints=joints, scores=np.array(confidences)[:, None] * np.array(box_scores)[:, None] * np.ones((1, 17)),
        present=np.ones((count, 17), dtype=bool),
    )  # fmt: skip


def several():
    poses = three_poses()
    joints = np.concatenate([poses, poses[:2]])
    return predictions(joints, [0.5, 0.6, 0.4, 0.9, 0.5], [1.0, 0.9, 1.0, 1.0, 0.3], [0, 0, 0, 2, 3])


def test_predictions_are_suppressed_within_frames_only():
    given = several()
    left = suppress(given, "oks", threshold=0.7)
    assert left.track_ids.tolist() == [11, 12, 13, 14]
    assert left.person.tolist() == [0, 1, 0, 0] and left.frame.tolist() == [0, 0, 2, 3]
    np.testing.assert_array_equal(left.scores, given.scores[1:])  # untouched in every bit
    np.testing.assert_array_equal(left.joints, given.joints[1:])


def test_larger_areas_make_poses_more_alike():
    given = several()
    assert len(suppress(given, "oks", threshold=0.95)) == 5
    assert len(suppress(given, "oks", threshold=0.95, areas=np.full(5, 4e4))) == 4


def test_soft_suppression_of_predictions_lowers_scores():
    given = several()
    left = suppress(given, "soft-oks")
    assert len(left) == 5 and (left.scores[0] < 0.7 * given.scores[0]).all()
    np.testing.assert_array_equal(left.scores[[1, 3, 4]], given.scores[[1, 3, 4]])
    np.testing.assert_allclose(left.scores[0] / left.box_scores[0], 0.5)


def test_persons_of_whole_frames_have_scores_of_their_own():
    given = several()
    # the first of two alike is the better person, though its joints score less
    own = replace(given, box_scores=np.array([0.7, 0.2, 0.5, 0.4, -0.01]))
    assert suppress(own, "oks", threshold=0.7, own_scores=True).track_ids.tolist() == [10, 12, 13, 14]
    assert suppress(own, "oks", threshold=0.7).track_ids.tolist() == [11, 12, 13, 14]
    merged = suppress(own, "pose", own_scores=True)
    assert (merged.scores[0] <= given.scores[:2].max()).all() and (merged.scores[0] >= given.scores[:2].min()).all()
    np.testing.assert_allclose(merged.scores[1:], given.scores[2:4])  # 0.15 is too little, though 0.5 of its box score
    assert len(suppress(given, "pose")) == len(merged) + 1
    lone = replace(own, present=own.present.copy(), boxes=own.boxes.copy())
    lone.present[4, 1:] = False
    lone.boxes[4] = np.tile(own.joints[4, 0], 2)
    for rule in RULES:
        assert len(suppress(lone, rule, own_scores=True)) >= 3  # a person of one joint stops nobody


@pytest.mark.parametrize("rule", ["pose", "pose-original"])
def test_merging_rules_move_joints(rule):
    given = several()
    left = suppress(given, rule)
    assert left.track_ids.tolist() == [11, 12, 13, 14]
    # confidences 0.5 and 0.6: the merged pose lies 6/11 of 4 px to the right of the first
    np.testing.assert_allclose(left.joints[0], given.joints[0] + [4 * 0.6 / 1.1, 0])
    confidence = 0.6 if rule == "pose-original" else (0.5**2 + 0.6**2) / 1.1
    np.testing.assert_allclose(left.scores[0], confidence * 0.9)
    np.testing.assert_allclose(left.scores[1:], given.scores[2:])


def test_nobody_is_left_alone_and_empty_predictions_stay():
    given = several()
    none = replace(given, **{name: getattr(given, name)[:0] for name in (
        "sequence", "frame", "person", "track_ids", "boxes", "box_scores", "joints", "scores", "present")})  # fmt: skip
    assert all(len(suppress(none, rule)) == 0 for rule in RULES)


def test_boxes_may_be_unknown():
    given = several()
    blank = replace(given, boxes=np.full((5, 4), np.nan), track_ids=np.full(5, NO_TRACK))
    assert len(suppress(blank, "oks", threshold=0.7)) == 4


def test_faults_are_named():
    given = several()
    with pytest.raises(UsageError, match=r"unknown suppression 'ok'; choose from oks, soft-oks"):
        suppress(given, "ok")
    flat = replace(given, boxes=np.where(np.arange(5)[:, None] == 3, 0.0, given.boxes))
    with pytest.raises(DataError, match=r"a, frame 2, person 0: the area is 0 px"):
        suppress(flat, "oks")
    assert threshold_of("oks") == 0.9
