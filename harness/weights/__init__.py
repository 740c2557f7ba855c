"""Weights: which files are known (manifest), and strict loading of them into a network.

Listing and hashing need no torch; `load`, `save` and `parameter_count` import it when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.weights.manifest import WeightsEntry, find_weights, publish_entry, register_manifest, sha256_of, weights

if TYPE_CHECKING:
    from harness.weights.fitting import fit_weights
    from harness.weights.loading import LoadedWeights, load, parameter_count, publish, save
    from harness.weights.sources import MMPOSE, OFFICIAL, KeyMap

__all__ = [
    "MMPOSE",
    "OFFICIAL",
    "KeyMap",
    "LoadedWeights",
    "WeightsEntry",
    "find_weights",
    "fit_weights",
    "load",
    "parameter_count",
    "publish",
    "publish_entry",
    "register_manifest",
    "save",
    "sha256_of",
    "weights",
]

_LOADING = ("LoadedWeights", "load", "parameter_count", "publish", "save")
_SOURCES = ("MMPOSE", "OFFICIAL", "KeyMap")


def __getattr__(name: str) -> Any:
    """Import the part that needs torch on first use."""
    if name in _LOADING:
        from harness.weights import loading

        return getattr(loading, name)
    if name == "fit_weights":
        from harness.weights.fitting import fit_weights

        return fit_weights
    if name in _SOURCES:
        from harness.weights import sources

        return getattr(sources, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
