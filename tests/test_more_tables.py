"""Tables of joints, slices, cost, differences and published rows: values by hand, marks, and every form alike."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hand_scenes import random_run
from test_tables import make_run, other_boxes

from harness.errors import UsageError
from harness.records import BoxesUsed, Cost, DataUsed, Partial
from harness.report.difference_tables import against, compared
from harness.report.drift import drift
from harness.report.formats import FORMATS, render
from harness.report.paper import PaperRow, mean_of_joints, paper_names, paper_table, published_rows
from harness.report.slice_tables import by_joint, by_slice
from harness.report.tables import Column, Estimate, Row, Section, Table, all_marks, cost_table
from harness.scoring.comparison import compare
from harness.scoring.scores import joint_rows
from harness.skeletons import GROUPS


def sliced(title: str, total: float):
    """A run with AP and its interval on two bins."""
    run = make_run(title, total)
    rows = []
    for bin_name, shift in (("speed:slow", 2.0), ("speed:fast", -10.0)):
        values = [row.value + shift for row in run.scores[:16]]
        rows += joint_rows(
            "poseval", "ap", bin_name, values, n_truth=[5] * 15 + [75], n_predicted=[5] * 16,
            low=[value - 1 for value in values], high=[value + 2 for value in values],
        )  # fmt: skip
    return replace(run, scores=(*run.scores, *rows))


class Cells(HTMLParser):
    """The texts of a table's cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.done = False

    def handle_endtag(self, tag: str) -> None:
        self.done = self.done or tag == "table"

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and data != "\n" and not self.done:
            self.rows[-1][-1] += data


def test_by_slice_marks_the_best_of_every_row_and_keeps_intervals() -> None:
    table = by_slice([sliced("A", 60.0), sliced("B", 50.0)])
    assert [row.label for row in table.sections[0].rows] == ["all", "speed: slow", "speed: fast"]
    assert all_marks(table, table.sections[0]) == [
        {},
        dict.fromkeys(range(3), "best"),
        dict.fromkeys(range(3), "second"),
    ]
    text = render(table, "markdown")
    assert "**62.0 \\[61.0, 64.0\\]**" in text and "<u>40.0 \\[39.0, 42.0\\]</u>" in text
    row = list(csv.DictReader(io.StringIO(render(table, "csv"))))[2]
    assert [float(row[name]) for name in ("a", "a_low", "a_high")] == [50.0, 49.0, 52.0]


def test_the_best_run_stands_first() -> None:
    part = replace(sliced("Part", 70.0), partial=Partial("first 2 sequences"))
    runs = [sliced("Worse", 50.0), part, sliced("Better", 60.0)]
    for table in (by_slice(runs), by_joint(runs)):
        assert [column.name for column in table.columns] == ["n", "better", "worse", "part"]


def test_a_table_wider_than_a_terminal_is_printed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = by_slice([sliced(f"run number {place}", 60.0 - place) for place in range(6)])
    lines = render(table, "table").splitlines()
    heads = [line.split() for line in lines if line.startswith("Slice")]
    assert max(map(len, lines)) <= 100 and len(heads) == 2
    assert re.findall(r"\d", str(heads)) == [str(place) for place in range(6)]
    assert sum(line.startswith("speed: fast") for line in lines) == 2
    monkeypatch.setenv("COLUMNS", "300")
    assert sum(line.startswith("Slice") for line in render(table, "table").splitlines()) == 1


def test_by_joint_goes_from_head_to_foot() -> None:
    rows = by_joint([make_run("A", 50.0)]).sections[0].rows
    assert [row.label for row in rows][:3] == ["head top", "head bottom", "nose"] and rows[-1].label == "mean"
    assert [float(row.cells["a"]) for row in rows[-3:]] == [43.0, 48.0, 50.0]  # right ankle, left ankle, mean
    with pytest.raises(UsageError, match="share no table of joints"):
        by_joint([make_run("A", 50.0), make_run("B", 50.0, boxes=other_boxes())])


