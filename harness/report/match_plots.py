"""Figures that need the stored predictions: each takes names and matched runs on the same truth."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.report.style import GREY, Look, add_caption, new_figure, palette, theme
from harness.scoring.comparison import check_same_truth
from harness.scoring.entries import Entries, all_entries
from harness.scoring.error_classes import CLASSES, UNLABELLED, pckh_classes
from harness.scoring.matched import Matched
from harness.scoring.replicates import bootstrap_draws
from harness.scoring.slices import footage_of, slice_named
from harness.scoring.uncertainty import REPLICATES, clusters
from harness.skeletons import GROUPS, POSETRACK15

__all__ = ["error_stacks", "found_against_speed", "precision_recall", "sequence_differences"]

#: Upper edges of the bins of speed, heads per frame, and of the length of an occlusion, frames; the last is open.
_SPEEDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
_RUNS = (0.5, 1.5, 2.5, 4.5, 6.5, 9.5)

#: True joints that a bin takes for its share to be shown.
_ENOUGH = 200

#: Error class -> (position on the palette from light to dark, hatch); what is good is palest.
_LOOKS = {
    "good": (0, ""), "jitter": (1, ""), "inversion": (2, "////"), "swap": (3, "...."), "miss": (3, ""),
    "absent": (4, "\\\\\\\\"), "undetected": (4, ""),
}  # fmt: skip


def precision_recall(
    names: Sequence[str], matched: Sequence[Matched], *, looks: Sequence[Look] = (), stands_on: Sequence[str] = ()
) -> Figure:
    """Precision against recall per joint group: the curve that AP is the area under, a line per run."""
    with theme():
        figure = new_figure(9.4, 4.6)
        panels = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
        for name, run, look in zip(names, matched, looks or _looks(len(names)), strict=True):
            joints = all_entries(run)
            for axes, group in zip(panels, GROUPS, strict=False):
                recall, precision = _pooled([joints[POSETRACK15.index(joint)] for joint in GROUPS[group]])
                axes.plot(recall, precision, color=look.colour, linewidth=1.4, dashes=look.dashes, label=name)
                axes.set_title(group, fontsize=9)
                axes.set(xlim=(0, 1), ylim=(0, 1.02))
                sns.despine(ax=axes)
        panels[-1].set_axis_off()
        panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False, fontsize=8)
        figure.supylabel("precision", fontsize=9)
        for axes in panels[3:7]:
            axes.set_xlabel("recall")
        panels[3].tick_params(labelbottom=True)
        add_caption(
            figure,
            [*stands_on, *_caption(matched[0]), "joints of a group pooled by score; AP itself is taken per joint"],
        )
    return figure


def error_stacks(
    names: Sequence[str], matched: Sequence[Matched], *, stands_on: Sequence[str] = ()
) -> Figure:  # fmt: skip
    """What became of the true joints of every group, a stack per run: good, jitter, inversion, swap, miss ..."""
    groups = {**GROUPS, "All": POSETRACK15.names}
    shares = [_class_shares(run, groups) for run in matched]
    colours = palette(5)
    with theme():
        figure = new_figure(9.2, 1.3 + 0.2 * len(groups) * max(len(names), 2))
        axes = figure.add_subplot()
        height = 0.86 / len(names)
        for number, share in enumerate(shares):
            places = np.arange(len(groups)) + (number - (len(names) - 1) / 2) * height
            left = np.zeros(len(groups))
            for code, name in enumerate(CLASSES):
                shade, hatch = _LOOKS[name]
                axes.barh(places, share[:, code], left=left, height=height * 0.94, color=colours[shade], hatch=hatch,
                          edgecolor="white", linewidth=0.3)  # fmt: skip
                left += share[:, code]
            if len(names) > 1:
                for place in places:
                    axes.annotate(names[number], (1.005, place), xycoords=("axes fraction", "data"), va="center",
                                  fontsize=6, color=GREY, annotation_clip=False)  # fmt: skip
        axes.set_yticks(range(len(groups)), list(groups))
        axes.set(xlim=(0, 100), ylim=(len(groups) - 0.5, -0.5), xlabel="true joints (%)")
        axes.set_title("What became of the true joints")
        axes.grid(axis="y", visible=False)
        sns.despine(ax=axes, left=True)
        handles = [
            Patch(facecolor=colours[_LOOKS[name][0]], hatch=_LOOKS[name][1], edgecolor="white", label=name)
            for name in CLASSES
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(CLASSES), frameon=False, fontsize=8)
        add_caption(figure, [*stands_on, *_caption(matched[0]), "good: within half a head size; jitter: within one; "
                             "swap: on another person; undetected: nobody was found"])  # fmt: skip
    return figure


def sequence_differences(
    names: Sequence[str], matched: Sequence[Matched], *, stands_on: Sequence[str] = ()
) -> Figure:  # fmt: skip
    """Found joints of the second run minus the first, by sequence, sorted: is a gain everywhere or in a few?"""
    check_same_truth(matched[0], matched[1])
    found = [_by_sequence(run) for run in matched]
    units = clusters(matched[0])
    count = found[0][1][units]
    difference = 100 * (found[1][0] - found[0][0])[units] / np.maximum(count, 1)
    order = np.argsort(difference)
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    with theme():
        figure = new_figure(8.2, 3.2)
        axes = figure.add_subplot()
        colours = np.where(difference[order] >= 0, 0, 1)
        dark, warm = palette(3)[2], "#b3541e"
        bars = axes.bar(range(len(order)), difference[order], width=0.9, color=[(dark, warm)[each] for each in colours])
        for bar, each in zip(bars, colours, strict=True):
            bar.set_hatch("////" if each else "")
            bar.set_edgecolor("white")
            bar.set_linewidth(0)
        axes.axhline(0, color="#333333", linewidth=0.9)
        overall = 100 * (found[1][0] - found[0][0]).sum() / found[0][1].sum()
        axes.axhline(overall, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"all together {overall:+.1f}", (0.01, overall), xycoords=("axes fraction", "data"),
                      xytext=(0, 3), textcoords="offset points", fontsize=7.5, color=GREY)  # fmt: skip
        axes.set(xlabel=f"{len(order)} sequences, sorted", ylabel="joints found, difference\n(points)", xticks=[])
        axes.set_title(f"{names[1]} against {names[0]}: better in {better}, worse in {worse} sequences")
        axes.grid(axis="x", visible=False)
        sns.despine(ax=axes, bottom=True)
        add_caption(figure, [*stands_on, *_caption(matched[0]), "found: within half a head size of its place"])
    return figure


def found_against_speed(
    names: Sequence[str], matched: Sequence[Matched], *, seed: int = 0, looks: Sequence[Look] = (),
    stands_on: Sequence[str] = (),
) -> Figure:  # fmt: skip
    """The motion-response curve: joints found against their speed, and against how long they are hidden.

    Bands are 95 % intervals over sequences; bins with fewer than 200 joints are left out, and so are panels of nothing
    else. Raises UsageError where no panel is left.
    """
    panels_of = [
        ("speed", _SPEEDS, "joint speed (heads per frame)", ""),
        ("occlusion_run", _RUNS, "frames hidden", "0"),
    ]
    with theme():
        figure = new_figure(8.6, 3.5)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (name, edges, label, zero) in zip(panels, panels_of, strict=True):
            bins = _bins_of(matched[0], name, edges)
            if bins is None:
                axes.set_visible(False)
                continue
            for run_name, run, look in zip(names, matched, looks or _looks(len(names)), strict=True):
                _response(axes, run, bins, len(edges) + 1, run_name, look, seed)
            if not axes.lines:
                axes.set_visible(False)
                continue
            axes.set_xticks(range(len(edges) + 1), _bin_labels(edges, whole=bool(zero)), fontsize=7)
            axes.set_xlabel(label)
            sns.despine(ax=axes)
        panels[0].set(ylabel="joints found (%)", ylim=(0, 100))
        shown = next((axes for axes in panels[::-1] if axes.get_visible()), None)
        if shown is None:
            raise UsageError(f"no speed and no time hidden has the {_ENOUGH} true joints that a share takes")
        shown.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
        figure.suptitle("Joints found where they move and where they are hidden", x=0.01, ha="left", fontsize=10,
                        fontweight="bold")  # fmt: skip
        add_caption(
            figure, [*stands_on, *_caption(matched[0]), "found: within half a head size; bands: 95 % over sequences"]
        )
    return figure


def hits_of(run: Matched) -> NDArray[np.bool_]:
    """(G,15) truth joints that were found."""
    table = run.table
    found = table.predicted_of >= 0
    hits = np.zeros(table.scene.truth.present.shape, dtype=bool)
    hits[found] = table.hit[table.predicted_of[found]]
    return hits & table.scene.truth.present


def _response(axes: Axes, run: Matched, bins: NDArray[np.int64], count: int, name: str, look: Look, seed: int) -> None:
    """One run's share of found joints by bin with its band; nothing where no bin has enough joints."""
    sequence = np.broadcast_to(run.table.truth_sequence[:, None], bins.shape)
    known = bins >= 0
    keys = sequence[known] * count + bins[known]
    size = run.sequence_count * count
    total = np.bincount(keys, minlength=size).reshape(-1, count).astype(float)
    found = np.bincount(keys, weights=hits_of(run)[known].astype(float), minlength=size).reshape(-1, count)
    units = clusters(run)
    draws = bootstrap_draws(len(units), REPLICATES, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = 100 * (draws @ found[units]) / (draws @ total[units])
        share = 100 * found.sum(axis=0) / total.sum(axis=0)
    kept = total.sum(axis=0) >= _ENOUGH
    if not kept.any():
        return
    places = np.arange(count)[kept]
    low, high = np.nanquantile(drawn[:, kept], [0.025, 0.975], axis=0)
    axes.fill_between(places, low, high, color=look.colour, alpha=0.18, linewidth=0)
    axes.plot(places, share[kept], color=look.colour, marker=look.marker, markersize=4.5, linewidth=1.5, label=name,
              dashes=look.dashes)  # fmt: skip


def _bins_of(run: Matched, name: str, edges: Sequence[float]) -> NDArray[np.int64] | None:
    """(G,15) bin of every truth joint by the values of a slice, -1 where unknown; None where the labels lack it."""
    measure = slice_named(name)[0].measure
    footage = footage_of(run)
    values = [measure(item) for item in footage]
    if all(each is None for each in values):
        return None
    filled = [
        np.full((len(item), 15), np.nan) if each is None else each for item, each in zip(footage, values, strict=True)
    ]
    cells = np.concatenate(filled)[run.truth_rows]
    cells[~run.table.scene.truth.present] = np.nan
    bins: NDArray[np.int64] = np.where(np.isnan(cells), -1, np.digitize(cells, edges, right=True))
    return bins


def _bin_labels(edges: Sequence[float], *, whole: bool) -> list[str]:
    if not whole:
        return [*(f"≤ {edge:g}" for edge in edges), f"> {edges[-1]:g}"]
    bounds = [int(edge) for edge in edges]
    inner = [f"{low + 1}" if high == low + 1 else f"{low + 1}-{high}" for low, high in itertools.pairwise(bounds)]
    return ["0", *inner, f"> {bounds[-1]}"]


def _pooled(joints: Sequence[Entries]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(recall, precision) of several joints' entries together, best score first."""
    score = np.concatenate([joint.score for joint in joints])
    hit = np.concatenate([joint.hit for joint in joints])[np.argsort(-score, kind="stable")]
    truth = sum(float(joint.truth.sum()) for joint in joints)
    found = np.cumsum(hit).astype(float)
    kept = np.unique(np.linspace(0, len(hit) - 1, min(len(hit), 500)).astype(int))  # more cannot be seen
    return found[kept] / max(truth, 1), (found / np.arange(1, len(hit) + 1))[kept]


def _class_shares(run: Matched, groups: dict[str, tuple[str, ...]] | dict[str, Any]) -> NDArray[np.float64]:
    """(groups, classes) percent of labelled joints."""
    codes = pckh_classes(run)
    rows = []
    for joints in groups.values():
        own = codes[:, [POSETRACK15.index(joint) for joint in joints]]
        own = own[own != UNLABELLED]
        rows.append(100 * np.bincount(own, minlength=len(CLASSES)) / max(len(own), 1))
    return np.array(rows)


def _by_sequence(run: Matched) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((S,) found joints, (S,) labelled joints)."""
    sequence, count = run.table.truth_sequence, run.sequence_count
    found = np.bincount(sequence, weights=hits_of(run).sum(axis=1), minlength=count)
    labelled = np.bincount(sequence, weights=run.table.scene.truth.present.sum(axis=1), minlength=count)
    return found.astype(np.float64), labelled.astype(np.float64)


def _looks(count: int) -> list[Look]:
    return [Look.numbered(number, colour) for number, colour in enumerate(palette(max(count, 2))[::-1][:count])]


def _caption(run: Matched) -> list[str]:
    return [f"{run.sequence_count} sequences, {int(run.table.scene.truth.present.sum())} labelled joints"]
