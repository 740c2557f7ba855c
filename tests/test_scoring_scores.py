"""The tidy table of scores."""

import json
import math
from functools import reduce
from operator import add

import poseval_goldens as goldens
import pytest

from harness.errors import DataError, UsageError
from harness.scoring import OksOptions, Score, Scores, poseval_json, score, score_oks, scores_json
from harness.scoring.poseval import plain
from harness.scoring.scores import group_values, joint_rows

ROW = {
    "protocol": "poseval", "metric": "ap", "slice": "all", "joint": "nose", "value": None, "n_truth": 0,
    "n_predicted": 1, "low": None, "high": None,
}  # fmt: skip


def table():
    return Scores(tuple(joint_rows("poseval", "ap", "all", range(16), n_truth=[1] * 16, n_predicted=[2] * 16)))


def test_rows_go_through_json():
    rows = [ROW, {**ROW, "value": 50.0, "low": 40.0, "high": 60.0, "n_truth": 3}]
    found = Scores.from_rows(rows, warnings=["tied"], facts={"compat": "official"})
    assert math.isnan(found.entries[0].value) and found.entries[1].low == 40
    assert (found.warnings, found.facts) == (("tied",), {"compat": "official"})
    again = Scores.from_rows(json.loads(json.dumps(found.rows)))
    assert again.rows == found.rows == rows


def test_a_row_with_other_columns_is_named():
    short = {key: value for key, value in ROW.items() if key != "low"}
    with pytest.raises(DataError) as refused:
        Scores.from_rows([ROW, {**short, "mean": 1}])
    assert str(refused.value) == f"score row 1 lacks or adds the column(s) low, mean; expected {', '.join(ROW)}"


def test_groups_are_plain_means_in_the_published_order():
    found = table().groups()
    assert found == {
        "Head": 13.0, "Shoulder": 8.5, "Elbow": 8.5, "Wrist": 8.5, "Hip": 2.5, "Knee": 2.5, "Ankle": 2.5, "Total": 15.0,
    }  # fmt: skip
    assert math.isnan(group_values({"right_hip": math.nan, "left_hip": 1.0})["Hip"])


def test_one_value_or_an_error():
    assert table().value("ap", joint="left_wrist") == 11
    with pytest.raises(UsageError) as refused:
        (table() + Scores((Score("pck", "pckh", "all", "nose", 1.0),))).value("mota")
    assert str(refused.value) == "0 values of metric 'mota' (all, total); this table holds ap, pckh"
    with pytest.raises(UsageError, match="this table holds nothing"):
        Scores(()).value("mota")


def test_where_two_protocols_have_a_metric_the_one_asked_for_is_taken():
    other = joint_rows("other", "ap", "all", range(50, 66), n_truth=[1] * 16, n_predicted=[2] * 16)
    both = table() + Scores(tuple(other))
    assert (both.value("ap", protocol="poseval"), both.value("ap", protocol="other")) == (15, 65)
    assert (both.groups(protocol="poseval")["Hip"], both.groups(protocol="other")["Hip"]) == (2.5, 52.5)
    with pytest.raises(UsageError, match="2 values of metric 'ap'"):
        both.value("ap")


def test_rows_need_a_value_for_every_joint_and_the_total():
    with pytest.raises(ValueError, match="shorter"):
        joint_rows("poseval", "ap", "all", range(15), n_truth=[1] * 15, n_predicted=[2] * 15)


def test_tables_are_joined():
    first = Scores((), ("tied",), {"frames": 1})
    both = first + Scores((Score("oks", "ap", "all", "total", 1.0),), ("tied", "odd"), {"frames": 2})
    assert both.warnings == ("tied", "odd") and both.facts == {"frames": 2} and len(both) == 1


def test_pandas_columns():
    frame = table().to_pandas()
    assert list(frame.columns)[:5] == ["protocol", "metric", "slice", "joint", "value"] and len(frame) == 16
    assert list(Scores(()).to_pandas().columns) == list(ROW)


