"""The moving parts of one training, and one step of it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.codecs import build_codec
from harness.datasets.sequences import DataSet
from harness.errors import UsageError
from harness.inference.ahead import run_ahead
from harness.inference.loaded import Loaded, check_precision
from harness.methods import MethodCard
from harness.training.averaging import averaged, follow
from harness.training.batches import Batch, Batches, Stream
from harness.training.checkpoint import Progress, Stateful
from harness.training.held_out import average_precision, held_out_sequences, percent_correct
from harness.training.losses import StatesLoss, check_loss, in_single_precision, losses, outputs_for
from harness.training.optimiser import make_optimiser, set_rate, set_training
from harness.training.reading import learned_as
from harness.training.recipe import Recipe, check_recipe, plain_recipe
from harness.training.samples import Samples, collect, reach_of
from harness.training.schedule import learning_rate
from harness.training.team import ALONE, Team, share_norms

__all__ = ["HALVES", "Trainer", "in_clips", "scaler_of"]

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Trainer:
    """Network, optimiser and data. `apart` are the sequences that are held out, `average` follows the weights."""

    method: Loaded
    optimiser: torch.optim.Optimizer
    learned: Batches
    held_out: Batches
    apart: DataSet
    recipe: Recipe
    seed: int
    device: torch.device
    scaler: torch.amp.GradScaler
    average: torch.nn.Module | None = None
    team: Team = ALONE
    progress: Progress = field(default_factory=Progress)

    @classmethod
    def make(
        cls,
        card: MethodCard,
        preset: str | None,
        dataset: DataSet,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        team: Team = ALONE,
        codec: str | None = None,
    ) -> Trainer:
        """Build the network, collect the samples and set some of their sequences apart.

        The network learns to be read by `codec`, by default the preset's.
        """
        check_recipe(recipe)
        check_precision(recipe.precision, device)
        preset_name, chosen = card.preset(preset)
        chosen = learned_as(chosen, codec, loss=recipe.loss) if codec else chosen
        torch.manual_seed(seed)
        module = card.build(chosen.options).to(device=device, memory_format=torch.channels_last)
        if not any(True for _ in module.parameters()):
            raise UsageError(f"method '{card.name}' has no parameters that gradients could train")
        method = Loaded(card, preset_name, chosen, module, build_codec(chosen))
        check_loss(recipe.loss, module, method.codec.form)
        if recipe.masked:
            raise UsageError(f"method '{card.name}' takes boxes: a recipe's masked is for whole frames; leave it out")
        optimiser = make_optimiser(module, recipe, card.layer_of)
        reach = reach_of(recipe.augmentation, chosen.crop)
        samples = collect(dataset, chosen, minimum_joints=recipe.minimum_joints, reach=reach)
        places = held_out_sequences(len(dataset), recipe.held_out)
        apart = np.isin(samples.sequence, places)
        if apart.all() or not apart.any():
            raise UsageError(f"{dataset.name} {dataset.split}: has too few sequences with people to hold some out")
        learned, held_out = [
            _stream(method, samples.of(np.flatnonzero(mask)), recipe, seed) for mask in (~apart, apart)
        ]
        return cls(
            method, optimiser, replace(learned, rank=team.rank, ranks=team.size), held_out,
            replace(dataset, sequences=tuple(dataset.sequences[place] for place in places.tolist())),
            recipe, seed, device, scaler_of(recipe, device), team=team,
        )  # fmt: skip

    def ready(self) -> None:
        """Prepare what depends on the weights a training starts from; called once they are there."""
        share_norms(self.method.module, self.team)
        self.average = averaged(self.method.module) if self.recipe.average is not None else None

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        always: dict[str, Stateful] = {"module": self.method.module, "optimiser": self.optimiser, "scaler": self.scaler}
        return always if self.average is None else {**always, "average": self.average}

    @property
    def shipped(self) -> Loaded:
        """The method with the weights that are evaluated and shipped."""
        return self.method if self.average is None else replace(self.method, module=self.average)

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
            "recipe": plain_recipe(self.recipe),
            "start": hashlib.sha256(start.read_bytes()).hexdigest() if start else None,
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says beside the identity."""
        return {"codec": self.method.preset.codec}

    def learn_mode(self) -> None:
        """Training mode for what is not frozen."""
        set_training(self.method.module, self.recipe.frozen, moving_norms=self.recipe.moving_norms)

    def looked_at(self, steps: int, evaluations: int) -> set[int]:
        """Steps after which the weights are evaluated, the last among them."""
        return {round(steps * (part + 1) / evaluations) for part in range(evaluations)} | {steps}

    def scores(self, method: Loaded) -> tuple[float, float]:
        """PCKh@0.5 and AP, both 0..1, on the held-out sequences."""
        if not isinstance(self.held_out, Stream):
            raise TypeError(f"persons are scored one by one, which {type(self.held_out).__name__} does not hold")
        pckh = percent_correct(method, self.held_out, device=self.device)
        return pckh, average_precision(method, self.apart, device=self.device)

    def step(self, number: int, batch: Batch) -> torch.Tensor:
        """One step; returns the loss as a tensor, so that the device is not waited for."""
        loss = self._learn(number, batch)
        if self.average is not None and self.recipe.average is not None:
            follow(self.average, self.method.module, decay=self.recipe.average, step=number)
        return loss

    def _learn(self, number: int, batch: Batch) -> torch.Tensor:
        """The update of the weights; returns the loss."""
        set_rate(self.optimiser, learning_rate(self.recipe, number, self.progress.steps))
        module = self.method.module
        # The same numbers at the same step, resumed or not: what processes have to agree on, or they would wait for
        # each other in norms that only some reach, and then others in each, for dropout and its like.
        drawn = self.seed * 1_000_003 + number
        torch.manual_seed(drawn)
        if (begin := getattr(module, "begin_step", None)) is not None:
            begin()
        torch.manual_seed(drawn + self.team.rank * 1_000_000_007)
        loss = self._loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        self.team.add_gradients(module.parameters())
        if self.recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(module.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach()

    def _loss(self, batch: Batch) -> torch.Tensor:
        """The loss of the whole batch, or (of inner states) this process's share of it."""
        name, team = self.recipe.loss, self.team
        clips = in_clips(self.method, batch, self.device)
        targets = self.method.codec.encode(
            torch.from_numpy(batch.joints).to(self.device), torch.from_numpy(batch.weights).to(self.device)
        )
        half = HALVES.get(self.recipe.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            outputs = in_single_precision(outputs_for(name, self.method.module, clips))
        if isinstance(losses[name], StatesLoss):
            return losses[name](outputs, targets) / team.size
        return losses[name](team.gathered(outputs), team.gathered_targets(targets))

    def said(self, recent: list[torch.Tensor]) -> float:
        """The mean of some steps' losses, the same in every process."""
        shares = self.team.size if isinstance(losses[self.recipe.loss], StatesLoss) else 1
        return float(self.team.mean(torch.stack(recent).mean()) * shares)

    def batches(self, first: int, steps: int) -> Iterator[tuple[int, Batch]]:
        """Numbers and batches of the steps from `first` on, made a little ahead."""
        numbers = range(first, steps)
        yield from zip(numbers, run_ahead(self.learned.batch, numbers, workers=1, depth=3), strict=True)

    def copied(self, *, steps: int) -> Trainer:
        """A training from the same state that leaves this one as it is, to time some steps on."""
        module, made = copy.deepcopy(self.method.module), copy.copy(self)
        made.method, made.average = replace(self.method, module=module), None
        made.optimiser = make_optimiser(module, self.recipe, self.method.card.layer_of)
        made.scaler, made.progress = scaler_of(self.recipe, self.device), Progress(steps=steps)
        return made


def scaler_of(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """Keeps gradients of half precision from vanishing; does nothing otherwise."""
    return torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")


def _stream(method: Loaded, samples: Samples, recipe: Recipe, seed: int) -> Stream:
    return Stream(
        samples, method.preset.crop, method.crop_geometry, method.card.skeleton, recipe.augmentation,
        recipe.batch_size, seed,
    )  # fmt: skip


def in_clips(method: Loaded, batch: Batch, device: torch.device) -> torch.Tensor:
    """(B,T,3,H,W) normalised, with the colours of every sample changed alike in all its frames."""
    spec, width = method.preset.crop, batch.crops.shape[3]
    mean, std = (torch.tensor(values, device=device).repeat(width) for values in (spec.mean, spec.std))
    gain, bias = (np.tile(values, width)[:, None, None] for values in (batch.gain / 255, batch.bias))
    values = torch.from_numpy(batch.crops).to(device).flatten(3).float()
    values = values.mul_(torch.from_numpy(gain).to(device)).add_(torch.from_numpy(bias).to(device)).clamp_(0, 1)
    return values.sub_(mean).div_(std).view(batch.crops.shape).permute(0, 1, 4, 2, 3)
