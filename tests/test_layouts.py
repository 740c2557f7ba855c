import gc
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from harness.datasets.check_labels import check_labels
from harness.datasets.layouts import parse, read_merged, read_sequence
from harness.datasets.sequences import NO_TRACK
from harness.errors import DataError
from harness.skeletons import POSETRACK15, POSETRACK17

SHARED = Path(__file__).parents[2] / "shared"
NOSE, EAR, ANKLE = (POSETRACK17.index(name) for name in ("nose", "left_ear", "right_ankle"))


def person(image_id=7, **changes):
    keypoints = [[10.25 * joint + 1, 5.0 * joint + 2, 1] for joint in range(17)]
    keypoints[3] = keypoints[4] = [0, 0, 0]
    record = {
        "image_id": image_id, "id": 700, "category_id": 1, "track_id": 3, "scores": [],
        "keypoints": [number for point in keypoints for number in point],
        "bbox": [1, 2, 30, 40], "bbox_head": [0.1, 2, 0.2, 5],
    }  # fmt: skip
    return record | changes


def document(annotations, images=None, names=POSETRACK17.names):
    images = images or [{"id": 7, "file_name": "images/val/000342_mpii_test/000004.jpg"}]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
    }


def write(folder, content, name="000342_mpii_test.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(folder, content, **options):
    return read_sequence(write(folder, content), **options)


def test_columns_of_an_image_layout(tmp_path):
    sequence = read(tmp_path, document([person()]))
    truth = sequence.truth
    assert sequence.name == "000342_mpii_test"
    assert sequence.frames[0].index == 4 and sequence.frames[0].image_id == 7 and sequence.frames[0].labelled
    assert truth.joints[0, NOSE].tolist() == [1.0, 2.0]
    assert truth.annotated[0].sum() == 15 and not truth.annotated[0, EAR]
    assert truth.boxes.tolist() == [[1, 2, 31, 42]]
    assert truth.head_boxes.tolist() == [[0.1, 2, 0.1 + 0.2, 7]]  # the floating sum, not 0.3
    assert truth.track_ids.tolist() == [3] and truth.person_ids.tolist() == [NO_TRACK]
    assert truth.visible is None


def test_gzip_is_read_like_plain(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document([person()])).encode()))
    assert read_sequence(path).name == "a"


def test_only_three_zeros_mean_absent(tmp_path):
    keypoints = person()["keypoints"]
    keypoints[0:12] = [0, 0, 0.5, 0, 4, 0, -3, 0, 0, 0, 0, 0]
    truth = read(tmp_path, document([person(keypoints=keypoints)])).truth
    assert truth.annotated[0, :4].tolist() == [True, True, True, False]
    assert truth.joints[0, 2].tolist() == [-3, 0]


def test_joints_go_by_name(tmp_path):
    names = POSETRACK15.names
    keypoints = [number for joint in range(15) for number in (joint + 1, 100 - joint, 1)]
    truth = read(tmp_path, document([person(keypoints=keypoints)], names=names)).truth
    assert truth.joints[0, ANKLE].tolist() == [1, 100] and names[0] == "right_ankle"
    assert truth.joints[0, NOSE].tolist() == [names.index("nose") + 1, 100 - names.index("nose")]
    assert not truth.annotated[0, EAR]


def test_people_follow_the_order_of_images_then_file(tmp_path):
    images = [{"id": number, "file_name": f"images/val/a/{number:06d}.jpg"} for number in (2, 1, 5)]
    rows = [person(1, track_id=10), person(2, track_id=11), person(1, track_id=12)]
    sequence = read(tmp_path, document(rows, images))
    assert sequence.truth.track_ids.tolist() == [11, 10, 12] and sequence.truth.frame.tolist() == [0, 1, 1]
    assert [frame.index for frame in sequence.frames] == [2, 1, 5]
    assert sequence.position_of == {2: 0, 1: 1, 5: 2}


