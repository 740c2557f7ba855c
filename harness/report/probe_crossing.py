"""Gaps between two methods under every combination of protocols: what of their spread each factor accounts for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean

from harness.report.probe_rows import Row

__all__ = ["AS_IT_IS", "Crossing", "crossing_rows", "crossing_sentence", "crossings", "in_crossing"]

#: Level of a factor that is the method's own.
OWN = "own"

#: The protocol of an untouched run.
AS_IT_IS = "as it is"

#: A factor and one of its levels.
Pair = tuple[str, str]

#: How the names of levels begin.
_FACTORS = {
    "boxes": "boxes", "detector": "boxes", "codec": "decoder", "device": "crops", "reference": "crops",
    "bf16": "precision", "fp32": "precision",
    "flip": "flip", "no flip": "flip",
}  # fmt: skip


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
    """Of each pair of methods the largest complete crossings: of all factors, or of some of them and some levels."""
    found = []
    for title in dict.fromkeys(str(row["gap"]) for row in gaps):
        mine = [row for row in gaps if row["gap"] == title and row["difference"] is not None]
        values = {
            levels: float(row["difference"]) for row in mine if (levels := _levels(str(row["protocol"]))) is not None
        }
        known = sorted({factor for key in values for factor, _ in key})
        chosen = [some for count in range(len(known), 1, -1) for some in combinations(known, count)]
        grids = [grid for some in chosen if (grid := _complete(title, some, values)) is not None]
        kept: list[Crossing] = []
        for grid in sorted(grids, key=lambda grid: -len(grid.gaps)):
            if not any(_within(grid, larger) for larger in kept):
                kept.append(grid)
        found += kept
    return found


def in_crossing(protocol: str, crossed: Sequence[Crossing], title: str) -> bool:
    """Whether a combination is a cell of a crossing of that gap, or of one that a method of that title is part of."""
    if ", " not in protocol or (levels := _levels(protocol)) is None:
        return False
    return any(
        title in (crossing.title, *crossing.title.split(" - "))
        and all(level in crossing.levels.get(factor, ()) for factor, level in levels)
        for crossing in crossed
    )


def _complete(title: str, factors: Sequence[str], values: Mapping[frozenset[Pair], float]) -> Crossing | None:
    """The crossing of some factors without the levels that were not run with all others; None where little is left."""
    levels = {
        name: [OWN, *sorted({level for key in values for factor, level in key if factor == name})] for name in factors
    }
    while all(len(own) > 1 for own in levels.values()):
        cells = {
            key: values.get(frozenset(pair for pair in zip(levels, key, strict=True) if pair[1] != OWN))
            for key in product(*levels.values())
        }
        lacking = [pair for key, gap in cells.items() if gap is None for pair in zip(levels, key, strict=True)]
        if not lacking:
            complete = {key: gap for key, gap in cells.items() if gap is not None}
            return Crossing(title, {name: tuple(own) for name, own in levels.items()}, complete)
        blamed = [(lacking.count((name, level)), name, level) for name in levels for level in levels[name][1:]]
        _, name, level = max(blamed)
        levels[name].remove(level)
    return None


def _within(grid: Crossing, larger: Crossing) -> bool:
    return all(set(levels) <= set(larger.levels.get(factor, ())) for factor, levels in grid.levels.items())


def crossing_rows(crossing: Crossing) -> list[dict[str, str]]:
    """The gap at every level of each factor."""
    return [
        {"factor": factor, "level": level, "gap, mean over the others": f"{crossing.mean(factor, level):+.1f}"}
        for factor, levels in crossing.levels.items()
        for level in levels
    ]


def crossing_sentence(crossing: Crossing) -> str:
    """What of the spread of the gap each factor accounts for."""
    low, high = min(crossing.gaps.values()), max(crossing.gaps.values())
    where = f"under {len(crossing.gaps)} protocols, all combinations of {', '.join(crossing.levels)}"
    if low == high:
        return f"{crossing.title} is {low:+.1f} points {where}."
    shares = crossing.shares
    told = ", ".join(f"{factor} {shares[factor]:.0%}" for factor in sorted(shares, key=lambda name: -shares[name]))
    rest = max(0.0, 1 - sum(shares.values()))
    return (
        f"{crossing.title} is {low:+.1f} to {high:+.1f} points {where}. Of the variance of the gap over them each "
        f"factor alone accounts for: {told}; what they do together is the other {rest:.0%}."
    )


def _levels(protocol: str) -> frozenset[Pair] | None:
    """(factor, level) of a protocol's name, () for the untouched one; None where a level is of no known factor.

    >>> sorted(_levels("boxes_jitter=0.05, flip, codec dark")), _levels("fog")
    ([('boxes', 'boxes_jitter=0.05'), ('decoder', 'codec dark'), ('flip', 'flip')], None)
    """
    names = [] if protocol == AS_IT_IS else protocol.split(", ")
    found = frozenset((_factor(name), name) for name in names)
    return None if any(not factor for factor, _ in found) else found


def _factor(level: str) -> str:
    return next((factor for start, factor in _FACTORS.items() if level.startswith(start)), "")
