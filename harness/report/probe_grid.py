"""The gap between two methods under every combination of protocols, as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from matplotlib.figure import Figure

from harness.report.probe_crossing import OWN, Crossing
from harness.report.style import add_caption, new_figure, theme

__all__ = ["crossing_grid"]

#: Columns that are still read at a glance.
_COLUMNS = 8


def crossing_grid(crossing: Crossing, *, ground: str = "") -> Figure:
    """The gap under every combination: factors of few levels in columns, those of many in rows.

    `ground` says which data and code the runs are of.
    """
    across: list[str] = []
    for factor in sorted(crossing.levels, key=lambda name: len(crossing.levels[name]))[:-1]:
        if prod(len(crossing.levels[name]) for name in (*across, factor)) <= _COLUMNS:
            across.append(factor)
    down = [factor for factor in crossing.levels if factor not in across]
    columns, rows = (list(product(*(crossing.levels[name] for name in some))) for some in (across, down))

    def gap(row: tuple[str, ...], column: tuple[str, ...]) -> float:
        chosen = dict(zip((*down, *across), (*row, *column), strict=True))
        return crossing.gaps[tuple(chosen[factor] for factor in crossing.levels)]

    values = [[gap(row, column) for column in columns] for row in rows]
    most = max(abs(value) for line in values for value in line) or 1.0
    with theme():
        figure = new_figure(max(6.2, 3.2 + 0.85 * len(columns)), 1.9 + 0.42 * len(rows))
        axes = figure.subplots()
        axes.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        for place, line in enumerate(values):
            for column, value in enumerate(line):
                colour = "white" if abs(value) > 0.55 * most else "#222222"
                axes.text(column, place, f"{value:+.1f}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(columns)), ["\n".join(_names(across, column)) for column in columns], fontsize=8)
        axes.set_yticks(range(len(rows)), [", ".join(_names(down, row)) for row in rows])
        axes.grid(visible=False)
        axes.set_title(f"Gap: {crossing.title}")
        told = "AP points under every combination; own: as the runs are without the factor."
        add_caption(figure, [line for line in (ground, told) if line])
    return figure


def _names(factors: Sequence[str], levels: Sequence[str]) -> list[str]:
    return [f"{factor}: {level}" if level == OWN else level for factor, level in zip(factors, levels, strict=True)]
