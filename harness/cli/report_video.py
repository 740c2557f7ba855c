"""harness report video and sheet: runs drawn over the frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click

from harness.cli.numbers import Number
from harness.cli.options import data_root_option, results_option
from harness.cli.output import note
from harness.errors import UsageError
from harness.results import Results, StoredRun

__all__ = ["sheet", "video"]


@click.command("video")
@click.argument("runs", nargs=-1, required=True)
@click.option("--sequence", required=True, help="Its name, or a part of it that no other has.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.mp4"),
              show_default=True, help="The MP4 file to write.")  # fmt: skip
@click.option("--rate", type=Number(0, 240, min_open=True), default=8.0, show_default=True,
              help="Frames per second.")  # fmt: skip
@click.option("--width", type=click.IntRange(64, 3840), default=640, show_default=True, help="Of one panel, px.")
@data_root_option
@results_option
def video(
    runs: tuple[str, ...], sequence: str, output: Path, rate: float, width: int, data_root: Path | None, results: Path
) -> None:
    """Write a sequence as a video: the truth and one or two RUNS side by side.

    Rings mark joints farther than half a head size from their truth. Needs PyAV (pip install av).
    """
    from harness.report.opened import open_runs
    from harness.report.video import write_side_by_side

    if output.suffix.lower() != ".mp4":
        raise UsageError(f"{output}: a video is written as .mp4")
    opened = open_runs(_one_or_two(runs, results), data_root)
    number = opened.sequence_number(sequence)
    count = write_side_by_side(opened, number, output, rate=Fraction(rate).limit_denominator(1000), width=width)
    click.echo(output)
    note(f"{opened.dataset.sequences[number].name}: {count} frames")


@click.command("sheet")
@click.argument("runs", nargs=-1, required=True)
@click.option("--sequence", help="Only failures of this sequence; a part of its name will do.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.png"),
              show_default=True, help="The picture to write: .png, .jpg or .webp.")  # fmt: skip
@click.option("--failures", type=click.IntRange(1, 200), default=8, show_default=True, help="How many to show.")
@click.option("--columns", type=click.IntRange(1, 8), default=2, show_default=True, help="How many beside each other.")
@data_root_option
@results_option
def sheet(
    runs: tuple[str, ...], sequence: str | None, output: Path, failures: int, columns: int, data_root: Path | None,
    results: Path,
) -> None:  # fmt: skip
    """Write a contact sheet: where two RUNS differ most, or where one fails worst, at the worst frame of each."""
    from harness.report.opened import open_runs
    from harness.report.sheets import contact_sheet, failures_of, write_sheet

    opened = open_runs(_one_or_two(runs, results), data_root)
    number = None if sequence is None else opened.sequence_number(sequence)
    found = failures_of(opened, limit=failures, sequence=number)
    write_sheet(output, contact_sheet(opened, found, columns=columns))
    click.echo(output)


def _one_or_two(words: tuple[str, ...], folder: Path) -> list[StoredRun]:
    if len(words) > 2:
        raise UsageError(f"one or two runs can be drawn side by side, {len(words)} were given")
    return [Results(folder).one(word) for word in words]
