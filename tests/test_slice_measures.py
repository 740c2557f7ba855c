"""What every built-in slice measures, on scenes reckoned by hand."""

import numpy as np
import pytest
from hand_scenes import JOINTS, random_run, sequence_of, standing

from harness.datasets.sequences import NO_TRACK
from harness.scoring.slices import Footage, slices
from harness.scoring.slices.bins import _binned
from harness.scoring.slices.camera import expected_positions
from harness.scoring.slices.sharpness import laplacian_variance
from harness.skeletons import POSETRACK15

NOSE, WRIST = POSETRACK15.index("nose"), POSETRACK15.index("left_wrist")


def measured(name, sequence, images=None):
    return slices[name].measure(Footage(sequence, images))


def bins(name, values):
    part = slices[name]
    return [part.bins[number] for number in _binned(np.array(values, dtype=float), part.edges, len(part.bins))]


def moving(steps, **options):
    """One person at x = the cumulated steps (px), one frame each; heads are 10 px."""
    places = np.cumsum([0.0, *steps])
    return sequence_of([(frame, 0, standing(x)) for frame, x in enumerate(places)], **options)


def test_speed_is_the_mean_of_past_and_future_in_heads_per_frame():
    speed = measured("speed", moving([2.0, 6.0]))
    assert speed[:, NOSE].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert bins("speed", [0.25, 0.2500001, 0.5, 0.51]) == ["slow", "medium", "medium", "fast"]


def test_speed_over_the_size_of_the_box():
    boxes = [[0, 0, 20, 20], [0, 0, 40, 10], [0, 0, 0, 0]]
    by_size = measured("speed_by_size", moving([2.0, 6.0], boxes=boxes))
    assert by_size[:, NOSE].tolist() == pytest.approx([0.1, 0.2, np.nan], nan_ok=True)


def test_speed_needs_the_same_track_and_the_next_frame():
    people = [(0, 0, standing(0)), (1, 1, standing(5)), (2, 0, standing(10))]
    assert measured("speed", sequence_of(people)) is None
    sparse = measured("speed_sparse", sequence_of(people))
    assert sparse[:, NOSE].tolist() == pytest.approx([0.5, np.nan, 0.5], nan_ok=True)


def test_an_unlabelled_joint_or_one_without_labelled_neighbour_is_unknown():
    first, second = standing(0), standing(3)
    second[NOSE] = np.nan
    speed = measured("speed", sequence_of([(0, 0, first), (1, 0, second)]))
    assert np.isnan(speed[:, NOSE]).all()
    assert speed[:, WRIST].tolist() == pytest.approx([0.3, 0.3])


def test_frame_numbers_count_not_places_in_the_list():
    sequence = moving([5.0, 5.0], indices=[10, 14, 15])
    assert measured("speed", sequence)[:, NOSE].tolist() == pytest.approx([np.nan, 0.5, 0.5], nan_ok=True)
    assert measured("speed_sparse", sequence)[:, NOSE].tolist() == pytest.approx([0.125, np.nan, np.nan], nan_ok=True)


def test_articulated_speed_takes_the_body_off():
    first, second = standing(0), standing(30)
    second[WRIST] += (4, 3)
    articulated = measured("articulated_speed", sequence_of([(0, 0, first), (1, 0, second)]))
    assert articulated[0, WRIST] == pytest.approx(0.5)
    assert articulated[0, NOSE] == pytest.approx(0.0, abs=1e-12)


def test_compensated_speed_takes_off_the_median_joint_of_three_people():
    def frame(number, shift, wrist=0.0):
        poses = [standing(100 * track + shift) for track in range(3)]
        poses[0][WRIST, 0] += wrist
        return [(number, track, pose) for track, pose in enumerate(poses)]

    sequence = sequence_of(frame(0, 0) + frame(1, 7, wrist=5))
    compensated = measured("compensated_speed", sequence)
    assert compensated[0, WRIST] == pytest.approx(0.5)
    assert np.nanmax(np.delete(compensated[:3], WRIST, axis=1)) == pytest.approx(0.0, abs=1e-12)
    camera = measured("camera_motion", sequence)
    assert camera.tolist() == pytest.approx([np.nan, 0.7], nan_ok=True)
    two = sequence_of([row for row in frame(0, 0) + frame(1, 7) if row[1] < 2])
    assert measured("compensated_speed", two) is None
    assert measured("camera_motion", two) is None


def test_with_images_the_camera_is_a_homography_of_the_background():
    random = np.random.default_rng(0)
    import cv2

    canvas = cv2.GaussianBlur(random.integers(0, 255, (300, 400)).astype(np.uint8), (0, 0), 2)
    canvas = cv2.normalize(canvas, None, 0, 255, cv2.NORM_MINMAX)
    views = [canvas[20:260, 20:340].copy(), canvas[25:265, 28:348].copy()]
    sequence = sequence_of([(0, 0, standing(100, 10)[:, ::-1]), (1, 0, standing(100, 10)[:, ::-1])], size=(320, 240))
    footage = Footage(sequence, lambda _, position: views[position])
    expected = expected_positions(footage, np.array([0]), np.array([1]))
    moved = expected[0] - footage.joints[0]
    assert moved == pytest.approx(np.tile([-8.0, -5.0], (JOINTS, 1)), abs=0.2)


