"""Losses: outputs and targets in, one number out. Each is a small registered function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
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
    "hard_joints_mse",
    "in_single_precision",
    "joint_mse",
    "keypoint_mse",
    "loss_of",
    "losses",
    "outputs_for",
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
    return losses[name](outputs_for(name, module, clips), targets)


def outputs_for(name: str, module: torch.nn.Module, clips: torch.Tensor) -> Any:
    """What the named loss reads: outputs of the network or, for a StatesLoss, all its states."""
    if not isinstance(losses[name], StatesLoss):
        return module(clips)
    _check_states(name, module)
    return module(clips, states=True)


def in_single_precision(states: Any) -> Any:
    """Outputs or states with every half-precision tensor as float32, so that a loss need not know of autocast."""
    if isinstance(states, torch.Tensor):
        return states.float() if states.is_floating_point() else states
    if isinstance(states, tuple | list):
        parts = [in_single_precision(item) for item in states]
        return type(states)(*parts) if hasattr(states, "_fields") else type(states)(parts)
    if isinstance(states, Mapping):
        return {key: in_single_precision(item) for key, item in states.items()}
    return states


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


def hard_joints_mse(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """HRNet's OHKM: half the squared error of the 8 joints of each sample that are worst (hrnet.md 4).

    >>> wanted = torch.arange(10.0).view(1, 10, 1, 1)
    >>> hard_joints_mse(torch.zeros(1, 10, 1, 1), Targets(wanted, torch.ones(1, 10))).item()
    17.75
    """
    weights = targets.weights[:, :, None, None]
    errors: torch.Tensor = 0.5 * ((outputs - targets.values) * weights).square().mean((2, 3))
    return errors.topk(min(8, errors.shape[1])).values.mean()


def spatial_cross_entropy(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Cross-entropy between softmax over all cells of a map and the normalised target, mean over the known joints.

    Learns in minutes where the mean squared error stays on the plateau of empty maps (synthtrack.md 7).
    """
    wanted = targets.values.flatten(2)
    wanted = wanted / wanted.sum(-1, keepdim=True).clamp_min(1e-12)
    per_joint: torch.Tensor = -(wanted * log_softmax(outputs.flatten(2), dim=-1)).sum(-1)
    return (per_joint * targets.weights).sum() / targets.weights.sum().clamp_min(1e-12)


for _name, _loss in (
    ("hard_joints_mse", hard_joints_mse),
    ("joint_mse", joint_mse),
    ("keypoint_mse", keypoint_mse),
    ("spatial_cross_entropy", spatial_cross_entropy),
):
    register_loss(_name, _loss, form="maps")
