"""harness data stats: the people of a data set as tables and plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from harness.cli.numbers import Number
from harness.cli.options import data_root_option, format_option
from harness.cli.output import emit_json, emit_rows, note, progress_bar
from harness.datasets import datasets

if TYPE_CHECKING:
    from harness.datasets import DataSet
    from harness.datasets.statistics import DataStatistics
    from harness.scoring.motion import MotionStatistics

__all__ = ["stats"]

#: What a terminal has room for; JSON, CSV and statistics.json have all.
_IN_TABLE = (
    "joint", "labelled", "occluded", "runs", "median_run", "mean_run", "runs_to_5", "seen_in_1", "seen_in_3",
    "copied_in_3", "median_speed_occluded", "median_speed_visible",
)  # fmt: skip


class _Size(click.ParamType):  # type: ignore[type-arg]
    """Width x height, as in 288x384."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(width, height) px."""
        width, _, height = str(value).partition("x")
        if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
            self.fail(f"'{value}' is no size; expected WIDTHxHEIGHT as in 288x384", param, ctx)
        return int(width), int(height)


@click.command("stats")
@click.argument("what", required=False, metavar="[ROOT-OR-NAME]")
@click.option(
    "--dataset", help="What a folder ROOT is, recognised from its files if not given; without ROOT, the name."
)
@data_root_option
@click.option("--split", default="val", show_default=True, help="train, val or test.")
@click.option("--motion", is_flag=True, help="Also how far each joint moves, and how long it stays hidden.")
@click.option("--crop", type=_Size(), default="288x384", show_default=True, metavar="WxH",
              help="Crop whose heatmap px motion is measured in; 4 px of it are one.")  # fmt: skip
@click.option("--crop-enlarge", type=Number(0, 100, min_open=True), default=1.25, show_default=True,
              help="Factor on the box before it is cropped.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for statistics.json and the plots.")
@format_option("table", "json", "csv", "markdown", "latex")
def stats(
    what: str | None,
    dataset: str | None,
    data_root: Path | None,
    split: str,
    motion: bool,
    crop: tuple[int, int],
    crop_enlarge: float,
    output: Path | None,
    style: str,
) -> None:
    """Describe the people of a data set: how many, how large, how crowded, how much of them is seen, how they move.

    \b
    harness data stats synthtrack --motion -o plots
    harness data stats /data/posetrack18 --split train
    """
    from harness.datasets.statistics import data_statistics

    what = what or dataset or "synthtrack"
    with progress_bar(what) as report:
        data = _opened(what, dataset, data_root, split, progress=report)
    found, moved = data_statistics(data), None
    if motion:
        from harness.scoring.motion import HeatmapScale, motion_statistics

        moved = motion_statistics(data, scale=HeatmapScale(crop, crop_enlarge), sparse=True)
    plain = found.as_plain() | (
        {"motion": moved.motion_rows(), "occlusion": moved.occlusion_rows()} if moved is not None else {}
    )
    if style == "json":
        emit_json(plain)
    elif style == "csv":
        emit_rows(_long(plain), style)
    else:
        for title, rows in _tables(plain):
            click.echo(f"{title}\n")
            emit_rows([{key.replace("_", " "): _short(value) for key, value in row.items()} for row in rows], style)
            click.echo("")
    if output is not None:
        _draw_statistics(found, moved, plain, output)


def _opened(what: str, name: str | None, root: Path | None, split: str, *, progress: Any) -> DataSet:
    """The split of a registered data set, or of the folder that is named."""
    from harness.datasets import open_dataset

    if what in datasets:
        return open_dataset(what, split, root=root, progress=progress)
    if not Path(what).is_dir():
        datasets[what]  # tells the names there are
    from harness.datasets.check import recognised

    return open_dataset(name or recognised(Path(what)), split, root=Path(what))


def _tables(plain: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Title and rows of every table; joints that never are in two labelled frames are left out of the motion's."""
    counts = [{"count": name.replace("_", " "), "number": number} for name, number in plain["counts"].items()]
    title = f"{plain['data_set']} {plain['split']}, labels {plain['fingerprint'][:15]}"
    tables = [(title, counts), ("Per quantity", plain["quantities"]), ("Shares of people per joint", plain["joints"])]
    moving = [row for row in plain.get("motion", []) if row["pairs"]]
    if moving:
        tables.append(("Motion per frame, in head sizes and heatmap px", moving))
    if plain.get("occlusion"):
        tables.append(("Occlusion in time", [{key: row[key] for key in _IN_TABLE} for row in plain["occlusion"]]))
    return tables


def _long(plain: dict[str, Any]) -> list[dict[str, Any]]:
    """Every number of every table on a row of its own."""
    rows = [{"table": "counts", "of": name, "quantity": "number", "value": value}
            for name, value in plain["counts"].items()]  # fmt: skip
    for table, key in (("quantities", "quantity"), ("joints", "joint"), ("motion", "joint"), ("occlusion", "joint")):
        for row in plain.get(table, []):
            owner = row[key] + (f", gap {row['gap']}" if "gap" in row else "")
            rows += [
                {"table": table, "of": owner, "quantity": name, "value": value}
                for name, value in row.items() if not isinstance(value, str)
            ]  # fmt: skip
    return rows


def _short(value: Any) -> Any:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else value


def _draw_statistics(found: DataStatistics, moved: MotionStatistics | None, plain: Any, folder: Path) -> None:
    from harness.files import write_atomically
    from harness.report.data_plots import distributions, joint_motion, joint_visibility
    from harness.report.style import save

    figures = {"distributions": distributions(found), "joints": joint_visibility(found)}
    if moved is not None:
        figures["motion"] = joint_motion(moved, found)
    for name, figure in figures.items():
        note(f"plot: {save(figure, folder / name)[1]}")
    write_atomically(folder / "statistics.json", orjson.dumps(plain, option=orjson.OPT_INDENT_2))