def test_frames_sharing_an_id_get_the_first_record_and_its_people(tmp_path):
    images = [
        {"id": 1, "file_name": "v/000000.jpg", "ignore_regions_x": [[0, 9, 9]], "ignore_regions_y": [[0, 0, 9]]},
        {"id": 2, "file_name": "v/000001.jpg"},
        {"id": 1, "file_name": "v/000002.jpg"},
    ]
    sequence = read(tmp_path, document([person(1, track_id=5), person(2, track_id=6), person(1, track_id=7)], images))
    assert sequence.truth.track_ids.tolist() == [5, 7, 6, 5, 7]
    assert sequence.truth.frame.tolist() == [0, 0, 1, 2, 2]
    assert sequence.frames[2].image == "v/000000.jpg" and sorted(sequence.truth.ignore) == [0, 2]


def test_ignore_regions_need_both_keys(tmp_path):
    images = [
        {"id": 7, "file_name": "v/000000.jpg", "ignore_regions_x": [[0, 1, 2]]},
        {"id": 8, "file_name": "v/000001.jpg", "ignore_regions_x": [[0, 9, 9]], "ignore_regions_y": [[0, 0, 9.5]]},
    ]
    ignore = read(tmp_path, document([person()], images)).truth.ignore
    assert list(ignore) == [1] and ignore[1][0].tolist() == [[0, 0], [9, 0], [9, 9.5]]


def test_people_without_keypoints_or_boxes_are_kept(tmp_path):
    bare = {"image_id": 7, "id": 1, "track_id": 2, "category_id": 1}
    truth = read(tmp_path, document([bare, person(keypoints=[])])).truth
    assert truth.has_points.tolist() == [False, True] and not truth.annotated.any()
    assert np.isnan(truth.boxes[0]).all() and np.isnan(truth.head_boxes[0]).all()


@pytest.mark.parametrize(("rule", "expected"), [("zero", [False, True, True]), ("two", [False, False, True])])
def test_visibility_rules(tmp_path, rule, expected):
    keypoints = person()["keypoints"]
    keypoints[0:12] = [5, 5, 0, 5, 5, 1, 5, 5, 2, 0, 0, 0]
    content = document([person(keypoints=keypoints)])
    assert read(tmp_path, content, visibility=rule).truth.visible[0, :3].tolist() == expected
    assert not read(tmp_path, content, visibility=rule).truth.visible[0, EAR]
    assert read(tmp_path, content).truth.visible is None


def test_the_visibility_field_wins(tmp_path):
    content = document([person(visibility=[2, 1, *[2] * 15])])
    assert read(tmp_path, content, visibility="none").truth.visible[0, :4].tolist() == [True, False, True, False]


def annolist(people, name="images/bonn/x/00000003.jpg", **changes):
    return {"annolist": [{"image": [{"name": name}], "imgnum": [3], "is_labeled": [1], "annorect": people} | changes]}


def points(*entries):
    keys = ("id", "x", "y", "score", "is_visible")
    return [{"point": [{key: [value] for key, value in zip(keys, entry, strict=False)} for entry in entries]}]


def test_columns_of_an_annolist(tmp_path):
    head = {"x1": [1], "y1": [2], "x2": [3.5], "y2": [4], "track_id": [9]}
    people = [
        head | {"annopoints": points((13, 5, 6), (0, 7.5, 8), (13, 99, 99), (15, 1, 1))},
        head, head | {"annopoints": []}, head | {"annopoints": [{}]}, head | {"annopoints": [{"point": []}]},
    ]  # fmt: skip
    regions = [{"point": [{"x": [0], "y": [0]}, {"x": [4], "y": [0]}, {"x": [4], "y": [4]}]}]
    sequence = read(tmp_path, annolist(people, ignore_regions=regions))
    truth = sequence.truth
    assert truth.joints[0, NOSE].tolist() == [5, 6] and truth.joints[0, ANKLE].tolist() == [7.5, 8]
    assert truth.annotated.sum() == 2
    assert truth.has_points.tolist() == [True, False, False, False, True]
    assert truth.head_boxes[0].tolist() == [1, 2, 3.5, 4] and truth.track_ids.tolist() == [9] * 5
    assert sequence.frames[0].index == 2 and truth.visible is None
    assert truth.ignore[0][0].tolist() == [[0, 0], [4, 0], [4, 4]]
    assert read(tmp_path, annolist(people), base=0).frames[0].index == 3


