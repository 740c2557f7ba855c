"""harness train: from a train split to weights and the record of how they were made."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.numbers import Number
from harness.cli.options import data_root_option
from harness.cli.output import emit_rows, note, training_bar
from harness.errors import DataError, UsageError

if TYPE_CHECKING:
    from harness.boxes import Boxes
    from harness.datasets import DataSet
    from harness.methods import MethodCard
    from harness.training import Recipe

__all__ = ["command"]

_OF_TARGET = ("target", "target_root", "target_split", "target_boxes", "target_min_box_score")


def _list_recipes(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print every recipe and what it says of itself."""
    if wanted:
        from harness.training import about_recipe, recipes

        emit_rows([{"recipe": name, "what it is": about_recipe(name)} for name in recipes], "table")
        context.exit()


@click.command("train")
@click.option("--method", required=True, help="A name of `harness methods list`.")
@click.option("--preset", help="Size of the method; the card's default if not given.")
@click.option("--dataset", default="synthtrack", show_default=True,
              help="A name of `harness data list`.")  # fmt: skip
@data_root_option
@click.option("--target", help="For a recipe with adaptation: a data set of another look, of which no joint is read; "
                               "--dataset if only --target-root is given.")  # fmt: skip
@click.option("--target-root", type=click.Path(path_type=Path), help="Folder of the target.")
@click.option("--target-split", help="Split of the target, with labels or without; --split if not given.")
@click.option("--target-boxes", type=click.Path(path_type=Path),
              help="Where the target's people are: a detector's JSON file as --boxes of eval takes; "
                   "the boxes of the target's labels if not given.")  # fmt: skip
@click.option("--target-min-box-score", type=Number(),
              help="Boxes of --target-boxes scored lower are left out; 0.2 if not given.")  # fmt: skip
@click.option("--split", default="train", show_default=True, help="Split to learn from; some of it is held out.")
@click.option("--live", is_flag=True,
              help="Draw the embedded data set anew for this --seed, and leave none of it on the disk.")  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder; trained/METHOD-PRESET-seedN if not given."
)
@click.option("--recipe", metavar="NAME|FILE.toml",
              help="How to train: a name of --list-recipes or a file; the preset's own if not given. "
                   "The options below change single entries of it.")  # fmt: skip
@click.option("--list-recipes", is_flag=True, is_eager=True, expose_value=False, callback=_list_recipes,
              help="List the recipes (tiny, hrnet, dcpose-pt17, fami ...) and exit.")  # fmt: skip
@click.option("--minutes", type=Number(min=0, min_open=True),
              help="Budget in minutes (10, where the recipe has no epochs).")  # fmt: skip
@click.option("--epochs", type=Number(min=0, min_open=True), help="Budget in epochs instead.")
@click.option("--steps", type=click.IntRange(1), help="Budget in steps instead.")
@click.option("--loss", help="A registered loss.")
@click.option("--codec", help="Teach the network to be read by this codec of the same form, as dsnt for maps "
                              "(with --loss dsnt_js); give it to eval, too.")  # fmt: skip
@click.option("--learning-rate", type=Number(min=0, min_open=True), help="Peak learning rate.")
@click.option("--batch-size", type=click.IntRange(1), help="Clips per step, over all processes.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="What forward and backward compute in.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--start", metavar="FILE|NAME",
              help="Weights to start from, of the method or of a part such as its backbone: a file, or a name of "
                   "`harness weights list`.")  # fmt: skip
@click.option("--freeze", multiple=True, metavar="PREFIX",
              help="Parameters to leave as they are, e.g. 'backbone.'; may be given more than once.")  # fmt: skip
@click.option("--moving-norms/--still-norms", default=None,
              help="Whether batch norms of frozen parts go on learning, as in some releases.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--resume/--restart", default=True, show_default=True, help="Go on with an unfinished training.")
def command(
    method: str, dataset: str, data_root: Path | None, split: str, live: bool, output: Path | None, **asked: Any
) -> None:  # fmt: skip
    """Train a method and write its weights, curves and training record.

    An interrupted training continues with the same command, to the same curve; `torchrun --nproc-per-node N -m harness
    train ...` shares its batches among N processes. `harness eval --weights FILE` uses the result. Methods without
    gradients, such as mean_pose, are fitted.
    """
    from harness.datasets import open_dataset
    from harness.methods import methods

    card = methods[method]
    preset, _ = card.preset(asked.pop("preset"))
    target = {name: asked.pop(name) for name in _OF_TARGET}
    _check_target(target)
    if card.fit and (target["target"] or target["target_root"] or asked["codec"]):
        raise UsageError(f"method '{method}' is fitted to labels: leave out --target, --target-root and --codec")
    recipe = None if card.fit else _recipe(card, preset, asked)  # wrong names first, data later
    with ExitStack() as stack:
        root = _drawn(stack, dataset, split, data_root, asked["seed"]) if live else data_root
        data = open_dataset(dataset, split, root=root)
        another, boxes = _target(target, dataset, split)
        folder = output or Path("trained") / f"{method}-{preset}-seed{asked['seed']}"
        if recipe is None:
            weights: Path | None = _fit(card, data, folder)
        else:
            weights = _train(card, preset, data, folder, recipe, target=another, target_boxes=boxes, **asked)
    if weights is not None:
        click.echo(weights)
        reading = f" --codec {asked['codec']}" if asked["codec"] else ""
        note(f"use it: harness eval --method {method} --preset {preset} --weights {weights}{reading}")


