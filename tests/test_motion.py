"""Motion statistics: hand arithmetic, and the table of real motion in the specification."""

from pathlib import Path

import numpy as np
import pytest
from hand_scenes import JOINTS, sequence_of, standing

from harness.datasets.layouts import read_sequence
from harness.errors import DataError
from harness.scoring.motion import HeatmapScale, motion_statistics
from harness.skeletons import POSETRACK15

NOSE = POSETRACK15.index("nose")
REAL = Path(__file__).parents[2] / "shared" / "real" / "bonn_multiperson" / "annotations"


def clip(places, states=None, **options):
    visible = np.ones((len(places), JOINTS), dtype=bool)
    visible[:, NOSE] = [state == "v" for state in states or "v" * len(places)]
    people = [(frame, 0, standing(x)) for frame, x in enumerate(places)]
    boxes = [[0, 0, 100, 100]] * len(places)
    return sequence_of(people, visible=visible, boxes=boxes, **options)


def row(rows, joint="nose"):
    return next(found for found in rows if found.joint == joint)


def test_displacements_by_hand():
    # steps of 1, 3, 4 and 10 px with heads of 10 px; a 100 px box becomes 125 px for 64 heatmap px
    scale = HeatmapScale(size=(256, 256), enlarge=1.25, stride=4)
    motion = row(motion_statistics((clip([0, 1, 4, 8, 18]),), scale=scale).motion)
    assert motion.pairs == 4
    assert motion.median_head == pytest.approx(0.35)
    assert motion.p90_head == pytest.approx(np.quantile([0.1, 0.3, 0.4, 1.0], 0.9))
    assert (motion.share_medium, motion.share_fast) == (0.5, 0.25)
    assert motion.median_px == pytest.approx(3.5 * 64 / 125)
    assert motion.share_beyond_3px == 0.25


def test_all_joints_are_pooled():
    rows = motion_statistics((clip([0, 1, 4]), clip([0, 5], name="other"))).motion
    assert row(rows, "all").pairs == 3 * JOINTS
    assert row(rows, "all").median_head == pytest.approx(0.3)
    assert len(rows) == JOINTS + 1


def test_the_crop_keeps_the_aspect_of_the_input():
    scale = HeatmapScale(size=(192, 256), enlarge=1.0, stride=4)
    wide, tall = [0.0, 0.0, 96.0, 64.0], [0.0, 0.0, 10.0, 128.0]
    assert scale.per_image_px(np.array([wide, tall])).tolist() == pytest.approx([48 / 96, 48 / 96])
    assert np.isnan(scale.per_image_px(np.zeros((1, 4)))).all()


def test_sparse_labels_stand_apart_and_are_divided_by_the_gap():
    sequence = clip([0, 1, 9], indices=[0, 1, 5])
    rows = motion_statistics((sequence,), sparse=True).motion
    dense, sparse = (next(r for r in rows if r.joint == "nose" and r.gap == gap) for gap in ("1", "2-4"))
    assert (dense.pairs, dense.median_head) == (1, pytest.approx(0.1))
    assert (sparse.pairs, sparse.median_head) == (1, pytest.approx(0.2))


def test_occlusions_by_hand():
    sequence = clip([0, 0, 0, 0, 0, 30, 60, 60], "voovoooo")
    found = row(motion_statistics((sequence,)).occlusion)
    assert (found.labelled, found.occluded, found.runs) == (8, 6 / 8, 2)
    assert (found.median_run, found.mean_run) == (3, 3)
    assert (found.runs_to_3, found.frames_to_3, found.frames_to_5) == (0.5, 2 / 6, 1.0)
    # visible in frames 0 and 3; frames 1, 2 and 4 have one beside them, 5 within 2, 6 within 3, 7 within 5
    assert (found.seen_in_1, found.seen_in_2, found.seen_in_3, found.seen_in_5) == (3 / 6, 4 / 6, 5 / 6, 1.0)
    # the joint has moved by 3 heads from frame 5 on
    assert (found.copied_in_1, found.copied_in_5) == (3 / 6, 3 / 6)
    assert row(motion_statistics((sequence,)).occlusion, "left_knee").runs == 0


def test_interpolation_finds_a_joint_that_moved_through():
    sequence = clip([0, 20, 40], "vov")
    assert row(motion_statistics((sequence,)).occlusion).copied_in_1 == 1.0
    one_sided = clip([0, 20, 40], "voo")
    assert row(motion_statistics((one_sided,)).occlusion).copied_in_1 == 0.0


def test_without_flags_there_are_no_occlusions_and_without_tracks_no_motion():
    still = sequence_of([(0, 0, standing()), (1, 0, standing())])
    assert motion_statistics((still,)).occlusion == ()
    assert motion_statistics((still,)).motion_rows()[0]["median_head"] == 0.0
    with pytest.raises(DataError, match="same track id in two consecutive frames"):
        motion_statistics((sequence_of([(0, 0, standing()), (1, 1, standing())]),))


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")
def test_real_motion_is_that_of_the_specification():
    """Section 1 of the synthtrack specification, measured there by other code on the same 30 sequences."""
    sequences = {path: read_sequence(path) for path in sorted(REAL.rglob("*.json"))}
    found = motion_statistics(tuple(sequences.values()))
    motion, occlusion = row(found.motion, "all"), row(found.occlusion, "all")
    assert (round(motion.median_head, 3), round(motion.p90_head, 3)) == (0.098, 0.386)
    assert (round(motion.share_medium, 2), round(motion.share_fast, 3)) == (0.13, 0.063)
    assert round(occlusion.occluded, 3) == 0.222
    assert (occlusion.median_run, round(occlusion.mean_run)) == (6, 11)
    runs = [occlusion.runs_to_3, occlusion.runs_to_5, occlusion.runs_to_10]
    assert [round(share, 2) for share in runs] == [0.35, 0.48, 0.71]
    frames = [occlusion.frames_to_3, occlusion.frames_to_5, occlusion.frames_to_10]
    assert [round(share, 3) for share in frames] == [0.055, 0.108, 0.266]
    assert (round(occlusion.median_speed_occluded, 3), round(occlusion.median_speed_visible, 3)) == (0.077, 0.103)
    with_heads = tuple(sequence for path, sequence in sequences.items() if path.parent.name == "test")
    headroom = row(motion_statistics(with_heads).occlusion, "all")
    seen = [headroom.seen_in_1, headroom.seen_in_2, headroom.seen_in_3, headroom.seen_in_5]
    copied = [headroom.copied_in_1, headroom.copied_in_2, headroom.copied_in_3, headroom.copied_in_5]
    assert [round(share, 3) for share in seen] == [0.117, 0.200, 0.265, 0.359]
    assert [round(share, 3) for share in copied] == [0.097, 0.156, 0.197, 0.250]
