"""Comparison of two runs: swaps against scoring the swapped runs for real, tests against scipy, verdicts by hand."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_scenes import predictions_of, random_run, sequence_of, standing
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.datasets.sequences import DataSet
from harness.errors import DataError
from harness.scoring import score
from harness.scoring.comparison import Difference, compare, compare_matched
from harness.scoring.differences import _verdict, holm
from harness.scoring.entries import all_entries, ranks
from harness.scoring.matched import match_run
from harness.scoring.paired import _spread, sequences_needed
from harness.scoring.replicates import permuted_ap, swap_draws
from harness.scoring.slices import count_slices
from harness.scoring.uncertainty import COLUMNS, _bca, clusters, columns_of, replicates_of
from harness.skeletons import GROUPS, POSETRACK15

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
    assert swap_draws(4, 8)[1]
    swaps, exact = swap_draws(5, 8)
    assert (swaps.shape, exact) == ((9, 5), False)
    swaps, exact = swap_draws(20, 50, seed=1)
    assert not exact
    assert swaps.shape == (51, 20)
    assert not swaps[0].any()
    assert not swaps[:, 0].any()
    assert np.array_equal(swaps, swap_draws(20, 50, seed=1)[0])
    assert not np.array_equal(swaps, swap_draws(20, 50, seed=2)[0])


def test_random_swaps_take_every_sequence_but_the_first_half_of_the_time():
    swaps, _ = swap_draws(20, 2000)
    assert set(swaps.ravel().tolist()) == {0, 1}
    assert swaps.mean(axis=0) == pytest.approx(np.repeat([0, 0.5], [1, 19]), abs=0.06)


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


def test_seed_kind_and_level_of_the_interval_are_those_asked_for():
    sequences, first, second = pair(3)
    result = compare(sequences, first, second, seed=3, kind="bca", level=0.8, **FEW)
    a, b = (match_run(sequences, predictions) for predictions in (first, second))
    sides = [replicates_of(all_entries(run), clusters(run), replicates=200, seed=3) for run in (a, b)]
    value, draws, left_out = (
        getattr(sides[1], part) - getattr(sides[0], part) for part in ("value", "draws", "left_out")
    )
    for column, name in enumerate(COLUMNS):
        row = result.row(name)
        expected = _bca(value[column], draws[:, column], left_out[:, column], 0.8)
        assert (row.low, row.high) == pytest.approx(expected)
        assert row.more_for_power == sequences_needed(row.difference, draws[:, column].std(ddof=1), 8, 0.8, 0.8)


def test_joints_of_too_few_items_have_neither_interval_nor_p_and_are_not_in_the_total():
    sequences, first, second = pair(12, sequences=9, people=(3, 4))
    result = compare(sequences, first, second, slices=["visibility"], min_items=90, min_sequences=1, **FEW)
    joints = result.select(slice="visibility:occluded", kind="joint").rows
    shown = np.array([row.n_truth >= 90 for row in joints])
    assert 5 < shown.sum() < 12
    for name in ("a", "b", "low", "high", "p", "p_holm"):
        assert np.array_equal([math.isnan(getattr(row, name)) for row in joints], ~shown), name
    runs = [match_run(sequences, predictions) for predictions in (first, second)]
    entries = [count_slices(run, ["visibility"], **FREE)[0][1].entries() for run in runs]
    a, b = (replicates_of(side, np.arange(9), replicates=200).draws[:, :15][:, shown] for side in entries)
    row = result.row(slice="visibility:occluded")
    assert (row.low, row.high) == pytest.approx(tuple(np.quantile((b - a).mean(axis=1), [0.025, 0.975])))


def test_the_bins_of_a_slice_share_out_what_either_run_found_alone():
    sequences, first, second = pair(7)
    result = compare(sequences, first, second, slices=["all", "visibility"], **FEW)
    for name in COLUMNS:
        whole, seen, hidden = (result.row(name, slice=s) for s in ("all", "visibility:visible", "visibility:occluded"))
        assert whole.only_a == seen.only_a + hidden.only_a
        assert whole.only_b == seen.only_b + hidden.only_b
        assert whole.n_truth == seen.n_truth + hidden.n_truth
    assert 0 < result.row(slice="visibility:occluded").only_a < result.row().only_a


def test_sequences_are_those_that_have_the_joint_one_of_the_group_or_anything():
    bent = standing()
    bent[POSETRACK15.index("nose")] = np.nan
    lower = bent.copy()
    lower[[POSETRACK15.index(joint) for joint in GROUPS["Head"]]] = np.nan
    people = [standing()] * 3 + [bent] * 2 + [lower] * 4
    sequences = tuple(sequence_of([(0, 0, joints)], name=f"clip{number}") for number, joints in enumerate(people))
    found = predictions_of(
        *((number, 0, joints, 0.5) for number, joints in enumerate(people)), names=tuple(s.name for s in sequences)
    )
    result = compare(sequences, found, found, **FEW)
    assert [result.row(name).sequences for name in ("nose", "head_top", "Head", "total")] == [3, 5, 5, 9]


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


def clips(people, a, b, count=8):
    """Sequences of two frames, all alike: people as (frame, track, joints), either run as (frame, joints, score)."""
    names = tuple(f"clip{number}" for number in range(count))
    sequences = tuple(sequence_of(people, name=name, frames=2) for name in names)
    runs = (
        predictions_of(*((number, *part) for number in range(count) for part in run), names=names) for run in (a, b)
    )
    return sequences, *runs


WHOLE, PARTLY = standing(), standing(100)
PARTLY[0] = np.nan
STRAYS = [(0, standing(2000 + 50 * stray), 0.9) for stray in range(5)]


def test_hits_are_tested_by_whole_sequences():
    run = shifted_pair([0] * 8, [1] * 8)
    row = compare(*run, **FEW).row("nose")
    # eight times +1: only all signs equal are as far, 2 of 256
    assert row.p_hits == pytest.approx(2 / 256)
    assert (row.only_a, row.only_b) == (0, 8)
    assert row.p_mcnemar == pytest.approx(2 * 0.5**8)
    # seven times +1 and once -1: 2 of the 256 are farther and 16 as far
    row = compare(*shifted_pair([0] * 7 + [3], [1] * 7 + [2]), **FEW).row("nose")
    assert row.p_hits == pytest.approx(18 / 256)
    assert (row.only_a, row.only_b) == (1, 7)


def test_as_many_hits_of_either_run_alone_are_no_evidence():
    row = compare(*shifted_pair([1, 0] * 4, [0, 1] * 4), **FEW).row("nose")
    assert (row.only_a, row.only_b, row.p_mcnemar, row.p_hits) == (4, 4, 1, 1)


def test_who_was_not_found_has_no_hits_of_somebody_else():
    """a finds the second of two people, b both."""
    people, found = [(0, 0, WHOLE), (0, 1, standing(500))], [(0, standing(500), 0.5)]
    row = compare(*clips(people, found, [(0, WHOLE, 0.6), *found]), **FEW).row("nose")
    assert (row.only_a, row.only_b, row.n_truth) == (0, 8, 16)


def test_the_spread_of_draws_leaves_out_those_that_are_not_known():
    draws = np.array([[1.0, 1.0, 1.0], [3.0, 3.0, np.nan], [5.0, np.nan, np.nan]])
    assert _spread(draws) == pytest.approx([2, np.sqrt(2), np.nan], nan_ok=True)


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


AGREE, WIDE = "interval and permutation agree", "the interval does not exclude 0"
HOLM = "not significant after Holm's correction"


@pytest.mark.parametrize(
    ("values", "verdict", "reason"),
    [
        ({"difference": 1, "low": 0.2, "high": 2, "p_holm": 0.01}, "better", AGREE),
        ({"difference": 1, "low": 0.2, "high": 2, "p_holm": 0.05}, "better", AGREE),
        ({"difference": -1, "low": -2, "high": -0.2, "p_holm": 0.01}, "worse", AGREE),
        ({"difference": 1, "low": 0.2, "high": 2, "p_holm": 0.06}, "not shown", HOLM),
        ({"difference": 1, "low": -0.2, "high": 2, "p_holm": 0.01, "more_for_interval": 9}, "not shown",
         WIDE + "; about 9 more sequences would"),
        ({"difference": 1, "low": -0.2, "high": 0.5, "p_holm": 0.01, "more_for_interval": None}, "not shown", WIDE),
        ({"difference": 1, "low": 0, "high": 2, "p_holm": 0.01, "more_for_interval": None}, "not shown", WIDE),
        ({"difference": -1, "low": -2, "high": 0, "p_holm": 0.01, "more_for_interval": None}, "not shown", WIDE),
        ({"difference": 1, "low": math.nan, "high": math.nan}, "not shown", "fewer than 8 sequences"),
        ({"difference": math.nan, "low": math.nan}, "not shown", "too few joints or sequences for an AP"),
        ({"difference": 1, "low": 0.2, "p_holm": 0.01, "reason": "unmatched poses"}, "not shown", "unmatched poses"),
    ],
)  # fmt: skip
def test_verdicts(values, verdict, reason):
    judged = _verdict(blank(**values), 0.95)
    assert (judged.verdict, judged.reason) == (verdict, reason)


def test_no_finding_where_unmatched_poses_decide_the_sign():
    people = [(0, 0, WHOLE), (1, 0, WHOLE), (0, 1, PARTLY)]
    found = [(0, WHOLE, 0.5), (0, PARTLY, 0.5)]
    run = clips(people, found, [*found, (1, WHOLE, 0.5), *STRAYS])
    result = compare(*run, slices=["missing_fraction", "all"], min_items=1, **FEW)
    row = result.row("nose", slice="missing_fraction:0")
    assert (row.verdict, row.reason) == ("not shown", "unmatched poses decide the sign")
    assert result.row("nose").reason != row.reason


def test_no_finding_where_poses_near_people_of_another_bin_would_turn_the_sign():
    """b finds twice as often, but has five poses near somebody of another bin, who count only where all do."""
    wide = np.stack([10.0 * (np.arange(15) % 2), np.zeros(15)], axis=1)
    people = [(0, 0, WHOLE), (1, 0, WHOLE), (0, 1, PARTLY + wide)]
    found = [(0, WHOLE, 0.5), (0, PARTLY + wide, 0.5)]
    beside = [(0, standing(100, 8 + 0.5 * place) + wide, 0.9) for place in range(5)]
    run = clips(people, found, [*found, (1, WHOLE, 0.5), *beside])
    row = compare(*run, slices=["missing_fraction"], min_items=1, **FEW).row("nose", slice="missing_fraction:0")
    assert row.difference == pytest.approx(50)
    assert (row.verdict, row.reason) == ("not shown", "unmatched poses decide the sign")


def test_strays_may_decide_how_much_better_a_run_is_but_not_which():
    """Without the strays of a both find all but the top of the head, which a alone finds: 0 is no other sign."""
    headless = WHOLE.copy()
    headless[POSETRACK15.index("head_top")] += 200
    run = clips([(0, 0, WHOLE)], [(0, WHOLE, 0.5), *STRAYS], [(0, headless, 0.5)], count=12)
    options = {"slices": ["missing_fraction"], "min_items": 1, "replicates": 100, "permutations": 3000}
    for sides, nose, head_top in ((run[1:], "better", "worse"), (run[:0:-1], "worse", "better")):
        result = compare(run[0], *sides, **options).select(slice="missing_fraction:0")
        assert result.row("nose", slice="missing_fraction:0").verdict == nose
        assert result.row("head_top", slice="missing_fraction:0").verdict == head_top


def test_too_few_sequences_have_counts_but_no_test():
    sequences, first, second = pair(9, sequences=5)
    row = compare(sequences, first, second, **FEW).row()
    assert math.isnan(row.low)
    assert math.isnan(row.p)
    assert row.reason == "fewer than 8 sequences"
    assert row.n_truth > 0
    assert row.sentence.endswith("not shown (fewer than 8 sequences)")


def test_other_sequences_are_refused_and_named():
    sequences, first, second = pair(10, sequences=3)
    a = match_run(sequences, first)
    for others, differs in ((sequences[:2], "3 and 2; clip2"), (sequences[::-1], "3 and 3; their order")):
        with pytest.raises(DataError) as refused:
            compare_matched(a, match_run(others, second))
        assert str(refused.value) == (
            f"the two runs are of different sequences ({differs} differs); compare runs on the same data set and split"
        )
    with pytest.raises(DataError, match="no predictions for 1 of 3"):
        compare(sequences, first, replace(second, sequence_names=("clip0", "clip1", "other")))


TRUTH = sequence_of([(0, 0, WHOLE), (0, 1, PARTLY), (1, 0, WHOLE)], frames=4).truth


@pytest.mark.parametrize(
    ("label", "changes"),
    [
        ("frames", {"frame": TRUTH.frame + 1}),
        ("people", {"frame": np.array([0, 1, 1])}),
        ("joints", {"joints": TRUTH.joints + np.array([1, 0])}),
        ("joints", {"joints": TRUTH.joints + np.array([0, 1])}),
        ("head sizes", {"head_boxes": TRUTH.head_boxes * 2}),
    ],
)
def test_another_truth_is_refused_and_what_differs_named(label, changes):
    sequence = sequence_of([], frames=4)
    found = predictions_of((0, 0, WHOLE, 0.5))
    a, b = (match_run([replace(sequence, truth=truth)], found) for truth in (TRUTH, replace(TRUTH, **changes)))
    compare_matched(a, a, **FEW)
    with pytest.raises(DataError) as refused:
        compare_matched(a, b)
    assert str(refused.value) == (
        f"the two runs were scored against different truths: the {label} differ; score both against the same label "
        "files and with the same --compat"
    )


def test_a_data_set_stands_for_its_sequences():
    sequences, first, second = pair(3)
    data = DataSet("own", "val", Path(), sequences, "sha256:0")
    assert compare(data, first, second, **FEW).row() == compare(sequences, first, second, **FEW).row()
    assert score(data, first).rows == score(sequences, first).rows


def test_slices_that_are_not_available_are_named():
    sequences, first, second = pair(11, flags=False)
    result = compare(sequences, first, second, slices=["all", "visibility"], **FEW)
    needs = result.facts["not_available"]["visibility"]
    assert result.warnings == (f"slice 'visibility' is not available: it needs {needs}",)
    assert {row.slice for row in result.rows} == {"all"}
    assert result.facts["all_permutations"]
    plain = result.to_rows()
    assert len(plain) == len(COLUMNS)
    assert result.rows[0].name == plain[0]["name"]
    few = compare(sequences[:2], first, second, **FEW)
    assert (few.to_rows()[0]["low"], few.to_rows()[0]["n_truth"]) == (None, few.rows[0].n_truth)
    assert list(result.to_pandas().columns) == list(plain[0])


def test_random_swaps_are_as_many_as_asked_for_and_those_of_the_seed():
    b_more = np.array([2, 1, -1, 2, 0, 1, -1, 1, 0, 1, 2, -1])
    run = shifted_pair(np.full(12, 1), 1 + b_more)
    result = compare(*run, seed=5, **FEW)
    assert (result.facts["permutations"], result.facts["all_permutations"]) == (300, False)
    sums = (1 - 2 * swap_draws(12, 300, seed=5)[0]) @ b_more
    assert result.row("nose").p_hits == pytest.approx(np.mean(np.abs(sums) >= 7))
    assert {compare(*run, seed=seed, **FEW).row("nose").p_hits for seed in range(4)} != {result.row("nose").p_hits}


def test_the_facts_say_what_was_done_where_nothing_was_asked_for():
    sequences, first, second = pair(13)
    a, b = match_run(sequences, first), match_run(sequences, second)
    assert compare_matched(a, b, **FEW).facts == {
        "sequences": 8, "replicates": 200, "permutations": 128, "all_permutations": True, "seed": 0,
        "interval": "percentile", "level": 0.95, "not_available": {},
    }  # fmt: skip


def test_limits_of_sequences_images_and_compat_are_passed_on():
    sequences, first, second = pair(12, sequences=9, people=(3, 4))
    limits = {"slices": ["visibility"], "min_items": 1, "min_sequences": 9}
    rows = compare(sequences, first, second, **limits, **FEW).select(slice="visibility:occluded", kind="joint").rows
    assert [row.name for row in rows if math.isnan(row.a)] == [row.name for row in rows if row.sequences < 9] != []
    grey = np.zeros((480, 640), dtype=np.uint8)
    sharp = compare(sequences, first, second, slices=["sharpness"], images=lambda *_: grey, **FEW)
    assert not sharp.facts["not_available"]
    assert "sharpness" in compare(sequences, first, second, slices=["sharpness"], **FEW).facts["not_available"]
    shared = replace(second, track_ids=np.zeros_like(second.track_ids))
    with pytest.raises(DataError, match="share track id 0"):
        compare(sequences, first, shared, **FEW)
    with pytest.raises(DataError, match="share track id 0"):
        match_run(sequences, shared)
    assert compare(sequences, first, shared, compat="fixed", **FEW).row().n_truth > 0


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