def _recipe(card: MethodCard, preset: str, asked: dict[str, Any]) -> Recipe:
    """The recipe asked for, or the preset's own, with what single options change (and are taken from `asked` for)."""
    from harness.training import open_recipe

    changes = {name: asked.pop(name) for name in ("loss", "learning_rate", "batch_size", "precision", "moving_norms")}
    changes["frozen"] = asked.pop("freeze") or None
    followed = open_recipe(asked.pop("recipe") or card.recipe(preset))
    return replace(followed, **{key: value for key, value in changes.items() if value is not None})


def _check_target(given: dict[str, Any]) -> None:
    """Raise UsageError for options about a target that is not there, or about boxes that are not."""
    if not given["target"] and not given["target_root"]:
        for name in ("target_split", "target_boxes", "target_min_box_score"):
            if given[name] is not None:
                option = f"--{name}".replace("_", "-")
                raise UsageError(f"{option} is about a target: name it with --target or --target-root, or leave it out")
    if given["target_min_box_score"] is not None and given["target_boxes"] is None:
        raise UsageError("--target-min-box-score is about --target-boxes FILE: give both, or leave it out")


def _target(given: dict[str, Any], dataset: str, split: str) -> tuple[DataSet | None, Boxes | None]:
    """The data set of another look and the boxes of a detector's file for it; nothing where none is named."""
    from harness.boxes import boxes_from_file
    from harness.datasets import open_dataset

    if not given["target"] and not given["target_root"]:
        return None, None
    try:
        data = open_dataset(given["target"] or dataset, given["target_split"] or split, root=given["target_root"])
    except DataError as problem:
        raise DataError(str(problem).replace("--data-root", "--target-root")) from None
    if given["target_boxes"] is None:
        return data, None
    least = {} if given["target_min_box_score"] is None else {"minimum_score": given["target_min_box_score"]}
    return data, boxes_from_file(given["target_boxes"], data, unlabelled=True, **least)


def _drawn(stack: ExitStack, dataset: str, split: str, data_root: Path | None, seed: int) -> Path:
    """A folder of the embedded data set that goes with the stack, drawn by a seed that no split on the disk has."""
    from harness.datasets.synthtrack import make

    family, _, preset = dataset.partition("-")
    if family != "synthtrack" or data_root is not None:
        raise UsageError("--live draws the embedded data set: take --dataset synthtrack[-PRESET] and no --data-root")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="synthtrack-")))
    # a job that is cancelled or runs out of time is told by this signal, and would leave the folder
    stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _ended))
    note(f"drawing {dataset} {split} for seed {seed}")
    return make(preset or "standard", split, folder / "drawn", seed=1000 + seed)


def _ended(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _fit(card: MethodCard, data: DataSet, folder: Path) -> Path:
    from harness.weights import fit_weights

    path = folder / f"{card.name}.safetensors"
    fit_weights(card, data, out=path)
    return path


def _train(
    card: MethodCard, preset: str, data: DataSet, folder: Path, recipe: Recipe, *, minutes: float | None,
    epochs: float | None, steps: int | None, **options: Any,
) -> Path | None:  # fmt: skip
    """Train and draw the curves; nothing comes of the processes beside the first."""
    from harness.training import train

    if recipe.frozen and options.get("start") is None:
        note(
            f"note: {', '.join(recipe.frozen)} of {card.name} stays at random values, since the recipe freezes it; "
            "start from trained ones with --start (`harness weights list` has some)"
        )
    given = (minutes, epochs, steps) != (None, None, None)
    seconds = 60 * minutes if minutes is not None else None if given or recipe.epochs is not None else 600.0
    with training_bar(f"{card.name} ({preset})") as tell:
        done = train(
            card, preset, data, out=folder, recipe=recipe, seconds=seconds, epochs=epochs, steps=steps,
            progress=_drawing(tell, folder, f"{card.title} ({preset})"), **options,
        )  # fmt: skip
    if not done.record:
        return None
    ap = "" if done.held_out_ap is None else f", AP {100 * done.held_out_ap:.1f}"
    note(f"held-out PCKh@0.5: {100 * done.held_out_pckh:.1f} %{ap}; {folder / 'record.json'}, {folder / 'curves.png'}")
    return done.weights


def _drawing(tell: Callable[[Any], None], folder: Path, title: str) -> Callable[[Any], None]:
    """`tell`, and after every evaluation a new drawing of the curves."""

    def report(state: Any) -> None:
        tell(state)
        if state.held_out_pckh is not None:
            from harness.report.training_curves import draw_training_curves

            draw_training_curves(folder / "log.csv", folder / "curves.png", title=title)

    return report