def test_one_object_for_all_protocols():
    data = goldens.load("small")
    tables = [score(*data, protocol=name) for name in ("poseval", "posetrack21", "pck", "temporal")]
    tables.append(score_oks(*data, options=OksOptions()))
    found = scores_json(reduce(add, tables))
    json.dumps(found, allow_nan=False)
    poseval = poseval_json(tables[0])
    assert {key: found[key] for key in poseval} == poseval and set(poseval) == {
        "ap", "precision", "recall", "groups", "mot",
    }  # fmt: skip
    assert found["hota"]["hota"]["total"] == tables[1].value("hota")
    assert found["oks"]["ap50"] == tables[4].value("ap50")
    assert found["pck"]["pckh"]["nose"] == tables[2].value("pckh", joint="nose")
    assert found["temporal"]["lag_frames"]["total"] == tables[3].value("lag_frames")
    alone = scores_json(tables[1])
    assert alone["ap"]["total"] == tables[1].value("ap") and alone["groups"]["Total"] == alone["ap"]["total"]


def rows_of(protocol, metric, slice, first):
    count = [1] * 16
    return Scores(
        tuple(joint_rows(protocol, metric, slice, range(first, first + 16), n_truth=count, n_predicted=count))
    )


def test_protocols_of_a_sequence_do_not_mix():
    """Poseval, the kit and OKS all call a metric AP: whichever is scored last, poseval's stands, and OKS by itself."""
    label, total = "sequence:a:b", Score("oks", "ap", "sequence:a:b", "total", 900.0)
    parts = [
        rows_of("posetrack21", "ap", label, 100) + rows_of("posetrack21", "hota", label, 150),
        rows_of("poseval", "ap", label, 200) + rows_of("poseval", "ap", "all", 250),
        Scores((total, Score("oks", "ap50", label, "total", 950.0))),
        rows_of("pck", "pckh", label, 300) + rows_of("pck", "pckh", "all", 350) + rows_of("own", "pckh", "all", 380),
        rows_of("poseval", "ap", "speed:fast", 400),
    ]
    for order in (parts, parts[::-1]):
        found = scores_json(reduce(add, order))
        own = found["sequences"].pop("a:b")
        assert {name: own[name]["total"] for name in ("ap", "hota", "pckh")} == {"ap": 215, "hota": 165, "pckh": 315}
        assert own["ap"]["right_ankle"] == 200
        assert own["oks"] == {"ap": {"total": 900}} and own["ap50"] == {"total": 950}
        assert set(own) == {"ap", "hota", "pckh", "oks", "ap50"} and not found["sequences"]
        assert list(found["slices"]) == ["speed:fast"] and found["slices"]["speed:fast"]["ap"]["total"] == 415
        assert found["ap"]["total"] == 265 and found["pck"]["pckh"]["total"] == 365
        assert list(found["own"]) == ["pckh"] and found["own"]["pckh"]["total"] == 395


def test_the_kits_ap_is_its_own_beside_oks():
    kit = rows_of("posetrack21", "ap", "all", 100)
    found = scores_json(kit + Scores((Score("oks", "ap", "all", "total", 900.0),)))
    assert found["ap"]["total"] == 115 and found["groups"]["Total"] == 115 and found["oks"]["ap"] == 900


def test_the_kits_object_has_no_tracking_where_nobody_was_tracked():
    found = scores_json(score(*goldens.load("small"), protocol="posetrack21", tracking=False, per_sequence=True))
    assert set(found) == {"ap", "precision", "recall", "groups", "sequences"}
    assert all(len(found[metric]) == 16 for metric in ("ap", "precision", "recall"))
    alone = scores_json(Scores((Score("oks", "ap", "sequence:a", "total", 5.0),)))
    assert alone["sequences"] == {"a": {"ap": {"total": 5.0}}}


def test_what_tracking_is_called_in_the_object():
    scores = score(*goldens.load("small"))
    mot = poseval_json(scores)["mot"]
    names = {"mota": "mota", "motp": "motp", "motp_head": "motp_head"}
    names |= {"precision": "mot_precision", "recall": "mot_recall"}
    assert list(mot) == [*names, "groups"]
    for key, metric in names.items():
        assert len(mot[key]) == 16
        assert mot[key] == plain(scores.by_joint(metric))
    assert mot["groups"]["Total"] == scores.value("mota")