def test_is_visible_is_believed_only_where_it_distinguishes(tmp_path):
    def visible(*flags):
        people = [{"annopoints": points(*[(joint, 5, 6, 1, flag) for joint, flag in enumerate(flags)])}]
        return read(tmp_path, annolist(people)).truth.visible

    assert visible(1, 1) is None
    assert visible(1, 0)[0, ANKLE] and visible(1, 0).sum() == 1
    assert visible("0", "1").sum() == 1


def test_merged_file_is_split_by_folder(tmp_path):
    images = [
        {"id": 1, "file_name": "b/000000.jpg"},
        {"id": 2, "file_name": "a/000000.jpg"},
        {"id": 3, "file_name": "b/1.jpg"},
    ]
    content = document([person(3, track_id=30), person(2, track_id=20), person(1, track_id=10)], images)
    first, second = read_merged(write(tmp_path, content))
    assert (first.name, second.name) == ("a", "b")
    assert first.truth.track_ids.tolist() == [20]
    assert second.truth.track_ids.tolist() == [10, 30] and second.truth.frame.tolist() == [0, 1]


def test_folders_of_one_name_in_a_merged_file_are_refused(tmp_path):
    images = [{"id": at, "file_name": f"{folder}/x/000000.jpg"} for at, folder in enumerate(("mpii", "bonn"))]
    with pytest.raises(DataError, match=r"000342_mpii_test.json: two image folders are named 'x'"):
        read_merged(write(tmp_path, document([person(0)], images)))


def regions(x, y):
    return [{"id": 1, "file_name": "v/0.jpg", "ignore_regions_x": x, "ignore_regions_y": y}]


