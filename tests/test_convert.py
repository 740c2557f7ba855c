"""Conversions: what comes back is what went in, in every document; what the target lacks is kept and named."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import datasets, open_dataset
from harness.datasets.convert import convert_data
from harness.datasets.label_files import read_folder
from harness.datasets.translation import image_id
from harness.datasets.writing import side
from harness.errors import DataError, HarnessError, UsageError
from harness.files import write_json
from harness.predictions import import_json
from harness.scoring import score
from harness.skeletons import POSETRACK15, POSETRACK17

HERE = Path(__file__).parent
REAL = Path(__file__).parents[2] / "shared" / "real"
POSEVAL = HERE / "data" / "poseval"
EARS = [POSETRACK17.index("left_ear"), POSETRACK17.index("right_ear")]
VIDEO = "000342_mpii_test"


def documents(folder):
    return {path.name.split(".")[0]: read(path) for path in sorted(Path(folder).glob("*.json*"))}


def read(path):
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


def tidy(document):
    """A document with regions, empty or absent, and annotations in one form: frames in order, people by frame."""
    frames = [{"ignore_regions_x": [], "ignore_regions_y": [], **frame} for frame in document["images"]]
    order = {frame["id"]: at for at, frame in enumerate(frames)}
    people = sorted(document["annotations"], key=lambda person: order[person["image_id"]])
    people = [{"scores": [], **person} for person in people]
    rest = {key: value for key, value in document.items() if key not in ("images", "annotations", "categories")}
    return {"images": frames, "annotations": people, **rest}


def plain(document):
    """An annolist document with points by id, scalars unwrapped."""

    def bare(value):
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    def person(record):
        points = (record.get("annopoints") or [{}])[0].get("point")
        points = None if points is None else {bare(p["id"]): {k: bare(v) for k, v in p.items()} for p in points}
        return {k: bare(v) for k, v in record.items() if k != "annopoints"} | {"points": points}

    return [
        {k: bare(v) for k, v in frame.items() if k not in ("annorect", "ignore_regions", "image")}
        | {"name": frame["image"][0]["name"], "regions": frame.get("ignore_regions") or [],
           "people": [person(record) for record in frame["annorect"]]}
        for frame in document["annolist"]
    ]  # fmt: skip


def same_truth(first, second, *, but=()):
    """Two sequences hold the same people, joints and regions, in every bit."""
    one, two = first.truth, second.truth
    assert [(f.index, f.labelled) for f in first.frames] == [(f.index, f.labelled) for f in second.frames]
    for name in ("frame", "annotated", "boxes", "head_boxes", "track_ids", "person_ids", "has_points", "visible"):
        if name not in but:
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    np.testing.assert_array_equal(one.joints[one.annotated], two.joints[two.annotated])
    assert {at: len(regions) for at, regions in one.ignore.items()} == {
        at: len(regions) for at, regions in two.ignore.items()
    }
    for at, regions in one.ignore.items():
        for region, other in zip(regions, two.ignore[at], strict=True):
            np.testing.assert_array_equal(region, other)


def chain(root, output, *targets, name, **options):
    """Convert from one data set to the next; the conversions."""
    made = []
    for number, target in enumerate(targets):
        made.append(convert_data(root, output / str(number), to=target, name=name, **options))
        root, name = output / str(number), target
    return made


@pytest.mark.parametrize("between", ["posetrack17", "posetrack18"])
def test_synthtrack_comes_back_in_every_field(smoke_val, tmp_path, between):
    first, _ = chain(smoke_val, tmp_path, between, "posetrack21", name="posetrack21", splits=("val",))
    before = documents(smoke_val / "posetrack_data/val")
    after = documents(tmp_path / "1" / "posetrack_data/val")
    assert list(before) == list(after) and len(before) == first.counts["sequences"] > 0
    for name in before:
        assert tidy(before[name]) == tidy(after[name])


@pytest.mark.parametrize("target", ["posetrack17", "posetrack18", "posetrack21"])
def test_synthtrack_reads_as_the_same_truth_from_every_layout(smoke_val, tmp_path, target):
    conversion = convert_data(smoke_val, tmp_path / "out", to=target, name="synthtrack", splits=("val",))
    was = datasets["synthtrack"].read(smoke_val, "val")
    now = open_dataset(target, "val", root=tmp_path / "out")
    assert now.frame_count == was.frame_count == conversion.counts["frames"] == conversion.counts["links"]
    for before, after in zip(was.sequences, now.sequences, strict=True):
        same_truth(before, after)
        assert [frame.size for frame in before.frames] == [frame.size for frame in after.frames]
        for one, two in zip(before.frames, after.frames, strict=True):
            assert now.image_path(two).read_bytes() == was.image_path(one).read_bytes()
    first = now.sequences[0].frames[0].image
    assert first.endswith("00000001.jpg" if target == "posetrack17" else "000000.jpg")
    link = (tmp_path / "out" / first).readlink()
    assert not link.is_absolute()
    assert ("person_id", "kept as a field of this name") in conversion.kept or target == "posetrack21"


def test_annolist_files_come_back_by_way_of_both_others(tmp_path):
    """The goldens of poseval as PoseTrack18 labels -> 17; these, with odd records planted, -> 18 or 21 -> 17."""
    root = tmp_path / "gold"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations/val").symlink_to(POSEVAL / "small/gt")
    convert_data(root, tmp_path / "start", to="posetrack17", name="posetrack18", images="none")
    folder = tmp_path / "start/annotations/val"
    path = sorted(folder.glob("*.json"))[0]
    content = read(path)
    del content["converted_from"]
    for frame in content["annolist"]:
        for record in (frame, *frame["annorect"]):
            record.pop("original", None)
    peopled = next(frame for frame in content["annolist"] if len(frame["annorect"]) > 1)
    point = peopled["annorect"][0]["annopoints"][0]["point"]
    point.append({"id": [99], "x": [1], "y": [2]})
    del peopled["annorect"][1]["annopoints"]
    peopled["annorect"][1]["confidence"] = "own field"
    content["annolist"][0]["image"][0]["name"] = "images/bonn/x/0001_crop.jpg"
    path.write_text(json.dumps(content))
    for target in ("posetrack18", "posetrack21"):
        there, _ = chain(
            tmp_path / "start", tmp_path / target, target, "posetrack17", name="posetrack17", images="none"
        )
        assert there.kept["annopoints", f"cannot be told from the {target} form; kept in the field 'original'"] == 1
        for name, document in documents(folder).items():
            again = read(tmp_path / target / f"1/annotations/val/{name}.json")
            assert plain(document) == plain(again)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real samples beside the checkout")
@pytest.mark.parametrize("between", ["posetrack17", "posetrack21"])
@pytest.mark.parametrize("sample", ["posetrack18_sample", "bonn_multiperson"])
def test_real_labels_come_back_in_every_field(tmp_path, sample, between):
    root = REAL / sample
    wanted = ("train", "val") if between == "posetrack21" else ("train", "val", "test")
    splits = tuple(split for split in wanted if (root / "annotations" / split).is_dir())
    there, _ = chain(root, tmp_path, between, "posetrack18", name="posetrack18", splits=splits)
    was = {split: datasets["posetrack18"].read(root, split) for split in splits}
    assert there.counts["sequences"] == sum(map(len, was.values())) > 2
    for split, dataset in was.items():
        before = documents(root / "annotations" / split)
        after = documents(tmp_path / "1/annotations" / split)
        for name, document in before.items():
            assert tidy(document) == tidy(after[name]), name
        read_there = datasets[between].read(tmp_path / "0", split)
        for one, two in zip(dataset.sequences, read_there.sequences, strict=True):
            if between == "posetrack17":
                same_truth(one, two)


@pytest.mark.parametrize("case", ["small", "ties", "rawfloat"])
def test_scores_do_not_change_with_the_layout_of_the_labels(tmp_path, case):
    (tmp_path / "18/annotations").mkdir(parents=True)
    (tmp_path / "18/annotations/val").symlink_to(POSEVAL / case / "gt")
    convert_data(tmp_path / "18", tmp_path / "17", to="posetrack17", name="posetrack18", images="none")
    before, after = (read_folder(tmp_path / name / "annotations/val") for name in ("18", "17"))
    predictions = import_json(POSEVAL / case / "pred", before)
    found = [score(sequences, predictions, protocol="poseval") for sequences in (before, after)]
    assert found[0].entries and repr(found[0].entries) == repr(found[1].entries)


def small(root, changes=lambda document: None):
    """A PoseTrack18 folder of one video with two frames and one person."""
    keypoints = [[30 + joint, 40.25 + joint, 1] for joint in range(17)]
    for ear in EARS:
        keypoints[ear] = [0, 0, 0]
    document = {
        "images": [{"id": 10 + at, "file_name": f"images/val/{VIDEO}/{at:06d}.jpg", "is_labeled": at == 1}
                   for at in range(2)],
        "annotations": [{"id": 5, "image_id": 11, "category_id": 1, "track_id": 3, "bbox_head": [328.882, 1, 93.18, 4],
                         "keypoints": [value for joint in keypoints for value in joint], "scores": []}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}],
    }  # fmt: skip
    changes(document)
    (root / "annotations/val").mkdir(parents=True, exist_ok=True)
    (root / f"annotations/val/{VIDEO}.json").write_text(json.dumps(document))
    return document


def test_the_annolist_form_by_hand(tmp_path):
    small(tmp_path / "in")
    convert_data(tmp_path / "in", tmp_path / "out", to="posetrack17", images="none")
    first, second = read(tmp_path / f"out/annotations/val/{VIDEO}.json")["annolist"]
    assert (first["image"], first["is_labeled"], first["imgnum"], first["annorect"]) == (
        [{"name": f"images/mpii/{VIDEO}/00000001.jpg"}], [0], [1], [],
    )  # fmt: skip
    person = second["annorect"][0]
    assert [person[key] for key in ("x1", "y1", "x2", "y2", "track_id")] == [[328.882], [1], [422.062], [5], [3]]
    points = person["annopoints"][0]["point"]
    assert len(points) == 15 and all(set(point) == {"id", "x", "y"} for point in points)
    ankle = next(point for point in points if point["id"] == [POSETRACK15.index("right_ankle")])
    at = POSETRACK17.index("right_ankle")
    assert (ankle["x"], ankle["y"]) == ([30 + at], [40.25 + at])


def test_ids_of_posetrack18_follow_the_name_where_it_allows(tmp_path):
    assert image_id("012834_mpii_test", 0) == 10128340000 and image_id("000342_mpiinew_x", 12) == 30003420012
    assert image_id("24621_bonn_5sec", 3) == 20246210003 and image_id("012834_mpii_test", 10_000) is None
    frames = [
        {"image": [{"name": f"images/bonn/clip/{at:08d}.jpg"}], "is_labeled": [0], "annorect": []} for at in (1, 2)
    ]
    (tmp_path / "annotations/val").mkdir(parents=True)
    for name in ("clip", VIDEO):
        (tmp_path / f"annotations/val/{name}.json").write_text(json.dumps({"annolist": frames}).replace("clip", name))
    made = convert_data(tmp_path, tmp_path / "out", to="posetrack18", images="none")
    found = documents(tmp_path / "out/annotations/val")
    assert [image["id"] for image in found[VIDEO]["images"]] == [10003420000, 10003420001]
    assert [image["id"] for image in found["clip"]["images"]] == [90000010000, 90000010001]
    assert found[VIDEO]["images"][0]["file_name"] == f"images/val/{VIDEO}/000000.jpg"
    assert [what for what, _ in made.kept] == ["image", "image id"]


def test_occlusion_goes_where_each_layout_has_a_place_for_it(tmp_path):
    hidden = POSETRACK17.index("left_knee")

    def occlude(document):
        person = document["annotations"][0]
        person["visibility"] = [2 if person["keypoints"][3 * joint + 2] else 0 for joint in range(17)]
        person["visibility"][hidden] = 1

    small(tmp_path / "in", occlude)
    chain(
        tmp_path / "in",
        tmp_path / "out",
        "posetrack21",
        "posetrack17",
        "posetrack18",
        name="posetrack18",
        images="none",
    )
    flagged = read(tmp_path / f"out/0/posetrack_data/val/{VIDEO}.json")["annotations"][0]["keypoints"]
    assert flagged[3 * hidden + 2] == 0 and flagged[3 * hidden] == 30 + hidden and sum(flagged[2::3]) == 14
    points = read(tmp_path / f"out/1/annotations/val/{VIDEO}.json")["annolist"][1]["annorect"][0]["annopoints"][0][
        "point"
    ]
    knee = POSETRACK15.index("left_knee")
    assert {point["id"][0] for point in points if point["is_visible"] == [0]} == {knee}
    last = read(tmp_path / f"out/2/annotations/val/{VIDEO}.json")["annotations"][0]
    assert set(last["keypoints"][2::3]) == {0, 1} and last["visibility"][hidden] == 1
    truth = datasets["posetrack17"].read(tmp_path / "out/1", "val").sequences[0].truth
    assert truth.visible is not None and not truth.visible[0, hidden] and truth.visible.sum() == 14


def test_what_the_target_cannot_hold_is_named_and_comes_back(tmp_path):
    def odd(document):
        person = document["annotations"][0]
        person["keypoints"][3 * EARS[0] : 3 * EARS[0] + 3] = [7, 8, 1]
        person["person_id"], document["info"] = 12, "mine"
        document["images"][0]["file_name"] = f"images/elsewhere/{VIDEO}/000000.jpg"

    before = small(tmp_path / "in", odd)
    there, _ = chain(tmp_path / "in", tmp_path, "posetrack17", "posetrack18", name="posetrack18", images="none")
    named = {row["what"]: row["records"] for row in there.rows}
    assert named["keypoints"] == named["person_id"] == named["file_name"] == 1
    after = read(tmp_path / f"1/annotations/val/{VIDEO}.json")
    assert tidy(after) == tidy(before) and after["info"] == "mine"


def test_a_joint_beside_the_axes_is_missing_in_posetrack21_and_comes_back(tmp_path):
    def outside(document):
        document["annotations"][0]["keypoints"][:3] = [-3, 8, 1]

    before = small(tmp_path / "in", outside)
    there, _ = chain(tmp_path / "in", tmp_path, "posetrack21", "posetrack18", name="posetrack18", images="none")
    assert [row["what"] for row in there.rows] == ["keypoints"]
    assert not datasets["posetrack21"].read(tmp_path / "0", "val").sequences[0].truth.annotated[0, 0]
    after = read(tmp_path / f"1/annotations/val/{VIDEO}.json")
    assert after["annotations"][0]["keypoints"] == before["annotations"][0]["keypoints"]


def test_a_merged_file_becomes_one_file_per_video(tmp_path):
    document = small(tmp_path / "in")
    other = json.loads(json.dumps(document).replace(VIDEO, "000345_bonn_test").replace('d": 1', 'd": 9'))
    merged = {key: document[key] + other[key] for key in ("images", "annotations")} | {
        "categories": other["categories"]
    }
    merged["categories"][0]["id"] = 1
    root = tmp_path / "merged"
    root.mkdir()
    (root / "posetrack_val.json").write_text(json.dumps(merged))
    convert_data(root, tmp_path / "out", to="posetrack17", name="posetrack18", images="none")
    was = datasets["posetrack18"].read(root, "val")
    now = datasets["posetrack17"].read(tmp_path / "out", "val")
    assert [sequence.name for sequence in now.sequences] == [VIDEO, "000345_bonn_test"]
    for before, after in zip(was.sequences, now.sequences, strict=True):
        same_truth(before, after)


@pytest.mark.parametrize("width", [93.18, 0.1, 7, 1 / 3, 1e-7])
def test_widths_lead_back_to_the_same_corner(width):
    for low in (0.1, 328.882, -17.3, 1919.997):
        assert low + side(low, low + width) == low + width


def test_wrong_requests_are_told(tmp_path):
    small(tmp_path / "in")
    with pytest.raises(UsageError, match="cannot convert to 'coco'; choose from posetrack17"):
        convert_data(tmp_path / "in", tmp_path / "out", to="coco")
    with pytest.raises(UsageError, match="is the data set itself"):
        convert_data(tmp_path / "in", tmp_path / "in", to="posetrack17")
    (tmp_path / "test/annotations").mkdir(parents=True)
    (tmp_path / "in/annotations/val").rename(tmp_path / "test/annotations/test")
    with pytest.raises(UsageError, match="posetrack21 has no split 'test'"):
        convert_data(tmp_path / "test", tmp_path / "out", to="posetrack21")
    small(tmp_path / "in")
    with pytest.raises(DataError, match="no such folder"):
        convert_data(tmp_path / "none", tmp_path / "out", to="posetrack17")
    with pytest.raises(DataError, match="no labels of posetrack18 for split 'train'"):
        convert_data(tmp_path / "in", tmp_path / "out", to="posetrack17", splits=("train",))
    small(tmp_path / "out")
    (tmp_path / f"out/annotations/val/{VIDEO}.json").rename(tmp_path / "out/annotations/val/other.json")
    with pytest.raises(UsageError, match="holds other label files"):
        convert_data(tmp_path / "in", tmp_path / "out", to="posetrack17")


def test_the_command_prints_what_the_target_has_no_place_for(harness, tmp_path):
    small(tmp_path / "in")
    answer = harness(
        "data", "convert", tmp_path / "in", "-o", tmp_path / "out", "--to", "posetrack17", "--format", "csv"
    )
    assert answer.code == 0 and "posetrack18 -> posetrack17: 1 sequences, 2 frames, 1 people" in answer.err
    assert answer.out.splitlines() == [
        "what,records,how",
        "category_id,1,kept as a field of this name",
        "id,3,kept as a field of this name",
        "image,2,not in the data set; no link",
    ]
    assert harness("data", "convert", tmp_path / "in", "-o", tmp_path / "in", "--to", "posetrack17").code == 2
    nothing = harness(
        "data", "convert", tmp_path / "out", "-o", tmp_path / "back", "--to", "posetrack18", "--images", "none"
    )
    assert nothing.code == 0 and nothing.out.strip() == ""


def test_values_of_an_odd_form_come_back_by_way_of_posetrack17(tmp_path):
    """Scores, a person without a track, a head box a bit too wide, and flags for joints that are not annotated."""

    def odd(document):
        person = document["annotations"][0]
        del person["track_id"]
        person |= {"score": 0.75, "scores": [joint / 32 for joint in range(17)], "visibility": [2] * 16 + [1]}
        person["bbox_head"] = [0.1, 1, 0.20000000000000004, 4]  # 0.2 leads to the same corner

    before = small(tmp_path / "in", odd)
    chain(tmp_path / "in", tmp_path, "posetrack17", "posetrack18", name="posetrack18", images="none")
    person = read(tmp_path / f"0/annotations/val/{VIDEO}.json")["annolist"][1]["annorect"][0]
    assert person["score"] == [0.75] and "track_id" not in person and person["x2"] == [0.1 + 0.2]
    points = {point["id"][0]: point for point in person["annopoints"][0]["point"]}
    nose = points[POSETRACK15.index("nose")]
    assert nose["score"] == [POSETRACK17.index("nose") / 32] and nose["is_visible"] == [1]
    assert points[POSETRACK15.index(POSETRACK17.names[16])]["is_visible"] == [0]
    assert tidy(read(tmp_path / f"1/annotations/val/{VIDEO}.json")) == tidy(before)


def test_flags_that_tell_no_joints_apart_are_kept_but_not_believed(tmp_path):
    """Every point of a PoseTrack17 file says it is visible, as in its releases: no occlusion is known of."""
    point = [{"id": [at], "x": [5 + at], "y": [6], "is_visible": [1]} for at in (0, 3)]
    frame = {
        "image": [{"name": f"images/mpii/{VIDEO}/00000001.jpg"}],
        "is_labeled": [1],
        "annorect": [{"track_id": [2], "annopoints": [{"point": point}]}],
    }
    (tmp_path / "annotations/val").mkdir(parents=True)
    (tmp_path / f"annotations/val/{VIDEO}.json").write_text(json.dumps({"annolist": [frame]}))
    chain(tmp_path, tmp_path / "out", "posetrack18", "posetrack17", name="posetrack17", images="none")
    (person,) = read(tmp_path / f"out/0/annotations/val/{VIDEO}.json")["annotations"]
    flagged = {POSETRACK17.index(POSETRACK15.names[at]) for at in (0, 3)}
    assert person["is_visible"] == [int(joint in flagged) for joint in range(17)] and "visibility" not in person
    assert plain(read(tmp_path / f"out/1/annotations/val/{VIDEO}.json")) == plain({"annolist": [frame]})


def test_images_numbered_from_0_in_posetrack17_count_from_0_elsewhere(tmp_path):
    names = [f"images/mpii/{VIDEO}/{number:08d}.jpg" for number in (0, 1)]
    frames = [{"image": [{"name": name}], "is_labeled": [0], "annorect": []} for name in names]
    (tmp_path / "annotations/val").mkdir(parents=True)
    (tmp_path / f"annotations/val/{VIDEO}.json").write_text(json.dumps({"annolist": frames}))
    assert [frame.index for frame in datasets["posetrack17"].read(tmp_path, "val").sequences[0].frames] == [-1, 0]
    chain(tmp_path, tmp_path / "out", "posetrack18", "posetrack17", name="posetrack17", images="none")
    there = read(tmp_path / f"out/0/annotations/val/{VIDEO}.json")["images"]
    assert [image["file_name"] for image in there] == [f"images/val/{VIDEO}/{number:06d}.jpg" for number in (0, 1)]
    back = read(tmp_path / f"out/1/annotations/val/{VIDEO}.json")["annolist"]
    assert [frame["image"][0]["name"] for frame in back] == names


def test_labels_that_have_no_second_form_are_refused(tmp_path):
    def renamed(*names):
        return lambda document: [
            image.update(file_name=f"images/val/{VIDEO}/{name}.jpg")
            for image, name in zip(document["images"], names, strict=True)
        ]

    small(tmp_path / "in", renamed("000001", "01"))
    with pytest.raises(DataError, match=r"000342_mpii_test.json: two frames have one number in their image names"):
        convert_data(tmp_path / "in", tmp_path / "out", to="posetrack17", images="none")
    small(tmp_path / "in", lambda document: document["images"][0].update(id=11))
    with pytest.raises(DataError, match=r"000342_mpii_test.json: two images have one id"):
        convert_data(tmp_path / "in", tmp_path / "out", to="posetrack17", images="none")
    with pytest.raises(DataError, match="no labels of posetrack21 for any of train, val"):
        convert_data(tmp_path / "in/annotations", tmp_path / "out", to="posetrack17", name="posetrack21")


def test_a_place_that_cannot_be_written_is_named_and_left_as_it_was(tmp_path):
    small(tmp_path / "in")
    (tmp_path / f"in/images/val/{VIDEO}").mkdir(parents=True)
    (tmp_path / f"in/images/val/{VIDEO}/000000.jpg").write_bytes(b"")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/images").write_text("in the way")
    with pytest.raises(HarnessError, match=r"00000001.jpg: cannot be linked .*; use --images none"):
        convert_data(tmp_path / "in", tmp_path / "out", to="posetrack17")
    with pytest.raises(HarnessError, match=r"images/a.json: cannot be written"):
        write_json({}, tmp_path / "out/images/a.json")
    (tmp_path / "out/folder.json").mkdir()
    with pytest.raises(HarnessError, match=r"folder.json: cannot be written"):
        write_json({}, tmp_path / "out/folder.json")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"images", "annotations", "folder.json"}
