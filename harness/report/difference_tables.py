"""Runs against one reference: paired differences with intervals, and a star where they are significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.records import RunRecord
from harness.report.comparable import ground_of, grounds_apart, labels
from harness.report.tables import Cell, Column, Estimate, Row, Section, Table, footnotes
from harness.scoring.differences import Comparison, Difference
from harness.skeletons import GROUPS

__all__ = ["against", "compared"]

_STARS = "* significant: the interval excludes 0 and so does the permutation of sequences after Holm's correction."


def against(
    reference: RunRecord, others: Sequence[RunRecord], comparisons: Mapping[str, Comparison], *, slice: str = "all"
) -> Table:
    """AP of every run minus the reference's per group, best first; `comparisons` by run id, each b - reference."""
    records = [reference, *others]
    names = labels(records)
    columns = (
        Column("mean_ap", "AP"), *(Column(name, name, signed=True) for name in GROUPS),
        Column("Mean", "Mean", signed=True),
    )  # fmt: skip
    rows = [Row(f"{names[0]}, the reference", {"mean_ap": _mean(reference, slice)}, facts=_facts(reference))]
    named = sorted(zip(names[1:], others, strict=True), key=lambda pair: -(_mean(pair[1], slice) or 0))
    for name, record in named:
        found = comparisons[record.id].select(slice=slice, kind="group")
        cells: dict[str, Cell] = {"Mean" if row.name == "total" else row.name: _estimate(row) for row in found.rows}
        rows.append(Row(name, {"mean_ap": _mean(record, slice), **cells}, partial=record.partial is not None,
                        facts=_facts(record)))  # fmt: skip
    made = next(iter(comparisons.values())).facts
    caption = (
        f"{ground_of(reference)}.",
        f"Differences in points of AP; brackets: paired 95 % interval, {made['replicates']} draws of whole sequences.",
        _STARS, *footnotes(records, speeds=False),
    )  # fmt: skip
    title = f"AP against {names[0]}" + ("" if slice == "all" else f", {slice}")
    return Table(title, columns, (Section(str(ground_of(reference)), tuple(rows)),), caption)


def compared(comparison: Comparison, records: tuple[RunRecord, RunRecord], *, joints: bool = False) -> Table:
    """Run B against run A: a row per slice and joint group, or per joint."""
    shown = [row for row in comparison.rows if (row.kind == "joint") == joints or row.name == "total"]
    columns = (
        Column("slice", "slice"), Column("a", "A"), Column("b", "B"), Column("difference", "B - A", signed=True),
        Column("p_holm", "p (Holm)", significant=2), Column("n_truth", "n", digits=0), Column("verdict", "verdict"),
        Column("more_for_interval", "more needed", digits=0),
    )  # fmt: skip
    rows = tuple(
        Row(row.name.replace("_", " "), {
            "slice": row.slice.replace("_", " "), "a": row.a, "b": row.b, "difference": _estimate(row),
            "p_holm": row.p_holm, "n_truth": row.n_truth, "verdict": row.verdict,
            "more_for_interval": row.more_for_interval,
        }) for row in shown
    )  # fmt: skip
    names, apart = labels(records), grounds_apart(records)
    grounds = [str(ground_of(record)) for record in records]
    ground = f"A: {grounds[0]}; B: {grounds[1]}" if apart else grounds[0]
    caption = (
        f"A: {names[0]} ({records[0].id}). B: {names[1]} ({records[1].id}).", f"{ground}.", *filter(None, (apart,)),
        "AP in percent; brackets: paired 95 % interval over sequences; more needed: sequences until it excludes 0.",
        _STARS, *footnotes(records, speeds=False),
    )  # fmt: skip
    return Table("B against A", columns, (Section(ground, rows),), caption, first="Joints")


def _estimate(row: Difference) -> Estimate:
    return Estimate(row.difference, row.low, row.high, "" if row.verdict == "not shown" else "*")


def _mean(record: RunRecord, slice: str) -> float | None:
    return record.table.groups("ap", slice=slice, protocol="poseval").get("Total")


def _facts(record: RunRecord) -> dict[str, Cell]:
    return {"run": record.id, "fingerprint": record.dataset.fingerprint, "boxes": record.boxes.source}
