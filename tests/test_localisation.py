"""How near joints are placed: by hand, against plain numpy over repeated sequences, and beside pck of the scorer."""

import math

import numpy as np
import pytest
from hand_scenes import predictions_of, random_run, sequence_of, standing

from harness.scoring.arms import Drawn, apart_at, mean_of
from harness.scoring.endpoint import score_endpoint
from harness.scoring.localisation import ERRORS, draw_errors
from harness.scoring.matched import match_run
from harness.scoring.replicates import bootstrap_draws

MEDIAN, NEAR = ERRORS.index("median_px"), ERRORS.index("pckh_01")


def test_half_of_the_joints_and_those_within_a_tenth_by_hand():
    """Heads are 10 px: eight joints are exact, of the others six lie 3 px off and one is not there."""
    truth = sequence_of([(0, 1, standing())])
    found = standing()
    found[8:14, 0] += 3
    found[14] = np.nan
    answer = draw_errors(match_run([truth], predictions_of((0, 0, found, 0.9))))
    assert answer.value.tolist() == [0.0, pytest.approx(100 * 8 / 15)] and answer.items.tolist() == [15, 15]
    found[7, 0] += 3  # now seven are exact, and the eighth of fifteen is 3 px off
    answer = draw_errors(match_run([truth], predictions_of((0, 0, found, 0.9))))
    assert answer.value[MEDIAN] == pytest.approx(3) and answer.value[NEAR] == pytest.approx(100 * 7 / 15)
    assert answer.draws.shape == (0, 2), "one sequence is no sample"


def test_where_most_are_not_found_there_is_no_median():
    people = [(0, 1, standing()), (0, 2, standing(200)), (0, 3, standing(400))]
    answer = draw_errors(match_run([sequence_of(people)], predictions_of((0, 0, standing(), 0.9))))
    assert math.isnan(answer.value[MEDIAN]) and answer.value[NEAR] == pytest.approx(100 / 3)
    nobody = draw_errors(match_run([sequence_of(people)], predictions_of()))
    assert math.isnan(nobody.value[MEDIAN]) and nobody.value[NEAR] == 0


def test_draws_are_those_of_repeated_sequences():
    run = random_run(3, sequences=9, frames=6)
    matched = match_run(*run)
    answer = draw_errors(matched, replicates=70, seed=4)
    table = matched.table
    errors = [[] for _ in range(9)]
    for person, joint in zip(*np.nonzero(table.scene.truth.present), strict=True):
        found = table.predicted_of[person]
        heads = table.distance[found, joint] if found >= 0 else np.nan
        heads = np.inf if np.isnan(heads) else heads
        errors[table.truth_sequence[person]].append((heads * table.scene.head[person], heads))
    for weights, (median, near) in zip(bootstrap_draws(9, 70, seed=4), answer.draws, strict=True):
        pixels, heads = np.array([pair for part, times in zip(errors, weights, strict=True) for pair in part * times]).T
        expected = np.sort(pixels)[(len(pixels) + 1) // 2 - 1]
        assert median == pytest.approx(expected if np.isfinite(expected) else np.nan, nan_ok=True)
        assert near == pytest.approx(100 * (heads <= 0.1).mean())
    stored = score_endpoint(*run).value("pckh_01", protocol="pck")
    assert answer.value[NEAR] == pytest.approx(stored)


def test_arms_in_a_column():
    ramp = np.linspace(0, 1, 401)[:, None] * [1.0, 10.0]
    one, two = (
        Drawn(np.array([5.0, 50.0]), 5 + ramp, np.ones(2), 9),
        Drawn(np.array([4.0, 70.0]), 4 + 2 * ramp, np.ones(2), 9),
    )
    assert mean_of([one, two], NEAR).runs == (50.0, 70.0) and mean_of([one, two], MEDIAN).value == 4.5
    found = apart_at([two], [one], NEAR)
    assert (found.difference, found.low, found.high) == pytest.approx((20.0, -0.75, 8.75))
