"""A clean small data set has nothing to report; every kind of damage planted in it is found and named."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.datasets.check import check_data, recognised
from harness.datasets.findings import KINDS
from harness.errors import DataError, UsageError
from harness.skeletons import POSETRACK17

REAL = Path(__file__).parents[2] / "shared" / "real"
FIRST, SECOND = "000342_mpii_test", "000345_bonn_test"
LABELS = f"annotations/val/{FIRST}.json"
NOSE = 3 * POSETRACK17.index("nose")


def label_file(video):
    keypoints = [[10 + 2 * joint, 20 + joint, 1] for joint in range(17)]
    keypoints[3] = keypoints[4] = [0, 0, 0]
    images = [
        {"id": 100 + at, "file_name": f"images/val/{video}/{at:06d}.jpg", "is_labeled": True, "nframes": 3,
         "vid_id": video[:6], "width": 64, "height": 48, "ignore_regions_x": [[1, 9, 9]],
         "ignore_regions_y": [[1, 1, 9]]}
        for at in range(3)
    ]  # fmt: skip
    people = [
        {"id": 10 * at + track, "image_id": 100 + at, "category_id": 1, "track_id": track, "num_keypoints": 15,
         "keypoints": [value + (track if value > 1 else 0) for point in keypoints for value in point],
         "bbox": [8, 15, 40, 30], "bbox_head": [9, 18, 6, 5]}
        for at in range(3) for track in range(2)
    ]  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}
    return {"images": images, "annotations": people, "categories": [category]}


@pytest.fixture
def root(tmp_path):
    picture = cv2.imencode(".jpg", np.zeros((48, 64, 3), dtype=np.uint8))[1].tobytes()
    (tmp_path / "annotations" / "val").mkdir(parents=True)
    for video in (FIRST, SECOND):
        (tmp_path / "annotations" / "val" / f"{video}.json").write_text(json.dumps(label_file(video)))
        (tmp_path / "images" / "val" / video).mkdir(parents=True)
        for at in range(3):
            (tmp_path / "images" / "val" / video / f"{at:06d}.jpg").write_bytes(picture)
    return tmp_path


def found(root, **options):
    report = check_data(root, **({"images": "decode"} | options))
    return report, {kind: count for kind, count in report.count_of_kinds().items() if kind != "sequence-count"}


def test_a_clean_data_set_has_no_findings_and_is_counted(root):
    report, kinds = found(root)
    assert kinds == {} and report.usable and report.name == "posetrack18"
    facts = report.splits["val"]
    assert (facts["sequences"], facts["frames"], facts["people"], facts["joints"]) == (2, 6, 12, 180)
    assert (facts["head_boxes"], facts["ignore_regions"], facts["joints_by_name"]["nose"]) == (12, 6, 12)
    assert facts["fingerprint"].startswith("sha256:")
    assert json.loads(json.dumps(report.as_plain()))["findings"][0]["kind"] == "sequence-count"


def image(**changes):
    return lambda content: content["images"][1].update(changes)


def person(**changes):
    return lambda content: content["annotations"][1].update(changes)


def joint(*values, at=NOSE):
    def change(content):
        content["annotations"][1]["keypoints"][at : at + 3] = values

    return change


def each(change, key="annotations"):
    return lambda content: [change(record) for record in content[key]]


DAMAGE = {
    "image-id-repeated": (lambda content: content.update(
        json.loads(json.dumps(content).replace('d": 101', 'd": 100'))), "frame 1"),
    "image-repeated": (image(file_name=f"images/val/{FIRST}/000000.jpg"), "frame 1"),
    "image-elsewhere": (image(file_name=f"../{FIRST}/000001.jpg"), "frame 1"),
    "several-videos": (image(file_name=f"images/val/{SECOND}/000001.jpg"), "frame 1"),
    "frame-number": (image(file_name=f"images/val/{FIRST}/010001.jpg"), "frame 1"),
    "frame-order": (lambda content: content["images"].reverse(), "frame 1"),
    "frame-gap": (image(file_name=f"images/val/{FIRST}/000007.jpg"), "frame 1"),
    "sizes-differ": (image(width=65), "images"),
    "frames-listed": (each(lambda record: record.update(nframes=9), "images"), "images"),
    "sequence-unlabelled": (each(lambda record: record.update(is_labeled=False), "images"), "images"),
    "people-unlabelled": (image(is_labeled=False), "frame 1"),
    "labelled-empty": (lambda content: content.update(annotations=content["annotations"][:2]), "frame 1"),
    "region-corners": (image(ignore_regions_x=[[1, 2]], ignore_regions_y=[[1, 2]]), "frame 1, ignore region 0"),
    "region-flat": (image(ignore_regions_x=[[1, 2, 3]], ignore_regions_y=[[1, 2, 3]]), "frame 1, ignore region 0"),
    "region-outside": (image(ignore_regions_x=[[70, 80, 80]], ignore_regions_y=[[1, 2, 9]]),
                       "frame 1, ignore region 0"),
    "track-missing": (lambda content: content["annotations"][1].pop("track_id"), "frame 0, person 1"),
    "track-range": (person(track_id=10_000), "frame 0, person 1"),
    "track-repeated": (person(track_id=0), "frame 0, person 1"),
    "head-missing": (lambda content: content["annotations"][1].pop("bbox_head"), "frame 0, person 1"),
    "head-empty": (person(bbox_head=[9, 18, 0, 5]), "frame 0, person 1"),
    "box-missing": (lambda content: content["annotations"][1].pop("bbox"), "frame 0, person 1"),
    "box-empty": (person(bbox=[8, 15, 0, 0]), "frame 0, person 1"),
    "box-outside": (person(bbox=[64, 15, 9, 9]), "frame 0, person 1"),
    "points-missing": (lambda content: content["annotations"][1].pop("keypoints"), "frame 0, person 1"),
    "points-empty": (person(keypoints=[0] * 51, num_keypoints=0), "frame 0, person 1"),
    "person-repeated": (lambda content: content["annotations"][1].update(
        keypoints=content["annotations"][0]["keypoints"]), "frame 0, person 1"),
    "annotation-id-repeated": (person(id=0), "annotation 1"),
    "category-other": (person(category_id=2), "annotation 1 (id 1)"),
    "count-differs": (person(num_keypoints=4), "annotation 1 (id 1)"),
    "joint-outside": (joint(80, 20, 1), "frame 0, person 1, nose"),
    "joint-at-corner": (joint(0, 0, 1), "frame 0, person 1, nose"),
    "joint-on-axis": (joint(0, 20, 1), "frame 0, person 1, nose"),
    "third-value": (joint(10, 20, 0.7), "frame 0, person 1, nose"),
    "ear-annotated": (joint(10, 20, 1, at=9), "frame 0, person 1, left_ear"),
}  # fmt: skip

#: Findings that a damage brings along, besides the one it is named for.
ALSO = {
    "image-id-repeated": {"image-repeated", "person-repeated", "track-repeated", "frame-gap"},
    "image-repeated": {"frame-gap"},
    "image-elsewhere": {"several-videos", "images-missing"},
    "frame-number": {"frame-gap", "frame-order", "images-missing"},
    "frame-order": {"frame-first"},
    "frame-gap": {"frame-order", "images-missing"},
    "sizes-differ": {"image-size"},
    "sequence-unlabelled": {"people-unlabelled"},
    "points-missing": {"count-differs"},
    "ear-annotated": {"count-differs"},
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_named(root, kind):
    change, record = DAMAGE[kind]
    content = label_file(FIRST)
    change(content)
    (root / LABELS).write_text(json.dumps(content))
    report, kinds = found(root)
    findings = [finding for finding in report.findings if finding.kind == kind]
    assert findings and findings[0].file == LABELS and findings[0].record == record, report.findings
    assert set(kinds) - {kind} <= ALSO.get(kind, set()), report.findings
    assert report.usable is (KINDS[kind][0] != "error")
    assert str(findings[0]).startswith(f"{KINDS[kind][0]}: {LABELS}: {record}: ")


def test_files_that_cannot_be_read_do_not_hide_the_others(root):
    (root / LABELS).write_text('{"images": [')
    (root / f"annotations/val/{SECOND}.json").write_text(json.dumps(label_file(FIRST)))
    report, kinds = found(root)
    assert kinds == {"malformed": 1, "file-name": 1} and not report.usable


def test_damaged_images_are_found(root):
    folder = root / "images" / "val" / FIRST
    content = (folder / "000000.jpg").read_bytes()
    (folder / "000000.jpg").write_bytes(content[:-40])
    (folder / "000001.jpg").write_bytes(b"")
    (folder / "000002.jpg").unlink()
    small = cv2.imencode(".jpg", np.zeros((4, 6, 3), dtype=np.uint8))[1].tobytes()
    (root / "images" / "val" / SECOND / "000001.jpg").write_bytes(small)
    report, kinds = found(root)
    assert kinds == {"image-broken": 2, "images-missing": 1, "image-size": 1} and not report.usable
    assert [finding.file.rpartition("/")[2] for finding in report.findings if finding.kind == "image-broken"] == [
        "000000.jpg", "000001.jpg",
    ]  # fmt: skip
    assert found(root, images="names")[1] == {"images-missing": 1} and found(root, images="none")[1] == {}


def test_no_images_at_all_leave_the_labels_usable(root):
    (root / "images").rename(root / "elsewhere")
    report, kinds = found(root)
    assert kinds == {"images-none": 1} and report.usable


def test_findings_of_the_whole_split(root):
    for video in (FIRST, SECOND):
        content = label_file(video)
        for record in content["annotations"]:
            record["keypoints"][NOSE : NOSE + 3] = [0, 0, 0]
            record["num_keypoints"] = 14
        (root / "annotations" / "val" / f"{video}.json").write_text(json.dumps(content))
    (root / "annotations" / "train").mkdir()
    (root / "annotations" / "train" / f"{FIRST}.json").write_text(json.dumps(label_file(FIRST)))
    report, kinds = found(root)
    assert kinds == {"split-shared": 1, "joint-never": 1} and not report.usable
    assert found(root, splits=("val",))[1] == {"joint-never": 1}


def test_odd_names_are_found(root):
    (root / LABELS).rename(root / "annotations" / "val" / "other.json")
    assert found(root)[1] == {"file-name": 1}
    content = json.dumps(label_file(SECOND)).replace(SECOND, "dance")
    (root / f"annotations/val/{SECOND}.json").write_text(content)
    assert found(root, images="none")[1] == {"file-name": 2, "folder-name": 1}


def test_layouts_are_recognised(root, tmp_path):
    assert recognised(root) == "posetrack18"
    (root / "annotations").rename(root / "posetrack_data")
    assert recognised(root) == "posetrack21" and found(root)[1] == {}
    (root / "posetrack_data").rename(root / "unknown")
    with pytest.raises(DataError, match="no merged label file here"):
        recognised(root)
    (root / "annotations" / "val").mkdir(parents=True)
    (root / "annotations" / "val" / "a.json").write_text('{"annolist": []}')
    assert recognised(root) == "posetrack17" and found(root)[1]["no-frames"] == 1
    (root / "annotations" / "val" / "a.json").write_text("{")  # where nothing can be read, the place decides
    assert recognised(root) == "posetrack18"


def test_a_coco_conversion_of_posetrack17_is_recognised(root):
    content = label_file(FIRST)
    for number, record in enumerate(content["images"], 1):
        record["file_name"] = f"bonn/{FIRST}/{number:08d}.jpg"
    for record in content["annotations"]:
        record["head_box"] = [9, 18, 15, 23]
        del record["bbox_head"]
    target = root / "17" / "images_renamed" / "bonn" / FIRST
    target.mkdir(parents=True)
    for number in range(3):
        (root / "images" / "val" / FIRST / f"{number:06d}.jpg").rename(target / f"{number + 1:08d}.jpg")
    for place in ("posetrack_val.json", "annotations/posetrack_val.json"):
        path = root / "17" / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        report, kinds = found(root / "17")
        assert report.name == "posetrack17" and kinds == {} and report.splits["val"]["head_boxes"] == 6
        path.unlink()
    (root / "posetrack_val.json").write_text(json.dumps(label_file(SECOND)))
    (root / "annotations").rename(root / "other")
    assert recognised(root) == "posetrack18"


def test_what_is_not_there_is_said(root):
    with pytest.raises(DataError, match="no such folder"):
        check_data(root / "nowhere")
    with pytest.raises(UsageError, match="unknown data set"):
        check_data(root, name="posetrak")
    report, kinds = found(root, name="posetrack21", splits=("train",))
    assert kinds == {"no-labels": 1} and not report.usable
    report, kinds = found(root / "images", name="posetrack18")
    assert kinds == {"no-labels": 1} and "looked for annotations/*, " in report.findings[0].found


def test_a_test_split_without_labels_and_images_is_missing(root):
    """Every image folder is of a video that the val labels name, so none is left for the test split."""
    report, kinds = found(root, name="posetrack17", splits=("test",))
    assert kinds == {"no-labels": 1} and report.findings[0].record == "split test"


def test_two_videos_of_one_name_in_a_merged_file_are_malformed(root):
    content = label_file(FIRST)
    content["images"][2]["file_name"] = f"images/elsewhere/{FIRST}/000002.jpg"
    (root / "merged").mkdir()
    (root / "merged" / "posetrack_val.json").write_text(json.dumps(content))
    report, kinds = found(root / "merged", name="posetrack18", images="none")
    assert kinds["malformed"] == 1 and not report.usable
    (finding,) = (finding for finding in report.findings if finding.kind == "malformed")
    assert finding.record == "split val" and f"two image folders are named '{FIRST}'" in finding.found


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real samples beside the checkout")
def test_the_real_samples_have_the_findings_they_deserve():
    report, kinds = found(REAL / "posetrack18_sample")
    assert kinds == {"frames-listed": 3, "joint-on-axis": 1} and report.usable
    report, kinds = found(REAL / "bonn_multiperson")
    assert kinds == {
        "images-none": 1, "images-missing": 14, "folder-name": 30, "head-missing": 2791, "box-empty": 11,
        "joint-never": 2, "frame-first": 30,
    }  # fmt: skip
    assert report.usable
