"""harness report: plots of stored runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.eval import draw
from harness.cli.options import results_option
from harness.cli.report_page import html
from harness.cli.report_probes import probes
from harness.cli.report_study import study
from harness.cli.report_video import sheet, video
from harness.cli.table import chosen_runs

__all__ = ["command"]


@click.group("report")
def command() -> None:
    """Render plots, a page, videos and contact sheets from records."""


@command.command("plots")
@click.argument("runs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("plots"), show_default=True,
              help="Folder for the SVG and PNG files.")  # fmt: skip
@click.option("--metric", default="ap", show_default=True, help="Which metric of the records to draw.")
@results_option
def plots(runs: tuple[str, ...], output: Path, metric: str, results: Path) -> None:
    """Draw per-joint bars and AP against speed for stored runs (all by default).

    Runs that cannot be compared (other data, boxes or protocol) get a folder each.
    """
    from harness.report.comparable import by_ground

    grounds = by_ground([run.record for run in chosen_runs(runs, results)])
    for number, (ground, records) in enumerate(grounds.items(), start=1):
        folder = output if len(grounds) == 1 else output / f"{number}-{ground.dataset}-{ground.split}"
        for path in draw(records, folder, metric=metric):
            click.echo(path)


command.add_command(probes)


command.add_command(study)


command.add_command(html)
command.add_command(video)
command.add_command(sheet)
