"""Training a network to be read by another codec than its preset's."""

from __future__ import annotations

import inspect

from harness.codecs import codecs, read_as
from harness.errors import UsageError
from harness.methods import Preset

__all__ = ["learned_as"]

#: Losses of distributions over the cells, by parts of their names; the others want maps of peak 1, which none is.
_OF_DISTRIBUTIONS = ("cross_entropy", "dsnt")


def learned_as(preset: Preset, codec: str, *, loss: str) -> Preset:
    """The preset with targets and reading of another codec of the same form, for a network that learns them by `loss`.

    As `read_as`, but for what the outputs are: a codec of distributions makes logits of them, whatever they were.
    Raises UsageError for a codec of another form, and for a loss that would not make distributions of such maps.
    """
    activation = inspect.signature(codecs[codec]).parameters.get("activation")
    logits = activation is not None and activation.default == "softmax"
    if logits and not any(part in loss for part in _OF_DISTRIBUTIONS):
        raise UsageError(
            f"loss '{loss}' compares maps of peak 1, and codec '{codec}' learns distributions; take --loss dsnt_js"
        )
    return read_as(preset, codec, activation="softmax" if logits else None)
