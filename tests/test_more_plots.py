"""Figures of joints, slices, matches and trainings: what is drawn is what the records and the matches say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_scenes import random_run
from test_more_tables import sliced
from test_tables import make_run, other_boxes

from harness.errors import DataError, UsageError
from harness.records import Cost
from harness.report.drawing import draw_matched
from harness.report.match_plots import (
    _bin_labels,
    _bins_of,
    error_stacks,
    found_against_speed,
    hits_of,
    precision_recall,
    sequence_differences,
)
from harness.report.opened import Opened
from harness.report.plots import ap_against_cost
from harness.report.slice_plots import ap_response, joint_intervals, slice_bars
from harness.report.style import save
from harness.report.training_plots import read_log, training_curves
from harness.results import StoredRun
from harness.scoring import score
from harness.scoring.error_classes import CLASSES
from harness.scoring.matched import match_run
from harness.skeletons import POSETRACK15


@pytest.fixture(scope="module")
def two():
    data, first = random_run(11, sequences=9, frames=10, noise=0.2)
    noise = np.random.default_rng(1).normal(0, 6, first.joints.shape)
    return data, [match_run(data, each) for each in (first, replace(first, joints=first.joints + noise))]


def test_points_of_joints_lie_where_the_record_says() -> None:
    axes = joint_intervals([make_run("A", 50.0)]).axes[0]
    values = axes.collections[1].get_offsets()[:, 0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    at = dict(zip(labels, values, strict=True))
    assert (at["right ankle"], at["head top"], at["mean"]) == (43.0, 57.0, 50.0)


def test_bars_of_slices_have_the_records_height_and_interval() -> None:
    figure = slice_bars([sliced("A", 60.0), sliced("B", 50.0)])
    (axes,) = figure.axes  # only speed is in these records, and only two of its bins
    assert [text.get_text() for text in axes.get_xticklabels()] == ["< 0.25", "> 0.5"]
    worst, best = axes.containers
    assert [bar.get_height() for bar in worst] == [52.0, 40.0] and [bar.get_height() for bar in best] == [62.0, 50.0]
    lines = [segment for lines in axes.collections for segment in lines.get_segments()]
    ends = {tuple(segment[:, 1]) for segment in lines}
    assert ends == {(51.0, 54.0), (39.0, 42.0), (61.0, 64.0), (49.0, 52.0)}
    with pytest.raises(UsageError, match="on slices"):
        slice_bars([make_run("A", 50.0)])
    with pytest.raises(UsageError, match="not comparable"):
        slice_bars([sliced("A", 60.0), replace(sliced("B", 50.0), boxes=other_boxes())])


def test_slices_and_joints_of_many_runs_are_panels() -> None:
    runs = [sliced(f"Method {place}", 40.0 + place) for place in range(8)]
    figure = slice_bars(runs)
    assert [axes.get_title(loc="left") for axes in figure.axes][:2] == ["Joint speed: < 0.25", "Joint speed: > 0.5"]
    assert [text.get_text() for text in figure.axes[1].texts] == [f"{30 + place}.0" for place in range(8)]
    joints = joint_intervals(runs).axes
    assert joints[0].get_title(loc="left") == "head top" and len(joints) == 16
    assert len(ap_response(runs).axes[0].lines) == 6


def test_the_response_falls_as_the_record_does() -> None:
    figure = ap_response([sliced("A", 60.0)])
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == [62.0, 50.0]
    assert "bands: 95 %" not in str(figure.texts)


def test_the_front_goes_to_the_cheap_and_good() -> None:
    def run(title: str, total: float, cost: float):
        return make_run(title, total, cost=Cost({}, 1, 1, 9.0, 1, round(cost * 1e9)))

    figure = ap_against_cost([run("A", 50.0, 1), run("B", 60.0, 2), run("C", 55.0, 4)])
    front = figure.axes[0].lines[0]
    assert front.get_xdata().tolist() == pytest.approx([1, 2]) and front.get_ydata().tolist() == [50.0, 60.0]
    with pytest.raises(UsageError, match="multiply-adds"):
        ap_against_cost([make_run("A", 50.0)])


def test_stacks_are_the_shares_of_what_became_of_the_joints(two) -> None:
    _, (run, _) = two
    axes = error_stacks(["a"], [run]).axes[0]
    assert len(axes.containers) == len(CLASSES)
    ends = [bars[-1].get_x() + bars[-1].get_width() for bars in axes.containers]
    assert ends[-1] == pytest.approx(100.0)
    found = 100 * hits_of(run).sum() / run.table.scene.truth.present.sum()
    assert axes.containers[0][-1].get_width() == pytest.approx(found)  # "good" is what poseval counts as found


def test_hits_are_the_recall_of_the_scorer(two) -> None:
    data, (run, _) = two
    recall = score(data, run.predictions).by_joint("recall")
    present = run.table.scene.truth.present
    for number, joint in enumerate(POSETRACK15.names):
        assert 100 * hits_of(run)[:, number].sum() / present[:, number].sum() == pytest.approx(recall[joint])


def test_precision_recall_ends_at_the_scorers_values(two) -> None:
    data, (run, _) = two
    axes = precision_recall(["a"], [run]).axes[0]
    line = axes.lines[0]
    found = score(data, run.predictions)
    heads = ["head_top", "head_bottom", "nose"]
    rows = {row.joint: row for row in found.select(metric="recall", protocol="poseval", slice="all").entries}
    hits = sum(rows[joint].value / 100 * rows[joint].n_truth for joint in heads)
    assert line.get_xdata()[-1] == pytest.approx(hits / sum(rows[joint].n_truth for joint in heads))
    predicted = sum(rows[joint].n_predicted for joint in heads)
    assert line.get_ydata()[-1] == pytest.approx(hits / predicted) and len(line.get_xdata()) <= 500


def test_differences_by_sequence_add_up(two) -> None:
    _, (first, second) = two
    axes = sequence_differences(["a", "b"], [first, second]).axes[0]
    heights = [bar.get_height() for bar in axes.containers[0]]
    assert heights == sorted(heights) and len(heights) == 9
    by_sequence = [np.bincount(run.table.truth_sequence, weights=hits_of(run).sum(axis=1)) for run in (first, second)]
    count = np.bincount(first.table.truth_sequence, weights=first.table.scene.truth.present.sum(axis=1))
    assert sorted(100 * (by_sequence[1] - by_sequence[0]) / count) == pytest.approx(heights)
    assert f"worse in {sum(height < 0 for height in heights)} sequences" in axes.get_title("left")
    same = sequence_differences(["a", "a again"], [first, first]).axes[0]
    assert "better in 0, worse in 0" in same.get_title("left")


def test_the_response_to_speed_is_the_share_of_found_joints(two) -> None:
    _, (run, _) = two
    edges = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
    bins = _bins_of(run, "speed", edges)
    figure = found_against_speed(["a"], [run])
    line = figure.axes[0].lines[0]
    for place, value in zip(line.get_xdata(), line.get_ydata(), strict=True):
        assert value == pytest.approx(100 * hits_of(run)[bins == place].mean())
    counts = [(bins == place).sum() for place in range(9)]
    assert line.get_xdata().tolist() == [place for place, count in enumerate(counts) if count >= 200]
    assert _bin_labels((0.5, 1.5, 4.5, 9.5), whole=True) == ["0", "1", "2-4", "5-9", "> 9"]


def test_curves_show_what_the_log_says(tmp_path: Path) -> None:
    log = pd.DataFrame({"step": [1, 2, 3], "seconds": [1.0, 2.0, 3.0], "learning_rate": [1.0] * 3,
                        "loss": [4.0, 2.0, 1.0], "held_out_pckh": [np.nan, 0.5, 0.75]})  # fmt: skip
    (tmp_path / "run").mkdir()
    log.to_csv(tmp_path / "run" / "log.csv", index=False)
    read = read_log(tmp_path / "run")
    figure = training_curves({"run": read})
    losses, accuracy = figure.axes
    assert losses.lines[0].get_ydata().tolist() == [4.0, 2.0, 1.0]
    assert accuracy.lines[0].get_ydata().tolist() == [0.5, 0.75] and "75.0%" in accuracy.texts[0].get_text()
    assert all(path.stat().st_size > 2000 for path in save(figure, tmp_path / "curves"))
    with pytest.raises(DataError, match=r"log\.csv: cannot be read"):
        read_log(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column 'step'"):
        read_log(tmp_path / "other.csv")


def test_too_few_joints_at_every_speed_leave_the_figure_out(tmp_path: Path, monkeypatch) -> None:
    data, predictions = random_run(3, sequences=2, frames=4)
    runs = [match_run(data, predictions)] * 2
    with pytest.raises(UsageError, match="200 true joints"):
        found_against_speed(["a", "b"], runs)
    monkeypatch.setattr("harness.report.drawing.save", lambda figure, path: (path, path))
    stored = tuple(StoredRun(make_run(name, 50.0), tmp_path, {}) for name in "AB")
    drawn = draw_matched(Opened(data, stored, ("A", "B"), (predictions,) * 2, tuple(runs)), tmp_path)
    assert [path.name for path in drawn] == ["precision_recall", "errors", "sequences_1"]


def test_a_panel_of_too_few_joints_is_left_out(two, monkeypatch) -> None:
    _, (run, _) = two
    monkeypatch.setattr("harness.report.match_plots._SPEEDS", tuple(np.linspace(0.01, 1, 400)))
    speed, hidden = found_against_speed(["a"], [run]).axes
    assert not speed.get_visible() and hidden.get_visible() and hidden.get_legend() is not None