DAMAGE = {
    "cut short": (json.dumps(document([person()]))[:-40], "cut short"),
    "not JSON": ("{'a': 1}", "not valid JSON at line 1"),
    "empty": ("", "empty"),
    "a list": ("[]", "expected an object"),
    "no images": ('{"annotations": [], "categories": []}', "'images' is missing"),
    "images no list": (document([]) | {"images": {}}, "'images' is dict"),
    "annotation no object": (document([3]), r"annotations\[0\] is int"),
    "keypoints of another length": (document([person(keypoints=[1, 2, 3])]), "annotation 0 .*has 3 numbers, expect"),
    "keypoint a string": (document([person(keypoints=["1"] * 51)]), "holds '1'"),
    "keypoint null": (document([person(keypoints=[None] * 51)]), "holds None"),
    "keypoints no list": (document([person(keypoints={"a": 1})]), "keypoints is dict"),
    "keypoints NaN": (document([person(keypoints=[float("nan")] * 51)]), "nan; expected finite"),
    "keypoints huge": (document([person(keypoints=[1e9] * 51)]), "1e\\+09; no picture"),
    "box too short": (document([person(bbox=[1, 2, 3])]), "bbox has 3 numbers"),
    "head box a string": (document([person(bbox_head=[1, 2, 3, "4"])]), "bbox_head holds '4'"),
    "unknown image_id": (document([person(99)]), "image_id 99 is not the id"),
    "no image_id": (document([{"id": 4}]), "annotation 0 .id 4.*image_id None"),
    "image without id": (document([], [{"file_name": "a/0.jpg"}]), "key 'id' is missing"),
    "image without name": (document([], [{"id": 1}]), "file_name is ''"),
    "image without number": (document([], [{"id": 1, "file_name": "v/a.jpg"}]), "holds no frame number"),
    "absurd size": (document([], [{"id": 1, "file_name": "v/0.jpg", "width": -4, "height": 10}]), "width and height"),
    "track id a fraction": (document([person(track_id=1.5)]), "track_id is 1.5, expected a whole"),
    "track id huge": (document([person(track_id=2**63)]), "does not fit 64 bits"),
    "no category": (document([]) | {"categories": []}, "exactly one category 'person', found none"),
    "joint name missing": (document([], names=POSETRACK17.names[1:]), "lacks nose"),
    "regions differ": (document([], regions([[1]], [])), "one length"),
    "region points differ": (document([], regions([[1]], [[]])), "region 0"),
    "annolist no list": ({"annolist": {}}, "annolist: expected a list"),
    "annorect no objects": (annolist([3]), "frame 0: annorect"),
    "point without y": (annolist([{"annopoints": [{"point": [{"id": [1], "x": [2]}]}]}]), "frame 0: person 0: point 0"),
    "point id a string": (annolist([{"annopoints": points(("a", 1, 2))}]), "point 0: id is 'a'"),
    "half a head box": (annolist([{"x1": [1], "y1": [2]}]), "person 0: head box lacks x2, y2"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(tmp_path, case):
    content, message = DAMAGE[case]
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content)
    assert "000342_mpii_test.json" in str(caught.value) and "\n" not in str(caught.value)


JUNK = (
    None, True, -1, 1.5, float("nan"), float("inf"), 10**400, 2**70, "", "1", "a\0b",
    [], [[]], [1], [None], {}, {"a": 1},
)  # fmt: skip


def places(value, place=()):
    """Every place in a JSON document, as keys; of long lists the first six only."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*place, key))


def test_junk_anywhere_is_read_or_named_but_never_trips(tmp_path):
    region = {"ignore_regions_x": [[0, 1, 1]], "ignore_regions_y": [[0, 0, 1]], "width": 10, "height": 10}
    images = [{"id": 7, "file_name": "v/000000.jpg", **region}, {"id": 8, "file_name": "v/000001.jpg"}]
    head = {"x1": [1], "y1": [2], "x2": [3], "y2": [4], "track_id": [1], "score": [0.5]}
    outline = [{"point": [{"x": [0], "y": [0]}, {"x": [4], "y": [0]}, {"x": [4], "y": [4]}]}]
    pristine = (
        document([person(), person(8, visibility=[2] * 17, score=0.5)], images),
        annolist([head | {"annopoints": points((0, 1, 2, 0.5, 1), (3, 4, 5))}], ignore_regions=outline),
    )
    for content in pristine:
        for *above, last in filter(None, places(content)):
            for junk in JUNK:
                damaged = json.loads(json.dumps(content))
                holder = damaged
                for key in above:
                    holder = holder[key]
                holder[last] = junk
                for predictions in (False, True):
                    try:
                        columns = parse(damaged, "a.json", predictions=predictions)
                        columns.frames(0)
                        list(check_labels(columns, damaged, "a.json", name="v", base=0))
                    except DataError as error:
                        assert str(error).startswith("a.json: ") and "\n" not in str(error) and len(str(error)) < 300


def test_the_cycle_collector_runs_on_after_reading(tmp_path):
    read(tmp_path, document([person()]))
    assert gc.isenabled()
    with pytest.raises(DataError):
        read(tmp_path, {"images": 3})
    assert gc.isenabled()
    gc.disable()
    try:
        read(tmp_path, document([person()]))
        assert not gc.isenabled()  # who stopped it starts it again
    finally:
        gc.enable()


def test_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document([person()])).encode())[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_sequence(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the golden files beside the checkout")
@pytest.mark.parametrize("name", ["tiny", "rawfloat", "pt18_sample"])
def test_golden_files_read_as_the_json_says(name):
    for path in sorted((SHARED / "golden" / "poseval" / name / "gt").iterdir()):
        content, sequence = json.loads(path.read_bytes()), read_sequence(path)
        truth = sequence.truth
        expected = [
            (position, annotation)
            for position, image in enumerate(content["images"])
            for annotation in content["annotations"]
            if annotation["image_id"] == image["id"]
        ]
        assert truth.frame.tolist() == [position for position, _ in expected]
        keypoints = np.array([annotation["keypoints"] for _, annotation in expected], dtype=float).reshape(-1, 17, 3)
        assert np.array_equal(truth.joints, keypoints[:, :, :2])
        assert np.array_equal(truth.annotated, (keypoints != 0).any(axis=2))
        assert [len(truth.ignore.get(at, ())) for at in range(len(sequence.frames))] == [
            len(image["ignore_regions_x"]) for image in content["images"]
        ]
