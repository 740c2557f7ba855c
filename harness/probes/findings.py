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

__all__ = ["Gap", "gains_by_slice", "gap_rows", "gap_table", "gaps", "named", "summary"]

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


def gaps(answers: Sequence[Answer], judge: Judge, store: Results, *, overwrite: str = "missing") -> list[Gap]:
    """The gap of every method to the first under each protocol both were run with, kept in the second one's records.

    There is none between a method that is given boxes and one that takes whole frames. Predictions that were dropped
    and are needed are made again, unless `overwrite` is "never".
    """
    subjects = list(dict.fromkeys(answer.untouched.id for answer in answers))
    titles = _titles(answers)
    held: dict[str, Answer] = {}  # by run, with predictions

    def at_hand(answer: Answer) -> Answer:
        if overwrite == "never" or answer.run.id == answer.untouched.id:
            return answer
        if answer.run.id not in held:
            held[answer.run.id] = with_predictions(answer, store, judge)
        return held[answer.run.id]

    found = []
    for second in subjects[1:]:
        ours, theirs = _under(second, answers), _under(subjects[0], answers)
        if _takes_boxes(ours[AS_IT_IS].run) != _takes_boxes(theirs[AS_IT_IS].run):
            continue
        for name in (name for name in theirs if name in ours):
            one, other, what = theirs[name], ours[name], f"gap, {name}"
            if not judge.known(one.run, other.run, what=what):
                one, other = at_hand(one), at_hand(other)
            rows = judge.changed(one.run, other.run, what=what)
            with_rows(store, other.run, rows)
            found.append(Gap(f"{titles[second]} - {titles[subjects[0]]}", name, rows))
    return found


def _titles(answers: Sequence[Answer]) -> dict[str, str]:
    """Untouched run -> method and preset, told apart by the key of the run where several are called the same."""
    names = {answer.untouched.id: named(answer) for answer in answers}
    several = list(names.values())
    return {
        run: name if several.count(name) == 1 else f"{name} [{run.rpartition('-')[2]}]" for run, name in names.items()
    }


def gap_rows(found: Sequence[Gap]) -> list[Row]:
    """The rows of gaps over all joints, as pages read them from records."""
    totals = [(gap, total_of(gap.rows, what=f"gap, {gap.protocol}")) for gap in found]
    return [{**total, "gap": gap.title, "protocol": gap.protocol} for gap, total in totals if total is not None]


def gap_table(found: Sequence[Gap]) -> list[Row]:
    """A row per gap, over all joints."""
    return [
        {
            "gap": row["gap"], "protocol": row["protocol"], "points": signed(row["difference"]),
            "95 %": interval(row), "p (Holm)": probability(row["p_holm"]),
        }
        for row in gap_rows(found)
    ]  # fmt: skip


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
