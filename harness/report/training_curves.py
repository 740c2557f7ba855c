"""The curves of a training, drawn from its log.csv: loss, learning rate, and how good it is on held-out sequences."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.errors import DataError
from harness.files import written_whole
from harness.report.style import GREY, new_figure, palette, theme

__all__ = ["draw_training_curves", "training_curves"]


def training_curves(log: pd.DataFrame, *, title: str = "") -> Figure:
    """Two panels over steps: loss with the learning rate behind it, and held-out PCKh and AP in percent.

    `log` has the columns step, loss, learning_rate, held_out_pckh and, in newer trainings, held_out_ap.
    """
    dark, _, light = palette(3)
    with theme():
        figure = new_figure(8.4, 3.0)
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.3})
        rates = left.twinx()
        rates.fill_between(log["step"], log["learning_rate"], color=GREY, alpha=0.15, linewidth=0)
        rates.set(yticks=[], ylim=(0, None))
        rates.set_ylabel(f"learning rate, up to {log['learning_rate'].max():.3g}", color=GREY)
        left.plot(log["step"], log["loss"], color=dark, linewidth=1.4)
        left.set_zorder(rates.get_zorder() + 1)
        left.patch.set_visible(False)
        left.set(xlabel="step", ylabel="training loss")
        named = {"held_out_pckh": ("PCKh@0.5", dark), "held_out_ap": ("AP", light)}
        for column, (label, colour) in named.items():
            known = log.dropna(subset=[column]) if column in log else log.iloc[:0]
            if len(known):
                right.plot(known["step"], 100 * known[column], "o-", color=colour, markersize=3.5, label=label)
                last = known.iloc[-1]
                right.annotate(f"{100 * last[column]:.1f}", (last["step"], 100 * last[column]), (4, 0),
                               textcoords="offset points", va="center", fontsize=8)  # fmt: skip
        right.set(xlabel="step", ylabel="held-out sequences (percent)")
        if right.lines:
            right.legend(frameon=False, fontsize=8)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, fontsize=10)
    return figure


def draw_training_curves(log: Path, path: Path, *, title: str = "") -> None:
    """Draw log.csv of a training to a PNG, replaced whole; DataError where the log cannot be read."""
    try:
        rows = pd.read_csv(log)
    except (OSError, ValueError) as problem:
        raise DataError(
            f"{log}: not the log of a training ({problem}); name the log.csv that `harness train` writes"
        ) from None
    content = io.BytesIO()
    with theme():
        training_curves(rows, title=title).savefig(content, format="png", dpi=140, metadata={"Software": None})
    with written_whole(path) as new:
        new.write_bytes(content.getvalue())
