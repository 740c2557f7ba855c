"""Starting a training from weights of another one: a backbone under a temporal head, a longer run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from harness.errors import WeightsError, listed
from harness.weights import KeyMap
from harness.weights.checkpoints import read_checkpoint
from harness.weights.sources import recognise, strip_wrapper

__all__ = ["start_from"]


def start_from(module: torch.nn.Module, path: Path, *, prefix: str | None = None) -> str:
    """Copy every tensor of a checkpoint to `prefix` + its name; what the module holds beyond keeps its fresh values.

    Without a prefix the tensors go where they all have a place: the module itself or one of its parts. Returns the
    prefix. Raises WeightsError for a tensor that has no place or another shape. A module that may start from what
    others publish lists `start_sources` (KeyMap) of itself or of its `start_part`; its `on_start` is called with what
    was filled.
    """
    state, _ = read_checkpoint(path)
    state = {strip_wrapper(key): value for key, value in state.items()}
    own = module.state_dict()
    state = _named_as_ours(state, module)
    if prefix is None:
        prefix = _fitting_prefix(state, own)
    placed = {prefix + key: value for key, value in state.items()}
    wrong = [key for key, value in placed.items() if key not in own or own[key].shape != value.shape]
    if wrong:
        where = f"under '{prefix}'" if prefix else f"in {type(module).__name__} or in a part of it"
        raise WeightsError(f"{path}: {len(wrong)} tensors have no place {where}: {listed(wrong)}")
    module.load_state_dict({**own, **placed})
    if (finish := getattr(module, "on_start", None)) is not None:
        finish(placed)
    return prefix


def _named_as_ours(state: dict[str, torch.Tensor], module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A checkpoint of one of the module's sources under our names; any other as it is."""
    sources: tuple[KeyMap, ...] = getattr(module, "start_sources", ())
    part: str = getattr(module, "start_part", "")
    known = {key.removeprefix(part) for key in module.state_dict() if key.startswith(part)}
    source = recognise(state, sources, known=known)
    unpacked = source.unpack(state) if source.unpack else state
    return {source.ours(key): value for key, value in unpacked.items()}


def _fitting_prefix(keys: Iterable[str], own: Iterable[str]) -> str:
    """The one prefix under which all keys are among the module's own; "" where there is none or more than one.

    >>> _fitting_prefix(["stem.weight"], ["backbone.stem.weight", "head.weight"])
    'backbone.'
    """
    keys, own = list(keys), set(own)
    if not keys or keys[0] in own:
        return ""
    candidates = [key.removesuffix(keys[0]) for key in own if key.endswith(f".{keys[0]}")]
    fitting = [prefix for prefix in candidates if all(prefix + key in own for key in keys)]
    return fitting[0] if len(fitting) == 1 else ""
