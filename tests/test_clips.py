"""Which frames and boxes a clip holds: the published rules at the ends of a video, unlisted frames, gaps, tracks."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.clips import cut_clips, frames_on_disk, support_indices
from harness.datasets import NO_TRACK, DataSet, Frame, Sequence, Truth
from harness.errors import DataError, UsageError

DATA = Path(__file__).parent / "data" / "crops"


def sequence_of(indices, *, base=0, width=6):
    frames = tuple(Frame(f"images/v/{index + base:0{width}d}.jpg", index, index) for index in indices)
    empty = Truth(
        frame=np.empty(0, np.int64), joints=np.empty((0, 17, 2)), annotated=np.empty((0, 17), bool),
        boxes=np.empty((0, 4)), head_boxes=np.empty((0, 4)), track_ids=np.empty(0, np.int64),
        person_ids=np.empty(0, np.int64), has_points=np.empty(0, bool),
    )  # fmt: skip
    return Sequence("v", frames, empty)


def dataset_of(root, sequence):
    return DataSet("made", "val", root, (sequence,), "sha256:0")


def cut(root, sequence, frame, *, tracks=None, boxes=None, **options):
    count = len(frame)
    boxes = np.tile([10.0, 20.0, 30.0, 60.0], (count, 1)) + np.arange(count)[:, None] if boxes is None else boxes
    return cut_clips(
        dataset_of(root, sequence),
        sequence,
        frame=np.array(frame, dtype=np.int64),
        boxes=np.asarray(boxes, dtype=float).reshape(count, 4),
        box_scores=np.linspace(1, 0.5, count),
        track_ids=np.array([NO_TRACK] * count if tracks is None else tracks, dtype=np.int64),
        **options,
    )


def shown(clips):
    return [[int(Path(clips.images[image]).stem) for image in row] for row in clips.support]


def test_fami_rule_is_that_of_the_released_code():
    for row in json.loads((DATA / "fami_frame_sampling.json").read_text())["rows"]:
        first = 1 if row["numbering"] == "posetrack17" else 0
        last = first + row["nframes"] - 1
        found = support_indices(row["key"], (-2, -1, 1, 2), first=first, last=last, ends="fami")
        assert found == row["supports"], row


def test_dcpose_rule_is_that_of_the_released_code():
    for row in json.loads((DATA / "dcpose_frames.json").read_text()):
        if row["distance"] != 2:
            continue
        first = 0 if row["pt18"] else 1
        last, key = first + row["nframes"] - 1, row["current"]
        expected = [key - (row["prev_choices"] or [0])[0], key + (row["next_choices"] or [0])[0]]
        assert support_indices(key, (-1, 1), first=first, last=last, ends="key") == expected, row


def test_unknown_rule_names_the_known_ones():
    with pytest.raises(UsageError, match="clamp, key, fami"):
        support_indices(0, (1,), first=0, last=1, ends="wrap")


def test_clips_are_ordered_by_frame_and_then_as_the_boxes_came(tmp_path):
    clips = cut(tmp_path, sequence_of(range(4)), [2, 0, 2, 1])
    assert clips.frame.tolist() == [0, 1, 2, 2] and clips.person.tolist() == [0, 0, 0, 1]
    assert clips.boxes[:, 0].tolist() == [11.0, 13.0, 10.0, 12.0]
    assert shown(clips) == [[0], [1], [2], [2]]


def test_support_is_in_the_order_of_the_method_and_every_image_is_listed_once(tmp_path):
    clips = cut(tmp_path, sequence_of(range(5)), [0, 2], support=(0, -1, 1))
    assert shown(clips) == [[0, 0, 1], [2, 1, 3]]
    assert len(clips.images) == len(set(clips.images)) == 4


def test_no_support_means_no_images(tmp_path):
    clips = cut(tmp_path, sequence_of(range(5)), [0, 2], support=())
    assert clips.images == () and clips.support.shape == (2, 0)


def test_frames_that_the_labels_leave_out_but_the_folder_holds_are_used(tmp_path):
    folder = tmp_path / "images" / "v"
    folder.mkdir(parents=True)
    for number in (4, 5, 6, 7, 8):
        (folder / f"{number:08d}.jpg").touch()
    (folder / "00000006.png").touch()
    (folder / "cover.jpg").touch()
    sequence = sequence_of([4, 6], base=1, width=8)
    assert sorted(frames_on_disk(dataset_of(tmp_path, sequence), sequence)) == [3, 4, 5, 6, 7]
    clips = cut(tmp_path, sequence, [0, 1], support=(-1, 0, 2))
    assert shown(clips) == [[4, 5, 7], [6, 7, 8]]


def test_gap_is_an_error_unless_asked_otherwise(tmp_path):
    sequence = sequence_of([0, 1, 5])
    with pytest.raises(DataError, match=r"v: frame 2 \(support of frame 1\) has no image, neighbours are 000001.jpg"):
        cut(tmp_path, sequence, [1], support=(0, 1))
    assert shown(cut(tmp_path, sequence, [1], support=(0, 3), missing="nearest")) == [[1, 5]]
    assert shown(cut(tmp_path, sequence, [1], support=(0, 1), missing="key")) == [[1, 1]]


def test_box_of_the_same_track_in_the_previous_frame(tmp_path):
    boxes = [[0, 0, 10, 10], [50, 0, 60, 10], [52, 0, 62, 10], [90, 0, 99, 9]]
    clips = cut(
        tmp_path, sequence_of(range(3)), [0, 0, 1, 1], tracks=[7, 8, 8, NO_TRACK], boxes=boxes,
        support=(-1,), box_offset=-1,
    )  # fmt: skip
    assert clips.boxes[:, 0].tolist() == [0.0, 50.0, 50.0, 90.0]
    assert shown(clips) == [[0], [0], [0], [1]], "where there is no previous box, the current frame is shown"


@pytest.mark.parametrize("box", [[10, 0, 5, 9], [0, 0, np.nan, 9], [0, 0, np.inf, 9]])
def test_box_that_is_none_is_named(tmp_path, box):
    with pytest.raises(DataError, match=r"v, frame images/v/000001.jpg: box"):
        cut(tmp_path, sequence_of(range(3)), [1], boxes=[box])


def test_image_outside_the_data_root_is_refused(tmp_path):
    sequence = Sequence("v", (Frame("../../secret/000000.jpg", 0, 0),), sequence_of([0]).truth)
    with pytest.raises(DataError, match="leaves the data root"):
        cut(tmp_path, sequence, [0])
