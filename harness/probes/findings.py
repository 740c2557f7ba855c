"""Findings: rows of tables and plots from what studies left in the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.boxes import NO_BOXES
from harness.probes.changes import Judge, total_of, with_rows
from harness.probes.studies import Answer, with_predictions
from harness.report.probe_crossing import AS_IT_IS
from harness.report.probe_rows import title_of
from harness.results import Results, StoredRun
from harness.scoring.scores import TOTAL
from harness.skeletons import GROUPS

__all__ = ["Gap", "gains_by_slice", "gap_table", "gaps", "named", "summary"]

FROZEN = "support_frozen"

Row = dict[str, Any]


@dataclass(frozen=True)
class Gap:
    """What one method is ahead of another under one protocol."""

    title: str
    protocol: str
    rows: tuple[Row, ...]


def named(answer: Answer) -> str:
    """Method and preset of an answer."""
    return title_of(answer.run.record)


def summary(answers: Sequence[Answer]) -> list[Row]:
    """A row per probed run: AP, its change with interval and p, and the change of every group of joints."""
    rows = []
    for answer in answers:
        total = total_of(answer.rows)
        if total is None:
            continue
        groups = {row["name"]: row["difference"] for row in answer.rows if row["slice"] == "all"}
        rows.append({
            "method": named(answer), "probe": answer.cell.name, "AP": number(total["b"]),
            "change": signed(total["difference"]),
            "95 %": interval(total), "p (Holm)": probability(total["p_holm"]), "verdict": total["verdict"],
            **{name: signed(groups.get(name)) for name in GROUPS},
        })  # fmt: skip
    return rows


def gains_by_slice(answers: Sequence[Answer]) -> list[Row]:
    """Temporal gain, AP minus AP with the support frozen to the key frame, in every bin of every slice."""
    rows = []
    for answer in answers:
        if answer.cell.name == FROZEN:
            for row in answer.rows:
                if row["name"] == TOTAL:
                    rows.append({
                        "method": named(answer), "slice": row["slice"], "AP": number(row["a"]),
                        "frozen": number(row["b"]), "gain": signed(_minus(row["difference"])),
                        "95 %": interval(row, -1), "joints": row["n_truth"], "verdict": _turned(row["verdict"]),
                    })  # fmt: skip
    return rows


def gaps(answers: Sequence[Answer], judge: Judge, store: Results) -> list[Gap]:
    """The gap of every method to the first under each protocol both were run with, kept in the second one's records.

    There is none between a method that is given boxes and one that takes whole frames. Predictions that were dropped
    and are needed are made again.
    """
    subjects = list(dict.fromkeys(answer.untouched.id for answer in answers))
    found = []
    for second in subjects[1:]:
        ours, theirs = _under(second, answers), _under(subjects[0], answers)
        if _takes_boxes(ours[AS_IT_IS].run) != _takes_boxes(theirs[AS_IT_IS].run):
            continue
        for name in (name for name in theirs if name in ours):
            pair, what = (theirs[name], ours[name]), f"gap, {name}"
            runs = [answer.run for answer in pair]
            if not judge.known(runs[0], runs[1], what=what):
                runs = [with_predictions(answer.cell, answer.run, store) for answer in pair]
            rows = judge.changed(runs[0], runs[1], what=what)
            with_rows(store, runs[1], rows)
            found.append(Gap(f"{named(ours[AS_IT_IS])} - {named(theirs[AS_IT_IS])}", name, rows))
    return found


def gap_table(found: Sequence[Gap]) -> list[Row]:
    """A row per gap, over all joints."""
    rows = []
    for gap in found:
        total = total_of(gap.rows, what=f"gap, {gap.protocol}")
        if total is not None:
            rows.append({
                "gap": gap.title, "protocol": gap.protocol, "points": signed(total["difference"]),
                "95 %": interval(total), "p (Holm)": probability(total["p_holm"]),
            })  # fmt: skip
    return rows


def _under(untouched: str, answers: Sequence[Answer]) -> dict[str, Answer]:
    """Protocol -> answer of the method with that untouched run, which comes first."""
    mine = [answer for answer in answers if answer.untouched.id == untouched]
    own = replace(mine[0], run=mine[0].untouched)
    return {AS_IT_IS: own, **{answer.cell.name: answer for answer in mine}}


def _takes_boxes(run: StoredRun) -> bool:
    return run.record.boxes.source != NO_BOXES


def interval(row: Row, sign: int = 1) -> str:
    """The interval of a difference; of its opposite for sign -1."""
    if row["low"] is None or row["high"] is None:
        return "too few videos"
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return f"[{low:+.1f}, {high:+.1f}]"


def number(value: float | None) -> str:
    """AP in percent; a dash where there is none."""
    return "–" if value is None else f"{value:.1f}"


def signed(value: float | None) -> str:
    """A difference in points; a dash where there is none.

    >>> signed(-0.04), signed(1.26), signed(None)
    ('0.0', '+1.3', '–')
    """
    if value is None:
        return "–"
    return f"{value:+.1f}" if round(value, 1) else "0.0"


def probability(value: float | None) -> str:
    """A p value; nothing where there is none."""
    return "" if value is None else f"{value:.2g}"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _turned(verdict: str) -> str:
    return {"better": "worse", "worse": "better"}.get(verdict, verdict)
