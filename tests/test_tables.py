"""Tables: grouping by ground, ranking as printed, partial runs, and the five forms of one table."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.records import (
    BoxesUsed,
    Cost,
    DataUsed,
    Environment,
    InferenceUsed,
    MethodUsed,
    Partial,
    RunRecord,
    WeightsUsed,
)  # fmt: skip
from harness.report.comparable import by_ground, labels
from harness.report.formats import FORMATS, render
from harness.report.paper import paper_table
from harness.report.slice_tables import by_joint
from harness.report.tables import Column, Row, Section, Table, cost_table, leaderboard, marks, per_joint
from harness.scoring.scores import Score, joint_rows
from harness.skeletons import GROUPS, POSETRACK15


def make_run(title: str, total: float, *, speed: float | None = 100.0, **changes: object) -> RunRecord:
    """A run whose joints score total - 7 .. total + 7 in POSETRACK15 order."""
    values = [total - 7 + place for place in range(15)] + [total]
    rows: list[Score] = []
    for metric, shift in (("ap", 0.0), ("precision", 1.0), ("recall", 2.0)):
        rows += joint_rows(
            "poseval", metric, "all", [value + shift for value in values],
            n_truth=[*range(10, 25), 255], n_predicted=[*range(20, 35), 405],
        )  # fmt: skip
    record = RunRecord(
        created="2026-01-31T12:00:00Z",
        command="harness eval",
        method=MethodUsed(title.lower().replace(" ", "_"), title, "tiny"),
        weights=WeightsUsed("w", "sha256:" + "ab" * 32),
        dataset=DataUsed("synthtrack", "val", "sha256:" + "cd" * 32, "poseval", 4, 120, 120, 360),
        boxes=BoxesUsed("truth", "sha256:" + "ef" * 32, 360),
        inference=InferenceUsed("heatmap", (96, 128), 1.25, (0,)),
        scores=tuple(rows),
        cost=Cost({}, 360, 120, speed, 440_000),
        environment=Environment("3.11.9", "Linux x86_64", 2, {}, "0123456789abcdef"),
    )
    return replace(record, **changes)


def other_boxes() -> BoxesUsed:
    return BoxesUsed("detector_50%.json", "sha256:" + "99" * 32, 300)


def test_group_values_are_means_by_hand() -> None:
    row = leaderboard([make_run("A", 50.0)]).sections[0].rows[0]
    # POSETRACK15: right_ankle 43, right_knee 44, right_hip 45, left_hip 46, left_knee 47, left_ankle 48,
    # right_wrist 49, right_elbow 50, right_shoulder 51, left_shoulder 52, left_elbow 53, left_wrist 54, head 55..57
    expected = {"Head": 56, "Shoulder": 51.5, "Elbow": 51.5, "Wrist": 51.5, "Hip": 45.5, "Knee": 45.5, "Ankle": 45.5}
    assert {name: row.cells[name] for name in (*GROUPS, "Mean")} == {**expected, "Mean": 50.0}


def test_best_first_and_partial_last_without_a_rank() -> None:
    partial = make_run("Partial", 99.0, partial=Partial("2 of 4 sequences (--limit 2)"))
    table = leaderboard([make_run("Low", 40.0), partial, make_run("High", 60.0)])
    (section,) = table.sections
    assert [row.label for row in section.rows] == ["High (tiny)", "Low (tiny)", "Partial (tiny)"]
    assert marks(section, table.columns[0]) == {0: "best", 1: "second"}
    assert any(
        "Partial (tiny): partial, not comparable (2 of 4 sequences (--limit 2))" in line for line in table.caption
    )


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": other_boxes()},
        {"dataset": DataUsed("synthtrack", "val", "sha256:" + "00" * 32, "poseval", 4, 120, 120, 360)},
        {"dataset": DataUsed("synthtrack", "test", "sha256:" + "cd" * 32, "poseval", 4, 120, 120, 360)},
        {"dataset": DataUsed("synthtrack", "val", "sha256:" + "cd" * 32, "posetrack21", 4, 120, 120, 360)},
        {"request": {"probe": "blur-4"}},
    ],
)
def test_runs_of_another_ground_are_never_ranked_together(change: dict[str, object]) -> None:
    runs = [make_run("A", 50.0), make_run("B", 60.0, **change)]
    assert len(by_ground(runs)) == 2
    table = leaderboard(runs)
    assert [len(section.rows) for section in table.sections] == [1, 1]
    assert all(marks(section, column) == {} for section in table.sections for column in table.columns)
    for form in ("table", "markdown", "latex"):
        assert "2 groups of runs: numbers are comparable within a group only." in render(table, form)


def test_equal_prints_share_a_mark() -> None:
    column = Column("x", "x", "high")
    rows = tuple(Row(str(x), {"x": x}) for x in (50.04, 49.96, 40.0, math.nan, None, 39.0))
    assert marks(Section("", rows), column) == {0: "best", 1: "best", 2: "second"}
    assert marks(Section("", rows), replace(column, better="low")) == {5: "best", 2: "second"}
    assert marks(Section("", rows), replace(column, better="")) == {}
    assert marks(Section("", rows[:2]), column) == {}


def test_speed_is_ranked_on_one_device_only_and_not_for_rules_without_pixels() -> None:
    floor = make_run("Mean pose", 30.0, speed=9000.0, inference=InferenceUsed("none", (1, 1), 1.25, ()))
    runs = [make_run("A", 50.0, speed=50.0), make_run("B", 60.0, speed=20.0), floor]
    table = leaderboard(runs)
    speed = next(column for column in table.columns if column.name == "clips_per_second")
    assert {table.sections[0].rows[place].label: mark for place, mark in marks(table.sections[0], speed).items()} == {
        "A (tiny)": "best",
        "B (tiny)": "second",
    }
    gpu = make_run("C", 55.0, inference=InferenceUsed("heatmap", (96, 128), 1.25, (0,), device="cuda: H100"))
    mixed = leaderboard([*runs, gpu])
    assert marks(mixed.sections[0], speed) == {}
    assert "speeds of different devices are not ranked" in " ".join(mixed.caption)


def test_equal_names_are_told_apart_by_what_differs() -> None:
    plain = make_run("HRNet", 50.0)
    flipped = make_run("HRNet", 51.0, inference=InferenceUsed("heatmap", (96, 128), 1.25, (0,), flip_test=True))
    dark = make_run("HRNet", 52.0, inference=InferenceUsed("dark", (96, 128), 1.25, (0,)))
    assert labels([plain, flipped]) == ["HRNet (tiny)", "HRNet (tiny), flip test"]
    assert labels([plain, dark, make_run("A", 1.0)]) == [
        "HRNet (tiny), codec heatmap",
        "HRNet (tiny), codec dark",
        "A (tiny)",
    ]
    twice = labels([plain, replace(plain, created="2027-01-01T00:00:00Z")])
    assert twice == [f"HRNet (tiny) #{plain.id[-8:]} [1]", f"HRNet (tiny) #{plain.id[-8:]} [2]"]


def test_csv_and_json_hold_the_values_of_the_records() -> None:
    runs = [make_run("A", 100 / 3), make_run("B", 60.0, boxes=other_boxes())]
    table = leaderboard(runs)
    lines = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert [float(line["Mean"]) for line in lines] == [100 / 3, 60.0]
    assert [line["run"] for line in lines] == [run.id for run in runs]
    assert lines[1]["boxes"] == "detector_50%.json" and lines[0]["fingerprint"] == "sha256:" + "cd" * 32
    assert lines[0]["method"] == "a" and lines[0]["label"] == "A (tiny)"
    document = json.loads(render(table, "json"))
    assert document["sections"][0]["rows"][0]["Mean"] == 100 / 3
    assert document["sections"][0]["rows"][0]["parameters"] == 440_000


def test_undefined_values_are_dashes_and_nulls() -> None:
    scores = tuple(replace(row, value=math.nan) for row in make_run("A", 50.0).scores)
    table = leaderboard([make_run("A", 50.0, scores=scores, speed=None), make_run("B", 50.0)])
    assert [row.label for row in table.sections[0].rows] == ["B (tiny)", "A (tiny)"]
    assert json.loads(render(table, "json"))["sections"][0]["rows"][1]["Mean"] is None
    assert "–" in render(table, "table") and "nan" not in render(table, "markdown").lower()


def test_the_terminal_form_fits_100_columns() -> None:
    runs = [make_run(f"A rather long name of a method {place}", 50.0 + place) for place in range(3)]
    text = render(leaderboard(runs), "table")
    assert max(map(len, text.splitlines())) <= 100
    assert re.search(r"52\.0\*", text) and "* best in its column." in text


def test_markdown_marks_and_escapes() -> None:
    text = render(leaderboard([make_run("A|B <script>", 60.0), make_run("mean_pose", 50.0)]), "markdown")
    assert r"A\|B \<script>" in text and "mean_pose (tiny)" in text
    row = next(line for line in text.splitlines() if "script" in line)
    assert row.count("**") == 16 and len(re.findall(r"(?<!\\)\|", row)) == 12
    assert text.count("<u>50.0</u>") == 1 and "Mean ↑" in text


def test_latex_escapes_and_balances() -> None:
    nasty = r"50% of_$#&{}~^\ <x>"
    text = render(leaderboard([make_run(nasty, 60.0), make_run("B", 50.0, boxes=other_boxes())]), "latex")
    assert r"50\% of\_\$\#\&\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}x\textgreater{}" in text
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {10}
    assert text.count(r"\begin") == text.count(r"\end") and r"\toprule" in text and r"\bottomrule" in text
    assert r"\textbf{60.0}" in render(leaderboard([make_run("A", 60.0), make_run("B", 50.0)]), "latex")


@pytest.mark.skipif(
    not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="neither pdflatex nor tectonic is installed"
)
def test_latex_compiles(tmp_path: Path) -> None:
    runs = [make_run(r"50% of_$#&{}~^\ <x>", 60.0), make_run("B", 50.0, boxes=other_boxes())]
    tables = [leaderboard(runs), cost_table(runs), by_joint(runs[:1]), paper_table("pt21-val")]
    table = "\n".join(render(each, "latex") for each in tables)
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n" + table + "\\end{document}\n"
    )
    program = ["pdflatex", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    done = subprocess.run([*program, "t.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_per_joint_lists_every_joint_with_its_counts() -> None:
    table = per_joint(make_run("A", 50.0))
    rows = {row.label: row.cells for row in table.sections[0].rows}
    assert len(rows) == len(POSETRACK15) + 1
    ankle = rows["right ankle"]
    assert [ankle[name] for name in ("ap", "precision", "recall", "n_truth", "n_predicted")] == [43, 44, 45, 10, 20]
    assert rows["Mean"]["ap"] == 50.0
    assert [column.name for column in table.columns] == ["ap", "precision", "recall", "n_truth", "n_predicted"]
    assert all(marks(table.sections[0], column) == {} for column in table.columns)


def test_bounds_and_warnings_show_where_a_run_has_them() -> None:
    run = make_run("A", 50.0, warnings=("equal scores matter",))
    run = replace(run, scores=tuple(replace(row, low=row.value - 1, high=row.value + 1) for row in run.scores))
    table = per_joint(run)
    assert [column.name for column in table.columns][:3] == ["ap", "low", "high"]
    assert "equal scores matter" in table.caption


def test_errors_name_what_there_is() -> None:
    with pytest.raises(UsageError, match="metric 'mota' on slice 'all'; there are ap"):
        leaderboard([make_run("A", 50.0)], metric="mota")
    with pytest.raises(UsageError, match="unknown table format 'xls'; choose one of table, markdown"):
        render(leaderboard([make_run("A", 50.0)]), "xls")
    with pytest.raises(UsageError, match="holds no AP on slice 'occluded'"):
        per_joint(make_run("A", 50.0), slice="occluded")
    with pytest.raises(UsageError, match="there are none"):
        leaderboard([])


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_form_says_what_the_numbers_stand_on(form: str) -> None:
    text = render(leaderboard([make_run("A", 50.0), make_run("B", 60.0)]), form)
    for fact in ("synthtrack", "val", "cdcdcdcd", "poseval", "truth", "efefefef", "01234567"):
        assert fact in text
    assert text.endswith("\n") and not text.endswith("\n\n")


def test_an_empty_table_renders_in_every_form() -> None:
    for form in FORMATS:
        assert render(Table("Nothing", (Column("x", "x"),), (Section("", ()),)), form).strip() or form == "csv"
