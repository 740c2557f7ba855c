"""The tracker on hand-made crossings, gaps and on the labelled tracks of real video."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.boxes import boxes_from_truth, enlarged, overlap, revised
from harness.datasets import NO_TRACK, DataSet, Frame, Sequence, Truth, open_dataset
from harness.errors import DataError
from harness.predictions import concatenate, truth_as_predictions
from harness.scoring import score
from harness.tracks import PATIENCE, link, track_boxes, track_predictions

BONN = Path(__file__).parents[2] / "shared" / "real" / "bonn_multiperson"
SHAPE = np.random.default_rng(4).uniform(-1, 1, (17, 2)) * [20, 50]


def dataset_of(name, frames, centres, ids, *, indices=None):
    """People of one shape whose centres (N,2) px are given for frame positions (N,)."""
    count, centres = len(frames), np.array(centres, dtype=np.float64)
    joints = centres[:, None] + SHAPE
    half = np.array([[25.0, 55.0]])
    boxes = np.hstack([centres - half, centres + half])
    truth = Truth(
        frame=np.array(frames), joints=joints, annotated=np.ones((count, 17), dtype=bool), boxes=boxes,
        head_boxes=np.hstack([centres, centres + 20]), track_ids=np.array(ids), person_ids=np.array(ids),
        has_points=np.ones(count, dtype=bool),
    )  # fmt: skip
    numbers = range(max(frames) + 1) if indices is None else indices
    items = tuple(Frame(f"{name}/{number:06d}.jpg", number, number + 1) for number in numbers)
    return DataSet("made", "val", Path("nowhere"), (Sequence(name, items, truth),), "sha256:0")


def untracked(predictions):
    return replace(predictions, track_ids=np.full(len(predictions), NO_TRACK))


def crossing():
    """Two people walk through one another; in every frame the one who came from the right stands first."""
    frames, centres = [], []
    for time in range(20):
        frames += [time, time]
        centres += [(410.0 - 20 * time, 200.0), (20.0 * time, 200.0)]
    return dataset_of("crossing", frames, centres, [7, 3] * 20)


def same_partition(ids, truth):
    pairs = set(zip(ids.tolist(), truth.tolist(), strict=True))
    return len(pairs) == len(set(ids.tolist())) == len(set(truth.tolist()))


def test_momentum_carries_people_through_one_another():
    data = crossing()
    boxes = boxes_from_truth(data)
    assert same_partition(track_boxes(boxes, data).track_ids, boxes.track_ids)
    assert same_partition(
        track_predictions(untracked(truth_as_predictions(data)), data).track_ids, data.sequences[0].truth.track_ids
    )
    centres = (boxes.boxes[:, :2] + boxes.boxes[:, 2:]) / 2
    still = link(
        boxes.frame, centres, lambda old, shift, new: overlap(boxes.boxes[old], boxes.boxes[new]), momentum=0.0
    )
    assert not same_partition(still, boxes.track_ids)


def test_assignment_is_best_in_sum_not_greedy():
    # values: the greedy choice 0-0 (0.9) leaves 1-1 (0.1), sum 1.0; the best sum is 0.8 + 0.8
    values = {0: np.zeros((0, 2)), 1: np.array([[0.9, 0.8], [0.8, 0.1]])}
    tracks = link(np.array([0, 0, 1, 1]), np.zeros((4, 2)), lambda old, shift, new: values[len(old) // 2])
    assert tracks.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("gap", "same"), [(PATIENCE, True), (PATIENCE + 1, False)])
def test_a_track_survives_a_gap_of_patience(gap, same):
    data = dataset_of("gap", [0, 1], [(100, 100), (102, 100)], [0, 0], indices=[5, 5 + gap])
    tracks = track_boxes(boxes_from_truth(data), data).track_ids
    assert (tracks[0] == tracks[1]) == same


def test_velocity_is_per_frame_of_the_video():
    # 8 px a frame: seen at 0, 4 and 12, expected to move half of 8 x 8 px
    shifts = []

    def similarity(old, shift, new):
        shifts.append(shift.copy())
        return np.ones((len(old), len(new)))

    link(np.array([0, 4, 12]), np.array([[0.0, 0], [32, 0], [96, 0]]), similarity)
    assert [item.tolist() for item in shifts] == [[], [[0, 0]], [[32, 0]]]


def test_who_is_unlike_every_track_begins_a_new_one():
    data = dataset_of("new", [0, 1, 1], [(100, 100), (400, 100), (100, 100)], [0, 1, 0])
    assert track_boxes(boxes_from_truth(data), data).track_ids.tolist() == [0, 1, 0]


def test_sequences_are_tracked_apart_and_the_source_says_so():
    first, second = crossing(), dataset_of("b", [0, 1], [(100, 100), (100, 100)], [5, 5])
    data = replace(first, sequences=first.sequences + second.sequences)
    boxes = boxes_from_truth(data)
    tracked = track_boxes(boxes, data)
    assert tracked.source == "truth, tracked by IoU" and tracked.sha256 != boxes.sha256
    assert tracked.track_ids[-2:].tolist() == [0, 0]
    both = concatenate([untracked(truth_as_predictions(part)) for part in (second, first)])
    tracks = track_predictions(both, data).track_ids
    assert tracks[:2].tolist() == [0, 0] and set(tracks[2:].tolist()) == {0, 1}


def test_predictions_without_boxes_or_some_joints_are_tracked():
    data = crossing()
    given = untracked(truth_as_predictions(data))
    present = np.random.default_rng(1).random(given.present.shape) < 0.7
    given = replace(given, boxes=np.full_like(given.boxes, np.nan), present=present)
    assert same_partition(track_predictions(given, data).track_ids, data.sequences[0].truth.track_ids)


def test_mota_follows_from_the_assigned_ids():
    data = crossing()
    given = untracked(truth_as_predictions(data))
    assert "mota" not in {row["metric"] for row in score(data, given).rows}
    assert score(data, track_predictions(given, data)).value("mota") == 100.0


def test_nobody_is_nothing():
    data = crossing()
    empty = revised(boxes_from_truth(data), note="", rows=np.zeros(0, dtype=np.int64))
    assert len(track_boxes(empty, data)) == 0 and empty.source == "truth"


def test_foreign_predictions_are_refused():
    data = crossing()
    other = dataset_of("other", [0], [(1, 1)], [0])
    with pytest.raises(DataError, match="predictions of sequence crossing, which is not in made val"):
        track_predictions(truth_as_predictions(data), other)


def test_enlarged_boxes_keep_centre_and_ids():
    boxes = boxes_from_truth(crossing())
    larger = enlarged(boxes, 1.25)
    np.testing.assert_allclose(
        larger.boxes[:, 2:] - larger.boxes[:, :2], (boxes.boxes[:, 2:] - boxes.boxes[:, :2]) * 1.25
    )
    np.testing.assert_allclose(larger.boxes.reshape(-1, 2, 2).mean(axis=1), boxes.boxes.reshape(-1, 2, 2).mean(axis=1))
    assert larger.track_ids.tolist() == boxes.track_ids.tolist()
    assert larger.source == "truth, enlarged by 1.25" and larger.sha256 != boxes.sha256


@pytest.mark.skipif(not BONN.is_dir(), reason="the real videos are not at hand")
@pytest.mark.parametrize("split", ["train", "test"])
def test_real_tracks_are_followed(split):
    """30 videos, 8,124 people in 154 tracks: changes of identity are rare."""
    data = open_dataset("posetrack18", split, root=BONN)
    given = truth_as_predictions(data)
    tracked = track_predictions(given, data).track_ids
    changes = 0
    for number in range(len(data)):
        last = {}
        for row in np.flatnonzero(given.sequence == number).tolist():
            changes += last.get(given.track_ids[row], tracked[row]) != tracked[row]
            last[given.track_ids[row]] = tracked[row]
    print(f"{split}: {changes} changes of identity among {len(given)} people")
    assert changes <= 0.004 * len(given)
