"""Figures of more runs than colours can tell apart: a small panel per joint or bin, and in it a named row per run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.style import add_caption, new_figure, theme

__all__ = ["MOST", "Bounded", "run_rows"]

#: As many runs as a figure tells apart by colour; with more, rows are named, and lines are those of the best.
MOST = 6

#: A value with the bounds of its interval, NaN where unknown.
Bounded = tuple[float, float, float]


def run_rows(
    panels: Mapping[str, Sequence[Bounded]], names: Sequence[str], colours: Sequence[Any], *, title: str, unit: str,
    caption: Sequence[str], better: str = "high", columns: int = 4,
) -> Figure:  # fmt: skip
    """A panel per key: every run's value with its interval and in print, the last run on top, the best one bold."""
    lines = math.ceil(len(panels) / columns)
    with theme():
        figure = new_figure(2.6 + 2.1 * columns, 0.9 + lines * (0.4 + 0.155 * len(names)))
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (head, values) in zip(grid, panels.items(), strict=False):
            _rows(axes, values, colours, better)
            axes.set_title(head, fontsize=8)
            sns.despine(ax=axes, left=True)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for place in range(max(len(panels) - columns, 0), len(panels)):
            grid[place].tick_params(labelbottom=True)
            grid[place].set_xlabel(unit if place // columns == lines - 1 else "", fontsize=8)
        grid[0].set(ylim=(-0.7, len(names) - 0.3), xlim=(0, None))
        grid[0].set_yticks(range(len(names)), list(names))
        for axes in grid:
            axes.tick_params(labelsize=7)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        add_caption(figure, caption)
    return figure


def _rows(axes: Axes, values: Sequence[Bounded], colours: Sequence[Any], better: str) -> None:
    """One dot per run over its interval, the value as printed to the right of the panel."""
    printed = [math.nan if math.isnan(value) else round(value, 1) for value, _, _ in values]
    known = [value for value in printed if not math.isnan(value)]
    best = (max if better == "high" else min)(known, default=math.nan)
    for place, ((value, low, high), shown, colour) in enumerate(zip(values, printed, colours, strict=True)):
        axes.hlines(place, low, high, color="#222222", linewidth=0.9, zorder=2)
        axes.scatter(value, place, s=20, color=colour, edgecolor="#222222", linewidth=0.5, zorder=3)
        axes.annotate(
            "–" if math.isnan(shown) else f"{shown:.1f}", (1, place), xycoords=("axes fraction", "data"),
            xytext=(2, 0), textcoords="offset points", va="center", fontsize=6.5, color="#333333",
            fontweight="bold" if shown == best else "normal", annotation_clip=False,
        )  # fmt: skip
