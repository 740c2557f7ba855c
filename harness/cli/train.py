"""harness train: from a train split to weights and the record of how they were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import data_root_option
from harness.cli.output import note, training_bar

if TYPE_CHECKING:
    from harness.datasets import DataSet
    from harness.methods import MethodCard

__all__ = ["command"]


@click.command("train")
@click.option("--method", required=True, help="A name of `harness methods list`.")
@click.option("--preset", help="Size of the method; the card's default if not given.")
@click.option("--dataset", default="synthtrack", show_default=True,
              help="A name of `harness data list`.")  # fmt: skip
@data_root_option
@click.option("--split", default="train", show_default=True, help="Split to learn from; some of it is held out.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder; trained/METHOD-PRESET-seedN if not given."
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Budget in minutes (default 10).")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Budget in epochs instead.")
@click.option("--steps", type=click.IntRange(1), help="Budget in steps instead.")
@click.option("--recipe", metavar="NAME|FILE.toml",
              help="How to train: a recipe's name or a file; the preset's own (`harness methods show M`) if not given. "
                   "The options below change single entries of it.")  # fmt: skip
@click.option("--loss", help="A registered loss.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Peak learning rate.")
@click.option("--batch-size", type=click.IntRange(1), help="Clips per step.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--start", type=click.Path(path_type=Path),
              help="Weights (safetensors) to start from, of the method or of a part such as its backbone.")  # fmt: skip
@click.option("--freeze", multiple=True, metavar="PREFIX",
              help="Parameters to leave as they are, e.g. 'backbone.'; may be given more than once.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--resume/--restart", default=True, show_default=True, help="Go on with an unfinished training.")
def command(method: str, dataset: str, data_root: Path | None, split: str, output: Path | None, **asked: Any) -> None:
    """Train a method and write its weights, curves and training record.

    An interrupted training continues with the same command, to the same curve. `harness eval --weights FILE` uses
    the result. Methods without gradients, such as mean_pose, are fitted.
    """
    from harness.datasets import open_dataset
    from harness.methods import methods

    card = methods[method]
    preset, _ = card.preset(asked.pop("preset"))
    data = open_dataset(dataset, split, root=data_root)
    folder = output or Path("trained") / f"{method}-{preset}-seed{asked['seed']}"
    weights = _fit(card, data, folder) if card.fit else _train(card, preset, data, folder, **asked)
    click.echo(weights)
    note(f"use it: harness eval --method {method} --preset {preset} --weights {weights}")


def _fit(card: MethodCard, data: DataSet, folder: Path) -> Path:
    from harness.weights import fit_weights

    path = folder / f"{card.name}.safetensors"
    fit_weights(card, data, out=path)
    return path


def _train(
    card: MethodCard, preset: str, data: DataSet, folder: Path, *, minutes: float | None, epochs: float | None,
    steps: int | None, recipe: str | None, loss: str | None,
    learning_rate: float | None, batch_size: int | None, freeze: tuple[str, ...],
    **options: Any,
) -> Path:  # fmt: skip
    from harness.training import open_recipe, train

    choices: dict[str, Any] = {
        "loss": loss,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "frozen": freeze or None,
    }
    followed = open_recipe(recipe or card.recipe(preset))
    followed = replace(followed, **{key: value for key, value in choices.items() if value is not None})
    seconds = 60 * minutes if minutes is not None else 600.0 if epochs is None and steps is None else None
    with training_bar(f"{card.name} ({preset})") as tell:
        done = train(
            card, preset, data, out=folder, recipe=followed, seconds=seconds, epochs=epochs, steps=steps,
            progress=tell, **options,
        )  # fmt: skip
    note(f"held-out PCKh@0.5: {100 * done.held_out_pckh:.1f} %; record: {folder / 'record.json'}")
    return done.weights
