"""Names of the points of a scatter: beside each, or, where they are many, a number in each and a key at the side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from harness.report.many_runs import MOST

__all__ = ["along", "name_points"]

Point = tuple[float, float]

#: A space as wide as a digit.
_DIGIT_WIDE = "\u2007"


def name_points(
    figure: Figure, axes: Axes, points: Sequence[Point], names: Sequence[str], *, dark: Sequence[bool],
    avoid: Sequence[Point],
) -> None:  # fmt: skip
    """Say whose every point is; on the `dark` ones only white shows, `avoid` is what is drawn besides."""
    if len(points) > MOST:
        _number(axes, points, names, dark)
    else:
        _label(figure, axes, points, names, avoid)


def along(line: Sequence[Point]) -> list[Point]:
    """Points along a line, straight on a logarithmic x axis, for names to keep off.

    >>> len(along([(1, 0), (10, 1)])), along([(1, 0), (10, 1)])[-1]
    (41, (10.0, 1.0))
    """
    steps = [step / 40 for step in range(41)]
    return [
        (a[0] ** (1 - step) * b[0] ** step, a[1] * (1 - step) + b[1] * step)
        for a, b in itertools.pairwise(line)
        for step in steps
    ]


def _number(axes: Axes, points: Sequence[Point], names: Sequence[str], dark: Sequence[bool]) -> None:
    """Numbers from the highest point down, in the points, and what they stand for beside the axes."""
    order = sorted(range(len(points)), key=lambda place: -points[place][1])
    for number, place in enumerate(order, start=1):
        axes.annotate(
            str(number), points[place], ha="center", va="center_baseline", fontsize=6, zorder=4,
            color="white" if dark[place] else "black",
        )  # fmt: skip
    key = "\n".join(
        f"{str(number).rjust(2, _DIGIT_WIDE)}  {names[place]}" for number, place in enumerate(order, start=1)
    )
    axes.annotate(key, (1.02, 0.98), xycoords="axes fraction", va="top", fontsize=7.5, linespacing=1.5,
                  annotation_clip=False)  # fmt: skip


def _label(
    figure: Figure, axes: Axes, points: Sequence[Point], names: Sequence[str], avoid: Sequence[Point]
) -> None:  # fmt: skip
    """Put every name beside its point, where it covers least of other names, points and lines."""
    figure.draw_without_rendering()
    dots = [axes.transData.transform(point) for point in [*points, *avoid]]
    taken: list[Bbox] = []

    def covered(box: Bbox) -> int:
        outside = not (axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1))
        return 40 * outside + 20 * sum(box.overlaps(other) for other in taken) + sum(box.contains(*dot) for dot in dots)

    for point, name in zip(points, names, strict=True):
        text = axes.annotate(name, point, xytext=(0, 0), textcoords="offset points", fontsize=7.5, zorder=4)
        costs = [covered(_place(text, place).padded(2)) for place in _PLACES]
        taken.append(_place(text, _PLACES[costs.index(min(costs))]))


def _place(text: Annotation, place: tuple[tuple[float, float], str, str]) -> Bbox:
    text.set(position=place[0], horizontalalignment=place[1], verticalalignment=place[2])
    return text.get_window_extent()


_PLACES = (
    ((6, 0), "left", "center"), ((-6, 0), "right", "center"), ((0, 7), "center", "bottom"), ((0, -7), "center", "top"),
    ((5, 7), "left", "bottom"), ((5, -7), "left", "top"), ((-5, 7), "right", "bottom"), ((-5, -7), "right", "top"),
    ((0, 18), "center", "bottom"), ((0, -18), "center", "top"),
)  # fmt: skip
