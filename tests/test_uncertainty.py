"""Intervals: replicates against scoring the drawn sequences for real, BCa against scipy, and the rules around them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hand_scenes import random_run
from hypothesis import given, settings
from hypothesis import strategies as st
from poseval_goldens import load
from scipy import stats

from harness.errors import UsageError
from harness.predictions import Predictions
from harness.scoring import score
from harness.scoring.entries import Entries, all_entries, average_precision
from harness.scoring.matched import match_run
from harness.scoring.replicates import _pooled, bootstrap_draws, jackknife_draws, replicate_ap
from harness.scoring.slices import count_slices, score_slices
from harness.scoring.uncertainty import (
    COLUMNS,
    _bca,
    clusters,
    group_intervals,
    intervals,
    replicates_of,
    with_intervals,
)

FREE = {"min_items": 0, "min_sequences": 0}


def drawn(sequences, predictions, counts):
    """The run in which sequence s occurs counts[s] times, under names of their own."""
    picks = [number for number, count in enumerate(counts) for _ in range(count)]
    rows = [np.flatnonzero(predictions.sequence == number) for number in picks]
    taken = np.concatenate(rows)
    columns = {
        name: getattr(predictions, name)[taken]
        for name in ("frame", "person", "track_ids", "boxes", "box_scores", "joints", "scores", "present")
    }
    names = tuple(f"copy{place}" for place in range(len(picks)))
    resampled = Predictions(
        sequence_names=names,
        sequence=np.repeat(np.arange(len(picks)), [len(part) for part in rows]),
        skeleton=predictions.skeleton,
        **columns,
    )
    return tuple(replace(sequences[pick], name=name) for pick, name in zip(picks, names, strict=True)), resampled


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5000), st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_a_replicate_is_the_score_of_the_drawn_sequences(seed, counts):
    run = random_run(seed, sequences=4, frames=8)
    ap = replicate_ap(all_entries(match_run(*run)), np.array([counts]))[0]
    try:
        expected = list(score(*drawn(*run, counts)).by_joint("ap", protocol="poseval").values())[:15]
    except Exception as error:  # a draw without any person cannot be scored
        assert "nothing to score" in str(error)
        return
    assert ap.tolist() == pytest.approx(expected, abs=1e-4, nan_ok=True)


def test_golden_replicates_are_the_scores_of_the_drawn_sequences():
    run = load("small")
    ap = replicate_ap(all_entries(match_run(*run)), np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0]]))
    for row, counts in zip(ap, ([1, 1, 1], [2, 0, 1], [0, 3, 0]), strict=True):
        expected = list(score(*drawn(*run, counts)).by_joint("ap", protocol="poseval").values())[:15]
        assert row.tolist() == pytest.approx(expected, abs=1e-4)


def plain_ap(entries, weights):
    """AP of weighted entries, one at a time."""
    hits = total = 0.0
    points = []
    for hit, weight, sequence in zip(entries.hit, entries.weight, entries.sequence, strict=True):
        hits += weights[sequence] * hit
        total += weights[sequence] * weight
        points.append((weights[sequence] * hit, hits / total if total else 0.0))
    found = float(np.dot(weights, entries.truth))
    return 100 * sum(step * max(p for _, p in points[rank:]) for rank, (step, _) in enumerate(points)) / found


def test_shared_weights_of_slices_are_kept():
    matched = match_run(*random_run(7, sequences=5, frames=15))
    known, _, _ = count_slices(matched, ["speed"], **FREE)
    draws = bootstrap_draws(5, 20, seed=1)
    for counts in known:
        entries = counts.entries()
        assert any(0 < weight < 1 for joint in entries for weight in joint.weight)
        ap = replicate_ap(entries, draws)
        for row, weights in zip(ap, draws, strict=True):
            for value, joint in zip(row, entries, strict=True):
                if weights @ joint.truth > 0:
                    assert value == pytest.approx(plain_ap(joint, weights), abs=1e-4)


def one_joint(hit, sequence, truth):
    count = len(hit)
    return Entries(
        np.array(hit, bool), np.ones(count), np.array(sequence, int), np.arange(count, 0, -1.0), np.array(truth, float)
    )


def test_degenerate_replicates_follow_poseval():
    joint = one_joint([True, False], [0, 1], [2, 0])
    ap = replicate_ap([joint, one_joint([], [], [1, 1])], np.array([[1, 1], [0, 1], [1, 0], [0, 0]]))
    assert ap[:, 0].tolist() == pytest.approx([50.0, np.nan, 50.0, 0.0], nan_ok=True)
    assert ap[:, 1].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert replicate_ap([one_joint([True], [0], [1])], np.array([[1], [3]])).tolist() == [[100.0], [100.0]]


def test_two_runs_are_pooled_by_relative_rank():
    """One entry of the first at 1/2, two of the second at 1/4 and 3/4; the second's sequences are 2 and 3."""
    pooled = _pooled(one_joint([True], [1], [1, 1]), one_joint([False, True], [0, 1], [1, 1]), 2)
    assert pooled.sequence.tolist() == [2, 1, 3] and pooled.hit.tolist() == [False, True, True]
    assert pooled.score.tolist() == [-0.25, -0.5, -0.75] and pooled.truth.tolist() == [1] * 4
    assert len(_pooled(one_joint([], [], [1]), one_joint([], [], [1]), 1)) == 0


