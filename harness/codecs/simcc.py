"""SimCC (Li et al., ECCV 2022): each coordinate is a classification over bins, finer than pixels, along its axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from harness.codecs.blur import blur_rows
from harness.codecs.codec import Decoded, Form, Geometry, Targets, register_codec

__all__ = ["SimccCodec"]

Style = Literal["simdr", "sa-simdr", "mmpose"]
Score = Literal["max", "min"]


@dataclass(kw_only=True, eq=False)
class SimccCodec:
    """Logits (B,J,X+Y): the X = int(width x split) bins of x, then the Y bins of y; `split` bins per input px.

    Three styles (simcc spec 3, 5, 6). "simdr": one label bin, smoothed by `smoothing`; the flip test averages
    probabilities; the score is the larger maximum. "sa-simdr": Gaussian labels of `sigma` bins around the joint itself;
    the flip test averages logits; the score is the smaller maximum. "mmpose": Gaussian labels around the nearest bin;
    logits are averaged and read as they are, without softmax and without the shift of a mirrored vector by one bin.
    `sigma` may be a pair for x and y (RTMPose); `normalise` divides labels by sigma sqrt(2 pi). `score` chooses the
    other rule, and `refine` a DARK step along each axis.

    >>> codec = SimccCodec(size=(32, 32), sigma=2.0)
    >>> targets = codec.encode(torch.tensor([[[12.5, 16.0]]]), torch.ones(1, 1))
    >>> codec.decode(100 * targets.values).joints.tolist(), targets.values.shape
    ([[[12.5, 16.0]]], torch.Size([1, 1, 128]))
    """

    form: ClassVar[Form] = "vectors"
    geometry: Geometry = "plain"

    size: tuple[int, int]
    split: float = 2.0
    style: Style = "sa-simdr"
    sigma: float | tuple[float, float] = 6.0
    smoothing: float = 0.1
    normalise: bool = True
    score: Score | None = None
    refine: bool = False

    @property
    def bins(self) -> tuple[int, int]:
        """How many bins the axes x and y have."""
        return int(self.size[0] * self.split), int(self.size[1] * self.split)

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> labels (B,J,X+Y), zero where the weight is."""
        joints = joints.double().nan_to_num(nan=-1e6).clamp(-1e6, 1e6)
        weights = weights.float() * self._known(joints)
        labels = [self._labels(joints[..., axis], axis) for axis in (0, 1)]
        return Targets(torch.cat(labels, dim=-1).float() * (weights > 0.5)[..., None], weights, self.bins)

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """(B,J,X+Y) -> joints in input px and the larger or smaller of the two maxima."""
        axes = self._axes(outputs.float())
        if self.style != "mmpose":
            axes = [axis.softmax(-1) for axis in axes]
        maxima, places = zip(*(axis.max(-1) for axis in axes), strict=True)
        larger = (self.score or ("max" if self.style == "simdr" else "min")) == "max"
        scores = torch.maximum(*maxima) if larger else torch.minimum(*maxima)
        joints = torch.stack(places, dim=-1).float()
        if self.refine:
            steps = [
                self._step(values, place, axis) for axis, (values, place) in enumerate(zip(axes, places, strict=True))
            ]
            joints = joints - torch.stack(steps, dim=-1)
        return Decoded(joints / self.split, scores, self.size)

    def flip_back(self, outputs: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Reverse x, swap the pairs; x moves one bin down (the last keeps its value), opposite to heatmaps."""
        along_x, along_y = self._axes(outputs[:, flip_order])
        along_x = along_x.flip(-1)
        if self.style != "mmpose":
            along_x = torch.cat((along_x[..., 1:], along_x[..., -1:]), dim=-1)
        return torch.cat((along_x, along_y), dim=-1)

    def merge(self, outputs: torch.Tensor, mirrored: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Mean of the logits, or (SimDR) logits of the mean of the probabilities."""
        back = self.flip_back(mirrored, flip_order)
        if self.style != "simdr":
            return (outputs + back) * 0.5
        pairs = zip(self._axes(outputs.float()), self._axes(back.float()), strict=True)
        means = [torch.logaddexp(one.log_softmax(-1), other.log_softmax(-1)) - torch.log(one.new_tensor(2.0))
                 for one, other in pairs]  # fmt: skip
        return torch.cat(means, dim=-1)

    def _axes(self, outputs: torch.Tensor) -> list[torch.Tensor]:
        first = self.bins[0]
        return [outputs[..., :first], outputs[..., first:]]

    def _sigmas(self) -> tuple[float, float]:
        return self.sigma if isinstance(self.sigma, tuple | list) else (self.sigma, self.sigma)

    def _known(self, joints: torch.Tensor) -> torch.Tensor:
        """(B,J) whether a joint has a label: its bin exists, or (Gaussian labels) some of its Gaussian is seen."""
        sigmas = torch.tensor(self._sigmas(), dtype=joints.dtype, device=joints.device)
        sizes = torch.tensor(self.size, dtype=joints.dtype, device=joints.device)
        if self.style == "simdr":
            place = (joints * self.split).round()
            return ((place >= 0) & (place < sizes * self.split)).all(-1)
        if self.style == "sa-simdr":  # px compared with bins, as upstream does
            first, last = (joints - 3 * sigmas).trunc(), (joints + 3 * sigmas + 1).trunc()
            return ((first < sizes) & (last >= 0)).all(-1)
        place = (joints * self.split).round()
        bins = torch.tensor(self.bins, device=joints.device)
        return ((place - 3 * sigmas < bins) & (place + 3 * sigmas + 1 >= 0)).all(-1)

    def _labels(self, places: torch.Tensor, axis: int) -> torch.Tensor:
        bins = torch.arange(self.bins[axis], device=places.device)
        centre = places[..., None] * self.split
        if self.style == "simdr":
            hit = centre.round().clamp(0, len(bins) - 1) == bins
            return torch.where(hit, 1 - self.smoothing, self.smoothing / (len(bins) - 1))
        sigma = self._sigmas()[axis]
        centre = centre.round() if self.style == "mmpose" else centre
        labels = torch.exp(-0.5 * ((bins - centre) / sigma) ** 2)
        return labels / (sigma * (2 * torch.pi) ** 0.5) if self.normalise else labels

    def _step(self, values: torch.Tensor, places: torch.Tensor, axis: int) -> torch.Tensor:
        """(B,J) bins to take off: DARK along one axis, differences of one and two bins (simcc spec 5)."""
        kernel = int((self._sigmas()[axis] * 20 - 7) // 3)
        kernel -= kernel % 2 == 0
        smooth = blur_rows(values, kernel, border="zero")
        smooth = smooth * (values.amax(-1) / smooth.amax(-1))[..., None]
        around = (places[..., None] + torch.arange(-2, 3, device=places.device)).clamp(0, values.shape[-1] - 1)
        near = smooth.gather(-1, around).clamp(1e-3, 50).log()
        slope = 0.5 * (near[..., 3] - near[..., 1])
        curvature = 1e-9 + 0.25 * (near[..., 4] - 2 * near[..., 2] + near[..., 0])
        step = slope / curvature
        return torch.where(step.isfinite(), step, torch.zeros_like(step))


register_codec("simcc", SimccCodec)
