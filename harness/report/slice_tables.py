"""AP where it is hard: one row per bin of every slice the runs were scored on, one column per run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report.comparable import by_ground, labels
from harness.report.tables import Cell, Column, Row, Section, Table
from harness.scoring.scores import TOTAL, Score

__all__ = ["by_slice"]


def by_slice(records: Sequence[RunRecord], *, metric: str = "ap", joint: str = TOTAL) -> Table:
    """Values of a metric per bin, with their intervals where the records hold them.

    The runs stand on one ground, so that columns may be compared; UsageError otherwise, or when no run holds a slice.
    """
    if len(by_ground(records)) > 1:
        raise UsageError("runs of different data, boxes or protocols share no table of slices; name those that do")
    found = [{row.slice: row for row in record.table.select(metric=metric, joint=joint).entries} for record in records]
    bins = [name for name in dict.fromkeys(name for rows in found for name in rows) if not name.startswith("sequence:")]
    if bins in ([], ["all"]):
        raise UsageError(f"no run holds '{metric}' on slices; run `harness eval` again with this version")
    short = [record.method.name for record in records]
    names = short if len(set(short)) == len(short) else labels(records)
    columns = (Column("n", "joints", digits=0), *(Column(name, name) for name in names))
    rows = tuple(_row(label, names, [rows.get(label) for rows in found]) for label in bins)
    ground = next(iter(by_ground(records)))
    of = "all joints (mean over joints)" if joint == TOTAL else joint.replace("_", " ")
    caption = (
        f"{ground}.",
        f"{metric.upper()} of {of} in percent; brackets: 95 % interval over sequences.",
        "Occlusion, speed (heads per frame) and overlap are those of the truth.",
    )
    return Table(f"{metric.upper()} by slice", columns, (Section(str(ground), rows),), caption, first="Slice")


def _row(label: str, names: Sequence[str], scores: Sequence[Score | None]) -> Row:
    cells: dict[str, Cell] = {name: _shown(score) for name, score in zip(names, scores, strict=True)}
    cells["n"] = max(score.n_truth for score in scores if score is not None)
    return Row(label.replace("_", " ").replace(":", ": "), cells, facts={"slice": label})


def _shown(score: Score | None) -> str:
    if score is None or math.isnan(score.value):
        return "–"
    bounded = not math.isnan(score.low)
    return f"{score.value:.1f}" + (f" [{score.low:.1f}, {score.high:.1f}]" if bounded else "")
