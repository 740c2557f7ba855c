"""Figures: what is drawn equals the records, what cannot be compared is refused, files are equal run to run."""

from __future__ import annotations

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from harness.errors import HarnessError, UsageError
from harness.records import (
    BoxesUsed,
    Cost,
    DataUsed,
    Environment,
    InferenceUsed,
    MethodUsed,
    Partial,
    RunRecord,
)
from harness.report.many_runs import MOST
from harness.report.plots import ap_against_speed, best_of, looks_of, pareto, per_joint_bars
from harness.report.style import palette, save
from harness.scoring.scores import joint_rows
from harness.skeletons import GROUPS


def make_run(title: str, total: float, *, speed: float | None = 100.0, **changes: object) -> RunRecord:
    """A run whose joints score total - 7 .. total + 7 in POSETRACK15 order, with bounds one below and two above."""
    values = [*(total - 7 + place for place in range(15)), total]
    rows = joint_rows(
        "poseval", "ap", "all", values, n_truth=[9] * 16, n_predicted=[9] * 16,
        low=[value - 1 for value in values], high=[value + 2 for value in values],
    )  # fmt: skip
    record = RunRecord(
        created="2026-01-31T12:00:00Z",
        command="harness eval",
        method=MethodUsed(title.lower(), title, "tiny"),
        dataset=DataUsed("synthtrack", "val", "sha256:" + "cd" * 32, "poseval", 4, 120, 120, 360),
        boxes=BoxesUsed("truth", "sha256:" + "ef" * 32, 360),
        inference=InferenceUsed("heatmap", (96, 128), 1.25, (0,)),
        scores=tuple(rows),
        cost=Cost({}, 360, 120, speed, 440_000),
        environment=Environment("3.11.9", "Linux x86_64", 2, {}, "0123456789abcdef"),
    )
    return replace(record, **changes)


def floor() -> RunRecord:
    return make_run("Mean pose", 30.0, speed=9000.0, inference=InferenceUsed("none", (1, 1), 1.25, ()))


def texts(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_bars_have_the_heights_of_the_groups_worst_run_first() -> None:
    figure = per_joint_bars([make_run("Good", 60.0), floor(), make_run("Fair", 50.0)])
    (axes,) = figure.axes
    groups = [label.get_text() for label in axes.get_xticklabels()]
    assert groups == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean"]
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    # means of joints at total - 7 + place in POSETRACK15: see test_tables for the hand arithmetic at 50
    assert heights[1] == [56.0, 51.5, 51.5, 51.5, 45.5, 45.5, 45.5, 50.0]
    assert [row[-1] for row in heights] == [30.0, 50.0, 60.0]
    assert "56.0" in texts(figure) and texts(figure).count("60.0") == 1
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Good", "Fair", "Mean pose"]


def test_more_runs_than_colours_tell_apart_get_named_rows() -> None:
    runs = [make_run(f"Method {place}", 40.0 + place) for place in range(8)]
    figure = per_joint_bars(runs)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [*GROUPS, "Mean"]
    head, mean = figure.axes[0], figure.axes[-1]
    assert [text.get_text() for text in head.get_yticklabels()] == [f"Method {place}" for place in range(8)]
    assert [text.get_text() for text in mean.texts] == [f"{40 + place}.0" for place in range(8)]
    assert [text.get_fontweight() for text in mean.texts] == ["normal"] * 7 + ["bold"]
    dots = [found.get_offsets()[0, 0] for found in mean.collections if len(found.get_offsets())]
    assert [value for value in dots if value] == [40.0 + place for place in range(8)]
    assert len(per_joint_bars(runs[:MOST]).axes) == 1


def test_lines_are_those_of_the_best_and_say_so() -> None:
    runs = [make_run(f"Method {place}", 40.0 + place) for place in (3, 7, 0, 1, 2, 4, 5, 6)]
    shown, words = best_of(runs)
    assert [record.method.title for record in shown] == [f"Method {place}" for place in range(2, 8)]
    assert words == ["the 6 best of 8 runs; name runs to draw others"]
    assert best_of(runs[:2])[1] == []


def test_a_run_looks_the_same_whatever_its_place_among_the_others() -> None:
    runs = [make_run("A", 60.0), make_run("B", 50.0), floor(), make_run("C", 55.0)]
    one, other = looks_of(runs), looks_of(runs[::-1])
    assert one == other[::-1] and len({look.marker for look in one}) == len({look.colour for look in one}) == 4


def test_many_points_are_numbered_from_the_best_down() -> None:
    runs = [make_run(f"Method {place}", 40.0 + place, speed=10.0 + place) for place in range(8)]
    written = texts(ap_against_speed(runs))
    assert {str(number) for number in range(1, 9)} <= set(written)
    (key,) = [text for text in written if "\n" in text]
    assert [line.split(maxsplit=1) for line in key.splitlines()] == [
        [str(number), f"Method {8 - number}"] for number in range(1, 9)
    ]


def test_an_undefined_value_gets_no_bar_label() -> None:
    run = make_run("A", 50.0)
    scores = tuple(replace(row, value=math.nan) if row.joint == "left_hip" else row for row in run.scores)
    assert len(texts(per_joint_bars([replace(run, scores=scores)]))) == 7


def test_partial_runs_are_white_and_marked() -> None:
    figure = per_joint_bars([make_run("A", 50.0), make_run("B", 60.0, partial=Partial("limited"))])
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["B †", "A"]
    assert to_rgb(axes.containers[1][0].get_facecolor()) == (1.0, 1.0, 1.0)
    assert "partial, not comparable" in figure.get_supxlabel()


def test_the_caption_says_what_the_numbers_stand_on() -> None:
    for figure in (per_joint_bars([make_run("A", 50.0)]), ap_against_speed([make_run("A", 50.0)])):
        for fact in (
            "synthtrack val",
            "cdcdcdcd",
            "boxes: truth (efefefef)",
            "cpu, 2 cores",
            "01234567",
            "preset: tiny",
        ):
            assert fact in figure.get_supxlabel()


def test_colours_order_by_lightness() -> None:
    for count in range(1, 12):
        grey = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in palette(count)]
        assert grey == sorted(grey, reverse=True) and len(set(grey)) == count


