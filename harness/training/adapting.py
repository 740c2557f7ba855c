"""The trainer of RegDA: a labelled source and a target of which only boxes are known, in turn (seed002_rest.md 3.3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.boxes import Boxes
from harness.datasets.images import images_fingerprint
from harness.datasets.sequences import DataSet
from harness.errors import UsageError
from harness.training.adaptation import Adversary, disparity, scale_gradient, scale_of
from harness.training.batches import Batch, Stream
from harness.training.checkpoint import Stateful
from harness.training.losses import losses
from harness.training.recipe import Adaptation
from harness.training.samples import collect, reach_of
from harness.training.target import boxes_alone
from harness.training.trainer import Trainer, in_clips

__all__ = ["AdaptingTrainer", "adapting"]


@dataclass
class AdaptingTrainer(Trainer):
    """A Trainer with unlabelled pictures beside the labelled ones, and a second head that is trained against.

    The network has `features(frames)` and `final_layer`, whose maps it returns.
    """

    target: Stream = field(kw_only=True)
    target_identity: dict[str, Any] = field(kw_only=True)
    target_facts: dict[str, Any] = field(kw_only=True)
    adversary: Adversary = field(kw_only=True)

    @property
    def how(self) -> Adaptation:
        """What the recipe says of the adaptation."""
        return self.recipe.adaptation or Adaptation()

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        return {**super().parts, "adversary": self.adversary}

    def identity(self, dataset: DataSet, start: Path | None) -> dict[str, Any]:
        """What must not change between the start of a training and its resumption."""
        return {**super().identity(dataset, start), **self.target_identity}

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says beside the identity."""
        return {**super().facts, **self.target_facts, "target_samples": len(self.target.samples)}

    def _learn(self, number: int, batch: Batch) -> torch.Tensor:
        """Learn from the source; then lead the adversary astray on the target; then bring it back by the features."""
        loss = super()._learn(number, batch)
        target = self.target.batch(number)
        self._update(self._on_target(target, number, astray=True), self.adversary.parameters())
        features = [value for name, value in self.method.module.named_parameters() if not name.startswith(_HEAD)]
        self._update(self._on_target(target, number, astray=False), features)
        return loss

    def copied(self, *, steps: int) -> AdaptingTrainer:
        """A training from the same state that leaves this one as it is, to time some steps on."""
        made = super().copied(steps=steps)
        assert isinstance(made, AdaptingTrainer)  # noqa: S101
        made.adversary = copy.deepcopy(self.adversary)
        made.optimiser.add_param_group(_group(made.adversary, made))
        return made

    def _loss(self, batch: Batch) -> torch.Tensor:
        """The recipe's loss of the main head, and how far the adversary is from it."""
        labels = (torch.from_numpy(part).to(self.device) for part in (batch.joints, batch.weights))
        targets = self.method.codec.encode(*labels)
        maps, against = self._both(batch, scale_of(self.progress.step, high=self.how.scale, horizon=self.how.horizon))
        apart = disparity(maps, against, targets.weights)
        return losses[self.recipe.loss](maps, targets) + self.how.margin * self.how.trade_off * apart

    def _on_target(self, batch: Batch, number: int, *, astray: bool) -> torch.Tensor:
        # Astray, the adversary alone is updated; nothing then has to flow back through the features.
        with torch.set_grad_enabled(not astray):
            maps, features = self._maps(batch)
        scale = scale_of(number, high=self.how.scale, horizon=self.how.horizon)
        return self.how.trade_off * disparity(maps, self.adversary(scale_gradient(features, scale)), astray=astray)

    def _both(self, batch: Batch, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        maps, features = self._maps(batch)
        return maps, self.adversary(scale_gradient(features, scale))

    def _maps(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        module: Any = self.method.module
        clips = in_clips(self.method, batch, self.device)
        features = module.features(clips[:, 0])
        return module.final_layer(features), features

    def _update(self, loss: torch.Tensor, learners: Any) -> None:
        """One step of the parameters that learn; the others have no gradients, which optimisers pass over."""
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        kept = {id(value) for value in learners}
        for group in self.optimiser.param_groups:
            for value in group["params"]:
                if id(value) not in kept:
                    value.grad = None
        self.optimiser.step()


_HEAD = "final_layer."


def adapting(trainer: Trainer, target: DataSet, boxes: Boxes | None = None) -> AdaptingTrainer:
    """The trainer with a target beside its source: the people of a data set whose joints are not looked at.

    Where they are, `boxes` say, or else those of the target's labels. Raises UsageError for a network without the two
    parts, and for what RegDA is not made for here; DataError for a target without boxes.
    """
    method, recipe = trainer.method, trainer.recipe
    module = method.module
    final: Any = getattr(module, "final_layer", None)
    fits = isinstance(final, nn.Conv2d) and getattr(module, "widths", [None])[0] == final.in_channels
    if not fits or len(method.preset.support) != 1 or getattr(method.codec, "form", None) != "maps":
        raise UsageError(
            f"method '{method.card.name}' ({method.preset_name}): adaptation takes a network of one frame whose "
            "final_layer makes maps of its features; take hrnet"
        )
    if trainer.team.size > 1 or recipe.precision != "fp32" or recipe.clip_norm is not None:
        raise UsageError("adaptation runs in one process, in fp32 and without clip_norm; change the recipe")
    people = boxes_alone(target, boxes)
    samples = collect(people, method.preset, minimum_joints=0, reach=reach_of(recipe.augmentation, method.preset.crop))
    assert isinstance(trainer.learned, Stream)  # noqa: S101
    stream = replace(trainer.learned, samples=samples, seed=trainer.seed + 1)
    torch.manual_seed(trainer.seed + 1)
    adversary = Adversary(final.in_channels, final.out_channels).to(trainer.device)
    known = {name: getattr(trainer, name) for name in Trainer.__dataclass_fields__}
    made = AdaptingTrainer(
        **known, target=stream, target_identity=_identity(target, boxes), adversary=adversary,
        target_facts={
            "target_dataset": target.name,
            "target_split": target.split,
            "target_boxes_from": "labels" if boxes is None else boxes.source,
        },
    )  # fmt: skip
    made.optimiser.add_param_group(_group(adversary, made))
    return made


def _identity(target: DataSet, boxes: Boxes | None) -> dict[str, Any]:
    """What a training takes from its target; where no label file tells, that is the images and the boxes."""
    if boxes is None:
        return {"target": target.fingerprint}
    return {
        "target": target.fingerprint,
        "target_images": images_fingerprint(target),
        "target_boxes": boxes.sha256,
    }


def _group(adversary: Adversary, trainer: Trainer) -> dict[str, Any]:
    """The adversary learns as the heads do: faster than what lies below them, where the recipe has it so."""
    return {"params": list(adversary.parameters()), "weight_decay": trainer.recipe.weight_decay, "scale": 1.0}
