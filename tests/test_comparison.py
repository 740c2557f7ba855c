"""Comparison of two runs: swaps against scoring the swapped runs for real, tests against scipy, verdicts by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hand_scenes import predictions_of, random_run, sequence_of, standing
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.errors import DataError
from harness.scoring import score
from harness.scoring.comparison import Difference, compare, compare_matched
from harness.scoring.differences import _verdict, holm
from harness.scoring.entries import all_entries, ranks
from harness.scoring.matched import match_run
from harness.scoring.paired import sequences_needed
from harness.scoring.replicates import permuted_ap, swap_draws
from harness.scoring.uncertainty import COLUMNS, clusters, columns_of, replicates_of

FREE = {"min_items": 0, "min_sequences": 0}
FEW = {"replicates": 200, "permutations": 300}


def pair(seed, sequences=8, noise=4.0, **options):
    """(sequences, predictions, the same predictions with noise)."""
    found, first = random_run(seed, sequences=sequences, **options)
    random = np.random.default_rng(seed + 1)
    return found, first, replace(first, joints=first.joints + random.normal(0, noise, first.joints.shape))


def with_relative_ranks(sequences, predictions, behind=0.0):
    """The predictions with every score replaced by its relative rank among those of its joint, `behind` equal ones."""
    matched = match_run(sequences, predictions)
    scores = np.zeros(predictions.scores.shape)
    for rank in ranks(matched.table):
        rows = matched.table.scene.predicted.row[rank.person]
        scores[rows, rank.joint] = -(np.arange(len(rows)) + 0.5) / max(len(rows), 1) - behind
    return replace(predictions, scores=scores)


def swapped(sequences, first, second, swaps):
    """The run that is `second` in the sequences marked 1, `first` elsewhere."""
    takes_second = np.array(swaps, dtype=bool)
    parts = [
        (predictions, np.flatnonzero(takes_second[predictions.sequence] == wanted))
        for predictions, wanted in ((first, False), (second, True))
    ]
    columns = {
        name: np.concatenate([getattr(predictions, name)[rows] for predictions, rows in parts])
        for name in ("sequence", "frame", "person", "track_ids", "boxes", "box_scores", "joints", "scores", "present")
    }
    order = np.argsort(columns["sequence"], kind="stable")
    return replace(first, **{name: values[order] for name, values in columns.items()})


def scored(sequences, predictions):
    return np.array(list(score(sequences, predictions).by_joint("ap", protocol="poseval").values())[:15])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 3000), st.lists(st.integers(0, 1), min_size=4, max_size=4))
def test_a_permutation_is_the_score_of_the_swapped_runs(seed, swaps):
    sequences, first, second = pair(seed, sequences=4, frames=6, people=(2, 3))
    fewer = np.random.default_rng(seed).random(len(second)) < 0.7
    fields = ("sequence", "frame", "person", "track_ids", "boxes", "box_scores", "joints", "scores", "present")
    second = replace(second, **{name: getattr(second, name)[fewer] for name in fields})
    a, b = match_run(sequences, first), match_run(sequences, second)
    found = permuted_ap(all_entries(a), all_entries(b), np.array([swaps]))[0]
    ranked = [with_relative_ranks(sequences, first), with_relative_ranks(sequences, second, behind=1e-9)]
    expected = scored(sequences, swapped(sequences, *ranked, swaps))
    assert found.tolist() == pytest.approx(expected.tolist(), abs=2e-4, nan_ok=True)


def test_no_swap_and_full_swap_are_the_runs_themselves():
    sequences, first, second = pair(1)
    a, b = match_run(sequences, first), match_run(sequences, second)
    found = permuted_ap(all_entries(a), all_entries(b), np.array([[0] * 8, [1] * 8]))
    assert found[0] == pytest.approx(scored(sequences, first), abs=1e-4)
    assert found[1] == pytest.approx(scored(sequences, second), abs=1e-4)


def test_all_swaps_are_listed_once_where_they_are_few():
    swaps, exact = swap_draws(4, 10)
    assert exact
    assert sorted(map(tuple, swaps.tolist())) == [(0, *rest) for rest in itertools.product((0, 1), repeat=3)]
    assert not swaps[0].any()
    swaps, exact = swap_draws(20, 50, seed=1)
    assert not exact
    assert swaps.shape == (51, 20)
    assert not swaps[0].any()
    assert not swaps[:, 0].any()


def test_exact_p_is_the_share_of_swaps_at_least_as_far():
    sequences, first, second = pair(2, noise=2.0)
    row = compare(sequences, first, second, **FEW).row("nose")
    a, b = all_entries(match_run(sequences, first)), all_entries(match_run(sequences, second))
    nose = COLUMNS.index("nose")
    distances = []
    for swaps in itertools.product((0, 1), repeat=8):
        turned = [permuted_ap(a, b, np.array([side]))[0, nose] for side in (swaps, tuple(1 - s for s in swaps))]
        distances.append(abs(turned[1] - turned[0]))
    expected = np.mean([distance >= distances[0] - 1e-4 for distance in distances])
    assert row.p == pytest.approx(expected)


def test_values_and_interval_are_those_of_the_paired_draws():
    sequences, first, second = pair(3)
    result = compare(sequences, first, second, **FEW)
    a, b = (match_run(sequences, predictions) for predictions in (first, second))
    sides = [replicates_of(all_entries(run), clusters(run), replicates=200) for run in (a, b)]
    draws = sides[1].draws - sides[0].draws
    for column, name in enumerate(COLUMNS):
        row = result.row(name)
        assert row.difference == pytest.approx(row.b - row.a)
        assert (row.low, row.high) == pytest.approx(tuple(np.quantile(draws[:, column], [0.025, 0.975])))
    assert [result.row(name).a for name in COLUMNS] == pytest.approx(
        columns_of(scored(sequences, first)[None])[0].tolist()
    )


def test_a_run_against_itself_shows_nothing():
    sequences, first, _ = pair(4)
    for row in compare(sequences, first, first, **FEW).rows:
        assert (row.difference, row.low, row.high, row.p, row.p_mcnemar, row.p_hits) == (0, 0, 0, 1, 1, 1)
        assert row.verdict == "not shown"
        assert row.more_for_interval is None


def test_a_worse_run_is_worse_and_the_other_way_round_better():
    sequences, first, second = pair(5, sequences=12, people=(3, 4), noise=6.0)
    worse = compare(sequences, first, second, replicates=300, permutations=3000)
    better = compare(sequences, second, first, replicates=300, permutations=3000)
    assert worse.row().verdict == "worse"
    assert better.row().verdict == "better"
    assert better.row().difference == pytest.approx(-worse.row().difference)
    assert better.row().p == worse.row().p
    assert "worse" in worse.row().sentence
    assert "Holm" in worse.row().sentence
    assert (worse.row().more_for_interval, worse.row().only_a > worse.row().only_b) == (0, True)


def test_the_scale_of_a_runs_scores_does_not_matter():
    sequences, first, second = pair(6)
    plain = compare(sequences, first, second, **FEW)
    scaled = compare(sequences, first, replace(second, scores=second.scores * 1000 - 7), **FEW)
    for name in ("p", "low", "high"):
        values = [[getattr(row, name) for row in result.rows] for result in (plain, scaled)]
        assert np.array_equal(*values, equal_nan=True)


def test_mcnemar_equals_scipy_and_counts_by_hand():
    sequences, first, second = pair(7)
    result = compare(sequences, first, second, **FEW)
    for row in result.rows:
        expected = stats.binomtest(row.only_a, row.only_a + row.only_b).pvalue
        assert row.p_mcnemar == pytest.approx(expected, rel=1e-9)
    joints = result.select(kind="joint").rows
    assert result.row().only_a == sum(row.only_a for row in joints)
    assert result.row("Wrist").only_b == sum(row.only_b for row in joints if row.name.endswith("wrist"))
    assert result.row().n_truth == sum(row.n_truth for row in joints)


def shifted_pair(hits_a, hits_b):
    """One person per frame and sequence; a[s] of the frames of sequence s are found by a, b[s] by b, of 3."""
    sequences, parts = [], ([], [])
    for number in range(len(hits_a)):
        sequences.append(sequence_of([(frame, 0, standing()) for frame in range(3)], name=f"clip{number}"))
        for side, hits in zip(parts, (hits_a, hits_b), strict=True):
            side += [(number, f, standing(0 if f < hits[number] else 200), 0.9 - 0.01 * number) for f in range(3)]
    names = tuple(sequence.name for sequence in sequences)
    return tuple(sequences), *(predictions_of(*side, names=names) for side in parts)


def test_hits_are_tested_by_whole_sequences():
    run = shifted_pair([0] * 8, [1] * 8)
    row = compare(*run, **FEW).row("nose")
    # eight times +1: only all signs equal are as far, 2 of 256
    assert row.p_hits == pytest.approx(2 / 256)
    assert (row.only_a, row.only_b) == (0, 8)
    assert row.p_mcnemar == pytest.approx(2 * 0.5**8)


def test_holm_by_hand_and_its_order():
    assert holm([0.01, 0.02, 0.5]) == pytest.approx([0.03, 0.04, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(new >= old and new <= 1 for new, old in zip(adjusted, p, strict=True))
    assert [new for _, new in sorted(zip(p, adjusted, strict=True))] == sorted(adjusted)


def test_holm_is_taken_over_the_joints_of_all_slices_and_the_groups_of_all_slices():
    sequences, first, second = pair(8, people=(3, 4), frames=5, noise=3.0)
    result = compare(sequences, first, second, slices=["all", "visibility"], min_items=1, **FEW)
    for kind in ("joint", "group"):
        rows = result.select(kind=kind).rows
        assert len({row.slice for row in rows}) == 3
        assert [row.p_holm for row in rows] == pytest.approx(holm([row.p for row in rows]), nan_ok=True)


def test_how_many_more_sequences_by_hand():
    # 20 sequences, difference 1, error 1: 1.96^2 * 20 = 76.8; with 80 % power 2.80^2 * 20 = 157
    assert sequences_needed(1.0, 1.0, 20, 0.95, 0.5) == 57
    assert sequences_needed(1.0, 1.0, 20, 0.95, 0.8) == 137
    assert sequences_needed(-4.0, 1.0, 20, 0.95, 0.5) == 0
    assert sequences_needed(0.0, 1.0, 20, 0.95, 0.5) is None


def blank(**values):
    row = dict.fromkeys(Difference.__dataclass_fields__, 0) | {"reason": "", "verdict": "not shown"}
    return Difference(**(row | values))


@pytest.mark.parametrize(
    ("values", "verdict", "reason"),
    [
        ({"difference": 1, "low": 0.2, "high": 2, "p_holm": 0.01}, "better", "agree"),
        ({"difference": -1, "low": -2, "high": -0.2, "p_holm": 0.01}, "worse", "agree"),
        ({"difference": 1, "low": 0.2, "high": 2, "p_holm": 0.06}, "not shown", "Holm"),
        ({"difference": 1, "low": -0.2, "high": 2, "p_holm": 0.01, "more_for_interval": 9}, "not shown", "9 more"),
        ({"difference": 1, "low": math.nan, "high": math.nan}, "not shown", "fewer than 8"),
        ({"difference": math.nan, "low": math.nan}, "not shown", "too few joints"),
        ({"difference": 1, "low": 0.2, "p_holm": 0.01, "reason": "unmatched poses"}, "not shown", "unmatched"),
    ],
)
def test_verdicts(values, verdict, reason):
    judged = _verdict(blank(**values), 0.95)
    assert judged.verdict == verdict
    assert reason in judged.reason


def test_no_finding_where_unmatched_poses_decide_the_sign():
    sequences, parts = [], ([], [])
    for number in range(8):
        names = [f"clip{number}" for number in range(8)]
        whole, partly = standing(), standing(100)
        partly[0] = np.nan
        people = [(0, 0, whole), (1, 0, whole), (0, 1, partly)]
        sequences.append(sequence_of(people, name=names[number], frames=2))
        parts[0].extend([(number, 0, whole, 0.5), (number, 0, partly, 0.5)])
        parts[1].extend([(number, 0, whole, 0.5), (number, 1, whole, 0.5), (number, 0, partly, 0.5)])
        parts[1].extend([(number, 0, standing(2000 + 50 * stray), 0.9) for stray in range(5)])
    names = tuple(sequence.name for sequence in sequences)
    a, b = (predictions_of(*side, names=names) for side in parts)
    result = compare(tuple(sequences), a, b, slices=["missing_fraction", "all"], min_items=1, **FEW)
    row = result.row("nose", slice="missing_fraction:0")
    assert (row.verdict, row.reason) == ("not shown", "unmatched poses decide the sign")
    assert result.row("nose").reason != row.reason


def test_too_few_sequences_have_counts_but_no_test():
    sequences, first, second = pair(9, sequences=5)
    row = compare(sequences, first, second, **FEW).row()
    assert math.isnan(row.low)
    assert math.isnan(row.p)
    assert row.reason == "fewer than 8 sequences"
    assert row.n_truth > 0
    assert row.sentence.endswith("not shown (fewer than 8 sequences)")


def test_other_data_or_another_truth_is_refused():
    sequences, first, second = pair(10, sequences=3)
    a = match_run(sequences, first)
    with pytest.raises(DataError, match="different sequences"):
        compare_matched(a, match_run(sequences[:2], second))
    moved = replace(sequences[0], truth=replace(sequences[0].truth, joints=sequences[0].truth.joints + 1))
    with pytest.raises(DataError, match="different truths: the joints differ"):
        compare_matched(a, match_run((moved, *sequences[1:]), second))
    with pytest.raises(DataError, match="no predictions for 1 of 3"):
        compare(sequences, first, replace(second, sequence_names=("clip0", "clip1", "other")))


def test_slices_that_are_not_available_are_named():
    sequences, first, second = pair(11, flags=False)
    result = compare(sequences, first, second, slices=["all", "visibility"], **FEW)
    assert "visibility" in result.facts["not_available"]
    assert {row.slice for row in result.rows} == {"all"}
    assert result.facts["all_permutations"]
    plain = result.to_rows()
    assert len(plain) == len(COLUMNS)
    assert list(result.to_pandas().columns) == list(plain[0])


@pytest.mark.long
def test_equally_good_runs_are_rarely_told_apart():
    """Two runs that differ by chance alone, and by the scale of their scores: p is rarely small."""
    small = []
    for seed in range(120):
        sequences, first = random_run(seed, sequences=16, frames=8, people=(1, 3), flags=False)
        random = np.random.default_rng(seed + 99_999)
        a, b = (
            replace(
                first,
                joints=first.joints + random.normal(0, 3, first.joints.shape),
                scores=scale * random.random(first.scores.shape),
            )
            for scale in (1, 10)
        )
        small.append(compare(sequences, a, b, replicates=100, permutations=400, seed=seed).row("nose").p <= 0.1)
    assert 0.02 < np.mean(small) < 0.19
