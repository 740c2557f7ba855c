"""Gaps between two methods under every combination of protocols: what of their spread each factor accounts for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from matplotlib.figure import Figure

from harness.report.probe_rows import Row
from harness.report.style import add_caption, new_figure, theme

__all__ = ["Crossing", "crossing_grid", "crossing_lines", "crossings"]

#: Level of a factor that is the method's own.
OWN = "own"

AS_IT_IS = "as it is"

#: How the names of levels begin; those of the flip test are "flip" and "no flip".
_FACTORS = {"boxes": "boxes", "detector": "boxes", "codec": "decoder", "device": "crops", "bf16": "precision"}


@dataclass(frozen=True)
class Crossing:
    """Factor -> its levels, and the gap in AP points under each combination of them (one level per factor).

    >>> gaps = {("own", "own"): 1.0, ("own", "flip"): 1.0, ("jitter", "own"): 3.0, ("jitter", "flip"): 3.0}
    >>> found = Crossing("a - b", {"boxes": ("own", "jitter"), "flip": ("own", "flip")}, gaps)
    >>> found.shares, found.mean("boxes", "jitter")
    ({'boxes': 1.0, 'flip': 0.0}, 3.0)
    """

    title: str
    levels: Mapping[str, tuple[str, ...]]
    gaps: Mapping[tuple[str, ...], float]

    def mean(self, factor: str, level: str) -> float:
        """The gap at one level of a factor, mean over all others."""
        place = list(self.levels).index(factor)
        return fmean(gap for key, gap in self.gaps.items() if key[place] == level)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the variance of the gaps that each factor accounts for by itself; the rest is their interactions."""
        middle = fmean(self.gaps.values())
        whole = fmean((gap - middle) ** 2 for gap in self.gaps.values())
        alone = {
            factor: fmean((self.mean(factor, level) - middle) ** 2 for level in levels)
            for factor, levels in self.levels.items()
        }
        return {factor: value / whole if whole else 0.0 for factor, value in alone.items()}


def crossings(gaps: Sequence[Row]) -> list[Crossing]:
    """Of each pair of methods the crossing that is complete: of the levels that were combined with those of others."""
    found = []
    for title in dict.fromkeys(str(row["gap"]) for row in gaps):
        values = {
            _levels(str(row["protocol"])): row["difference"]
            for row in gaps
            if row["gap"] == title and row["difference"] is not None
        }
        levels: dict[str, tuple[str, ...]] = {}
        for key in sorted((key for key in values if len(key) > 1), key=len):
            for factor, level in key:
                levels[factor] = tuple(dict.fromkeys((*levels.get(factor, (OWN,)), level)))
        cells = {
            key: values.get(frozenset(pair for pair in zip(levels, key, strict=True) if pair[1] != OWN))
            for key in product(*levels.values())
        }
        complete = {key: value for key, value in cells.items() if value is not None}
        if levels and len(complete) == len(cells):
            found.append(Crossing(title, levels, complete))
    return found


def crossing_lines(crossing: Crossing) -> list[str]:
    """Markdown: the gap at every level of each factor, and what of its spread each accounts for."""
    lines = [
        "", f"{crossing.title} under {len(crossing.gaps)} protocols, all combinations of "
        f"{', '.join(crossing.levels)}:", "",
        "| factor | level | gap, mean over the others |", "| --- | --- | --- |",
    ]  # fmt: skip
    for factor, levels in crossing.levels.items():
        lines += [f"| {factor} | {level} | {crossing.mean(factor, level):+.1f} |" for level in levels]
    low, high = min(crossing.gaps.values()), max(crossing.gaps.values())
    shares = crossing.shares
    told = ", ".join(f"{factor} {shares[factor]:.0%}" for factor in sorted(shares, key=lambda name: -shares[name]))
    rest = max(0.0, 1 - sum(shares.values()))
    return [
        *lines, "",
        f"* Of all these protocols the gap is {low:+.1f} to {high:+.1f} points. Of its variance over them each factor "
        f"alone accounts for: {told}; what they do together is the other {rest:.0%}.",
    ]  # fmt: skip


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
                colour = "white" if abs(value) > 0.65 * most else "#222222"
                axes.text(column, place, f"{value:+.1f}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(columns)), ["\n".join(_short(across, column)) for column in columns], fontsize=8)
        axes.set_yticks(range(len(rows)), [f"{down}: {row}" if row == OWN else row for row in rows])
        axes.grid(visible=False)
        axes.set_title(f"Gap by protocol: {crossing.title}")
        add_caption(figure, ["AP points under every combination; own: as the runs are without the factor."])
    return figure


def _short(factors: Sequence[str], levels: Sequence[str]) -> list[str]:
    return [f"{factor}: {level}" if level == OWN else level for factor, level in zip(factors, levels, strict=True)]


def _levels(protocol: str) -> frozenset[tuple[str, str]]:
    """(factor, level) of a protocol's name; none for the untouched one.

    >>> sorted(_levels("boxes_jitter=0.05, flip, codec dark"))
    [('boxes', 'boxes_jitter=0.05'), ('decoder', 'codec dark'), ('flip', 'flip')]
    """
    names = [] if protocol == AS_IT_IS else protocol.split(", ")
    return frozenset((_factor(name), name) for name in names)


def _factor(level: str) -> str:
    return next((factor for start, factor in _FACTORS.items() if level.startswith(start)), "flip")
