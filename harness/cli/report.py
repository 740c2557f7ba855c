"""harness report: plots of stored runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option
from harness.cli.table import chosen_runs

__all__ = ["command"]


@click.group("report")
def command() -> None:
    """Render plots from records."""


@command.command("plots")
@click.argument("runs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("plots"), show_default=True,
              help="Folder for the SVG and PNG files.")  # fmt: skip
@click.option("--metric", default="ap", show_default=True, help="Which metric of the records to draw.")
@results_option
def plots(runs: tuple[str, ...], output: Path, metric: str, results: Path) -> None:
    """Draw per-joint bars and AP against speed for stored runs (all by default)."""
    from harness.report import ap_against_speed, per_joint_bars, save

    records = [run.record for run in chosen_runs(runs, results)]
    for name, draw in (("per_joint", per_joint_bars), ("ap_against_speed", ap_against_speed)):
        for path in save(draw(records, metric=metric), output / name):
            click.echo(path)
