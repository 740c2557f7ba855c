"""Dual-stream network: the key frame enhanced by its neighbours, and a pose inferred from the neighbours alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch.nn.functional import mse_loss

from baselines.layers.dual_stream import DualStreamNetwork, DualStreamStates
from baselines.layers.vit_depth import vit_layer
from baselines.layers.vitpose import BASE, LARGE
from baselines.layers.vitpose import TINY as TINY_VITPOSE
from harness.codecs import Targets
from harness.methods import CropSpec, MethodCard, Preset, register_method
from harness.training.losses import Loss, StatesLoss, joint_mse, register_loss, spatial_cross_entropy

__all__ = ["Supervised", "card", "dual_stream_loss", "heatmap_mse"]

#: Which heatmaps are taught: those of the notes' good version, those before the fusion, or the last ones.
Supervised = Literal["v3_2", "intermediate", "final_only"]

_TAUGHT: dict[Supervised, tuple[str, ...]] = {
    "v3_2": ("final", "token", "dense"),
    "intermediate": ("token", "visual"),
    "final_only": ("final",),
}
_RECONSTRUCTION = 1e-4


def _build(options: Mapping[str, Any]) -> DualStreamNetwork:
    """The network of a preset, whose options are DualStreamNetwork's own."""
    return DualStreamNetwork(**options)


def heatmap_mse(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The mean square, the weight of a joint inside it (dual_stream spec 4)."""
    return 2 * joint_mse(outputs, targets)


def dual_stream_loss(
    states: DualStreamStates, targets: Targets, *, heatmap_term: Loss = heatmap_mse, supervised: Supervised = "v3_2"
) -> torch.Tensor:
    """The heatmap terms of what is there and taught, weight 1 each, and 1e-4 of the reconstruction's mean square."""
    terms = []
    for name in _TAUGHT[supervised]:
        maps = getattr(states, name)
        if maps is None:
            continue
        # every neighbour answers for the key frame, and all of them weigh as much as one of the others
        each = [heatmap_term(of_one, targets) for of_one in (maps.unbind(1) if name == "dense" else (maps,))]
        terms.append(torch.stack(each).mean())
    if states.reconstruction is not None and states.patches is not None:
        terms.append(_RECONSTRUCTION * mse_loss(states.reconstruction, states.patches))
    return torch.stack(terms).sum()


def _loss(heatmap_term: Loss, supervised: Supervised) -> StatesLoss:
    def loss(states: Any, targets: Targets) -> torch.Tensor:
        return dual_stream_loss(states, targets, heatmap_term=heatmap_term, supervised=supervised)

    return StatesLoss(loss)


for _name, _heatmap_term in (("dual_stream", heatmap_mse), ("dual_stream_cross_entropy", spatial_cross_entropy)):
    register_loss(_name, _loss(_heatmap_term, "v3_2"))
    register_loss(f"{_name}_intermediate", _loss(_heatmap_term, "intermediate"))
    register_loss(f"{_name}_final_only", _loss(_heatmap_term, "final_only"))

_SUPPORT = (-2, -1, 0, 1, 2)
_NEIGHBOURS = (-2, -1, 1, 2)


def _paper(encoder: Mapping[str, Any]) -> Preset:
    return Preset(
        crop=CropSpec(size=(192, 256)),
        codec="heatmap",
        codec_options={"sigma": 2.0},
        support=_SUPPORT,
        options={"backbone": {"grid": (16, 12), **encoder}},
        ends="fami",
    )


_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="heatmap",
    codec_options={"sigma": 1.5, "activation": "softmax"},
    support=_SUPPORT,
    options={"backbone": TINY_VITPOSE, "joint": 1, "divided": 1, "cross": 1},
)


def _switched(preset: Preset, **options: Any) -> Preset:
    return replace(preset, options={**preset.options, **options})


def _unordered(preset: Preset, **options: Any) -> Preset:
    """Neighbours are averaged before anything else is done with them, their time tables too."""
    return replace(_switched(preset, **options), ordered=False)


def _blind(preset: Preset, **options: Any) -> Preset:
    """Without the key frame: it is not even read from disk."""
    return replace(_switched(preset, **options), support=_NEIGHBOURS)


