"""Who is looked at and who is left: --box-enlarge, --track and --nms, from the functions to the stored record."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.boxes import box_recall, boxes_from_file, boxes_from_truth
from harness.datasets import NO_TRACK, open_dataset
from harness.errors import DataError, UsageError
from harness.methods import CropSpec
from harness.people import afterwards, check_people, open_boxes
from harness.predictions import only, read_parquet, truth_as_predictions
from harness.request import Request
from harness.results import Results
from harness.suppression import suppress

RANDOM = (
    "eval",
    "--method",
    "hrnet",
    "--weights",
    "random",
    "--dataset",
    "synthtrack-smoke",
    "--no-floor",
    "--no-plots",
)


@pytest.fixture(scope="module")
def data(smoke_val: Path):
    return open_dataset("synthtrack-smoke", "val")


@pytest.fixture(scope="module")
def detections(data, tmp_path_factory) -> Path:
    """What a detector might say: truth with noise, every fifth person missed and every third found twice."""
    boxes, chance, entries = boxes_from_truth(data), np.random.default_rng(0), []
    for row in range(len(boxes)):
        frame = data.sequences[boxes.sequence[row]].frames[boxes.frame[row]]
        for again in range((row % 5 != 4) * (1 + (row % 3 == 0))):
            x1, y1, x2, y2 = (boxes.boxes[row] + chance.normal(0, 2, 4)).tolist()
            score = 0.9 - 0.3 * again
            entries.append({"image_id": frame.image_id, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    path = tmp_path_factory.mktemp("boxes") / "detections.json"
    path.write_text(json.dumps(entries))
    return path


def with_labels(data, every):
    """The data with one frame in so many labelled."""
    sequences = tuple(
        replace(item, frames=tuple(replace(frame, labelled=frame.index % every == 0) for frame in item.frames))
        for item in data.sequences
    )
    return replace(data, sequences=sequences)


def test_plain_boxes_are_what_they_were(data, detections):
    truth, none = open_boxes(Request("m"), data, neighbours=False)
    assert truth.sha256 == boxes_from_truth(data).sha256 and none is None
    found, recall = open_boxes(Request("m", boxes=str(detections)), data, neighbours=False)
    plain = boxes_from_file(detections, data)
    assert (found.sha256, found.source) == (plain.sha256, plain.source)
    assert recall == box_recall(plain, data) and 0.7 < recall < 0.9


def test_enlarging_is_recorded_and_recall_is_that_of_the_file(data, detections):
    request = Request("m", boxes=str(detections), box_enlarge=1.5)
    found, recall = open_boxes(request, data, neighbours=False)
    plain = boxes_from_file(detections, data)
    assert recall == box_recall(plain, data)
    np.testing.assert_allclose(found.boxes[:, 2:] - found.boxes[:, :2], 1.5 * (plain.boxes[:, 2:] - plain.boxes[:, :2]))
    assert found.source == "detections.json (score >= 0.2), enlarged by 1.5"


def test_boxes_are_tracked_over_frames_that_are_not_labelled(data, detections):
    sparse = with_labels(data, 4)
    request = Request("m", boxes=str(detections), track="iou")
    dense, _ = open_boxes(request, data, neighbours=False)
    kept, _ = open_boxes(request, sparse, neighbours=False)
    labelled = [sparse.sequences[s].frames[f].labelled for s, f in zip(dense.sequence, dense.frame, strict=True)]
    assert kept.track_ids.tolist() == dense.track_ids[labelled].tolist()
    assert 0 < len(kept) < len(dense) and (kept.track_ids != NO_TRACK).all()


def test_a_method_of_neighbours_gets_all_boxes_and_its_extra_poses_go(data, detections):
    sparse = with_labels(data, 4)
    request = Request("m", boxes=str(detections))
    assert len(open_boxes(request, sparse, neighbours=True)[0]) == len(open_boxes(request, data, neighbours=False)[0])
    left = afterwards(request, truth_as_predictions(sparse), sparse, crop=CropSpec((96, 128)))
    assert set((left.frame % 4).tolist()) == {0} and len(left) > 0


def test_suppression_takes_the_area_of_the_padded_crop(data):
    """Two poses so far apart that the box alone keeps them and the crop, 1.25 as large in each direction, does not."""
    truth = truth_as_predictions(data)
    rows = np.repeat(np.arange(len(truth)), 2)
    twice = only(truth, rows)
    sides = np.sqrt((twice.boxes[:, 2:] - twice.boxes[:, :2]).prod(axis=1))
    shift = np.where(np.arange(len(rows)) % 2 == 1, 0.04 * sides, 0.0)
    twice = replace(twice, joints=twice.joints + shift[:, None, None], scores=np.where(twice.present, 0.9, np.nan))
    request = Request("m", nms="oks", nms_threshold=0.88)
    by_crop = afterwards(request, twice, data, crop=CropSpec((96, 128)))
    by_box = suppress(twice, "oks", threshold=0.88)
    assert len(truth) <= len(by_crop) < len(by_box)


def test_persons_of_whole_frames_are_ranked_by_their_own_scores(data):
    """Of two poses alike the better person stays, though its joints score less; who has none of the joints goes."""
    truth = truth_as_predictions(data)
    twice = only(truth, np.repeat(np.arange(len(truth)), 2))
    second = np.arange(len(twice)) % 2 == 1
    scores = np.where(twice.present, np.where(second, 0.3, 0.9)[:, None], np.nan)
    present = twice.present.copy()
    present[:2] = False
    twice = replace(twice, scores=scores, present=present, box_scores=np.where(second, 0.8, 0.2))
    left = afterwards(Request("m", nms="oks"), twice, data, crop=CropSpec((384, 192)), whole=True)
    assert 0 < len(left) <= len(truth) - 1 and (left.box_scores == 0.8).all()
    np.testing.assert_array_equal(np.unique(left.scores[left.present]), [0.3])


def test_two_boxes_of_a_frame_with_one_track_id_are_refused(data, tmp_path):
    image = data.sequences[1].frames[2]
    entry = {"image_id": image.image_id, "bbox": [1, 2, 30, 40], "score": 0.9, "track_id": 6}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([entry, entry]))
    with pytest.raises(DataError, match=rf"boxes.json: 2 boxes of {image.image} have the track id 6; ids must differ"):
        open_boxes(Request("m", boxes=str(path)), data, neighbours=False)
    assert open_boxes(Request("m", boxes=str(path), track="iou"), data, neighbours=False)[0].track_ids.tolist() == [
        0,
        1,
    ]


def test_options_that_say_nothing_are_refused():
    with pytest.raises(UsageError, match="--nms-threshold is the threshold of --nms"):
        check_people(Request("m", nms_threshold=0.5))
    with pytest.raises(UsageError, match=r"clip\.mp4: a video has no labels"):
        check_people(Request("m", video=Path("clip.mp4")))


def test_runs_record_what_was_asked_and_verify(harness, tmp_path, detections):
    options = {
        "": {},
        "--nms oks": {"nms": "oks", "nms_threshold": 0.9},
        "--nms pose --nms-threshold 20 --track oks": {"nms": "pose", "nms_threshold": 20.0, "track": "oks"},
        "--track iou --box-enlarge 1.1": {"track": "iou"},
    }
    ids, found = set(), {}
    for words, asked in options.items():
        answer = harness(*RANDOM, "--boxes", detections, "--results", tmp_path, *words.split())
        assert answer.code == 0, answer.err
        assert "they find 7" in answer.err or "they find 8" in answer.err  # the recall, in percent
        name = answer.err.split(":", 1)[0]
        run = Results(tmp_path).one(name)
        assert run.record.request == asked and 0.7 < run.record.boxes.recall < 0.9
        ids.add(name)
        found[words] = run.record
    assert len(ids) == len(options)
    assert found["--nms oks"].predictions.rows <= found[""].predictions.rows
    assert found["--track iou --box-enlarge 1.1"].boxes.source.endswith("tracked by IoU, enlarged by 1.1")
    metrics = {words: {score.metric for score in record.scores} for words, record in found.items()}
    assert "mota" not in metrics[""] and "mota" in metrics["--track iou --box-enlarge 1.1"]
    assert harness("verify", "--results", tmp_path).code == 0


def test_an_impossible_suppression_is_refused_by_name(harness, tmp_path):
    answer = harness(*RANDOM, "--results", tmp_path, "--nms", "okss")
    assert answer.code == 2 and "pose-original" in answer.err


def test_copy_previous_works_from_detections_that_are_tracked(harness, tmp_path, detections):
    arguments = ("predict", "--method", "copy_previous", "--weights", "random", "--dataset", "synthtrack-smoke")
    answer = harness(*arguments, "--boxes", detections, "--track", "iou", "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    found = read_parquet(tmp_path / "out" / "predictions.parquet")
    boxes, _ = open_boxes(
        Request("m", boxes=str(detections), track="iou"), open_dataset("synthtrack-smoke", "val"), neighbours=True
    )
    places = list(zip(boxes.sequence.tolist(), boxes.frame.tolist(), boxes.track_ids.tolist(), strict=True))
    row_of = {place: row for row, place in enumerate(places)}
    before = [row_of.get((sequence, frame - 1, track)) for sequence, frame, track in places]
    known = [row for row, previous in enumerate(before) if previous is not None]
    assert len(known) > len(boxes) / 2
    np.testing.assert_array_equal(found.boxes[known], boxes.boxes[[before[row] for row in known]])
