"""AP, precision and recall equal poseval's in every bit, on sets and on one-quirk cases."""

import numpy as np
import poseval_goldens as goldens
import pytest

from harness.errors import DataError
from harness.scoring import counted, match, poseval_json, poseval_scene, precision_recall, score
from harness.skeletons import GROUPS

UPSTREAM_KEYS = (("ap", "ap"), ("precision", "pre"), ("recall", "rec"))


def same(values, wanted):
    return np.array_equal(np.array(values, dtype=float), np.array(wanted, dtype=float), equal_nan=True)


def values_of(scores, metric, **where):
    return [entry.value for entry in scores.select(metric=metric, **where).entries]


@pytest.mark.parametrize("name", goldens.OWN + goldens.ELSEWHERE)
def test_every_bit_of_the_golden_sets(name):
    scores = score(*goldens.load(name), per_sequence=True)
    wanted = goldens.expected(name, "poseval_head")
    for metric, key in UPSTREAM_KEYS:
        assert same(values_of(scores, metric, slice="all"), wanted["AP"][key])
        for sequence, numbers in wanted["per_sequence"].items():
            assert same(values_of(scores, metric, slice=f"sequence:{sequence}"), numbers["AP"][key])
    assert same(list(scores.groups("ap", slice="all").values()), wanted["AP"]["cum_ap"])
    assert scores.facts["frames"] == wanted["n_frames_evaluated"]


@pytest.mark.parametrize("name", goldens.OWN + goldens.ELSEWHERE)
def test_counts(name):
    found = precision_recall(counted(match(poseval_scene(*goldens.load(name)))))
    wanted = goldens.expected(name, "poseval_head")["counts"]
    assert found.n_truth[:15].tolist() == wanted["n_gt"]
    assert found.n_predicted[:15].tolist() == wanted["n_pred"]
    assert found.n_hit[:15].tolist() == wanted["n_tp"]


def test_ties_are_ordered_by_rule_and_bounded():
    scores = score(*goldens.load("ties"))
    wanted = goldens.expected("ties", "ties")["poseval"]
    rows = scores.select(metric="ap").entries
    assert same([row.value for row in rows], wanted["stable_ascending_reversed"])
    assert same([row.low for row in rows], wanted["lower"])
    assert same([row.high for row in rows], wanted["upper"])
    assert any("45.24" in text and "51.41" in text for text in scores.warnings)
    assert any("no score" in text for text in scores.warnings)


def test_bounds_stay_away_where_nothing_is_tied():
    rows = score(*goldens.load("small")).select(metric="ap").entries
    assert all(np.isnan(row.low) and np.isnan(row.high) for row in rows)


def test_counts_add_over_sequences():
    sequences, predictions = goldens.load("small")
    whole = counted(match(poseval_scene(sequences, predictions)))
    parts = [counted(match(poseval_scene((sequence,), predictions))) for sequence in sequences]
    added = [first + second + third for first, second, third in zip(*parts, strict=True)]
    for one, other in zip(whole, added, strict=True):
        assert np.array_equal(one.hit, other.hit) and np.array_equal(one.score, other.score)
        assert one.n_truth == other.n_truth


def test_json_object():
    found = poseval_json(score(*goldens.load("small")))
    wanted = goldens.expected("small", "poseval_head")["AP"]
    assert same(list(found["ap"].values()), wanted["ap"])
    assert list(found["ap"])[:1] + list(found["ap"])[-1:] == ["right_ankle", "total"]
    assert list(found["groups"]) == [*GROUPS, "Total"]
    assert same(list(found["groups"].values()), wanted["cum_ap"])


ENGINE = "poseval_head"
REFUSED = {"duplicate_track_id": "share track id", "frame_count_mismatch": "frames"}


@pytest.mark.parametrize("name", sorted(goldens.edge_cases()))
def test_edge_case(name, tmp_path):
    case = goldens.edge_cases()[name]
    root = goldens.write_case(case, tmp_path)
    wanted = case["expected"][ENGINE]
    if name in REFUSED:
        assert "error" in wanted["load"]
        with pytest.raises(DataError, match=REFUSED[name]):
            score(*goldens.read_folder(root))
        return
    scores = score(*goldens.read_folder(root))
    if name == "format17_no_track_ids":
        assert wanted["AP"]["error"] == "IndexError"
        assert scores.value("ap") > 0
        return
    assert scores.facts["frames"] == wanted["n_frames"]
    for metric, key in UPSTREAM_KEYS:
        assert same(values_of(scores, metric, slice="all"), wanted["AP"][key])
    assert same(list(scores.groups("ap").values()), wanted["AP"]["cum_ap"])


def test_duplicate_track_ids_are_accepted_when_asked(tmp_path):
    case = goldens.edge_cases()["duplicate_track_id"]
    scores = score(*goldens.read_folder(goldens.write_case(case, tmp_path)), compat="fixed")
    wanted = case["expected"]["poseval_copy_without_duplicate_check"]["AP"]
    assert same(values_of(scores, "ap", slice="all"), wanted["ap"])


def test_second_video_counts_when_fixed(tmp_path):
    root = goldens.write_case(goldens.edge_cases()["two_videos_in_one_file"], tmp_path)
    official, fixed = (score(*goldens.read_folder(root), compat=compat) for compat in ("official", "fixed"))
    assert fixed.facts["frames"] == official.facts["frames"] + 1
    assert any("second video" in text for text in official.warnings) and not fixed.warnings
