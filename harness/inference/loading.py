"""From the names a user gives to a method that is ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from harness.codecs import Codec, build_codec, read_as
from harness.codecs.maps import Activation
from harness.errors import UsageError, WeightsError
from harness.files import sha256_of
from harness.grouping import Grouping, build_grouping
from harness.inference.control import backbone_of
from harness.inference.loaded import Loaded
from harness.methods import MethodCard, Preset, WholeFramePreset, card_of
from harness.weights import LoadedWeights, load, parameter_count

__all__ = ["RANDOM", "Ready", "load_method", "reader"]

#: Stands for "no weights, a seeded random start" where weights are named: for timing, never for numbers.
RANDOM = "random"


@dataclass(frozen=True)
class Ready:
    """A method with its weights in place. `weights` is None for one that has none, or random ones."""

    method: Loaded
    weights: LoadedWeights | None
    parameters: int


def load_method(
    method: str | MethodCard,
    *,
    preset: str | None = None,
    weights: str | Path | None = None,
    codec: str | None = None,
    outputs: str = "method",
) -> Ready:
    """Build a method by name and load its weights: those of the preset unless others are named.

    `codec` reads the outputs otherwise than the preset does, where both are of one form, as logits where the weights
    learned them so; `outputs` "backbone" leaves
    of the method its backbone on the key frame. Raises UsageError for an unknown name or preset or a codec that does
    not fit, WeightsError where weights are missing or do not fit.
    """
    card = method if isinstance(method, MethodCard) else card_of(method, weights)
    preset_name, chosen = card.preset(preset)
    if codec and isinstance(chosen, WholeFramePreset):
        raise UsageError(f"method '{card.name}' takes whole frames, which no codec reads; leave out --codec")
    chosen = read_as(chosen, codec) if codec else chosen
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = card.build(chosen.options)
    source = None if card.file else weights or chosen.weights
    loaded = LoadedWeights("", card.file, sha256_of(card.file), "its own file") if card.file else None
    if loaded is None and source is None and module.state_dict():
        raise WeightsError(
            f"method '{card.name}' has no shipped weights for preset '{preset_name}'; "
            "name a checkpoint with --weights FILE"
        )
    if source is not None and source != RANDOM:
        loaded = load(module, source)
        if codec and loaded.codec and loaded.activation in get_args(Activation):
            chosen = read_as(card.preset(preset)[1], codec, activation=loaded.activation)
    module.eval().to(memory_format=torch.channels_last)  # convolutions run up to twice as fast on the CPU so
    digest = loaded.sha256 if loaded else None
    ready = Loaded(card, preset_name, chosen, module, reader(chosen), digest)
    if outputs == "backbone":
        ready = backbone_of(ready)
    return Ready(ready, loaded, parameter_count(ready.module))


def reader(preset: Preset) -> Codec | Grouping:
    """What reads the outputs of a preset: its codec, or its grouping where it takes whole frames."""
    if isinstance(preset, WholeFramePreset):
        return build_grouping(preset.codec, preset.codec_options)
    return build_codec(preset)
