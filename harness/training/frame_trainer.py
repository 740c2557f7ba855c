"""The trainer of whole-frame methods: the same steps, with everyone in a frame as the target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from harness.boxes import whole_frames
from harness.datasets.sequences import DataSet, Sequence
from harness.errors import UsageError
from harness.inference import Loaded, Settings, predict
from harness.inference.loaded import check_precision
from harness.inference.loading import reader
from harness.methods import MethodCard
from harness.predictions import Predictions
from harness.scoring.protocols import score
from harness.training.batches import Batch
from harness.training.frame_losses import frame_losses
from harness.training.frame_samples import FrameStream, collect_frames
from harness.training.frame_targets import FrameTargets
from harness.training.held_out import held_out_sequences
from harness.training.losses import in_single_precision
from harness.training.optimiser import make_optimiser
from harness.training.recipe import Recipe, check_recipe
from harness.training.team import ALONE, Team
from harness.training.trainer import HALVES, Trainer, in_clips, scaler_of

__all__ = ["FrameTrainer", "found_share"]

#: Held-out sequences that are looked at while training, and steps between two looks at least: a network that knows
#: nothing yet finds thirty persons of no sense in every frame, which takes longer than many steps.
_LOOKED_AT, _APART = 12, 100


class FrameTrainer(Trainer):
    """A Trainer whose clips are frames; its streams are FrameStreams."""

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
    ) -> FrameTrainer:
        """Build the network, collect the frames and set some of their sequences apart; no `codec` reads them."""
        if codec:
            raise UsageError(f"method '{card.name}' takes whole frames, which no codec reads; leave out --codec")
        check_recipe(recipe)
        check_precision(recipe.precision, device)
        if recipe.loss not in frame_losses:
            known = ", ".join(frame_losses)
            raise UsageError(f"method '{card.name}' takes whole frames; loss '{recipe.loss}' does not: take {known}")
        for change in ("half_body", "proposals"):
            if getattr(recipe.augmentation, change):
                raise UsageError(
                    f"method '{card.name}' takes whole frames: a recipe's {change} is for boxes; leave it out"
                )
        preset_name, chosen = card.preset(preset)
        torch.manual_seed(seed)
        module = card.build(chosen.options).to(device=device, memory_format=torch.channels_last)
        method = Loaded(card, preset_name, chosen, module, reader(chosen))
        samples = collect_frames(dataset, minimum_joints=recipe.minimum_joints, masked=recipe.masked)
        places = held_out_sequences(len(dataset), recipe.held_out)
        apart = np.isin(samples.sequence, places)
        if apart.all() or not apart.any():
            raise UsageError(f"{dataset.name} {dataset.split}: has too few sequences with people to hold some out")
        learned, held_out = (
            FrameStream(
                samples.of(np.flatnonzero(mask)),
                chosen.crop,
                card.skeleton,
                recipe.augmentation,
                recipe.batch_size,
                seed,
            )
            for mask in (~apart, apart)
        )
        return cls(
            method, make_optimiser(module, recipe, card.layer_of), replace(learned, rank=team.rank, ranks=team.size),
            held_out, replace(dataset, sequences=tuple(dataset.sequences[place] for place in places.tolist())),
            recipe, seed, device, scaler_of(recipe, device), team=team,
        )  # fmt: skip

    def identity(self, dataset: DataSet, start: Path | None) -> dict[str, Any]:
        """As any training's; those from when the recipe did not say who is a target do not go on."""
        return {**super().identity(dataset, start), "targets": "of the recipe's minimum_joints"}

    def looked_at(self, steps: int, evaluations: int) -> set[int]:
        """As any training, but with a hundred steps between."""
        return super().looked_at(steps, max(min(evaluations, steps // _APART), 1))

    def scores(self, method: Loaded) -> tuple[float, float]:
        """Share of joints found, and AP, both 0..1, on some held-out sequences."""
        rows = np.unique(np.linspace(0, len(self.apart) - 1, min(_LOOKED_AT, len(self.apart))).round().astype(int))
        dataset = replace(self.apart, sequences=tuple(self.apart.sequences[row] for row in rows.tolist()))
        found, _ = predict(
            method, dataset, whole_frames(dataset), flip=False, settings=Settings(device=str(self.device))
        )  # fmt: skip
        return found_share(found, dataset), score(dataset, found, tracking=False).value("ap") / 100

    def said(self, recent: list[torch.Tensor]) -> float:
        """The mean of some steps' losses, the same in every process."""
        return float(self.team.mean(torch.stack(recent).mean()) * self.team.size)

    def _loss(self, batch: Batch) -> torch.Tensor:
        """This process's share of the loss."""
        clips = in_clips(self.method, batch, self.device)
        joints, weights = (torch.from_numpy(part).to(self.device) for part in (batch.joints, batch.weights))
        counted, areas = (
            None if part is None else torch.from_numpy(part).to(self.device) for part in (batch.counted, batch.areas)
        )
        targets = FrameTargets(joints, weights > 0, self.method.preset.crop.size, counted, areas)
        half = HALVES.get(self.recipe.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            outputs = in_single_precision(self.method.module(clips))
        return frame_losses[self.recipe.loss](outputs, targets) / self.team.size


def found_share(found: Predictions, dataset: DataSet) -> float:
    """PCKh@0.5 (0..1): annotated joints near that of the predicted person who is told to be theirs.

    Persons are told so that most joints are near; where a head has no box, a tenth of the person's box diagonal stands
    for half its size. False persons cost nothing: the AP beside it sees them.
    """
    hits = total = 0
    for number, sequence in enumerate(dataset.sequences):
        mine = np.flatnonzero(found.sequence == number)
        for frame in np.unique(sequence.truth.frame).tolist():
            near, known = _near(found, mine[found.frame[mine] == frame], sequence, frame)
            total += int(known.sum())
            rows = linear_sum_assignment(near.sum(axis=2), maximize=True)
            hits += int(near.sum(axis=2)[rows].sum())
    return hits / max(total, 1)


def _near(
    found: Predictions, rows: np.ndarray[tuple[int], np.dtype[np.int64]], sequence: Sequence, frame: int
) -> tuple[np.ndarray[tuple[int, int, int], np.dtype[np.bool_]], np.ndarray[tuple[int, int], np.dtype[np.bool_]]]:
    """(truth, predicted, J) which joints lie near, and (truth, J) which are annotated."""
    truth, people = sequence.truth, np.flatnonzero(sequence.truth.frame == frame)
    heads, boxes = truth.head_boxes[people], truth.boxes[people]
    head_size = 0.6 * np.hypot(heads[:, 2] - heads[:, 0], heads[:, 3] - heads[:, 1])
    body = 0.1 * np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    reach = np.where(np.isfinite(head_size), 0.5 * head_size, body)
    distance = np.linalg.norm(truth.joints[people][:, None] - found.joints[rows][None], axis=-1)
    known = truth.annotated[people]
    return (distance <= reach[:, None, None]) & known[:, None] & found.present[rows][None], known
