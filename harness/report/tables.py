"""Tables of runs: what stands in them and what is ranked; how they are written is in formats.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError, listed
from harness.records import RunRecord
from harness.report.comparable import Ground, by_ground, ground_of, labels, machine_of, same_machine, short
from harness.scoring.scores import TOTAL
from harness.skeletons import GROUPS

__all__ = [
    "Cell", "Column", "Estimate", "Row", "Section", "Table", "all_marks", "cost_table", "footnotes", "leaderboard",
    "marks", "per_joint", "short_commit", "unit_of",
]  # fmt: skip

Cell = str | float | int | None

#: Stages of a job that a table of costs shows.
_STAGES = ("read", "crop", "forward", "decode", "wall")


class Estimate(float):
    """A value with its interval (NaN bounds without one); `remark` is printed after it, "*" for significant.

    >>> Column("ap", "AP").shown(Estimate(57.25, 54.1, 60.6)), Column("ap", "AP", signed=True).shown(Estimate(1.52))
    ('57.2 [54.1, 60.6]', '+1.5')
    """

    low: float
    high: float
    remark: str

    def __new__(cls, value: float, low: float = math.nan, high: float = math.nan, remark: str = "") -> Estimate:
        """The value itself, with what is known of it."""
        made = super().__new__(cls, value)
        made.low, made.high, made.remark = low, high, remark
        return made


@dataclass(frozen=True)
class Column:
    """`name` in CSV and JSON, `title` in print; `better` is "high", "low" or "" (not ranked).

    `digits` after the point, or `significant` digits where given; `scale` multiplies in print only.
    """

    name: str
    title: str
    better: str = ""
    digits: int = 1
    significant: int = 0
    scale: float = 1.0
    signed: bool = False

    def shown(self, value: Cell) -> str:
        """The value as printed; a dash where there is none.

        >>> Column("clips_per_second", "clips/s", significant=3).shown(61.04)
        '61.0'
        """
        if isinstance(value, str):
            return value
        if value is None or math.isnan(value):
            return "–"
        digits = self.digits
        if self.significant and value:
            digits = max(0, self.significant - 1 - math.floor(math.log10(abs(value * self.scale))))
        form = f"{'+' if self.signed else ''}.{digits}f"
        text = f"{value * self.scale:{form}}"
        if not isinstance(value, Estimate):
            return text
        text += value.remark
        if not math.isnan(value.low):
            text += f" [{value.low * self.scale:{form}}, {value.high * self.scale:{form}}]"
        return text


@dataclass(frozen=True)
class Row:
    """A label and its cells by column name; `facts` say in CSV and JSON whose row it is.

    `partial` rows are marked † and never ranked; `unranked` are columns in which this row is left out of the ranking.
    """

    label: str
    cells: Mapping[str, Cell]
    partial: bool = False
    unranked: frozenset[str] = frozenset()
    facts: Mapping[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """Rows that may be compared with each other, under a heading that says what they share."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A title, columns, sections and the sentences that belong under it; `first` heads the column of labels.

    `rows_rank` "high" marks best and second along every row, among the columns of the runs `ranked`, instead of down
    the columns.
    """

    title: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    caption: tuple[str, ...] = ()
    first: str = "Method"
    rows_rank: str = ""
    ranked: tuple[str, ...] = ()


def leaderboard(records: Sequence[RunRecord], *, metric: str = "ap", slice: str = "all", title: str = "") -> Table:
    """Runs by group of joints, with speed and size; one section per ground, best mean first, partial runs last.

    Raises UsageError when no run holds the metric. Values are in the metric's own unit, percent for AP.
    """
    if not any(record.table.select(metric=metric, slice=slice) for record in records):
        known = sorted({f"{row.metric} ({row.slice})" for record in records for row in record.scores})
        raise UsageError(
            f"no run holds metric '{metric}' on slice '{slice}'; there are {listed(known, limit=8) or 'none'}"
        )
    better = "high" if unit_of(metric) == "percent" else "low"
    sections = tuple(
        _section(ground, found, metric=metric, slice=slice, better=better)
        for ground, found in by_ground(records).items()
    )
    columns = (
        *(Column(name, name, better) for name in (*GROUPS, "Mean")),
        Column("clips_per_second", "clips/s", "high", significant=3),
        Column("parameters", "M params", digits=2, scale=1e-6),
    )
    what = metric.upper() if len(metric) <= 4 else metric.replace("_", " ")
    named = f"{what} per joint group" + ("" if slice == "all" else f", {slice}")
    unit = f"Values in {unit_of(metric)}, {'higher' if better == 'high' else 'lower'} is better."
    return Table(title or named, columns, sections, (*_grounds(sections), unit, *footnotes(records, speeds=True)))


def cost_table(records: Sequence[RunRecord]) -> Table:
    """What every run costs: size, multiply-adds, speed of the whole job, and seconds by stage, beside its mean AP."""
    stages = list(dict.fromkeys(stage for record in records for stage in record.cost.seconds if stage in _STAGES))
    sections = []
    for ground, found in by_ground(records).items():
        unranked = frozenset() if same_machine(found) else frozenset({"clips_per_second", *stages})
        rows = [
            Row(name, _costs(record, stages), partial=record.partial is not None,
                unranked=unranked if _sees_pixels(record) else frozenset({"clips_per_second", "parameters",
                                                                          "multiply_adds", *stages}),
                facts={"run": record.id, "device": machine_of(record)})
            for name, record in zip(labels(found), found, strict=True)
        ]  # fmt: skip
        rows.sort(key=lambda row: (row.partial, _order(row.cells["parameters"], 1), row.label))
        sections.append(Section(str(ground), tuple(rows)))
    columns = (
        Column("ap", "AP", "high"), Column("parameters", "M params", "low", digits=2, scale=1e-6),
        Column("multiply_adds", "G multiply-adds", "low", significant=3, scale=1e-9),
        Column("clips_per_second", "clips/s", "high", significant=3),
        *(Column(stage, f"{stage} s", digits=1) for stage in stages),
    )  # fmt: skip
    notes = (
        "Multiply-adds of one clip (papers call them FLOPs); clips per second and seconds by stage over the whole job. "
        "A clip is one person's; where there are no boxes, a frame with everybody in it.",
        "Rules that look at no pixel are ranked by AP alone.",
    )
    caption = (*_grounds(tuple(sections)), *notes, *footnotes(records, speeds=True))
    return Table("Cost", columns, tuple(sections), caption)


def per_joint(record: RunRecord, *, slice: str = "all") -> Table:
    """AP, precision and recall of every joint of one run, with the number of true and predicted joints."""
    metrics = {"ap": "AP", "precision": "Precision", "recall": "Recall"}
    own = record.table.select(protocol=record.dataset.protocol) if slice == "all" else record.table
    found = {(row.metric, row.joint): row for row in own.entries if row.slice == slice}
    if ("ap", TOTAL) not in found:
        raise UsageError(f"run {record.id} holds no AP on slice '{slice}'")
    bounded = not all(math.isnan(row.low) for (metric, _), row in found.items() if metric == "ap")
    columns = [Column(name, title, "high") for name, title in metrics.items()]
    columns[1:1] = [Column("low", "low"), Column("high", "high")] if bounded else []
    columns += [Column("n_truth", "True", digits=0), Column("n_predicted", "Predicted", digits=0)]
    everything = frozenset(column.name for column in columns)
    rows = []
    for joint in (*(joint for joints in GROUPS.values() for joint in joints), TOTAL):
        cells: dict[str, Cell] = {name: found[name, joint].value for name in metrics if (name, joint) in found}
        if (ap := found.get(("ap", joint))) is not None:
            cells |= {"low": ap.low, "high": ap.high, "n_truth": ap.n_truth, "n_predicted": ap.n_predicted}
        name = "Mean" if joint == TOTAL else joint.replace("_", " ")
        rows.append(Row(name, cells, unranked=everything, facts={"run": record.id, "slice": slice}))
    section = Section(str(ground_of(record)), tuple(rows))
    title = f"{labels([record])[0]}, per joint" + ("" if slice == "all" else f", {slice}")
    caption = (*_grounds((section,)), "Values in percent.", *footnotes([record], speeds=False), *record.warnings)
    return Table(title, tuple(columns), (section,), caption, first="Joint")


def marks(section: Section, column: Column) -> dict[int, str]:
    """Row number -> "best" or "second", by the value as printed, so that equal prints share a mark.

    Nothing is marked in a column that is not ranked, in rows that are not, or where all values are the same.
    """
    if not column.better:
        return {}
    values = {
        number: _as_printed(column, row.cells.get(column.name))
        for number, row in enumerate(section.rows)
        if not row.partial and column.name not in row.unranked and _is_number(row.cells.get(column.name))
    }
    order = sorted(set(values.values()), reverse=column.better == "high")
    names = dict(zip(order[:2], ("best", "second"), strict=False)) if len(order) > 1 else {}
    return {number: names[value] for number, value in values.items() if value in names}


def all_marks(table: Table, section: Section) -> list[dict[int, str]]:
    """The marks of every column: down the columns, or along the rows where the table says so."""
    if not table.rows_rank:
        return [marks(section, column) for column in table.columns]
    found: list[dict[int, str]] = [{} for _ in table.columns]
    for number, row in enumerate(section.rows):
        line = {
            place: _as_printed(column, row.cells.get(column.name))
            for place, column in enumerate(table.columns)
            if column.name in table.ranked and _is_number(row.cells.get(column.name))
        }
        order = sorted(set(line.values()), reverse=table.rows_rank == "high")
        names = dict(zip(order[:2], ("best", "second"), strict=False)) if len(order) > 1 else {}
        for place, value in line.items():
            if value in names:
                found[place][number] = names[value]
    return found


def unit_of(metric: str) -> str:
    """The unit a metric's name says: head sizes, pixels, percent for all others.

    >>> unit_of("ap"), unit_of("endpoint_error_head")
    ('percent', 'head sizes')
    """
    units = {"_head": "head sizes", "_px": "pixels"}
    return next((unit for ending, unit in units.items() if metric.endswith(ending)), "percent")


def _section(ground: Ground, records: list[RunRecord], *, metric: str, slice: str, better: str) -> Section:
    comparable_speed = same_machine(records)
    rows = [
        _row(name, record, metric=metric, slice=slice, comparable_speed=comparable_speed)
        for name, record in zip(labels(records), records, strict=True)
    ]
    sign = -1 if better == "high" else 1
    rows.sort(key=lambda row: (row.partial, _order(row.cells["Mean"], sign), row.label))
    return Section(str(ground), tuple(rows))


def _row(label: str, record: RunRecord, *, metric: str, slice: str, comparable_speed: bool) -> Row:
    groups = record.table.groups(metric, slice=slice, protocol=record.dataset.protocol if slice == "all" else None)
    cells: dict[str, Cell] = {name: groups.get(name) for name in GROUPS}
    cells |= {
        "Mean": groups.get("Total"),
        "clips_per_second": record.cost.clips_per_second,
        "parameters": record.cost.parameters,
    }
    ground = ground_of(record)
    facts: dict[str, Cell] = {
        "metric": metric, "slice": slice, "run": record.id,
        "method": record.method.name, "preset": record.method.preset,
        "dataset": ground.dataset, "split": ground.split, "fingerprint": ground.fingerprint,
        "protocol": ground.protocol, "boxes": ground.boxes, "boxes_sha256": ground.boxes_sha256,
        "probe": ground.probe, "device": machine_of(record), "commit": record.environment.commit,
        "partial": record.partial.reason if record.partial else None,
    }  # fmt: skip
    # the speed of a rule that reads no image ranks nothing
    unranked = frozenset() if comparable_speed and _sees_pixels(record) else frozenset({"clips_per_second"})
    return Row(label, cells, partial=record.partial is not None, unranked=unranked, facts=facts)


def _grounds(sections: tuple[Section, ...]) -> list[str]:
    if len(sections) == 1:
        return [f"{sections[0].heading}."]
    return [f"{len(sections)} groups of runs: numbers are comparable within a group only."]


def footnotes(records: Sequence[RunRecord], *, speeds: bool) -> list[str]:
    """Device and commit of the runs, and which of them are partial."""
    machines = "; ".join(sorted({machine_of(record) for record in records}))
    mixed = speeds and any(not same_machine(found) for found in by_ground(records).values())
    commits = ", ".join(sorted({short_commit(record.environment.commit) for record in records}))
    notes = [
        f"Device: {machines}{' (speeds of different devices are not ranked)' if mixed else ''}. Commit: {commits}."
    ]
    for name, record in zip(labels(records), records, strict=True):
        if record.partial:
            notes.append(f"† {name}: partial, not comparable ({record.partial.reason}).")
    return notes


def short_commit(commit: str | None) -> str:
    """First 8 digits of a commit, with its `-dirty`."""
    if commit is None:
        return "unknown"
    return short(commit) + ("-dirty" if commit.endswith("-dirty") else "")


def _costs(record: RunRecord, stages: Sequence[str]) -> dict[str, Cell]:
    cost = record.cost
    seconds: dict[str, Cell] = {stage: cost.seconds.get(stage) for stage in stages}
    return {
        "ap": record.table.groups().get("Total"), "parameters": cost.parameters, "multiply_adds": cost.multiply_adds,
        "clips_per_second": cost.clips_per_second, **seconds,
    }  # fmt: skip


def _sees_pixels(record: RunRecord) -> bool:
    return record.inference is None or bool(record.inference.support)


def _as_printed(column: Column, value: Cell) -> float:
    """The number a cell prints, its interval and remark left out."""
    bare = float(value) if isinstance(value, Estimate) else value
    return float(column.shown(bare))


def _is_number(value: Cell) -> bool:
    return isinstance(value, float | int) and not math.isnan(value)


def _order(value: Cell, sign: int) -> float:
    return sign * float(value) if value is not None and _is_number(value) else math.inf
