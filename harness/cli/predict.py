"""harness predict: poses without scores, for a split or for labels that are not public."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import data_options, overwrite_option, run_options
from harness.cli.output import note, progress_bar
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.predictions import Predictions
    from harness.video import Video

__all__ = ["command"]


@click.command("predict")
@click.option("--method", required=True, help="A name of `harness methods list`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="Folder for predictions.parquet and the JSON files.")  # fmt: skip
@click.option("--layout", type=click.Choice(["posetrack17", "posetrack18", "posetrack21"]), default="posetrack18",
              show_default=True, help="Layout of the JSON files.")  # fmt: skip
@click.option("--video", type=click.Path(path_type=Path),
              help="A video of your own, not a data set; needs --boxes FILE and PyAV (the extra `video`).")  # fmt: skip
@click.option("--overlay/--no-overlay", default=True, show_default=True,
              help="For a video: also write it with the poses drawn in.")  # fmt: skip
@data_options
@run_options
@overwrite_option("always: run everything again; never: not where predictions.parquet is; missing: keep what an "
                  "interrupted run finished, and write over a finished one.")  # fmt: skip
def command(method: str, output: Path, layout: str, overlay: bool, overwrite: str, **asked: Any) -> None:
    """Run a method and write its predictions, without scoring.

    \b
    harness predict --method hrnet --dataset posetrack18 --data-root DIR --split test --boxes detections.json -o OUT
    harness predict --method hrnet --video clip.mp4 --boxes boxes.json --track oks -o OUT
    torchrun --nproc-per-node 8 -m harness predict --method hrnet --split test ... -o OUT

    The box file of a video is a JSON list of {"frame_id": 0, "bbox": [x, y, width, height] in px, "score": 0.98,
    "category_id": 1}, optionally with "track_id", from any detector; frames are counted from 0 as they are shown.

    An interrupted run continues when the same command is given again.
    """
    if overwrite == "never" and (output / "predictions.parquet").exists():
        raise UsageError(f"{output / 'predictions.parquet'} is there already; another -o, or --overwrite always")
    from harness.inference import join_ranks
    from harness.request import Request
    from harness.running import predict_into

    ranks = join_ranks()
    with progress_bar(method) as report:
        answer = predict_into(
            Request(method=method, **asked), output, layout=layout, emptied=overwrite == "always", progress=report,
            ranks=ranks,
        )  # fmt: skip
    if answer is None:
        return
    predictions, opened = answer
    note(f"{len(predictions)} people in {len(opened.dataset)} sequences")
    click.echo(output / "predictions.parquet")
    click.echo(output / layout)
    if opened.video is not None and overlay:
        click.echo(_overlay(predictions, opened.video, output / "overlay.mp4"))


def _overlay(predictions: Predictions, video: Video, path: Path) -> Path:
    from harness.report.overlays import overlay
    from harness.video import decoded, write_video

    write_video(path, overlay(decoded(video.path), predictions), rate=video.rate)
    return path
