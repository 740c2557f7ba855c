import json
from pathlib import Path

import numpy as np
import pytest

from harness.boxes import box_recall, boxes_from_file, boxes_from_truth, overlap
from harness.datasets import DataSet, open_dataset
from harness.datasets.layouts import read_sequence
from harness.errors import DataError
from harness.files import sha256_of
from harness.skeletons import POSETRACK17

REAL = Path(__file__).parents[2] / "shared" / "real"


def person(image_id, bbox=None, joints=((10, 20), (30, 60))):
    keypoints = [number for x, y in joints for number in (x, y, 1)] + [0] * 3 * (17 - len(joints))
    return {"image_id": image_id, "id": 1, "track_id": 4, "keypoints": keypoints} | ({"bbox": bbox} if bbox else {})


def dataset(tmp_path, people, name="posetrack18"):
    frames = [
        {
            "id": number,
            "file_name": f"images/val/v/{number:06d}.jpg",
            "is_labeled": number < 2,
            "width": 100,
            "height": 80,
        }
        for number in range(3)
    ]
    category = {"id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}
    path = tmp_path / "v.json"
    path.write_text(json.dumps({"images": frames, "annotations": people, "categories": [category]}))
    return DataSet(name, "val", tmp_path, (read_sequence(path),), "sha256:0")


def test_truth_boxes_are_clipped_like_hrnets(tmp_path):
    people = [person(0, [10, 20, 30, 40]), person(0, [-6, 5, 30, 200]), person(0, [150, 5, 10, 10])]
    boxes = boxes_from_truth(dataset(tmp_path, people))
    assert boxes.boxes.tolist() == [[10, 20, 39, 59], [0, 5, 29, 79]]
    assert boxes.scores.tolist() == [1, 1] and boxes.track_ids.tolist() == [4, 4] and boxes.source == "truth"


def test_boxes_from_joints_where_the_file_has_none(tmp_path):
    # extent 20 x 40 about (20, 40): 1.3 gives 26 x 52, and one pixel less after clipping
    eighteen = boxes_from_truth(dataset(tmp_path, [person(0), person(1, [0, 0, 0, 0])]))
    assert eighteen.boxes.tolist() == [[7, 14, 32, 65]] * 2
    # PoseTrack17 counts the last pixel: 21 x 41 about (20.5, 40.5), enlarged by 1.2
    seventeen = boxes_from_truth(dataset(tmp_path, [person(0)], name="posetrack17"))
    assert np.allclose(seventeen.boxes, [[20.5 - 12.6, 40.5 - 24.6, 20.5 + 11.6, 40.5 + 23.6]])


def test_people_without_joints_need_a_box_and_unlabelled_frames_a_wish(tmp_path):
    data = dataset(tmp_path, [person(0, [1, 1, 9, 9], joints=()), person(1, joints=()), person(2)])
    assert boxes_from_truth(data).frame.tolist() == [0]
    assert boxes_from_truth(data, unlabelled=True).frame.tolist() == [0, 2]


def detector_file(tmp_path, entries):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(entries))
    return path


def entry(frame, score=0.9, bbox=(1, 2, 30, 40), **changes):
    name = {"image_name": f"val/v/{frame:06d}.jpg", "nframes": 3, "frame_id": frame}
    return name | {"bbox": list(bbox), "score": score, "category_id": 1} | changes


