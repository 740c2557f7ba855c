"""harness export: predictions as a PoseTrack submission, and the check of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import data_options, results_option
from harness.cli.output import note
from harness.errors import CheckError, DataError, UsageError

if TYPE_CHECKING:
    from harness.datasets import DataSet
    from harness.predictions import Predictions

__all__ = ["command"]

_SHOWN = 20


@click.command("export")
@click.argument("run", required=False)
@click.option("--predictions", type=click.Path(path_type=Path),
              help="Instead of a stored run: a predictions.parquet, as `harness predict` writes it.")  # fmt: skip
@click.option("--check", "checked", type=click.Path(path_type=Path),
              help="Write nothing: check the submission in this folder, whoever made it.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the JSON files.")
@click.option("--layout", type=click.Choice(["posetrack17", "posetrack18", "posetrack21"]), default="posetrack18",
              show_default=True, help="Layout of the files.")  # fmt: skip
@click.option("--fill-missing", is_flag=True, help="Sequences without predictions are written without people.")
@data_options
@results_option
def command(
    run: str | None,
    predictions: Path | None,
    checked: Path | None,
    output: Path | None,
    layout: str,
    fill_missing: bool,
    dataset: str,
    data_root: Path | None,
    split: str,
    results: Path,
) -> None:
    """Write predictions as a PoseTrack submission and check it: every frame, scores, track ids that are unique.

    \b
    harness export RUN -o DIR
    harness export --predictions FILE --dataset posetrack18 --split test --data-root DIR --fill-missing -o DIR
    harness export --check DIR --dataset posetrack18 --split test --data-root DIR

    A run knows its data set and split. Exit code 5 when a check finds something.
    """
    from harness.datasets import open_dataset
    from harness.predictions import export_json, read_parquet, submittable

    if sum(given is not None for given in (run, predictions, checked)) != 1:
        raise UsageError("give a stored RUN, --predictions FILE or --check DIR: one of them")
    if checked is not None:
        _check(checked, open_dataset(dataset, split, root=data_root))
        click.echo(f"{checked}: fit for submission")
        return
    if output is None:
        raise UsageError("say with -o DIR where the JSON files go")
    if predictions is not None:
        found, data = read_parquet(predictions), open_dataset(dataset, split, root=data_root)
    else:
        found, data = _stored(str(run), results, data_root)
    if not fill_missing:
        data = _only_predicted(data, found)
    export_json(submittable(found, data.sequences, fill_missing=fill_missing), data.sequences, output, layout=layout)
    _check(output, data)
    click.echo(output)


def _stored(run: str, results: Path, root: Path | None) -> tuple[Predictions, DataSet]:
    from harness.predictions import read_parquet
    from harness.reopen import reopen
    from harness.results import Results

    stored = Results(results).one(run)
    path, dataset = stored.stored_predictions(), reopen(stored.record, root)
    if dataset is None:
        missing = f"data set {stored.record.dataset.name}: give --data-root"
        raise DataError(f"{stored.folder}: cannot be exported without its {missing}")
    return read_parquet(path), dataset


def _only_predicted(dataset: DataSet, predictions: Predictions) -> DataSet:
    """The sequences that have predictions; says it where these are not all."""
    named = set(predictions.sequence_names)
    kept = tuple(sequence for sequence in dataset.sequences if sequence.name in named)
    if len(kept) < len(dataset):
        note(f"note: {len(kept)} of {len(dataset)} sequences have predictions; --fill-missing writes the others too")
    return replace(dataset, sequences=kept)


def _check(folder: Path, dataset: DataSet) -> None:
    from harness.predictions import check_submission

    faults = check_submission(folder, dataset.sequences)
    for fault in faults[:_SHOWN]:
        click.echo(fault)
    if len(faults) > _SHOWN:
        click.echo(f"... and {len(faults) - _SHOWN} more")
    if faults:
        raise CheckError(f"{folder}: not fit for submission: {len(faults)} fault(s), the first named above")
    frames, videos = dataset.frame_count, len(dataset)
    note(f"{videos} files, {frames} frames: names, ids, tracks, joints and scores are as expected")