def test_many_replicates_and_runs_cross_the_blocks():
    random = np.random.default_rng(0)
    joint = one_joint(random.random(900) < 0.5, random.integers(0, 9, 900), random.integers(60, 90, 9))
    draws = bootstrap_draws(9, 1100)
    ap = replicate_ap([joint, one_joint([True], [0], np.ones(9))], draws)
    assert ap.shape == (1100, 2)
    for row in (0, 511, 512, 1099):
        assert ap[row, 0] == pytest.approx(plain_ap(joint, draws[row]), abs=1e-4)


def test_many_fractions_add_up_as_exactly_as_whole_weights():
    """In single precision twenty thousand of them would be 0.002 points off."""
    hit = np.random.default_rng(0).random(20_000) < 0.5
    plain = one_joint(hit, np.zeros(len(hit)), [hit.sum()])
    for joint in (plain, replace(plain, weight=np.where(hit, 1.0, 0.1))):
        assert replicate_ap([joint], np.array([[1]]))[0, 0] == pytest.approx(average_precision(joint), abs=1e-4)


def test_draws_hold_as_many_sequences_as_there_are():
    draws = bootstrap_draws(7, 300, seed=3)
    assert (draws.sum(axis=1) == 7).all()
    assert np.array_equal(draws, bootstrap_draws(7, 300, seed=3))
    assert bootstrap_draws(7, 3000).mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)
    assert jackknife_draws(3).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize("decimals", [12, 0])
def test_bca_equals_scipy(decimals):
    """Of whole numbers many draws have the very mean of the data: these are half below it."""
    data = np.random.default_rng(0).exponential(2, size=15).round(decimals)
    result = stats.bootstrap((data,), np.mean, n_resamples=500, method="BCa", random_state=1)
    left_out = np.array([np.delete(data, place).mean() for place in range(15)])
    assert (result.bootstrap_distribution == data.mean()).any() == (decimals == 0)
    low, high = _bca(data.mean(), result.bootstrap_distribution, left_out, 0.95)
    assert (low, high) == pytest.approx(tuple(result.confidence_interval), rel=1e-9)


def test_percentile_intervals_are_quantiles_of_the_scored_draws():
    matched = match_run(*random_run(8, sequences=9, frames=8))
    resampled = replicates_of(all_entries(matched), clusters(matched), replicates=200, seed=5)
    low, high = intervals(resampled)
    exact = replicate_ap(all_entries(matched), bootstrap_draws(9, 200, seed=5))
    assert low[:15] == pytest.approx(np.nanquantile(exact, 0.025, axis=0))
    assert high[:15] == pytest.approx(np.nanquantile(exact, 0.975, axis=0))
    total = COLUMNS.index("total")
    assert resampled.draws[:, total] == pytest.approx(np.nanmean(exact, axis=1))
    head = exact[:, [14, 12, 13]].mean(axis=1)
    assert resampled.draws[:, COLUMNS.index("Head")] == pytest.approx(head)


def test_intervals_fill_the_ap_rows_and_nothing_else():
    run = random_run(9, sequences=9, frames=10)
    matched = match_run(*run)
    scores = score(*run, per_sequence=True) + score_slices(matched, ["visibility"], min_items=20, min_sequences=8)
    for kind in ("percentile", "bca"):
        filled = with_intervals(scores, matched, replicates=300, kind=kind, min_items=20, min_sequences=8)
        rows = filled.select(metric="ap", protocol="poseval").entries
        for entry in rows:
            if entry.slice.startswith("sequence:"):
                assert entry == scores.entries[filled.entries.index(entry)]
            elif not math.isnan(entry.value):
                assert entry.low <= entry.value <= entry.high, entry
                assert entry.low < entry.high
        assert filled.facts["intervals"] == {
            "kind": kind, "level": 0.95, "replicates": 300, "seed": 0, "sequences": 9,
        }  # fmt: skip
        changed = [
            new.metric for new, old in zip(filled.entries, scores.entries, strict=True) if repr(new) != repr(old)
        ]
        assert set(changed) == {"ap"}


