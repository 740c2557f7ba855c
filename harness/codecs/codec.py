"""What a codec is: joints into training targets, network outputs back into joints; and the registry of codecs.

A codec knows the form of the outputs (maps, vectors, coordinates) and nothing of boxes or images: its joints are px of
the network input when encoding, and px of its own grid when decoding. The engine maps grid px to the image with the
back-transform that `geometry` names (codecs spec 1.2-1.4).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch

from harness.errors import UsageError
from harness.registry import Registry, load_plugins

if TYPE_CHECKING:
    from harness.methods import Preset

__all__ = ["Codec", "Decoded", "Form", "Geometry", "Targets", "build_codec", "codecs", "read_as", "register_codec"]

Geometry = Literal["plain", "dark", "udp"]

#: What the outputs of a network are; codecs of one form can read each other's.
Form = Literal["maps", "offset maps", "vectors", "vectors and maps", "coordinates", "queries"]


@dataclass(frozen=True)
class Targets:
    """What the outputs should become: `values` in their form, `weights` (B,J) 0 where a joint teaches nothing.

    `sections` are the lengths of the pieces that make up the last axis of vectors: bins of x, bins of y, a map.
    `places` (B,J,2) are the joints in cells, from codecs whose losses compare coordinates.
    """

    values: Any
    weights: torch.Tensor
    sections: tuple[int, ...] = ()
    places: torch.Tensor | None = None


@dataclass(frozen=True)
class Decoded:
    """Joints read from outputs: `joints` (B,J,2) px on a grid of `grid` (width, height), `scores` (B,J)."""

    joints: torch.Tensor
    scores: torch.Tensor
    grid: tuple[int, int]


class Codec(Protocol):
    """One way of writing joints as network outputs; every method is batched and stays on the device of its input."""

    form: ClassVar[Form]
    geometry: Geometry

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """(B,J,2) px of the network input and (B,J) weights -> targets; a joint off the grid gets weight 0."""

    def decode(self, outputs: Any) -> Decoded:
        """Outputs of the network -> joints and scores."""

    def flip_back(self, outputs: Any, flip_order: torch.Tensor) -> Any:
        """Outputs for the mirrored input -> outputs for the input as it was; `flip_order` as in Skeleton."""

    def merge(self, outputs: Any, mirrored: Any, flip_order: torch.Tensor) -> Any:
        """Flip test: the mean of the outputs and the flipped-back outputs for the mirrored input."""


#: A codec class: called with `size=(width, height)` of the network input and the codec's own options by keyword.
CodecFactory = Callable[..., Codec]

codecs: Registry[CodecFactory] = Registry("codec", before_lookup=load_plugins)


def register_codec(name: str, factory: CodecFactory) -> CodecFactory:
    """Make a codec available by name to presets and to `--codec`."""
    return codecs.add(name, factory)


def build_codec(preset: Preset) -> Codec:
    """The codec of a preset, for its input size and with its options."""
    return codecs[preset.codec](size=preset.crop.size, **preset.codec_options)


def read_as(preset: Preset, name: str, *, activation: str | None = None) -> Preset:
    """The preset with its outputs read by another codec of the same form.

    What the network was trained with stays: how cells lie on the input, sigma, activation (the preset's, unless its
    weights are known to be of another); what only the reading concerns is the other codec's own. Raises UsageError for
    an unknown codec or one of another form.
    """
    if name == preset.codec:
        return preset
    trained, other = build_codec(preset), codecs[name]
    # a factory need not be a class; one that says no form reads nothing but its own
    if getattr(other, "form", None) != trained.form:
        same = ", ".join(known for known in codecs if getattr(codecs[known], "form", None) == trained.form)
        raise UsageError(
            f"codec '{name}' does not read {trained.form}, which codec '{preset.codec}' does; one of: {same}"
        )
    understood = inspect.signature(other).parameters
    kept = {key: value for key, value in preset.codec_options.items() if key in understood}
    if "geometry" in understood:
        kept["geometry"] = trained.geometry
    if "activation" in understood:
        kept["activation"] = activation or getattr(trained, "activation", "none")
    return replace(preset, codec=name, codec_options=kept)
