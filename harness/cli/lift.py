"""harness lift: joints in space from joints in the picture, on synthtrack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import format_option, results_option
from harness.cli.output import emit_json, emit_rows, note, progress_bar
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.datasets import DataSet
    from harness.lifting.tracks import Tracks

__all__ = ["command"]

_FOLDER = Path("trained") / "lift-seed0"


def _input_options(split: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What is lifted: --dataset, --split, --run and --results."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in (
            results_option,
            click.option("--run", metavar="RUN",
                         help="See what this run of `harness eval` found in true boxes, not the labelled joints."),
            click.option("--split", default=split, show_default=True, help="train, val or test."),
            click.option("--dataset", default="synthtrack", show_default=True, help="synthtrack or a preset of it."),
        ):  # fmt: skip
            function = option(function)
        return function

    return decorate


@click.group("lift")
def command() -> None:
    """Lift joints to 3D on synthtrack (outside PoseTrack): train, eval."""


@command.command("train")
@_input_options("train")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder; trained/lift-seedN if not given.")
@click.option(
    "--epochs", type=click.IntRange(1), default=60, show_default=True, help="The rate falls as fast as needed."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--resume/--restart", default=True, show_default=True, help="Go on with an unfinished training.")
def train(output: Path | None, epochs: int, seed: int, resume: bool, **asked: Any) -> None:
    """Train the anatomy-aware network, a plain one at equal budget, and the mean pose: a few minutes on one core.

    An interrupted training continues with the same command to the same weights.
    """
    from harness.lifting.training import train_lifting

    data, tracks, seen = _open(**asked)
    about = {"dataset": data.name, "split": data.split, "fingerprint": data.fingerprint, "seen": seen}
    folder = output or _FOLDER.with_name(f"lift-seed{seed}")
    with progress_bar("lift") as report:
        train_lifting(tracks, folder, epochs=epochs, seed=seed, about=about, resume=resume, progress=report)
    click.echo(folder)
    note(f"use it: harness lift eval --weights {folder}")


@command.command("eval")
@_input_options("val")
@click.option("--weights", type=click.Path(path_type=Path), default=_FOLDER, show_default=True,
              help="Folder that `harness lift train` wrote.")  # fmt: skip
@format_option("table", "json", "csv", "markdown", "latex")
def evaluate(weights: Path, results: Path, style: str, **asked: Any) -> None:
    """Judge lifted joints: MPJPE, also after Procrustes (P), errors and constancy of bone lengths.

    \b
    harness lift eval
    harness lift eval --run hrnet

    The document, with 95 % intervals over sequences, goes to RESULTS/lifting/.
    """
    from harness.lifting.evaluation import evaluate_lifting, store_lifting
    from harness.lifting.scores import table_rows

    data, tracks, seen = _open(results=results, **asked)
    document = evaluate_lifting(data, tracks, weights, seen=seen)
    path = store_lifting(document, results)
    if style == "json":
        emit_json(document)
    elif style == "csv":
        emit_rows(document["scores"], style)
    else:
        emit_rows(table_rows(document["scores"]), style)
    counted = document["dataset"]
    note(f"{data.name} {data.split}, joints seen: {seen}; {counted['poses']} poses of {counted['sequences']} sequences")
    note(f"outside PoseTrack, comparable only with itself; record: {path}")


def _open(dataset: str, split: str, run: str | None, results: Path) -> tuple[DataSet, Tracks, str]:
    """The split, its tracks, and whose joints they hold."""
    from harness.datasets import open_dataset
    from harness.lifting.inputs import open_tracks
    from harness.results import Results

    if not dataset.startswith("synthtrack"):
        raise UsageError(f"{dataset} has no joints in space to learn from or to be judged by; take synthtrack")
    stored = Results(results).one(run) if run is not None else None
    with progress_bar(dataset) as report:
        data = open_dataset(dataset, split, progress=report)
    return data, open_tracks(data, stored), stored.id if stored is not None else "labels"
