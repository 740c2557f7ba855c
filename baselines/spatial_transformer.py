"""RMPE's symmetric spatial transformer (Fang et al., ICCV 2017) in front of a network of heatmaps, first HRNet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from baselines.layers.hrnet import TINY
from baselines.layers.recentring import Localisation, centred, inverse, on_cells, resampled
from harness.codecs import MapCodec, Targets, build_codec
from harness.errors import UsageError
from harness.methods import CropSpec, MethodCard, Preset, WholeFramePreset, methods, register_method
from harness.training.losses import StatesLoss, joint_mse, register_loss, spatial_cross_entropy

__all__ = ["Recentred", "RecentredStates", "behind", "card"]


class RecentredStates(NamedTuple):
    """The maps mapped back, and those of the straightened crop by the same network, from which it learns nothing."""

    heatmaps: torch.Tensor
    straight: torch.Tensor


class Recentred(nn.Module):
    """Any network of heatmaps, clips (B,T,3,H,W) -> (B,J,H/stride,W/stride), between a spatial transformer and back.

    One transformer, read off frame `key`, serves all frames of a clip. `stride` and `geometry` are the codec's and say
    how cells of the maps lie on the crop.
    """

    def __init__(
        self, inner: nn.Module, *, key: int = 0, stride: int = 4, width: int = 16, geometry: str = "plain"
    ) -> None:
        super().__init__()
        self.inner = inner
        self.localisation = Localisation(width)
        self.key = key
        self.stride = stride
        self.geometry = geometry

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor | RecentredStates:
        """(B,T,3,H,W) -> heatmaps (B,J,h,w) of the crop as it was; with `states` what a training reads too."""
        theta = self.localisation(clips[:, self.key])
        frames = [resampled(frame, theta) for frame in clips.unbind(1)]
        straight = torch.stack(frames, dim=1)
        maps = self.inner(straight)
        grid = maps.shape[-1], maps.shape[-2]
        # maps may be logits, where zeros beyond the border would be peaks
        cells = on_cells(inverse(theta), grid, stride=self.stride, geometry=self.geometry)
        back = resampled(maps, cells, padding="border")
        return RecentredStates(back, self._frozen(straight)) if states else back

    def _frozen(self, straight: torch.Tensor) -> torch.Tensor:
        """The inner network's maps, whose gradients reach the transformer alone; statistics are not counted twice."""
        values = {name: value.detach() for name, value in self.inner.named_parameters()}
        values |= {name: value.clone() for name, value in self.inner.named_buffers()}
        maps: torch.Tensor = functional_call(self.inner, values, (straight,))
        return maps


def _recentred_loss(
    loss: Callable[[torch.Tensor, Targets], torch.Tensor], states: RecentredStates, targets: Targets, *,
    factor: float = 0.1,
) -> torch.Tensor:  # fmt: skip
    """The loss of the maps, and `factor` times that of the straightened crop's against the pose put in the middle."""
    middle = Targets(centred(targets.values, targets.weights), targets.weights)
    return loss(states.heatmaps, targets) + factor * loss(states.straight, middle)


def behind(method: str, preset: str | None = None, *, width: int = 16) -> Preset:
    """A preset of `spatial_transformer` with a registered method of one frame and heatmaps behind the transformer.

    Crop and codec are those of the method's `preset`; `width` is the localisation network's. Raises UsageError for
    unknown names, and for a method that looks at several frames, at whole ones, or gives no heatmaps.
    """
    name, inner = methods[method].preset(preset)
    _check(method, name, inner)
    codec = build_codec(inner)
    options: dict[str, Any] = {"method": method, "preset": name, "width": width}
    if isinstance(codec, MapCodec) and codec.stride != 4:
        options["stride"] = codec.stride
    if codec.geometry != "plain":
        options["geometry"] = codec.geometry
    return replace(inner, options=options, weights=None)


def _check(method: str, name: str, preset: Preset) -> None:
    """Raise UsageError for what does not fit behind a transformer that straightens one crop."""
    single = not isinstance(preset, WholeFramePreset) and preset.support == (0,) and not preset.box_offset
    if not single or build_codec(preset).form != "maps":
        raise UsageError(
            f"method '{method}' ({name}) does not fit behind the spatial transformer, which straightens one crop and "
            "brings heatmaps back; take a method of one frame whose codec reads maps"
        )


def _build(options: Mapping[str, Any]) -> Recentred:
    """A transformer before the network of `method` (hrnet if not named), of its `preset` or with `inner` options."""
    rest = {key: value for key, value in options.items() if key not in ("method", "preset", "inner")}
    card = methods[options.get("method", "hrnet")]
    if "inner" in options:
        return Recentred(card.build(options["inner"]), **rest)
    name, preset = card.preset(options["preset"])
    _check(card.name, name, preset)
    return Recentred(card.build(preset.options), **rest)


register_loss("recentred_cross_entropy", StatesLoss(partial(_recentred_loss, spatial_cross_entropy)), form="maps")
register_loss("recentred_mse", StatesLoss(partial(_recentred_loss, joint_mse)), form="maps")

_tiny = Preset(
    crop=CropSpec(size=(96, 128)), codec="heatmap", codec_options={"sigma": 1.5, "activation": "softmax"},
    options={"inner": TINY, "width": 8}, weights="spatial_transformer-tiny",
)  # fmt: skip


def _tiny_behind(method: str) -> Preset:
    """What `behind(method, "tiny", width=8)` makes; methods may not be known yet, and a test holds it to that."""
    return replace(_tiny, options={"method": method, "preset": "tiny", "width": 8}, weights=None)


card = register_method(
    MethodCard(
        name="spatial_transformer",
        title="SSTN",
        summary="One frame: a small network straightens the crop of a bad box first, and maps are brought back.",
        paper="Fang, Xie, Tai, Lu: RMPE: Regional Multi-person Pose Estimation, ICCV 2017",
        year=2017,
        licence="BSD-2-Clause style (original release, in Caffe); this implementation Apache-2.0",
        presets={
            "tiny": _tiny,
            "tiny-simple_baseline": _tiny_behind("simple_baseline"),
            "tiny-vitpose": _tiny_behind("vitpose"),
            "w32-256x192": Preset(
                crop=CropSpec(size=(192, 256)), codec="heatmap", codec_options={"sigma": 2.0},
                options={"inner": {"width": 32}},
            ),
        },
        build=_build,
        recipes={"tiny": "spatial_transformer-tiny", "w": "spatial_transformer"},
        notes=(
            "The idea of the paper; nothing to be equal to is released outside Caffe, and no checkpoint is known. The "
            "transformer starts as the identity. The paper's second branch, of frozen weights, is a second pass of the "
            "same network whose gradients reach the transformer alone: the pose should then stand in the middle. Its "
            "weight (0.1) and the localisation network are ours. Asked best with bad boxes: `harness probe --probe "
            "boxes_proposal=1`. `tiny` and `w32-256x192` are HRNet; the other presets name who stands behind the "
            "transformer, and `baselines.spatial_transformer.behind(METHOD, PRESET)` makes such a preset of any "
            "registered method of one frame and heatmaps, with its crop and codec. Methods of several frames are "
            "refused: their own losses would not be reached. `tiny` is ours, for the embedded data: 1,400 steps from "
            "hrnet-tiny-backbone, half of the boxes as a detector gives them."
        ),
    )
)  # fmt: skip
