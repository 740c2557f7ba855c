"""Weights: which files are known (manifest), and strict loading of them into a network.

Listing and hashing need no torch; `load`, `save` and `parameter_count` import it when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.weights.manifest import WeightsEntry, find_weights, publish_entry, register_manifest, weights
from harness.weights.sources import MMPOSE, OFFICIAL, KeyMap

if TYPE_CHECKING:
    from harness.weights.converting import convert
    from harness.weights.fitting import fit_weights
    from harness.weights.loading import LoadedWeights, load, parameter_count, publish, save

__all__ = [
    "MMPOSE",
    "OFFICIAL",
    "KeyMap",
    "LoadedWeights",
    "WeightsEntry",
    "convert",
    "find_weights",
    "fit_weights",
    "load",
    "parameter_count",
    "publish",
    "publish_entry",
    "register_manifest",
    "save",
    "weights",
]

_NEEDS_TORCH = {
    "convert": "converting", "fit_weights": "fitting", "LoadedWeights": "loading", "load": "loading",
    "parameter_count": "loading", "publish": "loading", "save": "loading",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the part that needs torch on first use."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"harness.weights.{_NEEDS_TORCH[name]}"), name)
