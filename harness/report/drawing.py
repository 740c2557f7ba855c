"""Every figure that runs carry, drawn into a folder: those of the records alone, and those of stored predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report import match_plots, plots, slice_plots
from harness.report.opened import Opened
from harness.report.style import save

__all__ = ["draw_matched", "draw_records"]


def draw_records(records: Sequence[RunRecord], folder: Path, *, metric: str = "ap") -> list[Path]:
    """The figures of records of one ground, PNG and SVG; the PNG files. What they do not hold is left out."""
    figures: dict[str, Callable[[], Figure]] = {
        "per_joint": lambda: plots.per_joint_bars(records, metric=metric),
        "joints": lambda: slice_plots.joint_intervals(records, metric=metric),
        "slices": lambda: slice_plots.slice_bars(records, metric=metric),
        "response": lambda: slice_plots.ap_response(records, metric=metric),
        "ap_against_speed": lambda: plots.ap_against_speed(records, metric=metric),
        "ap_against_multiply_adds": lambda: plots.ap_against_cost(records, metric=metric),
        "ap_against_parameters": lambda: plots.ap_against_cost(records, cost="parameters", metric=metric),
    }
    paths = []
    for name, draw in figures.items():
        try:
            figure = draw()
        except UsageError:
            if name == "per_joint":  # the metric is not there at all
                raise
            continue
        paths.append(save(figure, folder / name)[1])
    return paths


def draw_matched(opened: Opened, folder: Path) -> list[Path]:
    """The figures of runs' matches; differences by sequence are of every later run against the first."""
    records = [run.record for run in opened.runs]
    names, matched, context = plots.named_runs(records), opened.matched, plots.caption_of(records, drawn="")
    shown, left_out = plots.best_of(records)
    chosen = [records.index(record) for record in reversed(shown)]
    own, runs = [names[place] for place in chosen], [matched[place] for place in chosen]
    looks, stands_on = plots.looks_of(shown)[::-1], [*context, *left_out]
    figures = {
        "precision_recall": match_plots.precision_recall(own, runs, looks=looks, stands_on=stands_on),
        "errors": match_plots.error_stacks(own, runs, stands_on=stands_on),
    }
    with suppress(UsageError):  # too few joints at every speed
        figures["found_against_speed"] = match_plots.found_against_speed(own, runs, looks=looks, stands_on=stands_on)
    for number in range(1, len(names)):
        pair = (names[0], names[number]), (matched[0], matched[number])
        figures[f"sequences_{number}"] = match_plots.sequence_differences(*pair, stands_on=context)
    return [save(figure, folder / name)[1] for name, figure in figures.items()]
