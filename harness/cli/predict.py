"""harness predict: poses without scores, for a split or for labels that are not public."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import data_options, run_options
from harness.cli.output import note, progress_bar

__all__ = ["command"]


@click.command("predict")
@click.option("--method", required=True, help="A name of `harness methods list`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="Folder for predictions.parquet and the JSON files.")  # fmt: skip
@click.option("--layout", type=click.Choice(["posetrack17", "posetrack18", "posetrack21"]), default="posetrack18",
              show_default=True, help="Layout of the JSON files.")  # fmt: skip
@data_options
@run_options
def command(method: str, output: Path, layout: str, overwrite: bool, **asked: Any) -> None:
    """Run a method and write its predictions, without scoring.

    An interrupted run continues when the same command is given again.
    """
    import shutil

    from harness.evaluate import prepare, run_method
    from harness.predictions import export_json, write_parquet
    from harness.request import Request

    request = Request(method=method, **asked)
    with progress_bar(method) as report:
        ready, opened = prepare(request, progress=report)
    unfinished = output / "unfinished"
    if overwrite:
        shutil.rmtree(unfinished, ignore_errors=True)
    with progress_bar(method) as report:
        predictions, _ = run_method(request, ready, opened, shards=unfinished, progress=report)
    write_parquet(predictions, output / "predictions.parquet")
    export_json(predictions, opened.dataset.sequences, output / layout, layout=layout)
    shutil.rmtree(unfinished, ignore_errors=True)
    note(f"{len(predictions)} people in {len(opened.dataset)} sequences")
    click.echo(output / "predictions.parquet")
    click.echo(output / layout)
