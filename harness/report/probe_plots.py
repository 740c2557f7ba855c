"""Figures of probes: dose and response, temporal gain, alignment by displacement, what protocol is worth."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.records import RunRecord
from harness.report.comparable import ground_of, short
from harness.report.probe_rows import Probed, Row, by_subject
from harness.report.style import FLOOR, GREY, Look, add_caption, new_figure, palette, theme
from harness.report.tables import short_commit
from harness.skeletons import GROUPS

__all__ = [
    "alignment_by_displacement",
    "confounds",
    "dose_response",
    "feature_maps",
    "gains",
    "ground_line",
    "joint_response",
]

_UNITS = {
    "key_grey": "share of grey", "key_noise": "noise, grey levels", "key_blur": "blur, px of the crop",
    "key_motion_blur": "exposure, frames", "key_cutout": "radius, share of height", "key_half": "share covered",
}  # fmt: skip

#: Bins and bars of the time figure.
_TIME = ("support_frozen", "support_shuffled", "support_reversed", "support_past", "support_future", "support_stride")


def dose_response(items: Sequence[Probed]) -> Figure:
    """AP against dose, a panel per probe and a line per method; level lines are methods that see no key frame."""
    seeing = [item for item in items if not item.blind]
    families = list(dict.fromkeys(item.family for item in seeing))
    titles = list(dict.fromkeys(item.title for item in seeing))
    looks = _looks(titles)
    with theme():
        figure, panels = _panels(len(families), height=3.0)
        for axes, family in zip(panels, families, strict=False):
            for title in titles:
                mine = [item for item in seeing if (item.title, item.family) == (title, family)]
                if mine:
                    _draw_line(axes, [item.row() for item in mine], [item.dose for item in mine], looks[title], title)
            _draw_blind(axes, [item for item in items if item.blind])
            axes.set(title=family, xlabel=_UNITS.get(family.split("@")[0].split(" seed ")[0], "dose"), ylabel="AP (%)")
            axes.set_ylim(bottom=0)
        _legend(figure, panels)
        add_caption(
            figure, [*_caption(items), "0 is the untouched run; upright: 95 % of the paired change over videos."]
        )
    return figure


def joint_response(items: Sequence[Probed]) -> Figure:
    """AP of every group of joints against dose, a panel per probe, for the runs of one method."""
    families = list(dict.fromkeys(item.family for item in items))
    looks = _looks(GROUPS)
    with theme():
        figure, panels = _panels(len(families))
        for axes, family in zip(panels, families, strict=False):
            mine = [item for item in items if item.family == family]
            for group in GROUPS:
                rows = [item.row(group) for item in mine]
                _draw_line(axes, rows, [item.dose for item in mine], looks[group], group, sure=False)
            axes.set(title=family, xlabel=_UNITS.get(family.split("@")[0].split(" seed ")[0], "dose"), ylabel="AP (%)")
            axes.set_ylim(bottom=0)
        _legend(figure, panels)
        add_caption(figure, [f"{items[0].title}. {_caption(items)[0]}", *_caption(items)[1:]])
    return figure


def gains(items: Sequence[Probed]) -> Figure:
    """What other frames are worth: AP lost by every time probe, and temporal gain by joints, motion and occlusion."""
    subjects = by_subject([item for item in items if item.name in _TIME])
    colours = dict(zip(subjects, palette(len(subjects)), strict=True))
    with theme():
        figure = new_figure(9.2, 6.0)
        above, below = figure.subplots(2, 1)
        probes = sorted({(_TIME.index(item.name), item.dose) for mine in subjects.values() for item in mine})
        names = [f"{_TIME[place].removeprefix('support_')}{f' x{dose:g}' if dose else ''}" for place, dose in probes]
        series = {
            title: [next((item.row() for item in mine if (_TIME.index(item.name), item.dose) == key), None)
                    for key in probes]
            for title, mine in subjects.items()
        }  # fmt: skip
        _draw_bars(above, names, series, colours)
        above.set(title="AP lost when neighbours are changed", ylabel="AP points")
        frozen = {title: [item for item in mine if item.name == "support_frozen"] for title, mine in subjects.items()}
        labels = _gain_labels(frozen)
        gained = {title: [_found(mine, *label) for label in labels] for title, mine in frozen.items()}
        _draw_bars(below, [name or slice for slice, name in labels], gained, colours)
        below.set(title="Temporal gain: AP minus AP with neighbours frozen to the key frame", ylabel="AP points")
        below.set_xticks(below.get_xticks(), below.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
        above.legend(frameon=False, fontsize=8)
        add_caption(figure, [*_caption(items), "Lines: 95 % of the paired change over videos."])
    return figure


def alignment_by_displacement(runs: Sequence[tuple[str, RunRecord]]) -> Figure:
    """Transfer-PCK, cosine and offset error by how far joints moved, a row of panels per method."""
    with theme():
        figure = new_figure(9.6, 2.7 * len(runs) + 0.4)
        grid = figure.subplots(len(runs), 3, squeeze=False)
        for line, (title, record) in zip(grid, runs, strict=True):
            rows = {(row["measure"], row["bin"]): row for row in record.findings["rows"] if row["what"] == "alignment"}
            bins = list(dict.fromkeys(key[1] for key in rows if key[1] not in ("all", "clips")))
            _draw_measures(line[0], rows, bins, {"hit_before": "before", "hit_after": "after", "hit_own": "perfect"})
            _draw_measures(line[1], rows, bins, {"cosine_before": "before", "cosine_after": "after",
                                                 "cosine_perfect": "perfect"})  # fmt: skip
            _draw_measures(line[2], rows, bins, {"error_zero": "no offset", "error": "mean offset"})
            line[0].set(title=title, ylabel="key pose found in neighbours (share)")
            line[1].set(title="Likeness to the key frame", ylabel="cosine at the joint")
            line[2].set(title="Offsets at joints", ylabel="error, cells")
        add_caption(figure, [f"{ground_of(runs[0][1])}", "Lines: 95 % over videos. Cells are those of the features."])
    return figure


def feature_maps(title: str, arrays: Mapping[str, NDArray[Any]]) -> Figure:
    """Crops and features of the clips whose joints moved most: over-exposed or mosaic features show here."""
    numbers = sorted({name.split("_", 1)[0] for name in arrays})
    columns = [name for name in ("crop", "support_crop", "key", "before", "after", "gathered", "mask", "offsets")
               if f"{numbers[0]}_{name}" in arrays]  # fmt: skip
    with theme():
        figure = new_figure(1.25 * len(columns), 1.75 * len(numbers) + 0.5)
        grid = figure.subplots(len(numbers), len(columns), squeeze=False)
        for line, number in zip(grid, numbers, strict=True):
            top = float(np.percentile(arrays[f"{number}_key"].astype(np.float32), 99.5))
            for axes, name in zip(line, columns, strict=True):
                _draw_map(axes, name, arrays[f"{number}_{name}"], top)
        for axes, name in zip(grid[0], columns, strict=True):
            axes.set_title(name.replace("_", " "), fontsize=8)
        add_caption(figure, [f"{title}. Features: root mean square over channels, on the scale of the key's."])
    return figure


def confounds(items: Sequence[Probed], gap_rows: Sequence[Row]) -> Figure:
    """How far AP moves with the protocol alone and, where two methods ran under the same ones, the gap between them."""
    subjects = by_subject(items)
    colours = dict(zip(subjects, palette(len(subjects)), strict=True))
    names = sorted({item.label for item in items})
    gaps: dict[str, list[Row]] = {}
    for row in gap_rows:
        gaps.setdefault(str(row["gap"]), []).append(row)
    with theme():
        most = max(len(names), *(len(rows) for rows in gaps.values()), 3)
        figure = new_figure(6.2 + 3.4 * len(gaps), 1.6 + 0.34 * most)
        left, *others = figure.subplots(1, 1 + len(gaps), squeeze=False)[0]
        for place, (title, mine) in enumerate(subjects.items()):
            offset = (place - (len(subjects) - 1) / 2) * 0.22
            for item in mine:
                _draw_dot(left, item.row(), names.index(item.label) + offset, colours[title], title)
        _draw_rows(left, "Change of AP with the protocol alone", names)
        for axes, (title, rows) in zip(others, gaps.items(), strict=True):
            for place, row in enumerate(rows):
                _draw_dot(axes, row, place, colours[next(iter(colours))], "")
            _draw_rows(axes, title, [str(row["protocol"]) for row in rows])
        _legend(figure, [left])
        add_caption(figure, [*_caption(items), "Lines: 95 % of the paired difference over videos."])
    return figure


def _draw_rows(axes: Axes, title: str, names: Sequence[str]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("AP points")
    axes.set_title(title)


def _looks(names: Collection[str]) -> dict[str, Look]:
    colours = palette(max(len(names), 2))
    return {name: Look.numbered(number, colours[number]) for number, name in enumerate(names)}


def _panels(count: int, *, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    columns = min(3, max(count, 1))
    lines = -(-max(count, 1) // columns)
    figure = new_figure(max(3.1 * columns, 6.2), height * lines + 0.5)
    panels = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels


def _draw_line(
    axes: Axes,
    rows: Sequence[Row],
    doses: Sequence[float],
    look: Look,
    label: str,
    *,
    sure: bool = True,
) -> None:
    """A line from the untouched run over all doses; `sure` draws intervals where they are known."""
    start = _number(rows[0]["a"])
    values = [start, *(_number(row["b"]) for row in rows)]
    axes.plot([0, *doses], values, marker=look.marker, markersize=4, color=look.colour, dashes=look.dashes,
              linewidth=1.3, label=label)  # fmt: skip
    if sure and all(row["low"] is not None for row in rows):
        low, high = ([start + row[side] for row in rows] for side in ("low", "high"))
        axes.vlines(doses, low, high, color=look.colour, linewidth=1)


def _draw_blind(axes: Axes, items: Sequence[Probed]) -> None:
    for number, (title, mine) in enumerate(by_subject(items).items()):
        style = ((0, (4, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)))[number % 3]
        axes.axhline(min(_number(item.row()["b"]) for item in mine), color=GREY, linewidth=1.2, linestyle=style,
                     label=f"{title} (not shown it)")  # fmt: skip


def _draw_bars(
    axes: Axes, names: Sequence[str], series: Mapping[str, Sequence[Row | None]], colours: Mapping[str, Any]
) -> None:
    width = 0.8 / max(len(series), 1)
    for place, (title, rows) in enumerate(series.items()):
        for number, row in enumerate(rows):
            if row is None or row["difference"] is None:
                continue
            x = number + (place - (len(series) - 1) / 2) * width
            axes.bar(x, -row["difference"], width * 0.92, color=colours[title], label=title if number == 0 else None)
            if row["low"] is not None:
                axes.vlines(x, -row["high"], -row["low"], color="#222222", linewidth=1)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)  # also where most methods of a group were not asked
    axes.grid(axis="x", visible=False)


def _gain_labels(frozen: Mapping[str, Sequence[Probed]]) -> list[tuple[str, str]]:
    """(slice, name): the total and the groups over all, then the totals of every bin."""
    rows = [row for mine in frozen.values() for item in mine for row in item.rows(slice="", kind="group")]
    groups = [("all", name) for name in ("total", *GROUPS)]
    return groups + list(dict.fromkeys((row["slice"], "") for row in rows if row["slice"] != "all"))


def _found(mine: Sequence[Probed], slice: str, name: str) -> Row | None:
    return mine[0].find(name or "total", slice=slice) if mine else None


def _draw_measures(
    axes: Axes, rows: Mapping[tuple[str, str], Row], bins: Sequence[str], names: Mapping[str, str]
) -> None:
    for (measure, label), colour in zip(names.items(), (*palette(2), FLOOR), strict=False):
        found = [(place, rows[measure, name]) for place, name in enumerate(bins) if (measure, name) in rows]
        found = [(place, row) for place, row in found if row["value"] is not None]
        axes.plot([place for place, _ in found], [row["value"] for _, row in found], marker="o", markersize=3.5,
                  color=colour, label=label)  # fmt: skip
        for place, row in found:
            if row["low"] is not None:
                axes.vlines(place, row["low"], row["high"], color=colour, linewidth=1)
    axes.set_xticks(range(len(bins)), bins)
    axes.set_xlabel("cells moved")
    axes.legend(frameon=False, fontsize=7)


def _draw_map(axes: Axes, name: str, values: NDArray[Any], top: float) -> None:
    if name == "offsets":
        height, width = values.shape[-2:]
        rows, columns = np.mgrid[1:height:3, 1:width:3]
        x, y = (side[1::3, 1::3].astype(np.float32) for side in values)
        axes.quiver(columns, rows, x, y, angles="xy", scale_units="xy", scale=1, width=0.008, color=GREY)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    elif "crop" in name:
        axes.imshow(values.astype(np.uint8))
    else:
        axes.imshow(values.astype(np.float32), cmap="viridis", vmin=0, vmax=1 if name == "mask" else top)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def _draw_dot(axes: Axes, row: Row, place: float, colour: Any, label: str) -> None:
    value = row["difference"]
    if value is None:
        return
    known = [text.get_label() for text in axes.collections]
    if row["low"] is not None:
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=1.4)
    axes.scatter(value, place, s=22, color=[colour], zorder=3, label=label if label and label not in known else None)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4, frameon=False, fontsize=8)


def ground_line(items: Sequence[Probed]) -> str:
    """Which data and code the runs of a figure are of."""
    return _caption(items)[0]


def _caption(items: Sequence[Probed]) -> list[str]:
    record = items[0].record
    data = record.dataset
    commits = ", ".join(sorted({short_commit(item.record.environment.commit) for item in items}))
    return [f"{data.name} {data.split} ({short(data.fingerprint)}), {data.sequences} videos, commit {commits}"]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