def test_pictures_that_do_not_show_the_camera_leave_it_to_the_people():
    """A flat wall, other marks on it, a strip that has left the view: the median of three people, 7 px."""
    random = np.random.default_rng(0)
    import cv2

    def wall(count):
        picture = np.full((240, 320), 90, np.uint8)
        for x, y in random.integers((20, 20), (300, 220), (count, 2)).tolist():
            cv2.rectangle(picture, (x, y), (x + 6, y + 6), int(random.integers(120, 255)), -1)
        return picture

    texture = cv2.GaussianBlur(random.integers(0, 255, (240, 320)).astype(np.uint8), (0, 0), 2)
    strip = np.where(np.arange(320) < 30, texture, 90).astype(np.uint8)
    people = [(frame, track, standing(40 * track + 7.0 * frame, 900)) for frame in (0, 1) for track in range(3)]
    sequence = sequence_of(people, size=(320, 240))
    for views in ([wall(0), wall(0)], [wall(8), wall(8)], [strip, wall(0)]):
        footage = Footage(sequence, lambda _, position, views=views: views[position])
        expected = expected_positions(footage, np.arange(3), np.arange(3, 6))
        np.testing.assert_allclose(expected - footage.joints[:3], np.broadcast_to([7.0, 0.0], (3, JOINTS, 2)))


def test_people_whose_place_is_not_known_hide_no_background():
    random = np.random.default_rng(0)
    import cv2

    canvas = cv2.GaussianBlur(random.integers(0, 255, (300, 400)).astype(np.uint8), (0, 0), 2)
    views = [canvas[20:260, 20:340].copy(), canvas[25:265, 28:348].copy()]
    nowhere = np.full((JOINTS, 2), np.nan)
    people = [(frame, track, standing(100, 10) if track else nowhere) for frame in (0, 1) for track in range(2)]
    footage = Footage(sequence_of(people, size=(320, 240)), lambda _, position: views[position])
    moved = expected_positions(footage, np.array([1]), np.array([3]))[0] - footage.joints[1]
    assert moved == pytest.approx(np.tile([-8.0, -5.0], (JOINTS, 1)), abs=0.2)


def test_box_motion_is_the_mean_iou_with_the_own_boxes_within_ten_frames():
    boxes = [[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 10]]
    sequence = sequence_of([(frame, 0, standing()) for frame in range(3)], boxes=boxes, indices=[0, 10, 11])
    # frame 0 sees frame 10 only (1/3); 10 sees 0 and 11 (1/3 each); 11 sees 10 (1/3), 0 is 11 away
    assert measured("box_motion", sequence) == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert bins("box_motion", [0.5, 0.7, 0.8, 0.9, 0.95]) == ["fast", "fast", "medium", "medium", "slow"]


def flags(rows):
    visible = np.ones((len(rows), JOINTS), dtype=bool)
    visible[:, NOSE] = [state == "v" for state in rows]
    return visible


def test_visibility_follows_the_flags_and_is_absent_without_them():
    sequence = sequence_of([(0, 0, standing()), (1, 0, standing())], visible=flags("vo"))
    assert measured("visibility", sequence)[:, NOSE].tolist() == [0, 1]
    for name in ("visibility", "occlusion_run", "occluded_fraction"):
        assert measured(name, sequence_of([(0, 0, standing())])) is None


def test_occlusion_runs_count_consecutive_frames_of_one_track():
    states = "ovoooooovoo"
    people = [(frame, 3, standing()) for frame in range(len(states))]
    run = measured("occlusion_run", sequence_of(people, visible=flags(states)))
    assert run[:, NOSE].tolist() == [1, 0, 6, 6, 6, 6, 6, 6, 0, 2, 2]
    assert bins("occlusion_run", run[:, NOSE])[:4] == ["short", "visible", "long", "long"]
    gap = sequence_of([(f, 3, standing()) for f in (0, 1, 3)], visible=flags("ooo"))
    assert measured("occlusion_run", gap)[:, NOSE].tolist() == [2, 2, 1]


def test_occlusion_runs_are_those_of_a_plain_loop():
    sequence = random_run(11, frames=40)[0][0]
    footage = Footage(sequence)
    found = measured("occlusion_run", sequence)
    state = {
        (track, index): row
        for row, (track, index) in enumerate(zip(sequence.truth.track_ids, footage.index, strict=True))
    }
    for (track, index), row in state.items():
        for joint in range(JOINTS):
            if not footage.occluded[row, joint]:
                continue
            length = 1
            for step in (-1, 1):
                at = index + step
                while (track, at) in state and footage.occluded[state[track, at], joint]:
                    length, at = length + 1, at + step
            assert found[row, joint] == length


