"""Training the networks that are compared: the same tracks, order, updates and number of parameters for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import WeightsError
from harness.lifting.losses import parts_loss, position_loss
from harness.lifting.networks import Anatomy, Direct, MeanPose
from harness.lifting.tracks import Tracks, features, fingerprint, mirrored
from harness.training.checkpoint import Progress, Stateful, restore, save_checkpoint
from harness.version import __version__
from harness.weights import load, save
from harness.weights.checkpoints import read_checkpoint

__all__ = ["EPOCHS", "NETWORKS", "open_networks", "train_lifting"]

#: Epochs of the published recipe; the rate falls by DECAY in each of them, faster where there are fewer.
EPOCHS = 60
RATE, DECAY, BATCH = 2e-3, 0.95, 64

#: Of widths that give the first two 209 thousand parameters, and so the same multiply-adds per frame.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "anatomy": lambda: Anatomy(128),
    "direct": lambda: Direct(184),
    "mean_pose": MeanPose,
}

Tell = Callable[[int, int, str], None]
Examples = tuple[Tensor, Tensor, Tensor]


def train_lifting(
    tracks: Tracks, out: Path, *, epochs: int = EPOCHS, seed: int = 0, about: dict[str, Any] | None = None,
    resume: bool = True, progress: Tell = lambda done, total, detail: None,
) -> None:  # fmt: skip
    """Train `NETWORKS` on the tracks and their mirror images and write their weights, with `about`, to a folder.

    An interrupted training continues after its last epoch to the same weights; UsageError where the folder holds the
    beginning of another. `progress` takes epochs done, epochs in all, and a note.
    """
    out.mkdir(parents=True, exist_ok=True)
    identity = {**(about or {}), "epochs": epochs, "seed": seed, "tracks": fingerprint(tracks), "harness": __version__}
    examples = _examples(tracks)
    for number, (name, build) in enumerate(NETWORKS.items()):
        path, checkpoint = _file(out, name), out / f"{name}.checkpoint"
        if not resume:
            checkpoint.unlink(missing_ok=True)
        elif path.is_file() and not checkpoint.is_file() and _about(path) == identity:
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build()
            if isinstance(network, MeanPose):
                network.pose.copy_(torch.as_tensor(tracks.truth[tracks.present].mean(axis=0)))
            else:
                for epoch, loss in _train(network, examples, checkpoint, identity, epochs=epochs, seed=seed):
                    progress(number * epochs + epoch, 2 * epochs, f"{name}, loss {loss:.3f}")
        save(network, path, about=identity)
        checkpoint.unlink(missing_ok=True)


def open_networks(folder: Path) -> tuple[dict[str, nn.Module], dict[str, str], dict[str, Any]]:
    """The trained networks, their sha256, and what all their files say of the training.

    Raises WeightsError where one is missing, does not fit, or is of another training than the first.
    """
    networks, hashes = {}, {}
    for name, build in NETWORKS.items():
        path = _file(folder, name)
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; `harness lift train -o {folder}` makes it")
        networks[name] = build().eval()
        hashes[name] = load(networks[name], path).sha256
    said = [_about(_file(folder, name)) for name in NETWORKS]
    if any(other != said[0] for other in said):
        raise WeightsError(f"{folder}: holds networks of different trainings; run `harness lift train` to its end")
    return networks, hashes, said[0]


def _train(
    network: nn.Module, examples: Examples, checkpoint: Path, identity: dict[str, Any], *, epochs: int, seed: int
) -> Iterator[tuple[int, float]]:
    """Yield epochs done and the loss; each draws from its own seed, so that one that continues draws the same."""
    optimiser = torch.optim.Adam(network.parameters(), RATE, amsgrad=True)
    parts: dict[str, Stateful] = {"network": network, "optimiser": optimiser}
    state = restore(checkpoint, parts, identity) if checkpoint.is_file() else Progress(steps=epochs)
    network.train()
    while state.step < epochs:
        torch.manual_seed(1_000_003 * (seed + 1) + state.step)
        for group in optimiser.param_groups:
            group["lr"] = RATE * DECAY ** (state.step * EPOCHS / epochs)
        loss = _epoch(network, optimiser, *examples)
        state.step += 1
        save_checkpoint(checkpoint, parts, state, identity)
        yield state.step, loss


def _epoch(
    network: nn.Module, optimiser: torch.optim.Optimizer, inputs: Tensor, truth: Tensor, present: Tensor
) -> float:
    """One pass over all tracks, each as it is or mirrored; the loss of the last batch."""
    for chosen in torch.split(torch.randperm(len(present)), BATCH):
        side = torch.randint(2, (len(chosen),))
        there, right = present[chosen], truth[side, chosen]
        joints, parts = network(inputs[side, chosen], there)
        loss = position_loss(joints, right, there)
        if parts is not None:
            loss = loss + parts_loss(parts, right, there)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return float(loss.detach())


def _examples(tracks: Tracks) -> Examples:
    """Inputs (2,N,T,FEATURES) and truth (2,N,T,15,3), as they are and mirrored; which frames count (N,T)."""
    sides = (tracks, mirrored(tracks))
    inputs = torch.stack([torch.from_numpy(features(side)) for side in sides])
    truth = torch.stack([torch.from_numpy(side.truth).float() for side in sides])
    return inputs, truth, torch.from_numpy(tracks.present)


def _file(folder: Path, network: str) -> Path:
    return folder / f"{network}.safetensors"


def _about(path: Path) -> dict[str, Any]:
    """What a weights file says of its training."""
    _, metadata = read_checkpoint(path)
    try:
        return dict(json.loads(metadata["vidpose-harness"]))
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{path}: does not say how it was trained; `harness lift train` makes such files") from None
