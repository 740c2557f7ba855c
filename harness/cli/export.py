"""harness export: the predictions of a run as a PoseTrack submission."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import results_option
from harness.errors import DataError
from harness.results import Results

__all__ = ["command"]


@click.command("export")
@click.argument("run")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the JSON files.")
@click.option("--layout", type=click.Choice(["posetrack17", "posetrack18", "posetrack21"]), default="posetrack18",
              show_default=True, help="Layout of the files.")  # fmt: skip
@click.option("--data-root", type=click.Path(path_type=Path),
              help="Folder of the data set, whose frames the files list; not needed for synthtrack.")  # fmt: skip
@results_option
def command(run: str, output: Path, layout: str, data_root: Path | None, results: Path) -> None:
    """Write the predictions of a stored run as a PoseTrack submission: every frame, scores, unique track ids."""
    from harness.predictions import export_json, read_parquet
    from harness.reopen import reopen, same_sequences

    stored = Results(results).one(run)
    path = stored.predictions_path
    dataset = reopen(stored.record, data_root)
    if path is None or dataset is None:
        missing = "stored predictions" if path is None else f"data set {stored.record.dataset.name}: give --data-root"
        raise DataError(f"{stored.folder}: cannot be exported without its {missing}")
    predictions = read_parquet(path)
    export_json(predictions, same_sequences(dataset, predictions, path).sequences, output, layout=layout)
    click.echo(output)
