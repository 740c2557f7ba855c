"""The page's tables: those of the report, and the outcomes by error class and by sequence."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence as Series
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report.comparable import by_ground
from harness.report.opened import Opened
from harness.report.page.failures import Cells
from harness.report.slice_tables import by_slice
from harness.report.tables import Cell, Section, Table, all_marks, cost_table, leaderboard, per_joint
from harness.scoring.differences import Comparison, Difference
from harness.scoring.error_classes import CLASSES, GOOD, UNLABELLED
from harness.scoring.scores import TOTAL
from harness.skeletons import GROUPS

__all__ = ["PageCell", "PageTable", "comparison_table", "outcome_tables", "report_tables"]


@dataclass(frozen=True)
class PageCell:
    """A cell as printed, the `value` it sorts by ("" for none), its mark, and the sequence it leads to."""

    text: str
    value: str = ""
    mark: str = ""
    sequence: int | None = None


@dataclass(frozen=True)
class PageTable:
    """A table as the template takes it: every row as long as `columns`."""

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[PageCell, ...], ...]
    caption: tuple[str, ...] = ()


def report_tables(records: Series[RunRecord], *, limit: int = 4) -> list[PageTable]:
    """Leaderboard and slices of every group of comparable runs, the joints of the first `limit` runs, and costs."""
    found: list[PageTable] = []
    for number, same in enumerate(by_ground(records).values()):
        found += _pages(leaderboard(same), f"leaderboard-{number}")
        try:
            found += _pages(by_slice(same), f"slices-{number}")
        except UsageError:  # records from before slices
            continue
    for number, record in enumerate(records[:limit]):
        found += _pages(per_joint(record), f"joints-{number}")
    return [*found, *_pages(cost_table(records), "cost")]


def comparison_table(comparison: Comparison, names: Series[str]) -> PageTable:
    """B against A per joint group, and per joint below."""
    columns = ("Joints", "A", "B", "B − A", "95 % low", "95 % high", "p (Holm)", "True joints", "Verdict")
    rows = [
        (
            PageCell(_joint(row.name)), _number(row.a), _number(row.b), _number(row.difference, "+.2f"),
            _number(row.low, "+.2f"), _number(row.high, "+.2f"), _number(row.p_holm, ".2g"),
            _number(row.n_truth, "d"), PageCell(row.verdict, row.verdict),
        )
        for row in sorted(comparison.rows, key=_head_to_foot)
    ]  # fmt: skip
    facts = comparison.facts
    caption = (
        f"A: {names[0]}. B: {names[1]}. AP in percent.",
        f"Intervals: paired bootstrap over {facts['sequences']} sequences, {facts['replicates']} draws; p: permutation "
        "of whole sequences, corrected by Holm among groups and among joints.",
    )
    return PageTable("comparison", "Comparison", columns, tuple(rows), caption)


def _head_to_foot(row: Difference) -> tuple[bool, int]:
    """Groups as they come, then joints in the order of the groups."""
    joints = [joint for names in GROUPS.values() for joint in names]
    return row.kind == "joint", joints.index(row.name) if row.name in joints else 0


def outcome_tables(opened: Opened, cells: Series[Cells], letters: Series[str]) -> list[PageTable]:
    """What became of the truth joints of one or two runs, by error class and by sequence."""
    names = [f"{letter}: {name}" if letter else name for letter, name in zip(letters, opened.names, strict=False)]
    return [_classes(cells, names), _sequences(opened, cells, letters)]


def _classes(cells: Series[Cells], names: Series[str]) -> PageTable:
    shares = [
        [float((run.codes == code).sum() / max((run.codes != UNLABELLED).sum(), 1)) for run in cells]
        for code in range(len(CLASSES))
    ]
    rows = [
        (PageCell(name, str(code)), *(_number(100 * share) for share in own), *_difference(own))
        for code, (name, own) in enumerate(zip(CLASSES, shares, strict=True))
    ]
    columns = ("Outcome", *names, *(["B − A"] if len(cells) == 2 else []))
    scored = int((cells[0].codes != UNLABELLED).sum())
    caption = f"Percent of {scored:,} labelled joints, judged in heads (PCKh order of the diagnosis)."
    return PageTable("outcomes", "What became of every true joint", columns, tuple(rows), (caption,))


def _sequences(opened: Opened, cells: Series[Cells], letters: Series[str]) -> PageTable:
    rows = []
    for number, sequence in enumerate(opened.dataset.sequences):
        part = slice(int(cells[0].starts[number]), int(cells[0].starts[number + 1]))
        scored = int((cells[0].codes[part] != UNLABELLED).sum())
        found = [float((run.codes[part] == GOOD).sum() / scored) if scored else math.nan for run in cells]
        people = len(np.unique(sequence.truth.track_ids)) if len(sequence.truth) else 0
        rows.append((
            PageCell(sequence.name, sequence.name, sequence=number), _number(len(sequence.frames), "d"),
            _number(people, "d"), _number(scored, "d"), *(_number(100 * share) for share in found),
            *_difference(found),
        ))  # fmt: skip
    titles = [f"{letter} found %" if letter else "found %" for letter in letters[: len(cells)]]
    columns = ("Sequence", "Frames", "People", "Joints", *titles, *(["B − A"] if len(cells) == 2 else []))
    caption = "Found: within half a head size of its place. A name leads to the failures of its sequence."
    return PageTable("sequences", "Sequences", columns, tuple(rows), (caption,))


def _difference(shares: Series[float]) -> tuple[PageCell, ...]:
    return (_number(100 * (shares[1] - shares[0]), "+.1f"),) if len(shares) == 2 else ()


def _pages(table: Table, name: str) -> list[PageTable]:
    columns = (table.first, *(f"{column.title}{_ARROWS[column.better]}" for column in table.columns))
    return [
        PageTable(f"{name}-{place}", table.title, columns, _rows(table, section), table.caption)
        for place, section in enumerate(table.sections)
    ]


def _rows(table: Table, section: Section) -> tuple[tuple[PageCell, ...], ...]:
    marked = all_marks(table, section)
    rows = []
    for number, row in enumerate(section.rows):
        cells = [row.cells.get(column.name) for column in table.columns]
        shown = [column.shown(cell) for column, cell in zip(table.columns, cells, strict=True)]
        order = row.label if table.first == "Method" else str(number)  # joints and slices keep their own order
        first = PageCell(f"{row.label} †" if row.partial else row.label, order)
        own = [places.get(number, "") for places in marked]
        rows.append((first, *map(PageCell, shown, map(_value, cells), own)))
    return tuple(rows)


def _value(cell: Cell) -> str:
    """What a cell sorts by: its number, or the number its text starts with.

    >>> _value("57.3 [54.1, 60.2]"), _value("better"), _value(float("nan"))
    ('57.3', 'better', '')
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, str):
        number = re.match(r"[-+]?\d+(\.\d+)?", cell)
        return number[0] if number else "" if cell == "–" else cell
    return repr(cell)


def _number(value: float | int, form: str = ".1f") -> PageCell:
    known = not (isinstance(value, float) and math.isnan(value))
    return PageCell(format(value, form) if known else "–", repr(value) if known else "")


def _joint(name: str) -> str:
    return "Mean" if name == TOTAL else name.replace("_", " ")


_ARROWS: dict[str, Any] = {"high": " ↑", "low": " ↓", "": ""}
