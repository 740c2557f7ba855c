import json

import numpy as np
import pytest

from harness.datasets.layouts import read_sequence
from harness.datasets.sequences import NO_TRACK
from harness.errors import DataError, UsageError
from harness.predictions import import_json
from harness.skeletons import POSETRACK17

FOLDER = "images/val/000342_mpii_test"


def images(*numbers, start=100):
    return [{"id": start + number, "file_name": f"{FOLDER}/{number:06d}.jpg"} for number in numbers]


def person(image_id, **changes):
    keypoints = [number for joint in range(17) for number in (joint + 1.5, 9, 0.5)]
    scores = [joint / 20 for joint in range(17)]
    return {"image_id": image_id, "track_id": 1, "keypoints": keypoints, "scores": scores} | changes


def write(path, frames, annotations):
    path.parent.mkdir(exist_ok=True)
    category = {"id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}
    path.write_text(json.dumps({"images": frames, "annotations": annotations, "categories": [category]}))
    return path


@pytest.fixture
def truth(tmp_path):
    return (read_sequence(write(tmp_path / "truth" / "000342_mpii_test.json", images(0, 1, 2), [person(100)])),)


def imported(tmp_path, truth, frames, annotations, **options):
    write(tmp_path / "predictions" / "000342_mpii_test.json", frames, annotations)
    return import_json(tmp_path / "predictions", truth, **options)


def test_people_scores_and_boxes(tmp_path, truth):
    people = [
        person(102, bbox=[1, 2, 3, 4], score=0.75),
        person(100, scores=[]),
        person(100, track_id=2, keypoints=[0, 0, 0.5] + [0, 0, 0] * 16),
    ]
    found = imported(tmp_path, truth, images(0, 1, 2), people)
    assert found.frame.tolist() == [0, 0, 2] and found.person.tolist() == [0, 1, 0]
    assert np.isnan(found.scores[0]).all() and found.scores[2].tolist() == [joint / 20 for joint in range(17)]
    assert found.present.sum(axis=1).tolist() == [17, 1, 17]
    assert found.boxes[2].tolist() == [1, 2, 4, 6] and np.isnan(found.boxes[0]).all()
    assert found.box_scores[2] == 0.75 and np.isnan(found.box_scores[0])
    assert found.whole_numbers.tolist() == [False] * 3


def test_whole_numbers_are_reported_per_person(tmp_path, truth):
    people = [person(100, keypoints=[3] * 51), person(100, keypoints=[3] * 50 + [3.0])]
    assert imported(tmp_path, truth, images(0, 1, 2), people).whole_numbers.tolist() == [True, False]


def test_a_list_shaped_like_posetrack17_is_read_for_posetrack18_truth(tmp_path, truth):
    point = {"id": [13], "x": [5], "y": [6], "score": [-100]}
    empty = {"track_id": [4]}
    frames = [{"image": [{"name": f"x/000342_mpii_test/00000{number}.jpg"}], "annorect": []} for number in (0, 1, 2)]
    frames[1]["annorect"] = [empty, {"annopoints": [{"point": [point]}], "score": [0.5]}]
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "000342_mpii_test.json").write_text(json.dumps({"annolist": frames}))
    found = import_json(tmp_path / "p", truth)
    nose = POSETRACK17.index("nose")
    assert len(found) == 1  # the person without a point list is dropped, as poseval does
    assert found.joints[0, nose].tolist() == [5, 6] and found.scores[0, nose] == -100 and found.present.sum() == 1
    assert found.track_ids.tolist() == [NO_TRACK] and found.box_scores.tolist() == [0.5] and found.frame.tolist() == [1]


def test_frames_pair_by_position_whatever_the_numbers(tmp_path, truth):
    found = imported(tmp_path, truth, images(2, 1, 0), [person(102)])
    assert found.frame.tolist() == [0]
    found = imported(tmp_path, truth, images(2, 1, 0), [person(102)], pairing="id")
    assert found.frame.tolist() == [2]


def test_pairing_by_id_takes_some_frames_only(tmp_path, truth):
    found = imported(tmp_path, truth, images(2, 0), [person(102), person(100)], pairing="id")
    assert found.frame.tolist() == [0, 2]
    with pytest.raises(DataError, match="is no frame of sequence 000342_mpii_test"):
        imported(tmp_path, truth, images(5), [person(105)], pairing="id")
    with pytest.raises(DataError, match="expected each frame once"):
        imported(tmp_path, truth, [*images(0), {"id": 9, "file_name": f"{FOLDER}/000000.jpg"}], [], pairing="id")


def test_renumbered_ids_pass_when_the_file_names_agree(tmp_path, truth):
    assert len(imported(tmp_path, truth, images(0, 1, 2, start=0), [person(0)])) == 1


def test_predictions_of_other_frames_are_refused(tmp_path, truth):
    frames = [{"id": number, "file_name": f"elsewhere/{number + 50}.jpg"} for number in range(3)]
    with pytest.raises(DataError, match="no frame of the predictions is a frame of the truth"):
        imported(tmp_path, truth, frames, [person(0)])


def test_frames_that_have_numbers_only_are_taken_for_the_truths(tmp_path, truth):
    """Numbers from 0 as in the truth, from 1 as in PoseTrack17; others are of another video."""
    people = [{"annopoints": [{"point": [{"id": [0], "x": [5], "y": [6]}]}]}]
    (tmp_path / "p").mkdir()
    for first in (0, 1, 100, 7):
        frames = [{"imgnum": [first + at], "annorect": people if at == 0 else []} for at in range(3)]
        (tmp_path / "p" / "000342_mpii_test.json").write_text(json.dumps({"annolist": frames}))
        if first == 7:
            with pytest.raises(DataError, match=r"\(no name, id 7 stands where .*000000.jpg, id 100 is expected\)"):
                import_json(tmp_path / "p", truth)
        else:
            assert import_json(tmp_path / "p", truth).frame.tolist() == [0]


def test_missing_files_and_frames_are_named(tmp_path, truth):
    with pytest.raises(DataError, match="no such folder"):
        import_json(tmp_path / "nowhere", truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="1 of 1 sequences: 000342_mpii_test"):
        import_json(tmp_path / "empty", truth)
    with pytest.raises(DataError, match="2 frames, but sequence 000342_mpii_test has 3"):
        imported(tmp_path, truth, images(0, 1), [])
    with pytest.raises(UsageError, match="pairing"):
        import_json(tmp_path, truth, pairing="name")
    with pytest.raises(DataError, match="the truth has no sequences"):
        import_json(tmp_path, ())


def test_scores_must_be_numbers_of_the_right_count(tmp_path, truth):
    with pytest.raises(DataError, match="scores has 3 numbers, expected 17"):
        imported(tmp_path, truth, images(0, 1, 2), [person(100, scores=[1, 2, 3])])
    with pytest.raises(DataError, match=r"annotation 1 .*scores holds nan"):
        imported(tmp_path, truth, images(0, 1, 2), [person(100), person(100, scores=[float("nan")] * 17)])