def test_shares_of_hidden_and_missing_joints():
    pose = standing()
    pose[:5] = np.nan
    visible = np.ones((1, JOINTS), dtype=bool)
    visible[0, :8] = False
    sequence = sequence_of([(0, 0, pose)], visible=visible & ~np.isnan(pose).any(axis=1))
    assert measured("occluded_fraction", sequence).tolist() == pytest.approx([0.3])
    assert measured("missing_fraction", sequence).tolist() == pytest.approx([1 / 3])
    assert measured("labelled_joints", sequence).tolist() == [10]
    assert bins("missing_fraction", [0, 0.1, 0.25, 0.26, 0.5, 1]) == ["0", "0-.25", "0-.25", ".25-.5", ".25-.5", ".5-1"]
    assert bins("labelled_joints", [5, 6, 10, 13, 14]) == ["1-5", "6-10", "6-10", "11-13", "14-15"]


def test_overlap_and_neighbours_look_at_the_same_frame_only():
    boxes = [[0, 0, 10, 10], [5, 0, 15, 10], [0, 9, 10, 19], [0, 0, 10, 10]]
    people = [(0, 0, standing()), (0, 1, standing()), (0, 2, standing()), (1, 0, standing())]
    sequence = sequence_of(people, boxes=boxes)
    assert measured("overlap", sequence) == pytest.approx([1 / 3, 1 / 3, 10 / 190, 0])
    assert measured("neighbours", sequence).tolist() == [1, 1, 0, 0]


def test_crowd_index_is_others_joints_in_the_box_over_own():
    first, second = standing(0), standing(5)
    boxes = [[-1, -1, 6, 300], [4, -1, 8, 300]]
    sequence = sequence_of([(0, 0, first), (0, 1, second), (1, 0, first)], boxes=[*boxes, boxes[0]])
    # the first box holds all 15 of both, the second only its own: (1 + 0) / 2
    assert measured("crowd_index", sequence).tolist() == pytest.approx([0.5, 0.0])


def test_covered_needs_the_box_and_the_joint_of_a_neighbour():
    first, second = standing(0), standing(4)
    second[1:, 0] += 50
    sequence = sequence_of([(0, 0, first), (0, 1, second)], boxes=[[-1, -1, 60, 300], [-1, -1, 60, 300]])
    covered = measured("covered", sequence)
    assert covered[0].tolist() == [1.0] + [0.0] * 14
    apart = sequence_of([(0, 0, first), (0, 1, second)], boxes=[[-1, -1, 2, 300], [3, -1, 60, 300]])
    assert measured("covered", apart).sum() == 0


def test_scale_head_size_and_change_of_scale():
    sequence = sequence_of(
        [(f, 0, standing()) for f in range(3)], boxes=[[0, 0, 30, 30], [0, 0, 37.5, 37.5], [0, 0, 48, 48]]
    )
    assert measured("scale", sequence).tolist() == [30, 37.5, 48]
    assert measured("head_size", sequence) == pytest.approx([10, 10, 10])
    assert measured("scale_change", sequence).tolist() == pytest.approx([np.nan, 0, 1], nan_ok=True)
    assert bins("scale", [32, 33, 128, 129]) == ["0-32", "32-64", "96-128", "128+"]


def test_truncation_is_two_pixels_from_the_border():
    boxes = [[2, 50, 60, 90], [3, 50, 60, 90], [50, 50, 96, 90], [50, 50, 97, 90]]
    sequence = sequence_of([(0, track, standing()) for track in range(4)], boxes=boxes, size=(100, 100))
    assert measured("truncation", sequence).tolist() == [1, 0, 0, 1]
    pose = standing(50, 4.9)
    border = measured("border", sequence_of([(0, 0, pose)], size=(100, 1000)))
    assert border[0, :2].tolist() == [1, 0]
    assert measured("truncation", sequence_of([(0, 0, pose)], size=None)) is None


def test_sharpness_falls_with_blur_and_needs_images():
    import cv2

    sharp = np.random.default_rng(0).integers(0, 255, (100, 100)).astype(np.uint8)
    images = [sharp, cv2.GaussianBlur(sharp, (0, 0), 2)]
    sequence = sequence_of([(f, 0, standing()) for f in range(2)], boxes=[[10, 10, 90, 90]] * 2, size=(100, 100))
    values = measured("sharpness", sequence, images=lambda _, position: images[position])
    assert values[0] > 5 * values[1] > 0
    assert measured("sharpness", sequence) is None
    assert np.isnan(laplacian_variance(sharp, np.array([200.0, 200, 300, 300])))
    assert np.isnan(laplacian_variance(sharp, np.full(4, np.nan)))


def test_people_without_track_or_head_are_unknown_not_fast():
    sequence = moving([9.0, 9.0])
    sequence.truth.head_boxes[1] = np.nan
    speed = measured("speed", sequence)
    assert np.isnan(speed[1]).all()
    assert not np.isnan(speed[0]).any()
    untracked = sequence_of([(frame, NO_TRACK, standing()) for frame in range(2)])
    assert measured("speed", untracked) is None and measured("box_motion", untracked) is None
    assert Footage(untracked).neighbour(1).tolist() == [-1, -1]
