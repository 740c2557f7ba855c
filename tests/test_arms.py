"""Arms of several runs and the difference of two: what is drawn, and intervals and p by hand."""

import math

import numpy as np
import pytest
from hand_scenes import random_run
from scipy.stats import norm

from harness.scoring import score
from harness.scoring.arms import Drawn, apart, arm_value, draw
from harness.scoring.entries import all_entries
from harness.scoring.matched import match_run
from harness.scoring.uncertainty import COLUMNS, clusters, replicates_of

TOTAL, NOSE = COLUMNS.index("total"), COLUMNS.index("nose")


def run_of(draws, *, value=50.0, column=TOTAL):
    """A run whose draws in one column are given, those of the others NaN."""
    drawn = np.full((len(draws), len(COLUMNS)), np.nan)
    drawn[:, column] = draws
    values = np.full(len(COLUMNS), np.nan)
    values[column] = value
    return Drawn(values, drawn, np.ones(len(COLUMNS), dtype=np.int64), 9)


def test_a_run_is_drawn_as_its_intervals_are():
    run = random_run(8, sequences=9, frames=8)
    matched = match_run(*run)
    found = draw(matched, ["all", "visibility:visible", "sharpness:low"], replicates=50, seed=5)
    assert set(found) == {"all", "visibility:visible"}  # nobody asked for the occluded, and there are no images
    expected = replicates_of(all_entries(matched), clusters(matched), replicates=50, seed=5)
    np.testing.assert_array_equal(found["all"].draws, expected.draws)
    assert found["all"].value[TOTAL] == pytest.approx(score(*run).value("ap"))
    truth = matched.table.scene.truth.present.sum(axis=0)
    assert found["all"].items[:15].tolist() == truth.tolist() and found["all"].items[TOTAL] == truth.sum()
    head = found["all"].items[COLUMNS.index("Head")]
    assert head == truth[[12, 13, 14]].sum() and found["all"].sequences == 9
    assert 0 < found["visibility:visible"].items[TOTAL] < truth.sum()


def test_fewer_than_eight_sequences_are_not_drawn():
    run = draw(match_run(*random_run(9, sequences=7, frames=8)), ["all"], replicates=50)["all"]
    assert len(run.draws) == 0 and run.value[TOTAL] > 0 and run.sequences == 7
    bounded = arm_value([run], "total")
    assert bounded.value == run.value[TOTAL] and math.isnan(bounded.low) and math.isnan(bounded.high)
    found = apart([run], [run], "total")
    assert found.difference == 0 and all(math.isnan(value) for value in (found.low, found.high, found.p))


def test_an_arm_is_the_mean_of_its_runs_draw_by_draw():
    """Draws 0..100 and 20..120 have the mean 10..110: 2.5 % of the way is 12.5, 97.5 % is 107.5."""
    arm = [run_of(np.arange(101.0), value=40.0), run_of(np.arange(101.0) + 20, value=60.0)]
    found = arm_value(arm, "total")
    assert (found.value, found.runs) == (50.0, (40.0, 60.0))
    assert (found.low, found.high) == pytest.approx((12.5, 107.5))
    assert arm_value(arm, "total", level=0.9).low == pytest.approx(15.0)
    assert math.isnan(arm_value(arm, "nose").value) and math.isnan(arm_value(arm, "nose").low)


def test_the_p_of_a_difference_counts_the_draws_across_the_line():
    """99 draws of the difference, -4.5, -3.5 ... 93.5: five lie at or below 0, so p = 2 (1 + 5) / (1 + 99)."""
    baseline = run_of(np.full(99, 10.0), value=10.0)
    arm = run_of(10.0 + np.arange(99) - 4.5, value=54.5)
    found = apart([arm], [baseline], "total")
    assert (found.difference, found.p) == (44.5, pytest.approx(0.12))
    assert (found.low, found.high) == pytest.approx((-4.5 + 0.025 * 98, -4.5 + 0.975 * 98))
    assert apart([baseline], [arm], "total").p == pytest.approx(0.12)
    assert apart([arm], [baseline], "total", margin=2.0).p == pytest.approx(0.08)  # three lie at or below -2
    assert apart([arm], [baseline], "total", margin=-44.5).p == 1.0  # half on either side


def test_beyond_all_draws_p_is_the_normal_tail_but_no_more_than_two_draws_worth():
    baseline = run_of(np.zeros(99), value=0.0)
    far, near = np.tile([9.0, 10.0, 11.0], 33), np.r_[np.full(98, 0.001), 50.0]
    spread = math.sqrt(2 / 3)
    assert apart([run_of(far)], [baseline], "total").p == pytest.approx(2 * norm.cdf(-10 / spread), rel=1e-9)
    assert norm.cdf(-near.mean() / near.std()) > 0.01
    assert apart([run_of(near)], [baseline], "total").p == pytest.approx(0.02)
    assert apart([run_of(np.full(99, 3.0))], [baseline], "total").p == pytest.approx(0.02)  # no spread to go by


def test_what_is_not_known_has_no_p():
    known, unknown = run_of(np.arange(9.0)), run_of(np.full(9, np.nan), value=1.0)
    for found in (apart([known], [unknown], "total"), apart([known], [run_of([1.0] * 9, column=NOSE)], "total")):
        assert math.isnan(found.p) and math.isnan(found.low)
