"""PCKh, end-point errors and temporal metrics against arithmetic by hand."""

import dataclasses

import numpy as np
import pytest
import small_scenes as small

from harness.datasets.sequences import NO_TRACK
from harness.errors import DataError
from harness.scoring import score

STEP = np.array([12.0, 0.0])


def walker(frames, shift=lambda frame: (0.0, 0.0)):
    """One person walking 12 px a frame; predictions are displaced by `shift(frame)`."""
    truth = [(frame, 1, small.pose(100 + 12 * frame, 50)) for frame in range(frames)]
    found = [(frame, 1, joints + np.array(shift(frame))) for frame, _, joints in truth]
    sequences = (small.sequence(truth),)
    return sequences, small.predictions(found, sequences)


def test_end_point_error_and_pckh_by_hand():
    """Head size 60: 6 px are 0.1 heads, 30 px are half a head and still found, 33 px are not."""
    sequences, predictions = walker(3, shift=lambda frame: [(6.0, 0.0), (30.0, 0.0), (0.0, 6.0)][frame])
    joints = predictions.joints.copy()
    joints[2, small.BODY[0]] += (33.0, -6.0)
    found = score(sequences, dataclasses.replace(predictions, joints=joints), protocol="pck")
    assert found.value("pckh", joint="right_ankle") == pytest.approx(100 * 2 / 3)
    assert found.value("pckh", joint="nose") == 100
    assert found.value("pckh") == pytest.approx(100 * 44 / 45)
    assert found.value("pckh_01", joint="nose") == pytest.approx(100 * 2 / 3)
    assert found.value("epe_head", joint="nose") == pytest.approx((0.1 + 0.5 + 0.1) / 3)
    assert found.value("epe_px", joint="nose") == pytest.approx(42 / 3)
    assert found.value("epe_px", joint="right_ankle") == pytest.approx((6 + 30 + 33) / 3)
    assert found.value("epe_head_median", joint="nose") == pytest.approx(0.1)
    assert found.value("pckh_auc", joint="nose") == pytest.approx(100 * (2 * 41 / 50 + 1 / 50) / 3)


def test_missed_people_count_as_not_found_but_have_no_error():
    truth = [(0, 1, small.pose(100, 50)), (0, 2, small.pose(600, 50))]
    sequences = (small.sequence(truth),)
    found = score(sequences, small.predictions([truth[0]], sequences), protocol="pck")
    assert found.value("pckh") == 50 and found.value("epe_head") == 0


def test_a_constant_offset_neither_shakes_nor_lags():
    found = score(*walker(6, shift=lambda frame: (0.0, 12.0)), protocol="temporal")
    for metric in ("accel_error_head", "jitter_head", "lag_frames", "flicker"):
        assert found.value(metric) == pytest.approx(0)
    rows = found.select(metric="accel_error_head", joint="nose").entries
    assert rows[0].n_truth == 4
    assert found.select(metric="jitter_head", joint="nose").entries[0].n_truth == 5


def test_trailing_by_one_frame_is_a_lag_of_one():
    found = score(*walker(6, shift=lambda frame: -STEP), protocol="temporal")
    assert found.value("lag_frames") == pytest.approx(1)
    ahead = score(*walker(6, shift=lambda frame: 0.5 * STEP), protocol="temporal")
    assert ahead.value("lag_frames", joint="left_wrist") == pytest.approx(-0.5)


def test_alternating_errors_shake():
    """Errors of +6 and -6 px in turn: 12 px (0.2 heads) from frame to frame, 24 px (0.4 heads) of acceleration."""
    found = score(*walker(7, shift=lambda frame: (0.0, 6.0 * (-1) ** frame)), protocol="temporal")
    assert found.value("jitter_head") == pytest.approx(0.2)
    assert found.value("accel_error_head") == pytest.approx(0.4)
    assert found.value("accel_error_px", joint="nose") == pytest.approx(24)


def test_flicker_counts_changes_of_found():
    """Frames found, not found, found, found: two changes in three pairs."""
    sequences, predictions = walker(4)
    joints = predictions.joints.copy()
    joints[1, small.BODY[3]] += (0.0, 31.0)
    found = score(sequences, dataclasses.replace(predictions, joints=joints), protocol="temporal")
    assert found.value("flicker", joint="left_hip") == pytest.approx(100 * 2 / 3)
    assert found.value("flicker") == pytest.approx(100 * 2 / 45)


def test_a_gap_in_the_labels_breaks_the_track():
    sequences, predictions = walker(5)
    frames = [dataclasses.replace(frame, index=frame.index + 4 * (frame.index > 1)) for frame in sequences[0].frames]
    found = score((dataclasses.replace(sequences[0], frames=tuple(frames)),), predictions, protocol="temporal")
    assert found.select(metric="accel_error_head", joint="nose").entries[0].n_truth == 1
    assert found.select(metric="jitter_head", joint="nose").entries[0].n_truth == 3


def test_temporal_needs_tracks_and_says_when_nothing_was_followed():
    sequences, predictions = walker(2)
    found = score(sequences, predictions, protocol="temporal")
    assert np.isnan(found.value("accel_error_head")) and any("three consecutive" in text for text in found.warnings)
    truth = dataclasses.replace(sequences[0].truth, track_ids=np.full(2, NO_TRACK))
    with pytest.raises(DataError, match="track id"):
        score((dataclasses.replace(sequences[0], truth=truth),), predictions, protocol="temporal")


@pytest.mark.parametrize("protocol", ["pck", "temporal"])
def test_per_sequence_rows_of_one_sequence_equal_the_whole(protocol):
    found = score(*walker(5, shift=lambda frame: (frame, -frame)), protocol=protocol, per_sequence=True)
    for row in found.select(slice="all").entries:
        other = found.value(row.metric, joint=row.joint, slice="sequence:000001_mpii_test")
        assert other == pytest.approx(row.value, nan_ok=True)