def test_the_front_holds_what_nothing_beats() -> None:
    assert pareto([(100, 50), (10, 60), (50, 40), (10, 55), (200, 30)]) == [(10, 60), (100, 50), (200, 30)]
    assert pareto([(1, 1), (1, 1)]) == [(1, 1)] and pareto([]) == []


def test_speed_figure_draws_points_front_and_floor() -> None:
    runs = [
        make_run("Slow", 70.0, speed=10.0),
        make_run("Fast", 60.0, speed=100.0),
        make_run("Beaten", 50.0, speed=90.0),
    ]
    partial = make_run("Part", 90.0, speed=500.0, partial=Partial("limited"))
    figure = ap_against_speed([*runs, floor(), partial])
    (axes,) = figure.axes
    front, dashed = axes.lines
    assert list(zip(*front.get_data(), strict=True)) == [(10.0, 70.0), (100.0, 60.0)]
    assert set(dashed.get_ydata()) == {30.0} and dashed.get_linestyle() == "--"
    assert axes.get_xscale() == "log"
    assert set(texts(figure)) == {"Slow", "Fast", "Beaten", "Part †", "Mean pose, no pixels: 30.0"}


def test_names_of_close_points_do_not_overlap() -> None:
    runs = [make_run(f"A method {place}", 60.0 + place / 10, speed=100.0 + place) for place in range(5)]
    figure = ap_against_speed([*runs, floor()])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])


@pytest.mark.parametrize("draw", [per_joint_bars, ap_against_speed])
def test_runs_that_are_not_comparable_are_refused(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(UsageError, match=r"cannot share a plot: .*boxes: truth.*boxes: detector.json"):
        draw([make_run("A", 50.0), make_run("B", 50.0, boxes=BoxesUsed("detector.json", None, 1))])
    with pytest.raises(UsageError, match="no runs to plot"):
        draw([])


@pytest.mark.filterwarnings("error")
def test_a_floor_alone_is_a_point() -> None:
    assert texts(ap_against_speed([floor()])) == ["Mean pose"]


def test_speeds_of_different_devices_are_refused() -> None:
    gpu = InferenceUsed("heatmap", (96, 128), 1.25, (0,), device="cuda: H100")
    with pytest.raises(UsageError, match="cpu, 2 cores, cuda: H100"):
        ap_against_speed([make_run("A", 50.0), make_run("B", 50.0, inference=gpu)])
    with pytest.raises(UsageError, match="no run holds a speed"):
        ap_against_speed([make_run("A", 50.0, speed=None)])


def test_a_missing_metric_is_named() -> None:
    with pytest.raises(UsageError, match="holds no 'mota' on slice 'all'"):
        per_joint_bars([make_run("A", 50.0)], metric="mota")


def test_saved_files_are_equal_run_to_run_and_valid(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    runs = [make_run(r"A <b> & $\x^2$ ünïcode", 50.0), floor()]
    for draw in (per_joint_bars, ap_against_speed):
        first = [path.read_bytes() for path in save(draw(runs), tmp_path / "a.v1")]
        second = [path.read_bytes() for path in save(draw(runs), tmp_path / "b")]
        assert first == second
    assert dict(mpl.rcParams) == before
    assert ElementTree.parse(tmp_path / "a.v1.svg").getroot().tag.endswith("svg")  # noqa: S314
    assert (tmp_path / "a.v1.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"a.v1.svg", "a.v1.png", "b.svg", "b.png"}


def test_saving_makes_the_folder_or_says_why_not(tmp_path: Path) -> None:
    figure = per_joint_bars([make_run("A", 50.0)])
    assert all(path.is_file() for path in save(figure, tmp_path / "new" / "plots" / "bars"))
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write the plot"):
        save(figure, tmp_path / "file" / "bars")


def test_tables_do_not_load_matplotlib() -> None:
    code = "import sys, harness.report as r; r.leaderboard, r.render; assert 'matplotlib' not in sys.modules; r.save"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
