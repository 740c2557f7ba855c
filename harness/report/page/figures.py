"""Figures as SVG to stand in the page: no background, no ids that two of them share, nothing but shapes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report import plots
from harness.report.comparable import by_ground
from harness.report.style import theme

__all__ = ["Plot", "draw_plots", "svg_of"]


@dataclass(frozen=True)
class Plot:
    """A figure for the page: what it shows, and its SVG element."""

    title: str
    svg: str


def draw_plots(records: Sequence[RunRecord]) -> list[Plot]:
    """Every figure that the records carry, for each group of runs that may share an axis."""
    found: list[Plot] = []
    for ground, same in by_ground(records).items():
        for title, draw in _figures():
            try:
                figure = draw(same)
            except UsageError:  # the records do not hold what it shows
                continue
            found.append(Plot(f"{title}; {ground}", svg_of(figure, prefix=f"plot{len(found)}-")))
    return found


def svg_of(figure: Figure, *, prefix: str) -> str:
    """The figure as one SVG element without background, its ids made its own by `prefix`."""
    content = io.StringIO()
    with theme():
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", content.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r'\b(id="|href="#|url\(#)', lambda found: found[1] + prefix, text)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )


def _figures() -> Iterator[tuple[str, Callable[[Sequence[RunRecord]], Figure]]]:
    yield "AP per joint group", plots.per_joint_bars
    yield "AP against speed", plots.ap_against_speed
