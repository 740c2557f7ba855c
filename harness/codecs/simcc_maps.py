"""SimCC's vectors beside the heatmaps they are read from: which of the two gives the joint, and which its score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch.nn.functional import grid_sample

from harness.codecs.codec import Decoded, Form, Geometry, Targets, register_codec
from harness.codecs.heatmap import HeatmapCodec
from harness.codecs.maps import Activation
from harness.codecs.simcc import SimccCodec, Style

__all__ = ["SimccMapsCodec", "SimccMapsPeakCodec", "SimccMapsScoreCodec"]

Source = Literal["bins", "map"]


@dataclass(kw_only=True, eq=False)
class SimccMapsCodec:
    """Outputs (B,J,X+Y+h*w): logits of the bins of x and of y, then the joint's heatmap row by row (fami_simcc spec 3).

    `split`, `sigma` (bins) and `style` are those of SimccCodec, `map_sigma` (cells), `stride` and `activation` those
    of HeatmapCodec. `joint` says what the joint is read from and `score` what scores it: the bins, or the map, whose
    value is then taken where the joint was found.

    >>> codec = SimccMapsCodec(size=(32, 32), split=1.0, sigma=1.0, map_sigma=1.0)
    >>> targets = codec.encode(torch.tensor([[[12.0, 16.0]]]), torch.ones(1, 1))
    >>> codec.decode(targets.values).joints.tolist(), targets.values.shape
    ([[[12.0, 16.0]]], torch.Size([1, 1, 128]))
    """

    form: ClassVar[Form] = "vectors and maps"
    geometry: Geometry = "plain"

    size: tuple[int, int]
    split: float = 1.5
    sigma: float = 4.0
    style: Style = "sa-simdr"
    map_sigma: float = 3.0
    stride: int = 4
    activation: Activation = "none"
    joint: Source = "bins"
    score: Source = "bins"

    @property
    def vectors(self) -> SimccCodec:
        """What reads and writes the bins."""
        return SimccCodec(size=self.size, split=self.split, sigma=self.sigma, style=self.style, geometry=self.geometry)

    @property
    def maps(self) -> HeatmapCodec:
        """What reads and writes the maps."""
        return HeatmapCodec(
            size=self.size, sigma=self.map_sigma, stride=self.stride, activation=self.activation,
            geometry=self.geometry,
        )  # fmt: skip

    def parts(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B,J,X+Y) and maps (B,J,h,w) of outputs or targets."""
        width, height = self.maps.grid
        maps = outputs[..., -width * height :].reshape(*outputs.shape[:-1], height, width)
        return outputs[..., : -width * height], maps

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> labels and maps; weight 0 where either has nothing to show."""
        bins, maps = self.vectors.encode(joints, weights), self.maps.encode(joints, weights)
        sections = (*bins.sections, maps.values[0, 0].numel())
        return Targets(_joined(bins.values, maps.values), torch.minimum(bins.weights, maps.weights), sections)

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """Joints from the bins in input px, or from the map in cells, and the score."""
        bins, maps = self.parts(outputs)
        if self.joint == "map":
            return self.maps.decode(maps)
        decoded = self.vectors.decode(bins)
        if self.score == "bins":
            return decoded
        return replace(decoded, scores=_values_at(self.maps.activated(maps), self.maps.cells_of(decoded.joints)))

    def flip_back(self, outputs: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Outputs of the mirrored input -> outputs of the input, each part by its own rule."""
        bins, maps = self.parts(outputs)
        return _joined(self.vectors.flip_back(bins, flip_order), self.maps.flip_back(maps, flip_order))

    def merge(self, outputs: torch.Tensor, mirrored: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Flip test, each part by its own rule."""
        (bins, maps), (bins_back, maps_back) = self.parts(outputs), self.parts(mirrored)
        return _joined(self.vectors.merge(bins, bins_back, flip_order), self.maps.merge(maps, maps_back, flip_order))


@dataclass(kw_only=True, eq=False)
class SimccMapsScoreCodec(SimccMapsCodec):
    """Joint from the bins, score from the map: bins score ten times lower, and poseval sorts by score."""

    score: Source = "map"


@dataclass(kw_only=True, eq=False)
class SimccMapsPeakCodec(SimccMapsCodec):
    """Joint and score from the map; the bins only helped in training."""

    joint: Source = "map"
    score: Source = "map"


def _joined(bins: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    return torch.cat((bins, maps.flatten(2)), dim=-1)


def _values_at(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """(B,J) bilinear value of each map (B,J,h,w) at its cell (B,J,2)."""
    reach = torch.tensor([maps.shape[-1] - 1, maps.shape[-2] - 1], device=maps.device)
    places = (cells / reach * 2 - 1).to(maps.dtype).flatten(0, 1)[:, None, None]
    sampled = grid_sample(maps.flatten(0, 1)[:, None], places, padding_mode="border", align_corners=True)
    return sampled.view(maps.shape[:2])


register_codec("simcc_maps", SimccMapsCodec)
register_codec("simcc_maps_score", SimccMapsScoreCodec)
register_codec("simcc_maps_peak", SimccMapsPeakCodec)