def test_both_forms_of_detector_files(tmp_path):
    data = dataset(tmp_path, [])
    by_name = [entry(1), entry(0, 0.2), entry(0, 0.19), entry(0, category_id=2), entry(2)]
    found = boxes_from_file(detector_file(tmp_path, by_name), data)
    assert found.frame.tolist() == [0, 1] and found.scores.tolist() == [0.2, 0.9]
    assert found.boxes.tolist() == [[1, 2, 31, 42]] * 2
    assert found.source == "boxes.json (score >= 0.2)" and found.file_sha256 == sha256_of(tmp_path / "boxes.json")
    by_id = [
        {"image_id": item["frame_id"]} | {key: item[key] for key in ("bbox", "score", "category_id")}
        for item in by_name
    ]
    same = boxes_from_file(detector_file(tmp_path, by_id), data)
    assert same.sha256 == found.sha256 and same.file_sha256 != found.file_sha256
    assert boxes_from_file(detector_file(tmp_path, by_name), data, unlabelled=True).frame.tolist() == [0, 1, 2]
    assert len(boxes_from_file(detector_file(tmp_path, by_name), data, minimum_score=0)) == 3


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"bbox": []}, "expected a list of objects"),
        ([3], "expected a list of objects"),
        ([entry(0), {"image_id": 0, "bbox": [1, 2, 3, 4]}], r"box 1 \(0\): key 'score' is missing"),
        ([entry(0, bbox=(1, 2, 3))], "bbox has 3 numbers, expected 4"),
        ([entry(0, bbox=(1, 2, -3, 4))], "negative width"),
        ([entry(0, score="high")], "score holds 'high'"),
        ([entry(0, score=float("nan"))], "score holds nan"),
        ([entry(0), entry(9)], r"box 1 \(val/v/000009.jpg\): belongs to no frame .*1 of 2"),
        ([{"image_id": 55, "bbox": [1, 2, 3, 4], "score": 1}], "belongs to no frame"),
    ],
)
def test_unusable_files_are_named(tmp_path, entries, message):
    with pytest.raises(DataError, match=message):
        boxes_from_file(detector_file(tmp_path, entries), dataset(tmp_path, []))


def test_boxes_of_other_frames_can_be_ignored_but_not_all(tmp_path):
    data = dataset(tmp_path, [])
    found = boxes_from_file(detector_file(tmp_path, [entry(0), entry(9)]), data, ignore_other_frames=True)
    assert found.frame.tolist() == [0]
    with pytest.raises(DataError, match="belongs to no frame"):
        boxes_from_file(detector_file(tmp_path, [entry(9)]), data, ignore_other_frames=True)


def test_recall_is_one_to_one_and_by_score(tmp_path):
    data = dataset(tmp_path, [person(0, [10, 10, 21, 21]), person(0, [10, 10, 21, 31]), person(1, [10, 10, 21, 21])])
    # truth after clipping: 20 x 20, 20 x 30 and 20 x 20; two boxes on the first person count once
    twice = [entry(0, 0.9, (10, 10, 20, 20)), entry(0, 0.8, (60, 60, 20, 20))]
    assert box_recall(boxes_from_file(detector_file(tmp_path, twice), data), data) == 1 / 3
    both = [entry(0, 0.9, (10, 10, 20, 20)), entry(0, 0.8, (10, 10, 20, 20)), entry(1, 0.5, (20, 10, 20, 20))]
    boxes = boxes_from_file(detector_file(tmp_path, both), data)
    assert box_recall(boxes, data) == 2 / 3  # the second box still overlaps the taller person by 2/3
    assert box_recall(boxes, data, threshold=0.3) == 1.0
    assert box_recall(boxes_from_truth(data), data) == 1.0
    assert np.isnan(box_recall(boxes, dataset(tmp_path, [])))


def test_overlap_of_empty_boxes_is_zero():
    assert overlap(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]
    assert overlap(np.zeros((0, 4)), np.zeros((2, 4))).shape == (0, 2)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real samples beside the checkout")
def test_the_real_detector_file_finds_most_of_the_real_people():
    data = open_dataset("posetrack18", "val", root=REAL / "posetrack18_sample")
    path = REAL / "posetrack18_sample" / "annotations" / "test_posetrack18_human_detections.json"
    entries = json.loads(path.read_text())
    boxes = boxes_from_file(path, data)
    assert len(boxes) == sum(item["score"] >= 0.2 for item in entries)
    assert len(boxes_from_truth(data)) == 14
    assert box_recall(boxes, data) > 0.7
