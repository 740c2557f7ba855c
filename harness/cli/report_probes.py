"""harness report probes: plots and a page of findings from probed runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option
from harness.errors import UsageError

__all__ = ["probes"]


@click.command("probes")
@click.argument("runs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("probes"), show_default=True,
              help="Folder for the page (findings.md) and its figures.")  # fmt: skip
@results_option
def probes(runs: tuple[str, ...], output: Path, results: Path) -> None:
    """Draw what probes found and write a page of findings, for stored probed runs (all by default).

    Runs on different data get a folder each.
    """
    from harness.cli.table import chosen_runs
    from harness.report.probe_study import by_data, render_probes

    grounds = by_data(chosen_runs(runs, results, probed=True))
    if not grounds:
        raise UsageError(f"{results} holds no probed runs; `harness probe` makes them")
    for (dataset, split, _), found in grounds.items():
        folder = output if len(grounds) == 1 else output / f"{dataset}-{split}"
        for path in render_probes(found, folder):
            click.echo(path)
