"""harness score: prediction files against label files, as the official evaluators do."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import format_option
from harness.cli.output import emit_json, emit_rows, note
from harness.predictions import Pairing

__all__ = ["command"]


@click.command("score")
@click.option("--truth", type=click.Path(path_type=Path), required=True,
              help="Folder of label files, one per sequence, in either PoseTrack layout.")  # fmt: skip
@click.option("--predictions", type=click.Path(path_type=Path), required=True,
              help="Folder of prediction files with the same names, in either layout.")  # fmt: skip
@click.option("--protocol", default="poseval", show_default=True, help="Whose numbers.")
@click.option("--compat", type=click.Choice(["official", "fixed"]), default="official", show_default=True,
              help="Reproduce known faults of the official programs, or mend them.")  # fmt: skip
@click.option("--pairing", type=click.Choice(["position", "id"]), default="position", show_default=True,
              help="Pair frames by their place in the file, as poseval does, or by image id.")  # fmt: skip
@format_option("table", "json", "csv", "markdown", "latex")
def command(truth: Path, predictions: Path, protocol: str, compat: str, pairing: Pairing, style: str) -> None:
    """Score prediction files against label files.

    Values are percent. JSON has `ap`, `precision`, `recall` by joint and `groups`; NaN is null.
    """
    from harness.datasets.label_files import read_folder
    from harness.predictions import import_json
    from harness.scoring import poseval_json, score

    sequences = read_folder(truth)
    scores = score(sequences, import_json(predictions, sequences, pairing=pairing), protocol=protocol, compat=compat)
    for warning in scores.warnings:
        note(f"note: {warning}")
    if style == "json":
        emit_json(poseval_json(scores))
    elif style == "csv":
        emit_rows(scores.rows, style)
    else:
        groups = scores.groups()
        emit_rows([{name: f"{value:.1f}" for name, value in groups.items()}], style)
        facts = scores.facts
        note(f"{facts['sequences']} sequences, {facts['frames']} evaluated frames, {facts['people']} people")
