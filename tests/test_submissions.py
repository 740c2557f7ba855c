"""Submissions: complete, checked, and from splits that have no labels; each planted fault is found and named."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.datasets import NO_TRACK, open_dataset
from harness.datasets.check import check_data
from harness.errors import DataError
from harness.predictions import check_submission, export_json, only, submittable, truth_as_predictions, write_parquet

VIDEO = "000342_mpii_test"
LAYOUTS = ("posetrack17", "posetrack18", "posetrack21")


@pytest.fixture
def data(smoke_val: Path):
    return open_dataset("synthtrack-smoke", "val")


@pytest.fixture
def test_root(tmp_path: Path) -> Path:
    """PoseTrack18 and 17 folders of a test split: images of two videos, no labels."""
    picture = cv2.imencode(".jpg", np.full((48, 64, 3), 90, dtype=np.uint8))[1].tobytes()
    for folder, first, digits in (("18/images/test", 0, 6), ("17/images_renamed/bonn", 1, 8)):
        for video in (VIDEO, "000345_bonn_test"):
            (tmp_path / folder / video).mkdir(parents=True)
            for number in range(first, first + 3):
                (tmp_path / folder / video / f"{number:0{digits}d}.jpg").write_bytes(picture)
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_passes_its_own_check(data, tmp_path, layout):
    export_json(submittable(truth_as_predictions(data), data.sequences), data.sequences, tmp_path, layout=layout)
    assert check_submission(tmp_path, data.sequences) == ()


def test_track_ids_are_brought_below_a_thousand(data):
    predictions = truth_as_predictions(data)
    odd = replace(predictions, track_ids=predictions.track_ids * 700 - 3)
    made = submittable(odd, data.sequences)
    assert made.track_ids.min() == 0 and made.track_ids.max() < 20
    for number in range(len(data)):
        rows = made.sequence == number
        pairs = set(zip(odd.track_ids[rows].tolist(), made.track_ids[rows].tolist(), strict=True))
        assert len(pairs) == len(set(odd.track_ids[rows])) == len(set(made.track_ids[rows]))
    untracked = replace(predictions, track_ids=np.full(len(predictions), NO_TRACK))
    assert submittable(untracked, data.sequences) == untracked
    ids = np.arange(1001)
    rows = np.zeros(1001, dtype=np.int64)
    crowd = replace(only(predictions, rows), track_ids=ids, frame=ids, person=rows)
    with pytest.raises(DataError, match=r"1001 tracks, a submission may have 1000; track them again"):
        submittable(crowd, data.sequences, fill_missing=True)
    assert submittable(only(crowd, ids[1:]), data.sequences, fill_missing=True).track_ids.max() == 999
    many = replace(predictions, track_ids=np.arange(len(predictions)) * 7)
    assert len(many) > 10 and submittable(many, data.sequences).track_ids.max() < 1000


def test_sequences_without_predictions_are_named_or_filled(data, tmp_path):
    rows = np.flatnonzero(truth_as_predictions(data).sequence == 0)
    part = truth_as_predictions(replace(data, sequences=data.sequences[:1]))
    assert len(part) == len(rows) > 0
    with pytest.raises(DataError, match="1 of 2 sequences have no predictions"):
        submittable(part, data.sequences)
    export_json(submittable(part, data.sequences, fill_missing=True), data.sequences, tmp_path)
    assert check_submission(tmp_path, data.sequences) == ()
    last = json.loads((tmp_path / f"{data.sequences[1].name}.json").read_text())
    assert len(last["images"]) == len(data.sequences[1].frames) and last["annotations"] == []


def plant(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def first_person(document):
    frame = next(frame for frame in document["annolist"] if len(frame["annorect"]) > 1)
    return frame["annorect"]


FAULTS = {
    "posetrack18": {
        "expected 0 to 999": lambda document: document["annotations"][0].update(track_id=1000),
        "no track_id": lambda document: document["annotations"][0].pop("track_id"),
        "is another person's": lambda document: document["annotations"].append(document["annotations"][0]),
        "frames: 23, expected 24": lambda document: document.update(
            images=document["images"][1:],
            annotations=[item for item in document["annotations"] if item["image_id"] != document["images"][0]["id"]],
        ),
        "frame 0: image name": lambda document: document["images"][0].update(file_name="images/val/x/000000.jpg"),
        "frame 1: image id 5": lambda document: document.update(
            json.loads(json.dumps(document).replace(str(document["images"][1]["id"]), "5"))
        ),
        "no score": lambda document: document["annotations"][0].pop("scores"),
        "lies at (0, 0)": lambda document: document["annotations"][0]["keypoints"].__setitem__(slice(0, 3), [0, 0, 1]),
        "holds nan": lambda document: document["annotations"][0]["keypoints"].__setitem__(0, float("nan")),
    },
    "posetrack17": {
        "is another person's": lambda document: first_person(document)[1].update(first_person(document)[0]),
        "no score": lambda document: first_person(document)[0]["annopoints"][0]["point"][0].pop("score"),
        "frame 0: image name": lambda document: document["annolist"][0]["image"][0].update(name="images/a/b/1.jpg"),
    },
}


@pytest.mark.parametrize(("layout", "fault"), [(layout, fault) for layout in FAULTS for fault in FAULTS[layout]])
def test_planted_faults_are_found(data, tmp_path, layout, fault):
    export_json(truth_as_predictions(data), data.sequences, tmp_path, layout=layout)
    name = f"{data.sequences[0].name}.json"
    count = len(data.sequences[0].frames)
    plant(tmp_path / name, FAULTS[layout][fault])
    faults = check_submission(tmp_path, data.sequences)
    wanted = fault.replace("23", str(count - 1)).replace("24", str(count))
    assert faults and all(found.file == name for found in faults)
    assert wanted in str(faults[0]), faults


def test_missing_and_foreign_files_and_mixed_layouts_are_found(data, tmp_path):
    export_json(truth_as_predictions(data), data.sequences, tmp_path)
    first, second = (tmp_path / f"{sequence.name}.json" for sequence in data.sequences)
    other = tmp_path / "17"
    export_json(truth_as_predictions(data), data.sequences, other, layout="posetrack17")
    (other / second.name).replace(second)
    assert [fault.record for fault in check_submission(tmp_path, data.sequences)] == ["layout"]
    with pytest.raises(DataError, match="nowhere: no such folder; expected one prediction file per sequence"):
        check_submission(tmp_path / "nowhere", data.sequences)
    first.rename(tmp_path / "more.json")
    found = [str(fault) for fault in check_submission(tmp_path, data.sequences)]
    assert "is missing" in found[0] and "more.json: file: is of no sequence" in found[1]


def test_a_test_split_is_read_from_its_images(test_root):
    data = open_dataset("posetrack18", "test", root=test_root / "18")
    assert [sequence.name for sequence in data.sequences] == [VIDEO, "000345_bonn_test"]
    assert not data.has_labels and data.frame_count == 6
    frame = data.sequences[0].frames[2]
    assert (frame.index, frame.image_id, frame.size) == (2, 10003420002, (64, 48))
    assert frame.image == f"images/test/{VIDEO}/000002.jpg" and data.image_path(frame).is_file()


def test_the_test_split_of_posetrack17_is_what_no_label_names(test_root):
    root = test_root / "17"
    data = open_dataset("posetrack17", "test", root=root)
    assert [frame.index for frame in data.sequences[0].frames] == [0, 1, 2]
    before = data.fingerprint
    (root / "annotations/val").mkdir(parents=True)
    name = f"images/bonn/{VIDEO}/00000001.jpg"
    entry = {"image": [{"name": name}], "annorect": []}
    (root / "annotations/val/some_other_name.json").write_text(json.dumps({"annolist": [entry]}))
    data = open_dataset("posetrack17", "test", root=root)
    assert [sequence.name for sequence in data.sequences] == ["000345_bonn_test"] and data.fingerprint != before
    with pytest.raises(DataError, match="no labels of posetrack17 for split 'train'"):
        open_dataset("posetrack17", "train", root=root)


def test_which_videos_are_of_the_test_split_is_told_by_what_there_is(test_root):
    root = test_root / "17"
    images = [{"id": 1, "file_name": f"images_renamed/bonn/{VIDEO}/00000001.jpg"}]
    (root / "posetrack_val.json").write_text(json.dumps({"images": images, "annotations": []}))
    data = open_dataset("posetrack17", "test", root=root)  # the merged file names the other
    assert [sequence.name for sequence in data.sequences] == ["000345_bonn_test"]
    (root / "images").mkdir()
    (root / "images_renamed/bonn").rename(root / "images/test")  # a folder of the split's name is believed
    data = open_dataset("posetrack17", "test", root=root)
    assert [sequence.name for sequence in data.sequences] == [VIDEO, "000345_bonn_test"]
    assert data.sequences[0].frames[0].image == f"images/test/{VIDEO}/00000001.jpg"
    (root / f"images/test/{VIDEO}/cover.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"cover.jpg: the image name holds no frame number"):
        open_dataset("posetrack17", "test", root=root)
    with pytest.raises(DataError, match="no labels of posetrack17 for split 'test'"):
        open_dataset("posetrack17", "test", root=root / "images/test")


def test_a_test_split_is_checked_by_its_images(test_root):
    report = check_data(test_root / "18", name="posetrack18", splits=("test",), images="decode")
    assert report.findings == () and report.usable
    facts = report.splits["test"]
    assert (facts["sequences"], facts["frames"], facts["label_files"]) == (2, 6, 0)
    (test_root / f"18/images/test/{VIDEO}/000001.jpg").write_bytes(b"no picture")
    report = check_data(test_root / "18", name="posetrack18", splits=("test",), images="decode")
    assert [finding.kind for finding in report.findings] == ["image-broken"] and not report.usable


@pytest.mark.parametrize(("name", "folder"), [("posetrack18", "18"), ("posetrack17", "17")])
def test_a_test_split_is_predicted_and_exported_but_not_scored(harness, test_root, tmp_path, name, folder):
    digits, base = (6, 0) if name == "posetrack18" else (8, 1)
    boxes = [
        {"image_name": f"{VIDEO}/{number + base:0{digits}d}.jpg", "bbox": [5, 5, 30, 40], "score": 0.9}
        for number in (0, 2)
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    where = ("--dataset", name, "--data-root", test_root / folder, "--split", "test")
    method = ("--method", "mean_pose")
    refused = harness("eval", *method, *where, "--boxes", tmp_path / "boxes.json", "--results", tmp_path / "results")
    assert refused.code == 3 and "export a submission instead" in refused.err
    blind = harness("predict", *method, *where, "-o", tmp_path / "out")
    assert blind.code == 3 and "--boxes FILE" in blind.err
    done = harness("predict", *method, *where, "--boxes", tmp_path / "boxes.json", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    found = ("export", "--predictions", tmp_path / "out/predictions.parquet", *where, "--layout", name)
    made = harness(*found, "--fill-missing", "-o", tmp_path / "sent")
    assert made.code == 0 and "2 files, 6 frames" in made.err, made.err
    assert harness("export", "--check", tmp_path / "sent", *where).code == 0
    (tmp_path / "sent" / f"{VIDEO}.json").unlink()
    broken = harness("export", "--check", tmp_path / "sent", *where)
    assert broken.code == 5 and f"{VIDEO}.json: file: is missing; 3 frames expected" in broken.out


def test_export_of_a_file_and_its_wrong_uses(harness, data, tmp_path):
    part = replace(data, sequences=data.sequences[:1])
    write_parquet(truth_as_predictions(part), tmp_path / "p.parquet")
    given = ("export", "--predictions", tmp_path / "p.parquet", "--dataset", "synthtrack-smoke")
    answer = harness(*given, "-o", tmp_path / "out")
    assert answer.code == 0 and "1 of 2 sequences have predictions" in answer.err
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert harness(*given, "--fill-missing", "-o", tmp_path / "all").code == 0
    assert len(list((tmp_path / "all").iterdir())) == 2
    assert harness(*given).code == 2 and harness("export", "-o", tmp_path).code == 2
    assert harness(*given, "--check", tmp_path / "out").code == 2
