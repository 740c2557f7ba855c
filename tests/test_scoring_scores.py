"""The tidy table of scores."""

import json
import math
from functools import reduce
from operator import add

import poseval_goldens as goldens
import pytest

from harness.errors import DataError, UsageError
from harness.scoring import OksOptions, Score, Scores, poseval_json, score, score_oks, scores_json
from harness.scoring.scores import group_values, joint_rows

ROW = {
    "protocol": "poseval", "metric": "ap", "slice": "all", "joint": "nose", "value": None, "n_truth": 0,
    "n_predicted": 1, "low": None, "high": None,
}  # fmt: skip


def table():
    return Scores(tuple(joint_rows("poseval", "ap", "all", range(16), n_truth=[1] * 16, n_predicted=[2] * 16)))


def test_rows_go_through_json():
    found = Scores.from_rows([ROW], warnings=["tied"], facts={"compat": "official"})
    assert math.isnan(found.entries[0].value)
    again = Scores.from_rows(json.loads(json.dumps(found.rows)))
    assert again.rows == found.rows == [ROW]


def test_a_row_with_other_columns_is_named():
    with pytest.raises(DataError, match=r"score row 1 .* mean"):
        Scores.from_rows([ROW, {**ROW, "mean": 1}])


def test_groups_are_plain_means_in_the_published_order():
    found = table().groups()
    assert found == {
        "Head": 13.0, "Shoulder": 8.5, "Elbow": 8.5, "Wrist": 8.5, "Hip": 2.5, "Knee": 2.5, "Ankle": 2.5, "Total": 15.0,
    }  # fmt: skip
    assert math.isnan(group_values({"right_hip": math.nan, "left_hip": 1.0})["Hip"])


def test_one_value_or_an_error():
    assert table().value("ap", joint="left_wrist") == 11
    with pytest.raises(UsageError, match="0 values of metric 'mota'"):
        table().value("mota")


def test_tables_are_joined():
    first = Scores((), ("tied",), {"frames": 1})
    both = first + Scores((Score("oks", "ap", "all", "total", 1.0),), ("tied", "odd"), {"frames": 2})
    assert both.warnings == ("tied", "odd") and both.facts == {"frames": 2} and len(both) == 1


def test_pandas_columns():
    frame = table().to_pandas()
    assert list(frame.columns)[:5] == ["protocol", "metric", "slice", "joint", "value"] and len(frame) == 16


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