_NOTES = """\
No reference value: working notes of an unpublished version ("v3_2"). What was published later is, as \
far as can be inferred, arXiv 2502.10616 (Feng, Chen: Learning Semantical Dynamics and SpatioTemporal Collaboration \
for Human Pose Estimation in Video), with other modules, no public code and tables we could not read. Its numbers are \
not claimed.

What the notes say. A pose should be plausible even where the key frame is degraded. So one stream never looks at it: \
the four neighbours and tokens of keypoints and of context go through joint, then divided attention over space and \
time; keypoint tokens give heatmaps, every neighbour with their mean predicts the key frame's heatmaps, and the \
contextual tokens reconstruct the key frame, at a weight of 1e-4. The other stream lets the key frame attend the mean \
of its neighbours. Both are fused.

What we do. Everything else is our choice: 2 + 2 + 2 blocks, the widths, the fusion, the training. `paper` has a \
ViT-B backbone (150.1 M parameters, 64.3 M of them beyond the backbone's encoder), `paper-l` a ViT-L, `paper-udp` \
ViTPose's own crop and targets. Presets `*-token`, `*-dense` and `*-visual` read other heatmaps from the same weights; \
for token and dense the key frame is not read at all, which is the honest test of the claim: if they do not beat \
`copy_previous`, there is no evidence of inference (at the ends of a video the key frame stands in for neighbours \
that are not there, so leave those out). The tiny-* presets each turn one switch of the notes: no \
reconstruction (nor the contextual tokens it reads), no dense prediction, no keypoint tokens, all neighbours attended, \
no joint or divided stage, neighbours averaged before tokens attend, other fusions, one stream alone. `mutual` and \
`masked-*` try ideas of the paper, at ratios of ours. Losses: dual_stream, dual_stream_intermediate (token and \
visual), dual_stream_final_only; or, learning in minutes, the same with dual_stream_cross_entropy.

The control is `vitpose` (its tiny and plain-* presets), the same backbone on one frame. Start with `--start` from a \
ViTPose checkpoint, by any of its names (all three decoders then start as its own), or from MAE's encoder, which makes \
the run of the notes without pose pretraining; freeze `backbone.` or some of its blocks. Recipes dual_stream and \
dual_stream-l let the learning rate fall from layer to layer, as ViTPose does."""

card = register_method(
    MethodCard(
        name="dual_stream",
        title="Dual-stream (notes v3_2)",
        summary=(
            "Five frames; a stream that never sees the key frame infers its pose, another enhances the key frame by "
            "its neighbours. From unpublished notes; no reference value."
        ),
        licence="from unpublished notes; this implementation Apache-2.0",
        presets={
            "tiny": replace(_tiny, weights="dual_stream-tiny"),
            "tiny-token": replace(_blind(_tiny, reading="token"), weights="dual_stream-tiny"),
            "tiny-dense": replace(_blind(_tiny, reading="dense"), weights="dual_stream-tiny"),
            "tiny-visual": replace(_unordered(_tiny, reading="visual"), weights="dual_stream-tiny"),
            "tiny-no-reconstruction": _switched(_tiny, reconstruction=False),
            "tiny-no-dense": _switched(_tiny, dense=False),
            "tiny-no-tokens": _switched(_tiny, tokens=False),
            "tiny-attend-all": _switched(_tiny, attend="all"),
            "tiny-no-joint": _switched(_tiny, joint=0),
            "tiny-no-divided": _switched(_tiny, divided=0),
            "tiny-no-encoder": _switched(_tiny, joint=0, divided=0),
            "tiny-average": _unordered(_tiny, average=True),
            "tiny-mean-fusion": _switched(_tiny, fusion="mean"),
            "tiny-cross-fusion": _switched(_tiny, fusion="cross"),
            "tiny-mutual": _switched(_tiny, fusion="mutual"),
            "tiny-temporal-only": _blind(_tiny, streams="temporal_only"),
            "tiny-visual-only": _unordered(_tiny, streams="visual_only"),
            "tiny-masked-cubes": _switched(_tiny, masking="cube"),
            "tiny-masked-frames": _switched(_tiny, masking="cube+frame"),
            "paper": _paper(BASE),
            "paper-token": _blind(_paper(BASE), reading="token"),
            "paper-dense": _blind(_paper(BASE), reading="dense"),
            "paper-visual": _unordered(_paper(BASE), reading="visual"),
            "paper-udp": replace(_paper(BASE), codec="udp", codec_options={"sigma": 2.0, "kernel": 11}),
            "paper-l": _paper(LARGE),
        },
        build=_build,
        recipes={"paper": "dual_stream", "paper-l": "dual_stream-l"},
        layer_of=vit_layer,
        notes=_NOTES,
    )
)
