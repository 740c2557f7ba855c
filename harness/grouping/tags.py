"""Associative embedding: candidates become persons because their tags agree (whole_frame.md 2.4).

Poses are rows of x, y, value and tags per joint, float32; a joint that is missing is all zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.grouping.assignment import assign

__all__ = ["TagRule", "match_tags"]

Floats = NDArray[np.float32]

#: The cost of a person that does not exist, for candidates that no person is left for.
_NOBODY = 1e10


@dataclass(frozen=True)
class TagRule:
    """When a candidate joins a person.

    `least_value` a candidate has to exceed; `tag_distance` has to be fallen short of; `most_people` that are matched
    with at all (persons are opened beyond it, but never extended); `skip_when_full` passes over a joint when there are
    that many; `value_breaks_ties` lets the higher of equally near candidates have the choice.
    """

    least_value: float = 0.1
    tag_distance: float = 1.0
    most_people: int = 30
    skip_when_full: bool = False
    value_breaks_ties: bool = True


def match_tags(values: Floats, places: Floats, tags: Floats, order: Sequence[int], rule: TagRule) -> Floats:
    """(P,J,3+T) poses from candidates: values (J,M), x and y (J,M,2), tags (J,M,T); joints are visited in `order`."""
    people = _People(len(values), tags.shape[2])
    for joint in order:
        seen = values[joint] > np.float32(rule.least_value)
        if seen.any():
            rows = np.hstack([places[joint], values[joint, :, None], tags[joint]]).astype(np.float32)[seen]
            _join(people, joint, rows, rule, first=joint == order[0])
    return people.poses


@dataclass
class _People:
    """Persons in the order they were opened, each under the first tag of its first joint.

    `tag_sums` adds up the tags of a person's joints, and how many.
    """

    joints: int
    tags: int
    by_key: dict[float, Floats] = field(default_factory=dict)
    tag_sums: dict[float, tuple[Floats, int]] = field(default_factory=dict)

    @property
    def poses(self) -> Floats:
        return np.stack(list(self.by_key.values())) if self.by_key else np.zeros((0, self.joints, 3 + self.tags), "f4")

    def open(self, joint: int, row: Floats) -> None:
        """A new person; one of bit-equal first tag gets the joint instead, and forgets its other tags."""
        key = float(row[3])
        self.by_key.setdefault(key, np.zeros((self.joints, 3 + self.tags), dtype=np.float32))[joint] = row
        self.tag_sums[key] = row[3:], 1

    def add(self, key: float, joint: int, row: Floats) -> None:
        self.by_key[key][joint] = row
        total, count = self.tag_sums[key]
        self.tag_sums[key] = total + row[3:], count + 1

    def mean_tags(self, keys: Sequence[float]) -> Floats:
        """(P,T) mean tags of the persons under `keys`, rounded as adding up one after the other does."""
        totals, counts = zip(*(self.tag_sums[key] for key in keys), strict=True)
        means: Floats = np.stack(totals) / np.array(counts, dtype=np.float32)[:, None]
        return means


def _join(people: _People, joint: int, rows: Floats, rule: TagRule, *, first: bool) -> None:
    """Give the candidates of a joint to persons, or open persons for them."""
    if first or not people.by_key:
        for row in rows:
            people.open(joint, row)
        return
    keys = list(people.by_key)[: rule.most_people]
    if rule.skip_when_full and len(keys) == rule.most_people:
        return
    groups = people.mean_tags(keys)
    # in float64 the same value goes in and out of a row without a trace; in float32 rounding would settle the ties
    exact = rows.astype(np.float64)
    distance = np.linalg.norm(exact[:, None, 3:] - groups[None], axis=2)
    cost = np.round(distance) * 100 - exact[:, 2:3] if rule.value_breaks_ties else distance
    missing = len(rows) - len(keys)
    if missing > 0:
        cost = np.hstack([cost, np.full((len(rows), missing), _NOBODY)])
    for row, column in assign(cost):
        if column < len(keys) and distance[row, column] < rule.tag_distance:
            people.add(keys[column], joint, rows[row])
        else:
            people.open(joint, rows[row])
