"""A training from start to end: a card, a preset and a data set in; weights, curves and a training record out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from harness.boxes import Boxes
from harness.datasets.sequences import DataSet
from harness.errors import HarnessError, UsageError
from harness.inference.loaded import choose_device
from harness.methods import MethodCard, WholeFramePreset
from harness.training.adapting import adapting
from harness.training.checkpoint import restore
from harness.training.frame_trainer import FrameTrainer
from harness.training.keeper import Keeper, Scored, Trained
from harness.training.recipe import Recipe
from harness.training.recipes import open_recipe
from harness.training.start import start_from
from harness.training.target import boxes_alone
from harness.training.team import join_team
from harness.training.trainer import Trainer
from harness.weights import find_weights

__all__ = ["Report", "train"]


@dataclass(frozen=True)
class Report:
    """Where a training stands, after every log interval; PCKh and AP are 0..1, None where not measured now."""

    step: int
    steps: int
    loss: float
    clips_per_second: float
    seconds_left: float
    held_out_pckh: float | None = None
    held_out_ap: float | None = None


def train(
    card: MethodCard,
    preset: str | None,
    dataset: DataSet,
    *,
    out: Path,
    seconds: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    start: str | Path | None = None,
    start_prefix: str | None = None,
    resume: bool = True,
    device: str = "cpu",
    threads: int | None = None,
    log_every: int = 25,
    evaluations: int = 10,
    checkpoint_seconds: float = 60.0,
    progress: Callable[[Report], None] | None = None,
    target: DataSet | None = None,
    target_boxes: Boxes | None = None,
    codec: str | None = None,
) -> Trained:
    """Train a preset of a method on a split; give one budget of `seconds`, `epochs` or `steps`, or a recipe has one.

    Seconds are turned into steps by timing some before the start, so that the schedule is known and a resumed run
    follows the same one. `start`, a file or a name of the manifest, fills the parameters under `start_prefix` (None:
    where they fit). In `out` lie last.safetensors, best.safetensors (by held-out PCKh), record.json, log.csv and
    checkpoint.pt; with `resume` an unfinished training there goes on, to the same curve. Under torchrun the processes
    share every batch, and the first evaluates and writes. A recipe with `adaptation` takes the people of `target`
    beside, and no label of theirs; `target_boxes` say where they are, or else the boxes of the target's labels. Raises
    UsageError, DataError or WeightsError. `codec` is what the network learns to be read by, where not the preset's.
    """
    recipe = recipe or open_recipe(card.recipe(card.preset(preset)[0]))
    if (seconds, epochs, steps) == (None, None, None):
        epochs = recipe.epochs
    if sum(budget is not None for budget in (seconds, epochs, steps)) != 1:
        raise UsageError("give exactly one of seconds, epochs and steps as the budget of a training")
    if start is not None:
        start, _ = find_weights(str(start))  # what is not there is told before anything is read
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    team = join_team(chosen, recipe.batch_size)
    if (recipe.adaptation is None) != (target is None):
        raise UsageError("a recipe with adaptation and a target (--target-root) belong together; give both or neither")
    if target_boxes is not None and target is None:
        raise UsageError("target_boxes are of a target; give both or neither")
    if target is not None:
        boxes_alone(target, target_boxes)  # a target without boxes is told before the source is read
    kind = FrameTrainer if isinstance(card.preset(preset)[1], WholeFramePreset) else Trainer
    trainer = kind.make(card, preset, dataset, recipe, seed, chosen, team, codec)
    if target is not None:
        trainer = adapting(trainer, target, target_boxes)
    if start is not None:
        start_from(trainer.method.module, start, prefix=start_prefix)
    trainer.ready()
    budget = {"seconds": seconds, "epochs": epochs, "steps": steps}
    asked = " ".join(f"{amount:g} {unit}" for unit, amount in budget.items() if amount is not None)
    identity, checkpoint = trainer.identity(dataset, start) | {"budget": asked}, out / "checkpoint.pt"
    out.mkdir(parents=True, exist_ok=True)
    if resume and team.told(float(checkpoint.is_file())):
        trainer.progress = restore(checkpoint, trainer.parts, identity)
    else:
        trainer.progress.steps = steps or _steps(trainer, seconds, epochs)
    keep = Keeper(trainer, out, identity, checkpoint_seconds)
    _run(trainer, keep, log_every=log_every, evaluations=evaluations, tell=progress)
    done = keep.finish()
    team.told(0.0)  # the others leave when everything is written
    return done


def _run(
    trainer: Trainer, keep: Keeper, *, log_every: int, evaluations: int, tell: Callable[[Report], None] | None
) -> None:
    """Train from where `progress` stands to its last step."""
    state, first = trainer.progress, trainer.progress.step
    evaluated_at = trainer.looked_at(state.steps, evaluations)
    recent: list[torch.Tensor] = []
    trainer.learn_mode()
    spent_before, began = state.seconds, perf_counter()
    for number, batch in trainer.batches(first, state.steps):
        recent.append(trainer.step(number, batch))
        state.step, state.seconds = number + 1, spent_before + perf_counter() - began
        if state.step % log_every and state.step not in evaluated_at:
            continue
        loss = trainer.said(recent)
        if not np.isfinite(loss):
            raise HarnessError(f"the loss is not a number at step {state.step}; lower the learning rate")
        recent.clear()
        scored = _scored(trainer) if state.step in evaluated_at else Scored()
        keep.note(loss, scored)
        if tell is not None and trainer.team.first:
            rate = (state.step - first) / max(state.seconds - spent_before, 1e-9)
            clips, left = rate * trainer.recipe.batch_size, (state.steps - state.step) / rate
            tell(Report(state.step, state.steps, loss, clips, left, scored.pckh, scored.ap))


def _scored(trainer: Trainer) -> Scored:
    """How good the weights are on the held-out sequences; the first process alone looks."""
    if not trainer.team.first:
        return Scored()
    method = trainer.shipped
    method.module.eval()
    scored = Scored(*trainer.scores(method))
    trainer.learn_mode()
    return scored


def _steps(trainer: Trainer, seconds: float | None, epochs: float | None) -> int:
    """Steps of a budget in seconds (timed on a copy that is thrown away) or in epochs."""
    if epochs is not None:
        return max(round(epochs * len(trainer.learned.samples) / trainer.recipe.batch_size), 1)
    trial, times = trainer.copied(steps=60), [perf_counter()]
    for number, batch in trial.batches(0, 30):
        float(trial.step(number, batch))
        times.append(perf_counter())
    # The median: first steps are slow, and so are those during which the machine did something else.
    per_step = float(np.median(np.diff(times)))
    return int(trainer.team.told(max(round((seconds or 0) / per_step), 1)))
