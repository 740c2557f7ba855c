"""Figures of a data set's labels: distributions, what is seen of each joint, and how far each joint moves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from harness.datasets.statistics import DataStatistics
from harness.report.style import FLOOR, GREY, add_caption, new_figure, palette, theme
from harness.scoring.motion import FAR_PX, MotionStatistics
from harness.scoring.slices.motion import SPEED_EDGES

__all__ = ["distributions", "joint_motion", "joint_visibility"]

#: Panels in reading order: quantity -> (axis label, title, kind of axis).
_PANELS = {
    "frame_people": ("people per labelled frame", "People per frame", "whole"),
    "overlap": ("largest box IoU with another person", "Crowding", "share"),
    "occluded": ("occluded share of a person's joints", "Occlusion", "share"),
    "head_size": ("head size (px, log)", "Head sizes", "log"),
    "box_scale": ("square root of box area (px, log)", "Box sizes", "log"),
    "sequence_frames": ("frames per sequence", "Sequence lengths", "plain"),
    "track_frames": ("labelled frames per person", "Track lengths", "plain"),
    "joints": ("annotated joints of 15", "Joints per person", "whole"),
    "box_height": ("box height / image height", "Box heights", "share"),
}

#: From head to foot, left and right apart.
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_ORDER = ("head_top", "nose", "head_bottom", *(f"{side}_{joint}" for joint in _LIMBS for side in ("left", "right")))


def distributions(statistics: DataStatistics) -> Figure:
    """A panel for every quantity the labels tell of, six at the most, with the median of each."""
    same = {name for name in ("sequence_frames",) if np.ptp(statistics.values[name]) == 0}
    names = [name for name in _PANELS if name in statistics.values and name not in same][:6]
    rows = (len(names) + 2) // 3
    with theme():
        figure = new_figure(9.6, 0.5 + 2.35 * rows)
        panels = figure.subplots(rows, 3, squeeze=False).ravel().tolist()
        for axes, name in zip(panels, names, strict=False):
            _panel(axes, name, statistics.values[name])
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        add_caption(figure, _caption(statistics))
    return figure


def joint_visibility(statistics: DataStatistics) -> Figure:
    """For every joint the share of people in whom it is visible, occluded, annotated or not annotated."""
    known = {item.joint: item for item in statistics.joints}
    light, _, dark = palette(3)
    parts = [("visible", dark, ""), ("unknown", dark, ""), ("occluded", light, "////"), ("missing", "#f2f2f2", "")]
    labels = {"unknown": "annotated", "missing": "not annotated"}
    with theme():
        figure = new_figure(7.5, 4.2)
        axes = figure.add_subplot()
        left = np.zeros(len(_ORDER))
        for part, colour, hatch in parts:
            values = np.array([_share(known[joint], part) for joint in _ORDER])
            if values.any():
                axes.barh(
                    [_label(joint) for joint in _ORDER], values, left=left, height=0.8, color=colour, hatch=hatch,
                    edgecolor="white", linewidth=0.4, label=labels.get(part, part),
                )  # fmt: skip
                _print_shares(axes, left, values, "white" if colour == dark else "#333333")
            left += values
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="share of people", ylabel="")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        told = any(item.occluded for item in statistics.joints)
        axes.set_title("What is seen of each joint" if told else "How often each joint is annotated")
        axes.grid(axis="y", visible=False)
        sns.despine(ax=axes, left=True)
        axes.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=8)
        add_caption(figure, _caption(statistics))
    return figure


def joint_motion(motion: MotionStatistics, statistics: DataStatistics) -> Figure:
    """Per joint the median and the 90th percentile of motion per frame, and the share beyond 3 heatmap px."""
    rows = {row.joint: row for row in motion.motion if row.gap == "1" and row.pairs}
    joints = [joint for joint in (*_ORDER, "all") if joint in rows]
    dark, light = palette(3)[2], palette(3)[0]
    with theme():
        figure = new_figure(9.0, 4.4)
        speeds, far = figure.subplots(1, 2, sharey=True)
        places = np.arange(len(joints))
        median, high, share = (
            np.array([getattr(rows[joint], key) for joint in joints])
            for key in ("median_head", "p90_head", "share_beyond_3px")
        )
        speeds.hlines(places, median, high, color=FLOOR, linewidth=3, zorder=1)
        speeds.scatter(median, places, color=dark, s=26, zorder=2, label="median")
        speeds.scatter(high, places, facecolor="white", edgecolor=dark, s=26, zorder=2, label="90th percentile")
        for edge in SPEED_EDGES:
            speeds.axvline(edge, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.9)
        speeds.set(xlabel="head sizes per frame (dashed: medium, fast)", xlim=(0, None))
        speeds.set_title("Motion per frame")
        speeds.set_yticks(places, [_label(joint) for joint in joints])
        speeds.invert_yaxis()
        speeds.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=7.5, borderpad=0.1,
                      handletextpad=0, columnspacing=1)  # fmt: skip
        far.barh(places, share, color=[light if joint != "all" else dark for joint in joints], height=0.72)
        for place, value in zip(places, share, strict=True):
            far.annotate(f"{value:.1%}", (value, place), xytext=(3, 0), textcoords="offset points", va="center",
                         fontsize=7, color="#333333")  # fmt: skip
        far.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        far.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        far.margins(x=0.14)
        far.set(xlabel="share of joints")
        far.set_title(f"Moved more than {FAR_PX:g} heatmap px")
        for axes in (speeds, far):
            axes.grid(axis="y", visible=False)
            sns.despine(ax=axes, left=True)
        scale = motion.scale
        crop = f"heatmap of a {scale.size[0]} x {scale.size[1]} crop, box x {scale.enlarge:g}, stride {scale.stride:g}"
        pairs = f"{rows['all'].pairs} pairs of labels one frame apart" if "all" in rows else "no pairs"
        add_caption(figure, [*_caption(statistics), f"{pairs}; {crop}"])
    return figure


def _panel(axes: Axes, name: str, values: NDArray[np.float64]) -> None:
    label, title, kind = _PANELS[name]
    colour = palette(3)[1]
    style = {"color": colour, "edgecolor": "white", "linewidth": 0.4, "alpha": 1.0, "stat": "probability", "ax": axes}
    frame = pd.DataFrame({"value": values})
    if kind == "whole":
        sns.histplot(frame, x="value", discrete=True, shrink=0.85, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif kind == "log":
        sns.histplot(frame, x="value", bins=28, log_scale=True, **style)
        _plain_log_ticks(axes, values)
    elif kind == "share":
        top = 1.0 if values.max() <= 1 else float(values.max())
        sns.histplot(frame, x="value", bins=20 if name == "overlap" else 12, binrange=(0, top), **style)
        axes.set_xlim(0, top)
    elif np.ptp(values) < 30:
        sns.histplot(frame, x="value", discrete=True, shrink=0.85, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        sns.histplot(frame, x="value", bins=min(28, max(6, len(np.unique(values)))), **style)
    middle = float(np.median(values))
    axes.axvline(middle, color="#222222", linewidth=1.1, linestyle=(0, (4, 2)))
    axes.set(xlabel=label, ylabel="")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_title(title)
    axes.set_title(f"median {middle:.3g}, n = {len(values)}", loc="right", fontsize=7, fontweight="normal", color=GREY)
    axes.grid(axis="x", visible=False)
    sns.despine(ax=axes)


def _plain_log_ticks(axes: Axes, values: NDArray[np.float64]) -> None:
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() / values.min() < 200 else (1, 3)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _share(item: object, part: str) -> float:
    if part == "missing":
        return 1.0 - sum(float(getattr(item, key)) for key in ("visible", "occluded", "unknown"))
    return float(getattr(item, part))


def _print_shares(axes: Axes, left: NDArray[np.float64], values: NDArray[np.float64], colour: str) -> None:
    behind = palette(3)[2] if colour == "white" else "#f7f7f7"
    for place, (start, value) in enumerate(zip(left, values, strict=True)):
        if value >= 0.06:
            axes.annotate(
                f"{value:.0%}", (start + value / 2, place), ha="center", va="center", fontsize=6.5, color=colour,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": behind, "linewidth": 0},
            )  # fmt: skip


def _label(joint: str) -> str:
    return joint.replace("_", " ")


def _caption(statistics: DataStatistics) -> list[str]:
    counts = statistics.counts
    size = f"{counts['sequences']} sequences, {counts['labelled_frames']} labelled frames, {counts['people']} people"
    return [f"{statistics.name} {statistics.split}, labels {statistics.fingerprint[:15]}: {size}"]