def test_values_that_do_not_vary_have_no_bca_interval():
    """Whichever sequence is left out, the value is the same: there is no acceleration to estimate."""
    draws = np.array([40.0, 50.0, 60.0])
    assert all(map(math.isnan, _bca(50.0, draws, np.full(8, 50.0), 0.95)))
    varied = np.arange(8.0)
    assert all(map(math.isnan, _bca(99.0, draws, varied, 0.95)))  # beyond all draws: no bias to estimate
    assert not any(map(math.isnan, _bca(50.0, draws, varied, 0.95)))


@pytest.mark.parametrize("label", ["visibility:visible", "visibility:occluded"])
def test_bins_that_have_no_row_get_none(label):
    run = random_run(13, sequences=8, frames=6)
    matched = match_run(*run)
    slices = score_slices(matched, ["visibility"], **FREE)
    kept = replace(slices, entries=slices.select(slice=label).entries)
    filled = with_intervals(kept, matched, replicates=50, **FREE)
    assert {entry.slice for entry in filled.entries} == {label}
    whole = with_intervals(slices, matched, replicates=50, **FREE).select(slice=label)
    assert repr(filled.entries) == repr(whole.entries)
    assert filled.select(metric="ap", joint="total").entries[0].low > 0


def test_a_bin_of_too_few_sequences_is_named_and_the_next_has_its_interval():
    matched = match_run(*random_run(14, sequences=9, frames=6))
    limits, names = {"min_items": 24, "min_sequences": 7}, ["missing_fraction", "visibility"]
    scores = replace(score_slices(matched, names, **limits), warnings=("tied",))
    filled = with_intervals(scores, matched, replicates=50, seed=3, level=0.8, **limits)
    known, _, _ = count_slices(matched, names, **limits)
    few = [counts.label for counts in known if counts.sequences_total < 8]
    assert known[0].label == few[0] and 0 < len(few) < len(known)
    assert any(0 < counts.shown.sum() < 15 for counts in known if counts.label not in few)
    assert filled.warnings == (
        "tied", f"no interval for {len(few)} of the slices ({few[0]} among them): fewer than 8 sequences",
    )  # fmt: skip
    for counts in known:
        drawn = replicates_of(counts.entries(), clusters(matched), replicates=50, seed=3, shown=counts.shown)
        low, high = np.full((2, len(COLUMNS)), np.nan) if counts.label in few else intervals(drawn, level=0.8)
        for row in filled.select(metric="ap", slice=counts.label).entries:
            column = COLUMNS.index(row.joint)
            assert np.array_equal((row.low, row.high), (low[column], high[column]), equal_nan=True), row
            assert math.isnan(row.low) == (counts.label in few or math.isnan(row.value))


def test_bounds_of_sequences_stay_and_slices_of_images_are_filled():
    run = random_run(14, sequences=9, frames=6)
    matched = match_run(*run)
    grey = {"images": lambda *_: np.zeros((480, 640), dtype=np.uint8)}
    scores = score(*run, per_sequence=True) + score_slices(matched, ["sharpness"], **grey, **FREE)
    bounded = replace(scores, entries=tuple(replace(entry, low=-1.0, high=101.0) for entry in scores.entries))
    filled = with_intervals(bounded, matched, replicates=50, **grey, **FREE)
    for entry in filled.entries:
        own = entry.metric == "ap" and not entry.slice.startswith("sequence:")
        assert ((entry.low, entry.high) == (-1, 101)) != own, entry
    assert any(entry.low > 0 for entry in filled.entries if entry.slice.startswith("sharpness:"))


def test_fewer_than_eight_sequences_have_no_interval():
    run = random_run(10, sequences=7, frames=6)
    matched = match_run(*run)
    filled = with_intervals(score(*run), matched)
    assert all(math.isnan(entry.low) for entry in filled.select(metric="ap", slice="all").entries)
    assert "no intervals: fewer than 8 sequences" in filled.warnings
    assert math.isnan(group_intervals(matched)["Total"][0])


def test_group_intervals_are_those_of_the_eight_columns():
    matched = match_run(*random_run(11, sequences=8, frames=6))
    found = group_intervals(matched, replicates=100, seed=3, kind="bca")
    assert list(found) == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Total"]
    assert all(low < high for low, high in found.values())
    low, high = intervals(replicates_of(all_entries(matched), clusters(matched), replicates=100, seed=3), kind="bca")
    assert found["Wrist"] == (low[COLUMNS.index("Wrist")], high[COLUMNS.index("Wrist")])
    assert found["Total"] == (low[-1], high[-1])
    plain = group_intervals(matched, replicates=50, seed=0, kind="percentile")
    assert group_intervals(matched, replicates=50) == plain != found


def test_an_unknown_kind_says_so():
    matched = match_run(*random_run(12, sequences=8, frames=4))
    with pytest.raises(UsageError, match="choose percentile or bca"):
        with_intervals(score(*random_run(12, sequences=8, frames=4)), matched, replicates=10, kind="basic")
