"""Overlays: the right people on the right frames, one colour per part of the body, pictures left as they were."""

from itertools import pairwise

import numpy as np
import pytest

from harness.datasets import NO_TRACK
from harness.predictions import Predictions, person_numbers
from harness.report.overlays import bone_colour, draw_people, overlay, track_colour
from harness.skeletons import COCO17, POSETRACK15, POSETRACK17


def standing(x=60.0):
    """A person who looks at us: image-left is the right side."""
    places = {
        "nose": (0, 20), "head_bottom": (0, 35), "head_top": (0, 5), "left_ear": (5, 18), "right_ear": (-5, 18),
        "left_shoulder": (20, 45), "right_shoulder": (-20, 45), "left_elbow": (35, 70), "right_elbow": (-35, 70),
        "left_wrist": (45, 100), "right_wrist": (-45, 100), "left_hip": (12, 105), "right_hip": (-12, 105),
        "left_knee": (14, 150), "right_knee": (-14, 150), "left_ankle": (16, 195), "right_ankle": (-16, 195),
    }  # fmt: skip
    return np.array([places[name] for name in POSETRACK17.names]) + np.array([x, 0.0])


def middle_of(first, second, x=60.0):
    joints = standing(x)
    place = (joints[POSETRACK17.index(first)] + joints[POSETRACK17.index(second)]) / 2
    return tuple(np.rint(place).astype(int)[::-1])


def predictions(frames, *, scores=0.9, tracks=None):
    count, sequence = len(frames), np.zeros(len(frames), dtype=np.int64)
    return Predictions(
        sequence_names=("a",), sequence=sequence, frame=np.array(frames), person=person_numbers(sequence, frames),
        track_ids=np.full(count, NO_TRACK) if tracks is None else np.array(tracks), boxes=np.full((count, 4), np.nan),
        box_scores=np.ones(count), joints=np.tile(standing(), (count, 1, 1)), scores=np.full((count, 17), scores),
        present=np.ones((count, 17), dtype=bool),
    )  # fmt: skip


GREY = np.full((220, 120, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize(
    ("bone", "colour"),
    [
        (("left_elbow", "left_wrist"), (230, 159, 0)),
        (("right_shoulder", "right_elbow"), (86, 180, 233)),
        (("left_knee", "left_ankle"), (213, 94, 0)),
        (("right_hip", "right_knee"), (0, 114, 178)),
        (("left_shoulder", "left_hip"), (0, 158, 115)),
    ],
)
def test_bones_have_the_colour_of_their_side_and_limb(bone, colour):
    assert bone_colour(*bone) == colour
    drawn = draw_people(GREY, standing()[None], np.ones((1, 17), dtype=bool), skeleton=POSETRACK17)
    shade = drawn[middle_of(*bone)][::-1]
    assert np.abs(shade.astype(int) - colour).max() <= 60  # lines are one pixel wide and smoothed


def test_every_bone_has_one_colour_in_every_skeleton():
    for first, second in POSETRACK17.bones:
        assert bone_colour(first, second) == bone_colour(second, first)
    assert set(POSETRACK17.bones) == set(POSETRACK15.bones)


def test_the_picture_is_left_alone_and_nobody_draws_nothing():
    before = GREY.copy()
    drawn = draw_people(GREY, standing()[None], np.ones((1, 17), dtype=bool), skeleton=POSETRACK17)
    np.testing.assert_array_equal(GREY, before)
    assert (drawn != GREY).any()
    np.testing.assert_array_equal(next(overlay([GREY], predictions([]))), GREY)


def test_people_are_drawn_on_their_frames():
    frames = list(overlay([GREY] * 4, predictions([1, 3])))
    assert [bool((frame != GREY).any()) for frame in frames] == [False, True, False, True]
    np.testing.assert_array_equal(frames[1], frames[3])


def test_joints_that_are_absent_or_doubtful_are_not_drawn():
    assert (next(overlay([GREY], predictions([0], scores=0.05))) == GREY).all()
    shown = np.ones((1, 17), dtype=bool)
    shown[0, POSETRACK17.index("left_wrist")] = False
    drawn = draw_people(GREY, standing()[None], shown, skeleton=POSETRACK17)
    assert (drawn[middle_of("left_elbow", "left_wrist")] == 128).all()
    nowhere = standing()[None].copy()
    nowhere[0, 3] = np.nan
    draw_people(GREY, nowhere * 1e9, np.ones((1, 17), dtype=bool), skeleton=POSETRACK17)


def test_skeletons_without_bones_show_points():
    drawn = draw_people(GREY, standing()[None], np.ones((1, 17), dtype=bool), skeleton=COCO17)
    assert (drawn[20, 60] == 255).all()


def test_tracks_keep_their_colour_and_neighbours_differ():
    colours = [np.array(track_colour(track)) for track in range(12)]
    assert all(np.abs(first - second).sum() > 60 for first, second in pairwise(colours))
    assert track_colour(3) == track_colour(3) and track_colour(NO_TRACK) == (200, 200, 200)
    boxed = draw_people(
        GREY, standing()[None], np.zeros((1, 17), dtype=bool), skeleton=POSETRACK17,
        boxes=np.array([[10.0, 5, 100, 200]]), track_ids=np.array([5]),
    )  # fmt: skip
    assert np.abs(boxed[100, 10].astype(int) - track_colour(5)[::-1]).max() <= 20
