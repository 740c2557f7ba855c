"""Statistics of labels: reckoned by hand, equal to the generator's own reckoning, drawn and printed."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_scenes import sequence_of, standing

from harness.datasets import NO_TRACK, DataSet, open_dataset
from harness.datasets.statistics import QUANTITIES, data_statistics
from harness.datasets.synthtrack.statistics import statistics
from harness.errors import DataError
from harness.report.data_plots import distributions, joint_motion, joint_visibility
from harness.report.style import save
from harness.scoring.motion import motion_statistics
from harness.skeletons import POSETRACK15

REAL = Path(__file__).parents[2] / "shared" / "real"
NOSE = POSETRACK15.index("nose")


def data_of(*sequences):
    return DataSet("clips", "val", Path("nowhere"), sequences, "sha256:0123456789", skeleton=POSETRACK15)


@pytest.fixture
def scene():
    """Two frames: three people, two of whom share half their boxes, then one; a third frame is not labelled."""
    half = standing(0)
    half[NOSE] = np.nan
    people = [(0, 1, half), (0, 2, standing(5)), (0, 3, standing(300)), (1, 1, standing(0)), (2, 9, standing(0))]
    boxes = [[0, 0, 10, 100], [5, 0, 15, 100], [300, 0, 310, 50], [0, 0, 20, 45], [0, 0, 999, 999]]
    visible = np.ones((5, 15), dtype=bool)
    visible[0, [0, 1, 2, NOSE]] = False
    sequence = sequence_of(people, frames=3, boxes=boxes, visible=visible, size=(640, 200))
    frames = (*sequence.frames[:2], replace(sequence.frames[2], labelled=False))
    return replace(sequence, frames=frames)


def test_by_hand(scene):
    found = data_statistics(data_of(scene, sequence_of([(0, 4, standing(1))], frames=4, name="other")))
    values = found.values
    assert found.counts == {
        "sequences": 2, "frames": 7, "labelled_frames": 6, "people": 5, "tracks": 4, "joints": 74, "head_boxes": 5,
        "boxes": 4, "ignore_regions": 0, "people_close": 2,
    }  # fmt: skip
    assert values["frame_people"].tolist() == [3, 1, 1, 0, 0, 0]
    assert values["sequence_frames"].tolist() == [3, 4] and values["sequence_labelled"].tolist() == [2, 4]
    assert values["sequence_people"].tolist() == [3, 1] and values["track_frames"].tolist() == [2, 1, 1, 1]
    assert values["overlap"].tolist() == [1 / 3, 1 / 3, 0, 0, 0]
    np.testing.assert_allclose(values["head_size"], 10)
    # the column of joints in the other sequence has no width, and so no area
    np.testing.assert_allclose(values["box_scale"], np.sqrt([1000, 1000, 500, 900]))
    assert values["box_height"].tolist() == [0.5, 0.5, 0.25, 0.225, 280 / 480]
    assert values["joints"].tolist() == [14, 15, 15, 15, 15]
    np.testing.assert_allclose(values["occluded"], [3 / 14, 0, 0, 0])
    nose, ankle = found.joints[NOSE], found.joints[0]
    assert (nose.annotated, nose.visible, nose.occluded, nose.unknown) == (4, 0.6, 0, 0.2)
    assert (ankle.annotated, ankle.visible, ankle.occluded, ankle.unknown) == (5, 0.6, 0.2, 0.2)


def test_rows_of_tables(scene):
    found = data_statistics(data_of(scene))
    rows = {row["quantity"]: row for row in found.quantity_rows()}
    assert set(rows) == set(QUANTITIES)
    assert rows["frame_people"] == {
        "quantity": "frame_people", "unit": "people", "values": 2, "mean": 2.0, "min": 1.0, "p5": 1.1, "p25": 1.5,
        "p50": 2.0, "p75": 2.5, "p95": 2.9, "max": 3.0, "what": "people on a labelled frame",
    }  # fmt: skip
    last = found.joint_rows()[-1]
    assert last["joint"] == "all" and last["annotated"] == 59 and "unknown" not in last
    assert last["missing"] == pytest.approx(1 / 60) and last["occluded"] == pytest.approx(3 / 60)
    assert json.loads(json.dumps(found.as_plain()))["counts"]["people"] == 4


def test_labels_that_do_not_tell_of_visibility_say_nothing_of_occlusion(scene):
    bare = replace(scene, truth=replace(scene.truth, visible=None, track_ids=np.full(5, NO_TRACK)))
    found = data_statistics(data_of(bare))
    assert "occluded" not in found.values and "track_frames" not in found.values and found.counts["tracks"] == 0
    assert {item.occluded for item in found.joints} == {0.0} and found.joints[0].unknown == 1
    nobody = replace(scene, frames=tuple(replace(frame, labelled=False) for frame in scene.frames))
    with pytest.raises(DataError, match="nobody is labelled in clips val"):
        data_statistics(data_of(nobody))


def agree(data):
    """The quantities that the generator's own statistics also have, which loop over dense arrays instead."""
    found, other = data_statistics(data).values, statistics(data)
    for percent in (5, 50, 95):
        assert np.percentile(found["frame_people"], percent) == pytest.approx(other[f"people p{percent}"])
        assert np.percentile(found["head_size"], percent) == pytest.approx(other[f"head p{percent}"])
    for bound in (0.0, 0.1, 0.5, 0.75):
        assert (found["overlap"] > bound).mean() == pytest.approx(other[f"overlap > {bound:g}"])
    rows = {row["joint"]: row for row in data_statistics(data).joint_rows()}
    annotated = 1 - rows["all"]["missing"]
    assert rows["all"]["occluded"] / annotated == pytest.approx(other["occluded"])
    assert rows["all"]["missing"] == pytest.approx(other["unlabelled"])
    own = found["occluded"]
    assert ((own > 0) & (own <= 0.25)).mean() == pytest.approx(other["persons occluded (0,.25]"])


