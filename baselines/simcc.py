"""SimCC (Li et al., ECCV 2022; SimDR and SA-SimDR in its code): joints as classes of x and of y."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import nn

from baselines.layers.hrnet import TINY, HRNet
from baselines.layers.resnet import DeconvolutionHead, ResNet
from harness.methods import CropSpec, MethodCard, Preset, register_method
from harness.weights import OFFICIAL, KeyMap

__all__ = ["SimccHRNet", "SimccResNet", "SimccUpfree", "card"]

_HEADS = (("head.mlp_head_x.", "mlp_head_x."), ("head.mlp_head_y.", "mlp_head_y."))
_MMPOSE_UPFREE = KeyMap("mmpose 1.x", (("head.final_layer.", "final_layer."), *_HEADS, ("backbone.", "")))
_MMPOSE = KeyMap(
    "mmpose 1.x",
    (
        ("head.deconv_head.deconv_layers.", "deconv_layers."),
        ("head.deconv_head.final_layer.", "final_layer."),
        *_HEADS,
        ("backbone.", ""),
    ),
)


class SimccHRNet(HRNet):
    """HRNet, whose heatmaps are read by two linear layers shared by the joints."""

    key_sources: ClassVar[tuple[KeyMap, ...]] = (OFFICIAL,)

    def __init__(self, width: int, *, size: tuple[int, int], split: float = 2.0, **network: Any) -> None:
        super().__init__(width, **network)
        self.mlp_head_x, self.mlp_head_y = _bins(size[0] * size[1] // 16, size, split)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> logits (B,J,X+Y)."""
        return _logits(self, super().forward(clips[:, 0]).flatten(2))


