"""Scores: the tidy table that every metric ends in, one row per protocol, metric, slice and joint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import DataError, UsageError
from harness.skeletons import GROUPS, POSETRACK15

if TYPE_CHECKING:
    import pandas

__all__ = ["TOTAL", "Score", "Scores", "group_values", "joint_rows"]

#: Stands in the joint column for "all joints of the metric together".
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Score:
    """One value.

    `slice` is "all", "sequence:NAME" or a registered slice; `joint` a POSETRACK15 name or "total"; `value` in the
    metric's own unit (percent for AP, precision, recall, MOTA, MOTP, HOTA; pixels or head sizes where the metric's name
    says so), NaN where it is undefined; `n_truth` and `n_predicted` count joints (0 where they have no meaning);
    `low` and `high` bound it (over tie orders, or an interval), NaN where there is nothing to bound.
    """

    protocol: str
    metric: str
    slice: str
    joint: str
    value: float
    n_truth: int = 0
    n_predicted: int = 0
    low: float = math.nan
    high: float = math.nan


_COLUMNS = tuple(column.name for column in fields(Score))
_NUMBERS = ("value", "low", "high")


@dataclass(frozen=True)
class Scores:
    """The tidy table of one evaluation, with what has to be said beside it.

    `entries` in a stable order (protocol, metric, slice, joints in POSETRACK15 order, then "total"); `warnings` are
    sentences for the reader; `facts` are JSON values worth recording: compat, sequences, frames, tie counts.

    >>> table = Scores.from_rows([{"protocol": "poseval", "metric": "ap", "slice": "all", "joint": "nose",
    ...                            "value": 50.0, "n_truth": 2, "n_predicted": 3, "low": None, "high": None}])
    >>> table.value("ap", joint="nose"), table.rows[0]["low"]
    (50.0, None)
    """

    entries: tuple[Score, ...]
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def __add__(self, other: Scores) -> Scores:
        """Both tables below each other; facts of `other` win."""
        known = set(self.warnings)
        warnings = self.warnings + tuple(text for text in other.warnings if text not in known)
        return Scores(self.entries + other.entries, warnings, {**self.facts, **other.facts})

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows for JSON: the columns of `Score`, NaN as None."""
        return [{key: _plain(value) for key, value in asdict(entry).items()} for entry in self.entries]

    @classmethod
    def from_rows(
        cls, rows: Iterable[Mapping[str, Any]], *, warnings: Iterable[str] = (), facts: Mapping[str, Any] | None = None
    ) -> Scores:
        """The table that `rows` came from; raises DataError naming the first row that lacks a column or has another."""
        return cls(tuple(_entry(row, number) for number, row in enumerate(rows)), tuple(warnings), dict(facts or {}))

    def select(
        self,
        *,
        protocol: str | None = None,
        metric: str | None = None,
        slice: str | None = None,
        joint: str | None = None,
    ) -> Scores:
        """The rows where every given column has the given value."""
        wanted = {"protocol": protocol, "metric": metric, "slice": slice, "joint": joint}
        given = {key: value for key, value in wanted.items() if value is not None}
        kept = (entry for entry in self.entries if all(getattr(entry, key) == value for key, value in given.items()))
        return replace(self, entries=tuple(kept))

    def value(self, metric: str, *, joint: str = TOTAL, slice: str = "all", protocol: str | None = None) -> float:
        """The one value of a metric; raises UsageError when there is none or more than one."""
        found = self.select(protocol=protocol, metric=metric, slice=slice, joint=joint)
        if len(found) != 1:
            known = ", ".join(sorted({entry.metric for entry in self.entries})) or "nothing"
            raise UsageError(f"{len(found)} values of metric '{metric}' ({slice}, {joint}); this table holds {known}")
        return found.entries[0].value

    def by_joint(self, metric: str, *, slice: str = "all", protocol: str | None = None) -> dict[str, float]:
        """Joint name (and "total") -> value, in the table's order; empty when the metric is not there."""
        found = self.select(protocol=protocol, metric=metric, slice=slice)
        return {entry.joint: entry.value for entry in found.entries}

    def groups(self, metric: str = "ap", *, slice: str = "all", protocol: str | None = None) -> dict[str, float]:
        """The eight columns of the published tables: Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle, Total.

        A group is the plain mean of its joints and NaN if one of them is (poseval section 1); in the metric's unit,
        which is percent for AP.
        """
        return group_values(self.by_joint(metric, slice=slice, protocol=protocol))

    def to_pandas(self) -> pandas.DataFrame:
        """The table as a data frame with the columns of `Score`."""
        import pandas

        return pandas.DataFrame([asdict(entry) for entry in self.entries], columns=list(_COLUMNS))


def group_values(by_joint: Mapping[str, float]) -> dict[str, float]:
    """Group means and "Total" of values by joint; only groups whose joints are all there.

    >>> group_values({"right_hip": 40.0, "left_hip": 60.0, "total": 55.0})
    {'Hip': 50.0, 'Total': 55.0}
    """
    complete = {name: joints for name, joints in GROUPS.items() if all(joint in by_joint for joint in joints)}
    means = {name: float(np.mean([by_joint[joint] for joint in joints])) for name, joints in complete.items()}
    return means | ({"Total": by_joint[TOTAL]} if TOTAL in by_joint else {})


def joint_rows(
    protocol: str,
    metric: str,
    slice: str,
    values: Iterable[float],
    *,
    n_truth: Iterable[int],
    n_predicted: Iterable[int],
    low: Iterable[float] | None = None,
    high: Iterable[float] | None = None,
) -> list[Score]:
    """16 rows from 16 values: the joints in POSETRACK15 order, then the total."""
    names = (*POSETRACK15.names, TOTAL)
    unknown = [math.nan] * len(names)
    bounds = (unknown if low is None else low, unknown if high is None else high)
    columns = zip(names, values, n_truth, n_predicted, *bounds, strict=True)
    return [
        Score(protocol, metric, slice, name, float(value), int(truth), int(predicted), float(lower), float(upper))
        for name, value, truth, predicted, lower, upper in columns
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _entry(row: Mapping[str, Any], number: int) -> Score:
    if set(row) != set(_COLUMNS):
        odd = ", ".join(sorted(set(row) ^ set(_COLUMNS)))
        raise DataError(f"score row {number} lacks or adds the column(s) {odd}; expected {', '.join(_COLUMNS)}")
    numbers = {key: math.nan if row[key] is None else float(row[key]) for key in _NUMBERS}
    return Score(**{**row, **numbers})
