"""Figures as SVG to stand in the page: no background, no ids that two of them share, nothing but shapes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Series
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report import match_plots, plots, slice_plots
from harness.report.comparable import by_ground, ground_of
from harness.report.many_runs import MOST
from harness.report.opened import Opened
from harness.report.style import theme

__all__ = ["Plot", "draw_plots", "svg_of"]

Draw = Callable[[], Figure]


@dataclass(frozen=True)
class Plot:
    """A figure for the page: what it shows, and its SVG element."""

    title: str
    svg: str


def draw_plots(records: Series[RunRecord], opened: Opened | None = None) -> list[Plot]:
    """Every figure that the records carry, per group of runs that may share an axis, and those of stored poses."""
    found: list[Plot] = []
    drawn = [*_of_records(records), *(_of_matches(opened, records) if opened is not None else ())]
    for title, draw in drawn:
        try:
            figure = draw()
        except UsageError:  # the records do not hold what it shows
            continue
        found.append(Plot(title, svg_of(figure, prefix=f"plot{len(found)}-")))
    return found


def svg_of(figure: Figure, *, prefix: str) -> str:
    """The figure as one SVG element without background, its ids made its own by `prefix`."""
    content = io.StringIO()
    with theme():
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", content.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r'\b(id="|href="#|url\(#)', lambda match: match[1] + prefix, text)
    for size in ("width", "height"):  # the page says how large it is
        text = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", text, count=1)
    return text


def _of_records(records: Series[RunRecord]) -> Iterator[tuple[str, Draw]]:
    for ground, same in by_ground(records).items():
        for title, draw in (
            ("AP per joint group", plots.per_joint_bars), ("AP by slice", slice_plots.slice_bars),
            ("AP against speed and occlusion", slice_plots.ap_response),
            ("AP per joint, with intervals", slice_plots.joint_intervals), ("AP against speed", plots.ap_against_speed),
            ("AP against multiply-adds", plots.ap_against_cost),
        ):  # fmt: skip
            yield f"{title}; {ground}", lambda draw=draw, same=same: draw(same)  # type: ignore[misc]


def _of_matches(opened: Opened, records: Series[RunRecord]) -> Iterator[tuple[str, Draw]]:
    """A and B, each looking as it does in the figures of all runs."""
    own, matched = [run.record for run in opened.runs[:2]], opened.matched[:2]
    same = by_ground(records).get(ground_of(own[0]), [])
    found = {record.id: look for record, look in zip(same, plots.looks_of(same), strict=True)}
    known = len(same) <= MOST and all(record.id in found for record in own)
    looks = [found[record.id] for record in own] if known else plots.looks_of(own)
    names, on = plots.named_runs(own), plots.caption_of(own, drawn="")
    yield "What became of every true joint", lambda: match_plots.error_stacks(names, matched, stands_on=on)
    yield (
        "Joints found against speed and occlusion",
        lambda: match_plots.found_against_speed(names, matched, looks=looks, stands_on=on),
    )
    yield "Precision against recall", lambda: match_plots.precision_recall(names, matched, looks=looks, stands_on=on)
    if len(names) > 1:
        yield "Difference by sequence", lambda: match_plots.sequence_differences(names, matched, stands_on=on)
