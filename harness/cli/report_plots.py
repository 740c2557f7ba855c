"""harness report plots and curves: figures of stored runs and of trainings."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import data_root_option, results_option
from harness.cli.table import chosen_runs

__all__ = ["curves", "plots"]


@click.command("plots")
@click.argument("runs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("plots"), show_default=True,
              help="Folder for the SVG and PNG files.")  # fmt: skip
@click.option("--metric", default="ap", show_default=True, help="Which metric of the records to draw.")
@click.option("--predictions", is_flag=True, help="Also what needs the stored predictions and the labels: "
                                                  "precision-recall, errors, speed, sequences.")  # fmt: skip
@data_root_option
@results_option
def plots(
    runs: tuple[str, ...], output: Path, metric: str, predictions: bool, data_root: Path | None, results: Path
) -> None:
    """Draw stored runs (all by default): per joint, by slice, against speed and size.

    Runs that cannot be compared (other data, boxes or protocol) get a folder each. Differences by sequence are of
    every run against the first.
    """
    from harness.report.comparable import by_ground, ground_of
    from harness.report.drawing import draw_matched, draw_records
    from harness.report.opened import open_runs

    stored = chosen_runs(runs, results)
    grounds = by_ground([run.record for run in stored])
    for number, (ground, records) in enumerate(grounds.items(), start=1):
        folder = output if len(grounds) == 1 else output / f"{number}-{ground.dataset}-{ground.split}"
        paths = draw_records(records, folder, metric=metric)
        if predictions:
            own = [run for run in stored if ground_of(run.record) == ground]
            paths += draw_matched(open_runs(own, data_root), folder)
        for path in paths:
            click.echo(path)


@click.command("curves")
@click.argument("trainings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("curves"), show_default=True,
              help="Name of the SVG and PNG files.")  # fmt: skip
@click.option("--against", type=click.Choice(["step", "seconds"]), default="step", show_default=True,
              help="What the curves run along.")  # fmt: skip
def curves(trainings: tuple[Path, ...], output: Path, against: str) -> None:
    """Draw loss and held-out accuracy of TRAININGS, folders that `harness train` wrote (unfinished ones too)."""
    from harness.report.style import save
    from harness.report.training_plots import read_log, training_curves

    names = [path.name if path.is_dir() else path.parent.name for path in trainings]
    if len(set(names)) < len(names):
        names = [str(path) for path in trainings]
    logs = {name: read_log(path) for name, path in zip(names, trainings, strict=True)}
    click.echo(save(training_curves(logs, against=against), output.with_suffix(""))[1])