def test_costs_rank_what_looks_at_pixels() -> None:
    runs = [
        make_run("Big", 60.0, cost=Cost({"forward": 8.0, "wall": 10.0}, 90, 30, 9.0, 2_000_000, 500_000_000)),
        make_run("Small", 50.0, cost=Cost({"forward": 2.0, "wall": 3.0}, 90, 30, 30.0, 1_000_000, 100_000_000)),
    ]
    table = cost_table(runs)
    text = render(table, "table")
    assert [row.label for row in table.sections[0].rows] == ["Small (tiny)", "Big (tiny)"]
    assert "1.00*" in text and "0.100*" in text and "30.0*" in text and "60.0*" in text and "forward s" in text


def test_the_forms_agree_with_the_values() -> None:
    table = by_slice([sliced("A<b>&_%", 60.0), sliced("B", 50.0)])
    parsed = Cells()
    parsed.feed(render(table, "html"))
    assert parsed.rows[0] == ["Slice", "joints", "a<b>&_%", "b"] and "<b>" not in render(table, "html")
    plain = render(table, "table")
    document = json.loads(render(table, "json"))
    for number, row in enumerate(table.sections[0].rows):
        for name in ("a<b>&_%", "b"):
            cell = row.cells[name]
            shown = Column(name, name).shown(cell)
            assert document["sections"][0]["rows"][number][name] == float(cell)
            assert shown in parsed.rows[number + 1] and shown in plain
            assert shown in re.sub(r"\\(textbf|underline)\{([^}]*)\}", r"\2", render(table, "latex"))
    assert set(FORMATS) == {"table", "markdown", "latex", "html", "csv", "json"}


def test_differences_from_a_reference_have_stars_where_significant() -> None:
    data, first = random_run(3, sequences=9, frames=8, noise=0.2)
    noise = np.random.default_rng(1).normal(0, 40, first.joints.shape)
    found = compare(data, first, replace(first, joints=first.joints + noise), replicates=200, permutations=500)
    same = compare(data, first, first, replicates=200, permutations=500)
    names = [make_run(title, 50.0) for title in ("Sharp", "Noisy", "Twin")]
    table = against(names[0], names[1:], {names[1].id: found, names[2].id: same})
    mean = table.sections[0].rows[1].cells["Mean"]
    assert isinstance(mean, Estimate) and float(mean) == found.row().difference < 0 and mean.remark == "*"
    text = render(table, "markdown")
    assert f"{mean:+.1f}\\* \\[{mean.low:+.1f}, {mean.high:+.1f}\\]" in text and "+0.0 \\[+0.0, +0.0\\]" in text
    pairwise = compared(found, (names[0], names[1]))
    assert len(pairwise.sections[0].rows) == len(GROUPS) + 1
    assert "worse" in render(pairwise, "latex") and "B - A" in render(pairwise, "html")


def test_a_comparison_across_boxes_says_so_and_names_both() -> None:
    data, first = random_run(3, sequences=9, frames=8, noise=0.2)
    found = compare(data, first, first, replicates=200, permutations=500)
    given = make_run("Given", 50.0)
    none = replace(given, boxes=BoxesUsed("none", None, 0))
    detected = replace(given, boxes=other_boxes())
    probed = replace(given, request={"probe": "key_grey=1"})
    assert "rank nothing" not in render(compared(found, (given, given)), "table")
    for other, words in ((none, "no boxes (whole frames)"), (detected, "detector_50%.json"), (probed, "key_grey=1")):
        for pair in ((given, other), (other, given)):
            text = render(compared(found, pair), "markdown")
            assert words in text and "boxes: truth" in text and "rank nothing" in text


def test_a_quoted_mean_is_recomputed_over_fifteen_joints() -> None:
    # FAMI-Pose on PoseTrack17: (3 * 89.6 + 2 * (90.1 + 86.3 + 80.0 + 84.6 + 83.4 + 77.0)) / 15
    rows = [row for row in published_rows() if row.table == "pt17-val" and row.method == "FAMI-Pose"]
    assert mean_of_joints(rows[0].values) == pytest.approx((268.8 + 1002.8) / 15) and rows[0].tier == "B"
    odd = {
        (row.method, row.dataset)
        for row in published_rows()
        if row.is_ap and abs(mean_of_joints(row.values) - row.values.get("Mean", math.nan)) > 0.15
    }
    assert len(odd) == 6 and ("DiffusionPose", "PoseTrack17") in odd  # the six that the collection tells of
    assert math.isnan(mean_of_joints({"Head": 90.0}))