class SimccResNet(ResNet):
    """SimpleBaseline, whose heatmaps are read by two linear layers shared by the joints."""

    key_sources: ClassVar[tuple[KeyMap, ...]] = (_MMPOSE, OFFICIAL)

    def __init__(self, depth: int, *, size: tuple[int, int], split: float = 2.0, joints: int = 17) -> None:
        super().__init__(depth)
        self.deconv_layers = DeconvolutionHead(self.channels)
        self.final_layer = nn.Conv2d(256, joints, 1)
        self.mlp_head_x, self.mlp_head_y = _bins(size[0] * size[1] // 16, size, split)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> logits (B,J,X+Y)."""
        heatmaps = self.final_layer(self.deconv_layers(self.features(clips[:, 0])))
        return _logits(self, heatmaps.flatten(2))


class SimccUpfree(ResNet):
    """A ResNet without upsampling: every joint has `per_joint` maps of its own at 1/32 of the input."""

    key_sources: ClassVar[tuple[KeyMap, ...]] = (_MMPOSE_UPFREE, OFFICIAL)

    def __init__(
        self, depth: int, *, size: tuple[int, int], split: float = 2.0, joints: int = 17, per_joint: int = 28
    ) -> None:
        super().__init__(depth)
        self.per_joint = per_joint
        self.final_layer = nn.Conv2d(self.channels, joints * per_joint, 1)
        self.mlp_head_x, self.mlp_head_y = _bins(per_joint * size[0] * size[1] // 1024, size, split)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> logits (B,J,X+Y)."""
        maps = self.final_layer(self.features(clips[:, 0]))
        return _logits(self, maps.view(len(maps), maps.shape[1] // self.per_joint, -1))


def _bins(inputs: int, size: tuple[int, int], split: float) -> tuple[nn.Linear, nn.Linear]:
    return nn.Linear(inputs, int(size[0] * split)), nn.Linear(inputs, int(size[1] * split))


def _logits(module: SimccHRNet | SimccResNet | SimccUpfree, vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (B,J,D) -> the bins of x and then of y in one row, as the simcc codec reads them."""
    return torch.cat((module.mlp_head_x(vectors), module.mlp_head_y(vectors)), dim=-1)


_NETWORKS: Mapping[str, Callable[..., nn.Module]] = {"hrnet": SimccHRNet, "resnet": SimccResNet, "upfree": SimccUpfree}


def _build(options: Mapping[str, Any]) -> nn.Module:
    """The network named by `network`, with the options of that class."""
    rest = {key: value for key, value in options.items() if key != "network"}
    return _NETWORKS[options["network"]](**rest)


def _preset(
    network: str, size: tuple[int, int], *, split: float = 2.0, codec: Mapping[str, Any], colour: str, **options: Any
) -> Preset:
    return Preset(
        crop=CropSpec(size=size, colour=colour),
        codec="simcc",
        codec_options={"split": split, **codec},
        options={"network": network, "size": size, "split": split, **options},
    )


_SIMDR = {"style": "simdr"}
_SMALL, _LARGE = (192, 256), (288, 384)


def _gaussian(sigma: float) -> dict[str, Any]:
    return {"style": "sa-simdr", "sigma": sigma}


_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="simcc",
    codec_options={"split": 2.0, "sigma": 4.0},
    options={"network": "hrnet", "size": (96, 128), "split": 2.0, **TINY},
    weights="simcc-tiny",
)

_NOTES = """\
What the paper says. A heatmap is a detour to two numbers, and costs resolution: let the network choose each \
coordinate among bins, a few to a pixel. It gains most on small inputs, and a network without deconvolutions keeps \
up.

What the released code does. Its names are SimDR (labels of one bin, smoothed) and SA-SimDR (Gaussian labels; \
presets -sa). Two linear layers, shared by the joints, turn each joint's feature into bins of x and bins of y. The \
score of a joint is the larger of the two maxima for SimDR, the smaller for SA-SimDR. Networks on ResNet are fed \
BGR; mmpose's RGB. With flip test, which it uses, vectors shift by one bin.

What we do. Networks, decoding and both score rules are equal to the release's; outputs are the bins of x and then \
of y in one row. Evaluated without flip test, as every method here is; --flip does as upstream. The released losses \
are simcc_nmt (SimDR) and simcc_kl (SA-SimDR; with SimDR's smoothed labels it is NMTNORM). `tiny` is ours, for the \
embedded data, and learns by cross-entropy over the bins (bin_cross_entropy), which does so in minutes.

Published. Nothing on PoseTrack. On COCO val (person boxes of AP 56.4) SimDR with HRNet-W48 at 256x192 reaches 75.9, \
HRNet alone 75.1.

Weights. COCO checkpoints by the authors, none on PoseTrack; they load by --weights, none was fetched here. Those \
shipped for `tiny` were trained on the embedded data."""

card = register_method(
    MethodCard(
        name="simcc",
        title="SimCC",
        summary="One frame, and each coordinate a choice among bins finer than pixels instead of a heatmap.",
        paper="Li, Yang, Liu et al.: SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation, "
        "ECCV 2022",
        year=2022,
        licence="none in the original release (HRNet parts MIT); mmpose's Apache-2.0; this implementation Apache-2.0",
        presets={
            "tiny": _tiny,
            "tiny-larger-score": replace(_tiny, codec_options={**_tiny.codec_options, "score": "max"}),
            "w32-256x192": _preset("hrnet", _SMALL, codec=_SIMDR, colour="rgb", width=32),
            "w48-256x192": _preset("hrnet", _SMALL, codec=_SIMDR, colour="rgb", width=48),
            "w48-256x192-sa": _preset("hrnet", _SMALL, codec=_gaussian(4.0), colour="rgb", width=48),
            "w48-384x288-sa": _preset("hrnet", _LARGE, split=1.5, codec=_gaussian(4.0), colour="rgb", width=48),
            "r50-256x192": _preset("resnet", _SMALL, codec=_SIMDR, colour="bgr", depth=50),
            "r50-384x288": _preset("resnet", _LARGE, codec=_SIMDR, colour="bgr", depth=50),
            "r50-384x288-sa": _preset("resnet", _LARGE, codec=_gaussian(6.0), colour="bgr", depth=50),
            "r50-upfree-256x192": _preset("upfree", _SMALL, codec=_SIMDR, colour="bgr", depth=50, per_joint=28),
            "mmpose-r50-256x192": _preset(
                "resnet", _SMALL, codec={"style": "mmpose", "sigma": 6.0}, colour="rgb", depth=50
            ),
        },
        build=_build,
        recipes={
            "tiny": "simcc-tiny",
            **dict.fromkeys(("w32-256x192", "w48-256x192"), "simdr-hrnet"),
            **dict.fromkeys(("w48-256x192-sa", "w48-384x288-sa"), "simcc-hrnet"),
            **dict.fromkeys(("r50-256x192", "r50-384x288", "r50-upfree-256x192"), "simdr-resnet"),
            "r50-384x288-sa": "simcc-resnet",
            "mmpose": "simcc-mmpose",
        },
        notes=_NOTES,
    )
)
