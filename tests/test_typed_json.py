"""Dataclasses to JSON values and back: every kind of field, and what is said of a wrong one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.datasets.synthtrack.body import JOINT_POINTS
from harness.datasets.synthtrack.sheet import overlay
from harness.errors import DataError
from harness.typed_json import from_plain, to_plain


@dataclass(frozen=True)
class Inner:
    value: float = math.nan


@dataclass(frozen=True)
class Outer:
    name: str
    flags: tuple[bool, ...]
    pair: tuple[int, float]
    inner: Inner | None = None
    by_name: Mapping[str, Inner] | None = None
    anything: Any = None


GOOD = {"name": "x", "flags": [True, False], "pair": [1, 2]}


def test_every_kind_comes_back():
    given = GOOD | {"inner": {"value": None}, "by_name": {"a": {"value": 3}}, "anything": {"b": [1, {}]}}
    found = from_plain(Outer, given)
    assert found.flags == (True, False) and found.pair == (1, 2.0) and type(found.pair[1]) is float
    assert math.isnan(found.inner.value) and found.by_name["a"].value == 3.0 and found.anything == {"b": [1, {}]}
    assert to_plain(found) == given
    assert from_plain(Outer, GOOD) == Outer("x", (True, False), (1, 2.0))


def test_numpy_and_strange_values_become_plain():
    values = [np.float32(0.5), np.arange(2), np.inf, object, "a\ud800", {2: None}]
    assert to_plain(values) == [0.5, [0, 1], None, "<class 'object'>", "a?", {"2": None}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name: expected text, found 3"),
        ({"flags": [True, 0]}, "flags[1]: expected true or false, found 0"),
        ({"flags": {}}, "flags: expected a list, found {}"),
        ({"pair": [1]}, "pair: expected 2 entries, found 1"),
        ({"pair": [True, 1]}, "pair[0]: expected a whole number, found True"),
        ({"pair": [1, 10**400]}, "pair[1]: the number is too large"),
        ({"inner": [1]}, "inner: expected an object, found [1]"),
        ({"inner": {"value": "x" * 90}}, f"inner.value: expected a number, found '{'x' * 36}..."),
        ({"by_name": 7}, "by_name: expected an object, found 7"),
        ({"by_name": {"a": {"b": 1}}}, "by_name.a.b: unknown field; expected value"),
        ({"other": 1}, "other: unknown field; expected name, flags, pair, inner, by_name, anything"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(change, message):
    with pytest.raises(DataError) as caught:
        from_plain(Outer, GOOD | change)
    assert str(caught.value) == message


@pytest.mark.parametrize(("name", "kind"), [("name", "text"), ("flags", "a list"), ("pair", "a list")])
def test_a_missing_field_says_what_it_should_be(name, kind):
    given = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(DataError, match=f"^{name}: missing; expected {kind}$"):
        from_plain(Outer, given)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_sheet_shows_hidden_joints_in_red_and_the_rest_in_green(hidden):
    """One person, one joint within the picture at (10, 10); a second person whom the labels leave out."""
    count = len(JOINT_POINTS)
    inside = np.zeros((1, 2, count), dtype=bool)
    inside[0, :, :2] = True
    joints = np.full((1, 2, count, 2), 10.0)
    joints[0, 0, 1] = 30
    joints[0, 1] = 50
    labels = SimpleNamespace(
        regions=[[np.array([[1.0, 1], [5, 1], [5, 5]])]], annotated=np.array([[True, False]]), joints=joints,
        inside=inside, hidden=np.full((1, 2, count), hidden), head_boxes=np.full((1, 2, 4), 70.0),
    )  # fmt: skip
    drawn = overlay(np.zeros((80, 80, 3), np.uint8), labels, 0)
    assert drawn.shape == (160, 160, 3)
    assert tuple(drawn[20, 20]) == tuple(drawn[60, 60]) == ((235, 50, 50) if hidden else (60, 220, 60))
    assert not drawn[95:110, 95:110].any() and drawn[2, 4:10].any()
