"""The trainer: a card, a preset and a data set in; weights, curves and a training record out."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson
import torch

from harness.codecs import build_codec
from harness.datasets.sequences import DataSet
from harness.errors import HarnessError, UsageError
from harness.inference.ahead import run_ahead
from harness.inference.loaded import Loaded, choose_device
from harness.methods import MethodCard
from harness.training.batches import Batch, Stream
from harness.training.checkpoint import Progress, restore
from harness.training.held_out import held_out_sequences, percent_correct
from harness.training.keeper import Keeper, Trained
from harness.training.losses import check_loss, loss_of
from harness.training.optimiser import make_optimiser, set_training
from harness.training.recipe import Recipe, learning_rate
from harness.training.recipes import open_recipe
from harness.training.samples import Samples, collect
from harness.training.start import start_from

__all__ = ["Report", "Trainer", "train"]


@dataclass(frozen=True)
class Report:
    """Where a training stands, after every log interval; `held_out_pckh` is 0..1, None where not measured now."""

    step: int
    steps: int
    loss: float
    clips_per_second: float
    seconds_left: float
    held_out_pckh: float | None = None


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
    start: Path | None = None,
    start_prefix: str | None = None,
    resume: bool = True,
    device: str = "cpu",
    threads: int | None = None,
    log_every: int = 25,
    evaluations: int = 10,
    checkpoint_seconds: float = 60.0,
    progress: Callable[[Report], None] | None = None,
) -> Trained:
    """Train a preset of a method on a split; give exactly one budget of `seconds`, `epochs` or `steps`.

    Seconds are turned into steps by timing some before the start, so that the schedule is known and a resumed run
    follows the same one. `start` fills the parameters under `start_prefix` (None: where they fit). In `out` lie
    last.safetensors, best.safetensors (by held-out PCKh), record.json, log.csv and checkpoint.pt; with `resume` an
    unfinished training there goes on, to the same curve. Raises UsageError, DataError or WeightsError.
    """
    recipe = recipe or open_recipe(card.recipe(card.preset(preset)[0]))
    if sum(budget is not None for budget in (seconds, epochs, steps)) != 1:
        raise UsageError("give exactly one of seconds, epochs and steps as the budget of a training")
    if threads is not None:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer.make(card, preset, dataset, recipe, seed, choose_device(device))
    if start is not None:
        start_from(trainer.method.module, start, prefix=start_prefix)
    identity = trainer.identity(dataset, start)
    checkpoint = out / "checkpoint.pt"
    if resume and checkpoint.is_file():
        trainer.progress = restore(checkpoint, trainer.method.module, trainer.optimiser, identity)
    else:
        trainer.progress.steps = steps or _steps(trainer, seconds, epochs)
    keep = Keeper(trainer, out, identity, checkpoint_seconds)
    trainer.run(keep, log_every=log_every, evaluations=evaluations, tell=progress)
    return keep.finish()


@dataclass
class Trainer:
    """The moving parts of one training."""

    method: Loaded
    optimiser: torch.optim.Optimizer
    learned: Stream
    held_out: Stream
    recipe: Recipe
    seed: int
    device: torch.device
    progress: Progress

    @classmethod
    def make(
        cls, card: MethodCard, preset: str | None, dataset: DataSet, recipe: Recipe, seed: int, device: torch.device
    ) -> Trainer:
        """Build the network, collect the samples and set some of their sequences apart."""
        preset_name, chosen = card.preset(preset)
        torch.manual_seed(seed)
        module = card.build(chosen.options).to(device=device, memory_format=torch.channels_last)
        if not any(True for _ in module.parameters()):
            raise UsageError(f"method '{card.name}' has no parameters that gradients could train")
        method = Loaded(card, preset_name, chosen, module, build_codec(chosen))
        check_loss(recipe.loss, module, method.codec.form)
        samples = collect(dataset, chosen, minimum_joints=recipe.minimum_joints)
        apart = np.isin(samples.sequence, held_out_sequences(len(dataset), recipe.held_out))
        if apart.all():
            raise UsageError(f"{dataset.name} {dataset.split}: one sequence is too few to hold one out")
        learned, held_out = [
            _stream(method, samples.of(np.flatnonzero(mask)), recipe, seed) for mask in (~apart, apart)
        ]
        return cls(method, make_optimiser(module, recipe), learned, held_out, recipe, seed, device, Progress())

    def identity(self, dataset: DataSet, start: Path | None) -> dict[str, Any]:
        """What must not change between the start of a training and its resumption."""
        return {
            "method": self.method.card.name,
            "preset": self.method.preset_name,
            "preset_content": repr(self.method.preset),
            "dataset": dataset.name,
            "split": dataset.split,
            "fingerprint": dataset.fingerprint,
            "seed": self.seed,
            "recipe": orjson.loads(orjson.dumps(asdict(self.recipe))),
            "start": hashlib.sha256(start.read_bytes()).hexdigest() if start else None,
        }

    def step(self, number: int, batch: Batch) -> torch.Tensor:
        """One update; returns the loss as a tensor, so that the device is not waited for."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, number, self.progress.steps)
        # Dropout and its like draw the same numbers at the same step, resumed or not.
        torch.manual_seed(self.seed * 1_000_003 + number)
        clips = _clips(self.method, batch, self.device)
        targets = self.method.codec.encode(
            torch.from_numpy(batch.joints).to(self.device), torch.from_numpy(batch.weights).to(self.device)
        )
        loss = loss_of(self.recipe.loss, self.method.module, clips, targets)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.method.module.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        return loss.detach()

    def run(self, keep: Keeper, *, log_every: int, evaluations: int, tell: Callable[[Report], None] | None) -> None:
        """Train from where `progress` stands to its last step."""
        state, first = self.progress, self.progress.step
        evaluated_at = {round(state.steps * (part + 1) / evaluations) for part in range(evaluations)} | {state.steps}
        recent: list[torch.Tensor] = []
        set_training(self.method.module, self.recipe.frozen)
        spent_before, began = state.seconds, perf_counter()
        for number, batch in self._batches(first, state.steps):
            recent.append(self.step(number, batch))
            state.step, state.seconds = number + 1, spent_before + perf_counter() - began
            if state.step % log_every and state.step not in evaluated_at:
                continue
            loss = float(torch.stack(recent).mean())
            if not np.isfinite(loss):
                raise HarnessError(f"the loss is not a number at step {state.step}; lower the learning rate")
            recent.clear()
            score = None
            if state.step in evaluated_at:
                self.method.module.eval()
                score = percent_correct(self.method, self.held_out, device=self.device)
                set_training(self.method.module, self.recipe.frozen)
            keep.note(loss, score)
            if tell is not None:
                tell(_report(state, first, spent_before, loss, score, self.recipe.batch_size))

    def _batches(self, first: int, steps: int) -> Iterator[tuple[int, Batch]]:
        numbers = range(first, steps)
        yield from zip(numbers, run_ahead(self.learned.batch, numbers, workers=1, depth=3), strict=True)


