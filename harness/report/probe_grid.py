"""The gap between two methods under every combination of protocols, as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from matplotlib.figure import Figure

from harness.report.probe_crossing import OWN, Crossing
from harness.report.style import add_caption, new_figure, theme

__all__ = ["crossing_grid"]


def crossing_grid(crossing: Crossing) -> Figure:
    """The gap under every combination: a row per level of the longest factor, a column per levels of the others."""
    down = max(crossing.levels, key=lambda factor: len(crossing.levels[factor]))
    across = [factor for factor in crossing.levels if factor != down]
    columns = list(product(*(crossing.levels[factor] for factor in across)))
    rows = crossing.levels[down]

    def gap(row: str, column: tuple[str, ...]) -> float:
        chosen = {down: row, **dict(zip(across, column, strict=True))}
        return crossing.gaps[tuple(chosen[factor] for factor in crossing.levels)]

    values = [[gap(row, column) for column in columns] for row in rows]
    most = max(abs(value) for line in values for value in line) or 1.0
    with theme():
        figure = new_figure(2.4 + 0.78 * len(columns), 1.9 + 0.42 * len(rows))
        axes = figure.subplots()
        axes.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        for place, line in enumerate(values):
            for column, value in enumerate(line):
                colour = "white" if abs(value) > 0.55 * most else "#222222"
                axes.text(column, place, f"{value:+.1f}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(
            range(len(columns)), ["\n".join(_level_names(across, column)) for column in columns], fontsize=8
        )
        axes.set_yticks(range(len(rows)), [f"{down}: {row}" if row == OWN else row for row in rows])
        axes.grid(visible=False)
        axes.set_title(f"Gap by protocol: {crossing.title}")
        add_caption(figure, ["AP points under every combination; own: as the runs are without the factor."])
    return figure


def _level_names(factors: Sequence[str], levels: Sequence[str]) -> list[str]:
    return [f"{factor}: {level}" if level == OWN else level for factor, level in zip(factors, levels, strict=True)]
