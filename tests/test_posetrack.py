"""The three readers over small folders made here, and over the real samples beside the checkout where there are any."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.datasets import Frame, open_dataset
from harness.datasets.fingerprint import fingerprint
from harness.datasets.images import image_size, images_fingerprint, missing_images, relocated, without
from harness.datasets.label_files import read_folder
from harness.datasets.posetrack21 import read_posetrack21
from harness.errors import DataError, UsageError
from harness.skeletons import POSETRACK17

REAL = Path(__file__).parents[2] / "shared" / "real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the real samples beside the checkout")
VIDEOS = ("000342_mpii_test", "000001_bonn_test")


def keypoints(*third):
    values = [*third, *[1] * (17 - len(third))]
    return [number for joint, value in enumerate(values) for number in (joint + 1, 5, value)]


def labels(images, **changes):
    """One person in the first of the named images; frame ids 0, 1 ..."""
    person = {"image_id": 0, "id": 1, "track_id": 0, "keypoints": keypoints(), "bbox_head": [1, 1, 4, 4]} | changes
    frames = [{"id": number, "file_name": name, "is_labeled": number == 0} for number, name in enumerate(images)]
    category = {"id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}
    return {"images": frames, "annotations": [person], "categories": [category]}


def annolist(names, points):
    frames = [{"image": [{"name": name}], "is_labeled": [0], "annorect": []} for name in names]
    frames[0] |= {"is_labeled": [1], "annorect": [{"track_id": [0], "annopoints": [{"point": points}]}]}
    return {"annolist": frames}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def touch(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.fixture
def posetrack18(tmp_path):
    for video in VIDEOS:
        images = [f"images/val/{video}/{number:06d}.jpg" for number in range(3)]
        write(tmp_path / "annotations" / "val" / f"{video}.json", labels(images))
        touch(tmp_path, images)
    return tmp_path


def test_posetrack18_counts_from_0_and_knows_no_occlusion(posetrack18):
    dataset = open_dataset("posetrack18", "val", root=posetrack18)
    assert [sequence.name for sequence in dataset.sequences] == sorted(VIDEOS)
    sequence = dataset.sequences[0]
    assert [frame.index for frame in sequence.frames] == [0, 1, 2] and sequence.labelled.tolist() == [
        True,
        False,
        False,
    ]
    assert sequence.truth.visible is None and dataset.frame_count == 6
    assert dataset.image_path(sequence.frames[0]).is_file() and missing_images(dataset) == {}


def test_posetrack18_falls_back_to_the_merged_file(tmp_path):
    images = [f"images/val/{video}/000007.jpg" for video in VIDEOS]
    write(tmp_path / "annotations" / "posetrack18_val.json", labels(images))
    dataset = open_dataset("posetrack18", "val", root=tmp_path)
    assert [(len(sequence.frames), len(sequence.truth)) for sequence in dataset.sequences] == [(1, 0), (1, 1)]
    assert dataset.sequences[0].frames[0].index == 7


def test_posetrack17_counts_from_1_and_finds_renamed_images(tmp_path):
    names = ["images/bonn/a/00000001.jpg", "images/bonn/a/00000002.jpg"]
    points = [{"id": [0], "x": [4], "y": [5], "is_visible": [1]}, {"id": [1], "x": [0], "y": [0], "is_visible": [1]}]
    write(tmp_path / "annotations" / "val" / "a.json", annolist(names, points))
    touch(tmp_path, [name.replace("images", "images_renamed") for name in names])
    dataset = open_dataset("posetrack17", "val", root=tmp_path)
    frame = dataset.sequences[0].frames[0]
    assert frame == Frame("images_renamed/bonn/a/00000001.jpg", index=0, image_id=1, labelled=True)
    assert dataset.sequences[0].truth.annotated.sum() == 2 and dataset.sequences[0].truth.visible is None
    assert missing_images(dataset) == {}


def test_posetrack17_occlusion_is_known_for_all_videos_or_for_none(tmp_path):
    for video, flag in (("a", 0), ("b", 1)):
        point = {"id": [0], "x": [4], "y": [5], "is_visible": [flag]}
        write(tmp_path / "annotations" / "val" / f"{video}.json", annolist([f"images/x/{video}/1.jpg"], [point]))
    first, second = open_dataset("posetrack17", "val", root=tmp_path).sequences
    assert first.truth.visible.sum() == 0 and second.truth.visible.sum() == 1


def test_posetrack17_conversion_of_detect_and_track(tmp_path):
    content = labels(["bonn/a/00000001.jpg", "bonn/a/00000002.jpg"], head_box=[1, 2, 3, 4])
    del content["annotations"][0]["bbox_head"]
    write(tmp_path / "posetrack_val.json", content)
    touch(tmp_path, ["images_renamed/bonn/a/00000001.jpg"])
    (sequence,) = open_dataset("posetrack17", "val", root=tmp_path).sequences
    assert sequence.frames[0].image == "images_renamed/bonn/a/00000001.jpg" and sequence.frames[1].index == 1
    assert sequence.truth.head_boxes.tolist() == [[1, 2, 3, 4]]


def test_posetrack21_joints_are_positive_and_zero_means_occluded(tmp_path):
    numbers = keypoints(1, 0, 1)
    numbers[6] = 0  # the third joint lies on x = 0
    write(tmp_path / "posetrack_data" / "val" / "a.json", labels(["images/val/a/000000.jpg"], keypoints=numbers))
    truth = open_dataset("posetrack21", "val", root=tmp_path).sequences[0].truth
    assert truth.annotated[0, :4].tolist() == [True, True, False, True]
    assert truth.visible[0, :4].tolist() == [True, False, False, True]
    declared = read_posetrack21(tmp_path, "val", name="mine", visibility="two", protocol="poseval")
    assert declared.sequences[0].truth.annotated.all() and not declared.sequences[0].truth.visible.any()
    assert (declared.name, declared.protocol) == ("mine", "poseval")


def test_posetrack21_without_any_occluded_joint_has_unknown_visibility(tmp_path):
    write(tmp_path / "posetrack_data" / "val" / "a.json", labels(["images/val/a/000000.jpg"]))
    assert open_dataset("posetrack21", "val", root=tmp_path).sequences[0].truth.visible is None


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_sizes_come_from_the_first_image_where_the_labels_have_none(posetrack18, suffix):
    content = cv2.imencode(suffix, np.zeros((48, 65, 3), dtype=np.uint8))[1].tobytes()
    path = posetrack18 / f"images/val/{VIDEOS[0]}/000000.jpg"
    path.write_bytes(content)
    bonn, mpii = open_dataset("posetrack18", "val", root=posetrack18).sequences
    assert {frame.size for frame in mpii.frames} == {(65, 48)} and {frame.size for frame in bonn.frames} == {None}
    for length in range(60):  # never trips over a file that ends early
        path.write_bytes(content[:length])
        assert image_size(path) in (None, (65, 48))


def test_missing_images_are_all_found_and_can_be_left_out(posetrack18):
    (posetrack18 / "images/val/000342_mpii_test/000001.jpg").unlink()
    dataset = open_dataset("posetrack18", "val", root=posetrack18)
    missing = missing_images(dataset)
    assert {name: [frame.index for frame in frames] for name, frames in missing.items()} == {"000342_mpii_test": [1]}
    assert [sequence.name for sequence in without(dataset, missing).sequences] == ["000001_bonn_test"]
    with pytest.raises(UsageError, match="no sequence nobody"):
        without(dataset, ["nobody"])


def test_the_fingerprint_is_of_names_and_contents(posetrack18):
    folder = posetrack18 / "annotations" / "val"
    files = sorted(folder.iterdir())
    before = fingerprint(files, posetrack18)
    assert (
        before
        == fingerprint(reversed(files), posetrack18)
        == open_dataset("posetrack18", "val", root=posetrack18).fingerprint
    )
    files[0].rename(folder / "000002_mpii_test.json")
    renamed = fingerprint(sorted(folder.iterdir()), posetrack18)
    (folder / "000002_mpii_test.json").write_text("{}")
    assert len({before, renamed, fingerprint(sorted(folder.iterdir()), posetrack18)}) == 3


def test_the_fingerprint_of_images_sees_names_sizes_and_sampled_contents(posetrack18):
    dataset = open_dataset("posetrack18", "val", root=posetrack18)
    folder = posetrack18 / f"images/val/{VIDEOS[0]}"
    seen = [images_fingerprint(dataset), images_fingerprint(dataset)]
    for name, content in (("000000.jpg", b"a"), ("000000.jpg", b"b"), ("000001.jpg", b"a"), ("000002.jpg", b"a")):
        (folder / name).write_bytes(content)
        seen.append(images_fingerprint(dataset))
    (folder / "000001.jpg").unlink()
    seen.append(images_fingerprint(dataset))
    assert seen[0] == seen[1] and len(set(seen)) == len(seen) - 1


def test_what_was_looked_for_is_said(tmp_path):
    with pytest.raises(
        DataError, match=r"posetrack21 for split 'val'; looked for posetrack_data/val/\*.json, annotations/val"
    ):
        open_dataset("posetrack21", "val", root=tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        open_dataset("posetrack18", "val", root=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no split 'valid'; it has train, val, test"):
        open_dataset("posetrack18", "valid", root=tmp_path)
    with pytest.raises(UsageError, match="did you mean 'posetrack18'"):
        open_dataset("postrack18", "val", root=tmp_path)


def test_ambiguous_labels_are_refused(posetrack18):
    (posetrack18 / "annotations" / "val" / f"{VIDEOS[0]}.json.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"as .json and as .json.gz"):
        open_dataset("posetrack18", "val", root=posetrack18)
    for name in ("a", "b"):
        write(posetrack18 / f"annotations/{name}_posetrack18_train.json", labels(["images/train/a/1.jpg"]))
    with pytest.raises(DataError, match=r"several .* for split 'train': annotations/a_.*, annotations/b_.*; keep one"):
        open_dataset("posetrack18", "train", root=posetrack18)


def test_a_data_set_says_what_it_lacks(tmp_path):
    with pytest.raises(DataError, match=r"'posetrack18' needs --data-root DIR .*Registration at https://posetrack.net"):
        open_dataset("posetrack18", "val")
    nothing = {"images": [], "annotations": [], "categories": labels([])["categories"]}
    write(tmp_path / "posetrack_val.json", nothing)
    with pytest.raises(DataError, match="no sequences of split 'val' found for posetrack21; expected train, val"):
        open_dataset("posetrack21", "val", root=tmp_path)


def test_a_folder_of_labels_is_read_or_said_to_hold_none(posetrack18):
    folder = posetrack18 / "annotations/val"
    assert [sequence.name for sequence in read_folder(folder)] == sorted(VIDEOS)
    with pytest.raises(DataError, match=r"images: holds no .json or .json.gz label files"):
        read_folder(posetrack18 / "images")
    with pytest.raises(DataError, match="nowhere: no such folder; expected one label file per sequence"):
        read_folder(folder / "nowhere")


def test_posetrack21_falls_back_to_the_merged_file(tmp_path):
    write(tmp_path / "posetrack_val.json", labels([f"images/val/{video}/000002.jpg" for video in VIDEOS]))
    dataset = open_dataset("posetrack21", "val", root=tmp_path)
    assert [sequence.name for sequence in dataset.sequences] == sorted(VIDEOS)
    assert [frame.index for sequence in dataset.sequences for frame in sequence.frames] == [2, 2]
    assert [len(sequence.truth) for sequence in dataset.sequences] == [0, 1]


def test_images_are_named_as_the_disk_has_them(posetrack18):
    (sequence, _) = open_dataset("posetrack18", "val", root=posetrack18).sequences
    there = sequence.frames[0].image
    assert relocated(sequence, posetrack18, (("other/", "images/"),)).frames == sequence.frames  # none applies
    bare = replace(sequence, frames=(Frame(there.removeprefix("images/"), 0, 0),))
    for prefixes in ((("", "photos/"), ("", "images/")), (("", "x" * 300 + "/"), ("", "images/"))):
        assert relocated(bare, posetrack18, prefixes).frames[0].image == there
    assert relocated(bare, posetrack18, (("", "photos/"),)).frames[0].image == f"photos/{bare.frames[0].image}"


@pytest.mark.parametrize("name", ["../../etc/passwd.1", "/etc/1.jpg", "images/../../1.jpg"])
def test_an_image_outside_the_root_is_refused(posetrack18, name):
    dataset = open_dataset("posetrack18", "val", root=posetrack18)
    with pytest.raises(DataError, match="leaves the data root"):
        dataset.image_path(Frame(name, 0, 0))


@needs_real
def test_the_real_posetrack18_sample():
    dataset = open_dataset("posetrack18", "val", root=REAL / "posetrack18_sample")
    assert (len(dataset), dataset.frame_count, sum(len(sequence.truth) for sequence in dataset.sequences)) == (3, 3, 14)
    assert missing_images(dataset) == {} and dataset.sequences[0].frames[0].size == (1920, 1080)


@needs_real
def test_the_real_bonn_sample_has_the_counts_of_its_readme():
    splits = [open_dataset("posetrack18", split, root=REAL / "bonn_multiperson") for split in ("test", "train")]
    truths = [sequence.truth for dataset in splits for sequence in dataset.sequences]
    assert sum(dataset.frame_count for dataset in splits) == 1651 and sum(map(len, truths)) == 8124
    assert sum(truth.annotated.sum() for truth in truths) == 110_387
    assert sum((truth.annotated & ~truth.visible).sum() for truth in truths) == 24_537
    assert len(missing_images(splits[0])) == 14 and "060470979" not in missing_images(splits[0])
