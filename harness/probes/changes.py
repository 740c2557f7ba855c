"""What a probe changed: probed and untouched run compared pair by pair, kept in the record of the probed run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.datasets import DataSet
from harness.predictions import read_parquet
from harness.records import RunRecord
from harness.reopen import same_sequences
from harness.report.probe_rows import rows_of
from harness.results import Results, StoredRun
from harness.scoring.comparison import compare_matched
from harness.scoring.matched import Matched, match_run
from harness.scoring.scores import TOTAL
from harness.scoring.slices.scoring import ALL

__all__ = ["CHANGE_SLICES", "Judge", "total_of", "with_rows"]

#: Where a probe may matter: all, and by motion and occlusion.
CHANGE_SLICES = ("speed", "visibility", "occlusion_run")

_COLUMNS = ("slice", "name", "a", "b", "difference", "low", "high", "p_holm", "n_truth", "verdict")


@dataclass
class Judge:
    """Compares runs on one data set; every run is matched to the truth once."""

    dataset: DataSet
    slices: tuple[str, ...] = CHANGE_SLICES
    replicates: int = 1000
    permutations: int = 4000
    seed: int = 0
    _matched: dict[str, Matched] = field(default_factory=dict)

    def changed(self, before: StoredRun, after: StoredRun, *, what: str) -> tuple[dict[str, Any], ...]:
        """Rows of `after` minus `before`: joints and groups over all, groups in every bin of the slices.

        Rows that are in the record already are taken from it, if they were made of the same predictions.
        """
        stored = self.known(before, after, what=what)
        if stored:
            return stored
        found = compare_matched(
            self._match(before), self._match(after), slices=(ALL, *self.slices), replicates=self.replicates,
            permutations=self.permutations, seed=self.seed,
        )  # fmt: skip
        shared = {"what": what, "against": before.id, "of": self._sources(before, after)}
        return tuple(
            {**shared, "kind": row.kind, **{column: _plain(getattr(row, column)) for column in _COLUMNS}}
            for row in found.rows
            if row.kind == "group" or row.slice == ALL
        )

    def known(self, before: StoredRun, after: StoredRun, *, what: str) -> tuple[dict[str, Any], ...]:
        """The rows of `changed` that are in the record already; none where it would have to compare."""
        mine = [row for row in rows_of(after.record) if row["what"] == what and row.get("against") == before.id]
        return tuple(row for row in mine if row.get("of") == self._sources(before, after))

    def _sources(self, *runs: StoredRun) -> str:
        hashes = [run.record.predictions.sha256[-8:] if run.record.predictions else "" for run in runs]
        asked = f"{','.join(self.slices)} {self.replicates}/{self.permutations} seed {self.seed}"
        return f"{hashes[0]} {hashes[1]}, {asked}"

    def _match(self, run: StoredRun) -> Matched:
        if run.id not in self._matched:
            path = run.stored_predictions()
            predictions = read_parquet(path)
            self._matched[run.id] = match_run(same_sequences(self.dataset, predictions, path), predictions)
        return self._matched[run.id]


def with_rows(
    store: Results,
    run: StoredRun,
    rows: Iterable[dict[str, Any]],
    *,
    facts: dict[str, Any] | None = None,
    maps: bytes | None = None,
) -> StoredRun:
    """The run with what was found kept in its record; rows that answer the same take the place of older ones.

    `maps` is stored beside the record, and its hash in it. Raises CheckError for a record that was edited.
    """
    new = list(rows)
    asked = {_question(row) for row in new}
    known = dict(facts or {})
    if maps is not None:
        known["maps_sha256"] = f"sha256:{hashlib.sha256(maps).hexdigest()}"

    def added(record: RunRecord) -> RunRecord:
        kept = [row for row in rows_of(record) if _question(row) not in asked]
        findings = {**record.findings, **known, "rows": [*kept, *new]}
        same = json.dumps(findings, sort_keys=True) == json.dumps(dict(record.findings), sort_keys=True)
        return record if same else replace(record, findings=findings)

    if maps is None and added(run.record) is run.record:
        return run
    return store.amend(run, added, maps=maps)


def total_of(rows: Sequence[dict[str, Any]], *, what: str = "change", slice: str = ALL) -> dict[str, Any] | None:
    """The row over all joints."""
    found = [row for row in rows if (row["what"], row["slice"], row["name"]) == (what, slice, TOTAL)]
    return found[0] if found else None


def _question(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["what"],) if row["what"] == "change" else (row["what"], row.get("against"))


def _plain(value: Any) -> Any:
    """Four decimals of a percent point are more than a bootstrap knows."""
    if isinstance(value, float):
        return None if value != value else round(value, 4)
    return value