def test_every_published_table_renders_and_keeps_tiers_apart() -> None:
    for name in paper_names():
        table = paper_table(name)
        assert all(table.sections[0].rows) and render(table, "latex")
    table = paper_table("fami-pt17-val")
    headings = [section.heading for section in table.sections]
    assert headings == sorted(headings, key="PQRU".find) or len(headings) == 4
    labels = [row.label for section in table.sections for row in section.rows]
    assert {"HRNet", "PoseWarper", "DCPose", "FAMI-Pose"} <= set(labels) and "DSTA" not in labels
    assert "DiffusionPose ‡" in [row.label for section in paper_table("pt17-val").sections for row in section.rows]
    with pytest.raises(UsageError, match="did you mean fami-pt17-val"):
        paper_table("fami-pt17-vl")


def test_measured_rows_stand_beside_with_the_difference_and_the_reasons() -> None:
    data = DataUsed("posetrack17", "val", "sha256:" + "cd" * 32, "poseval", 50, 2600, 2600, 9000)
    run = replace(make_run("FAMI-Pose", 80.0, boxes=other_boxes()), dataset=data)
    elsewhere = make_run("FAMI-Pose", 99.0)
    table = paper_table("fami-pt17-val", [run, elsewhere])
    (row,) = table.sections[-1].rows
    assert table.sections[-1].heading == "Measured here" and row.cells["difference"] == pytest.approx(80.0 - 84.8)
    caption = " ".join(table.caption)
    assert "boxes detector_50%.json" in caption and "flip test off" in caption and "tier B" in caption
    assert "weights w" in caption and "labels cdcdcdcd" in caption


def test_rows_with_truth_boxes_are_not_ranked() -> None:
    rows = [row for row in published_rows() if row.table == "pt18-val"]
    assert not any(row.comparable for row in rows if "GT boxes" in row.method or row.title == "Poseidon")
    section = paper_table("pt18-val").sections[0]
    best = [row.label for row in section.rows if row.label.startswith("Poseidon")]
    assert best and all("Mean" in row.unranked for row in section.rows if row.label in best)
    assert PaperRow("PoseTrack18", "val", "A (b)", "", "", {}, 0, 0, "tier=A; x").title == "A"


def test_drift_is_named_by_its_cell() -> None:
    def table(value: float, low: float) -> Table:
        rows = (Row("run", {"ap": Estimate(value, low, 60.0), "n": None}),)
        return Table("t", (Column("ap", "AP"), Column("n", "N")), (Section("s", rows),))

    assert drift([table(50.0, 40.0)], [table(50.0, 40.0)]) == (4, [])
    assert drift([table(50.0, 40.0)], [table(50.5, 40.0)])[1] == ["run, AP is 50.0, recomputed 50.5"]
    assert drift([table(50.0, 40.0)], [table(50.0, 41.0)])[1] == ["run, AP (low) is 40.0, recomputed 41.0"]
    assert len(drift([table(50.0, 40.0)], [])[1]) == 3


def test_the_command_verifies_lists_and_refuses(harness, tmp_path: Path) -> None:
    names = harness("table", "--paper", "list", "--format", "csv")
    assert names.code == 0 and "fami-pt17-val" in names.out
    paper = harness("table", "--paper", "dcpose-pt18-val", "--results", tmp_path)
    assert paper.code == 0 and "80.9" in paper.out and "no run on this benchmark" in paper.out
    assert harness("table", "--cost", "--by-joint", "--results", tmp_path).code == 2
    assert harness("eval", "--method", "mean_pose", "--dataset", "synthtrack-smoke", "--results", tmp_path,
                   "--no-plots").code == 0  # fmt: skip
    sound = harness("table", "--verify", "--results", tmp_path)
    assert sound.code == 0 and "recomputed from the stored predictions" in sound.err
    record = next(tmp_path.glob("*/*/*/record.json"))
    text = record.read_text()
    value = re.search(r'"metric": "ap", "slice": "all", "joint": "total", "value": ([0-9.]+)', text)[1]
    record.write_text(text.replace(value, repr(float(value) + 1), 1))
    drifted = harness("table", "--verify", "--results", tmp_path)
    assert drifted.code == 5 and "Mean is" in drifted.err
