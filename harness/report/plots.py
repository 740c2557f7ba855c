"""Figures of runs, one function each; every one takes records of one ground and returns a matplotlib Figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report.comparable import by_ground, ground_of, labels, machine_of, same_machine
from harness.report.many_runs import MOST, run_rows
from harness.report.point_names import along, name_points
from harness.report.style import FLOOR, GREY, Look, add_caption, new_figure, palette, theme
from harness.report.tables import short_commit, unit_of
from harness.scoring.scores import TOTAL, Score
from harness.skeletons import GROUPS

__all__ = [
    "ap_against_cost", "ap_against_speed", "axis_title", "best_of", "better_of", "caption_of", "colours_of", "looks_of",
    "metric_title", "named_runs", "one_ground", "pareto", "per_joint_bars",
]  # fmt: skip

#: Cost of a record -> (axis label, what one unit of the axis is).
_COSTS = {
    "multiply_adds": ("multiply-adds of one clip, 10⁹ (log scale)", 1e-9),
    "parameters": ("parameters, 10⁶ (log scale)", 1e-6),
}


def per_joint_bars(records: Sequence[RunRecord], *, metric: str = "ap", slice: str = "all") -> Figure:
    """Bars of every run over Head ... Ankle and the mean, worst run first, with an interval on the mean where known.

    More runs than colours tell apart get a panel per group with a named row each. Raises UsageError for runs of
    different grounds, or when a run lacks the metric.
    """
    order = sorted(one_ground(records), key=lambda record: _mean(record, metric, slice))
    names = named_runs(order)
    if len(order) > MOST:
        return _group_rows(order, names, metric, slice)
    rows = [
        {"run": name, "group": "Mean" if group == "Total" else group, "value": value}
        for name, record in zip(names, order, strict=True)
        for group, value in record.table.groups(metric, slice=slice).items()
    ]
    with theme():
        figure = new_figure(max(7.5, 2.4 + 0.175 * 8 * (len(order) + 1.4)), 3.3)
        axes = figure.add_subplot()
        sns.barplot(
            pd.DataFrame(rows), x="group", y="value", hue="run",
            order=[*GROUPS, "Mean"], hue_order=names,
            palette=colours_of(order), saturation=1, width=0.86, edgecolor="white", linewidth=0.4, errorbar=None,
            ax=axes,
        )  # fmt: skip
        _draw_values(axes, order, metric, slice)
        axes.axvline(len(GROUPS) - 0.5, color=GREY, linewidth=0.6, linestyle=(0, (2, 2)))
        axes.set(xlabel="", ylabel=axis_title(metric), xlim=(-0.5, len(GROUPS) + 0.5))
        axes.margins(y=0.12)
        axes.set_title(f"{metric_title(metric)} per joint group" + ("" if slice == "all" else f", {slice}"))
        axes.grid(axis="x", visible=False)
        sns.despine(ax=axes, left=True)
        axes.legend([bars[0] for bars in axes.containers], names, loc="center left", reverse=True,
                    bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=8)  # fmt: skip
        add_caption(figure, caption_of(order))
    return figure


def _group_rows(order: Sequence[RunRecord], names: Sequence[str], metric: str, slice: str) -> Figure:
    """The groups of per_joint_bars as panels, the best run on top."""
    found = [record.table.groups(metric, slice=slice) for record in order]
    panels = {group: [(each.get(group, math.nan), math.nan, math.nan) for each in found] for group in GROUPS}
    means = [_total(record, metric, slice) for record in order]
    panels["Mean"] = [(row.value, row.low, row.high) for row in means]
    title = f"{metric_title(metric)} per joint group" + ("" if slice == "all" else f", {slice}")
    return run_rows(panels, names, colours_of(order), title=title, unit=axis_title(metric), caption=caption_of(order),
                    better=better_of(metric))  # fmt: skip


def ap_against_speed(records: Sequence[RunRecord], *, metric: str = "ap") -> Figure:
    """Mean AP against clips per second (log axis) with the Pareto front; a rule without pixels is a dashed line.

    Raises UsageError for runs of different grounds or devices, or when no run was timed.
    """
    floors = [record for record in one_ground(records) if _is_floor(record)]
    others = [record for record in records if not _is_floor(record)]
    if not others:  # nothing but floors: then they are the points
        floors, others = [], floors
    runs = [record for record in others if record.cost.clips_per_second]
    if not runs:
        raise UsageError("no run holds a speed (cost.clips_per_second); run `harness eval` or `harness bench`")
    if not same_machine(runs):
        machines = sorted({machine_of(record) for record in runs})
        raise UsageError(f"speeds of different devices cannot share an axis: {', '.join(machines)}")
    points = [(float(record.cost.clips_per_second or 0), _mean(record, metric, "all")) for record in runs]
    whole = [point for record, point in zip(runs, points, strict=True) if record.partial is None]
    front = pareto(whole)
    with theme():
        figure = new_figure(7.8 if len(runs) > MOST else 5.8, 4.0)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.plot([speed for speed, _ in front], [value for _, value in front], color=GREY, linewidth=1, zorder=2)
        for record, point in zip(runs, points, strict=True):
            _draw_point(axes, record, point, metric, best=point in front, numbered=len(runs) > MOST)
        for record in floors:
            _draw_floor(axes, record, _mean(record, metric, "all"))
        axes.set(xlabel="clips per second, whole job (log scale)", ylabel=f"mean {axis_title(metric)}")
        axes.set_title(f"Mean {metric_title(metric)} against speed")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(*_speed_limits([speed for speed, _ in points]))
        axes.margins(y=0.14)
        sns.despine(ax=axes)
        add_caption(figure, [*caption_of([*runs, *floors]), "Line: runs that no other beats in both."])
        name_points(figure, axes, points, named_runs(runs), dark=_dark(runs, points, front),
                    avoid=[*along(front), *_on_intervals(runs, points, metric)])  # fmt: skip
    return figure


def ap_against_cost(records: Sequence[RunRecord], *, cost: str = "multiply_adds", metric: str = "ap") -> Figure:
    """Mean AP against multiply-adds or parameters (log axis) with the Pareto front: cheaper is to the left.

    Raises UsageError for runs of different grounds, or when no run holds the cost.
    """
    label, unit = _COSTS[cost]
    runs = [record for record in one_ground(records) if getattr(record.cost, cost)]
    if not runs:
        raise UsageError(f"no run holds its {cost.replace('_', '-')}; run `harness eval` again with this version")
    points = [(getattr(record.cost, cost) * unit, _mean(record, metric, "all")) for record in runs]
    whole = [(-x, y) for record, (x, y) in zip(runs, points, strict=True) if record.partial is None]
    front = [(-x, y) for x, y in pareto(whole)][::-1]
    with theme():
        figure = new_figure(7.8 if len(runs) > MOST else 5.8, 4.0)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.plot([x for x, _ in front], [y for _, y in front], color=GREY, linewidth=1, zorder=2)
        for record, point in zip(runs, points, strict=True):
            _draw_point(axes, record, point, metric, best=point in front, numbered=len(runs) > MOST)
        for record in records:
            if _is_floor(record):
                _draw_floor(axes, record, _mean(record, metric, "all"))
        axes.set(xlabel=label, ylabel=f"mean {axis_title(metric)}")
        axes.set_title(f"Mean {metric_title(metric)} against {cost.replace('_', '-')}")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(*_speed_limits([x for x, _ in points]))
        axes.margins(y=0.14)
        sns.despine(ax=axes)
        add_caption(figure, [*caption_of(records), "Line: runs that no other beats in both."])
        name_points(figure, axes, points, named_runs(runs), dark=_dark(runs, points, front),
                    avoid=[*along(front), *_on_intervals(runs, points, metric)])  # fmt: skip
    return figure


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both coordinates, by the first one.

    >>> pareto([(1, 9), (2, 5), (3, 6), (4, 2)])
    [(1, 9), (3, 6), (4, 2)]
    """
    front: list[tuple[float, float]] = []
    for point in sorted(points, reverse=True):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front[::-1]


