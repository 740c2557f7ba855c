"""Findings: rows of tables and plots from what studies left in the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.boxes import NO_BOXES
from harness.probes.changes import Judge, total_of, with_rows
from harness.probes.studies import Answer
from harness.report.probe_crossing import AS_IT_IS
from harness.report.probe_rows import title_of
from harness.results import Results, StoredRun
from harness.scoring.scores import TOTAL
from harness.skeletons import GROUPS

__all__ = ["gains_by_slice", "gaps", "named", "summary"]

FROZEN = "support_frozen"

Row = dict[str, Any]


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


def gaps(answers: Sequence[Answer], judge: Judge, store: Results) -> list[Row]:
    """The gap between two methods under every protocol both were run with, kept in the second one's records.

    There is none between a method that is given boxes and one that takes whole frames.
    """
    subjects = list(dict.fromkeys(named(answer) for answer in answers))
    rows: list[Row] = []
    for second in subjects[1:]:
        ours, theirs = _runs_of(second, answers), _runs_of(subjects[0], answers)
        if _takes_boxes(ours[AS_IT_IS]) != _takes_boxes(theirs[AS_IT_IS]):
            continue
        for name in (name for name in theirs if name in ours):
            what = f"gap, {name}"
            found = judge.changed(theirs[name], ours[name], what=what)
            with_rows(store, ours[name], found)
            total = total_of(found, what=what)
            if total is not None:
                rows.append({
                    "gap": f"{second} - {subjects[0]}", "protocol": name, "points": signed(total["difference"]),
                    "95 %": interval(total), "p (Holm)": probability(total["p_holm"]),
                })  # fmt: skip
    return rows


def _runs_of(subject: str, answers: Sequence[Answer]) -> dict[str, StoredRun]:
    """Protocol -> run of one method, the untouched one first."""
    mine = [answer for answer in answers if named(answer) == subject]
    return {AS_IT_IS: mine[0].untouched, **{answer.cell.name: answer.run for answer in mine}}


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
