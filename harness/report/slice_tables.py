"""AP where it is hard: a row per bin of every slice, or per joint, and a column per run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report.comparable import by_ground, labels
from harness.report.tables import Cell, Column, Estimate, Row, Section, Table, footnotes, unit_of
from harness.scoring.scores import TOTAL, Score
from harness.skeletons import GROUPS

__all__ = ["by_joint", "by_slice"]


def by_slice(records: Sequence[RunRecord], *, metric: str = "ap", joint: str = TOTAL) -> Table:
    """Values of a metric per bin, with their intervals where the records hold them; the best run first.

    The runs stand on one ground, so that columns may be compared; UsageError otherwise, or when no run holds a slice.
    """
    _check_one_ground(records, "slices")
    records = _best_first(records, metric=metric, slice="all", joint=joint)
    found = [{row.slice: row for row in record.table.select(metric=metric, joint=joint).entries} for record in records]
    bins = [name for name in dict.fromkeys(name for rows in found for name in rows) if not name.startswith("sequence:")]
    if bins in ([], ["all"]):
        raise UsageError(f"no run holds '{metric}' on slices; run `harness eval` again with this version")
    rows = {name.replace("_", " ").replace(":", ": "): [each.get(name) for each in found] for name in bins}
    of = "all joints (mean over joints)" if joint == TOTAL else joint.replace("_", " ")
    notes = (
        f"{_what(metric)} of {of} in {unit_of(metric)}; brackets: 95 % interval over sequences.",
        "Occlusion, speed (heads per frame) and overlap are those of the truth.",
    )
    facts = [{"slice": name} for name in bins]
    return _table(records, rows, facts, title=f"{_what(metric)} by slice", first="Slice", notes=notes, metric=metric)


def by_joint(records: Sequence[RunRecord], *, metric: str = "ap", slice: str = "all") -> Table:
    """Values of a metric per joint, from head to foot, with their intervals where known; the best run first.

    Raises UsageError for runs on different grounds, or when no run holds the metric on the slice.
    """
    _check_one_ground(records, "joints")
    records = _best_first(records, metric=metric, slice=slice, joint=TOTAL)
    found = []
    for record in records:
        protocol = record.dataset.protocol if slice == "all" else None
        rows = record.table.select(metric=metric, slice=slice, protocol=protocol).entries
        found.append({row.joint: row for row in rows})
    if not any(found):
        raise UsageError(f"no run holds metric '{metric}' on slice '{slice}'")
    joints = [*(joint for names in GROUPS.values() for joint in names), TOTAL]
    named = {"mean" if joint == TOTAL else joint.replace("_", " "): [each.get(joint) for each in found]
             for joint in joints}  # fmt: skip
    where = "" if slice == "all" else f", {slice}"
    notes = (f"Values in {unit_of(metric)}; brackets: 95 % interval over sequences.",)
    return _table(
        records, named, [{"joint": joint} for joint in joints], title=f"{_what(metric)} per joint{where}",
        first="Joint", notes=notes, metric=metric,
    )  # fmt: skip


def _check_one_ground(records: Sequence[RunRecord], of: str) -> None:
    if len(by_ground(records)) > 1:
        raise UsageError(f"runs of different data, boxes or protocols share no table of {of}; name those that do")


def _best_first(records: Sequence[RunRecord], *, metric: str, slice: str, joint: str) -> list[RunRecord]:
    """The order of the leaderboard: runs without a value, then partial ones, last."""
    sign = -1 if unit_of(metric) == "percent" else 1

    def place(record: RunRecord) -> tuple[bool, float]:
        rows = record.table.select(metric=metric, slice=slice, joint=joint).entries
        value = rows[0].value if rows else math.nan
        return record.partial is not None, math.inf if math.isnan(value) else sign * value

    return sorted(records, key=place)


def _table(
    records: Sequence[RunRecord],
    rows: dict[str, list[Score | None]],
    facts: Sequence[Mapping[str, Cell]],
    *,
    title: str,
    first: str,
    notes: Sequence[str],
    metric: str,
) -> Table:
    """One column per run, and the number of true joints; the best of every row is marked, partial runs left out."""
    short = [record.method.name for record in records]
    names = short if len(set(short)) == len(short) else labels(records)
    columns = (Column("n", "joints", digits=0), *(Column(name, name) for name in names))
    made = tuple(
        Row(label, _row(names, scores), facts=fact) for (label, scores), fact in zip(rows.items(), facts, strict=True)
    )
    ranked = tuple(name for name, record in zip(names, records, strict=True) if record.partial is None)
    ground = str(next(iter(by_ground(records))))
    return Table(
        title, columns, (Section(ground, made),), (f"{ground}.", *notes, *footnotes(records, speeds=False)),
        first=first,
        rows_rank="high" if unit_of(metric) == "percent" else "low", ranked=ranked,
    )  # fmt: skip


def _row(names: Sequence[str], scores: Sequence[Score | None]) -> dict[str, Cell]:
    known = [score for score in scores if score is not None]
    cells: dict[str, Cell] = {
        name: None if score is None or math.isnan(score.value) else Estimate(score.value, score.low, score.high)
        for name, score in zip(names, scores, strict=True)
    }
    return cells | {"n": max((score.n_truth for score in known), default=None)}


def _what(metric: str) -> str:
    return metric.upper() if len(metric) <= 4 else metric.replace("_", " ")
