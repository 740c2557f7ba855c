"""Several processes that train one network: each takes a part of every batch, and all take the same step.

torchrun starts them. What they compute is what one process computes on the whole batch, up to the order of sums and
what is drawn within the network (dropout): batch norms take the statistics of all parts, gradients are added, and a
loss of the outputs sees those of all. Only losses of inner states and of whole frames are computed on each part and
averaged, which is the same where they are plain means over samples (nearly so where they divide by persons or cells).
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, _BatchNorm

from harness.codecs import Targets
from harness.errors import UsageError
from harness.inference.ranks import join_ranks

__all__ = ["ALONE", "Team", "join_team", "share_norms"]

#: How long the others wait while the first evaluates.
_PATIENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Team:
    """This process among `size` that train together."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that evaluates and writes."""
        return self.rank == 0

    def told(self, number: float) -> float:
        """The number of the first process."""
        if self.size == 1:
            return number
        value = torch.tensor([number], dtype=torch.float64, device=_device())
        distributed.broadcast(value, 0)
        return float(value)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over the processes."""
        if self.size > 1:
            distributed.all_reduce(value)
            value /= self.size
        return value

    def gathered(self, part: torch.Tensor) -> torch.Tensor:
        """The rows of all processes; a gradient goes to this one's own alone, as `add_gradients` adds the others."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        distributed.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part
        return torch.cat(parts)

    def gathered_targets(self, targets: Targets) -> Targets:
        """The targets of the whole batch."""
        places = None if targets.places is None else self.gathered(targets.places)
        return Targets(self.gathered(targets.values), self.gathered(targets.weights), targets.sections, places)

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by the sum over the processes, in one message.

        One without a gradient here may have one elsewhere; one that has none anywhere stays without, so that no
        optimiser decays it.
        """
        if self.size == 1:
            return
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        parts = [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in learning]
        reached = parts[0].new_tensor([parameter.grad is not None for parameter in learning])
        flat = torch.cat([*parts, reached])
        distributed.all_reduce(flat)
        *sums, anywhere = flat.split([*(parameter.numel() for parameter in learning), len(learning)])  # type: ignore[no-untyped-call]
        for parameter, total, count in zip(learning, sums, anywhere.tolist(), strict=True):
            # In the parameter's own memory format: fused optimisers walk both side by side.
            parameter.grad = torch.empty_like(parameter).copy_(total.view_as(parameter)) if count else None


#: One process alone.
ALONE = Team()


def join_team(device: torch.device, batch_size: int) -> Team:
    """The processes that torchrun started, or one alone; UsageError where a batch cannot be cut evenly."""
    ranks = join_ranks()
    if ranks.store is None:
        return ALONE
    if batch_size % ranks.size:
        raise UsageError(f"a batch of {batch_size} cannot be cut evenly for {ranks.size} processes; see --batch-size")
    if not distributed.is_initialized():
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE,
            store=ranks.named("training").store, rank=ranks.rank, world_size=ranks.size,
        )  # fmt: skip
        atexit.register(distributed.destroy_process_group)
    return Team(ranks.rank, ranks.size)


def _device() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


class _Sum(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, value: torch.Tensor) -> torch.Tensor:
        """Add up."""
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Add up the gradients."""
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _summed(value: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


class SharedNorm(_BatchNorm):
    """Batch normalisation by the statistics of the whole batch; torch's own does this on GPUs only."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B,C,...) -> the same shape."""
        if not self.training:
            return super().forward(input)
        values, others = input.float(), [0, *range(2, input.ndim)]
        shape = (1, -1, *(1 for _ in range(input.ndim - 2)))
        own = values.new_tensor([values.numel() / values.shape[1]])
        totals = _summed(torch.cat([values.sum(others), own]))
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centred = values - mean.view(shape)
        variance = _summed(centred.square().sum(others)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normed = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(input.dtype)

    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(variance.to(self.running_var.dtype), weight)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Any shape: the layer it stands for was made for its own."""


def share_norms(module: torch.nn.Module, team: Team) -> None:
    """Let the batch norms of a network take the statistics of all processes, in place; names and weights stay."""
    for child in module.modules() if team.size > 1 else ():
        if type(child) in (BatchNorm1d, BatchNorm2d, BatchNorm3d):
            child.__class__ = SharedNorm
