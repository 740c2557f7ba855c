"""Figures of where a run is good: per joint and per slice, with intervals; each takes records of one ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report.many_runs import MOST, run_rows
from harness.report.plots import (
    axis_title,
    best_of,
    better_of,
    caption_of,
    colours_of,
    looks_of,
    metric_title,
    named_runs,
    one_ground,
)
from harness.report.style import GREY, MARKERS, Look, add_caption, new_figure, theme
from harness.scoring.scores import TOTAL, Score
from harness.skeletons import GROUPS

__all__ = ["ap_response", "joint_intervals", "slice_bars"]

#: Slice -> (title, bins in order, what they are called).
_PANELS: dict[str, tuple[str, dict[str, str]]] = {
    "visibility": ("Visibility", {"visible": "visible", "occluded": "occluded"}),
    "occlusion_run": ("Occlusion lasts", {"visible": "not", "short": "≤ 4 frames", "long": "longer"}),
    "speed": ("Joint speed (heads/frame)", {"slow": "< 0.25", "medium": "0.25 to 0.5", "fast": "> 0.5"}),
    "overlap": ("Overlap with another box", {"0-.1": "≤ .1", ".1-.5": "≤ .5", ".5-.75": "≤ .75", ".75-1": "≤ 1"}),
}


def joint_intervals(records: Sequence[RunRecord], *, metric: str = "ap", slice: str = "all") -> Figure:
    """A point with its interval for every joint from head to foot and the mean, one row of points per run.

    Raises UsageError for runs of different grounds, or when a run lacks the metric.
    """
    order = sorted(one_ground(records), key=lambda record: _total(record, metric, slice))
    joints = [*(joint for names in GROUPS.values() for joint in names), TOTAL]
    title = f"{metric_title(metric)} per joint" + ("" if slice == "all" else f", {slice}")
    if len(order) > MOST:
        tables = [record.table.select(metric=metric, slice=slice).entries for record in order]
        scores = [{row.joint: row for row in rows} for rows in tables]
        return _rows_of(
            order, {"mean" if joint == TOTAL else joint.replace("_", " "): [each.get(joint) for each in scores]
                    for joint in joints}, metric, title,
        )  # fmt: skip
    offsets = np.linspace(-0.27, 0.27, len(order)) if len(order) > 1 else np.zeros(1)
    with theme():
        figure = new_figure(6.4, 1.1 + 0.34 * len(joints) * max(1.0, len(order) / 4))
        axes = figure.add_subplot()
        for number, (record, name, colour) in enumerate(zip(order, named_runs(order), colours_of(order), strict=True)):
            found = {row.joint: row for row in record.table.select(metric=metric, slice=slice).entries}
            rows = [found.get(joint) for joint in joints]
            _points(axes, rows, np.arange(len(joints)) - offsets[number], colour, MARKERS[number % 8], name)
        axes.axhline(len(joints) - 1.5, color=GREY, linewidth=0.6, linestyle=(0, (2, 2)))
        axes.set_yticks(range(len(joints)), ["mean" if joint == TOTAL else joint.replace("_", " ") for joint in joints])
        axes.set(ylim=(len(joints) - 0.5, -0.6), xlabel=axis_title(metric), xlim=(0, None))
        axes.set_title(title)
        sns.despine(ax=axes, left=True)
        axes.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=8, reverse=True)
        add_caption(figure, caption_of(order))
    return figure


def slice_bars(records: Sequence[RunRecord], *, metric: str = "ap") -> Figure:
    """Bars with intervals for the bins of every slice the records hold, a panel per slice.

    Raises UsageError for runs of different grounds, or when none holds a slice.
    """
    order = sorted(one_ground(records), key=lambda record: _total(record, metric, "all"))
    found = _panels(order, metric)
    if len(order) > MOST:
        heads = {(name, bin_name): f"{title.split(' (')[0]}: {label}" for name, (title, labels) in found.items()
                for bin_name, label in labels.items()}  # fmt: skip
        values = {head: [_row(record, metric, ":".join(key)) for record in order] for key, head in heads.items()}
        return _rows_of(order, values, metric, f"{metric_title(metric)} by slice (joint speed in heads per frame)")
    width = 0.84 / len(order)
    with theme():
        figure = new_figure(9.2, 2.3 + 0.16 * len(order))
        bins = [len(labels) for _, labels in found.values()]
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False, gridspec_kw={"width_ratios": bins})[0]
        for axes, (name, (title, labels)) in zip(panels, found.items(), strict=True):
            runs = zip(order, named_runs(order), colours_of(order), strict=True)
            for number, (record, run, colour) in enumerate(runs):
                rows = [_row(record, metric, f"{name}:{bin_name}") for bin_name in labels]
                places = np.arange(len(labels)) + (number - (len(order) - 1) / 2) * width
                _bars(axes, rows, places, width, colour, run, hatched=not number % 2)
            axes.set_xticks(range(len(labels)), list(labels.values()), fontsize=7.5)
            axes.set_title(title, fontsize=9)
            axes.grid(axis="x", visible=False)
            sns.despine(ax=axes, left=True)
        panels[0].set_ylabel(axis_title(metric))
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=min(len(order), 4), frameon=False, fontsize=8)
        add_caption(figure, caption_of(order))
    return figure


def ap_response(records: Sequence[RunRecord], *, metric: str = "ap") -> Figure:
    """AP against joint speed and against the length of an occlusion, with the interval over sequences as a band.

    Of more runs than lines tell apart the best. Raises UsageError for runs of different grounds, or when none holds
    these slices.
    """
    order, left_out = best_of(one_ground(records), metric=metric)
    found = {name: panel for name, panel in _panels(order, metric).items() if name in ("speed", "occlusion_run")}
    if not found:
        raise UsageError("no run holds the slices speed or occlusion_run; run `harness eval` again")
    with theme():
        figure = new_figure(8.2, 3.4)
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axes, (name, (title, labels)) in zip(panels, found.items(), strict=True):
            for record, run, look in zip(order, named_runs(order), looks_of(order, metric=metric), strict=True):
                rows = [_row(record, metric, f"{name}:{bin_name}") for bin_name in labels]
                _line(axes, rows, look, run)
            axes.set_xticks(range(len(labels)), list(labels.values()))
            axes.set_xlabel(title)
            axes.margins(x=0.07)
            sns.despine(ax=axes)
        panels[0].set_ylabel(axis_title(metric))
        panels[0].set_ylim(bottom=0)
        figure.suptitle(f"{metric_title(metric)} where it moves and where it is hidden", x=0.01, ha="left", fontsize=10,
                        fontweight="bold")  # fmt: skip
        panels[-1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8, reverse=True)
        add_caption(figure, [*caption_of(order, drawn="bands"), *left_out])
    return figure


def _rows_of(
    order: Sequence[RunRecord], panels: dict[str, list[Score | None]], metric: str, title: str
) -> Figure:  # fmt: skip
    """More runs than colours tell apart: a panel per joint or bin with a named row each."""
    bounded = {
        head: [(row.value, row.low, row.high) if row else (math.nan,) * 3 for row in rows]
        for head, rows in panels.items()
    }
    return run_rows(
        bounded, named_runs(order), colours_of(order), title=title, unit=axis_title(metric), caption=caption_of(order),
        better=better_of(metric),
    )  # fmt: skip


def _panels(records: Sequence[RunRecord], metric: str) -> dict[str, tuple[str, dict[str, str]]]:
    """The panels with the bins that some run has a value for."""
    found = {}
    for name, (title, labels) in _PANELS.items():
        known = {
            bin_name: label
            for bin_name, label in labels.items()
            if any(
                (row := _row(record, metric, f"{name}:{bin_name}")) and not math.isnan(row.value) for record in records
            )
        }
        if known:
            found[name] = (title, known)
    if not found:
        raise UsageError(f"no run holds '{metric}' on slices; run `harness eval` again with this version")
    return found


def _row(record: RunRecord, metric: str, slice: str) -> Score | None:
    found = record.table.select(metric=metric, slice=slice, joint=TOTAL).entries
    return found[0] if found else None


def _total(record: RunRecord, metric: str, slice: str) -> float:
    row = _row(record, metric, slice)
    if row is None:
        raise UsageError(f"run {record.id} holds no '{metric}' on slice '{slice}'")
    return row.value if math.isfinite(row.value) else -math.inf


def _bounds(rows: Sequence[Score | None]) -> tuple[Any, Any, Any]:
    """(values, low, high), NaN where unknown."""
    known = [(row.value, row.low, row.high) if row else (math.nan,) * 3 for row in rows]
    values, low, high = np.array(known).T
    return values, low, high


def _points(axes: Axes, rows: Sequence[Score | None], places: Any, colour: Any, marker: str, name: str) -> None:
    values, low, high = _bounds(rows)
    axes.hlines(places, low, high, color=colour, linewidth=1.3, zorder=2)
    axes.scatter(
        values, places, marker=marker, s=22, color=colour, edgecolor="#222222", linewidth=0.5, label=name, zorder=3
    )


def _bars(
    axes: Axes, rows: Sequence[Score | None], places: Any, width: float, colour: Any, name: str, *, hatched: bool
) -> None:
    values, low, high = _bounds(rows)
    axes.bar(places, np.nan_to_num(values), width=width, color=colour, edgecolor="white", linewidth=0.4, label=name,
             hatch="////" if hatched else "")  # fmt: skip
    axes.vlines(places, low, high, color="white", linewidth=2.4, zorder=3)
    axes.vlines(places, low, high, color="black", linewidth=1.1, zorder=4)


def _line(axes: Axes, rows: Sequence[Score | None], look: Look, name: str) -> None:
    values, low, high = _bounds(rows)
    places = np.arange(len(rows))
    axes.fill_between(places, low, high, color=look.colour, alpha=0.18, linewidth=0)
    axes.plot(places, values, color=look.colour, marker=look.marker, markersize=5, linewidth=1.6, label=name,
              dashes=look.dashes)  # fmt: skip