def one_ground(records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """The records, if they may share a figure; UsageError otherwise."""
    grounds = by_ground(records)
    if not grounds:
        raise UsageError("no runs to plot; `harness eval` makes one")
    if len(grounds) > 1:
        first, second = map(str, list(grounds)[:2])
        raise UsageError(
            f"runs that are not comparable cannot share a plot: '{first}' and '{second}'; name runs of one"
        )
    return records


def _mean(record: RunRecord, metric: str, slice: str) -> float:
    value = _total(record, metric, slice).value
    return value if math.isfinite(value) else -math.inf


def _total(record: RunRecord, metric: str, slice: str) -> Score:
    found = record.table.select(metric=metric, slice=slice, joint=TOTAL).entries
    if not found:
        raise UsageError(f"run {record.id} holds no '{metric}' on slice '{slice}'")
    return found[0]


def _is_floor(record: RunRecord) -> bool:
    return record.inference is not None and not record.inference.support


def named_runs(records: Sequence[RunRecord]) -> list[str]:
    """Labels without the preset where all share it (the caption says it), partial runs marked."""
    shared = f" ({_presets(records)[0]})" if len(_presets(records)) == 1 else "\0"
    named = zip(labels(records), records, strict=True)
    return [name.replace(shared, "", 1) + (" †" if record.partial else "") for name, record in named]


def _presets(records: Sequence[RunRecord]) -> list[str]:
    return sorted({record.method.preset for record in records})


def colours_of(order: Sequence[RunRecord]) -> list[Any]:
    """A colour per run, from light to dark; grey for what sees no pixel."""
    remaining = iter(palette(sum(not _is_floor(record) for record in order)))
    return [FLOOR if _is_floor(record) else next(remaining) for record in order]


def looks_of(records: Sequence[RunRecord], *, metric: str = "ap") -> list[Look]:
    """How every run looks in all figures of these runs, in the order given; its place among them decides."""
    order = sorted(range(len(records)), key=lambda place: _mean(records[place], metric, "all"))
    colours = colours_of([records[place] for place in order])
    found = {place: Look.numbered(number, colours[number]) for number, place in enumerate(order)}
    return [found[place] for place in range(len(records))]


def best_of(records: Sequence[RunRecord], *, metric: str = "ap") -> tuple[list[RunRecord], list[str]]:
    """The runs that lines can show, worst first, and the words of a caption where these are not all."""
    order = sorted(records, key=lambda record: _mean(record, metric, "all"))
    if len(order) <= MOST:
        return order, []
    if better_of(metric) == "low":
        order.reverse()
    return order[-MOST:], [f"the {MOST} best of {len(order)} runs; name runs to draw others"]


def better_of(metric: str) -> str:
    """ "high" or "low": which values of a metric are the better ones."""
    return "high" if unit_of(metric) == "percent" else "low"


def metric_title(metric: str) -> str:
    """A metric's name as people write it."""
    return metric.upper() if len(metric) <= 4 else metric.replace("_", " ")


def axis_title(metric: str) -> str:
    """A metric's name with its unit."""
    unit = unit_of(metric)
    return f"{metric_title(metric)} ({'%' if unit == 'percent' else unit})"


def caption_of(records: Sequence[RunRecord], *, drawn: str = "thin lines") -> list[str]:
    """What the numbers of a figure stand on; `drawn` is how it shows the records' intervals, "" for not at all."""
    machines = "; ".join(sorted({machine_of(record) for record in records}))
    commits = ", ".join(sorted({short_commit(record.environment.commit) for record in records}))
    partial = ["† partial, not comparable"] if any(record.partial for record in records) else []
    facts = [f"preset: {', '.join(_presets(records))}", f"device: {machines}", f"commit {commits}", *partial]
    if drawn and any("intervals" in record.scoring for record in records):
        facts.append(f"{drawn}: 95 % interval over sequences")
    return [f"{ground_of(records[0])}", "; ".join(facts)]


def _draw_values(axes: Axes, order: Sequence[RunRecord], metric: str, slice: str) -> None:
    """Print the value over every bar and draw the interval of the mean: a group of joints has none of its own."""
    narrow = len(order) > 3
    for place, (record, bars) in enumerate(zip(order, list(axes.containers), strict=True)):
        entry = _total(record, metric, slice)
        for group, bar in enumerate(bars):
            middle, top = bar.get_x() + bar.get_width() / 2, bar.get_height()
            if not math.isfinite(top):
                continue
            bar.set(
                hatch="" if place % 2 else "////",
                **({"facecolor": "white", "edgecolor": GREY} if record.partial else {}),
            )
            if group == len(GROUPS) and entry.high > entry.low:
                line = axes.vlines(middle, entry.low, entry.high, color="black", linewidth=1.2)
                line.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
                top = max(top, entry.high)
            axes.annotate(
                f"{bar.get_height():.1f}", (middle, top), xytext=(0, 2), textcoords="offset points",
                ha="center", va="bottom", color="#333333",
                fontsize=5.5 if narrow else 7, rotation=90 if narrow else 0,
            )  # fmt: skip


def _speed_limits(speeds: Sequence[float]) -> tuple[float, float]:
    """Room for names on both sides, a factor of two at the least."""
    room = max(2.0, (max(speeds) / min(speeds)) ** 0.2)
    return min(speeds) / room, max(speeds) * room


def _draw_point(
    axes: Axes, record: RunRecord, point: tuple[float, float], metric: str, *, best: bool, numbered: bool
) -> None:
    dark, light = palette(3)[2], palette(3)[0]
    entry = _total(record, metric, "all")
    if entry.high > entry.low:
        axes.vlines(point[0], entry.low, entry.high, color="#222222", linewidth=0.9, zorder=2)
    colour = "white" if record.partial else dark if best else light
    axes.scatter(*point, s=105 if numbered else 44, color=colour, edgecolor="#222222", linewidth=0.9, zorder=3)


def _dark(
    records: Sequence[RunRecord], points: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]]
) -> list[bool]:
    return [point in front and record.partial is None for record, point in zip(records, points, strict=True)]


def _on_intervals(
    records: Sequence[RunRecord], points: Sequence[tuple[float, float]], metric: str
) -> list[tuple[float, float]]:
    """Points along the intervals of a scatter, for names to keep off."""
    entries = [_total(record, metric, "all") for record in records]
    return [
        (point[0], entry.low + (entry.high - entry.low) * step / 12)
        for point, entry in zip(points, entries, strict=True)
        if entry.high > entry.low
        for step in range(13)
    ]


def _draw_floor(axes: Axes, record: RunRecord, value: float) -> None:
    axes.axhline(value, color=GREY, linestyle=(0, (5, 3)), linewidth=1, zorder=1)
    text = f"{record.method.title}, no pixels: {value:.1f}"
    axes.annotate(text, (0.01, value), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
                  fontsize=7.5, color=GREY)  # fmt: skip
