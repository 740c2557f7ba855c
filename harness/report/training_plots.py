"""Curves of trainings, from the log.csv that `harness train` leaves behind: loss, and accuracy on held-out data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from harness.errors import DataError
from harness.report.style import LINES, MARKERS, new_figure, palette, theme

__all__ = ["read_log", "training_curves"]

_COLUMNS = ("step", "loss", "held_out_pckh")


def read_log(path: Path) -> pd.DataFrame:
    """The log of one training (its folder, or the file); DataError where it is none."""
    file = path / "log.csv" if path.is_dir() else path
    try:
        log = pd.read_csv(file)
    except (OSError, ValueError, pd.errors.ParserError) as problem:
        raise DataError(
            f"{file}: cannot be read as a training log ({problem}); name a folder of `harness train`"
        ) from None
    if lacking := [column for column in _COLUMNS if column not in log]:
        raise DataError(f"{file}: no column '{lacking[0]}'; a training log has {', '.join(_COLUMNS)}")
    return log


def training_curves(logs: Mapping[str, pd.DataFrame], *, against: str = "step") -> Figure:
    """Loss (smoothed) and held-out PCKh of trainings by name, against "step" or "seconds"; the best point is marked."""
    colours = palette(max(len(logs), 2))[::-1]
    with theme():
        figure = new_figure(9.2, 3.4)
        losses, accuracy = figure.subplots(1, 2)
        for number, (name, log) in enumerate(logs.items()):
            look = {"color": colours[number], "dashes": LINES[number % 4] or (None, None), "linewidth": 1.5}
            losses.plot(log[against], log["loss"], color=colours[number], alpha=0.25, linewidth=0.7)
            losses.plot(log[against], _smoothed(log["loss"]), **look)
            held = log.dropna(subset=["held_out_pckh"])
            accuracy.plot(
                held[against], held["held_out_pckh"], label=name, marker=MARKERS[number % 8], markersize=3.2, **look
            )
            if len(held):
                best = held.iloc[int(held["held_out_pckh"].to_numpy().argmax())]
                accuracy.annotate(f"{best['held_out_pckh']:.1%}", (best[against], best["held_out_pckh"]), xytext=(0, 5),
                                  textcoords="offset points", ha="center", fontsize=7)  # fmt: skip
        if all((log["loss"] > 0).all() for log in logs.values()) and _spans(logs) > 8:
            losses.set_yscale("log")
        for axes, title in ((losses, "Training loss"), (accuracy, "Held-out PCKh")):
            axes.set_title(title)
            axes.set_xlabel(against)
            sns.despine(ax=axes)
        accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        accuracy.margins(y=0.12)
        accuracy.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return figure


def _smoothed(values: pd.Series) -> pd.Series:
    """A running mean over about a fortieth of the training."""
    return values.rolling(2 * (len(values) // 80) + 1, center=True, min_periods=1).mean()


def _spans(logs: Mapping[str, pd.DataFrame]) -> float:
    values = np.concatenate([log["loss"].to_numpy() for log in logs.values()])
    return float(values.max() / values.min())
