"""Differences between two runs as rows: Holm's correction over a table, and what each row shows.

Source: specification of slices, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Series
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.scoring.uncertainty import FEWEST_SEQUENCES

if TYPE_CHECKING:
    import pandas

__all__ = ["Comparison", "Difference", "holm", "judged"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row: what separates run b from run a in one joint, group or total of one slice.

    `kind` is "joint" or "group" (the total among these), the two tables within which Holm corrects; `a`, `b` AP in
    percent; `low`, `high` the paired bootstrap interval of `difference`; `p` the paired permutation of sequences,
    `p_holm` corrected. `more_for_interval` and `more_for_power`: how many more sequences like these would put 0 outside
    the interval, or give 80 % power, were the difference as it is; None where that cannot be told. `only_a`, `only_b`
    joints found by one run alone with McNemar's exact p (descriptive: it takes joints as independent) and `p_hits`, the
    same difference tested by whole sequences. `verdict` "better", "worse" or "not shown", with its `reason`.
    """

    slice: str
    kind: str
    name: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    n_truth: int
    sequences: int
    more_for_interval: int | None
    more_for_power: int | None
    only_a: int
    only_b: int
    p_mcnemar: float
    p_hits: float
    verdict: str
    reason: str

    @property
    def sentence(self) -> str:
        """The row in words."""
        if math.isnan(self.low):
            return f"{self.name}, {self.slice}: {self.verdict} ({self.reason})"
        return (
            f"{self.name}, {self.slice}: {self.verdict}, {self.difference:+.2f} points "
            f"[{self.low:+.2f}, {self.high:+.2f}], p = {self.p_holm:.3g} after Holm ({self.reason})"
        )


@dataclass(frozen=True)
class Comparison:
    """The tidy table of a comparison; `facts` say how it was made."""

    rows: tuple[Difference, ...]
    warnings: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def select(self, *, slice: str | None = None, kind: str | None = None, name: str | None = None) -> Comparison:
        """The rows with the given values."""
        wanted = {"slice": slice, "kind": kind, "name": name}
        given = {key: value for key, value in wanted.items() if value is not None}
        kept = tuple(row for row in self.rows if all(getattr(row, key) == value for key, value in given.items()))
        return replace(self, rows=kept)

    def row(self, name: str = "total", *, slice: str = "all") -> Difference:
        """The one row of a joint, group or "total"."""
        return self.select(slice=slice, name=name).rows[0]

    def to_rows(self) -> list[dict[str, Any]]:
        """Rows for JSON and CSV, NaN as None."""
        plain = (asdict(row) for row in self.rows)
        return [{key: None if value != value else value for key, value in row.items()} for row in plain]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame."""
        import pandas

        return pandas.DataFrame([asdict(row) for row in self.rows])


def holm(p: Series[float]) -> list[float]:
    """Holm's step-down correction; NaN stays NaN and does not count.

    >>> holm([0.01, 0.04, math.nan, 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    adjusted, running = list(p), 0.0
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    for rank, (value, place) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * value))
        adjusted[place] = running
    return adjusted


def judged(rows: list[Difference], level: float) -> tuple[Difference, ...]:
    """Correct the p of either table and say what it all means."""
    corrected: dict[int, float] = {}
    for kind in ("joint", "group"):
        places = [place for place, row in enumerate(rows) if row.kind == kind]
        corrected |= dict(zip(places, holm([rows[place].p for place in places]), strict=True))
    return tuple(_verdict(replace(row, p_holm=corrected[place]), level) for place, row in enumerate(rows))


def _verdict(row: Difference, level: float) -> Difference:
    clear = row.low > 0 or row.high < 0
    if math.isnan(row.difference):
        return replace(row, reason="too few joints or sequences for an AP")
    if math.isnan(row.low):
        return replace(row, reason=f"fewer than {FEWEST_SEQUENCES} sequences")
    if row.reason:
        return row
    if not clear:
        more = "" if row.more_for_interval is None else f"; about {row.more_for_interval} more sequences would"
        return replace(row, reason="the interval does not exclude 0" + more)
    if row.p_holm > 1 - level + 1e-12:
        return replace(row, reason="not significant after Holm's correction")
    return replace(row, verdict="better" if row.difference > 0 else "worse", reason="interval and permutation agree")
