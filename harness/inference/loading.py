"""From the name of a method to something the engine can run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.codecs import build_codec
from harness.errors import WeightsError
from harness.inference.loaded import Loaded
from harness.methods import methods
from harness.weights import LoadedWeights, load, parameter_count

__all__ = ["Ready", "load_method"]


@dataclass(frozen=True)
class Ready:
    """A loaded method with what a record says of its weights; `parameters` counts the trainable numbers."""

    method: Loaded
    weights: LoadedWeights | None
    parameters: int


def load_method(name: str, *, preset: str | None = None, weights: str | None = None) -> Ready:
    """Build a registered method and load its weights: those given, else the preset's own.

    Raises UsageError for an unknown name or preset, WeightsError where weights are missing or do not fit.
    """
    card = methods[name]
    preset_name, chosen = card.preset(preset)
    module = card.build(chosen.options)
    source = weights or chosen.weights
    needed = bool(module.state_dict())
    if needed and source is None:
        raise WeightsError(f"no weights are shipped for {name} ({preset_name}); give --weights FILE, or train them")
    loaded = load(module, source) if needed and source is not None else None
    digest = loaded.sha256 if loaded else None
    method = Loaded(card, preset_name, chosen, module.eval(), build_codec(chosen), digest)
    return Ready(method, loaded, parameter_count(module))
