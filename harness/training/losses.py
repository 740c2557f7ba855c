"""Losses: outputs and targets in, one number out. Each is a small registered function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import log_softmax

from harness.codecs import Form, Targets
from harness.errors import UsageError
from harness.registry import Registry, load_plugins

__all__ = [
    "Loss",
    "StatesLoss",
    "check_loss",
    "joint_mse",
    "keypoint_mse",
    "loss_of",
    "losses",
    "register_loss",
    "spatial_cross_entropy",
]

#: outputs of the network, targets of its codec -> scalar.
Loss = Callable[[Any, Targets], torch.Tensor]

losses: Registry[Loss] = Registry("loss", before_lookup=load_plugins)

_forms: dict[str, Form] = {}


@dataclass(frozen=True)
class StatesLoss:
    """A loss that reads more than the outputs: what the network returns from `module(clips, states=True)`."""

    of_states: Loss

    def __call__(self, states: Any, targets: Targets) -> torch.Tensor:
        """States of the network and targets of its codec -> scalar."""
        return self.of_states(states, targets)


def loss_of(name: str, module: torch.nn.Module, clips: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The named loss of a network on clips; UsageError where it reads states that the network does not give."""
    loss = losses[name]
    if not isinstance(loss, StatesLoss):
        return loss(module(clips), targets)
    _check_states(name, module)
    return loss(module(clips, states=True), targets)


def check_loss(name: str, module: torch.nn.Module, form: Form) -> None:
    """Raise UsageError where a loss reads outputs of another form, or states that the network does not give."""
    loss, reads = losses[name], _forms.get(name)
    if reads is not None and reads != form:
        fitting = sorted(other for other, its in _forms.items() if its == form)
        others = f"take {' or '.join(fitting)}, or a loss of the method" if fitting else "take a loss of the method"
        raise UsageError(f"loss '{name}' reads {reads}, and {type(module).__name__} gives {form}; {others} (--loss)")
    if isinstance(loss, StatesLoss):
        _check_states(name, module)


def _check_states(name: str, module: torch.nn.Module) -> None:
    if "states" not in inspect.signature(module.forward).parameters:
        raise UsageError(f"loss '{name}' reads states that {type(module).__name__} does not give; take another --loss")


def register_loss(name: str, loss: Loss, *, form: Form | None = None) -> Loss:
    """Make a loss available by name to recipes; `form` of the outputs it reads, where it can read no other."""
    losses.add(name, loss)
    if form is not None:
        _forms[name] = form
    return loss


def joint_mse(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """HRNet's: per joint half the mean of (w p - w t)^2 over samples and cells, then the mean over joints (hrnet.md 4).

    >>> maps = torch.ones(1, 1, 2, 2)
    >>> joint_mse(2 * maps, Targets(maps, torch.tensor([[1.0]]))).item()
    0.5
    """
    weights = targets.weights[:, :, None, None]
    error: torch.Tensor = (outputs - targets.values) * weights
    return 0.5 * error.square().mean()


def keypoint_mse(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """mmpose's: the weight enters once and there is no half (hrnet.md 4)."""
    weights = targets.weights[:, :, None, None]
    error: torch.Tensor = outputs - targets.values
    return (error.square() * weights).mean()


def spatial_cross_entropy(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Cross-entropy between softmax over all cells of a map and the normalised target, mean over the known joints.

    Learns in minutes where the mean squared error stays on the plateau of empty maps (synthtrack.md 7).
    """
    wanted = targets.values.flatten(2)
    wanted = wanted / wanted.sum(-1, keepdim=True).clamp_min(1e-12)
    per_joint: torch.Tensor = -(wanted * log_softmax(outputs.flatten(2), dim=-1)).sum(-1)
    return (per_joint * targets.weights).sum() / targets.weights.sum().clamp_min(1e-12)


for _name, _loss in (
    ("joint_mse", joint_mse),
    ("keypoint_mse", keypoint_mse),
    ("spatial_cross_entropy", spatial_cross_entropy),
):
    register_loss(_name, _loss, form="maps")