def _stream(method: Loaded, samples: Samples, recipe: Recipe, seed: int) -> Stream:
    return Stream(
        samples, method.preset.crop, method.crop_geometry, method.card.skeleton, recipe.augmentation,
        recipe.batch_size, seed,
    )  # fmt: skip


def _clips(method: Loaded, batch: Batch, device: torch.device) -> torch.Tensor:
    """(B,T,3,H,W) normalised, with the colours of every sample changed alike in all its frames."""
    spec, width = method.preset.crop, batch.crops.shape[3]
    mean, std = (torch.tensor(values, device=device).repeat(width) for values in (spec.mean, spec.std))
    gain, bias = (np.tile(values, width)[:, None, None] for values in (batch.gain / 255, batch.bias))
    values = torch.from_numpy(batch.crops).to(device).flatten(3).float()
    values = values.mul_(torch.from_numpy(gain).to(device)).add_(torch.from_numpy(bias).to(device)).clamp_(0, 1)
    return values.sub_(mean).div_(std).view(batch.crops.shape).permute(0, 1, 4, 2, 3)


def _steps(trainer: Trainer, seconds: float | None, epochs: float | None) -> int:
    """Steps of a budget in seconds (timed on a copy that is thrown away) or in epochs."""
    if epochs is not None:
        return max(round(epochs * len(trainer.learned.samples) / trainer.recipe.batch_size), 1)
    module = copy.deepcopy(trainer.method.module)
    method = Loaded(trainer.method.card, "", trainer.method.preset, module, trainer.method.codec)
    trial = copy.copy(trainer)
    trial.method, trial.optimiser = method, make_optimiser(module, trainer.recipe)
    trial.progress = Progress(steps=60)
    times = [perf_counter()]
    for number, batch in trial._batches(0, 30):
        float(trial.step(number, batch))
        times.append(perf_counter())
    # The median: first steps are slow, and so are those during which the machine did something else.
    per_step = float(np.median(np.diff(times)))
    return max(round((seconds or 0) / per_step), 1)


def _report(
    state: Progress, first: int, spent_before: float, loss: float, score: float | None, batch_size: int
) -> Report:
    rate = (state.step - first) / max(state.seconds - spent_before, 1e-9)
    return Report(state.step, state.steps, loss, rate * batch_size, (state.steps - state.step) / rate, score)