def test_equal_to_the_generators_own_statistics(smoke_val):
    agree(open_dataset("synthtrack-smoke", "val"))


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real samples beside the checkout")
def test_equal_to_the_generators_statistics_of_real_video():
    agree(open_dataset("posetrack18", "test", root=REAL / "bonn_multiperson"))


def test_figures_hold_what_they_say_and_are_the_same_each_time(scene, tmp_path):
    data = data_of(scene, sequence_of([(0, 4, standing(1)), (1, 4, standing(9))], name="other"))
    found, moved = data_statistics(data), motion_statistics(data)
    panels = [axes for axes in distributions(found).axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "People per frame", "Crowding", "Occlusion", "Head sizes", "Box sizes", "Sequence lengths",
    ]  # fmt: skip
    alike = data_statistics(data_of(scene))
    assert "Sequence lengths" not in [axes.get_title(loc="left") for axes in distributions(alike).axes]
    assert sum(bar.get_height() for bar in panels[0].patches) == pytest.approx(1)
    (axes,) = joint_visibility(found).axes
    ends = {}
    for bar in axes.patches:
        ends[bar.get_y()] = max(ends.get(bar.get_y(), 0), bar.get_x() + bar.get_width())
    assert len(ends) == 15 and list(ends.values()) == pytest.approx([1] * 15)
    speeds, far = joint_motion(moved, found).axes
    row = next(row for row in moved.motion if row.joint == "all" and row.gap == "1")
    assert far.patches[-1].get_width() == row.share_beyond_3px
    assert speeds.collections[1].get_offsets()[-1].tolist() == [row.median_head, 15]
    first = [path.read_bytes() for path in save(joint_motion(moved, found), tmp_path / "a")]
    assert first == [path.read_bytes() for path in save(joint_motion(moved, found), tmp_path / "b")]


def test_figures_without_occlusion_or_tracks(scene):
    bare = replace(scene, truth=replace(scene.truth, visible=None, track_ids=np.full(5, NO_TRACK)))
    found = data_statistics(data_of(bare))
    titles = [axes.get_title(loc="left") for axes in distributions(found).axes if axes.get_visible()]
    assert "Occlusion" not in titles and len(titles) == 6
    (axes,) = joint_visibility(found).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["annotated", "not annotated"]


def test_the_command(harness, smoke_val, tmp_path):
    words = ("data", "stats", "synthtrack-smoke", "--motion", "--crop", "96x128", "-o", tmp_path)
    answer = harness(*words, "--format", "json")
    assert answer.code == 0, answer.err
    plain = json.loads(answer.out)
    assert plain["counts"]["people"] == len(data_statistics(open_dataset("synthtrack-smoke", "val")).values["joints"])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{name}.{kind}" for name in ("distributions", "joints", "motion") for kind in ("svg", "png")} | {
        "statistics.json"
    }
    assert json.loads((tmp_path / "statistics.json").read_text()) == plain
    small = next(row["median_px"] for row in plain["motion"] if row["joint"] == "all")
    large = json.loads(harness(*words[:4], "--format", "json").out)
    assert next(row["median_px"] for row in large["motion"] if row["joint"] == "all") == pytest.approx(3 * small)
    folder = harness("data", "stats", smoke_val, "--format", "csv")
    rows = list(csv.DictReader(folder.out.splitlines()))
    people = [row["value"] for row in rows if (row["of"], row["quantity"]) == ("frame_people", "values")]
    assert folder.code == 0 and people == [str(plain["counts"]["labelled_frames"])]
    table = harness("data", "stats", "synthtrack-smoke", "--motion")
    assert harness("data", "stats", "--dataset", "synthtrack-smoke", "--motion").out == table.out
    assert "Shares of people per joint" in table.out and "Motion per frame" in table.out
    assert harness("data", "stats", "synthtrak").code == 2
    assert harness("data", "stats", "synthtrack-smoke", "--motion", "--crop", "96").code == 2
