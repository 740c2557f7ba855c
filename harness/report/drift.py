"""Do tables say what the stored predictions give? Runs scored again, and tables compared cell by cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import DataError
from harness.records import RunRecord
from harness.reopen import reopen, rescorer
from harness.report.tables import Cell, Estimate, Table
from harness.results import StoredRun

__all__ = ["drift", "rescored"]


def rescored(run: StoredRun, data_root: Path | None = None) -> RunRecord:
    """The record of a run with scores made anew of its stored predictions; DataError where those or the labels lack."""
    record, path = run.record, run.stored_predictions()
    dataset = reopen(record, data_root)
    if dataset is None:
        raise DataError(f"data set {record.dataset.name} is not at hand; give --data-root DIR")
    if dataset.fingerprint != record.dataset.fingerprint:
        raise DataError(f"{dataset.root}: its labels are not those of {run.id} (fingerprint {dataset.fingerprint})")
    scores = rescorer(dataset)(record, path)
    return replace(record, scores=scores.entries)


def drift(before: Sequence[Table], after: Sequence[Table]) -> tuple[int, list[str]]:
    """(numbers compared, one sentence for each that differs): row by row, every value and bound in every bit."""
    changed, count = [], 0
    for (name, stored), (_, again) in itertools.zip_longest(_numbers(before), _numbers(after), fillvalue=("", None)):
        count += 1
        if not (stored == again or (_lacks(stored) and _lacks(again))):
            changed.append(f"{name} is {stored}, recomputed {again}")
    return count, changed


def _numbers(tables: Sequence[Table]) -> Iterator[tuple[str, Cell]]:
    for table in tables:
        for section in table.sections:
            for row in sorted(section.rows, key=lambda row: row.label):  # a drift may change the ranking
                for column in table.columns:
                    cell = row.cells.get(column.name)
                    name = f"{row.label}, {column.title}"
                    yield name, float(cell) if isinstance(cell, Estimate) else cell
                    if isinstance(cell, Estimate):
                        yield f"{name} (low)", cell.low
                        yield f"{name} (high)", cell.high


def _lacks(value: Cell) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
