"""Forest plots: paired differences with their intervals, one line each, read against zero."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.errors import UsageError
from harness.report.studies import Study
from harness.report.study_answers import Answer, Compared
from harness.report.style import GREY, add_caption, new_figure, palette, theme

__all__ = ["forest", "overview"]

#: Letters of a label in one line.
_LETTERS = 56

#: Verdict -> (marker, filled): told apart without colour.
_MARKS = {"yes": ("o", True), "no": ("s", True), "not shown": ("o", False)}


def forest(study: Study, answer: Answer) -> Figure:
    """All places of one question, a block per pair of arms; small ticks are single seeds against the baseline's mean.

    Raises UsageError where nothing was compared.
    """
    pairs = list(dict.fromkeys((each.arm, each.baseline) for each in answer.compared))
    blocks = [
        (f"{study.title_of(arm)} against {study.title_of(baseline)}",
         [(each.place.title, each) for each in answer.compared if (each.arm, each.baseline) == (arm, baseline)])
        for arm, baseline in pairs
    ]  # fmt: skip
    margins = {answer.question.margin} if answer.question.margin else set[float]()
    return _figure(blocks, answer.question.ask, study, margins)


def overview(study: Study, answers: Sequence[Answer]) -> Figure:
    """The headline of every question, a block per question."""
    blocks = [
        (answer.question.ask,
         [(f"{study.title_of(each.arm)} against {study.title_of(each.baseline)}", each) for each in answer.headline])
        for answer in answers if answer.headline
    ]  # fmt: skip
    return _figure(blocks, study.title, study, set())


def _figure(
    blocks: Sequence[tuple[str, list[tuple[str, Compared]]]], title: str, study: Study, margins: set[float]
) -> Figure:
    blocks = [(heading, [line for line in lines if not math.isnan(line[1].apart.low)]) for heading, lines in blocks]
    count = sum(len(lines) + 1 for _, lines in blocks if lines)
    if not count:
        raise UsageError(f"{title}: nothing to draw, no difference has an interval")
    with theme():
        figure = new_figure(8.2, 1.35 + 0.235 * count)
        axes = figure.add_subplot()
        limit = _limit([each for _, lines in blocks for _, each in lines])
        labels: list[tuple[float, str]] = []
        place = 0.0
        for heading, lines in blocks:
            if not lines:
                continue
            text = axes.annotate(
                heading, (0.008, place), xycoords=("figure fraction", "data"), va="center", fontsize=8,
                fontweight="bold", color="#333333", zorder=5, annotation_clip=False,
                bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
            )  # fmt: skip
            text.set_in_layout(False)
            place += 1
            for label, each in lines:
                _draw(axes, place, each, limit)
                labels.append((place, label))
                place += 1
        axes.axvline(0, color="#333333", linewidth=1, zorder=1)
        for margin in margins:
            axes.axvline(-margin, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set_yticks([each for each, _ in labels], [textwrap.fill(label, _LETTERS) for _, label in labels])
        for tick in axes.get_yticklabels():
            if "\n" in tick.get_text():  # two lines in the height of one: the axis would have no room beside a long one
                tick.set(fontsize=6.6, linespacing=0.95)
        axes.set(ylim=(place - 0.4, -0.7), xlabel="difference in AP, points (to the right: the first is better)")
        axes.margins(x=0.06)
        if limit < math.inf:
            axes.set_xlim(-limit, limit)
        figure.suptitle(textwrap.fill(title, 78), x=0.008, ha="left", fontsize=10, fontweight="bold")
        axes.grid(axis="y", visible=False)
        sns.despine(ax=axes, left=True)
        figure.legend(handles=_legend(bool(margins)), loc="outside lower right", ncols=4, frameon=False, fontsize=7.5,
                      handletextpad=0.3, columnspacing=1.2)  # fmt: skip
        beyond = "; arrows: beyond the axis" if limit < math.inf else ""
        add_caption(figure, [f"{study.dataset} {study.split}; 95 % interval over sequences, drawn jointly for both; "
                             f"| single seeds where there are several{beyond}"])  # fmt: skip
    return figure


def _limit(lines: Sequence[Compared]) -> float:
    """Where the axis ends so that a few far answers do not press all others together; infinite where none is far.

    Far is beyond three times what three quarters of the answers reach.
    """
    sizes = sorted(abs(each.apart.difference) for each in lines)
    far = 3 * sizes[3 * len(sizes) // 4] if sizes else 0.0
    if not sizes or sizes[-1] <= far:
        return math.inf
    kept = [each.apart for each in lines if abs(each.apart.difference) <= far]
    return 1.1 * max(max(abs(each.low), abs(each.high), abs(each.difference)) for each in kept)


def _draw(axes: Axes, place: float, each: Compared, limit: float) -> None:
    colour = palette(3)[2] if each.verdict == "yes" else "#b3541e" if each.verdict == "no" else GREY
    if abs(each.apart.difference) > limit:
        side = math.copysign(0.97 * limit, each.apart.difference)
        axes.scatter([side], [place], s=40, marker=">" if side > 0 else "<", color=colour, zorder=4, clip_on=False)
        _print(axes, place, each)
        return
    axes.hlines(place, each.apart.low, each.apart.high, color=colour, linewidth=1.6, zorder=2)
    marker, filled = _MARKS[each.verdict]
    axes.scatter([each.apart.difference], [place], s=34, marker=marker, color=colour if filled else "white",
                 edgecolor=colour, linewidth=1.3, zorder=4)  # fmt: skip
    if len(each.value.runs) > 1:
        single = [value - each.reference.value for value in each.value.runs]
        axes.scatter(single, [place] * len(single), marker="|", s=46, color="#222222", linewidth=0.9, zorder=3)
    _print(axes, place, each)


def _print(axes: Axes, place: float, each: Compared) -> None:
    text = f"{each.apart.difference:+.1f} [{each.apart.low:+.1f}, {each.apart.high:+.1f}]"
    axes.annotate(text, (1, place), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                  va="center", fontsize=7, color="#333333", annotation_clip=False)  # fmt: skip


def _legend(margin: bool) -> list[Line2D]:
    styles: list[tuple[str, Any]] = [("yes", palette(3)[2]), ("no", "#b3541e"), ("not shown", GREY)]
    handles = [
        Line2D([], [], marker=_MARKS[name][0], color=colour, linewidth=1.6, markersize=5.5, label=name,
               markerfacecolor=colour if _MARKS[name][1] else "white")
        for name, colour in styles
    ]  # fmt: skip
    return handles + ([Line2D([], [], color=GREY, linestyle=(0, (4, 3)), label="margin")] if margin else [])
