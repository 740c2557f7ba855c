"""Findings: rows of tables and plots from what studies left in the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.probes.changes import Judge, total_of
from harness.probes.studies import Answer
from harness.records import RunRecord
from harness.scoring.scores import TOTAL
from harness.skeletons import GROUPS

__all__ = ["gains_by_slice", "gaps", "named", "summary"]

FROZEN = "support_frozen"

Row = dict[str, Any]


def named(answer: Answer) -> str:
    """Method and preset of an answer."""
    return title_of(answer.run.record)


def title_of(record: RunRecord) -> str:
    """Method and preset, with the outputs where they are not the method's own."""
    outputs = record.request.get("outputs")
    return f"{record.method.name}:{record.method.preset}" + (f" ({outputs})" if outputs else "")


def summary(answers: Sequence[Answer]) -> list[Row]:
    """A row per probed run: AP, its change with interval and p, and the change of every group of joints."""
    rows = []
    for answer in answers:
        total = total_of(answer.rows)
        if total is None:
            continue
        groups = {row["name"]: row["difference"] for row in answer.rows if row["slice"] == "all"}
        rows.append({
            "method": named(answer), "probe": answer.cell.name, "AP": total["b"], "change": total["difference"],
            "95 %": interval(total), "p (Holm)": probability(total["p_holm"]), "verdict": total["verdict"],
            **{name: groups.get(name) for name in GROUPS},
        })  # fmt: skip
    return rows


def gains_by_slice(answers: Sequence[Answer]) -> list[Row]:
    """Temporal gain, AP minus AP with the support frozen to the key frame, in every bin of every slice."""
    rows = []
    for answer in answers:
        if answer.cell.name == FROZEN:
            for row in answer.rows:
                if row["name"] == TOTAL:
                    rows.append({"method": named(answer), "slice": row["slice"], "AP": row["a"], "frozen": row["b"],
                                 "gain": _minus(row["difference"]), "95 %": interval(row, -1),
                                 "joints": row["n_truth"], "verdict": _turned(row["verdict"])})  # fmt: skip
    return rows


def gaps(answers: Sequence[Answer], judge: Judge) -> list[Row]:
    """The gap between two methods under every protocol both were run with, compared pair by pair."""
    subjects = list(dict.fromkeys(named(answer) for answer in answers))
    rows: list[Row] = []
    for second in subjects[1:]:
        cells = [{answer.cell.name: answer.run for answer in answers if named(answer) == name}
                 | {"as they are": answer.untouched for answer in answers if named(answer) == name}
                 for name in (subjects[0], second)]  # fmt: skip
        for name in ["as they are", *(name for name in cells[0] if name in cells[1] and name != "as they are")]:
            found = judge.changed(cells[0][name], cells[1][name], what="gap")
            total = total_of(found, what="gap")
            if total is not None:
                rows.append({"gap": f"{second} - {subjects[0]}", "protocol": name, "points": total["difference"],
                             "95 %": interval(total), "p (Holm)": probability(total["p_holm"])})  # fmt: skip
    return rows


def interval(row: Row, sign: int = 1) -> str:
    """The interval of a difference; of its opposite for sign -1."""
    if row["low"] is None or row["high"] is None:
        return ""
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return f"[{low:+.1f}, {high:+.1f}]"


def probability(value: float | None) -> str:
    """A p value; nothing where there is none."""
    return "" if value is None else f"{value:.2g}"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _turned(verdict: str) -> str:
    return {"better": "worse", "worse": "better"}.get(verdict, verdict)
